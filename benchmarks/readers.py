"""Masks as Maskwright reads them and as the field's own libraries do: random valid annotations in every format.

    python benchmarks/readers.py --peer pycocotools=PATH/bin/python --peer rasterio=PATH/bin/python ...
        [--only FORMAT ...] [--examples 200] [--keep FOLDER] [--json FILE]

For each format hypothesis draws 200 images' annotations: up to five polygons, boxes, circles or free regions of three
classes, partly outside of the image. They are written as the format has it, read here, and read by the peer in a
process and an environment of its own (`peers/readers_side.py`). Peers that nobody names are passed over, and said so.

A row for each pair: images, images with equal pixels, pixels that differ, and how far, at most, a pixel's centre that
differs lies from the outline of a shape. The rules that explain the distances stand in docs/data.md: exit status 1 if a
distance is larger than its rule allows, so also where a pixel differs and a rule says equal.

    peer                pip install
    pycocotools         pycocotools
    datumaro            datumaro
    labelme             pillow numpy            its rule, from its source
    ultralytics         opencv-python-headless  its rule, from its source
    label-studio-sdk    label-studio-sdk
    rasterio            rasterio
    nibabel, SimpleITK  nibabel SimpleITK
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from maskwright.datasets.formats import find_layout
from maskwright.datasets.formats.drawn import rle
from maskwright.datasets.formats.drawn.annotations import DrawnHere
from maskwright.datasets.formats.drawn.shapes import Ellipse, Polygon, Shape

HEIGHT, WIDTH = 24, 32
NAMES = "abc"
SIDE = Path(__file__).parent / "peers" / "readers_side.py"
Corners = list[tuple[float, float]]


@dataclass(frozen=True)
class Drawn:
    """A shape of a class."""

    kind: str
    """"polygon", "box" or "circle"."""
    corners: Corners
    """A polygon's; a box's first and last; a circle's centre and a point of it."""
    value: int

    def shape(self) -> Shape:
        """Its exact outline."""
        if self.kind == "box":
            return Polygon.box(*self.corners[0], *self.corners[1])
        if self.kind == "circle":
            radius = math.dist(*self.corners)
            return Ellipse(*self.corners[0], radius, radius)
        return Polygon.of(self.corners)


Drawing = list[Drawn]


@st.composite
def shapes(draw: st.DrawFn, kinds: tuple[str, ...]) -> Drawn:
    """A shape that covers pixels; polygons do not cross themselves: their corners go round a point."""
    kind = draw(st.sampled_from(kinds))
    x, y = draw(st.integers(2, WIDTH - 2)), draw(st.integers(2, HEIGHT - 2))
    value = draw(st.integers(1, 3))
    reach = st.integers(200, 1400).map(lambda number: number / 100)
    if kind == "box":
        return Drawn(
            kind, [(x - draw(reach) / 2, y - draw(reach) / 2), (x + draw(reach) / 2, y + draw(reach) / 2)], value
        )
    if kind == "circle":
        return Drawn(kind, [(float(x), float(y)), (x + draw(reach) / 2, float(y))], value)
    count = draw(st.integers(3, 9))
    turns = [(place + draw(st.floats(0, 0.8))) / count * 2 * math.pi for place in range(count)]
    corners = [(length * math.cos(turn), length * math.sin(turn)) for turn in turns for length in [draw(reach)]]
    return Drawn(kind, [(round(x + dx, 2), round(y + dy, 2)) for dx, dy in corners], value)


def drawings(count: int, *kinds: str, most: int = 5) -> list[Drawing]:
    """As many images' annotations, always the same ones."""
    found: list[Drawing] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(shapes(kinds), min_size=1, max_size=most))
    def collect(drawing: Drawing) -> None:
        found.append(drawing)

    collect()
    return found[:count]


def index_masks(found: list[Drawing]) -> dict[str, np.ndarray]:
    """The drawings as class masks, for formats that hold masks; the readers have to give back just these."""
    size = (HEIGHT, WIDTH)
    return {
        f"im{place:03}": DrawnHere(
            path=Path(), size=size, shapes=tuple((one.value, one.shape()) for one in drawing)
        ).read_mask()
        for place, drawing in enumerate(found)
    }


def pictures(folder: Path, count: int) -> list[str]:
    """Images to annotate, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(count):
        pixels = np.full((HEIGHT, WIDTH, 3), place % 256, np.uint8)
        Image.fromarray(pixels).save(folder / f"im{place:03}.png")
    return [f"im{place:03}" for place in range(count)]


def flat(corners: Corners) -> list[float]:
    """x, y, x, y, ..."""
    return [part for corner in corners for part in corner]


def coco(folder: Path, count: int) -> list[Drawing]:
    """Polygons, and every third object as run lengths, by turns as text and as a list."""
    found = drawings(count, "polygon")
    names = pictures(folder / "images", count)
    annotations: list[dict[str, Any]] = []
    for place, drawing in enumerate(found):
        for one in drawing:
            segmentation: Any = [flat(one.corners)]
            if len(annotations) % 3 == 2:
                mask = index_masks([[one]])["im000"] > 0
                counts = rle.counts_of(mask, by_columns=True)
                text = rle.compress(counts) if len(annotations) % 2 else counts.tolist()
                segmentation = {"size": [HEIGHT, WIDTH], "counts": text}
            area = int(mask.sum()) if isinstance(segmentation, dict) else one.shape().area
            annotations.append(
                {"id": len(annotations) + 1, "image_id": place, "category_id": one.value, "area": area}
                | {"segmentation": segmentation, "iscrowd": 0, "bbox": [0, 0, 1, 1]}
            )
    images = [{"id": i, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH} for i, name in enumerate(names)]
    categories = [{"id": place + 1, "name": name} for place, name in enumerate(NAMES)]
    content = {"images": images, "categories": categories, "annotations": annotations}
    (folder / "annotations.json").write_text(json.dumps(content))
    return found


def labelme(folder: Path, count: int) -> list[Drawing]:
    """Polygons, rectangles and circles."""
    found = drawings(count, "polygon", "box", "circle")
    kinds = {"polygon": "polygon", "box": "rectangle", "circle": "circle"}
    for name, drawing in zip(pictures(folder, count), found, strict=True):
        entries = [
            {"label": NAMES[one.value - 1], "points": one.corners, "shape_type": kinds[one.kind]} for one in drawing
        ]
        content = {"shapes": entries, "imagePath": f"{name}.png", "imageHeight": HEIGHT, "imageWidth": WIDTH}
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "labels.txt").write_text("\n".join(NAMES))
    return found


def cvat(folder: Path, count: int) -> list[Drawing]:
    """Polygons, boxes, and every third object as a mask."""
    found = drawings(count, "polygon", "box")
    images = []
    for place, (name, drawing) in enumerate(zip(pictures(folder / "images", count), found, strict=True)):
        parts = []
        for number, one in enumerate(drawing):
            label = f"label={quoteattr(NAMES[one.value - 1])} z_order={quoteattr(str(number))}"
            mask = index_masks([[one]])["im000"] > 0
            if number % 3 == 2:
                counts = ", ".join(map(str, rle.counts_of(mask, by_columns=False)))
                parts.append(f'<mask {label} rle="{counts}" left="0" top="0" width="{WIDTH}" height="{HEIGHT}"/>')
            elif one.kind == "box":
                (left, top), (right, bottom) = one.corners
                parts.append(f'<box {label} xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}" occluded="0"/>')
            else:
                points = ";".join(f"{x},{y}" for x, y in one.corners)
                parts.append(f'<polygon {label} points="{points}" occluded="0"/>')
        images.append(
            f'<image id="{place}" name="{name}.png" width="{WIDTH}" height="{HEIGHT}">{"".join(parts)}</image>'
        )
    labels = "".join(f"<label><name>{name}</name></label>" for name in NAMES)
    head = f"<version>1.1</version><meta><task><labels>{labels}</labels></task></meta>"
    (folder / "annotations.xml").write_text(f"<annotations>{head}{''.join(images)}</annotations>")
    return found


def voc(folder: Path, count: int) -> list[Drawing]:
    """Palette masks."""
    found = drawings(count, "polygon")
    names = pictures(folder / "JPEGImages", count)
    for path in sorted((folder / "JPEGImages").iterdir()):
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()
    colours = {"background": (0, 0, 0), "a": (128, 0, 0), "b": (0, 128, 0), "c": (128, 128, 0)}
    lines = [f"{name}:{','.join(map(str, colour))}::" for name, colour in colours.items()]
    (folder / "labelmap.txt").write_text("\n".join(["# label:color_rgb:parts:actions", *lines, ""]))
    (folder / "SegmentationClass").mkdir()
    for name, mask in index_masks(found).items():
        picture = Image.fromarray(mask.astype(np.uint8)).convert("P")
        picture.putpalette([part for colour in colours.values() for part in colour])
        picture.save(folder / "SegmentationClass" / f"{name}.png")
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    (folder / "ImageSets" / "Segmentation" / "train.txt").write_text("\n".join(names) + "\n")
    return found


def yolo(folder: Path, count: int) -> list[Drawing]:
    """Polygons in fractions of width and height, clipped to the image, without which Ultralytics takes none."""
    drawn = drawings(count, "polygon")
    found = [[replace(one, corners=clipped(one.corners)) for one in drawing] for drawing in drawn]
    (folder / "labels").mkdir(parents=True)
    for name, drawing in zip(pictures(folder / "images", count), found, strict=True):
        lines = [
            f"{one.value - 1} " + " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in one.corners)
            for one in drawing
        ]
        (folder / "labels" / f"{name}.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text("train: images\nnames: [a, b, c]\n")
    return found


def clipped(corners: Corners) -> Corners:
    """Corners moved into the image."""
    return [(min(max(x, 0.0), WIDTH), min(max(y, 0.0), HEIGHT)) for x, y in corners]


def geojson(folder: Path, count: int) -> list[Drawing]:
    """Polygons in pixels, as QuPath writes them."""
    found = drawings(count, "polygon")
    (folder / "labels").mkdir(parents=True)
    for name, drawing in zip(pictures(folder / "images", count), found, strict=True):
        features = [
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [[*one.corners, one.corners[0]]]},
                "properties": {"class": NAMES[one.value - 1]},
            }
            for one in drawing
        ]
        content = {"type": "FeatureCollection", "features": features}
        (folder / "labels" / f"{name}.geojson").write_text(json.dumps(content))
    return found


def masks_for_the_peer(folder: Path, count: int) -> list[Drawing]:
    """Class masks that the peer writes in its own way."""
    found = drawings(count, "polygon", "box", "circle")
    pictures(folder / "images", count)
    np.savez(folder / "masks.npz", **index_masks(found))  # type: ignore[arg-type]
    return found


def volumes_for_the_peer(folder: Path, count: int) -> list[Drawing]:
    """Class masks that the peer stacks, with images of its own."""
    found = drawings(count, "polygon", "box", "circle")
    folder.mkdir(parents=True)
    np.savez(folder / "masks.npz", **index_masks(found))  # type: ignore[arg-type]
    return found


ROWS: tuple[tuple[str, str, Callable[[Path, int], list[Drawing]], float], ...] = (
    ("coco", "pycocotools", coco, 0.15),
    ("labelme", "labelme", labelme, 1.5),
    ("cvat", "datumaro", cvat, 0.15),
    ("voc", "datumaro", voc, 0),
    ("yolo", "ultralytics", yolo, 1.5),
    ("labelstudio", "label-studio-sdk", masks_for_the_peer, 0),
    ("geojson", "rasterio", geojson, 0),
    ("geotiff", "rasterio", masks_for_the_peer, 0),
    ("nifti", "nibabel", volumes_for_the_peer, 0),
    ("nifti", "SimpleITK", volumes_for_the_peer, 0),
)
"""Format, peer, who writes the data, and how far from an outline, in pixels, the two may differ."""


def outline_distance(drawing: Drawing, where: np.ndarray) -> float:
    """How far the farthest of some pixels' centres lies from the nearest outline of the drawing."""
    y, x = np.nonzero(where)
    centres = (x + 0.5) + 1j * (y + 0.5)
    nearest = np.full(len(centres), np.inf)
    for one in drawing:
        if one.kind == "circle":
            radius = math.dist(*one.corners)
            nearest = np.minimum(nearest, np.abs(np.abs(centres - complex(*one.corners[0])) - radius))
            continue
        corners = one.corners
        if one.kind == "box":
            (left, top), (right, bottom) = corners
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        for start, end in zip(corners, [*corners[1:], corners[0]], strict=True):
            a, edge = complex(*start), complex(*end) - complex(*start)
            along = np.clip(((centres - a) * np.conj(edge)).real / max(abs(edge) ** 2, 1e-12), 0, 1)
            nearest = np.minimum(nearest, np.abs(centres - a - along * edge))
    return float(nearest.max())


def compared(
    kind: str, peer: str, python: str, write: Callable[[Path, int], list[Drawing]], folder: Path, count: int
) -> dict[str, Any]:
    """A row of the table."""
    found = write(folder, count)
    subprocess.run([python, SIDE, peer, kind, folder], check=True)
    theirs = dict(np.load(f"{folder}.{peer}.npz"))
    layout = find_layout(folder)
    ours = {sample.id.rpartition("/")[2]: sample.mask for sample in layout.samples}
    order = list(theirs)
    equal, different, farthest = 0, 0, 0.0
    missing = sorted(set(order) ^ set(ours))
    for place, name in enumerate(order):
        mask = ours.get(name)
        if mask is None:
            continue
        raw = mask.read_mask()
        known = theirs[name] >= 0  # where the peer says "no data", no class may be read
        apart = np.where(known, raw != theirs[name], np.isin(raw, range(len(NAMES) + 1)))
        equal += not apart.any()
        different += int(apart.sum())
        if apart.any():
            farthest = max(farthest, outline_distance(found[place], apart))
    return {
        "format": kind, "peer": peer, "images": len(order), "missing": missing, "equal": equal,
        "pixels": len(order) * HEIGHT * WIDTH, "different": different, "farthest": round(farthest, 3),
    }  # fmt: skip


def main() -> int:
    """Compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", type=Path)
    given_options = parser.parse_args()
    pythons = dict(text.split("=", 1) for text in given_options.peer)
    rows: list[dict[str, Any]] = []
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        base = given_options.keep or Path(scratch)
        for kind, peer, write, allowed in ROWS:
            if given_options.only and kind not in given_options.only:
                continue
            if peer not in pythons:
                print(f"{kind:12} {peer:17} passed over: no --peer {peer}=PYTHON")
                continue
            row = compared(kind, peer, pythons[peer], write, base / f"{kind}-{peer}", given_options.examples)
            row |= {"allowed": allowed, "right": not row["missing"] and row["farthest"] <= allowed}
            rows.append(row)
            wrong += not row["right"]
            print(
                f"{'right' if row['right'] else 'WRONG':6}{kind:12} {peer:17} {row['equal']:4} of {row['images']} "
                f"images equal; {row['different']:6} of {row['pixels']} pixels differ, {row['farthest']:.2f} from an "
                f"outline at most (allowed {allowed})",
                *row["missing"][:3],
            )
    if given_options.json:
        given_options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

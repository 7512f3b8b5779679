"""Lay out public images of other domains than those of ../shared/data for benchmarks/budget.py: OUT/SET/{train,test}.

    python benchmarks/domains.py people=CLONES/Human-Segmentation-Dataset faces=CLONES/FASSEG-repository --out OUT

| set | from a clone of | classes | held out for the test |
| --- | --- | --- | --- |
| people | VikramShenoy97/Human-Segmentation-Dataset | person | every fourth image |
| clothes | bearpaw/clothing-co-parsing | the 16 labels found in most photos, and the rest | every sixth photo |
| faces | massimomauro/FASSEG-repository (V2, frontal faces) | 6, by colour | as there |
| aerial | Kaarti22/satellite-imagery (Dubai, Humans in the Loop) | 5, by colour; grey is unlabelled | tiles 3 and 6 |
| tiles | abin24/Magnetic-tile-defect-datasets. | 5 defects of magnetic tiles | every third image |

The images belong to their authors, and none of them is kept here; read their terms before using them for more than
such a measurement.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat

from maskwright.datasets.classes import UNLABELLED

Pair = tuple[str, bool, Image.Image, np.ndarray]
"""Name, whether it is for the test, image, and mask (H x W class indices)."""

KEPT_LABELS = 16
DEFECTS = ("Free", "Blowhole", "Break", "Crack", "Fray", "Uneven")
FREE_EVERY = 5
"""One of so many tiles without a defect is kept."""
LAND = ("3C1098", "8429F6", "6EC1E4", "FEDD3A", "E2A929", "9B9B9B")
"""Building, land, road, vegetation, water, unlabelled."""


def people(clone: Path) -> Iterator[Pair]:
    """Photos of people and their masks, which are smaller than some photos."""
    for index, path in enumerate(_sorted(clone / "Training_Images", "*.jpg")):
        image = Image.open(path).convert("RGB")
        mask = Image.open(clone / "Ground_Truth" / f"{path.stem}.png").convert("L")
        if abs(mask.width / mask.height - image.width / image.height) > 0.02:
            continue
        inside = np.asarray(mask.resize(image.size, Image.Resampling.BILINEAR)) > 127
        yield path.stem, index % 4 == 0, image, np.where(inside, 255, 0)


def clothes(clone: Path) -> Iterator[Pair]:
    """Street fashion photos."""
    truths = {
        path.stem: loadmat(path)["groundtruth"] for path in _sorted(clone / "annotations" / "pixel-level", "*.mat")
    }
    photos: Counter[int] = Counter(label for truth in truths.values() for label in np.unique(truth).tolist())
    index_of = np.full(256, KEPT_LABELS)
    for index, (label, _) in enumerate(photos.most_common(KEPT_LABELS)):
        index_of[label] = index
    for number, (stem, truth) in enumerate(truths.items()):
        yield stem, number % 6 == 0, Image.open(clone / "photos" / f"{stem}.jpg").convert("RGB"), index_of[truth]


def faces(clone: Path) -> Iterator[Pair]:
    """Frontal faces; a few pixels between two colours get the nearest one."""
    colors: Counter[tuple[int, ...]] = Counter()
    for path in _sorted(clone / "V2" / "Train_Labels", "*.bmp"):
        values, counts = np.unique(np.asarray(Image.open(path)).reshape(-1, 3), axis=0, return_counts=True)
        colors.update(dict(zip(map(tuple, values.tolist()), counts.tolist(), strict=True)))
    table = np.array([color for color, _ in colors.most_common(6)])
    for part in ("Train", "Test"):
        for path in _sorted(clone / "V2" / f"{part}_RGB", "*.bmp"):
            truth = Image.open(clone / "V2" / f"{part}_Labels" / path.name).convert("RGB")
            yield path.stem, part == "Test", Image.open(path).convert("RGB"), _nearest(truth, table)


def aerial(clone: Path) -> Iterator[Pair]:
    """Parts of eight tiles of satellite images."""
    table = np.array([tuple(bytes.fromhex(color)) for color in LAND])
    for path in _sorted(clone / "Semantic segmentation dataset", "Tile */images/*.jpg"):
        tile = path.parent.parent.name[-1]
        mask = _nearest(Image.open(path.parent.parent / "masks" / f"{path.stem}.png").convert("RGB"), table)
        mask = np.where(mask == len(LAND) - 1, UNLABELLED, mask)
        yield f"t{tile}_{path.stem}", tile in "36", Image.open(path).convert("RGB"), mask


def tiles(clone: Path) -> Iterator[Pair]:
    """Grey images of magnetic tiles, each with at most one kind of defect."""
    for value, defect in enumerate(DEFECTS):
        paths = _sorted(clone / f"MT_{defect}" / "Imgs", "*.jpg")
        for index, path in enumerate(paths if value else paths[::FREE_EVERY]):
            image, truth = Image.open(path).convert("L"), Image.open(path.with_suffix(".png")).convert("L")
            yield f"{defect}{path.stem}", index % 3 == 0, image, (np.asarray(truth) > 127) * value


SETS: dict[str, Callable[[Path], Iterator[Pair]]] = {
    "people": people, "clothes": clothes, "faces": faces, "aerial": aerial, "tiles": tiles,
}  # fmt: skip


def _sorted(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern))


def _nearest(image: Image.Image, table_K3: np.ndarray) -> np.ndarray:
    """The index of the nearest colour of each pixel."""
    pixels_HW3 = np.asarray(image).astype(int)
    distance_KHW = np.stack([((pixels_HW3 - color) ** 2).sum(-1) for color in table_K3])
    return np.asarray(distance_KHW.argmin(0))


def main() -> None:
    """Lay out each set that is given; pairs whose sizes differ are left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="SET=CLONE", help=f"{', '.join(SETS)}, and where its clone is")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    for text in given.sets:
        name, _, clone = text.partition("=")
        if name not in SETS or not Path(clone).is_dir():
            parser.error(f"{text!r}: expected one of {', '.join(SETS)}, '=', and the folder of its clone")
        count: Counter[str] = Counter()
        for stem, test, image, mask in SETS[name](Path(clone)):
            if mask.shape != image.size[::-1]:
                continue
            part = "test" if test else "train"
            for kind, picture in (("images", image), ("masks", Image.fromarray(mask.astype(np.uint8)))):
                folder = given.out / name / part / kind
                folder.mkdir(parents=True, exist_ok=True)
                picture.save(folder / f"{stem}.png")
            count[part] += 1
        print(f"{name}: {count['train']} images for training, {count['test']} for the test")


if __name__ == "__main__":
    main()

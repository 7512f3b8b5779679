"""Files that are nearly right: thousands of mutated images and annotations are read, or refused with a reason.

Two mutators: bytes are flipped, cut, doubled and moved with a seeded generator; values of JSON are replaced by what
hypothesis thinks of. Memory does not grow over all of it.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import psutil
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from maskwright.check.audit import audit
from maskwright.convert import convert
from maskwright.datasets.formats import open_dataset
from maskwright.errors import MaskwrightError

SLOWEST = 20.0
"""Seconds that one file may take, on a busy machine."""
GROWTH = 1.1
SHAPE = (24, 32)

Write = Callable[[Path], Path]


def pair(root: Path, name: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros(SHAPE, np.uint8)
    mask[5:15, 6:20] = 1
    image = np.clip(60 + 120 * mask[..., None] + rng.normal(0, 9, (*SHAPE, 3)), 0, 255).astype(np.uint8)
    for part, pixels in (("images", image), ("masks", mask)):
        (root / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / part / f"{name}.png")
    return image, mask


def folder(root: Path) -> Path:
    for number in range(3):
        pair(root, f"photo{number}", np.random.default_rng(number))
    return root


def image_as(suffix: str, encode: Callable[[np.ndarray], bytes], part: str = "images") -> Write:
    """A folder in which one file is of another format; returns that file."""

    def write(root: Path) -> Path:
        folder(root)
        old = root / part / "photo1.png"
        with Image.open(old) as opened:
            pixels = np.asarray(opened)
        old.unlink()
        path = old.with_suffix(suffix)
        path.write_bytes(encode(pixels))
        return path

    return write


def pillow(name: str, **options: Any) -> Callable[[np.ndarray], bytes]:
    def encode(pixels: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, name, **options)
        return file.getvalue()

    return encode


def tiff(**options: Any) -> Callable[[np.ndarray], bytes]:
    def encode(pixels: np.ndarray) -> bytes:
        file = io.BytesIO()
        tifffile.imwrite(file, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack", **options)
        return file.getvalue()

    return encode


def npy(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, pixels)
    return file.getvalue()


def converted(to: Any, pattern: str) -> Write:
    """A data set in a format of annotations; returns an annotation file of it."""

    def write(root: Path) -> Path:
        source = root.with_name(f"{root.name} source")
        convert(open_dataset(folder(source)), root, to)
        shutil.rmtree(source)
        return sorted(root.rglob(pattern))[0]

    return write


def table(name: str, text: str) -> Write:
    def write(root: Path) -> Path:
        path = folder(root) / name
        path.write_text(text)
        return path

    return write


def geo(root: Path) -> Path:
    import rasterio
    from rasterio.transform import from_origin

    (root / "images").mkdir(parents=True)
    profile = {"driver": "GTiff", "height": SHAPE[0], "width": SHAPE[1], "count": 1, "dtype": "uint8"}
    place = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_400_000, 2, 2)}
    with rasterio.open(root / "images" / "a.tif", "w", **profile, **place) as file:
        file.write(np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint8).reshape(1, *SHAPE))
    ring = [[500_004, 5_399_996], [500_030, 5_399_996], [500_030, 5_399_970], [500_004, 5_399_996]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "properties": {"label": "a"}, "geometry": shape}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    path = root / "labels" / "a.geojson"
    path.parent.mkdir()
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))
    return path


def supervisely(root: Path) -> Path:
    folder(root)
    shutil.rmtree(root / "masks")
    (root / "ds" / "ann").mkdir(parents=True)
    (root / "images").rename(root / "ds" / "img")
    points = {"exterior": [[2, 2], [20, 2], [20, 12]], "interior": []}
    entry = {"classTitle": "a", "geometryType": "polygon", "points": points}
    for path in sorted((root / "ds" / "img").iterdir()):
        content = {"size": {"height": SHAPE[0], "width": SHAPE[1]}, "objects": [entry], "tags": []}
        (root / "ds" / "ann" / f"{path.name}.json").write_text(json.dumps(content))
    classes = [{"title": "a", "shape": "polygon", "color": "#ff0000"}]
    (root / "meta.json").write_text(json.dumps({"classes": classes, "tags": []}))
    return root / "ds" / "ann" / "photo0.png.json"


def cvat(root: Path) -> Path:
    folder(root)
    shutil.rmtree(root / "masks")
    shapes = '<polygon label="a" points="2,2;20,2;20,12" z_order="0"/><mask label="b" rle="3,5,4" left="3" top="3" width="4" height="3" z_order="1"/>'  # noqa: E501
    images = "".join(
        f'<image id="{n}" name="photo{n}.png" width="{SHAPE[1]}" height="{SHAPE[0]}">{shapes}</image>' for n in range(3)
    )
    labels = "<meta><task><labels><label><name>a</name></label><label><name>b</name></label></labels></task></meta>"
    path = root / "annotations.xml"
    path.write_text(f'<?xml version="1.0"?><annotations><version>1.1</version>{labels}{images}</annotations>')
    return path


MANIFEST = "image,mask,split,group\n" + "".join(
    f"images/photo{n}.png,masks/photo{n}.png,{'val' if n == 2 else 'train'},g{n}\n" for n in range(3)
)
CLASSES = '[[class]]\nname = "ground"\nvalue = 0\n[[class]]\nname = "cell"\nvalue = [1, 2]\ncolor = "#ff0000"\n'
FILES: dict[str, Write] = {
    "png": image_as(".png", pillow("PNG")),
    "palette png": image_as(".png", lambda pixels: pillow("PNG")(np.asarray(pixels)), "masks"),
    "jpeg": image_as(".jpg", pillow("JPEG")),
    "webp": image_as(".webp", pillow("WEBP")),
    "gif": image_as(".gif", pillow("GIF")),
    "bmp": image_as(".bmp", pillow("BMP")),
    "ppm": image_as(".ppm", pillow("PPM")),
    "jpeg 2000": image_as(".jp2", lambda pixels: bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="jp2"))),
    "tiff": image_as(".tif", tiff()),
    "deflated tiff": image_as(".tif", tiff(compression="zlib", predictor=True)),
    "tiled tiff": image_as(".tif", tiff(tile=(16, 16), compression="lzw")),
    "npy": image_as(".npy", npy),
    "mask as tiff": image_as(".tif", tiff(compression="packbits"), "masks"),
    "coco": converted("coco", "*.json"),
    "labelme": converted("labelme", "*.json"),
    "yolo": converted("yolo", "labels/**/*.txt"),
    "data.yaml": converted("yolo", "data.yaml"),
    "labelmap": converted("voc", "labelmap.txt"),
    "list": converted("voc", "trainval.txt"),
    "manifest": table("manifest.csv", MANIFEST),
    "classes": table("classes.toml", CLASSES),
    **({"geojson": geo} if find_spec("rasterio") else {}),
    "supervisely": supervisely,
    "cvat": cvat,
}
"""Writers of small data sets, each of which returns the file in it that is mutated."""

HOSTILE: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 2**70, -(2**70), 1e308, float("nan"), float("inf"), "", "a", "../../etc/passwd",
    "\x1b[2J", "\u202e", "9" * 40, [], [[]], [[[]]], {}, {"a": 1}, [None], ["a", 1], [1e308, -1e308], [[0, 0]] * 3,
    [0] * 1000, "x" * 5000,
]  # fmt: skip


def mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    """Some changes of bytes: bits flipped, parts cut, doubled, moved, zeroed, or numbers made extreme."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        size = len(changed)
        if not size:
            break
        at, length = rng.randrange(size), min(rng.choice((1, 2, 4, 16, 200)), size)
        kind = rng.randrange(7)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at:]
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3:
            changed[at:at] = changed[at : at + length] * rng.choice((1, 2, 50))
        elif kind == 4:
            changed[at : at + length] = rng.randbytes(length)
        elif kind == 5:
            changed[at : at + length] = rng.choice((b"\0", b"\xff", b"\x80", b"-", b"9")) * length
        else:
            other = rng.randrange(size)
            changed[at : at + length] = changed[other : other + length]
    return bytes(changed)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of a JSON document are."""
    yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


def mutated_json(text: str, choose: Callable[[int], int], draw: Callable[[], Any]) -> str:
    """A document with one value replaced, removed or doubled."""
    document = json.loads(text)
    every = list(places(document))
    path = every[choose(len(every))]
    if not path:
        return json.dumps(draw())
    home = document
    for key in path[:-1]:
        home = home[key]
    kind = choose(6)
    if kind == 0:
        del home[path[-1]]
    elif kind == 1 and isinstance(home, list):
        home.append(home[path[-1]])
    else:
        home[path[-1]] = draw()
    return json.dumps(document)


def read(root: Path, thoroughly: bool) -> bool:
    """Open a data set and read all of it, as training does, and as `check` does; tells whether it was taken."""
    if thoroughly:
        audit(root, workers=1)
    try:
        dataset = open_dataset(root)
        for sample in dataset.samples:
            dataset.read(sample)
    except MaskwrightError:
        return False
    return True


class Worlds:
    """A data set of each kind, whose file is mutated and put back."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.files: dict[str, Path] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, write in FILES.items():
                self.files[name] = write(home / name)
                assert read(home / name, thoroughly=True), f"{name} is right before it is mutated"
        self.content = {name: path.read_bytes() for name, path in self.files.items()}
        self.before = {path: path.stat().st_size for path in home.rglob("*") if path.is_file()}

    def try_one(self, name: str, content: bytes, thoroughly: bool) -> bool:
        path = self.files[name]
        path.write_bytes(content)
        started = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return read(self.home / name, thoroughly)
        except Exception as error:
            kept = self.home.parent / f"failed {name} {len(list(self.home.parent.iterdir()))}{path.suffix}"
            kept.write_bytes(content)
            raise AssertionError(f"{name}: {type(error).__name__}: {error}; the file is {kept}") from error
        finally:
            path.write_bytes(self.content[name])
            assert time.monotonic() - started < SLOWEST, name

    def left(self) -> list[Path]:
        return [path for path in self.home.rglob("*") if path.is_file() and path not in self.before]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Worlds:
    return Worlds(tmp_path_factory.mktemp("mutations") / "worlds")


@pytest.mark.parametrize("files", [240, pytest.param(8000, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])])
def test_mutated_files_are_read_or_refused(worlds: Worlds, files: int) -> None:
    rng = random.Random(files)
    process = psutil.Process()
    others = set(process.children(recursive=True))  # a browser of other tests, for example
    tenth, taken = 0, 0
    for number in range(files):
        name = list(FILES)[number % len(FILES)]
        content = worlds.content[name]
        if worlds.files[name].suffix in (".json", ".geojson") and rng.random() < 0.5:
            text = mutated_json(content.decode(), rng.randrange, lambda: rng.choice(HOSTILE))
            content = text.encode()
        else:
            content = mutated_bytes(content, rng)
        taken += worlds.try_one(name, content, thoroughly=number % 10 == 0)
        if number == files // 10:
            tenth = process.memory_info().rss
    assert 0 < taken < files
    assert worlds.left() == []
    assert set(process.children(recursive=True)) <= others
    if files > 1000:
        print(
            f"{taken} of {files} taken; resident memory {process.memory_info().rss / tenth:.3f} times the first tenth's"
        )
        assert process.memory_info().rss <= GROWTH * tenth


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(HOSTILE),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
ANNOTATIONS = [name for name in ("coco", "labelme", "geojson", "supervisely") if name in FILES]


@pytest.mark.parametrize("examples", [60, pytest.param(2000, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])])
def test_annotations_of_any_values_are_read_or_refused(worlds: Worlds, examples: int) -> None:
    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), database=None)
    @given(st.sampled_from(ANNOTATIONS), st.data())
    def attempt(name: str, data: st.DataObject) -> None:
        text = mutated_json(
            worlds.content[name].decode(),
            lambda count: data.draw(st.integers(0, count - 1)),
            lambda: data.draw(VALUES),
        )
        worlds.try_one(name, text.encode(), thoroughly=False)

    attempt()
    assert worlds.left() == []


def test_a_mutator_changes_something(worlds: Worlds) -> None:
    rng = random.Random(1)
    for content in worlds.content.values():
        assert sum(mutated_bytes(content, rng) != content for _ in range(20)) > 12
    text = worlds.content["coco"].decode()
    assert sum(json.loads(mutated_json(text, rng.randrange, lambda: None)) != json.loads(text) for _ in range(20)) > 12

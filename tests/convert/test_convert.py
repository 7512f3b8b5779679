"""Conversion: to every format and back, masks are the same pixel for pixel, and what is lost is listed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image as PillowImage

from maskwright.convert import Conversion, Target, convert
from maskwright.datasets.formats import open_dataset
from maskwright.datasets.samples import Dataset, Window
from maskwright.errors import SettingError, UnreadableFileError

# pycocotools 2.0.11 does not take NumPy 2's `copy` argument yet; a coming release may.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TARGETS = get_args(Target)
NAMES = ("background", "cell", "wall: thick")


def write(root: Path, masks: dict[str, np.ndarray], names: tuple[str, ...] = NAMES, *, values: int = 1) -> Path:
    """A folder of images of noise with these masks of indices; raw values are `values` times the index."""
    rng = np.random.default_rng(0)
    for stem, mask in masks.items():
        split, _, name = stem.rpartition("/")
        for kind, pixels in (
            ("images", rng.integers(0, 256, (*mask.shape, 3), np.uint8)),
            ("masks", np.where(mask == 255, 255, mask * values).astype(np.uint8)),
        ):
            path = root / split / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PillowImage.fromarray(pixels).save(path)
    table = [
        f'[[class]]\nname = "{name}"\nvalue = {place * values}\ncolor = "#{place * 40 + 10:02x}2030"\n'
        for place, name in enumerate(names)
    ]
    (root / "classes.toml").write_text("\n".join(table))
    return root


def blobs(seed: int, height: int = 23, width: int = 31, classes: int = 3, unlabelled: bool = True) -> np.ndarray:
    """Regions with holes, single pixels, and pixels that touch at corners."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, (height // 4 + 1, width // 4 + 1)).repeat(4, 0).repeat(4, 1)[:height, :width]
    mask = np.where(rng.random((height, width)) < 0.15, rng.integers(0, classes, (height, width)), coarse)
    mask[5:12, 5:12], mask[7:9, 7:9], mask[8, 8] = 1, 0, 2
    if unlabelled:
        mask[rng.random((height, width)) < 0.05] = 255
        mask[-3:] = 255
    return mask.astype(np.uint8)


def masks_of(dataset: Dataset) -> dict[str, np.ndarray]:
    return {sample.id: dataset.read(sample).mask for sample in dataset.samples}


def there_and_back(source: Path, folder: Path, to: Target) -> tuple[Dataset, Dataset, Conversion]:
    data = open_dataset(source)
    done = convert(data, folder / to, to)
    return data, open_dataset(folder / to), done


@pytest.mark.parametrize("to", TARGETS)
def test_masks_survive_pixel_for_pixel(tmp_path: Path, to: Target) -> None:
    masks = {f"{split}/{name}": blobs(seed) for seed, (split, name) in enumerate(
        [("train", "a"), ("train", "b c"), ("val", "a"), ("test", "ü")]
    )}  # fmt: skip
    masks["train/empty"] = np.zeros((5, 9), np.uint8)
    masks["train/nothing"] = np.full((5, 9), 255, np.uint8)
    source = write(tmp_path / "source", masks, values=70)
    before, after, done = there_and_back(source, tmp_path, to)
    assert after.classes.names == before.classes.names
    assert np.array_equal(after.classes.colors, before.classes.colors)
    expected, found = masks_of(before), masks_of(after)
    if to == "voc":  # one folder for all splits, and names without spaces
        expected["val/val-a"] = expected.pop("val/a")
        expected["train/b_c"] = expected.pop("train/b c")
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        assert np.array_equal(found[name], mask), name
    assert done.images == {"train": 4, "val": 1, "test": 1}
    assert {sample.split for sample in after.samples} == {"train", "val", "test"}


@pytest.mark.parametrize("to", TARGETS)
def test_classes_without_a_background_and_without_unlabelled_pixels(tmp_path: Path, to: Target) -> None:
    source = write(tmp_path / "source", {"a": blobs(3, unlabelled=False)}, ("sky", "road", "car"))
    before, after, done = there_and_back(source, tmp_path, to)
    assert after.classes.names == ["sky", "road", "car"]
    (name,) = masks_of(after)
    assert name == ("train/a" if to == "yolo" else "a")
    assert np.array_equal(masks_of(before)["a"], masks_of(after)[name])
    assert done.images == {"all": 1}
    assert any("the data has no splits: all images are train" in note for note in done.notes) == (to == "yolo")


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from([0, 1, 2, 255])),
    st.sampled_from(TARGETS),
    st.booleans(),
)
def test_any_mask_survives(mask: np.ndarray, to: Target, background: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        names = NAMES if background else ("sky", "cell", "wall")
        before, after, _ = there_and_back(write(Path(folder) / "source", {"a": mask}, names), Path(folder), to)
        assert after.classes.names == list(names)
        (expected,), (found,) = (list(masks_of(data).values()) for data in (before, after))
        assert np.array_equal(found, expected)
        assert np.array_equal(expected, mask)


@pytest.mark.parametrize("to", [to for to in TARGETS if to != "voc"])
def test_images_are_copied_byte_for_byte(tmp_path: Path, to: Target) -> None:
    source = write(tmp_path / "source", {"train/a": blobs(0), "val/b": blobs(1)})
    tifffile.imwrite(source / "val" / "images" / "b.tif", np.zeros((23, 31, 5), np.uint16), photometric="minisblack")
    (source / "val" / "images" / "b.png").unlink()
    _, after, _ = there_and_back(source, tmp_path, to)
    for sample in after.samples:
        name = sample.id.partition("/")[2] + sample.image.path.suffix
        original = source / str(sample.split) / "images" / name
        assert sample.image.path.read_bytes() == original.read_bytes()


def test_voc_encodes_what_is_no_jpeg_and_says_so(tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"a": blobs(0), "b": blobs(1), "c": blobs(2)})
    images = source / "images"
    PillowImage.open(images / "a.png").save(images / "a.jpg", quality=50)
    (images / "a.png").unlink()
    tifffile.imwrite(
        images / "c.tif", np.arange(23 * 31 * 2, dtype=np.uint16).reshape(23, 31, 2), photometric="minisblack"
    )
    (images / "c.png").unlink()
    _, after, done = there_and_back(source, tmp_path, "voc")
    jpegs = tmp_path / "voc" / "JPEGImages"
    assert (jpegs / "a.jpg").read_bytes() == (images / "a.jpg").read_bytes()
    original = np.asarray(PillowImage.open(images / "b.png")).astype(int)
    assert np.abs(after.read(after.samples[1]).image.astype(int) - original).mean() < 6
    assert any(text.startswith("2 images that were no upright JPEG: encoded") for text in done.lost)
    assert any(text.startswith("1 images of more than 8 bits") for text in done.lost)
    assert any(text.startswith("1 images of two, or more than three, channels") for text in done.lost)
    with PillowImage.open(tmp_path / "voc" / "SegmentationClass" / "a.png") as picture:
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture), blobs(0))


def test_groups_and_valid_masks(tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"a": blobs(0), "b": blobs(1)})
    (source / "valid").mkdir()
    half = np.full((23, 31), 255, np.uint8)
    half[:, :10] = 0
    for name in ("a", "b"):
        PillowImage.fromarray(half).save(source / "valid" / f"{name}.png")
    rows = ["image,mask,split,group,valid"]
    rows += [
        f"images/{n}.png,masks/{n}.png,{s},{g},valid/{n}.png" for n, s, g in (("a", "train", "p1"), ("b", "val", "p2"))
    ]
    (source / "manifest.csv").write_text("\n".join(rows) + "\n")

    before, after, done = there_and_back(source, tmp_path, "folder")
    assert done.lost == ()
    assert [(sample.id, sample.group) for sample in after.samples] == [("train/a", "p1"), ("val/b", "p2")]
    for first, second in zip(before.samples, after.samples, strict=True):
        one, two = before.read(first), after.read(second)
        assert np.array_equal(one.mask, two.mask)
        assert one.valid is not None
        assert two.valid is not None
        assert np.array_equal(one.valid, two.valid)

    before, after, done = there_and_back(source, tmp_path, "coco")
    assert {name: mask.tobytes() for name, mask in masks_of(after).items()} == {
        name: mask.tobytes() for name, mask in masks_of(before).items()
    }
    assert "groups (patient, slide, video) of 2 images" in done.lost
    assert any(text.startswith("valid/ of 2 images") for text in done.lost)


def test_pages_and_windows_become_files(tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"a": blobs(0)})
    data = open_dataset(source)
    (whole,) = data.samples
    window = Window(2, 3, 8, 9)
    assert whole.mask is not None
    part = type(whole)(id="a-y2-x3", image=whole.image.cut(window), mask=whole.mask.cut(window), group="a")
    done = convert(data.with_samples((part,)), tmp_path / "out", "folder")
    after = open_dataset(tmp_path / "out")
    pair = after.read(after.samples[0])
    assert np.array_equal(pair.image, data.read(whole).image[2:10, 3:12])
    assert np.array_equal(pair.mask, blobs(0)[2:10, 3:12])
    assert any(text.startswith("1 pages or windows became image files") for text in done.lost)


@pytest.mark.parametrize(
    "pixels",
    [
        np.arange(60, dtype=np.uint16).reshape(4, 5, 3) * 1000,
        np.linspace(-1, 1, 20, dtype=np.float32).reshape(4, 5, 1),
        np.arange(140, dtype=np.uint8).reshape(4, 5, 7),
        np.arange(40, dtype=np.uint8).reshape(4, 5, 2),
    ],
)
def test_native_values_are_written_without_loss(tmp_path: Path, pixels: np.ndarray) -> None:
    from maskwright.datasets.writing import write_native
    from maskwright.imaging.images import read_image

    again = read_image(write_native(tmp_path / "a.b", pixels)).pixels
    assert again.dtype == pixels.dtype
    assert np.array_equal(again, pixels)


def test_pycocotools_reads_what_is_written(tmp_path: Path) -> None:
    tools = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    source = write(tmp_path / "source", {"train/a": blobs(0), "train/b": blobs(1)})
    before, _, _ = there_and_back(source, tmp_path, "coco")
    path = tmp_path / "coco" / "annotations" / "stuff_train.json"
    api = tools.COCO(str(path))
    for image in api.loadImgs(api.getImgIds()):
        mask = before.read(next(s for s in before.samples if s.id == f"train/{Path(image['file_name']).stem}")).mask
        found = np.full(mask.shape, 255)
        for item in api.loadAnns(api.getAnnIds(imgIds=[image["id"]])):
            region = api.annToMask(item)
            found[region == 1] = item["category_id"] - 1
            rows, columns = np.nonzero(region)
            assert item["area"] == region.sum()
            left, top, width, height = item["bbox"]
            assert (left, top) == (columns.min(), rows.min())
            assert (left + width - 1, top + height - 1) == (columns.max(), rows.max())
        assert np.array_equal(found, mask)
    assert json.loads(path.read_text())["categories"][1]["color"] == [50, 0x20, 0x30]


def test_labelme_and_yolo_without_our_class_table(tmp_path: Path) -> None:
    """Other programs see names and background as these formats mean them."""
    source = write(tmp_path / "source", {"train/a": blobs(0), "val/b": blobs(1)})
    for to, names in (
        ("labelme", ["background", "cell", "wall: thick"]),
        ("yolo", ["background", "cell", "wall: thick", "unlabelled"]),
    ):
        before, _, done = there_and_back(source, tmp_path, to)  # type: ignore[arg-type]
        (tmp_path / to / "classes.toml").unlink()
        after = open_dataset(tmp_path / to)
        assert after.classes.names == names
        found = masks_of(after)["train/a"]
        found[found == 3] = 255
        assert np.array_equal(found, masks_of(before)["train/a"])
        assert "class colours: only classes.toml has them" in done.lost
        if to == "yolo":
            assert any("2 images, are objects of the class 'unlabelled'" in note for note in done.notes)


def test_the_place_is_checked(tmp_path: Path) -> None:
    data = open_dataset(write(tmp_path / "source", {"a": blobs(0)}))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for out, text in ((tmp_path / "full", "not empty"), (tmp_path / "source" / "out", "lies within")):
        with pytest.raises(SettingError, match=text):
            convert(data, out, "coco")
    with pytest.raises(SettingError, match="unknown format"):
        convert(data, tmp_path / "out", "voc2")  # type: ignore[arg-type]
    (tmp_path / "empty").mkdir()
    shown: list[tuple[int, int]] = []
    done = convert(data, tmp_path / "empty", "coco", progress=lambda a, b: shown.append((a, b)))
    assert shown == [(1, 1)]
    assert done.to_json()["images"] == {"all": 1}


@pytest.mark.parametrize("to", TARGETS)
def test_nothing_is_left_of_a_conversion_that_fails(tmp_path: Path, to: Target) -> None:
    source = write(tmp_path / "source", {name: blobs(seed) for seed, name in enumerate("abcd")})
    data = open_dataset(source)
    content = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    damaged = source / "masks" / "c.png"
    damaged.write_bytes(content[damaged][:-30])
    with pytest.raises(UnreadableFileError, match=r"c\.png"):
        convert(data, tmp_path / "out", to)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    damaged.write_bytes(content[damaged])
    convert(data, tmp_path / "out", to)
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == content


def test_turned_images_are_mentioned(tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"a": blobs(0)})
    exif: Any = PillowImage.Exif()
    exif[0x0112] = 6
    PillowImage.fromarray(np.zeros((31, 23, 3), np.uint8)).save(source / "images" / "a.jpg", exif=exif)
    (source / "images" / "a.png").unlink()
    before, after, done = there_and_back(source, tmp_path, "coco")
    assert any("1 images are turned by their EXIF orientation" in note for note in done.notes)
    assert np.array_equal(masks_of(before)["a"], masks_of(after)["a"])

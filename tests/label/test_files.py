"""Label files of stacks, maps and large images."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.imaging.decoders import Window
from maskwright.imaging.images import read_mask
from maskwright.label.patches import encode
from maskwright.label.store import Patch, Project

Paint = Callable[..., Patch]


def test_a_stack_has_a_label_page_for_each_page(tmp_path: Path, paint: Paint) -> None:
    tifffile.imwrite(tmp_path / "brain.tif", np.zeros((3, 20, 30), np.uint16), photometric="minisblack")
    with Project(tmp_path, classes=["x", "y"], pause=None) as project:
        assert [state.name for state in project.images()] == ["brain-000", "brain-001", "brain-002"]
        project.apply(paint(np.ones((2, 5), int), 0, image="brain-001"))
        project.save()
        path = tmp_path / "labels" / "brain.tif"
        assert [int((read_mask(path, page) == 1).sum()) for page in range(3)] == [0, 10, 0]
        assert (read_mask(path, 2) == 255).all()
        assert [int(read_mask(tmp_path / "labels" / "sources" / "brain.tif", p).max()) for p in range(3)] == [0, 1, 0]
        project.apply(paint(np.zeros((2, 5), int), 0, image="brain-002"))
    with Project(tmp_path, pause=None) as project:
        assert [state.labelled for state in project.images()] == [0, 10, 10]
        assert not project.journal.rows("SELECT 1 FROM entry WHERE kind = 'file'")


def test_labels_of_a_geotiff_lie_on_its_grid(tmp_path: Path, paint: Paint) -> None:
    rasterio = pytest.importorskip("rasterio")
    transform = rasterio.transform.Affine(0.5, 0, 500_000, 0, -0.5, 4_600_000)
    with rasterio.open(
        tmp_path / "field.tif", "w", driver="GTiff", height=40, width=60, count=3, dtype="uint8",
        crs="EPSG:32633", transform=transform,
    ) as image:  # fmt: skip
        image.write(np.full((3, 40, 60), 7, np.uint8))
    with Project(tmp_path, classes=["x", "y"], pause=None) as project:
        project.apply(paint(np.ones((2, 5), int), 0, image="field", top=3, left=4))
    for path in (tmp_path / "labels" / "field.tif", tmp_path / "labels" / "sources" / "field.tif"):
        with rasterio.open(path) as labels:
            assert labels.transform == transform
            assert labels.crs.to_epsg() == 32633
            assert labels.nodata == 255
    with rasterio.open(tmp_path / "labels" / "field.tif") as labels:
        pixels = labels.read(1)
    assert (pixels[3:5, 4:9] == 1).all()
    assert (pixels == 255).sum() == pixels.size - 10
    assert (read_mask(tmp_path / "labels" / "field.tif") == pixels).all()


def test_labels_in_another_format_are_kept_as_a_backup(tmp_path: Path, paint: Paint) -> None:
    tifffile.imwrite(tmp_path / "brain.tif", np.zeros((2, 20, 30), np.uint8), photometric="minisblack")
    (tmp_path / "labels").mkdir()
    theirs = np.full((2, 20, 30), 1, np.uint8)
    tifffile.imwrite(tmp_path / "labels" / "brain.tiff", theirs, photometric="minisblack")
    with Project(tmp_path, classes=["x", "y"], pause=None) as project:
        project.apply(paint(np.zeros((1, 1), int), project.read("brain-000").revision, image="brain-000"))
    assert not (tmp_path / "labels" / "brain.tiff").exists()
    assert [path.name.endswith("-brain.tiff") for path in (tmp_path / "backups").iterdir()] == [True]
    assert read_mask(tmp_path / "labels" / "brain.tif", 0).tolist()[0][:2] == [0, 1]
    assert (read_mask(tmp_path / "labels" / "brain.tif", 1) == 1).all()


def test_a_large_image_is_labelled_by_tiles(tmp_path: Path) -> None:
    height, width = 9000, 12000
    # Grey rows deflate to nothing: the file is small, and reading its header is all that is needed.
    tifffile.imwrite(
        tmp_path / "scan.tif", (np.zeros((256, 256), np.uint8) for _ in range(36 * 47)),
        shape=(height, width), dtype=np.uint8, tile=(256, 256), compression="zlib", photometric="minisblack",
    )  # fmt: skip
    with Project(tmp_path, classes=["x", "y"], pause=None) as project:
        tracemalloc.start()
        box = Window(4000, 7000, 100, 120)
        stroke = Patch(
            image="scan", base=0, author="ada", seconds=1, box=box, payload=encode(np.ones((100, 120), np.uint16))
        )
        project.apply(stroke)
        labels = project.read("scan", Window(4090, 7110, 20, 20))
        assert (labels.values == 1).sum() == 100
        _, peak = tracemalloc.get_traced_memory()
        assert peak < 16 << 20, "a stroke touches its own tiles only"
        everything = np.array([(height * width, 0)], np.dtype([("length", "<u4"), ("value", "<u2")])).tobytes()
        whole = Window(0, 0, height, width)
        project.apply(Patch(image="scan", base=1, author="ada", seconds=1, box=whole, payload=everything))
        assert (project.read("scan", Window(8990, 11990, 10, 10)).values == 0).all()
        project.undo("scan", 2, "ada")
        assert (project.read("scan", Window(4090, 7110, 20, 20)).values == 1).sum() == 100
        project.save()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 400 << 20
    with tifffile.TiffFile(tmp_path / "labels" / "scan.tif") as tif:
        assert tif.pages.first.is_tiled
        assert tif.pages.first.shape == (height, width)
    assert (read_mask(tmp_path / "labels" / "scan.tif", None, box) == 1).all()


def test_an_image_is_labelled_as_it_is_seen(tmp_path: Path, paint: Paint) -> None:
    picture = Image.fromarray(np.zeros((20, 30, 3), np.uint8))
    exif = picture.getexif()
    exif[274] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    with Project(tmp_path, classes=["x", "y"], pause=None) as project:
        assert project.image("a").shape == (30, 20)
        project.apply(paint(np.ones((30, 20), int), 0))
    assert read_mask(tmp_path / "labels" / "a.png").shape == (30, 20)

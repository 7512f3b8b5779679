"""Large rasters as data sets of windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from maskwright.datasets.formats import find_layout, open_dataset, parts
from maskwright.datasets.sources import Window
from maskwright.errors import SizeMismatchError
from maskwright.imaging import tiffs


def save(path: Path, pixels: np.ndarray) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, tile=(64, 64), compression="zlib")
    return pixels


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LARGEST", 20_000)
    monkeypatch.setattr(parts, "EDGE", 128)


@pytest.mark.usefixtures("small")
def test_a_raster_is_a_data_set_of_windows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = save(tmp_path / "images" / "raster.tif", rng.integers(0, 65535, (270, 200), dtype=np.uint16))
    mask = save(tmp_path / "masks" / "raster.tif", rng.integers(0, 2, (270, 200), dtype=np.uint8))
    tifffile.imwrite(tmp_path / "images" / "tile.tif", image[:20, :20])
    tifffile.imwrite(tmp_path / "masks" / "tile.tif", mask[:20, :20])
    data = open_dataset(tmp_path)
    # A remainder of 14 rows joins the last window; one of 72 columns is a window of its own.
    assert [sample.id for sample in data.samples] == [
        "raster-y0-x0", "raster-y0-x128", "raster-y128-x0", "raster-y128-x128", "tile",
    ]  # fmt: skip
    assert [sample.group for sample in data.samples] == ["raster"] * 4 + [None]
    seen = np.zeros((270, 200), int)
    for sample in data.samples[:4]:
        assert sample.image.window is not None
        window = sample.image.window.slices
        pair = data.read(sample)
        assert (pair.image[..., 0] == image[window]).all()
        assert (pair.mask == mask[window]).all()
        seen[window] += 1
    assert (seen == 1).all()
    assert "1 image above 0 megapixels (raster.tif): read by windows of 128 x 128 pixels" in data.notes


@pytest.mark.usefixtures("small")
def test_masks_of_rasters_are_never_whole_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "images" / "raster.tif", np.zeros((270, 200), np.uint8))
    save(tmp_path / "masks" / "raster.tif", np.tile(np.arange(200, dtype=np.uint8) % 2, (270, 1)))
    decoded: list[int] = []
    original = tiffs.decode_tiff

    def watching(path: Path, page: int | None, window: Window | None = None, *, indices: bool) -> object:
        raster = original(path, page, window, indices=indices)
        decoded.append(raster.pixels.size)
        return raster

    monkeypatch.setattr(tiffs, "decode_tiff", watching)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", None)  # what decodes whole pages
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", None)
    data = open_dataset(tmp_path)
    assert data.classes.names == ["background", "foreground"]
    assert sum(decoded) == 270 * 200
    assert max(decoded) == 142 * 128


@pytest.mark.usefixtures("small")
def test_sizes_are_compared_before(tmp_path: Path) -> None:
    save(tmp_path / "images" / "raster.tif", np.zeros((270, 200), np.uint8))
    save(tmp_path / "masks" / "raster.tif", np.zeros((270, 208), np.uint8))
    with pytest.raises(SizeMismatchError, match=r"raster\.tif is 200 x 270 pixels .* 208 x 270"):
        open_dataset(tmp_path)


@pytest.mark.usefixtures("small")
def test_other_files_are_read_whole_whatever_their_size(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        PillowImage.fromarray(np.zeros((270, 200), np.uint8)).save(tmp_path / folder / "a.png")
    assert [sample.id for sample in find_layout(tmp_path).samples] == ["a"]


def test_the_limit_is_64_megapixels(tmp_path: Path) -> None:
    across = -(-50_000 // 1024)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        tiles = (np.zeros((1024, 1024), np.uint8) if place == 0 else None for place in range(across**2))
        path = tmp_path / folder / "raster.tif"
        tifffile.imwrite(path, tiles, shape=(50_000, 50_000), dtype=np.uint8, tile=(1024, 1024), compression="zlib")
    found = find_layout(tmp_path)
    assert len(found.samples) == across**2
    assert found.samples[-1].id == "raster-y49152-x49152"
    assert found.samples[-1].image.window == Window(48 * 1024, 48 * 1024, 848, 848)
    assert found.samples[-1].image.read_image().pixels.shape == (848, 848, 1)


@pytest.mark.usefixtures("small")
def test_files_that_are_slow_to_read_by_window_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_MOST_DECODED", 10_000)
    save(tmp_path / "images" / "raster.tif", np.zeros((270, 200), np.uint8))
    (tmp_path / "masks").mkdir()
    path = tmp_path / "masks" / "raster.tif"
    for options, slow in (
        ({}, False),
        ({"compression": "zlib"}, True),
        ({"compression": "zlib", "rowsperstrip": 8}, False),
    ):
        tifffile.imwrite(path, np.zeros((270, 200), np.uint8), **options)
        notes = find_layout(tmp_path).notes
        assert any("raster.tif: no tiles of moderate size" in note for note in notes) == slow

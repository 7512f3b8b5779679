"""Sources: files, pages, windows, and what identifies them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from maskwright.datasets.sources import Source, Window
from maskwright.errors import UnreadableFileError
from maskwright.imaging import tiffs
from maskwright.imaging.images import read_image, read_mask

WINDOW = Window(3, 5, 4, 6)


def noise(shape: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".jp2"])
def test_a_window_is_the_whole_cut(tmp_path: Path, suffix: str) -> None:
    pixels = noise((20, 30))
    path = tmp_path / f"a{suffix}"
    PillowImage.fromarray(pixels).save(path)
    source = Source(path=path).cut(WINDOW)
    assert (source.read_image().pixels[..., 0] == pixels[3:7, 5:11]).all()
    assert (source.read_mask() == pixels[3:7, 5:11]).all()
    assert source.header().shape == (4, 6)
    within = source.cut(Window(1, 2, 3, 4))
    assert within.window == Window(4, 7, 3, 4)
    assert (within.read_mask() == pixels[4:7, 7:11]).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_window_is_of_the_image_as_it_is_seen(tmp_path: Path, suffix: str) -> None:
    pixels = noise((20, 30))
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # the stored left column is on top
    PillowImage.fromarray(pixels).save(tmp_path / f"a{suffix}", exif=exif)
    seen = np.rot90(pixels, -1)
    source = Source(path=tmp_path / f"a{suffix}", window=Window(25, 1, 5, 4))
    assert (source.read_mask() == seen[25:30, 1:5]).all()
    assert source.header().orientation == 1


@pytest.mark.parametrize("window", [Window(0, 0, 21, 5), Window(0, 26, 5, 5), Window(-1, 0, 5, 5)])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_window_that_reaches_beyond_is_an_error(tmp_path: Path, suffix: str, window: Window) -> None:
    PillowImage.fromarray(noise((20, 30))).save(tmp_path / f"a{suffix}")
    source = Source(path=tmp_path / f"a{suffix}", window=window)
    for read in (source.read_image, source.read_mask, source.header):
        with pytest.raises(UnreadableFileError, match=rf"a\{suffix} cannot be read: it is 30 x 20 .* reaches beyond"):
            read()


def test_a_window_without_opacity_has_no_data(tmp_path: Path) -> None:
    rgba = noise((20, 30, 4))
    rgba[..., 3] = 255
    rgba[:10, :, 3] = 0
    PillowImage.fromarray(rgba).save(tmp_path / "a.png")
    valid = read_image(tmp_path / "a.png", None, Window(0, 0, 5, 5)).valid
    assert valid is not None
    assert not valid.any()
    assert read_image(tmp_path / "a.png", None, Window(12, 0, 5, 5)).valid is None


@pytest.mark.parametrize("bands", [1, 3, 5])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rowsperstrip": 7},
        {"compression": "zlib", "rowsperstrip": 7, "predictor": True},
        {"compression": "lzw", "tile": (16, 32)},
        {"tile": (32, 16)},
    ],
)
def test_windows_of_tiles_and_strips(tmp_path: Path, bands: int, planar: str, options: dict[str, Any]) -> None:
    pixels = noise((50, 70, bands), np.uint16)
    path = tmp_path / "a.tif"
    if bands == 1:
        tifffile.imwrite(path, pixels[..., 0], **options)
    else:
        stored = pixels if planar == "contig" else np.moveaxis(pixels, 2, 0)
        tifffile.imwrite(path, stored, photometric="minisblack", planarconfig=planar, **options)
    for window in (Window(0, 0, 50, 70), Window(49, 69, 1, 1), Window(13, 30, 20, 35), Window(16, 32, 16, 32)):
        assert (read_image(path, None, window).pixels == pixels[window.slices]).all()


def test_windows_of_jpeg_tiles(tmp_path: Path) -> None:
    y, x = np.mgrid[:50, :70]
    pixels = np.stack([x * 3, y * 5, 200 - x], axis=-1).astype(np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", compression="jpeg", tile=(16, 32))
    whole = read_image(path).pixels
    assert np.abs(whole.astype(int) - pixels).mean() < 4
    assert (read_image(path, None, WINDOW).pixels == whole[WINDOW.slices]).all()


def test_windows_of_pages_and_of_bands_in_pages(tmp_path: Path) -> None:
    pixels = noise((4, 50, 70), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata={"axes": "CYX"})
    expected = np.moveaxis(pixels, 0, 2)[WINDOW.slices]
    assert (read_image(tmp_path / "a.tif", None, WINDOW).pixels == expected).all()
    assert (read_mask(tmp_path / "a.tif", 2, WINDOW) == pixels[2][WINDOW.slices]).all()


def test_colours_and_nodata_of_windows(write_tiff: Callable[..., Path], tmp_path: Path) -> None:
    colormap = np.zeros((3, 256), np.uint16)
    colormap[:, 2] = (255 * 257, 128 * 257, 0)
    pixels = np.full((40, 40), 2, np.uint8)
    path = tmp_path / "a.tif"
    options: dict[str, Any] = {"photometric": "palette", "colormap": colormap, "tile": (16, 16), "compression": "zlib"}
    tifffile.imwrite(path, pixels, **options)
    assert (read_image(path, None, WINDOW).pixels == (255, 128, 0)).all()
    assert (read_mask(path, None, WINDOW) == 2).all()
    pixels[4, 6] = 9
    write_tiff(path, pixels, nodata="9", tile=(16, 16))
    valid = read_image(path, None, WINDOW).valid
    assert valid is not None
    assert np.argwhere(~valid).tolist() == [[1, 1]]


def test_only_the_tiles_that_a_window_touches_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise((512, 512))
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(64, 64), compression="zlib")
    read: list[int] = []
    original = tifffile.FileHandle.read_segments

    def counting(self: Any, offsets: Any, *args: Any, **more: Any) -> Any:
        read.append(len(offsets))
        return original(self, offsets, *args, **more)

    monkeypatch.setattr(tifffile.FileHandle, "read_segments", counting)
    found = read_image(tmp_path / "a.tif", None, Window(60, 130, 10, 60)).pixels
    assert (found[..., 0] == pixels[60:70, 130:190]).all()
    assert read == [2]  # two tiles above each other


def test_a_sparse_raster_of_50000_pixels_is_read_by_window(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    across = -(-50_000 // 512)
    full, empty = np.full((512, 512), 7, np.uint8), np.zeros((512, 512), np.uint8)
    filled = {0: empty, 50 * across + 60: full}  # the writer has to see a tile first
    tiles = (filled.get(place) for place in range(across**2))
    tifffile.imwrite(path, tiles, shape=(50_000, 50_000), dtype=np.uint8, tile=(512, 512), compression="zlib")
    first = tiffs.first_page(path)
    assert first == (50_000, 50_000, True)
    found = read_mask(path, None, Window(50 * 512 - 10, 60 * 512 - 20, 1024, 1024))
    assert found.sum() == 7 * 512 * 512
    assert found[10, 20] == 7
    assert (found[:10] == 0).all()
    assert (found[:, :20] == 0).all()


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"byteorder": ">", "bigtiff": True}])
def test_first_pages_are_read_quickly(tmp_path: Path, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise((20, 30, 3)), photometric="rgb", **options)
    assert tiffs.first_page(tmp_path / "a.tif") == (20, 30, True)
    tifffile.imwrite(tmp_path / "b.tif", noise((5, 20, 30)), photometric="minisblack", **options)
    assert tiffs.first_page(tmp_path / "b.tif") == (20, 30, False)
    assert tiffs.count_pages(tmp_path / "b.tif") == 5
    assert tiffs.count_pages(tmp_path / "a.tif") == 0


def test_first_pages_of_what_is_none(tmp_path: Path) -> None:
    PillowImage.fromarray(noise((20, 30))).save(tmp_path / "a.png")
    (tmp_path / "b.tif").write_bytes(b"II*\0\x08\0\0\0\x05\0")
    (tmp_path / "c.tif").write_bytes(b"")
    for name in ("a.png", "b.tif", "c.tif", "none.tif"):
        assert tiffs.first_page(tmp_path / name) is None


def test_channels_are_no_stack(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise((3, 20, 30), np.uint16), imagej=True, metadata={"axes": "CYX"})
    assert tiffs.count_pages(tmp_path / "a.tif") == 0
    tifffile.imwrite(tmp_path / "b.tif", noise((3, 20, 30), np.uint16), imagej=True, metadata={"axes": "ZYX"})
    assert tiffs.count_pages(tmp_path / "b.tif") == 3


def test_sources_travel_to_other_processes() -> None:
    source = Source(path=Path("a.tif"), page=3, window=WINDOW)
    assert pickle.loads(pickle.dumps(source)) == source
    assert len({source, Source(path=Path("a.tif"), page=3, window=Window(3, 5, 4, 6))}) == 1


def test_the_identity_has_all_but_places() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Polygons(Source):
        image: Path
        others: tuple[Path, ...] = ()
        points: tuple[int, ...] = ()

    here = Polygons(path=Path("here/a.json"), image=Path("here/a.png"), others=(Path("here/b"),), points=(1, 2))
    there = Polygons(path=Path("there/a.json"), image=Path("there/a.png"), others=(Path("there/b"),), points=(1, 2))
    assert here.identity() == there.identity()
    changed = Polygons(path=Path("here/a.json"), image=Path("here/a.png"), others=(Path("here/b"),), points=(1, 3))
    assert changed.identity() != here.identity()
    assert here.cut(WINDOW).identity() != here.identity()
    assert Source(path=Path("a"), page=1).identity() != Source(path=Path("a"), page=2).identity()

"""TIFF in its many layouts: bands, pages, types, palettes, nodata."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from maskwright.errors import UnreadableFileError
from maskwright.imaging.decoders import Window
from maskwright.imaging.images import header_of, read_image, read_mask, read_shape


def noise(shape: tuple[int, ...], dtype: type = np.uint16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("bands", [2, 4, 7, 13])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "tile": (16, 16), "predictor": True}])
def test_bands_chunky_and_planar(tmp_path: Path, bands: int, options: dict[str, Any]) -> None:
    pixels = noise((30, 40, bands))
    chunky, planar = tmp_path / "c.tif", tmp_path / "p.tif"
    tifffile.imwrite(chunky, pixels, photometric="minisblack", planarconfig="contig", **options)
    tifffile.imwrite(planar, np.moveaxis(pixels, 2, 0), photometric="minisblack", planarconfig="separate", **options)
    for path in (chunky, planar):
        found = read_image(path)
        assert found.pixels.dtype == np.uint16
        assert (found.pixels == pixels).all()
        assert found.valid is None
        assert found.pixels.flags.c_contiguous
        assert read_shape(path) == (30, 40)


def test_channels_of_imagej_are_bands(tmp_path: Path) -> None:
    pixels = noise((5, 30, 40))
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata={"axes": "CYX"})
    assert (read_image(tmp_path / "a.tif").pixels == np.moveaxis(pixels, 0, 2)).all()


def test_an_array_with_bands_last_that_was_written_without_saying_so(tmp_path: Path) -> None:
    pixels = noise((30, 40, 7))
    tifffile.imwrite(tmp_path / "a.tif", pixels)  # 30 pages of 40 x 7
    assert (read_image(tmp_path / "a.tif").pixels == pixels).all()
    assert read_shape(tmp_path / "a.tif") == (30, 40)


@pytest.mark.parametrize("options", [{}, {"imagej": True, "metadata": {"axes": "ZYX"}}])
def test_many_pages_need_a_page(tmp_path: Path, options: dict[str, Any]) -> None:
    pixels = noise((5, 30, 40))
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, pixels, **options)
    for read in (read_image, read_mask, read_shape):
        with pytest.raises(UnreadableFileError) as error:
            read(path)
        for part in ("stack.tif", "5 pages", "Expected one picture", "Save each page", "planarconfig='contig'"):
            assert part in str(error.value)
    assert (read_image(path, 3).pixels[..., 0] == pixels[3]).all()
    assert (read_mask(path, 4) == pixels[4]).all()
    assert read_shape(path, 0) == (30, 40)
    with pytest.raises(UnreadableFileError, match=r"has 5 pages, counted from 0, and page 5"):
        read_image(path, 5)


def test_pages_of_different_sizes_are_named(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(noise((30, 40)))
        file.write(noise((20, 40)))
    with pytest.raises(UnreadableFileError, match=r"2 pages of different sizes \(20x40, 30x40\)"):
        read_image(tmp_path / "a.tif")


def test_thumbnails_and_pyramids_are_not_pages(tmp_path: Path) -> None:
    pixels = noise((64, 48, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels, photometric="rgb")
        file.write(pixels[::2, ::2].copy(), photometric="rgb", subfiletype=1)
    assert (read_image(tmp_path / "a.tif").pixels == pixels).all()


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.int32, np.float16, np.float64, np.int8])
def test_other_types_become_float32(tmp_path: Path, dtype: type) -> None:
    pixels: np.ndarray = np.array([[1, 2], [100, 7]], dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    found = read_image(tmp_path / "a.tif").pixels
    assert found.dtype == np.float32
    assert found[..., 0].tolist() == pixels.tolist()


def test_big_endian_files_give_native_arrays(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise((5, 6)), byteorder=">")
    found = read_image(tmp_path / "a.tif").pixels
    assert found.dtype == np.uint16
    assert found.dtype.isnative
    assert (found[..., 0] == noise((5, 6))).all()


def test_complex_values_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones((3, 3), np.complex64))
    with pytest.raises(UnreadableFileError, match="complex64"):
        read_image(tmp_path / "a.tif")


def test_what_is_not_finite_is_invalid_and_0(tmp_path: Path) -> None:
    pixels = np.ones((3, 4, 2), np.float32)
    pixels[0, 1, 0], pixels[2, 3, 1] = np.nan, np.inf
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig")
    image = read_image(tmp_path / "a.tif")
    assert image.valid is not None
    assert np.argwhere(~image.valid).tolist() == [[0, 1], [2, 3]]
    assert image.pixels[0, 1].tolist() == [0, 0]
    assert image.pixels.sum() == 2 * 10


def test_nodata_of_gdal_is_invalid(write_tiff: Callable[..., Path], tmp_path: Path) -> None:
    pixels = np.full((3, 4, 2), 5, np.int16)
    pixels[1, 1] = -9999
    pixels[2, 2, 0] = -9999  # the other band has data
    image = read_image(write_tiff(tmp_path / "a.tif", pixels, nodata="-9999"))
    assert image.valid is not None
    assert np.argwhere(~image.valid).tolist() == [[1, 1]]
    assert image.pixels[1, 1].tolist() == [0, 0]
    assert image.pixels[2, 2].tolist() == [-9999, 5]


def test_a_last_band_is_alpha_only_where_the_file_says_so(tmp_path: Path) -> None:
    pixels = noise((30, 40, 4))
    pixels[..., 3] = np.where(np.arange(40) < 5, 0, 65535)
    tifffile.imwrite(tmp_path / "bands.tif", pixels, photometric="minisblack", planarconfig="contig")
    tifffile.imwrite(tmp_path / "alpha.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    assert (read_image(tmp_path / "bands.tif").pixels == pixels).all()
    assert not header_of(tmp_path / "bands.tif").alpha
    image = read_image(tmp_path / "alpha.tif")
    assert (image.pixels == pixels[..., :3]).all()
    assert image.valid is not None
    assert (image.valid == (np.arange(40) >= 5)).all()
    assert header_of(tmp_path / "alpha.tif").alpha


@pytest.mark.parametrize("options", [{}, {"ome": True}, {"metadata": None}, {"photometric": "minisblack"}])
def test_true_stays_true(tmp_path: Path, options: dict[str, Any]) -> None:
    marked = np.zeros((20, 30), bool)
    marked[:10, :10] = True
    tifffile.imwrite(tmp_path / "a.tif", marked, **options)
    assert (read_image(tmp_path / "a.tif").pixels[..., 0] == 255).sum() == 100


def test_an_internal_mask_is_no_picture(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    inside = np.full((40, 50), 255, np.uint8)
    inside[:, :7] = 0
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels, photometric="rgb", metadata=None)
        file.write(inside > 0, subfiletype=4, metadata=None)
    image = read_image(tmp_path / "a.tif")
    assert image.pixels.shape == (40, 50, 3)
    assert image.valid is not None
    assert (image.valid == (inside > 0)).all()
    part = read_image(tmp_path / "a.tif", window=Window(2, 3, 10, 12))
    assert part.valid is not None
    assert (part.valid == (inside[2:12, 3:15] > 0)).all()


def test_a_band_marked_as_opacity_is_a_band(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 4), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"], metadata=None)
    assert read_image(tmp_path / "a.tif").pixels.shape == (40, 50, 4)
    assert not header_of(tmp_path / "a.tif").alpha
    assert "last band" in header_of(tmp_path / "a.tif").remark


def test_where_zero_is_white_values_are_turned_round(tmp_path: Path) -> None:
    pixels = np.array([[0, 1], [254, 255]], np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite", metadata=None)
    assert read_image(tmp_path / "a.tif").pixels[..., 0].tolist() == [[255, 254], [1, 0]]


def test_boolean_arrays_of_tifffile_keep_their_sense(tmp_path: Path) -> None:
    # tifffile declares zero as white for them, and means nothing by it.
    tifffile.imwrite(tmp_path / "a.tif", np.array([[True, False, False]]))
    assert read_mask(tmp_path / "a.tif").tolist() == [[255, 0, 0]]


def test_colormaps_give_colours_to_images_and_indices_to_masks(tmp_path: Path) -> None:
    colormap = np.zeros((3, 256), np.uint16)
    colormap[:, 2] = (255 * 257, 128 * 257, 0)
    tifffile.imwrite(tmp_path / "a.tif", np.array([[2, 0]], np.uint8), photometric="palette", colormap=colormap)
    assert read_image(tmp_path / "a.tif").pixels.tolist() == [[[255, 128, 0], [0, 0, 0]]]
    assert read_mask(tmp_path / "a.tif").tolist() == [[2, 0]]


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_truncated_files_are_errors(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((60, 80)), compression=compression)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 1000])
    with pytest.raises(UnreadableFileError, match=r"a\.tif"):
        read_image(path)


@pytest.mark.parametrize(("declared", "expected"), [("7", 7.0), ("-9999", -9999.0), (None, None), ("none", None)])
def test_a_declared_nodata_value_stays_with_the_image(
    write_tiff: Callable[..., Path], tmp_path: Path, declared: str | None, expected: float | None
) -> None:
    pixels = np.array([[7, 1], [2, 3]], np.uint8)
    image = read_image(write_tiff(tmp_path / "a.tif", pixels, nodata=declared))
    assert image.nodata == expected
    assert (image.valid is None) == (expected != 7.0)


def test_ome_tiff_reads_no_other_file(tmp_path: Path) -> None:
    planes = "".join(
        f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{z}</UUID></TiffData>'
        for z, name in enumerate(("a.ome.tif", "../secret.ome.tif"))
    )
    (tmp_path / "data").mkdir()
    for own, name in enumerate(("data/a.ome.tif", "secret.ome.tif")):
        text = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="4" SizeY="4" SizeZ="2" SizeC="1" '
            f'SizeT="1">{planes}</Pixels></Image></OME>'
        )
        tifffile.imwrite(tmp_path / name, np.full((4, 4), 77 * own, np.uint8), description=text, metadata=None)
    assert (read_image(tmp_path / "data" / "a.ome.tif").pixels == 0).all()

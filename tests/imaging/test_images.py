"""Images and masks come back in their exact native values, whatever wrote them; damaged files are errors."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage
from PIL import ImageOps

from maskwright.datasets.classes import ClassTable, LabelClass
from maskwright.errors import SettingError, UnreadableFileError
from maskwright.imaging.images import IMAGE_SUFFIXES, NO_LABEL, display, header_of, read_image, read_mask, read_shape
from maskwright.imaging.writing import write_mask, write_picture

TWO = ClassTable(
    classes=(
        LabelClass(name="background", color=(0, 0, 0), values=(0,)),
        LabelClass(name="cell", color=(10, 200, 30), values=(1,)),
    )
)


def noise(shape: tuple[int, ...], dtype: type, seed: int = 0) -> np.ndarray:
    """Values over the full range of the type, so that no squeeze to 8 bits can pass."""
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def png(path: Path, rows: list[bytes], width: int, depth: int, color: int, chunks: bytes = b"") -> Path:
    """Write a PNG by the specification alone."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, color, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunks + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_values_written_by_opencv_come_back_exactly(tmp_path: Path, dtype: type, channels: int, suffix: str) -> None:
    pixels = noise((13, 17, channels), dtype)
    path = tmp_path / f"a{suffix}"
    assert cv2.imwrite(str(path), pixels[..., ::-1])  # OpenCV writes blue first
    image = read_image(path)
    assert image.pixels.dtype == dtype
    assert image.pixels.shape == (13, 17, channels)
    assert (image.pixels == pixels).all()
    assert image.valid is None
    assert image.pixels.flags.c_contiguous
    assert read_shape(path) == (13, 17)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_values_written_by_pillow_come_back_exactly(tmp_path: Path, suffix: str, mode: str) -> None:
    pixels = noise((13, 17) if mode == "L" else (13, 17, 3), np.uint8)
    path = tmp_path / f"a{suffix.upper()}"
    options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    PillowImage.fromarray(pixels).save(path, **options)
    found = read_image(path).pixels
    if suffix == ".webp" and mode == "L":  # WebP has no grey
        found = found[..., :1]
    assert (found == pixels.reshape(13, 17, -1)).all()
    assert read_shape(path) == (13, 17)
    assert path.suffix.lower() in IMAGE_SUFFIXES


def test_jpeg_is_near_what_was_written(tmp_path: Path) -> None:
    y, x = np.mgrid[:40, :60]
    pixels = np.stack([x * 4, y * 6, 255 - x * 4], axis=-1).astype(np.uint8)
    PillowImage.fromarray(pixels).save(tmp_path / "a.jpg", quality=98, subsampling=0)
    found = read_image(tmp_path / "a.jpg").pixels
    assert np.abs(found.astype(int) - pixels).max() <= 6  # red first, the right way up
    PillowImage.fromarray(pixels[..., 0]).save(tmp_path / "grey.jpg", quality=98)
    assert read_image(tmp_path / "grey.jpg").pixels.shape == (40, 60, 1)
    PillowImage.fromarray(pixels).save(tmp_path / "p.jpg", quality=98, subsampling=0, progressive=True)
    assert np.abs(read_image(tmp_path / "p.jpg").pixels.astype(int) - pixels).max() <= 6


def test_cmyk_jpeg_gives_colours(tmp_path: Path) -> None:
    PillowImage.new("RGB", (20, 10), (200, 30, 60)).convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    found = read_image(tmp_path / "a.jpg").pixels
    assert found.shape == (10, 20, 3)
    assert np.abs(found.astype(int) - (200, 30, 60)).max() <= 6


def test_the_content_decides_the_format_not_the_suffix(tmp_path: Path) -> None:
    pixels = noise((5, 6, 3), np.uint8)
    PillowImage.fromarray(pixels).save(tmp_path / "a.jpg", format="PNG")
    assert (read_image(tmp_path / "a.jpg").pixels == pixels).all()


def test_non_ascii_paths(tmp_path: Path) -> None:
    pixels = noise((5, 6, 1), np.uint8)
    path = tmp_path / "Zürich 图" / "größe é.png"
    path.parent.mkdir()
    PillowImage.fromarray(pixels[..., 0]).save(path)
    assert (read_image(path).pixels == pixels).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    rgb = np.full((32, 48, 3), 128, np.uint8)
    rgb[:16, :16], rgb[16:, :16] = (250, 0, 0), (0, 250, 0)
    path = tmp_path / f"a{suffix}"
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    PillowImage.fromarray(rgb).save(path, exif=exif, quality=100)
    with PillowImage.open(path) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    found = read_image(path).pixels
    assert found.shape == ((32, 48, 3) if orientation < 5 else (48, 32, 3))
    assert np.abs(found.astype(int) - expected).max() <= 8
    assert read_shape(path) == found.shape[:2]
    assert header_of(path).orientation == orientation
    assert found.flags.c_contiguous


def test_alpha_marks_what_is_valid_and_is_no_channel(tmp_path: Path) -> None:
    pixels = noise((4, 5, 4), np.uint16)
    path = tmp_path / "a.png"

    def write(alpha: np.ndarray) -> None:
        assert cv2.imwrite(str(path), np.dstack([pixels[..., [2, 1, 0]], alpha]))

    alpha = np.full((4, 5), 65535, np.uint16)
    write(alpha)
    assert read_image(path).valid is None
    alpha[0, 0] = 7  # nearly transparent is still data
    write(alpha)
    assert read_image(path).valid is None
    alpha[1, 2] = 0
    write(alpha)
    image = read_image(path)
    assert (image.pixels == pixels[..., :3]).all()
    assert image.valid is not None
    assert np.argwhere(~image.valid).tolist() == [[1, 2]]
    assert header_of(path).alpha
    write(np.zeros_like(alpha))  # some writers leave opacity at 0 throughout: it says nothing
    assert read_image(path).valid is None


def test_grey_with_alpha_of_16_bits(tmp_path: Path) -> None:
    rows = [struct.pack(">4H", 1000, 65535, 2000, 0), struct.pack(">4H", 3, 65535, 60000, 65535)]
    image = read_image(png(tmp_path / "a.png", rows, 2, 16, 4))
    assert image.pixels[..., 0].tolist() == [[1000, 2000], [3, 60000]]
    assert image.valid is not None
    assert image.valid.tolist() == [[True, False], [True, True]]


def palette_image(path: Path, indices: np.ndarray, **options: Any) -> Path:
    image = PillowImage.fromarray(indices)
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 201, 0, 0, 0, 202] + [0] * 756)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_palette_images_give_colours_and_palette_masks_indices(tmp_path: Path, suffix: str) -> None:
    indices = np.array([[0, 1, 2], [3, 0, 1]], np.uint8)
    path = palette_image(tmp_path / f"a{suffix}", indices)
    colors = [[9, 9, 9], [200, 0, 0], [0, 201, 0], [0, 0, 202]]
    assert read_image(path).pixels.tolist() == [[colors[i] for i in row] for row in indices]
    assert read_mask(path).tolist() == indices.tolist()


def test_a_transparent_palette_colour_is_invalid_in_images_and_an_index_in_masks(tmp_path: Path) -> None:
    path = palette_image(tmp_path / "a.png", np.array([[0, 1, 2]], np.uint8), transparency=1)
    image = read_image(path)
    assert image.valid is not None
    assert image.valid.tolist() == [[True, False, True]]
    assert read_mask(path).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_one_bit_masks_are_0_and_255(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    PillowImage.fromarray(np.array([[0, 255, 255], [255, 0, 0]], np.uint8)).convert("1").save(path)
    assert read_mask(path).tolist() == [[0, 255, 255], [255, 0, 0]]
    assert read_image(path).pixels[..., 0].tolist() == [[0, 255, 255], [255, 0, 0]]


def test_grey_png_of_few_bits_is_scaled_as_the_format_says(tmp_path: Path) -> None:
    assert read_mask(png(tmp_path / "2.png", [bytes([0b00011011])], 4, 2, 0)).tolist() == [[0, 85, 170, 255]]
    assert read_mask(png(tmp_path / "4.png", [bytes([0x0F])], 2, 4, 0)).tolist() == [[0, 255]]


def test_masks_of_16_bits_keep_their_values(tmp_path: Path) -> None:
    raw = np.array([[0, 300], [65535, 1]], np.uint16)
    assert cv2.imwrite(str(tmp_path / "a.png"), raw)
    tifffile.imwrite(tmp_path / "a.tif", raw)
    for name in ("a.png", "a.tif"):
        assert read_mask(tmp_path / name).tolist() == raw.tolist()
        assert read_mask(tmp_path / name).dtype == np.uint16


def test_colour_masks_are_colours_unless_they_are_grey(tmp_path: Path) -> None:
    grey = np.repeat(np.array([[0, 1], [2, 255]], np.uint8)[..., None], 3, axis=2)
    PillowImage.fromarray(grey).save(tmp_path / "grey.png")
    assert read_mask(tmp_path / "grey.png").tolist() == [[0, 1], [2, 255]]
    color = grey.copy()
    color[0, 1] = (7, 8, 9)
    PillowImage.fromarray(color).save(tmp_path / "color.png")
    assert (read_mask(tmp_path / "color.png") == color).all()


def test_the_alpha_of_masks_is_dropped(tmp_path: Path) -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = (5, 6, 7, 0)
    PillowImage.fromarray(rgba).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == rgba[..., :3].tolist()
    rgba[0, 0] = (5, 5, 5, 128)
    PillowImage.fromarray(rgba).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == [[5, 0], [0, 0]]


def test_float_masks_of_whole_numbers(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 3], [255, 1]], np.float32))
    assert read_mask(tmp_path / "a.tif").tolist() == [[0, 3], [255, 1]]
    assert read_mask(tmp_path / "a.tif").dtype == np.int32
    tifffile.imwrite(tmp_path / "n.tif", np.array([[0, np.nan], [2, 1]], np.float32))
    assert read_mask(tmp_path / "n.tif").tolist() == [[0, NO_LABEL], [2, 1]]
    for odd in (0.5, np.inf, 1e20):
        tifffile.imwrite(tmp_path / "b.tif", np.array([[0, odd]], np.float32))
        with pytest.raises(UnreadableFileError, match=r"b\.tif.*whole numbers"):
            read_mask(tmp_path / "b.tif")


def test_masks_with_many_channels_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise((8, 9, 5), np.uint8), photometric="minisblack", planarconfig="contig")
    with pytest.raises(UnreadableFileError, match=r"a\.tif.*5 channels of type uint8.*one channel"):
        read_mask(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif"])
@pytest.mark.parametrize("keep", [0.05, 0.5, 0.9])
def test_truncated_files_are_errors_that_name_them(tmp_path: Path, suffix: str, keep: float) -> None:
    whole = tmp_path / f"whole{suffix}"
    PillowImage.fromarray(noise((60, 80, 3), np.uint8)).save(whole)
    assert read_image(whole).pixels.shape == (60, 80, 3)
    content = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(UnreadableFileError, match=rf"cut\{suffix} cannot be read.*Export or copy it again"):
        read_image(cut)
    with pytest.raises(UnreadableFileError):
        read_mask(cut)


def test_a_jpeg_whose_end_was_never_written_is_an_error(tmp_path: Path) -> None:
    # A broken download leaves zeros; the thumbnail in the EXIF block has an end marker of its own.
    small, large = io.BytesIO(), io.BytesIO()
    PillowImage.new("RGB", (8, 8)).save(small, format="JPEG")
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + small.getvalue()
    PillowImage.fromarray(noise((60, 80, 3), np.uint8)).save(large, format="JPEG", exif=exif)
    content = large.getvalue()
    (tmp_path / "a.jpg").write_bytes(content)
    assert read_image(tmp_path / "a.jpg").pixels.shape == (60, 80, 3)
    half = len(content) // 2 + len(exif) // 2
    (tmp_path / "a.jpg").write_bytes(content[:half] + bytes(len(content) - half))
    with pytest.raises(UnreadableFileError, match="truncated"):
        read_image(tmp_path / "a.jpg")


def test_a_png_with_a_flipped_bit_is_an_error(tmp_path: Path) -> None:
    PillowImage.fromarray(noise((60, 80, 3), np.uint8)).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"a\.png"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("content", "found"), [(b"", "it is empty"), (b"hello world", "starts with the bytes 68 65 6c 6c"), (b"II*\0", "")]
)
def test_what_is_no_image_is_an_error(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for read in (read_image, read_mask, read_shape):
        with pytest.raises(UnreadableFileError, match=rf"a\.png cannot be read: .*{found}"):
            read(path)


def test_missing_files_and_folders_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="does not exist"):
        read_image(tmp_path / "none.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UnreadableFileError, match=r"folder\.png"):
        read_shape(tmp_path / "folder.png")


def test_only_tiff_files_have_pages(tmp_path: Path) -> None:
    PillowImage.new("L", (3, 2)).save(tmp_path / "a.png")
    assert read_shape(tmp_path / "a.png", 0) == (2, 3)
    for read in (read_image, read_mask, read_shape):
        with pytest.raises(UnreadableFileError, match="page 1"):
            read(tmp_path / "a.png", 1)


def test_write_mask_keeps_indices_and_shows_class_colours(tmp_path: Path) -> None:
    mask = np.array([[0, 1], [255, 1]], np.uint8)
    path = tmp_path / "new" / "a.png"
    write_mask(path, mask, TWO.palette())
    assert read_mask(path).tolist() == mask.tolist()
    with PillowImage.open(path) as image:
        assert image.mode == "P"
        shown = np.asarray(image.convert("RGB"))
    assert (shown == TWO.rgb(mask)).all()
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


def test_write_picture(tmp_path: Path) -> None:
    rgb = noise((5, 7, 3), np.uint8)
    write_picture(tmp_path / "a.png", rgb)
    assert (read_image(tmp_path / "a.png").pixels == rgb).all()
    write_picture(tmp_path / "a.JPG", rgb)
    assert read_image(tmp_path / "a.JPG").pixels.shape == (5, 7, 3)
    write_picture(tmp_path / "grey.png", rgb[..., 0])
    assert (read_image(tmp_path / "grey.png").pixels == rgb[..., :1]).all()
    with pytest.raises(SettingError, match=r"a\.gif.*Expected \.png"):
        write_picture(tmp_path / "a.gif", rgb)


def test_display_shows_8_bits_as_they_are() -> None:
    pixels = noise((4, 5, 5), np.uint8)
    assert (display(pixels) == pixels[..., :3]).all()
    assert (display(pixels[..., :1]) == pixels[..., [0, 0, 0]]).all()
    assert (display(pixels[..., :2]) == pixels[..., [0, 1, 0]]).all()


def test_display_stretches_other_types_to_their_percentiles() -> None:
    ramp = np.arange(1001, dtype=np.float32).reshape(-1, 1, 1) * 10 - 3000
    shown = display(ramp)
    assert shown.dtype == np.uint8
    assert shown.shape == (1001, 1, 3)
    # 0.5 % of 1001 values are the first and last five: the window is 5..995 steps.
    assert shown[[0, 5, 500, 995, 1000], 0, 0].tolist() == [0, 0, 128, 255, 255]
    assert display(np.full((2, 2, 1), 700, np.uint16)).max() == 0


def test_display_keeps_the_colour_of_16_bit_rgb() -> None:
    pixels = np.zeros((100, 100, 3), np.uint16)
    pixels[..., 0], pixels[..., 1] = 40000, 20000
    assert display(pixels)[0, 0].tolist() == [255, 128, 0]


def test_extreme_numbers_are_no_data(tmp_path: Path) -> None:
    values = np.ones((4, 5), np.float32)
    values[0, 0], values[1, 2], values[2, 3] = 3e38, -3.4028e38, 1e29
    tifffile.imwrite(tmp_path / "a.tif", values)
    image = read_image(tmp_path / "a.tif")
    assert image.valid is not None
    assert np.argwhere(~image.valid).tolist() == [[0, 0], [1, 2]]
    assert image.pixels[0, 0, 0] == 0
    assert image.pixels[2, 3, 0] == np.float32(1e29)
    tifffile.imwrite(tmp_path / "mask.tif", np.array([[0, 3.4028235e38], [-3.4e38, 1]], np.float32))
    assert read_mask(tmp_path / "mask.tif").tolist() == [[0, NO_LABEL], [NO_LABEL, 1]]

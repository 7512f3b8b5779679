"""Headers, EXIF blocks and damaged files."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.errors import UnreadableFileError
from maskwright.imaging.decoders import decode, exif_orientation, orient, read_header, sniff
from maskwright.imaging.images import read_image, read_mask, read_shape


def exif(order: str, value: int, kind: int = 3) -> bytes:
    """An EXIF block with a resolution entry before the orientation."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(order + "HHIHH", 0x0100, 3, 1, 7, 0) + struct.pack(order + "HHIHH", 0x0112, kind, 1, value, 0)
    return start + struct.pack(order + "IH", 8, 2) + entries + struct.pack(order + "I", 0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_in_both_byte_orders(order: str, orientation: int) -> None:
    assert exif_orientation(exif(order, orientation)) == orientation
    assert exif_orientation(b"Exif\0\0" + exif(order, orientation)) == orientation


def test_damaged_exif_is_upright() -> None:
    whole = exif("<", 6)
    for length in range(len(whole) - 6):
        assert exif_orientation(whole[:length]) == 1
    assert exif_orientation(exif(">", 9)) == 1
    assert exif_orientation(exif(">", 0)) == 1
    assert exif_orientation(exif("<", 6, kind=4)) == 1
    assert exif_orientation(b"II*\0\xff\xff\xff\xff") == 1


def test_orientation_6_shows_the_stored_left_column_on_top() -> None:
    stored = np.array([[1, 2, 3], [4, 5, 6]])
    assert orient(stored, 6).tolist() == [[4, 1], [5, 2], [6, 3]]
    assert orient(stored, 1) is stored


def test_formats_are_known_by_their_first_bytes() -> None:
    for kind in ("png", "jpeg", "bmp", "webp", "tiff", "gif"):
        file = io.BytesIO()
        PillowImage.new("RGB", (3, 2)).save(file, format=kind.upper())
        assert sniff(file.getvalue()[:16]) == kind
    assert sniff(b"P5\n3 2\n255\n") == "pnm"
    assert sniff(b"P5x") is None
    assert sniff(b"") is None


def test_png_exif_after_the_pixels() -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    file = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 1, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0\1\2\3"))
        + chunk(b"eXIf", exif(">", 8))
        + chunk(b"tEXt", b"a\0b")
        + chunk(b"IEND", b"")
    )
    header = read_header(io.BytesIO(file), "png")
    assert (header.height, header.width, header.orientation, header.shape) == (1, 3, 8, (3, 1))
    assert decode(file, "png", indices=False).oriented().pixels[..., 0].tolist() == [[3], [2], [1]]


def test_damaged_png_files_do_not_wear_out_none() -> None:
    file = io.BytesIO()
    PillowImage.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)).save(file, format="PNG")
    half = file.getvalue()[: len(file.getvalue()) // 2]
    before = sys.getrefcount(None)
    for _ in range(500):
        with pytest.raises(Exception, match=r".+"):
            decode(half, "png", indices=False)
    assert sys.getrefcount(None) > before - 300


def test_images_above_pillows_limit_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PillowImage, "MAX_IMAGE_PIXELS", 10)
    palette = PillowImage.fromarray(np.full((8, 9), 3, np.uint8))
    palette.putpalette(list(range(256)) * 3)
    for name in ("a.png", "a.bmp"):
        palette.save(tmp_path / name)
        assert read_shape(tmp_path / name) == (8, 9)
        assert (read_mask(tmp_path / name) == 3).all()
        assert read_image(tmp_path / name).pixels.shape == (8, 9, 3)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tif"])
@pytest.mark.parametrize("files", [60, pytest.param(5000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_damaged_files_give_pixels_or_an_error_that_names_them(tmp_path: Path, suffix: str, files: int) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / f"a.{suffix}"
    PillowImage.fromarray(rng.integers(0, 255, (12, 14, 3), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    messages = []
    for _ in range(files):
        damaged = bytearray(whole)
        # The start is left alone: a damaged size may ask for all the memory there is.
        for place in rng.integers(len(whole) // 3, len(whole), 4):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        for read in (read_image, read_mask, read_shape):
            try:
                read(path)
            except UnreadableFileError as error:
                messages.append(str(error))
    assert all(f"a.{suffix} cannot be read: " in message for message in messages)
    if suffix == "png":  # its checksums find every change
        assert len(messages) >= 2 * files * 5 / 6

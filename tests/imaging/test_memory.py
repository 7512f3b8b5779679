"""Pictures that no memory holds are refused before anything is decoded or painted, in every format."""

from __future__ import annotations

import base64
import io
import json
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.datasets.formats.drawn import supervisely
from maskwright.datasets.formats.drawn.rle import mask_of
from maskwright.errors import TooLargeError
from maskwright.imaging import memory
from maskwright.imaging.images import read_image, read_mask

SIDE = 60_000
SMALL = np.zeros((8, 8), np.uint8)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(path: Path) -> None:
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b""))


def palette_png(path: Path) -> None:
    png(path)
    content = path.read_bytes()
    header = content[16:24] + bytes([8, 3, 0, 0, 0])
    path.write_bytes(content[:8] + chunk(b"IHDR", header) + chunk(b"PLTE", bytes(6)) + content[33:])


def jpeg(path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(SMALL).save(file, "JPEG")
    content = file.getvalue()
    path.write_bytes(content.replace(struct.pack(">BHH", 8, 8, 8), struct.pack(">BHH", 8, SIDE, SIDE)))


def bmp(path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(SMALL).save(file, "BMP")
    content = bytearray(file.getvalue())
    content[18:26] = struct.pack("<ii", SIDE, SIDE)
    path.write_bytes(content)


def jpeg2000(path: Path) -> None:
    content = imagecodecs.jpeg2k_encode(SMALL, codecformat="jp2")
    path.write_bytes(content.replace(struct.pack(">II", 8, 8), struct.pack(">II", SIDE, SIDE)))


def tiff(path: Path) -> None:
    # One tile of zeros, compressed once, stands for all.
    tile = zlib.compress(bytes(4096 * 4096))
    count = 15 * 15
    tifffile.imwrite(
        path, iter([tile] * count), shape=(SIDE, SIDE), dtype=np.uint8, tile=(4096, 4096), compression="zlib",
        photometric="minisblack",
    )  # fmt: skip


def npy(path: Path) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (SIDE, SIDE)})
        file.truncate(file.tell() + SIDE * SIDE)  # a sparse file


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.png", png), ("b.png", palette_png), ("a.jpg", jpeg), ("a.bmp", bmp), ("a.jp2", jpeg2000), ("a.tif", tiff),
        ("a.npy", npy),
    ],
)  # fmt: skip
def test_a_bomb_is_refused_by_what_its_header_declares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, write: Callable[[Path], None]
) -> None:
    write(tmp_path / name)
    monkeypatch.setattr(memory, "free_memory", lambda: 4 * 2**30)
    for read in (read_image, read_mask):
        tracemalloc.start()
        with pytest.raises(TooLargeError, match=rf"{name} is too large: 3,600,000,000 pixels .* room for 1.0 GiB"):
            read(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 50e6
        tracemalloc.stop()


def test_usual_pictures_cost_no_look_at_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: pytest.fail("asked"))
    Image.fromarray(SMALL).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").pixels.shape == (8, 8, 1)


def test_masks_are_not_painted_beyond_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 2**30)
    with pytest.raises(TooLargeError):
        mask_of([SIDE * SIDE], SIDE, SIDE, by_columns=True)


def test_what_zlib_yields_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisely, "LONGEST", 1000)
    data = base64.b64encode(zlib.compress(bytes(1_000_000))).decode()
    entry = json.loads(json.dumps({"bitmap": {"origin": [0, 0], "data": data}}))
    with pytest.raises(ValueError, match=r"yields more than 1000 bytes"):
        supervisely._shape("bitmap", entry)

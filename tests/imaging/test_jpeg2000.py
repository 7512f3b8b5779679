"""JPEG 2000: values, sizes, opacity, damage."""

from __future__ import annotations

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.errors import UnreadableFileError
from maskwright.imaging.images import header_of, read_image, read_mask, read_shape


def noise(shape: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("suffix", ["jp2", "j2k"])
def test_values_come_back_exactly(tmp_path: Path, dtype: type, channels: int, suffix: str) -> None:
    pixels = noise((13, 17, channels), dtype)
    path = tmp_path / f"a.{suffix}"
    stored = pixels[..., 0] if channels == 1 else pixels
    path.write_bytes(imagecodecs.jpeg2k_encode(stored, level=0, reversible=True, codecformat=suffix))
    found = read_image(path)
    assert found.pixels.dtype == dtype
    assert (found.pixels == pixels).all()
    assert found.valid is None
    assert read_shape(path) == (13, 17)


def test_what_pillow_writes(tmp_path: Path) -> None:
    pixels = noise((13, 17, 3))
    PillowImage.fromarray(pixels).save(tmp_path / "a.jp2", irreversible=False)
    assert (read_image(tmp_path / "a.jp2").pixels == pixels).all()
    grey = np.array([[0, 1], [2, 255]], np.uint8)
    PillowImage.fromarray(grey).save(tmp_path / "b.jp2", irreversible=False)
    assert read_mask(tmp_path / "b.jp2").tolist() == grey.tolist()


def test_opacity_is_a_channel_only_where_the_file_does_not_define_it(tmp_path: Path) -> None:
    pixels = noise((13, 17, 4))
    pixels[..., 3] = np.where(np.arange(17) < 5, 0, 255)
    content = imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True)
    (tmp_path / "bands.jp2").write_bytes(content)
    assert (read_image(tmp_path / "bands.jp2").pixels == pixels).all()
    # A channel definition box, at the end of the header box: colours 0..2 are red, green and blue, 3 is opacity.
    channels = ((0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 1, 0))
    box = struct.pack(">H", 4) + b"".join(struct.pack(">HHH", *channel) for channel in channels)
    box = struct.pack(">I4s", 8 + len(box), b"cdef") + box
    at = content.index(b"jp2h") - 4
    (length,) = struct.unpack_from(">I", content, at)
    header = struct.pack(">I", length + len(box)) + content[at + 4 : at + length] + box
    (tmp_path / "alpha.jp2").write_bytes(content[:at] + header + content[at + length :])
    image = read_image(tmp_path / "alpha.jp2")
    assert (image.pixels == pixels[..., :3]).all()
    assert image.valid is not None
    assert (image.valid == (np.arange(17) >= 5)).all()
    assert header_of(tmp_path / "alpha.jp2").alpha


@pytest.mark.parametrize("keep", [0.01, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("suffix", ["jp2", "j2k"])
def test_truncated_files_are_errors(tmp_path: Path, keep: float, suffix: str) -> None:
    content = imagecodecs.jpeg2k_encode(noise((60, 80, 3)), level=0, reversible=True, codecformat=suffix)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(UnreadableFileError, match=rf"a\.{suffix} cannot be read"):
        read_image(path)

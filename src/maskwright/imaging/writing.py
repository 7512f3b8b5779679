"""Writing masks and pictures as image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from maskwright.errors import SettingError
from maskwright.runs import replacing


def write_mask(path: Path, mask: np.ndarray, palette: bytes) -> None:
    """Write class indices (uint8 `H x W`) as a palette PNG, atomically: the values are the indices, 255 unlabelled.

    `palette` is red, green and blue of each of the 256 values, as `ClassTable.palette` gives them.
    """
    assert mask.ndim == 2, "a mask has height and width"
    assert mask.dtype == np.uint8, "a mask holds uint8 indices"
    picture = PillowImage.fromarray(np.ascontiguousarray(mask))
    picture.putpalette(palette)
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")


def write_picture(path: Path, rgb: np.ndarray) -> None:
    """Write uint8 `H x W x 3` (RGB) or `H x W` (grey) as PNG or JPEG, by suffix, atomically.

    Raises SettingError for another suffix.
    """
    kind = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}.get(path.suffix.lower())
    if kind is None:
        raise SettingError(
            f"{path}: pictures cannot be written as {path.suffix!r}.",
            expected="Expected .png, .jpg or .jpeg.",
            file=path,
        )
    with replacing(path) as temporary:
        PillowImage.fromarray(np.ascontiguousarray(rgb)).save(temporary, format=kind, quality=92)

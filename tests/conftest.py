from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import settings
from PIL import Image

# A deadline would measure the machine's load, not the code.
settings.register_profile("maskwright", deadline=None)
settings.load_profile("maskwright")

CLASSES = """
[[class]]
name = "ground"
value = 0
color = "#204060"

[[class]]
name = "disc"
value = 7
color = "#ffcc00"
"""


def _write_pairs(
    folder: Path, count: int, *, size: tuple[int, int] = (40, 48), channels: int = 3, seed: int = 0
) -> Path:
    """`count` pairs of a bright disc (mask value 7) on a dark, noisy ground (0), with the class table beside them."""
    rng = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[:height, :width]
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for index in range(count):
        cy, cx = rng.uniform(0.3, 0.7, 2) * (height, width)
        disc = (y - cy) ** 2 + (x - cx) ** 2 < (min(size) / 4) ** 2
        image = np.clip(60 + 120 * disc + rng.normal(0, 12, size), 0, 255).astype(np.uint8)
        pixels = image if channels == 1 else np.stack([image, image // 2, 255 - image], 2)
        Image.fromarray(pixels).save(folder / "images" / f"photo{index:02}.png")
        Image.fromarray(disc.astype(np.uint8) * 7).save(folder / "masks" / f"photo{index:02}.png")
    (folder / "classes.toml").write_text(CLASSES)
    return folder


@pytest.fixture(scope="session")
def write_pairs() -> Callable[..., Path]:
    """`write_pairs(folder, count, size=..., channels=..., seed=...)`: see `_write_pairs`."""
    return _write_pairs


def _write_tiff(path: Path, pixels: np.ndarray, *, nodata: str | None = None, **options: Any) -> Path:
    """H x W or H x W x C as bands of one picture, with GDAL's nodata tag if told, and nothing that tifffile adds."""
    tags = [] if nodata is None else [(42113, "s", 0, nodata, True)]
    planes: Any = {"planarconfig": "contig"} if pixels.ndim == 3 else {}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=None, extratags=tags, **planes, **options)
    return path


@pytest.fixture(scope="session")
def write_tiff() -> Callable[..., Path]:
    """`write_tiff(path, pixels, nodata=..., tile=..., ...)`: see `_write_tiff`."""
    return _write_tiff


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    """A folder of eight pairs of 40 x 48 RGB images; a few steps of a small network solve it."""
    return _write_pairs(tmp_path / "discs", 8)

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.imaging.decoders import Window
from maskwright.label.patches import KEEP, Origin, encode
from maskwright.label.store import Patch, Project

CLASSES = ("ground", "cell", "nucleus")


def write_image(path: Path, height: int = 40, width: int = 48) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width), 90, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two images of 40 x 48."""
    for name in ("a", "b"):
        write_image(tmp_path / "cells" / "images" / f"{name}.png")
    return tmp_path / "cells"


@pytest.fixture
def project(folder: Path) -> Iterator[Project]:
    """The folder as a project of three classes, which writes label files when told to."""
    with Project(folder, classes=CLASSES, pause=None) as opened:
        yield opened


def patch(
    values: np.ndarray, base: int, *, image: str = "a", top: int = 0, left: int = 0, origin: Origin = Origin.HUMAN
) -> Patch:
    """A patch of an array of values; -1 keeps a pixel."""
    cells = np.where(values < 0, KEEP, values).astype(np.uint16)
    model = "5eed" if origin is Origin.MODEL_ACCEPTED else None
    box = Window(top, left, *values.shape)
    return Patch(
        image=image, base=base, author="ada", seconds=1.5, box=box, payload=encode(cells), origin=origin, model=model
    )


@pytest.fixture
def paint() -> Callable[..., Patch]:
    """`paint(values, base, image=..., top=..., left=..., origin=...)`: see `patch`."""
    return patch

"""What the layouts are written with: small pictures of our own, and what a layout holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

UNLABELLED = 255
Pair = tuple[np.ndarray, np.ndarray]
"""An image (H x W x C) and its class indices (H x W, uint8, 255 unlabelled)."""
Writer = Callable[[Path], "Truth"]

GREYS = np.array([[40, 60, 50], [200, 90, 60], [70, 180, 200], [230, 220, 80], [120, 60, 200], [240, 240, 240]])


class Truth:
    """What a layout holds: the pairs that must be found, or what a refusal must say."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        grey: bool = False,
        splits: dict[str | None, int] | None = None,
        groups: int | None = None,
        refused: str = "",
    ) -> None:
        self.pairs = [(image.mean(2).astype(np.uint8)[..., None] if grey else image, mask) for image, mask in pairs]
        self.splits = splits
        self.groups = groups
        """Number of different groups that must be found; None where it does not matter."""
        self.refused = refused
        """A pattern that the refusal must hold, where the data set is none for this task; "" where it must be read."""


def scene(seed: int, classes: int = 2, size: tuple[int, int] = (56, 72)) -> Pair:
    """A picture of discs of each class on a ground, with a little noise."""
    rng = np.random.default_rng(seed)
    height, width = size
    mask = np.zeros(size, np.uint8)
    y, x = np.mgrid[:height, :width]
    for index in range(1, classes):
        for _ in range(2):
            cy, cx, radius = rng.integers(8, height - 8), rng.integers(8, width - 8), rng.integers(5, 12)
            mask[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = index
    image = GREYS[mask] + rng.normal(0, 6, (height, width, 3)) + 3 * (seed % 7)
    return np.clip(image, 0, 255).astype(np.uint8), mask


def cells(seed: int) -> Pair:
    """A picture of many small round things that do not touch, more or fewer in each, and where they are."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((56, 72), np.uint8)
    y, x = np.mgrid[:56, :72]
    places = [(cy, cx) for cy in range(8, 50, 13) for cx in range(8, 66, 13)]
    for place in rng.permutation(len(places))[: 6 + 3 * (seed % 4)]:
        cy, cx = places[int(place)]
        mask[(y - cy) ** 2 + (x - cx) ** 2 < rng.integers(3, 6) ** 2] = 1
    image = GREYS[mask] + rng.normal(0, 6, (56, 72, 3)) + 3 * (seed % 7)
    return np.clip(image, 0, 255).astype(np.uint8), mask


def scenes(count: int, classes: int = 2, first: int = 0) -> list[Pair]:
    """Several of them."""
    return [scene(first + index, classes) for index in range(count)]


def put(path: Path, pixels: np.ndarray, **options: Any) -> None:
    """Write a picture; JPEG in good quality."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        options = {"quality": 95} | options
    picture.save(path, **options)


def colours(mask: np.ndarray, *codes: str) -> np.ndarray:
    """Class indices as the colours `#rrggbb`."""
    table = np.array([[int(code[i : i + 2], 16) for i in (1, 3, 5)] for code in codes], np.uint8)
    painted: np.ndarray = table[mask]
    return painted


def grey(image: np.ndarray) -> np.ndarray:
    """The mean of the bands."""
    flat: np.ndarray = image.mean(2).astype(np.uint8)
    return flat


def split_of(index: int, **counts: int) -> str:
    """The split of the picture with this number, where splits have so many."""
    for name, count in counts.items():
        if index < count:
            return name
        index -= count
    raise AssertionError("more pictures than the splits have")


def text(path: Path, content: object) -> None:
    """Write a text file; anything but text as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def junk(root: Path) -> None:
    """What archives and systems leave behind."""
    text(root / "README.md", "# A data set\n\nPlease cite us.\n")
    text(root / "LICENSE.txt", "CC BY 4.0\n")
    for place in (root, *[path for path in root.iterdir() if path.is_dir() and not path.name.startswith("__")]):
        (place / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" * 8)
        (place / ".DS_Store").write_bytes(b"\0\0\0\1Bud1" * 4)
    for path in [path for path in sorted(root.rglob("*")) if path.is_file() and path.suffix != ".db"][:3]:
        other = root / "__MACOSX" / path.relative_to(root).parent / f"._{path.name}"
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes(b"\0\5\x16\7" * 30)


def binary(mask: np.ndarray, value: int = 1) -> np.ndarray:
    """Where a class is, as 0 and 255."""
    found: np.ndarray = (mask == value) * np.uint8(255)
    return found


def rgb(flat: np.ndarray) -> np.ndarray:
    """A grey picture in three equal bands."""
    return np.repeat(flat[..., None], 3, 2)


def numbered(mask: np.ndarray) -> np.ndarray:
    """Connected regions of a mask, numbered from 1 (uint16)."""
    from scipy.ndimage import label

    return np.asarray(label(mask > 0)[0], np.uint16)


def runs(mask: np.ndarray) -> str:
    """Run lengths as Kaggle has them: down the columns, counted from 1."""
    flat = np.concatenate([[0], (mask > 0).T.reshape(-1).astype(int), [0]])
    edges = np.flatnonzero(np.diff(flat))
    return " ".join(f"{a + 1} {b - a}" for a, b in zip(edges[::2], edges[1::2], strict=True))

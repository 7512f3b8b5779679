"""What a few files of a series look like: pictures, or masks with few values in flat regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskwright.errors import DataError
from maskwright.imaging import images
from maskwright.imaging.colors import color_codes

LOOKED_AT = 3
"""Files of a series that are opened."""
FLAT = 0.8
"""Fraction of horizontal neighbours that are equal, from which a file may be a mask."""
FEW = 64
"""Distinct values of a mask of classes, at most; more are objects that are numbered, or soft edges."""
_LARGEST = 50_000_000


@dataclass(frozen=True)
class Looks:
    """What the opened files of a series have in common."""

    codes: dict[Path, np.ndarray]
    """Values, or colours as numbers (H x W), of each file that could be opened as a mask."""
    shapes: dict[Path, tuple[int, int]]
    """Height and width of each file that could be opened at all."""
    channels: int
    """Channels of the first; 0 if none could be opened."""
    colored: bool
    """Whether the values are colours."""

    @property
    def masklike(self) -> bool:
        """Whether all opened files have flat regions of few values."""
        return bool(self.codes) and len(self.codes) == len(self.shapes) and all(map(_flat, self.codes.values()))

    @property
    def values(self) -> set[int]:
        """All values seen."""
        return {int(value) for codes in self.codes.values() for value in np.unique(codes)}

    @property
    def soft(self) -> bool:
        """Whether there are more values than classes, round a few peaks."""
        return len(self.values) > FEW

    @property
    def constant(self) -> bool:
        """Whether several files were opened and are alike: a field of view, not a truth."""
        seen = list(self.codes.values())
        return len(seen) > 1 and all(
            one.shape == seen[0].shape and float((one == seen[0]).mean()) > 0.999 for one in seen[1:]
        )


def look(paths: Sequence[Path]) -> Looks:
    """Open some of the files, spread over the series; what cannot be opened is left out."""
    chosen = [paths[i] for i in sorted({round(i) for i in np.linspace(0, len(paths) - 1, min(LOOKED_AT, len(paths)))})]
    codes: dict[Path, np.ndarray] = {}
    shapes: dict[Path, tuple[int, int]] = {}
    channels, colored = 0, False
    for path in chosen:
        page = _middle_page(path)
        try:
            shape = images.read_shape(path, page)
            if shape[0] * shape[1] > _LARGEST:
                continue
            shapes[path] = shape
        except DataError:
            continue
        try:
            raw = images.read_mask(path, page)
            codes[path] = color_codes(raw).astype(np.int64) if raw.ndim == 3 else raw
            channels, colored = channels or (3 if raw.ndim == 3 else 1), colored or raw.ndim == 3
        except DataError:
            try:
                channels = channels or images.read_image(path, page).pixels.shape[2]
            except DataError:
                continue
    return Looks(codes, shapes, channels, colored)


def _middle_page(path: Path) -> int | None:
    """Of a stack or volume, the page in its middle; None for one picture."""
    suffix = images.split_suffix(path.name)[1]
    if suffix in images.ARRAY_SUFFIXES:
        pages = images.pictures_in(path)
    elif suffix.endswith((".tif", ".tiff")):
        from maskwright.imaging.tiffs import count_pages

        try:
            pages = count_pages(path)
        except Exception:  # damaged: opening it says so
            return None
    else:
        return None
    return pages // 2 if pages > 1 else None


def _flat(codes: np.ndarray) -> bool:
    if codes.shape[1] < 2:
        return True
    equal = float((codes[:, 1:] == codes[:, :-1]).mean())
    if equal < FLAT and codes.size > 64:
        # Compression leaves ripples round edges: values near a peak count as the peak.
        coarse = (np.clip(codes, 0, 255).astype(np.int64) + 8) // 32 if codes.max(initial=0) < 256 else codes
        return float((coarse[:, 1:] == coarse[:, :-1]).mean()) >= 0.9 and _peaked(codes)
    return equal >= FLAT or codes.size <= 64


def _peaked(codes: np.ndarray) -> bool:
    counts = np.bincount(np.clip(codes, 0, 255).astype(np.int64).ravel(), minlength=256)
    smooth = np.convolve(counts, np.ones(17), "same")
    first = int(smooth.argmax())
    rest = smooth.copy()
    rest[max(0, first - 17) : first + 18] = 0
    return float(smooth[first] + rest.max()) / codes.size > 0.9


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two masks divide an image alike, whatever their values."""
    return refines(one, other) and refines(other, one)


def refines(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether each value of a mask lies within one value of another."""
    if one.shape != other.shape:
        return False
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return bool(len(np.unique(pairs[0])) == pairs.shape[1])

"""Run lengths, as COCO and CVAT write masks: how many pixels lie before each change between outside and inside.

Counts begin with the pixels outside, which may be 0. COCO goes down the columns, and writes the counts as a list
("uncompressed") or as text ("compressed"): as in cocoapi's `maskApi.c`, every count but the first three is written as
its difference from the count two places before, in groups of 5 bits, low bits first, in characters from "0"; the sixth
bit says that another group follows, and the last group's highest bit is the sign. CVAT goes along the rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskwright.imaging.memory import require_room

_MOST_GROUPS = 7
"""Groups of 5 bits that a difference of two 32-bit counts can need."""


def counts_of(mask: np.ndarray, *, by_columns: bool) -> np.ndarray:
    """Run lengths (uint32) of a mask (bool `H x W`), down the columns or along the rows."""
    flat = np.ravel(mask, order="F" if by_columns else "C")
    if flat.size == 0:
        return np.zeros(0, np.uint32)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    places = np.concatenate(([0], changes, [flat.size]))
    counts = np.diff(places)
    return np.concatenate(([0], counts) if flat[0] else (counts,)).astype(np.uint32)


def mask_of(counts: Sequence[int] | np.ndarray, height: int, width: int, *, by_columns: bool) -> np.ndarray:
    """The mask (bool `H x W`) of run lengths.

    Raises ValueError if they are negative, or do not add up to the mask's pixels.
    """
    lengths = np.asarray(counts, np.int64)
    if lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != height * width:
        raise ValueError(
            f"the run lengths cover {int(lengths.sum())} pixels, and the mask is {width} x {height} = {width * height}"
        )
    require_room(height * width)
    inside = np.zeros(len(lengths), bool)
    inside[1::2] = True
    flat = np.repeat(inside, lengths)
    return flat.reshape(width, height).T if by_columns else flat.reshape(height, width)


def decompress(text: str | bytes) -> np.ndarray:
    """The run lengths (int64) in COCO's compressed text; raises ValueError if it is none."""
    content = text.encode() if isinstance(text, str) else text
    codes = np.frombuffer(content, np.uint8).astype(np.int64) - 48
    if codes.size == 0:
        return codes
    if codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("its text is no compressed run lengths, or is cut off")
    last = np.flatnonzero((codes & 32) == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    groups = last - first + 1
    if groups.max() > _MOST_GROUPS:
        raise ValueError("its text holds a run length of more than 32 bits")
    place = np.arange(codes.size) - np.repeat(first, groups)
    values = np.add.reduceat((codes & 31) << (5 * place), first)
    values -= ((codes[last] & 16) != 0).astype(np.int64) << (5 * groups)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def compress(counts: np.ndarray) -> str:
    """COCO's compressed text of run lengths."""
    lengths = counts.astype(np.int64)
    values = lengths.copy()
    values[3:] -= lengths[1:-2]
    # A value needs n groups if it lies in -2^(5n-1) .. 2^(5n-1) - 1.
    reach = np.where(values < 0, ~values, values)
    groups = np.ones(len(values), np.int64)
    for n in range(1, _MOST_GROUPS):
        groups += reach >= 1 << (5 * n - 1)
    place = np.arange(_MOST_GROUPS)
    codes = (values[:, None] >> (5 * place)) & 31
    codes |= (place < groups[:, None] - 1) << 5
    return (codes[place < groups[:, None]] + 48).astype(np.uint8).tobytes().decode("ascii")

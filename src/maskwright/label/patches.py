"""A change of labels: a box of pixels as runs, small enough to be written at each stroke.

A cell is a pixel's label and where it came from: value + 256 * origin, uint16. A patch gives values of classes only,
with KEEP where a pixel of its box stays as it is; the store knows the origin. Runs go along the rows of the box. As
bytes they are 6 each, little-endian: a uint32 length and a uint16 value; in the journal they are compressed by zlib.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from maskwright.datasets.classes import UNLABELLED
from maskwright.errors import ProjectError
from maskwright.imaging.decoders import Window

KEEP = 0xFFFF
"""In runs: these pixels are not touched."""

_RUN = np.dtype([("length", "<u4"), ("value", "<u2")])


class Origin(IntEnum):
    """Where a pixel's label came from; the values are those of `labels/sources/`."""

    UNLABELLED = 0
    HUMAN = 1
    SCRIPT = 2
    MODEL_ACCEPTED = 3


EMPTY = np.uint16(UNLABELLED)
"""The cell of an unlabelled pixel."""


@dataclass(frozen=True, kw_only=True)
class Patch:
    """What somebody did to one image: a stroke, a filled region, an accepted suggestion."""

    image: str
    base: int
    """The revision of the image that it was drawn on; refused if the image has moved on."""
    author: str
    seconds: float
    """That it took the author, since the change before."""
    box: Window
    payload: bytes
    """Runs over the box: a class's value, 255 to make unlabelled, or KEEP."""
    origin: Origin = Origin.HUMAN
    model: str | None = None
    """Hash of the model, where its pixels are accepted."""
    replace_human: bool | None = None
    """Whether pixels that a human labelled may change; by default only a human may do it."""
    key: str | None = None
    """Chosen by whoever sends it, and never again for another change: a patch that is sent twice is applied once."""


def encode(cells: np.ndarray) -> bytes:
    """Runs of values (uint16, any shape, rows first), as bytes; `decode` gives them back."""
    flat = np.ravel(cells)
    if flat.size == 0:
        return b""
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]))
    runs = np.empty(len(starts) - 1, _RUN)
    runs["length"] = np.diff(starts)
    runs["value"] = flat[starts[:-1]]
    return runs.tobytes()


def decode(payload: bytes, box: Window) -> np.ndarray:
    """The values (uint16, `height x width` of the box) of runs.

    Raises ProjectError if they do not cover the box exactly.
    """
    return Runs(payload, box).rows(0, box.height)


class Runs:
    """Runs over a box, of which bands of rows are decoded: a box may be a whole map of 12,000 x 9,000 pixels."""

    def __init__(self, payload: bytes, box: Window) -> None:
        self._width = box.width
        whole = len(payload) % _RUN.itemsize == 0 and min(box) >= 0 and min(box.height, box.width) > 0
        runs = np.frombuffer(payload if whole else b"", _RUN)
        self._values = runs["value"].astype(np.uint16)
        self._ends = np.cumsum(runs["length"], dtype=np.int64)
        covered = int(self._ends[-1]) if len(runs) else 0
        if covered != box.height * box.width or covered == 0:
            raise ProjectError(
                f"A patch's runs cover {covered} pixels, and its box is {box.width} x {box.height} (width x height).",
                expected="Expected runs of 6 bytes (uint32 length, uint16 value) that cover the box along its rows.",
                remedy="Send the patch again.",
            )

    @property
    def values(self) -> set[int]:
        """The values that occur."""
        return set(np.unique(self._values).tolist())

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """Rows of the box, from `top` to before `bottom` (uint16)."""
        start, stop = top * self._width, bottom * self._width
        first = int(np.searchsorted(self._ends, start, side="right"))
        last = int(np.searchsorted(self._ends, stop, side="left"))
        edges = np.clip(self._ends[first : last + 1], start, stop)
        lengths = np.diff(edges, prepend=start)
        return np.repeat(self._values[first : last + 1], lengths).reshape(bottom - top, self._width)


class Packer:
    """Cells of a box as the journal keeps them, packed band by band, so that they are never all in memory."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(1)
        self._packed: list[bytes] = []

    def add(self, band: np.ndarray) -> None:
        """Pack the next rows of the box."""
        self._packed.append(self._zlib.compress(encode(band)))

    def blob(self) -> bytes:
        """All of it; nothing is added after this."""
        return b"".join([*self._packed, self._zlib.flush()])


def stored(cells: np.ndarray) -> bytes:
    """Cells of a box as the journal keeps them."""
    return zlib.compress(encode(cells), 1)


def restored(blob: bytes, box: Window) -> Runs:
    """Runs of cells from the journal."""
    return Runs(zlib.decompress(blob), box)

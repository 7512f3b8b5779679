"""Images as a page shows them: tiles of 512 x 512 at any reduction, in native values until the last step.

A picture of 16 bits, or of ten bands, is shown through a window of its values (low, high), a gamma and a choice of
channels; nothing is squeezed to 8 bits before. Large tiled TIFFs are read window by window, other files are decoded
once and kept while they are looked at.

Legend: H, W height and width; C channels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np

from maskwright.errors import SettingError
from maskwright.imaging.decoders import Window
from maskwright.imaging.images import read_image
from maskwright.imaging.painting import encoded, reduced
from maskwright.imaging.tiffs import first_page, segment_pixels

EDGE = 512
"""Pixels along a tile, on the screen."""
THUMBNAIL = 160
"""Pixels on the longer side of a thumbnail."""

_LARGE = 48_000_000
"""Pixels from which a TIFF that can be read in windows is."""
_KEPT = 512 << 20
"""Bytes of decoded images that are kept."""
_SAMPLED = 1 << 20
"""Pixels that a range of values is estimated from."""
_OVERVIEW = 2048
"""Pixels on the longer side of what is kept of an image that is never read whole, at least."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How native values become colours."""

    channels: tuple[int, ...]
    """One (grey), or those that are red, green and blue."""
    low: tuple[float, ...]
    """The value of each chosen channel that is black."""
    high: tuple[float, ...]
    """The value of each chosen channel that is white."""
    gamma: float = 1.0

    def __post_init__(self) -> None:
        lengths = {len(self.channels), len(self.low), len(self.high)}
        if lengths not in ({1}, {3}) or not 0.01 <= self.gamma <= 100 or not np.isfinite([*self.low, *self.high]).all():
            raise SettingError(
                "A picture cannot be shown so.", expected="Expected one channel or three, with a range each."
            )

    def __call__(self, pixels_HWC: np.ndarray) -> np.ndarray:
        """Colours (uint8, H x W x 3, or H x W of one channel) of native values."""
        shown = [
            _levels(pixels_HWC[..., channel], low, high, self.gamma)
            for channel, low, high in zip(self.channels, self.low, self.high, strict=True)
        ]
        return shown[0] if len(shown) == 1 else np.dstack(shown)


def _levels(values: np.ndarray, low: float, high: float, gamma: float) -> np.ndarray:
    """Values between low and high as 0..255; through a table where they are integers."""
    if values.dtype == np.uint8 and (low, high, gamma) == (0, 255, 1):
        return values
    if values.dtype.kind == "u":
        table = _levels(np.arange(np.iinfo(values.dtype).max + 1, dtype=np.float32), low, high, gamma)
        found: np.ndarray = table[values]
        return found
    unit = ((values - np.float32(low)) / np.float32(max(high - low, 1e-30))).clip(0, 1)
    return np.rint(unit ** np.float32(1 / gamma) * 255).astype(np.uint8)


class Picture:
    """One image (or a page of a stack), read as far as it is looked at; H x W x C native values.

    Raises what `read_image` raises where its file cannot be read.
    """

    def __init__(self, path: Path, page: int | None, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._path, self._page = path, page
        self._pixels = None if self._in_windows() else read_image(path, page).pixels
        sample = self.reduced(_factor(max(shape), _OVERVIEW)) if self._pixels is None else self._pixels
        self._overview = sample if self._pixels is None else None
        self.channels = sample.shape[2]
        self.kind = str(sample.dtype)
        self.bytes = int(sample.nbytes)
        stride = max(1, int(np.sqrt(sample.shape[0] * sample.shape[1] / _SAMPLED)))
        values = sample[::stride, ::stride].reshape(-1, self.channels)
        self.limits = [(float(values[:, c].min()), float(values[:, c].max())) for c in range(self.channels)]
        ranges = np.percentile(values, (0.5, 99.5), axis=0) if sample.dtype != np.uint8 else None
        self.ranges = [
            (0.0, 255.0) if ranges is None else (float(ranges[0, c]), float(max(ranges[1, c], ranges[0, c] + 1e-6)))
            for c in range(self.channels)
        ]

    def pixels(self, window: Window) -> np.ndarray:
        """Native values of a window."""
        if self._pixels is not None:
            return self._pixels[window.slices]
        return read_image(self._path, self._page, window).pixels

    def reduced(self, factor: int, window: Window | None = None) -> np.ndarray:
        """A window (or all) at 1/factor of its size: means over squares, of native values."""
        top, left, height, width = window or Window(0, 0, *self.shape)
        if self._pixels is not None:
            return _means(self._pixels[top : top + height, left : left + width], factor)
        kept = _factor(max(self.shape), _OVERVIEW)
        if window is not None and factor >= kept and self._overview is not None:
            part = self._overview[top // kept : -(-(top + height) // kept), left // kept : -(-(left + width) // kept)]
            return _means(part, factor // kept)
        step = max(factor, EDGE // factor * factor)
        bands = range(top, top + height, step)
        read = (self.pixels(Window(band, left, min(step, top + height - band), width)) for band in bands)
        return np.concatenate([_means(band, factor) for band in read])

    def thumbnail(self) -> bytes:
        """A small picture, JPEG."""
        factor = max(1, max(self.shape) // (2 * THUMBNAIL))
        small = self.default()(self.reduced(factor, Window(0, 0, *self.shape)))
        return encoded(reduced(small, THUMBNAIL), "JPEG", quality=80)

    def default(self) -> Shown:
        """How it is shown first: one channel grey, two magenta and green, of more the first three as colours."""
        channels = {1: (0,), 2: (0, 1, 0)}.get(self.channels, (0, 1, 2))
        low, high = zip(*(self.ranges[channel] for channel in channels), strict=True)
        return Shown(channels=channels, low=low, high=high)

    def tile(self, level: int, row: int, column: int, shown: Shown) -> bytes:
        """A tile of EDGE x EDGE pixels at 1/2^level of the size, PNG; smaller at the right and lower edge.

        Raises SettingError where there is none, or a channel is not there.
        """
        height, width = self.shape
        factor = 1 << level if 0 <= level <= levels(self.shape) else 0
        top, left = row * EDGE * factor, column * EDGE * factor
        if not (factor and 0 <= top < height and 0 <= left < width):
            raise SettingError(f"There is no tile {row}, {column} at level {level}.")
        if not all(0 <= channel < self.channels for channel in shown.channels):
            raise SettingError(f"The image has {self.channels} channels, and another was asked for.")
        window = Window(top, left, min(EDGE * factor, height - top), min(EDGE * factor, width - left))
        colors = shown(self.reduced(factor, window))
        order = colors if colors.ndim == 2 else colors[..., ::-1]
        done, content = cv2.imencode(".png", np.ascontiguousarray(order), [cv2.IMWRITE_PNG_COMPRESSION, 1])
        assert done, "OpenCV writes PNG of 8 bits"
        return content.tobytes()

    def facts(self) -> dict[str, Any]:
        """What the page has to know to ask for tiles."""
        shown = self.default()
        return {
            "channels": self.channels,
            "kind": self.kind,
            "limits": self.limits,
            "ranges": self.ranges,
            "levels": levels(self.shape),
            "shown": {"channels": shown.channels, "low": shown.low, "high": shown.high, "gamma": shown.gamma},
        }

    def _in_windows(self) -> bool:
        if self.shape[0] * self.shape[1] < _LARGE or first_page(self._path) is None:
            return False
        return segment_pixels(self._path, self._page) * 8 < self.shape[0] * self.shape[1]


class Pictures:
    """The images that are looked at, up to a number of bytes; the last one always. Any thread may ask."""

    def __init__(self, most: int = _KEPT) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[Any, ...], Picture] = OrderedDict()
        self._lock = Lock()
        self._reading: dict[tuple[Any, ...], Lock] = {}

    def open(self, path: Path, page: int | None, shape: tuple[int, int]) -> Picture:
        """The picture of a file; read again when the file has changed."""
        key = (path, page, shape, path.stat().st_mtime_ns if path.exists() else 0)
        with self._lock:
            own = self._reading.setdefault(key, Lock())
        with own:  # one reads, the others who want the same image wait for it
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
            picture = Picture(path, page, shape)
            with self._lock:
                self._kept[key] = picture
                while len(self._kept) > 1 and sum(one.bytes for one in self._kept.values()) > self._most:
                    self._kept.popitem(last=False)
                self._reading.pop(key, None)
        return picture


def levels(shape: Sequence[int]) -> int:
    """The reduction (as a power of two) at which an image is one tile."""
    level = 0
    while max(shape) > EDGE << level:
        level += 1
    return level


def _factor(side: int, aim: int) -> int:
    """The power of two that brings a side to `aim` or just above."""
    factor = 1
    while side // (factor * 2) >= aim:
        factor *= 2
    return factor


def _means(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Means over squares of factor x factor, of each channel; squares that reach over an edge repeat its pixels."""
    if factor <= 1:
        return pixels
    height, width = -(-pixels.shape[0] // factor), -(-pixels.shape[1] // factor)
    below, right = height * factor - pixels.shape[0], width * factor - pixels.shape[1]
    each = []
    for channel in range(pixels.shape[2]):
        plane = np.ascontiguousarray(pixels[..., channel])
        if below or right:
            plane = cv2.copyMakeBorder(plane, 0, below, 0, right, cv2.BORDER_REPLICATE)
        each.append(cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA))
    return np.dstack(each)

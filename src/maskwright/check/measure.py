"""Measures one pair: everything that the rules need, in one reading, in a worker process.

Nothing is judged here: what a number means depends on the rest of the set.

Legend: H, W height and width; C channels. Raw masks are integers `H x W` or colours `H x W x 3`; keys stand for their
values.
"""

from __future__ import annotations

import base64
from hashlib import blake2b
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from maskwright.check.edges import SQUARE, ramps_of, score_placement
from maskwright.check.scan_result import (
    MOST_VALUES,
    QUANTILES,
    Channel,
    Count,
    Labels,
    Measured,
    Picture,
    Spot,
    Unread,
)
from maskwright.datasets.classes import Value
from maskwright.datasets.near_duplicates import small_grey
from maskwright.datasets.numbering import are_numbers_or_colors
from maskwright.datasets.samples import Sample
from maskwright.datasets.sources import Source
from maskwright.errors import MaskwrightError
from maskwright.imaging.colors import color_codes, color_name
from maskwright.imaging.decoders import sniff
from maskwright.imaging.images import NO_LABEL, Image

__all__ = ["Keys", "count_values", "files_of", "find_spots", "is_marked", "measure", "to_keys"]

_SAMPLED = 16384
"""Pixels of a channel that its inner quantiles are taken from."""


def measure(sample: Sample, ignored: frozenset[Value]) -> Measured:
    """Read a pair and measure it; what cannot be read is recorded, not raised.

    `ignored` are the raw values of unlabelled pixels, as far as they are known: edges against them are nobody's.
    """
    unread: list[Unread] = []
    image: Image | None = None
    raw: np.ndarray | None = None
    marked: NDArray[np.bool_] | None = None
    try:
        image = sample.image.read_image()
    except MaskwrightError as error:
        unread.append(_unread(sample.image, error))
    if sample.mask is not None:
        try:
            raw = sample.mask.read_mask()
        except MaskwrightError as error:
            unread.append(_unread(sample.mask, error))
    if sample.valid is not None:
        try:
            marked = is_marked(sample.valid.read_mask())
        except MaskwrightError as error:
            unread.append(_unread(sample.valid, error))
    valid = None if image is None else image.valid
    if image is not None and marked is not None and marked.shape == image.pixels.shape[:2]:
        valid = marked if valid is None else valid & marked
    return Measured(
        unread=tuple(unread),
        picture=None if image is None else _picture(sample.image, image, valid),
        labels=None if raw is None or sample.mask is None else _labels(sample.mask, raw, image, valid, ignored),
        valid_shape=None if marked is None else (marked.shape[0], marked.shape[1]),
    )


def _picture(source: Source, image: Image, valid_HW: NDArray[np.bool_] | None) -> Picture:
    pixels_HWC = image.pixels
    height, width = pixels_HWC.shape[:2]
    try:
        orientation = source.header().orientation
    except MaskwrightError:
        orientation = 1
    return Picture(
        shape=(height, width),
        orientation=orientation,
        dtype=str(pixels_HWC.dtype),
        channels=_channels(source, image, valid_HW),
        digest=_digest(pixels_HWC),
        small=base64.b64encode(small_grey(pixels_HWC).tobytes()).decode(),
        step=_common_step(pixels_HWC) if pixels_HWC.dtype == np.uint16 else 1,
        valid=1.0 if valid_HW is None else float(valid_HW.mean()),
    )


def _channels(source: Source, image: Image, valid_HW: NDArray[np.bool_] | None) -> tuple[Channel, ...]:
    pixels_HWC = image.pixels
    nan = _nan_shares(source, image)
    stride = max(1, int((pixels_HWC.shape[0] * pixels_HWC.shape[1] / _SAMPLED) ** 0.5))
    sampled_HWC = pixels_HWC[::stride, ::stride]
    if valid_HW is not None and valid_HW.any():
        within = valid_HW[::stride, ::stride]
        sampled_NC = sampled_HWC[within] if within.any() else pixels_HWC[valid_HW]
        low, high, mean = (f(pixels_HWC[valid_HW], axis=0) for f in (np.min, np.max, np.mean))
    else:
        sampled_NC = sampled_HWC.reshape(-1, pixels_HWC.shape[2])
        low, high = _extremes(pixels_HWC)
        mean = cv2.mean(pixels_HWC)[: pixels_HWC.shape[2]] if pixels_HWC.shape[2] <= 4 else pixels_HWC.mean((0, 1))
    inner = np.quantile(sampled_NC.astype(np.float32), QUANTILES[1:-1], axis=0)
    return tuple(
        Channel(
            mean=float(mean[c]),
            quantiles=(float(low[c]), *(float(q) for q in inner[:, c]), float(high[c])),
            nan=nan[c],
        )
        for c in range(pixels_HWC.shape[2])
    )


def _extremes(pixels_HWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest value of each channel; along rows first, which is quick for interleaved channels."""
    return pixels_HWC.min(axis=0).min(axis=0), pixels_HWC.max(axis=0).max(axis=0)


def _nan_shares(source: Source, image: Image) -> list[float]:
    """Of a float TIFF with pixels without data, the share of each channel that is not finite.

    Reading makes such pixels invalid in all channels, so that the file has to be asked again.
    """
    channels = image.pixels.shape[2]
    none = [0.0] * channels
    if type(source) is not Source or image.pixels.dtype != np.float32 or image.valid is None:
        return none
    with source.path.open("rb") as file:
        if sniff(file.read(16)) != "tiff":
            return none
    from maskwright.imaging.tiffs import decode_tiff

    stored = decode_tiff(source.path, source.page, source.window, indices=False).pixels
    if stored.shape[2] != channels or stored.dtype.kind != "f":
        return none
    return [float(1 - np.isfinite(stored[..., c]).mean()) for c in range(channels)]


def _common_step(pixels_HWC: np.ndarray) -> int:
    """What all values of a 16-bit image are multiples of: 257, 256, 16, or 1; 1 where it has few values."""
    if pixels_HWC.max() - pixels_HWC.min() < 16 * 257:
        return 1
    used = int(np.bitwise_or.reduce(pixels_HWC, axis=None))
    if used & 0xFF == 0:
        return 256
    if used & 0x0F == 0:
        return 16
    # A quick look first: of camera noise, one value in 256 is such a multiple.
    if (pixels_HWC[0] % 257 == 0).all() and (pixels_HWC % 257 == 0).all():
        return 257
    return 1


def is_marked(raw: np.ndarray) -> NDArray[np.bool_]:
    """Where a valid mask's raw values (`H x W` or `H x W x 3`) are not 0."""
    return np.asarray((raw != 0).any(axis=2) if raw.ndim == 3 else raw != 0, bool)


def _labels(
    source: Source,
    raw: np.ndarray,
    image: Image | None,
    valid_HW: NDArray[np.bool_] | None,
    ignored: frozenset[Value],
) -> Labels:
    mask = to_keys(raw)
    fits = image is not None and image.pixels.shape[:2] == raw.shape[:2]
    counts, distinct, edges = count_values(mask, ~valid_HW if fits and valid_HW is not None else None)
    spots, shown = find_spots(mask)
    return Labels(
        shape=(raw.shape[0], raw.shape[1]),
        digest=_digest(raw),
        colored=mask.colored,
        jpeg=_is_jpeg(source),
        distinct=distinct,
        counts=counts,
        edges=edges,
        # Colours have no order.
        ramps=0 if mask.colored else int(ramps_of(mask.keys_HW).sum()),
        spots=spots,
        shown_spots=shown,
        placement=score_placement(image.pixels, mask.keys_HW, _counted(mask, valid_HW, ignored))
        if fits and image is not None and distinct > 1
        else None,
        numbered=are_numbers_or_colors(
            raw, np.array([c.value for c in counts if c.value != NO_LABEL and not mask.colored], np.int64)
        ),
    )


def _counted(mask: Keys, valid_HW: NDArray[np.bool_] | None, ignored: frozenset[Value]) -> NDArray[np.bool_] | None:
    """Where the mask says something: neither unlabelled nor invalid; None for everywhere."""
    keys = mask.of(set(ignored))
    if not len(keys):
        return valid_HW
    counted = np.ones(int(mask.keys_HW.max()) + 1, bool)
    counted[keys] = False
    labelled: NDArray[np.bool_] = counted[mask.keys_HW]
    return labelled if valid_HW is None else labelled & valid_HW


def _is_jpeg(source: Source) -> bool:
    path = source.files[0] if source.files else source.path
    try:
        with path.open("rb") as file:
            return sniff(file.read(16)) == "jpeg"
    except OSError:
        return False


def _digest(array: np.ndarray) -> str:
    digest = blake2b(f"{array.dtype}{array.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _unread(source: Source, error: MaskwrightError) -> Unread:
    """What the error says; of a source with several files, it names the one."""
    what = " ".join(part for part in (error.what, error.expected) if part)
    return Unread(file=str(error.file or source.path), what=what, remedy=error.remedy)


def files_of(sample: Sample) -> tuple[Path, ...]:
    """All files of a sample, the image's first."""
    parts = (sample.image, sample.mask, sample.valid)
    return tuple(dict.fromkeys(path for part in parts if part is not None for path in part.files))


_MOST_SPOTS_SHOWN = 24


class Keys:
    """A raw mask as small integers in the order of its values, which OpenCV can filter."""

    def __init__(self, keys_HW: np.ndarray, values: NDArray[np.int64] | None, colored: bool) -> None:
        self.keys_HW = keys_HW
        """uint8 or uint16."""
        self._values = values
        self.colored = colored

    def value(self, key: int) -> Value:
        """The raw value that a key stands for."""
        raw = key if self._values is None else int(self._values[key])
        return color_name(raw) if self.colored else raw

    def of(self, values: set[Value]) -> NDArray[np.intp]:
        """The keys of those raw values that the mask holds."""
        present = np.flatnonzero(np.bincount(self.keys_HW.ravel()))
        return np.array([key for key in present.tolist() if self.value(key) in values], np.intp)


def to_keys(raw: np.ndarray) -> Keys:
    """Keys of a raw mask; more than 65,536 values are more than any mask has, and the last ones become one."""
    if raw.dtype in (np.uint8, np.uint16) and raw.ndim == 2:
        return Keys(raw, None, False)
    codes = color_codes(raw) if raw.ndim == 3 else raw
    if raw.ndim == 2 and codes.size and codes.min() >= 0 and codes.max() < 65536:
        return Keys(codes.astype(np.uint16), None, False)
    values, inverse = np.unique(codes, return_inverse=True)
    keys = np.minimum(inverse.reshape(codes.shape), 65535)
    return Keys(keys.astype(np.uint8 if len(values) <= 256 else np.uint16), values.astype(np.int64), raw.ndim == 3)


def count_values(mask: Keys, invalid_HW: NDArray[np.bool_] | None) -> tuple[tuple[Count, ...], int, int]:
    """Every raw value's pixels, most frequent first; the number of values; and the number of edge pixels."""
    keys = mask.keys_HW
    low, high = cv2.erode(keys, SQUARE), cv2.dilate(keys, SQUARE)
    flat = low == high
    length = int(keys.max()) + 1 if keys.size else 1
    pixels = np.bincount(keys.ravel(), minlength=length)
    flats = np.bincount(keys[flat], minlength=length)
    between = np.bincount(keys[(low < keys) & (keys < high)], minlength=length)
    invalid = np.zeros(length, np.int64) if invalid_HW is None else np.bincount(keys[invalid_HW], minlength=length)
    present = np.flatnonzero(pixels)
    order = present[np.argsort(-pixels[present], kind="stable")][:MOST_VALUES]
    counts = tuple(
        Count(
            value=mask.value(key),
            pixels=int(pixels[key]),
            flat=int(flats[key]),
            between=int(between[key]),
            invalid=int(invalid[key]),
        )
        for key in order.tolist()
    )
    return counts, len(present), int(keys.size - flat.sum())


def find_spots(mask: Keys) -> tuple[int, tuple[Spot, ...]]:
    """Count regions of up to 3 x 3 pixels that lie inside one other region, and locate some of them.

    A pixel belongs to one if the ring round it, at distance one or two, has a single value and the pixel another.
    """
    keys = mask.keys_HW
    marked = np.zeros(keys.shape, np.uint8)
    around = np.zeros_like(keys)
    for ring in (_RING_5, _RING_3):
        low = cv2.erode(keys, ring, borderType=cv2.BORDER_REPLICATE)
        found = (low == cv2.dilate(keys, ring, borderType=cv2.BORDER_REPLICATE)) & (low != keys)
        marked[found], around[found] = 1, low[found]
    if not marked.any():
        return 0, ()
    # One spot marks its middle and perhaps its corners: marks two pixels apart are one spot.
    count, _, _, centers = cv2.connectedComponentsWithStats(cv2.dilate(marked, SQUARE), connectivity=8)
    shown = []
    ys, xs = np.nonzero(marked)
    for x, y in centers[1:][:: max(1, (count - 1) // _MOST_SPOTS_SHOWN)][:_MOST_SPOTS_SHOWN]:
        nearest = int(np.argmin((ys - y) ** 2 + (xs - x) ** 2))
        at = int(ys[nearest]), int(xs[nearest])
        shown.append(Spot(y=at[0], x=at[1], value=mask.value(int(keys[at])), around=mask.value(int(around[at]))))
    return count - 1, tuple(shown)


_RING_3 = np.pad(np.zeros((1, 1), np.uint8), 1, constant_values=1)
_RING_5 = np.pad(np.zeros((3, 3), np.uint8), 1, constant_values=1)

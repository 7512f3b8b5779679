"""One look at one pair: everything that the audit's rules need is measured here, in a worker, in one reading.

Nothing is judged: what a number means depends on the rest of the set.
Legend: H, W height and width; C channels.
"""

from __future__ import annotations

import base64
from hashlib import blake2b
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from maskwright.check.alignment import place
from maskwright.check.masks import Keys, count_values, find_spots, ramps_of, to_keys
from maskwright.check.records import QUANTILES, Channel, Labels, Measured, Picture, Unread
from maskwright.datasets.classes import Value
from maskwright.datasets.samples import Sample
from maskwright.datasets.sources import Source
from maskwright.errors import MaskwrightError
from maskwright.imaging.decoders import sniff
from maskwright.imaging.images import Image
from maskwright.imaging.tiffs import decode_tiff

__all__ = ["SMALL", "look"]

SMALL = 32
"""Side of the small grey picture by which near-duplicates are told."""

_SAMPLED = 16384
"""Pixels of a channel that its inner quantiles are taken from."""


def look(sample: Sample, ignored: frozenset[Value]) -> Measured:
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


def small_grey(pixels_HWC: np.ndarray) -> NDArray[np.uint8]:
    """The image in `SMALL` x `SMALL` greys (uint8), the darkest 0 and the lightest 255."""
    reduced = cv2.resize(pixels_HWC[..., :4], (SMALL, SMALL), interpolation=cv2.INTER_AREA)
    grey = reduced.reshape(SMALL, SMALL, -1)[..., :3].mean(axis=2, dtype=np.float32)
    low, high = float(grey.min()), float(grey.max())
    scale = 255 / (high - low) if high > low else 0.0
    return np.asarray(np.rint((grey - low) * scale), np.uint8)


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
        placement=place(image.pixels, mask.keys_HW, _counted(mask, valid_HW, ignored))
        if fits and image is not None and distinct > 1
        else None,
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
    """The error, and the file it names, which of several may be another than the first."""
    text = str(error)
    named = [path for path in source.files if str(path) in text]
    return Unread(file=str(named[0] if named else source.path), text=text)


def files_of(sample: Sample) -> tuple[Path, ...]:
    """All files of a sample, the image's first."""
    parts = (sample.image, sample.mask, sample.valid)
    return tuple(dict.fromkeys(path for part in parts if part is not None for path in part.files))

"""The dataset fingerprint: the statistics of the training images, and of the machine, that the planner uses.

The word is nnU-Net's. Everything here is counted, nothing guessed, and every field steers a decision of the plan: which
network (`thick_fraction`), which working scale (`shrunk_iou`), which flips (`upright`, `mirror_image`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import cv2
import numpy as np
import torch

from maskwright.augment.loader import Store
from maskwright.datasets.classes import UNLABELLED, ClassTable
from maskwright.datasets.near_duplicates import near_duplicates, small_grey
from maskwright.datasets.samples import Sample
from maskwright.errors import DataError, listed
from maskwright.evaluate.metrics import Scores, confusion
from maskwright.planning.symmetry import DESCRIPTORS, describe_region, mirror_images, upright

SHRUNK_IMAGES = 40
"""Images whose masks are reduced and compared, which takes the longest."""
MOST_IMAGES = 400
"""Images read for the fingerprint, spread evenly over the set; more would not change the plan."""
SHRUNK = (0.5, 0.25)
"""Scales at which it is counted what is left of the masks."""
BANDS = 8
"""Rows (or columns) of the profile in which class frequencies are compared with their mirror image."""
FORMER_NAMES = {
    "class_share": "class_fraction", "thick_share": "thick_fraction", "image_share": "image_fraction"
}  # fmt: skip
"""What the first version called fields."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Statistics of the training images, counted after preparation; those of classes are indexed by class."""

    images: int
    channels: int
    dtype: str
    height: tuple[int, int, int]
    """Smallest, median and largest height in pixels."""
    width: tuple[int, int, int]
    """Smallest, median and largest width in pixels."""
    mean: tuple[float, ...]
    """Of each channel, in native values, over all pixels, as the network sees them."""
    std: tuple[float, ...]
    """Of each channel, in native values, over all pixels, as the network sees them."""
    class_fraction: tuple[float, ...]
    """Of the labelled pixels, for each class."""
    thick_fraction: tuple[float, ...]
    """For each class, the fraction of its pixels at least 3 pixels away from any other class: 0 for hairlines."""
    upside_down: float
    """How differently classes are spread over rows when images are turned upside down: 0 not at all, 1 wholly."""
    left_right: float
    """The same for mirrored images and columns."""
    bfloat16: bool = False
    """Whether the machine multiplies bfloat16 numbers in hardware, about twice as fast as float32."""
    shrunk_iou: tuple[float, ...] = ()
    """For each of `SHRUNK`, the mean IoU over classes of the masks with themselves, reduced so and enlarged again: what
    working at that scale leaves of the classes at most."""
    image_fraction: tuple[float, ...] = ()
    """Fraction of the images read in which each class occurs."""
    upright: tuple[float, ...] = ()
    """For each class, how differently it is spread over rows in images turned upside down; 0 if chance explains it."""
    mirror_image: tuple[int, ...] = ()
    """For each class, the one that is its mirror image, as a left and a right eye; itself where there is none."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON and TOML can hold it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Fingerprint:
        """Read a fingerprint back from a plan's file; those of earlier versions have other names and more fields."""
        known = {one.name for one in fields(cls)}
        renamed = {FORMER_NAMES.get(name, name): value for name, value in content.items()}
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in renamed.items() if name in known
        }
        return cls(**given)


def take_fingerprint(
    store: Store,
    samples: Sequence[Sample],
    classes: ClassTable,
    device: str,
    validation: tuple[Store, Sequence[Sample]] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Fingerprint:
    """Read the training samples, at most `MOST_IMAGES` of them, and count.

    Parameters
    ----------
    store, samples
        Where the training samples are read, and which.
    classes
        The data set's.
    device
        Torch's name of the device that will train; its arithmetic is part of the fingerprint.
    validation
        Store and held-out samples. Their images are compared with those of training, and near repetitions are said.
    say
        Called with messages.

    Raises
    ------
    DataError
        If no pixel is labelled, or a sample cannot be read.
    """
    ordered = sorted(samples, key=lambda sample: sample.id)
    chosen = [
        ordered[i] for i in np.unique(np.linspace(0, len(ordered) - 1, min(MOST_IMAGES, len(ordered))).astype(int))
    ]
    count = len(classes)
    kind: tuple[int, np.dtype[Any]] | None = None
    heights, widths = [], []
    weight, total, square = 0.0, np.zeros(1), np.zeros(1)
    pixels, thick = np.zeros(count), np.zeros(count)
    rows, columns = np.zeros((len(chosen), count, BANDS)), np.zeros((count, BANDS))
    closely = {chosen[i].id for i in np.linspace(0, len(chosen) - 1, min(SHRUNK_IMAGES, len(chosen))).astype(int)}
    small: list[np.ndarray] = []
    shrunk = np.zeros((len(SHRUNK), count, count), np.int64)
    regions = np.full((len(chosen), count, DESCRIPTORS), np.nan)
    for number, sample in enumerate(chosen):
        image, mask = store.get(sample)
        if kind is None:
            kind = (image.shape[2], image.dtype)
            total, square = np.zeros(image.shape[2]), np.zeros(image.shape[2])
        small.append(small_grey(image))
        heights.append(mask.shape[0])
        widths.append(mask.shape[1])
        seen = image.reshape(-1, image.shape[2])[:: max(1, mask.size // 65536)].astype(np.float64)
        weight += len(seen)
        total += seen.sum(0)
        square += (seen**2).sum(0)
        found = np.bincount(mask.ravel(), minlength=256)
        pixels += found[:count]
        if sample.id in closely:
            for matrix, scale in zip(shrunk, SHRUNK, strict=True):
                matrix += confusion(mask, _shrunk(mask, scale), count)
        for index in np.flatnonzero(found[:count]).tolist():
            region = (mask == index).astype(np.uint8)
            regions[number, index] = describe_region(region, image)
            # What a disc of radius 2 leaves lies at least 3 pixels inside.
            thick[index] += cv2.erode(region, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))).sum()
            rows[number, index] = [part.mean() if part.size else 0 for part in np.array_split(region, BANDS, 0)]
            columns[index] += [part.mean() if part.size else 0 for part in np.array_split(region, BANDS, 1)]
    assert kind is not None, "a data set has samples"
    if not pixels.sum():
        raise DataError(
            f"No pixel of the {len(chosen)} training masks looked at is labelled: all are 255 or listed as unlabelled.",
            expected="Expected class values.",
            remedy="Look at the masks, and at `unlabelled` in classes.toml.",
        )
    mean = total / weight
    std = np.sqrt(np.maximum(square / weight - mean**2, 0))
    if validation is not None:
        _warn_of_repeats(chosen, small, *validation, say)
    return Fingerprint(
        images=len(ordered),
        channels=kind[0],
        dtype=str(kind[1]),
        height=_spread(heights),
        width=_spread(widths),
        mean=tuple(round(float(v), 6) for v in mean),
        std=tuple(max(round(float(v), 6), 1e-6) for v in std),
        class_fraction=tuple(round(float(v), 6) for v in pixels / pixels.sum()),
        thick_fraction=tuple(round(float(v), 4) for v in thick / np.maximum(pixels, 1)),
        upside_down=_asymmetry(rows.sum(0)),
        left_right=_asymmetry(columns),
        bfloat16=_bfloat16(torch.device(device)),
        shrunk_iou=tuple(round(float(np.nanmean(Scores.from_confusion(matrix).iou)), 4) for matrix in shrunk),
        image_fraction=tuple(round(float(v), 4) for v in (~np.isnan(regions[..., 0])).mean(0)),
        upright=upright(rows),
        mirror_image=mirror_images(regions, std.tolist(), classes.names),
    )


def _warn_of_repeats(
    training: Sequence[Sample],
    small: Sequence[np.ndarray],
    store: Store,
    samples: Sequence[Sample],
    say: Callable[[str], None],
) -> None:
    """Name validation samples that nearly repeat a training image: copies, flipped or turned, frames of one scene."""
    held_out = [small_grey(store.get(sample).image) for sample in samples]
    found = near_duplicates(np.array(small, np.float32), np.array(held_out, np.float32))
    if found:
        pairs = listed([f"{samples[one.second].id} ({training[one.first].id})" for one in found], 3)
        say(
            f"warning: {len(found)} of {len(samples)} validation images nearly repeat a training image: {pairs}. "
            "Scores while training flatter, and so may choose the wrong weights. Say what belongs together with groups "
            "in a manifest, or give other images with --val."
        )


def _shrunk(mask: np.ndarray, scale: float) -> np.ndarray:
    """A mask reduced to the nearest pixels at a scale, and enlarged again; unlabelled pixels do not spread."""
    height, width = mask.shape
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    again = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.where(again == UNLABELLED, np.where(mask == UNLABELLED, 0, mask), again).astype(np.uint8)


def _bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for products of bfloat16 numbers; emulation does not count."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def _spread(values: list[int]) -> tuple[int, int, int]:
    return min(values), int(np.median(values)), max(values)


def _asymmetry(profile: np.ndarray) -> float:
    """Half the summed difference between the classes' profile (K x BANDS) and its mirror image, weighted by area."""
    total = profile.sum()
    return round(float(np.abs(profile - profile[:, ::-1]).sum() / (2 * total)), 4) if total else 0.0

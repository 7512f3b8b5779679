"""What the plan knows: facts of the training images and of the machine, counted, not guessed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
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
from maskwright.planning.symmetry import PLACE, mirror_images, place, upright

REGIONS_OF = 40
"""Images whose connected regions are measured, and whose values are sorted for percentiles; these take the longest."""
LOOKED_AT = 400
"""Images read for the facts, spread evenly over the set; more would not change the plan."""
SHRUNK = (0.5, 0.25)
"""Scales at which it is counted what is left of the masks."""
BANDS = 8
"""Rows (or columns) of the profile in which class frequencies are compared with their mirror image."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Counted over the training share, on prepared images."""

    images: int
    looked_at: int
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
    class_share: tuple[float, ...]
    """Of the labelled pixels, for each class."""
    unlabelled: float
    """Share of all pixels."""
    thick_share: tuple[float, ...]
    """For each class, the share of its pixels at least 3 pixels away from any other class: 0 for hairlines."""
    upside_down: float
    """How differently classes are spread over rows when images are turned upside down: 0 not at all, 1 wholly."""
    left_right: float
    """The same for mirrored images and columns."""
    device: str
    cores: int
    bfloat16: bool = False
    """Whether the machine multiplies bfloat16 numbers in hardware, about twice as fast as float32."""
    memory: float = 0.0
    """Of the machine, in GiB; 0 where the system does not tell."""
    low: tuple[float, ...] = ()
    """First percentile of each channel, in native values."""
    middle: tuple[float, ...] = ()
    """Median of each channel."""
    high: tuple[float, ...] = ()
    """99th percentile of each channel."""
    region_pixels: tuple[float, ...] = ()
    """For each class, the median area of its connected regions, in pixels; 0 where there is none."""
    shrunk_iou: tuple[float, ...] = ()
    """For each of `SHRUNK`, the mean IoU over classes of the masks with themselves, reduced so and enlarged again: what
    working at that scale leaves of the classes at most."""
    groups: int = 0
    """Videos, patients or slides that the samples say they come from; 0 where they say none."""
    near_duplicates: int = 0
    """Validation images that nearly repeat a training image: copies, flipped or turned, and frames of one scene."""
    image_share: tuple[float, ...] = ()
    """Share of the images looked at in which each class occurs."""
    upright: tuple[float, ...] = ()
    """For each class, how differently it is spread over rows in images turned upside down; 0 if chance explains it."""
    mirror_image: tuple[int, ...] = ()
    """For each class, the one that is its mirror image, as a left and a right eye; itself where there is none."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON and TOML can hold it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Facts:
        """Read facts back from a plan's file."""
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
        }
        return cls(**given)


def gather(
    store: Store,
    samples: Sequence[Sample],
    classes: ClassTable,
    device: str,
    validation: tuple[Store, Sequence[Sample]] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Facts:
    """Look at the training samples (at most `LOOKED_AT` of them) and count.

    The images of `validation`, read after them, are compared with those looked at; nearly the same ones are said.
    Raises DataError if no pixel is labelled, and what reading the samples raises.
    """
    ordered = sorted(samples, key=lambda sample: sample.id)
    chosen = [ordered[i] for i in np.unique(np.linspace(0, len(ordered) - 1, min(LOOKED_AT, len(ordered))).astype(int))]
    count = len(classes)
    kind: tuple[int, np.dtype[Any]] | None = None
    heights, widths = [], []
    weight, total, square = 0.0, np.zeros(1), np.zeros(1)
    pixels, thick = np.zeros(count), np.zeros(count)
    unlabelled = 0
    rows, columns = np.zeros((len(chosen), count, BANDS)), np.zeros((count, BANDS))
    closely = {chosen[i].id for i in np.linspace(0, len(chosen) - 1, min(REGIONS_OF, len(chosen))).astype(int)}
    values: list[np.ndarray] = []
    small: list[np.ndarray] = []
    areas: list[list[int]] = [[] for _ in range(count)]
    shrunk = np.zeros((len(SHRUNK), count, count), np.int64)
    places = np.full((len(chosen), count, PLACE), np.nan)
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
        unlabelled += int(found[UNLABELLED])
        pixels += found[:count]
        if sample.id in closely:
            values.append(seen[:: max(1, len(seen) // 4096)])
            for matrix, scale in zip(shrunk, SHRUNK, strict=True):
                matrix += confusion(mask, _shrunk(mask, scale), count)
        for index in np.flatnonzero(found[:count]).tolist():
            region = (mask == index).astype(np.uint8)
            places[number, index] = place(region, image)
            if sample.id in closely:
                statistics = cv2.connectedComponentsWithStats(region, connectivity=8)[2]
                areas[index] += statistics[1:, cv2.CC_STAT_AREA].tolist()
            thick[index] += cv2.erode(region, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))).sum()
            rows[number, index] = [part.mean() if part.size else 0 for part in np.array_split(region, BANDS, 0)]
            columns[index] += [part.mean() if part.size else 0 for part in np.array_split(region, BANDS, 1)]
    assert kind is not None, "a data set has samples"
    if not pixels.sum():
        raise DataError(
            f"No pixel of the {len(chosen)} training masks looked at is labelled: all are 255 or listed as unlabelled. "
            "Expected class values. Look at the masks, and at `unlabelled` in classes.toml."
        )
    mean = total / weight
    std = np.sqrt(np.maximum(square / weight - mean**2, 0))
    percentiles = np.percentile(np.concatenate(values), (1, 50, 99), axis=0)
    low, middle, high = (tuple(round(float(v), 6) for v in row) for row in percentiles)
    return Facts(
        images=len(ordered),
        looked_at=len(chosen),
        channels=kind[0],
        dtype=str(kind[1]),
        height=_spread(heights),
        width=_spread(widths),
        mean=tuple(round(float(v), 6) for v in mean),
        std=tuple(max(round(float(v), 6), 1e-6) for v in std),
        class_share=tuple(round(float(v), 6) for v in pixels / pixels.sum()),
        unlabelled=round(unlabelled / (unlabelled + float(pixels.sum())), 6),
        thick_share=tuple(round(float(v), 4) for v in thick / np.maximum(pixels, 1)),
        upside_down=_asymmetry(rows.sum(0)),
        left_right=_asymmetry(columns),
        device=device,
        cores=os.cpu_count() or 1 if device != "cpu" else torch.get_num_threads(),
        bfloat16=_bfloat16(torch.device(device)),
        memory=_memory(),
        low=low,
        middle=middle,
        high=high,
        region_pixels=tuple(float(np.median(of_class)) if of_class else 0.0 for of_class in areas),
        shrunk_iou=tuple(round(float(np.nanmean(Scores.from_confusion(matrix).iou)), 4) for matrix in shrunk),
        groups=len({sample.group for sample in ordered if sample.group is not None}),
        near_duplicates=0 if validation is None else _repeats(chosen, small, *validation, say),
        image_share=tuple(round(float(v), 4) for v in (~np.isnan(places[..., 0])).mean(0)),
        upright=upright(rows),
        mirror_image=mirror_images(places, std.tolist(), classes.names),
    )


def _repeats(
    training: Sequence[Sample],
    small: Sequence[np.ndarray],
    store: Store,
    samples: Sequence[Sample],
    say: Callable[[str], None],
) -> int:
    """Number of validation samples that nearly repeat a training image, known by its small picture."""
    held_out = [small_grey(store.get(sample).image) for sample in samples]
    found = near_duplicates(np.array(small, np.float32), np.array(held_out, np.float32))
    if found:
        pairs = listed([f"{samples[one.second].id} ({training[one.first].id})" for one in found], 3)
        say(
            f"warning: {len(found)} of {len(samples)} validation images nearly repeat a training image: {pairs}. "
            "Scores while training flatter, and so may choose the wrong weights. Say what belongs together with groups "
            "in a manifest, or give other images with --val."
        )
    return len(found)


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


def _memory() -> float:
    """Of the machine, in GiB."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return 0.0


def _spread(values: list[int]) -> tuple[int, int, int]:
    return min(values), int(np.median(values)), max(values)


def _asymmetry(profile: np.ndarray) -> float:
    """Half the summed difference between the classes' profile (K x BANDS) and its mirror image, weighted by area."""
    total = profile.sum()
    return round(float(np.abs(profile - profile[:, ::-1]).sum() / (2 * total)), 4) if total else 0.0

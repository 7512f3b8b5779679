"""Batches of views for training, each made from (seed, step, place in the batch) alone.

So any step's batch can be made again, in any process, whatever came before (docs/architecture.md, Chance).

Batches are made ahead by threads, not by processes: decoding, warping and arithmetic release Python's lock, the images
kept in memory are shared, and nothing is copied from process to process (benchmarks/loader.py has the figures).

Shapes: B batch, C channels, H, W height and width of a view; K classes.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from maskwright.augment.custom import Transform, call_transform
from maskwright.augment.mixing import draw_classes, draw_regions, paste
from maskwright.augment.photometric import (
    Tone,
    apply_tone,
    changes_quality,
    draw_quality,
    draw_tone,
    refuse_without_effect,
)
from maskwright.augment.store import LOCATIONS, Original, Prepared, Store
from maskwright.augment.views import GRID, STEEPEST, ViewRanges, draw_bend, draw_tilt, draw_view, grid, whole
from maskwright.augment.warp import shifted, square, warp, window
from maskwright.config import Augmentation, Border
from maskwright.datasets.samples import Sample
from maskwright.errors import DataError, SettingError

__all__ = ["LOCATIONS", "Batch", "Loader", "Original", "Prepared", "Store", "View", "default_workers"]

MOST_WORKERS = 8

# Kinds of draws, part of each generator's key, so that one kind never moves another's. Never renumbered: a seed keeps
# its views.
_VIEW, _ORDER, _TILT, _BEND, _QUALITY, _NOISE, _MIX, _CUSTOM = 0, 1, 3, 4, 5, 6, 7, 8


def working_size(crop: tuple[int, int], scale: float) -> tuple[int, int]:
    """Height and width of views of `crop` pixels of an image, as the network is given them in training."""
    if scale >= 1:
        return crop
    height, width = (max(1, math.floor(side * scale + 0.5)) for side in crop)
    return height, width


class Batch(NamedTuple):
    """Views of one step."""

    image_BCHW: torch.Tensor
    """float32, native values, channels last in memory."""
    target_BHW: torch.Tensor
    """int64 class indices, 255 where unlabelled."""
    ids: tuple[str, ...]
    """The samples shown."""

    def halved(self) -> Batch:
        """The same views at half their resolution: the mean of 2 x 2 pixels, and the class of one of them.

        A last odd row or column is left out; views of one pixel stay as they are.
        """
        if min(self.target_BHW.shape[1:]) < 2:
            return self
        height, width = (side // 2 * 2 for side in self.target_BHW.shape[1:])
        image_BChw = F.avg_pool2d(self.image_BCHW, 2)
        return Batch(image_BChw, self.target_BHW[:, 1:height:2, 1:width:2].contiguous(), self.ids)


class View(NamedTuple):
    """One augmented view of a sample."""

    image: np.ndarray
    """H x W x C, native type, resampled."""
    mask: np.ndarray
    """H x W uint8 class indices, 255 where unlabelled."""
    tone: Tone
    """Still to be applied; see `Loader.toned`."""
    id: str


def default_workers(device: str) -> int:
    """Threads that make batches: one beside a CPU that trains, which needs the cores; beside a GPU up to 8."""
    return 1 if device == "cpu" else max(1, min(MOST_WORKERS, len(os.sched_getaffinity(0))))


class Loader:
    """Training views of some samples.

    Parameters
    ----------
    store, samples : where the samples are read, and which.
    augmentation : what is drawn; None in it is off.
    crop, batch : height and width of a view, in pixels of the image; views of a step.
    scale : the working scale. Below 1, views are shown reduced by it, low-passed, as the network sees them.
    class_share : share of views that are centred on a pixel of a random class of the image. Off with whole images.
    seed : of every draw.
    mean, std : the data's, in native values, averaged over channels or of each: the point and the unit of contrast and
        brightness changes.
    transform : a function of one's own, applied to each view after geometry and before colour; see `custom.py`.
    slots : the places of the batch that this process makes, where several share a batch; all by default.
    workers : threads that make batches ahead.
    pin : put batches into page-locked memory, from which copies to a GPU overlap with its work.

    Raises SettingError for settings that the images cannot have, or that have no effect.
    """

    def __init__(
        self,
        store: Store,
        samples: Sequence[Sample],
        *,
        augmentation: Augmentation,
        crop: tuple[int, int],
        batch: int,
        class_share: float,
        seed: int,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        scale: float = 1.0,
        transform: Transform | None = None,
        slots: range | None = None,
        workers: int = 1,
        pin: bool = False,
    ) -> None:
        assert samples, "a loader needs samples"
        self.store = store
        self.samples = sorted(samples, key=lambda sample: sample.id)
        self.augmentation = augmentation
        self.crop = crop
        self.scale = min(scale, 1.0)
        self.size = working_size(crop, scale)
        self.batch_size = batch
        self.class_share = 0.0 if augmentation.whole_image else class_share
        self.seed = seed
        self.mean = mean if isinstance(mean, int | float) else np.array(mean)
        self.std = std if isinstance(std, int | float) else np.array(std)
        self.transform = transform
        self.slots = range(batch) if slots is None else slots
        self.workers = workers
        self.pin = pin
        self.ranges = ViewRanges.of(augmentation)
        self.border: Border = augmentation.border or "reflect"
        image = store.get(self.samples[0]).image
        self.channels = image.shape[2]
        refuse_without_effect(augmentation, image.shape[2], image.dtype)
        _refuse_folds(augmentation, crop)
        self._more_tones = changes_quality(augmentation)

    def sample_at(self, step: int, slot: int) -> Sample:
        """The sample shown at a place of a step: every sample once in each pass, in an order of the pass's own."""
        turn, place = divmod(step * self.batch_size + slot, len(self.samples))
        return self.samples[int(_order(self.seed, turn, len(self.samples))[place])]

    def view(self, step: int, slot: int, sample: Sample | None = None) -> View:
        """The view at a place of a step, of the sample whose turn it is or of the one that is given.

        Raises DataError, naming the sample and its file, for whatever goes wrong.
        """
        view = self._unmixed(step, slot, sample)
        shares = self.augmentation.class_mix or 0.0, self.augmentation.copy_paste or 0.0
        if not any(shares):
            return view
        rng = self._rng(_MIX, step, slot)
        among = max(self.batch_size, 2)
        partner = (slot + 1 + int(rng.integers(among - 1))) % among
        chances = rng.random(2)
        image, mask = view.image, view.mask
        for share, chance, draw in zip(shares, chances, (draw_classes, draw_regions), strict=True):
            if chance < share:
                other = self._unmixed(step, partner)
                image, mask = paste((image, mask), (other.image, other.mask), draw(rng, other.mask))
        return view._replace(image=image, mask=mask)

    def toned(self, view: View, out: np.ndarray | None = None) -> np.ndarray:
        """A view's image as the network gets it: H x W x C float32 in native values, into `out` if given."""
        out = np.empty(view.image.shape, np.float32) if out is None else out
        apply_tone(view.image, view.tone, self.mean, out)
        return out

    def batch(self, step: int) -> Batch:
        """The views of one step; needs nothing of the steps before."""
        # Only NumPy computes here: this runs beside the training thread, and a torch operation in a second thread would
        # bring a second OpenMP pool, which fights the first for the cores.
        count = len(self.slots)
        image_BHWC = torch.empty((count, *self.size, self.channels), dtype=torch.float32, pin_memory=self.pin)
        target_BHW = torch.empty((count, *self.size), dtype=torch.int64, pin_memory=self.pin)
        ids = []
        for image_HWC, target_HW, slot in zip(image_BHWC.numpy(), target_BHW.numpy(), self.slots, strict=True):
            view = self.view(step, slot)
            self.toned(view, image_HWC)
            target_HW[:] = view.mask
            ids.append(view.id)
        return Batch(image_BHWC.permute(0, 3, 1, 2), target_BHW, tuple(ids))

    @contextmanager
    def ahead(self, first: int) -> Iterator[Iterator[Batch]]:
        """Batches from step `first` on, the next ones made in the background while the present one is used.

        What fails there is raised here, when its step comes.
        """
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # torch has the cores; OpenCV's own pool would fight it
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="loader")
        try:
            yield self._follow(pool, first)
        finally:
            pool.shutdown(cancel_futures=True)
            cv2.setNumThreads(threads)

    def _follow(self, pool: ThreadPoolExecutor, step: int) -> Iterator[Batch]:
        coming: deque[Future[Batch]] = deque(pool.submit(self.batch, step + i) for i in range(self.workers))
        while True:
            step += 1
            batch = coming.popleft().result()
            coming.append(pool.submit(self.batch, step + self.workers - 1))
            yield batch

    def _unmixed(self, step: int, slot: int, sample: Sample | None = None) -> View:
        sample = self.sample_at(step, slot) if sample is None else sample
        try:
            return self._seen(step, slot, sample)
        except Exception as error:
            file, text = str(sample.image.path), str(error)
            if isinstance(error, DataError) and file in text:
                raise
            what = text if isinstance(error, DataError) else f"{type(error).__name__}: {text}"
            raise DataError(
                f"Sample {sample.id!r} ({file}) cannot be shown in step {step}: {what.rstrip('.')}. Look at this file, "
                "or leave the sample out."
            ) from error

    def _seen(self, step: int, slot: int, sample: Sample) -> View:
        asked = self.augmentation
        rng = self._rng(_VIEW, step, slot)
        centre = None
        if rng.random() < self.class_share:
            locations = self.store.locations(sample)
            if locations:
                points = locations[sorted(locations)[int(rng.integers(len(locations)))]]
                x, y = points[int(rng.integers(len(points)))]
                centre = (float(x), float(y))
        shape = self.store.shape(sample)
        tilt = bend = None
        if asked.perspective:
            tilt = draw_tilt(self._rng(_TILT, step, slot), self.crop, asked.perspective)
        if asked.elastic:
            deviation = asked.elastic * self.scale
            bend = draw_bend(self._rng(_BEND, step, slot), self.size, deviation, asked.elastic_grid or GRID)
        to_source = draw_view(rng, shape, self.crop, self.ranges, centre, tilt)
        if self.size != self.crop:
            to_source = to_source @ square(whole(self.crop, self.size))
        tone = draw_tone(rng, asked.brightness or 0.0, asked.contrast or 0.0, self.mean, self.std)
        needed = window(shape, to_source, self.size, bend)
        image, mask = self.store.part(sample, needed)
        image, mask = warp(image, mask, shifted(to_source, needed), self.size, self.border, self.mean, bend)
        if self.transform is not None:
            classes = len(self.store.dataset.classes)
            image, mask = call_transform(self.transform, image, mask, (self.seed, _CUSTOM, step, slot), classes)
        if self._more_tones:
            rng, seed = self._rng(_QUALITY, step, slot), (self.seed, _NOISE, step, slot)
            tone = draw_quality(rng, asked, self.size, self.channels, self.std, tone, seed)
        return View(image, mask, tone, sample.id)

    def _rng(self, kind: int, step: int, slot: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, kind, step, slot])


def _refuse_folds(augmentation: Augmentation, crop: tuple[int, int]) -> None:
    points = augmentation.elastic_grid or GRID
    distance = min((length - 1) / (count - 1) for length, count in zip(crop, grid(crop, points), strict=True))
    most = math.floor(10 * STEEPEST * distance) / 10
    if (augmentation.elastic or 0.0) > most:
        raise SettingError(
            f"elastic = {augmentation.elastic:g} folds views of {crop[0]} x {crop[1]} over themselves: {points} grid "
            f"points along the shorter side lie {distance:.1f} pixels apart. Expected at most {most:g}. Lower elastic "
            "or elastic_grid, or enlarge the crop."
        )


@lru_cache(4)
def _order(seed: int, turn: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, _ORDER, turn]).permutation(count)

"""Batches of views for training, each made from (seed, step, slot) alone; a slot is a position in the batch.

So any step's batch can be made again, in any process, whatever came before (docs/architecture.md, Chance): a resumed
run sees what the uninterrupted one would have seen, and the number of threads or processes makes no difference.

The way of a view, in `Loader._draw_and_warp`:

    sample_at      which sample this slot shows
    draw_view      where to look, how large, turned, flipped: one map (views.py)
    Store.part     the pixels that this map needs, decoded once and kept (store.py)
    warp           image and mask through the map, together (warp.py)
    transform      the user's own, if there is one (custom.py)
    paste          parts of another view of the batch, if asked for (mixing.py)
    photometric    colours and quality of the image, straight into the batch (photometric.py)

Batches are made ahead by threads, not by processes: decoding, warping and arithmetic release Python's lock, the images
kept in memory are shared, and nothing is copied from process to process (benchmarks/loader.py has the figures).

Shapes: B batch, C channels, H, W height and width of a view; K classes.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from maskwright.augment.photometric import (
    PhotometricChange,
    apply_photometric,
    asks_for_more,
    draw_brightness_contrast,
    draw_photometric,
    refuse_without_effect,
)
from maskwright.augment.store import Store
from maskwright.augment.views import (
    GRID,
    STEEPEST,
    ViewRanges,
    draw_elastic,
    draw_perspective,
    draw_view,
    grid,
    whole,
)
from maskwright.augment.warp import shifted, square, warp, window
from maskwright.config import Augmentation, Border
from maskwright.datasets.samples import Sample
from maskwright.errors import DataError, MaskwrightError, SettingError
from maskwright.processes import available_cores

if TYPE_CHECKING:
    from maskwright.augment.custom import Transform

__all__ = ["Batch", "Loader", "Store", "View", "default_workers", "working_size"]

MOST_WORKERS = 8

# Each purpose has a generator of its own, keyed by this number besides seed, step and slot: what one draws never moves
# another's draws. The numbers are never changed, so that a seed keeps its views.
_VIEW, _ORDER, _PERSPECTIVE, _ELASTIC, _PHOTOMETRIC, _NOISE, _MIX, _CUSTOM = 0, 1, 3, 4, 5, 6, 7, 8
_REPLACEMENT = 9


def working_size(crop: tuple[int, int], scale: float) -> tuple[int, int]:
    """Give the height and width of views of `crop` pixels of an image, as the network is given them in training."""
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
        """Give the same views at half their resolution: the mean of 2 x 2 pixels, and the class of one of them.

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
    change: PhotometricChange
    """Still to be applied; see `Loader.photometric`."""
    id: str


def default_workers(device: str) -> int:
    """Count the threads that make batches: one beside a CPU that trains and needs the cores; beside a GPU up to 8."""
    return 1 if device == "cpu" else max(1, min(MOST_WORKERS, available_cores()))


class Loader:
    """Training views of some samples.

    Parameters
    ----------
    store, samples
        Where the samples are read, and which.
    augmentation
        What is drawn; None in it is off.
    crop, batch
        Height and width of a view, in pixels of the image; views of a step.
    class_fraction
        Fraction of views that are centred on a pixel of a random class of the image. Off with whole images.
    seed
        Of every draw.
    mean, std
        The data's, in native values, averaged over channels or of each: the point and the unit of contrast and
        brightness changes.
    scale
        The working scale. Below 1, views are shown reduced by it, antialiased, as the network sees them.
    transform
        A function of one's own, applied to each view after geometry and before colour; see `custom.py`.
    slots
        The positions in the batch that this process makes, where several make a batch together; all by default.
    workers
        Threads that make batches ahead.
    pin
        Put batches into page-locked memory, from which copies to a GPU overlap with its work.

    Raises
    ------
    SettingError
        For settings that the images cannot have, or that have no effect.
    """

    def __init__(
        self,
        store: Store,
        samples: Sequence[Sample],
        *,
        augmentation: Augmentation,
        crop: tuple[int, int],
        batch: int,
        class_fraction: float,
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
        self.class_fraction = 0.0 if augmentation.whole_image else class_fraction
        self.seed = seed
        self.mean = mean if isinstance(mean, int | float) else np.array(mean)
        self.std = std if isinstance(std, int | float) else np.array(std)
        self.transform = transform
        self.slots = range(batch) if slots is None else slots
        self.workers, self.pin = workers, pin
        self.max_bad = 0
        """Samples that may be skipped because they cannot be read; by default the first one ends the run."""
        self.bad: dict[str, str] = {}
        """Those that were, by id, and what is wrong with them."""
        self.unverified: deque[Sample] = deque()
        """Samples that nobody has decoded yet: they are, whenever batches are ready before they are asked for."""
        self.verified, self.verify_seconds = 0, 0.0
        self._books = Lock()
        self.ranges = ViewRanges.of(augmentation)
        self.border: Border = augmentation.border or "reflect"
        image = store.get(self.samples[0]).image  # the store refuses images of another kind than the first
        self.channels = image.shape[2]
        refuse_without_effect(augmentation, image.shape[2], image.dtype)
        _refuse_folds(augmentation, crop)
        self._more_photometric = asks_for_more(augmentation)

    def sample_at(self, step: int, slot: int) -> Sample:
        """Find the sample that a slot of a step shows: every sample once in each epoch, in the epoch's own order."""
        epoch, position = divmod(step * self.batch_size + slot, len(self.samples))
        return self.samples[int(_order(self.seed, epoch, len(self.samples))[position])]

    def view(self, step: int, slot: int, sample: Sample | None = None) -> View:
        """Make the view of a slot, of the sample whose turn it is or of the one that is given.

        Raises DataError, naming the sample and its file, for whatever goes wrong.
        """
        view = self._unmixed(step, slot, sample)
        fractions = self.augmentation.class_mix or 0.0, self.augmentation.copy_paste or 0.0
        if not any(fractions):
            return view
        from maskwright.augment.mixing import draw_classes, draw_regions, paste

        # The partner is another slot of the same step, made anew from its key: slots that other threads or processes
        # make are at hand too.
        rng = self._rng(_MIX, step, slot)
        among = max(self.batch_size, 2)
        partner = (slot + 1 + int(rng.integers(among - 1))) % among
        chances = rng.random(2)
        image, mask = view.image, view.mask
        for fraction, chance, draw in zip(fractions, chances, (draw_classes, draw_regions), strict=True):
            if chance < fraction:
                other = self._unmixed(step, partner)
                image, mask = paste((image, mask), (other.image, other.mask), draw(rng, other.mask))
        return view._replace(image=image, mask=mask)

    def photometric(self, view: View, out: np.ndarray | None = None) -> np.ndarray:
        """Apply a view's photometric change: H x W x C float32 in native values, into `out` if given."""
        out = np.empty(view.image.shape, np.float32) if out is None else out
        apply_photometric(view.image, view.change, self.mean, out)
        return out

    def batch(self, step: int) -> Batch:
        """Make the views of one step; needs nothing of the steps before."""
        # Only NumPy computes here: this runs beside the training thread, and a torch operation in a second thread would
        # bring a second OpenMP pool, which fights the first for the cores.
        count = len(self.slots)
        image_BHWC = torch.empty((count, *self.size, self.channels), dtype=torch.float32, pin_memory=self.pin)
        target_BHW = torch.empty((count, *self.size), dtype=torch.int64, pin_memory=self.pin)
        ids = []
        for image_HWC, target_HW, slot in zip(image_BHWC.numpy(), target_BHW.numpy(), self.slots, strict=True):
            view = self.view(step, slot)
            self.photometric(view, image_HWC)
            target_HW[:] = view.mask
            ids.append(view.id)
        return Batch(image_BHWC.permute(0, 3, 1, 2), target_BHW, tuple(ids))

    @contextmanager
    def ahead(self, first: int) -> Iterator[Iterator[Batch]]:
        """Give the batches from step `first` on, the next ones made in the background while the present one is used.

        What fails in the background is raised here, when its step comes.
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
        # As many batches are under way as there are workers; each one taken starts the one `workers` steps later.
        coming: deque[Future[Batch]] = deque(pool.submit(self.batch, step + i) for i in range(self.workers))
        verifying: Future[None] | None = None
        while True:
            step += 1
            idle = coming[0].done()
            batch = coming.popleft().result()
            coming.append(pool.submit(self.batch, step + self.workers - 1))
            if verifying and verifying.done():
                verifying = verifying.result()  # which raises what it found
            if idle and self.unverified and not verifying:
                verifying = pool.submit(self._verify, self.unverified[0])
            yield batch

    def _verify(self, sample: Sample) -> None:
        start = time.perf_counter()
        try:
            self.store.get(sample)
        except DataError as error:
            self._skip(sample, error)
        self.verify_seconds += time.perf_counter() - start
        self.verified += 1
        self.unverified.popleft()

    def _skip(self, sample: Sample, error: DataError) -> None:
        """Note a sample that cannot be read, or raise the error where no more may be skipped."""
        with self._books:
            if sample.id not in self.bad and len(self.bad) >= min(self.max_bad, len(self.samples) - 1):
                raise error
            self.bad.setdefault(sample.id, str(error))

    def _unmixed(self, step: int, slot: int, sample: Sample | None = None) -> View:
        """The view of the sample whose turn it is, or of another one where that is bad and may be skipped.

        The draw of the other one is keyed by step and slot alone, so that a resumed run makes it again.
        """
        sample = self.sample_at(step, slot) if sample is None else sample
        rng = self._rng(_REPLACEMENT, step, slot)
        while True:
            if sample.id not in self.bad:
                try:
                    return self._shown(step, slot, sample)
                except DataError as error:
                    self._skip(sample, error)
            sample = self.samples[int(rng.integers(len(self.samples)))]

    def _shown(self, step: int, slot: int, sample: Sample) -> View:
        file = sample.image.path
        failed = f"Sample {sample.id!r} ({file}) cannot be shown in step {step}"
        try:
            return self._draw_and_warp(step, slot, sample)
        except MaskwrightError as error:
            if isinstance(error, DataError) and (error.file is not None or type(error) is not DataError):
                raise  # a reader's error, which names the file
            remedy = " ".join(part for part in (error.remedy, "Look at this file, or leave the sample out.") if part)
            raise DataError(f"{failed}: {error.what}", expected=error.expected, remedy=remedy, file=file) from error
        except Exception as error:  # a user's own transform may raise anything
            raise DataError(
                f"{failed}: {type(error).__name__}: {str(error).rstrip('.')}.",
                remedy="Look at this file, or leave the sample out.",
                file=file,
            ) from error

    def _draw_and_warp(self, step: int, slot: int, sample: Sample) -> View:
        asked = self.augmentation
        rng = self._rng(_VIEW, step, slot)
        # Some views are centred on a pixel of a random class, so that rare classes are seen.
        centre = None
        if rng.random() < self.class_fraction:
            locations = self.store.locations(sample)
            if locations:
                points = locations[sorted(locations)[int(rng.integers(len(locations)))]]
                x, y = points[int(rng.integers(len(points)))]
                centre = (float(x), float(y))
        shape = self.store.shape(sample)
        perspective = elastic = None
        if asked.perspective:
            perspective = draw_perspective(self._rng(_PERSPECTIVE, step, slot), self.crop, asked.perspective)
        if asked.elastic:
            std = asked.elastic * self.scale
            elastic = draw_elastic(self._rng(_ELASTIC, step, slot), self.size, std, asked.elastic_grid or GRID)
        to_source = draw_view(rng, shape, self.crop, self.ranges, centre, perspective)
        if self.size != self.crop:  # the working scale is one more factor of the map: still one resampling
            to_source = to_source @ square(whole(self.crop, self.size))
        change = draw_brightness_contrast(rng, asked.brightness or 0.0, asked.contrast or 0.0, self.mean, self.std)
        # Only what the map needs is read: of an image too large to keep, a window.
        needed = window(shape, to_source, self.size, elastic)
        image, mask = self.store.part(sample, needed)
        image, mask = warp(image, mask, shifted(to_source, needed), self.size, self.border, self.mean, elastic)
        if self.transform is not None:
            from maskwright.augment.custom import call_transform

            classes = len(self.store.dataset.classes)
            image, mask = call_transform(self.transform, image, mask, (self.seed, _CUSTOM, step, slot), classes)
        if self._more_photometric:
            rng, seed = self._rng(_PHOTOMETRIC, step, slot), (self.seed, _NOISE, step, slot)
            change = draw_photometric(rng, asked, self.size, self.channels, self.std, change, seed)
        return View(image, mask, change, sample.id)

    def _rng(self, purpose: int, step: int, slot: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose, step, slot])


def _refuse_folds(augmentation: Augmentation, crop: tuple[int, int]) -> None:
    """Raise SettingError for an elastic deformation so strong that views would fold over themselves."""
    points = augmentation.elastic_grid or GRID
    distance = min((length - 1) / (count - 1) for length, count in zip(crop, grid(crop, points), strict=True))
    most = math.floor(10 * STEEPEST * distance) / 10
    if (augmentation.elastic or 0.0) > most:
        raise SettingError(
            f"elastic = {augmentation.elastic:g} folds views of {crop[0]} x {crop[1]} over themselves: {points} grid "
            f"points along the shorter side lie {distance:.1f} pixels apart.",
            expected=f"Expected at most {most:g}.",
            remedy="Lower elastic or elastic_grid, or enlarge the crop.",
        )


@lru_cache(4)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(count)

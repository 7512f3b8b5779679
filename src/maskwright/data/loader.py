"""Batches of views for training, each made from (seed, step, place in the batch) alone.

So any step's batch can be made again, in any process, whatever came before (DESIGN contract 11). Images are decoded
once, prepared as a whole, and kept in their native type up to a memory budget; beyond it they are read again.

Shapes: B batch, C channels, H, W height and width of a view; K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from maskwright.config import Augmentation, Border, Preparation
from maskwright.data.classes import UNLABELLED
from maskwright.data.preparation import prepare, prepare_mask
from maskwright.data.samples import Dataset, Sample
from maskwright.data.transforms import Tone, ViewRanges, draw_tone, draw_view, warp
from maskwright.errors import DataError

LOCATIONS = 256
"""Pixels remembered for each class of each image, to centre views on."""


class Batch(NamedTuple):
    """Views of one step."""

    image_BCHW: torch.Tensor
    """float32, native values, channels last in memory."""
    target_BHW: torch.Tensor
    """int64 class indices, 255 where unlabelled."""
    ids: tuple[str, ...]
    """The samples shown."""


class View(NamedTuple):
    """One augmented view of a sample."""

    image: np.ndarray
    """H x W x C, native type, resampled."""
    mask: np.ndarray
    """H x W uint8 class indices, 255 where unlabelled."""
    tone: Tone
    """Still to be applied."""
    id: str


class Prepared(NamedTuple):
    """A sample as training sees it."""

    image: np.ndarray
    """H x W x C, native type, prepared."""
    mask: np.ndarray
    """H x W uint8 class indices, 255 where unlabelled or invalid."""


class Original(NamedTuple):
    """What an image was before preparation."""

    channels: int
    dtype: str
    low: float
    """0.5th percentile of its values, over all channels."""
    middle: float
    """Median."""
    high: float
    """99.5th percentile."""


class Store:
    """Prepared samples, decoded once and kept up to `budget` bytes."""

    def __init__(self, dataset: Dataset, preparation: Preparation, budget: float, like: Store | None = None) -> None:
        """`like` is a store whose images these must resemble in channels and type."""
        self.dataset = dataset
        self.preparation = preparation
        self.budget = budget
        self.kept: dict[str, Prepared] = {}
        self.bytes = 0
        self.originals: dict[str, Original] = {}
        self._first: tuple[str, int, np.dtype[Any]] | None = None if like is None else like._first
        self._locations: dict[str, dict[int, np.ndarray]] = {}

    def get(self, sample: Sample) -> Prepared:
        """Read and prepare a sample, or give the kept one."""
        found = self.kept.get(sample.id)
        if found is None:
            pair = self.dataset.read(sample)
            self._note(sample, pair.image)
            self._check(sample, pair.image)
            found = Prepared(prepare(pair.image, self.preparation), prepare_mask(pair.mask, self.preparation))
            if self.bytes + found.image.nbytes + found.mask.nbytes <= self.budget:
                self.bytes += found.image.nbytes + found.mask.nbytes
                self.kept[sample.id] = found
        return found

    def _check(self, sample: Sample, image: np.ndarray) -> None:
        if self._first is None:
            self._first = (sample.id, image.shape[2], image.dtype)
        name, channels, dtype = self._first
        if image.shape[2] != channels or image.dtype != dtype:
            raise DataError(
                f"Image {sample.id!r} ({sample.image.path}) has {image.shape[2]} channel(s) of {image.dtype}, but "
                f"{name!r} has {channels} of {dtype}. Expected all images of one kind. Convert them, or leave some out."
            )

    def _note(self, sample: Sample, image: np.ndarray) -> None:
        if sample.id not in self.originals:
            seen = image[:: max(1, image.shape[0] // 128), :: max(1, image.shape[1] // 128)]
            low, middle, high = np.percentile(seen, (0.5, 50, 99.5)).tolist()
            self.originals[sample.id] = Original(image.shape[2], str(image.dtype), low, middle, high)

    def locations(self, sample: Sample) -> dict[int, np.ndarray]:
        """For each class present, up to `LOCATIONS` of its pixels as (x, y), spread evenly; N x 2 int32."""
        if sample.id not in self._locations:
            mask = self.get(sample).mask
            found: dict[int, np.ndarray] = {}
            for index in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[:UNLABELLED]).tolist():
                flat = np.flatnonzero(mask == index)
                flat = flat[np.linspace(0, len(flat) - 1, min(LOCATIONS, len(flat))).astype(np.int64)]
                y, x = np.divmod(flat, mask.shape[1])
                found[index] = np.column_stack([x, y]).astype(np.int32)
            self._locations[sample.id] = found
        return self._locations[sample.id]


class Loader:
    """Training views of some samples.

    `mean` and `std` are the data's, in native values, averaged over channels: the point and the unit of contrast and
    brightness changes.
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
        mean: float,
        std: float,
    ) -> None:
        assert samples, "a loader needs samples"
        self.store = store
        self.samples = sorted(samples, key=lambda sample: sample.id)
        self.crop = crop
        self.batch_size = batch
        self.class_share = class_share
        self.seed = seed
        self.mean, self.std = mean, std
        self.ranges = ViewRanges.of(augmentation)
        self.border: Border = augmentation.border or "reflect"
        self.brightness = augmentation.brightness or 0.0
        self.contrast = augmentation.contrast or 0.0

    def sample_at(self, step: int, slot: int) -> Sample:
        """The sample shown at a place of a step: every sample once in each pass, in an order of the pass's own."""
        turn, place = divmod(step * self.batch_size + slot, len(self.samples))
        order = np.random.default_rng([self.seed, 1, turn]).permutation(len(self.samples))
        return self.samples[int(order[place])]

    def view(self, step: int, slot: int) -> View:
        """The view at a place of a step."""
        sample = self.sample_at(step, slot)
        image, mask = self.store.get(sample)
        rng = np.random.default_rng([self.seed, 0, step, slot])
        centre = None
        if rng.random() < self.class_share:
            locations = self.store.locations(sample)
            if locations:
                points = locations[sorted(locations)[int(rng.integers(len(locations)))]]
                x, y = points[int(rng.integers(len(points)))]
                centre = (float(x), float(y))
        matrix = draw_view(rng, mask.shape[:2], self.crop, self.ranges, centre)
        tone = draw_tone(rng, self.brightness, self.contrast, self.mean, self.std)
        shown, labels = warp(image, mask, matrix, self.crop, self.border)
        return View(shown, labels, tone, sample.id)

    def batch(self, step: int) -> Batch:
        """The views of one step; needs nothing of the steps before."""
        # Only NumPy computes here: this runs beside the training thread, and a torch operation in a second thread would
        # bring a second OpenMP pool, which fights the first for the cores.
        views = [self.view(step, slot) for slot in range(self.batch_size)]
        image_BHWC = np.empty((self.batch_size, *self.crop, views[0].image.shape[2]), np.float32)
        target_BHW = np.empty((self.batch_size, *self.crop), np.int64)
        for slot, view in enumerate(views):
            np.multiply(view.image, np.float32(view.tone.gain), out=image_BHWC[slot])
            image_BHWC[slot] += np.float32(view.tone.offset)
            target_BHW[slot] = view.mask
        return Batch(
            torch.from_numpy(image_BHWC).permute(0, 3, 1, 2),
            torch.from_numpy(target_BHW),
            tuple(view.id for view in views),
        )

    @contextmanager
    def ahead(self, first: int) -> Iterator[Iterator[Batch]]:
        """Batches from step `first` on, the next one made in the background while the present one is used."""
        cv2.setNumThreads(1)  # torch has the cores; OpenCV's own pool would fight it
        with ThreadPoolExecutor(1, thread_name_prefix="loader") as pool:
            yield self._follow(pool, first)

    def _follow(self, pool: ThreadPoolExecutor, step: int) -> Iterator[Batch]:
        coming: Future[Batch] = pool.submit(self.batch, step)
        while True:
            batch = coming.result()
            step += 1
            coming = pool.submit(self.batch, step)
            yield batch

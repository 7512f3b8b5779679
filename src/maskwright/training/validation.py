"""Score while training: on whole held-out images, divided among the processes, with the averaged weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from maskwright.augment.loader import Store
from maskwright.datasets.classes import UNLABELLED
from maskwright.datasets.samples import Sample
from maskwright.errors import DataError
from maskwright.evaluate.metrics import Scores, confusion
from maskwright.models.segmenter import Segmenter
from maskwright.training import distributed
from maskwright.training.optim import Average

VALIDATION_IMAGES = 64
"""Scored by a validation, spread evenly over the validation samples."""


@torch.inference_mode()
def validate(segmenter: Segmenter, store: Store, samples: Sequence[Sample], classes: int) -> Scores:
    """Score whole prepared images; with several processes, each image is scored by one of them.

    The confusion matrices of all images are added up first, so that the scores are those of the whole set and not means
    over images (docs/architecture.md, Metrics).
    """
    device = next(segmenter.parameters()).device
    matrix = np.zeros((classes, classes), np.int64)
    segmenter.eval()
    for sample in distributed.own_part(samples):
        image, mask = store.get(sample)
        image_1CHW = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))[None].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits_1KHW = segmenter(image_1CHW)
        matrix += confusion(mask, logits_1KHW[0].argmax(0).to(torch.uint8).cpu().numpy(), classes)
    return Scores.from_confusion(distributed.summed(matrix))


def validation_samples(samples: Sequence[Sample]) -> list[Sample]:
    """Choose at most `VALIDATION_IMAGES` samples, spread evenly: those that every validation looks at."""
    ordered = sorted(samples, key=lambda sample: sample.id)
    if len(ordered) <= VALIDATION_IMAGES:
        return ordered
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, VALIDATION_IMAGES).astype(int)]


def refuse_unlabelled(store: Store, samples: Sequence[Sample]) -> None:
    """Raise DataError if there are validation samples and none of them has a labelled pixel: none could be scored."""
    if samples and not any((store.get(sample).mask != UNLABELLED).any() for sample in samples):
        raise DataError(
            f"No validation image has a labelled pixel: the masks of all {len(samples)} looked at are 255 throughout, "
            "or listed as unlabelled.",
            expected="Expected labelled validation images, to choose the best weights by.",
            remedy="Label some, give others with --val, or train without validation: leave them out of the data and "
            "give --val-fraction 0.",
        )


@contextmanager
def averaged(segmenter: Segmenter, average: Average | None) -> Iterator[None]:
    """Put the averaged weights in place of the raw ones for a while; None leaves the raw ones."""
    if average is None:
        yield
        return
    raw = {name: tensor.detach().clone() for name, tensor in segmenter.state_dict().items()}
    segmenter.load_state_dict(average.state)
    try:
        yield
    finally:
        segmenter.load_state_dict(raw)

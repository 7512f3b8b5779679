"""Scores while training: on whole held-out images, shared among the processes, with the averaged weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from maskwright.augment.loader import Store
from maskwright.datasets.samples import Sample
from maskwright.evaluate.metrics import Scores, confusion
from maskwright.models.segmenter import Segmenter
from maskwright.training import distributed
from maskwright.training.optim import Average

VALIDATION_IMAGES = 64
"""Looked at by a validation, spread evenly over the validation samples."""


@torch.inference_mode()
def validate(segmenter: Segmenter, store: Store, samples: Sequence[Sample], classes: int) -> Scores:
    """Score whole prepared images at their working size; with several processes, each image by one of them."""
    device = next(segmenter.parameters()).device
    matrix = np.zeros((classes, classes), np.int64)
    segmenter.eval()
    for sample in distributed.own_share(samples):
        image, mask = store.get(sample)
        image_1CHW = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))[None].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits_1KHW = segmenter(image_1CHW)
        matrix += confusion(mask, logits_1KHW[0].argmax(0).to(torch.uint8).cpu().numpy(), classes)
    return Scores.from_confusion(distributed.total(matrix))


def validation_samples(samples: Sequence[Sample]) -> list[Sample]:
    """At most `VALIDATION_IMAGES` samples, spread evenly: those that every validation looks at."""
    ordered = sorted(samples, key=lambda sample: sample.id)
    if len(ordered) <= VALIDATION_IMAGES:
        return ordered
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, VALIDATION_IMAGES).astype(int)]


@contextmanager
def averaged(segmenter: Segmenter, average: Average | None) -> Iterator[None]:
    """The averaged weights in place of the raw ones, for a while."""
    if average is None:
        yield
        return
    raw = {name: tensor.detach().clone() for name, tensor in segmenter.state_dict().items()}
    segmenter.load_state_dict(average.state)
    try:
        yield
    finally:
        segmenter.load_state_dict(raw)

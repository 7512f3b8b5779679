"""How fast this machine trains a network: a few steps on random numbers, before the plan says how far the time goes."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from maskwright.augment.loader import working_size
from maskwright.models import build
from maskwright.models.segmenter import Segmenter
from maskwright.planning.decisions import ResolvedTraining
from maskwright.training.losses import make_loss
from maskwright.training.memory import keep_freed_memory
from maskwright.training.optim import encoder_of, make_optimizer

VIEWS = 2
"""Views of a timed step on a processor, where time grows with the views; a GPU's is measured with the whole batch."""
TIMED = 2
"""Timed steps, after one that warms up; the faster one counts, since only other programs make a step slower."""


def step_seconds(training: ResolvedTraining, channels: int, classes: int, device: torch.device) -> float:
    """Seconds that one optimiser step of a planned training takes on this device, without the making of its views.

    On a processor this costs about as much as one step. The random numbers that it draws are its own.
    """
    batch, scale = training.batch, training.scale
    views = batch if device.type != "cpu" else min(VIEWS, batch)
    keep_freed_memory()
    with torch.random.fork_rng():
        network = build(training.model, channels, classes, training.model_options)
        segmenter = Segmenter(network, mean=[0.0] * channels, std=[1.0] * channels, scale=scale).at_working_scale()
        segmenter.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = make_optimizer(training.optimizer, segmenter, 1e-6, 0.0, encoder_rate=training.encoder_rate)
        encoder = encoder_of(segmenter) if training.frozen_norms else None
        loss_function = make_loss(training.loss, None, 0.0)
        size = working_size(training.crop, scale)
        image_BCHW = torch.rand(views, channels, *size, device=device)
        target_BHW = torch.randint(classes, (views, *size), device=device)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bf16"):
                segmenter.train()
                if encoder is not None:
                    encoder.eval()
                outputs = segmenter(image_BCHW)
            loss = loss_function(outputs[0] if isinstance(outputs, tuple) else outputs, target_BHW)
            loss.backward()  # type: ignore[no-untyped-call]

        def seconds(call: Callable[[], object]) -> float:
            start = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter() - start

        step()
        gradients = min(seconds(step) for _ in range(TIMED))
        # The update takes as long whatever the views.
        return gradients * batch / views + seconds(optimizer.step)

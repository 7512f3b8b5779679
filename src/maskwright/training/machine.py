"""What this machine can do: how fast it trains a network, what fits into its memory, and how memory is kept.

The speed is that of a few steps on random numbers, before the plan says how far the time goes.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable

import torch

from maskwright.augment.loader import working_size
from maskwright.errors import SettingError
from maskwright.models import build
from maskwright.models.segmenter import Segmenter, best_device
from maskwright.planning.decisions import ResolvedTraining
from maskwright.training.losses import make_loss
from maskwright.training.optim import encoder_of, make_optimizer

GIB = 2**30
UNNOTICED = 2**26
"""Bytes that every machine that runs torch has left."""
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's `mallopt`, from malloc.h."""
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


def refuse_beyond_memory(crop: tuple[int, int], batch: int, scale: float, channels: int, classes: int) -> None:
    """Raise SettingError if the views of a step alone, and the logits of one of them, need more memory than is free.

    A bound from below: networks need many times as much, which only running them tells.
    """
    height, width = working_size(crop, scale)
    needed = height * width * (batch * (4 * channels + 8) + 2 * 4 * classes)
    if needed <= UNNOTICED:
        return
    from maskwright.imaging.memory import free_memory

    free = free_memory()
    if needed > free:
        raise SettingError(
            f"{batch} view(s) of {crop[0]} x {crop[1]} pixels need {needed / GIB:.1f} GiB of memory at the least, and "
            f"{free / GIB:.1f} GiB are free.",
            expected="Expected views that fit into the memory; larger ones than the images are of no use.",
            remedy="Give a smaller --crop or --batch.",
        )


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed blocks for the next step, instead of giving them back to the system and asking again.

    A training step allocates the same large tensors over and over; by default each one is mapped anew and its pages are
    zeroed on first touch. Keeping them made training steps 1.15 times as fast on two cores (EXPERIMENTS.md). Returns
    False, and does nothing, where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(M_MMAP_MAX, 0)) and bool(libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
    except (OSError, AttributeError):
        return False


def device_name() -> str:
    """What trains: the GPU's name, or the processor's threads."""
    device = best_device()
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{device.type}, {torch.get_num_threads()} threads"

"""Why a step fails: too little memory, or a loss that is not finite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from maskwright import runs
from maskwright.errors import TrainingError
from maskwright.training import distributed


def more_parts(error: RuntimeError, parts: int, views: int) -> int:
    """Twice the parts after running out of memory; any other error is raised again.

    Torch has a class for this error on GPUs; on CPUs only the allocator's name in its text tells.
    """
    if not (isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)):
        raise error
    if parts >= views:
        raise TrainingError(
            "The memory does not suffice for one view at a time.",
            remedy="Use a smaller --crop, a smaller network, or a smaller --scale.",
        ) from None
    if distributed.world_size() > 1:
        raise TrainingError(
            f"The memory does not suffice for {views // parts} views at a time.",
            remedy=f"Start again with --accumulate {2 * parts}, which makes each batch in parts.",
        ) from None
    return min(2 * parts, views)


def not_finite(loss: float, step: int, names: Sequence[str], lr: float, run: Path) -> TrainingError:
    """The error for a loss that is no number, at a step on images of these names."""
    kept = f" The best weights so far are in {run}." if (run / runs.WEIGHTS).exists() else ""
    return TrainingError(
        f"The loss became {loss} at step {step}, on {', '.join(names)}.",
        expected="Expected a finite number.",
        remedy=f"Look at these images for extreme values; else lower the rate, for example --lr {lr / 3:.1e}." + kept,
    )

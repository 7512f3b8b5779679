"""Where training stands: how much of its budget is used, and the last state on disk, to continue from bit for bit.

    RUN/resume/state-<step>.safetensors   weights, averaged weights, optimiser moments
    RUN/resume/state.json                 step, progress, elapsed seconds, best score; names the file above

The tensors are written first under a name of their own; replacing `state.json` is the one moment of change, so a kill
at any time leaves a pair that belongs together.

What is not saved is made again from what is: views and dropout from (seed, step), the learning rate from the fraction
of the run that is over, the order of samples from the step.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import torch
from safetensors.torch import load_file
from torch import nn

from maskwright import runs
from maskwright.errors import RunError
from maskwright.models.weights import refuse_not_finite, write_tensors
from maskwright.planning.decisions import Budget
from maskwright.training.optim import Average

STATE = "state.json"
VALIDATIONS = 10
"""In a run, at most; fewer where they would take more than `VALIDATION_FRACTION` of the time."""
VALIDATION_FRACTION = 0.05
EXIT_SECONDS = 2.0
"""Kept free at the end of a budget of minutes for writing the last files."""


@dataclass(kw_only=True)
class Progress:
    """Where training stands, apart from tensors."""

    step: int = 0
    """Optimiser steps done."""
    fraction: float = 0.0
    """How much of the run is over, 0 to 1: by steps, or by the clock."""
    elapsed: float = 0.0
    """Seconds of the budget used, in this process and those before."""
    begun: float = 0.0
    """Seconds of the budget that were used when the first step (of the last leg) began: imports, reading, planning."""
    first: int = 0
    """Step at which the last leg began; 0 unless a finished run was continued."""
    peak: float = 1.0
    """Fraction of the plan's learning rate that the last leg rises to."""
    parts: int = 1
    """Parts in which each batch is made, to fit into memory."""
    best: float | None = None
    """Validation mIoU of the weights that are kept."""
    best_step: int | None = None
    """Their step."""
    highest: float = 0.0
    """Highest validation mIoU so far."""
    next_validation: float = 0.0
    """Fraction of the run at which the next validation is due."""
    validation_seconds: float = 0.0
    """How long the last validation took."""
    finished: bool = False
    bad: list[str] = field(default_factory=list)
    """Samples that are skipped because they cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Time since the run's budget began: the process's start, and what earlier processes used."""

    started: float
    """`time.monotonic()` at the start of this process: the system's clock may be set while it runs."""
    before: float = 0.0
    """Seconds used by earlier processes of the run."""

    def elapsed(self) -> float:
        """Seconds of the budget used."""
        return time.monotonic() - self.started + self.before


def fraction_done(budget: Budget, progress: Progress, clock: Clock) -> float:
    """Tell how much of the run (of its last leg, if it was continued) is over, 0 to 1: by steps, or by the clock.

    By the clock, the last validation and the exit are kept free.
    """
    if budget.steps:
        return min(1.0, (progress.step - progress.first) / (budget.steps - progress.first))
    limit = 60 * budget.minutes
    reserve = EXIT_SECONDS + progress.validation_seconds
    now = (clock.elapsed() - progress.begun) / max(limit - progress.begun - reserve, 1e-3)
    return min(1.0, max(progress.fraction, now))  # a validation that was quicker than the last does not turn time back


def next_validation(progress: Progress, budget: Budget, elapsed: float) -> float:
    """Tell at which fraction of the run the next validation is due.

    With `--steps` the clock has no say, so that results repeat exactly.
    """
    gap = 1 / VALIDATIONS
    if not budget.steps and progress.fraction:
        gap = max(gap, min(0.3, progress.validation_seconds / (VALIDATION_FRACTION * elapsed / progress.fraction)))
    return progress.fraction + gap


def save(
    run: Path,
    progress: Progress,
    module: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    average: Average | None = None,
) -> None:
    """Write the state; the previous one stays valid until the new one is complete.

    Before the first step there is nothing but the network.
    """
    tensors = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in average.state.items()}
    for index, state in {} if optimizer is None else optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items() if torch.is_tensor(value)}
    folder = run / runs.RESUME
    name = f"state-{progress.step:08d}.safetensors"
    # Clones are made contiguous in the default layout: safetensors refuses strides, and the copy to be loaded does not
    # depend on the layout.
    refuse_not_finite({key: value for key, value in tensors.items() if key.startswith("module.")}, folder / name)
    kept = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    write_tensors(folder / name, kept)
    runs.write_json(folder / STATE, {"tensors": name, **asdict(progress)})
    for old in folder.glob("state-*.safetensors"):
        if old.name != name:
            old.unlink(missing_ok=True)


def exists(run: Path) -> bool:
    """Tell whether there is a state to resume."""
    return (run / runs.RESUME / STATE).is_file()


def read_state(run: Path) -> dict[str, Any]:
    """Where training stands, as `state.json` says it, with the name of the tensors' file.

    Raises RunError if it is missing, or holds what training did not write.
    """
    path = run / runs.RESUME / STATE
    content: dict[str, Any] = runs.read_json(path)
    with runs.understood(path):
        content = {"fraction": content.pop("share", 0.0)} | content  # states of the first version call it share
        Progress(**{name: value for name, value in content.items() if name != "tensors"})
        for name, value in content.items():
            kind = KINDS[name]
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not isinstance(value, kind) or (number and not 0 <= value < 1e15):
                raise TypeError(f"{name} is {str(value)[:60]!r}")
        if not {"tensors", "step", "finished"} <= content.keys():
            raise TypeError("it does not say which step it is of")
    return content


KINDS: dict[str, Any] = {
    name: int | float if hint is float else hint for name, hint in get_type_hints(Progress).items()
} | {"tensors": str, "bad": list, "best": int | float | None}  # fmt: skip
"""Types of what `state.json` holds."""


def load(run: Path, module: nn.Module, optimizer: torch.optim.Optimizer, average: Average | None) -> Progress:
    """Put the saved state back in place and return where training stood.

    Raises RunError if there is none, or it does not fit.
    """
    folder = run / runs.RESUME
    if not exists(run):
        raise RunError(
            f"{run} cannot be resumed: {folder / STATE} does not exist.",
            expected="Expected the state that appears within the first minute of training.",
            remedy=f"Start from the beginning: maskwright train --resume {run}",
            file=folder / STATE,
        )
    content = read_state(run)
    path = runs.inside(folder, content.pop("tensors"))
    try:
        tensors = load_file(path)
        module.load_state_dict(_under(tensors, "module."))
        if average is not None:
            for name, value in (_under(tensors, "average.") or module.state_dict()).items():
                average.state[name].copy_(value)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, torch.Tensor]] = {}
        # Moments are keyed by the number of their parameter, counted through the groups, as torch does.
        for key, value in _under(tensors, "optimizer.").items():
            index, name = key.split(".", 1)
            like = parameters[int(index)]
            if value.shape == like.shape:
                # Fused optimisers walk weights and moments in step through memory: the layouts have to be the same.
                value = torch.empty_like(like, dtype=value.dtype).copy_(value)
            state.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        return Progress(**content)
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} does not hold the state of this run: {error}.",
            expected=f"Expected the tensors that {folder / STATE} was written with.",
            remedy="Start again, or restore the file.",
            file=path,
        ) from None


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

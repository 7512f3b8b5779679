"""Time: how much of a run's budget is used, and when its next validation is due."""

from __future__ import annotations

import time
from dataclasses import dataclass

from maskwright.planning.decisions import Budget
from maskwright.training.checkpoint import Progress

VALIDATIONS = 10
"""In a run, at most; fewer where they would take more than `VALIDATION_FRACTION` of the time."""
VALIDATION_FRACTION = 0.05
EXIT_SECONDS = 2.0
"""Kept free at the end of a budget of minutes for writing the last files."""


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

"""Time: how much of a run's budget is used, and when its next validation is due."""

from __future__ import annotations

import time
from dataclasses import dataclass

from maskwright.planning.decisions import Budget
from maskwright.training.checkpoint import Progress

VALIDATIONS = 10
"""In a run, at most; fewer where they would take more than `VALIDATION_SHARE` of the time."""
VALIDATION_SHARE = 0.05
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


def share(budget: Budget, done: Progress, clock: Clock) -> float:
    """How much of the run (of its last leg, if it was continued) is over: by steps, or by the clock.

    By the clock, the last validation and the exit are kept free.
    """
    if budget.steps:
        return min(1.0, (done.step - done.first) / (budget.steps - done.first))
    limit = 60 * budget.minutes
    reserve = EXIT_SECONDS + done.validation_seconds
    now = (clock.elapsed() - done.begun) / max(limit - done.begun - reserve, 1e-3)
    return min(1.0, max(done.share, now))  # a validation that was quicker than the last does not turn time back


def next_validation(done: Progress, budget: Budget, elapsed: float) -> float:
    """Share of the run at the next validation. With `--steps` the clock has no say, so that results repeat exactly."""
    gap = 1 / VALIDATIONS
    if not budget.steps and done.share:
        gap = max(gap, min(0.3, done.validation_seconds / (VALIDATION_SHARE * elapsed / done.share)))
    return done.share + gap

"""The outlook: how far a budget goes on this machine, how long a run should be, and how wide its network can be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from maskwright.config import Settings, Training
from maskwright.models.compact import WIDTHS

DEFAULT_MINUTES = 10.0
"""Proposed where a step's time is not measured."""
PROPOSED_STEPS = 3000
"""Steps of a run without a budget: compact-4 on CamVid has 0.415 after 312, 0.630 after 1,599, 0.665 after 3,902
(EXPERIMENTS.md); smaller sets need fewer."""
FEWEST_MINUTES, MOST_MINUTES = 2.0, 60.0
"""Of a proposed length."""
FEW_STEPS = 400
"""Below so many steps small and rare classes are hardly learned (EXPERIMENTS.md: CamVid, 312 steps)."""
MANY_STEPS = 5000
"""With so many steps or more left after it, a wider network is taken. Reckoned, not measured: two processor
cores come so far in half an hour at the earliest."""
WIDER = (3.0, 2.0, 1.5)
USEFUL = 0.85
"""Share of a budget of minutes that goes into steps; the rest is reading, validation and views (EXPERIMENTS.md)."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """How far a budget goes on this machine."""

    step_seconds: float
    """On average over the run, measured for the planned network and views."""
    steps: int
    minutes: float

    @property
    def text(self) -> str:
        """For the user, with a warning where the budget is too short."""
        text = f"A step takes about {self.step_seconds:.2g} s on this machine: "
        text += f"{_minutes(self.minutes)} are about {_about(self.steps)} steps."
        if self.steps < FEW_STEPS:
            enough = math.ceil(FEW_STEPS * self.step_seconds / 60 / USEFUL)
            text += (
                " That is short: expect rough masks, and small or rare classes missing. "
                f"From {_minutes(enough)} on, most classes are found; {_minutes(proposed(self.step_seconds))} are "
                "proposed."
            )
        return text


def decide_budget(
    planned: Callable[[], Settings], step_seconds: Callable[[Training], float] | None, decide: Any, *, fixed: bool
) -> Outlook | None:
    """Length and width, from the time of a step; `fixed` says that weights fix the network."""
    training = planned().training
    if step_seconds is None:
        if training.steps is None:
            decide("training", "minutes", DEFAULT_MINUTES, "no budget was given; --minutes or --steps sets one")
        return None
    seconds = mean_seconds(training, step_seconds)
    if training.steps is not None:
        return Outlook(step_seconds=seconds, steps=training.steps, minutes=training.steps * seconds / 60 / USEFUL)
    minutes = decide(
        "training", "minutes", proposed(seconds),
        f"no budget was given: time for about {PROPOSED_STEPS} steps of {seconds:.2g} s; --minutes sets another",
        "machine",
    )  # fmt: skip
    steps = USEFUL * 60 * minutes / seconds
    if (training.model or "").startswith("compact-") and not training.model_options and not fixed:
        factor = next((factor for factor in WIDER if steps / factor**2 >= MANY_STEPS), 1.0)
        if factor > 1:
            widths = [8 * round(width * factor / 8) for width in WIDTHS]
            decide(
                "training", "model_options", {"widths": widths},
                f"{factor:g} times as wide: even so the time is enough for {MANY_STEPS} steps and more", "machine",
            )  # fmt: skip
            seconds = mean_seconds(planned().training, step_seconds)
            steps = USEFUL * 60 * minutes / seconds
    return Outlook(step_seconds=seconds, steps=int(steps), minutes=minutes)


def mean_seconds(training: Training, step_seconds: Callable[[Training], float]) -> float:
    """Of a step, over a run that begins with a share of halved views: of its steps, or of its time."""
    whole, share = step_seconds(training), training.progressive or 0.0
    if not share or training.crop is None:
        return whole
    height, width = training.crop
    half = step_seconds(replace(training, crop=(max(1, height // 2), max(1, width // 2))))
    return share * half + (1 - share) * whole if training.steps else 1 / (share / half + (1 - share) / whole)


def proposed(step_seconds: float) -> float:
    """Whole minutes for a run whose step takes so many seconds."""
    minutes = math.ceil(PROPOSED_STEPS * step_seconds / 60 / USEFUL)
    return float(min(max(minutes, FEWEST_MINUTES), MOST_MINUTES))


def _minutes(minutes: float) -> str:
    return "1 minute" if minutes == 1 else f"{minutes:.3g} minutes"


def _about(count: int) -> str:
    """Two digits of a count."""
    digits = max(0, len(str(count)) - 2)
    return f"{round(count, -digits):,}"

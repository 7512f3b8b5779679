"""The time estimate: how far a budget goes on this machine. And how long and how wide a run should be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from maskwright.config import Settings
from maskwright.models.compact import WIDTHS
from maskwright.planning.decisions import ResolvedTraining, Section

DEFAULT_MINUTES = 10.0
"""Proposed where a step's time is not measured."""
PROPOSED_STEPS, PROPOSED_ON_WEIGHTS = 3000, 1000
"""Steps of a run without a budget, from random weights and from those of photographs: compact-4 on CamVid has 0.415
after 312, 0.630 after 1,599, 0.665 after 3,902 (EXPERIMENTS.md); smaller sets need fewer."""
FEWEST_MINUTES, MOST_MINUTES = 2.0, 60.0
"""Of a proposed length."""
FEW_STEPS = 400
"""From random weights; below so many steps small and rare classes are hardly learned (EXPERIMENTS.md: CamVid, 312)."""
MANY_STEPS = 5000
"""With so many steps or more left after it, a wider network is taken. Reckoned, not measured: two processor
cores come so far in half an hour at the earliest."""
WIDER = (3.0, 2.0, 1.5)
USEFUL = 0.85
"""Fraction of a budget of minutes that goes into steps; the rest is reading, validation and views (EXPERIMENTS.md)."""


@dataclass(frozen=True, kw_only=True)
class TimeEstimate:
    """How far a budget goes on this machine."""

    step_seconds: float
    """On average over the run, measured for the planned network and views."""
    steps: int
    minutes: float
    from_scratch: bool = True

    @property
    def text(self) -> str:
        """For the user, with a warning where the budget is too short."""
        text = f"A step takes about {self.step_seconds:.2g} s on this machine: "
        text += f"{_minutes(self.minutes)} are about {_about(self.steps)} steps."
        if self.from_scratch and self.steps < FEW_STEPS:
            enough = math.ceil(FEW_STEPS * self.step_seconds / 60 / USEFUL)
            text += (
                " That is short: expect rough masks, and small or rare classes missing. "
                f"From {_minutes(enough)} on, most classes are found; {_minutes(proposed(self.step_seconds))} are "
                "proposed."
            )
        return text


def decide_budget(
    training: Section, step_seconds: Callable[[ResolvedTraining], float] | None, *, fixed: bool
) -> TimeEstimate | None:
    """Length and width, from the time of a step, once all else of `training` is decided.

    Parameters
    ----------
    training
        The section, of which `minutes` and `model_options` may still be open.
    step_seconds
        Measures a step; without it nothing is known of the machine, and there is no estimate.
    fixed
        Whether weights fix the network, so that it cannot become wider.
    """
    steps = training.given("steps", 0)
    if step_seconds is None:
        if not steps:
            training.settle("minutes", DEFAULT_MINUTES, "no budget was given; --minutes or --steps sets one")
        return None
    planned = _resolved(training)
    from_scratch = planned.from_scratch or fixed
    if steps:
        # Steps that were asked for are steps: the clock only tells how long they take, and decides nothing.
        seconds = mean_seconds(planned, step_seconds, by_steps=True)
        minutes = steps * seconds / 60 / USEFUL
        return TimeEstimate(step_seconds=seconds, steps=steps, minutes=minutes, from_scratch=from_scratch)
    seconds = mean_seconds(planned, step_seconds, by_steps=False)
    wanted = PROPOSED_STEPS if from_scratch else PROPOSED_ON_WEIGHTS
    minutes = training.settle(
        "minutes", proposed(seconds, wanted),
        f"no budget was given: time for about {wanted} steps of {seconds:.2g} s; --minutes sets another",
        "machine",
    )  # fmt: skip
    affordable = USEFUL * 60 * minutes / seconds
    if planned.model.startswith("compact-") and not planned.model_options and not fixed:
        # A step of a network f times as wide takes about f^2 times as long.
        factor = next((factor for factor in WIDER if affordable / factor**2 >= MANY_STEPS), 1.0)
        if factor > 1:
            widths = [8 * round(width * factor / 8) for width in WIDTHS]
            training.settle(
                "model_options", {"widths": widths},
                f"{factor:g} times as wide: even so the time is enough for {MANY_STEPS} steps and more", "machine",
            )  # fmt: skip
            seconds = mean_seconds(_resolved(training), step_seconds, by_steps=False)
            affordable = USEFUL * 60 * minutes / seconds
    return TimeEstimate(step_seconds=seconds, steps=int(affordable), minutes=minutes, from_scratch=from_scratch)


def mean_seconds(
    training: ResolvedTraining, step_seconds: Callable[[ResolvedTraining], float], *, by_steps: bool
) -> float:
    """Mean time of a step over a run that begins with halved views.

    `progressive` is a fraction of the run's steps if its budget counts steps (`by_steps`), else of its time; halved
    views fill that time with more steps, so the mean is then harmonic.
    """
    whole, fraction = step_seconds(training), training.progressive
    if not fraction:
        return whole
    height, width = training.crop
    half = step_seconds(replace(training, crop=(max(1, height // 2), max(1, width // 2))))
    return fraction * half + (1 - fraction) * whole if by_steps else 1 / (fraction / half + (1 - fraction) / whole)


def _resolved(training: Section) -> ResolvedTraining:
    """What is decided so far; the length alone may be missing."""
    values = {name: decision.value for name, decision in training.decisions.items()}
    return ResolvedTraining.of(Settings.from_dict({"training": values}, "plan").training)


def proposed(step_seconds: float, steps: int = PROPOSED_STEPS) -> float:
    """Whole minutes for a run of so many steps, each of which takes so many seconds."""
    minutes = math.ceil(steps * step_seconds / 60 / USEFUL)
    return float(min(max(minutes, FEWEST_MINUTES), MOST_MINUTES))


def _minutes(minutes: float) -> str:
    return "1 minute" if minutes == 1 else f"{minutes:.3g} minutes"


def _about(count: int) -> str:
    """Two digits of a count."""
    digits = max(0, len(str(count)) - 2)
    return f"{round(count, -digits):,}"

"""The verb plan: what train would do, and why."""

from __future__ import annotations

from pathlib import Path

from maskwright import console
from maskwright.cli import AugmentationOptions, Json, PreparationOptions, Recipe, TrainingOptions
from maskwright.config import Augmentation, Preparation, Settings, Training


def plan(
    data: Path,
    *,
    recipe: Recipe = None,
    val: Path | None = None,
    training: TrainingOptions = Training(),
    augmentation: AugmentationOptions = Augmentation(),
    preparation: PreparationOptions = Preparation(),
    json: Json = False,
) -> None:
    """Show what `train` would do with this data, and why.

    Example: `maskwright plan cells/train --minutes 10`

    Parameters
    ----------
    data
        Folder with `images/` and `masks/` or `labels/`, or with such folders in `train/`, `val/`, `test/`.
    val
        Folder to validate on, instead of a part of the training data.
    """
    from maskwright.training.session import prepare

    given = Settings(training=training, augmentation=augmentation, preparation=preparation)
    prepared = prepare(data, given, recipe=recipe, val=val, estimate_time=True, say=console.say)
    if json:
        console.print_json(prepared.plan.to_json())
        return
    console.say(prepared.splits.how)
    console.print_table(f"Plan for {data}", ("setting", "value", "reason", "source"), prepared.plan.rows())
    if prepared.plan.time_estimate is not None:
        console.say(prepared.plan.time_estimate.text)

"""The rules of the plan: every number that training needs, with its reason and where it came from.

What the user gave stands; the rest is decided here from the dataset fingerprint, top-down: network, view, optimiser
(`_decide_training`), augmentation (`augmentation.py`), and last the budget, from the time of a step (`budget.py`).
Where the budget then turns out too short for the network or the scale, these are decided once more (`make_plan`). The
numbers are from experiments, which EXPERIMENTS.md keeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from maskwright.config import CACHE, SEED, VAL_FRACTION, Settings, loss_terms
from maskwright.models import build
from maskwright.planning.augmentation import decide_augmentation, mirrors_at_prediction
from maskwright.planning.budget import decide_budget
from maskwright.planning.decisions import (
    Decision,
    Found,
    HeadStart,
    ResolvedTraining,
    Section,
    Weights,
    refuse_contradictions,
)
from maskwright.planning.fingerprint import SHRUNK, Fingerprint
from maskwright.planning.plan import Plan

VIEW = 256
"""Height and width of a training view, as the network sees it."""
ENOUGH, KEPT = 360, 0.97
"""Images are shown smaller as long as their shorter side keeps so many pixels, and their masks such an IoU."""
RUSHED_ENOUGH, RUSHED_KEPT = 240, 0.9
"""The same where time does not suffice for `PASSES` at their own size."""
PASSES = 5.0
"""Passes over all pixels of the training images, below which seeing them smaller gains more than it blurs: clothes gain
at 2 and 4, aerial images lose at 14 (EXPERIMENTS.md)."""
PROGRESSIVE = 0.4
"""Fraction of a run with views at half their resolution (EXPERIMENTS.md)."""
LEAST_HALVED = 128
"""Shorter side of a view, as the network sees it, below which it is not halved."""

THIN = 0.7
"""Mean over classes of `Fingerprint.thick_fraction` below which structures count as thin (EXPERIMENTS.md)."""
FINE = 0.55
"""`Fingerprint.thick_fraction` of a class below which it needs half of the resolution, given time (EXPERIMENTS.md)."""
FINE_VIEWS = 4000
"""Views of images with a fine class from which it gains by half of the resolution: CamVid's 1,400 lose 0.05, 6,300 gain
as much; those of cracks in tiles, 700, lose 0.08 (EXPERIMENTS.md)."""

HEAD_START, LEAST_EXPLAINED = 2.0, 0.05
"""Training starts from ImageNet weights where a linear layer on their features explains at least so many times what one
on colour and texture does, and so much at all: CamVid 3.8 times, DSB 2018 1.5, DRIVE 1.4, ISBI 0.9 (EXPERIMENTS.md)."""
ENCODER_RATE = 0.1
"""Rate of an encoder with ImageNet weights, in units of the decoder's; no other was tried yet."""
HEAD_START_RATE = 2e-3
"""Peak rate of what stands on such an encoder; no other was tried yet."""

PEAK_RATES = {"compact-1": 3e-3, "compact-2": 3e-3, "compact-4": 3e-3, "fcn-flat": 1e-3, "unet": 1e-4}
"""Peak rates that were measured. The classic U-Net's ReLU output dies at higher ones."""
NORMALIZED_RATE, ATTENTION_RATE, PLAIN_RATE = 1e-3, 3e-4, 1e-4
"""Peak rates of other networks: with batch (or group) normalisation, with layer normalisation, and with none, whose
activations grow with the weights."""


class BudgetLimits(NamedTuple):
    """What the time does not suffice for, at the pace of the plan that has all of it."""

    fine: bool = False
    """For the finest class: `FINE_VIEWS` views of it at half of the resolution."""
    passes: float = math.inf
    """Passes over all pixels of the training images at their own size; infinite where they do not count, because the
    scale is another, or the views are the user's choice."""


def make_plan(
    settings: Settings,
    fingerprint: Fingerprint,
    *,
    given: Settings | None = None,
    recipe: str | None = None,
    weights: Weights | None = None,
    head_start: HeadStart | None = None,
    step_seconds: Callable[[ResolvedTraining], float] | None = None,
    like: Plan | None = None,
) -> Plan:
    """Decide what `settings` leave open, and make the plan.

    Parameters
    ----------
    settings
        The user's, over those of the recipe.
    fingerprint
        What is known of the training images and of the machine.
    given
        The user's settings alone, to tell which is which; by default all are the user's.
    recipe
        The recipe's name, for the reasons.
    weights
        Those of a file to start from, if there is one.
    head_start
        What is known of installed weights; None where nobody looked.
    step_seconds
        Measures how long a step of a training takes. With it the plan says how far the budget goes, and proposes one
        where none is given. With a budget of steps it decides nothing, so that the same steps give the same weights
        whatever the machine is busy with.
    like
        A plan whose decisions stand where the user leaves something open, as between the folds of a run.

    Returns
    -------
    Plan
        With a decision, and its reason, for every setting that training needs.

    Raises
    ------
    SettingError
        For settings that contradict each other or the data.
    """
    by_user = (settings if given is None else given).to_dict()
    decisions: dict[str, dict[str, Decision]] = {
        section: {
            name: Decision(value=value, reason="you said so", source="given")
            if name in by_user[section]
            else Decision(value=value, reason=f"recipe {recipe}", source="recipe")
            for name, value in names.items()
        }
        for section, names in settings.to_dict().items()
    }

    if like is not None:
        decisions = {section: names | decisions[section] for section, names in like.decisions.items()}
    found = Found(fingerprint, weights, head_start)
    plan = _decided(decisions, found, step_seconds, BudgetLimits())
    steps = plan.budget.steps if plan.time_estimate is None else plan.time_estimate.steps
    if not steps or weights is not None:
        return plan
    # Only now is it known how many steps there is time for. Where they do not suffice, what the user left open is
    # decided once more; a smaller scale or a coarser network only makes steps faster, so there is no third time.
    planned = plan.training
    limits = BudgetLimits(
        fine=_fine_views(planned, steps, fingerprint) < FINE_VIEWS,
        # Features were looked at, and a linear layer fitted, at the first scale.
        passes=math.inf
        if "crop" in decisions["training"] or not planned.from_scratch
        else _passes(planned, steps, fingerprint),
    )
    open_to_it = {name for name in ("model", "scale") if name not in decisions["training"]}
    if ("model" in open_to_it and _network(found, limits, planned.from_scratch)[0] != planned.model) or (
        "scale" in open_to_it and _scale(fingerprint, limits)[0] != planned.scale
    ):
        return _decided(decisions, found, step_seconds, limits)
    return plan


def _decided(
    given: dict[str, dict[str, Decision]],
    found: Found,
    step_seconds: Callable[[ResolvedTraining], float] | None,
    limits: BudgetLimits,
) -> Plan:
    """The plan with these decisions given: the network and its views first, the budget last."""
    training, augmentation = Section(given["training"]), Section(given["augmentation"])
    fingerprint, weights = found.fingerprint, found.weights

    _decide_training(training, found, limits)
    decide_augmentation(augmentation, fingerprint, training.decisions["crop"].value)
    training.settle("tta", *mirrors_at_prediction(fingerprint))

    def planned() -> Settings:
        sections = {"training": training.decisions, "augmentation": augmentation.decisions}
        values = {
            section: {name: decision.value for name, decision in names.items()}
            for section, names in (given | sections).items()
        }
        return Settings.from_dict(values, "plan")

    # Before the machine is measured: a contradiction should not take seconds to be refused.
    refuse_contradictions(planned(), found)
    time_estimate = decide_budget(training, step_seconds, fixed=weights is not None)
    decisions = given | {"training": training.decisions, "augmentation": augmentation.decisions}
    return Plan(settings=planned(), decisions=decisions, fingerprint=fingerprint.to_dict(), time_estimate=time_estimate)


def _decide_training(training: Section, found: Found, limits: BudgetLimits) -> None:
    """Network, view, optimiser, top-down: each rule may use what stands above it."""
    fingerprint, weights = found.fingerprint, found.weights
    # What the network is, and what it knows already. The normalisation goes with the weights, which know nothing of
    # these images' values.
    from_scratch = training.settle("from_scratch", *_from_scratch(found, training.given("model", "")))
    model = training.settle("model", *_network(found, limits, from_scratch))
    head_start = weights is None and not from_scratch
    if head_start or (weights is not None and weights.normalized):
        training.settle("normalization", "weights", "what the pretrained weights were made with")
    else:
        training.settle("normalization", "data", "mean and standard deviation of the training images", "data")

    # What it is shown: at which scale, how much of an image at a time, and how many views in a step. A view is a
    # multiple of the deepest stride, 32 pixels as the network sees them, so that nothing has to be padded.
    scale = training.settle("scale", *_scale(fingerprint, limits))
    edge = round(VIEW / scale)
    multiple = round(32 / scale)
    height, width = (
        min(edge, multiple * math.ceil(size[1] / multiple)) for size in (fingerprint.height, fingerprint.width)
    )
    at_scale = "" if scale == 1 else f", which the network sees at {VIEW}"
    crop = training.settle(
        "crop", [height, width],
        f"views of {edge} pixels{at_scale}, where images ({fingerprint.height[1]} x {fingerprint.width[1]}) allow it",
        "data",
    )  # fmt: skip
    # Rules measured on our own networks from scratch are not extended to others, or to weights that are only tuned.
    ours = (model.startswith("compact-") and weights is None) or (model.startswith("lite0-") and head_start)
    training.settle("progressive", *_progressive(min(crop) * scale, _thickness(fingerprint)[0], model, ours), "data")
    training.settle("batch", 8, "views of one step")
    training.settle("accumulate", 1, "a whole batch at once; more parts only if the memory does not suffice")

    # How it learns.
    optimizer = training.settle(
        "optimizer", "muon" if ours else "adamw",
        f"learns {model} {'on ImageNet weights' if head_start else 'from scratch'} in fewest steps"
        if ours
        else "robust, whatever the network and its weights",
    )  # fmt: skip
    if ours and head_start:
        training.settle("lr", HEAD_START_RATE, f"for {model} on ImageNet weights; no other rate was tried")
    training.settle("lr", *_peak_rate(model, training.given("model_options", {})))
    if head_start:
        training.settle("encoder_rate", ENCODER_RATE, "what was learned of photographs changes less")
        training.settle("frozen_norms", True, "statistics of a million photographs hold better than those of a batch")
    else:
        training.settle("encoder_rate", 1.0, "all of the network learns at its own rate")
        training.settle("frozen_norms", False, "there are no statistics to keep")
    if weights is not None and weights.encoder:
        training.settle("layer_decay", 0.75, "pretrained layers change less, the first ones least")
    else:
        training.settle("layer_decay", 1.0, "all layers learn at the same rate")
    training.settle("schedule", "cosine", "ends at 0, whatever the budget")
    training.settle("warmup", 0.1, "fraction of the run")
    training.settle("weight_decay", 0.0 if optimizer == "adam" else 0.01, f"usual for {optimizer}")
    loss = training.settle("loss", "ce+dice", "cross-entropy for calibration, Dice for rare classes")
    if "ce" in {name for _, name in loss_terms(loss)}:  # elsewhere it would have no effect
        training.settle("label_smoothing", 0.0, "the masks are taken at their word")
    if fingerprint.bfloat16:
        why = "this machine multiplies bfloat16 numbers faster; weights and loss stay float32"
        training.settle("precision", "bf16", why, "machine")
    else:
        training.settle("precision", "fp32", "this machine has no instructions for bfloat16 numbers", "machine")
    training.settle("class_weighting", 0.0, "Dice already counts classes equally")
    training.settle("class_fraction", 0.33, "a third of the views shows a random class, as nnU-Net does")
    training.settle("gradient_clip", 10.0, "stops a single bad batch")
    training.settle("ema", 0.98, "averages the last 50 steps")

    # What is known before the plan: the samples were split, and read, with these already.
    training.settle("val_fraction", VAL_FRACTION, "held out to pick the best weights")
    training.settle("seed", SEED, "same seed, same result")
    training.settle("cache", CACHE, "GiB of decoded images")
    training.settle("compile", False, "compiling takes a minute or more, and gains nothing on a processor")


def _thickness(fingerprint: Fingerprint) -> tuple[float, float, int]:
    """Mean of `Fingerprint.thick_fraction` over the classes that occur, and the least, with its class."""
    of_class = [
        (thick, index) for index, thick in enumerate(fingerprint.thick_fraction) if fingerprint.class_fraction[index]
    ]
    return sum(thick for thick, _ in of_class) / len(of_class), *min(of_class)


def first_network(fingerprint: Fingerprint) -> str:
    """The network that is planned where nothing is known of weights or of the time."""
    return _network(Found(fingerprint, None, None), BudgetLimits(), from_scratch=True)[0]


def classes_are_thin(fingerprint: Fingerprint) -> bool:
    """Whether structures count as thin, so that the network has to work at 1/2 of the resolution."""
    return _thickness(fingerprint)[0] < THIN


def working_scale(fingerprint: Fingerprint) -> float:
    """The working scale that is planned where nothing is known of the time."""
    return _scale(fingerprint, BudgetLimits())[0]


def _from_scratch(found: Found, model: str) -> tuple[bool, str, str]:
    """Whether to start from random weights, why, and the source; `model` is the user's choice, if there is one."""
    head_start = found.head_start
    if found.weights is not None:
        return False, "the weights are the user's", "given"
    if head_start is None:
        return True, "no weights were asked for, and none at hand are for this network", "default"
    if head_start.unfit:
        return True, f"ImageNet weights do not apply: {head_start.unfit}", "data"
    if model:
        return False, f"{model} has an encoder whose ImageNet weights are at hand", "default"
    both = (
        f"on images left out, a linear layer on ImageNet features explains {head_start.features:.0%} of the classes, "
        f"one on colour and texture {head_start.local:.0%}"
    )
    gained = head_start.features >= max(HEAD_START * head_start.local, LEAST_EXPLAINED)
    return not gained, both if gained else f"{both}: not enough to give up the quicker steps of our own", "data"


def _network(found: Found, limits: BudgetLimits, from_scratch: bool) -> tuple[str, str, str]:
    """The network, why, and the source."""
    fingerprint = found.fingerprint
    thick, least, finest = _thickness(fingerprint)
    if not from_scratch and found.weights is None:
        return "lite0-4", "a light decoder, at 1/4 of the resolution, on the encoder whose weights are at hand", "data"
    fine = f"{least:.0%} of the pixels of class {finest} lie 3 pixels inside"
    mean = f"of the classes' pixels, {thick:.0%} on average lie 3 pixels inside"
    if thick < THIN:
        why = f"{mean}, below the {THIN:.0%} at which detail needs 1/2"
        return "compact-2", f"a residual U-Net at 1/2 of the resolution: {why}", "data"
    if least < FINE and not limits.fine:
        return "compact-2", f"a residual U-Net at 1/2 of the resolution: {fine}, which 1/4 would blur", "data"
    if least < FINE:
        why = f"{fine}, but there is no time for the {FINE_VIEWS:,} views of it from which 1/2 gains"
        return "compact-4", f"a residual U-Net at 1/4 of the resolution: {why}", "machine"
    return "compact-4", f"a residual U-Net at 1/4 of the resolution: {mean}, and no class is fine", "data"


def _scale(fingerprint: Fingerprint, limits: BudgetLimits) -> tuple[float, str, str]:
    """The smallest working scale that shows enough pixels and keeps the classes, why, and the source."""
    shorter = min(fingerprint.height[1], fingerprint.width[1])
    for scale, iou in reversed(list(zip(SHRUNK, fingerprint.shrunk_iou, strict=False))):
        if scale * shorter >= ENOUGH and iou >= KEPT:
            return scale, (
                f"images of {fingerprint.height[1]} x {fingerprint.width[1]} pixels are large; reduced to {scale:g} "
                f"their masks keep an IoU of {iou:.3f}: so more is seen at a time, and sooner"
            ), "data"  # fmt: skip
    thick, least, _ = _thickness(fingerprint)
    if limits.passes < PASSES and thick >= THIN and least >= FINE:
        for scale, iou in zip(SHRUNK, fingerprint.shrunk_iou, strict=False):
            if scale * shorter >= RUSHED_ENOUGH and iou >= RUSHED_KEPT:
                return scale, (
                    f"there is time to see images {limits.passes:.1f} times at their own size; reduced to {scale:g}, "
                    f"where their masks keep an IoU of {iou:.3f}, they are seen more often, and more of them at a time"
                ), "machine"  # fmt: skip
    return 1.0, "images are seen at their own size: they are not large, or their classes are too fine to shrink", "data"


def _fine_views(training: ResolvedTraining, steps: int, fingerprint: Fingerprint) -> float:
    """Views of images with the finest class in so many steps."""
    finest = _thickness(fingerprint)[2]
    return steps * training.batch * (fingerprint.image_fraction[finest] if fingerprint.image_fraction else 1.0)


def _passes(training: ResolvedTraining, steps: int, fingerprint: Fingerprint) -> float:
    """Passes over all pixels of the training images in so many steps; infinite at a working scale."""
    if training.scale != 1:
        return math.inf
    seen = steps * training.batch * training.crop[0] * training.crop[1]
    return seen / (fingerprint.images * fingerprint.height[1] * fingerprint.width[1])


def _progressive(view: float, thick: float, model: str, ours: bool) -> tuple[float, str]:
    """The fraction of the run with halved views, and why; `view` is a view's shorter side as the network sees it."""
    if not ours:
        return 0.0, f"views keep their resolution: not tried with {model}, or with weights from elsewhere"
    if thick < THIN:
        return 0.0, "views keep their resolution, which thin classes need from the start"
    if view < LEAST_HALVED:
        return 0.0, f"half of a view of {view:g} pixels shows too little"
    return PROGRESSIVE, "views at half their resolution first: far more steps while coarse things are learned"


def _peak_rate(model: str, options: dict[str, Any]) -> tuple[float, str]:
    """The peak rate for a network, and why."""
    if model in PEAK_RATES:
        return PEAK_RATES[model], f"measured for {model}"
    with torch.device("meta"):
        network = build(model, 3, 2, options)
    kinds = {type(module) for module in network.modules()}
    if nn.LayerNorm in kinds:
        return ATTENTION_RATE, "usual for networks with attention"
    if kinds & {nn.BatchNorm2d, nn.GroupNorm}:
        return NORMALIZED_RATE, "usual for networks with batch normalisation"
    return PLAIN_RATE, "low, because the network has no normalisation"

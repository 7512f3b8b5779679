"""What the plan decides, one setting at a time, and the finished settings that training works with."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, TypeVar

from maskwright.config import PIXEL_LOSSES, Normalization, Settings, Training, loss_terms
from maskwright.errors import RunError, SettingError
from maskwright.planning.fingerprint import Fingerprint

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One number of the plan."""

    value: Any
    reason: str
    source: str
    """given (by the user), recipe, data, machine (its speed, measured), or default."""


class Weights(NamedTuple):
    """What the plan has to know of weights that training starts from."""

    normalized: bool
    """Whether it is known how the images they were made with were normalised."""
    encoder: bool
    """Whether they are an encoder's, trained on other images."""


class HeadStart(NamedTuple):
    """What the plan has to know of installed weights: whether they can be used, and whether they know the classes."""

    encoder: str
    """The one that they are for."""
    unfit: str
    """Why they cannot be used for these images; empty where they can."""
    features: float = 0.0
    """Fraction of the classes' variance that a linear layer on the encoder's features explains, on images left out."""
    local: float = 0.0
    """The same of a linear layer on colour and texture."""


class Found(NamedTuple):
    """What is known before anything is decided."""

    fingerprint: Fingerprint
    weights: Weights | None
    head_start: HeadStart | None


class Section:
    """A section of the plan while it is being made: what is given stands, everything else is settled once.

    Parameters
    ----------
    given
        Decisions that stand already: the user's, the recipe's, or those of the plan that this one follows.
    """

    def __init__(self, given: dict[str, Decision]) -> None:
        self.decisions = dict(given)

    def settle(self, name: str, proposed: Value, reason: str, source: str = "default") -> Value:
        """The value of a setting: the given one, or the proposed one, which is then noted with its reason."""
        value: Value = self.decisions.setdefault(name, Decision(value=proposed, reason=reason, source=source)).value
        return value

    def given(self, name: str, otherwise: Value) -> Value:
        """The value of a setting that was given or settled before; nothing is noted where there is none."""
        value: Value = self.decisions[name].value if name in self.decisions else otherwise
        return value


class Budget(NamedTuple):
    """How long a run lasts: so many steps, or so many minutes; the other one is 0."""

    steps: int = 0
    minutes: float = 0.0

    @classmethod
    def of(cls, training: Training) -> Budget:
        """The budget that settings hold."""
        return cls(training.steps or 0, training.minutes or 0.0)

    def __str__(self) -> str:
        return f"{self.steps} steps" if self.steps else f"{self.minutes:g} min"


@dataclass(frozen=True, kw_only=True)
class ResolvedTraining:
    """How a step is made, with nothing left open; `config.Training` says what each setting means.

    `Training` is what somebody asks for, and None in it means "you decide". This is the answer: no field is None, so
    that whoever trains needs no fallback of its own, which could differ from what the plan has written down.
    """

    model: str
    model_options: dict[str, Any]
    normalization: Normalization
    scale: float
    crop: tuple[int, int]
    batch: int
    accumulate: int
    optimizer: Literal["muon", "adamw", "adam", "sgd"]
    lr: float
    from_scratch: bool = True
    """True in runs of builds that knew no other start than random weights and `--pretrained`."""
    encoder_rate: float = 1.0
    frozen_norms: bool = False
    layer_decay: float
    schedule: Literal["cosine", "poly", "constant"]
    warmup: float
    weight_decay: float
    loss: str
    label_smoothing: float = 0.0
    """0 where the loss has no cross-entropy, which it would act on."""
    class_weighting: float
    class_fraction: float
    gradient_clip: float
    ema: float
    validate_every: int = 0
    """0 where validations are spread over the run by `training/checkpoint.py`."""
    seed: int
    precision: Literal["bf16", "fp32"]
    progressive: float
    tta: bool
    cache: float
    compile: bool

    @classmethod
    def of(cls, training: Training) -> ResolvedTraining:
        """Take over settings that a plan has completed.

        Raises
        ------
        RunError
            If something is still open, as in a plan.toml from which a decision was removed.
        """
        known = {one.name: getattr(training, one.name) for one in fields(cls)}
        values = {name: value for name, value in known.items() if value is not None}
        open_yet = [one.name for one in fields(cls) if one.name not in values and one.name not in _MAY_BE_OPEN]
        if open_yet:
            raise RunError(
                f"The plan does not say {', '.join(open_yet)}.",
                expected="Expected a decision for every setting of [training].",
                remedy="Restore plan.toml from a copy, or train again.",
            )
        return cls(**values)


_MAY_BE_OPEN = ("label_smoothing", "validate_every", "from_scratch", "encoder_rate", "frozen_norms")
"""The last three are newer than the first runs."""


def refuse_contradictions(settings: Settings, found: Found) -> None:
    """Raise SettingError where a finished plan holds settings that contradict each other or what was found."""
    fingerprint, weights = found.fingerprint, found.weights
    if settings.training.normalization == "imagenet" and fingerprint.channels != 3:
        raise SettingError(
            f"normalization = 'imagenet' is for 3 channels, and the images have {fingerprint.channels}.",
            remedy="Use normalization = 'data', or choose three channels with --bands.",
        )
    known = settings.training.from_scratch is False if weights is None else weights.normalized
    if settings.training.normalization == "weights" and not known:
        raise SettingError(
            "normalization = 'weights': "
            + ("there are none to start from." if weights is None else "they do not say theirs."),
            remedy=f"{'Give --pretrained, or use' if weights is None else 'Use'} normalization = 'data'.",
        )
    if (
        settings.training.from_scratch is False
        and weights is None
        and (found.head_start is None or found.head_start.unfit)
    ):
        why = "none at hand are for this network" if found.head_start is None else found.head_start.unfit
        raise SettingError(f"from_scratch = false asks for weights to start from: {why}.", remedy="Give --pretrained.")
    if settings.training.from_scratch and settings.training.frozen_norms:
        raise SettingError(
            "frozen_norms = true keeps the statistics that weights came with, and training starts from random ones.",
            remedy="Leave it out.",
        )
    names = {name for _, name in loss_terms(settings.training.loss or "")}
    if settings.training.class_weighting and not names & set(PIXEL_LOSSES):
        raise SettingError(
            f"class_weighting = {settings.training.class_weighting:g} acts on {', '.join(PIXEL_LOSSES)}, and loss = "
            f"{settings.training.loss!r} has none, so it would have no effect.",
            remedy="Use loss = 'ce+dice', or leave it out.",
        )
    if settings.training.label_smoothing and "ce" not in names:
        raise SettingError(
            f"label_smoothing = {settings.training.label_smoothing:g} acts on ce, and loss = "
            f"{settings.training.loss!r} has none, so it would have no effect.",
            remedy="Use loss = 'ce+dice', or leave it out.",
        )

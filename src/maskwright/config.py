"""Every setting, once: these frozen dataclasses are the TOML recipe, the command-line options and what a run remembers.

A setting that is None is left to the plan (`planning/rules.py`), or is off where the comment says so. Contradictions
are refused when a section is made. The text under a field is its `--help`.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
import warnings
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from maskwright.errors import InputWarning, SettingError

Normalization = Literal["data", "image", "unit", "imagenet", "weights"]
Border = Literal["reflect", "nearest", "constant"]
RENAMED_SETTINGS = {"val_share": "val_fraction", "class_share": "class_fraction"}
"""Former names of settings, which recipes, plans of old runs and the command line still accept."""
RECIPES = Path(__file__).parent / "recipes"
VAL_FRACTION, CACHE, SEED = 0.1, 2.0, 0
"""Values of `val_fraction`, `cache` and `seed` where they are not given: the only ones that are needed before there is
a plan, because the plan goes by samples that are split and read already."""


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise SettingError(f"{name} = {value!r}: expected {expected}.")


def _in_range(section: object, name: str, low: float, high: float) -> None:
    value = getattr(section, name)
    if value is not None:
        _require(low <= value <= high, name, value, f"a number from {low:g} to {high:g}")


SOURCES = ("human", "script", "model-accepted")
"""Where labels of a project come from; in `labels/sources/` they are 1, 2 and 3, and 0 is unlabelled."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What is done to a whole image first, the same in training and prediction; off unless asked."""

    resize: tuple[int, int] | None = None
    """Working size, height and width in pixels; predictions return to the image's own size. Off by default."""
    clip: tuple[float, float] | None = None
    """Clip each channel of each image at these percentiles, for example 0.5 99.5. Off by default."""
    flatten: float | None = None
    """Flatten uneven illumination: divide by a blur of this sigma in pixels. Off by default."""
    clahe: float | None = None
    """Contrast-limited adaptive histogram equalisation with this clip limit, for example 2. Off by default."""
    bands: tuple[int, ...] | None = None
    """Channels to use, counted from 0, in this order. All by default."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.resize is not None:
            _require(min(self.resize) >= 1, "resize", self.resize, "a height and a width of at least 1 pixel")
        if self.clip is not None:
            low, high = self.clip
            _require(0 <= low < high <= 100, "clip", self.clip, "two percentiles, 0 <= low < high <= 100")
        if self.flatten is not None:
            _require(self.flatten > 0, "flatten", self.flatten, "a sigma above 0 pixels")
        if self.clahe is not None:
            _require(self.clahe > 0, "clahe", self.clahe, "a clip limit above 0")
        if self.bands is not None:
            _require(len(self.bands) > 0 and min(self.bands) >= 0, "bands", self.bands, "channel numbers from 0")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Ranges of the random views that training draws.

    None is left to the plan, or off where the comment says so; 0 is off, and so is 1 where the value is a factor.
    """

    zoom: tuple[float, float] | None = None
    """Smallest and largest magnification, drawn evenly in its logarithm, for example 0.7 1.4."""
    rotation: float | None = None
    """Largest rotation either way, in degrees."""
    shift: float | None = None
    """Largest shift of the view beyond a random crop, as a fraction of its size."""
    shear: float | None = None
    """Largest shear angle either way, in degrees."""
    flip_horizontal: bool | None = None
    """Mirror left and right, half of the time."""
    flip_vertical: bool | None = None
    """Mirror top and bottom, half of the time."""
    quarter_turns: bool | None = None
    """Rotate by a random multiple of 90 degrees."""
    brightness: float | None = None
    """Largest brightness shift either way, as a fraction of the data's standard deviation."""
    contrast: float | None = None
    """Largest contrast change, as a fraction: 0.25 draws factors from 0.75 to 1.25."""
    border: Border | None = None
    """What a view shows beyond the image's edge (constant: the data's mean); the mask is unlabelled there anyway."""
    whole_image: bool | None = None
    """Show whole images, magnified or reduced to fit the view, instead of crops of them. Off by default."""
    perspective: float | None = None
    """Perspective: largest shift of each corner of the view, as a fraction of its size, at most 0.2. Off by default."""
    elastic: float | None = None
    """Elastic deformation: standard deviation of the random shifts of a coarse grid, in pixels; U-Net's is 10. Off by
    default."""
    elastic_grid: int | None = None
    """Points of that grid along the view's shorter side; 3 by default, as in the U-Net paper."""
    saturation: float | None = None
    """Largest change of saturation, as a fraction: 0.3 draws factors from 0.7 to 1.3. Needs RGB. Off by default."""
    hue: float | None = None
    """Largest rotation of the hue either way, in degrees. Needs RGB. Off by default."""
    gamma: tuple[float, float] | None = None
    """Smallest and largest exponent of the values, drawn evenly in its logarithm: 0.7 1.5. Off by default."""
    channel_noise: float | None = None
    """Largest brightness shift of each channel by itself, as a fraction of its standard deviation. Off by default."""
    noise: float | None = None
    """Largest standard deviation of Gaussian pixel noise, as a fraction of the data's. Off by default."""
    blur: float | None = None
    """Largest sigma of a Gaussian blur, in pixels of the view. Off by default."""
    low_resolution: float | None = None
    """Lowest resolution that a view is reduced to and enlarged from, as a fraction: 0.5. Off by default."""
    jpeg: int | None = None
    """Lowest JPEG quality, from 1 to 95, for images of 8 bits with 1 or 3 channels. Off by default."""
    cut_out: float | None = None
    """Largest side of a square that is hidden, as a fraction of the view's shorter side. Off by default."""
    degraded: float | None = None
    """Fraction of views on which each of noise, blur, low_resolution, jpeg and cut_out acts; 0.25 by default."""
    class_mix: float | None = None
    """Fraction of views onto which half the classes of another view are pasted (ClassMix). Off by default."""
    copy_paste: float | None = None
    """Fraction of views onto which connected regions of another view are pasted. Off by default."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name, low, high in (("zoom", 0.05, 20.0), ("gamma", 0.1, 10.0)):
            value = getattr(self, name)
            if value is not None:
                expected = f"two factors, {low:g} <= smallest <= largest <= {high:g}"
                _require(low <= value[0] <= value[1] <= high, name, value, expected)
        _in_range(self, "rotation", 0, 180)
        _in_range(self, "shift", 0, 1)
        _in_range(self, "shear", 0, 45)
        _in_range(self, "brightness", 0, 10)
        _in_range(self, "contrast", 0, 0.95)
        _in_range(self, "perspective", 0, 0.2)
        _in_range(self, "elastic", 0, 1000)
        _in_range(self, "elastic_grid", 2, 64)
        _in_range(self, "saturation", 0, 1)
        _in_range(self, "hue", 0, 180)
        _in_range(self, "channel_noise", 0, 10)
        _in_range(self, "noise", 0, 10)
        _in_range(self, "blur", 0, 100)
        _in_range(self, "low_resolution", 0.02, 1)
        _in_range(self, "jpeg", 0, 95)
        _in_range(self, "cut_out", 0, 1)
        _in_range(self, "degraded", 0, 1)
        _in_range(self, "class_mix", 0, 1)
        _in_range(self, "copy_paste", 0, 1)


@dataclass(frozen=True, kw_only=True)
class Training:
    """The network and how it is trained. None is left to the plan."""

    minutes: float | None = None
    """Minutes from the start of the process to its end, everything included."""
    steps: int | None = None
    """Optimiser steps, instead of minutes."""
    model: str | None = None
    """Name of a network; `maskwright models` lists them."""
    model_options: dict[str, int | float | bool | str | list[int]] = field(default_factory=dict)
    """Arguments of the network, for example --model-options.depth 8 with fcn-flat."""
    normalization: Normalization | None = None
    """data: mean and standard deviation of the training images; image: of each image; unit: the type's range as 0..1;
    imagenet: of ImageNet's photographs; weights: what the --pretrained weights were made with."""
    scale: float | None = None
    """Working scale: the network sees images magnified by this factor, and learns from views reduced by it, below 1."""
    crop: tuple[int, int] | None = None
    """Height and width of a training view, in pixels."""
    batch: int | None = None
    """Views of one optimiser step, of all processes together."""
    accumulate: int | None = None
    """Parts into which a process splits its views of a batch, computed one after the other to save memory."""
    optimizer: Literal["muon", "adamw", "adam", "sgd"] | None = None
    """Optimiser."""
    lr: float | None = None
    """Peak learning rate."""
    from_scratch: bool | None = None
    """Start from random weights, whatever weights are at hand."""
    encoder_rate: float | None = None
    """Factor on the rate of an encoder that starts from pretrained weights; 0 leaves them as they are."""
    frozen_norms: bool | None = None
    """Keep the statistics of the encoder's batch norms as its weights came with them."""
    layer_decay: float | None = None
    """Factor on the rate from each part of the encoder to the one before it, so that pretrained weights change less; 1
    is off."""
    schedule: Literal["cosine", "poly", "constant"] | None = None
    """Learning rate over the run; all warm up first."""
    warmup: float | None = None
    """Fraction of the run over which the rate rises to its peak."""
    weight_decay: float | None = None
    """Decoupled weight decay, on weights of convolutions only."""
    loss: str | None = None
    """Loss: ce, ohem, focal, dice, generalised-dice, jaccard, lovasz, tversky, focal-tversky, boundary or cldice; or a
    sum such as ce+dice or ce+dice+0.01*boundary."""
    label_smoothing: float | None = None
    """Fraction of the truth that cross-entropy spreads over all classes, for example 0.1."""
    class_weighting: float | None = None
    """Exponent of inverse class frequency as a weight in cross-entropy: 0 is off, 0.5 is mild, 1 is full."""
    class_fraction: float | None = None
    """Fraction of views centred on a pixel of a random class, so that rare classes are seen."""
    gradient_clip: float | None = None
    """Largest gradient norm; 0 is off."""
    ema: float | None = None
    """Decay per step of the averaged weights that are kept; 0 keeps the raw ones."""
    folds: int | None = None
    """Cross-validation: train this many models, each without another part of the samples, and use them together."""
    validate_every: int | None = None
    """Steps between validations; by default the plan keeps validation to a small fraction of the time."""
    sources: str | None = None
    """In a labelling project: which labels count, as human,script; of human, script and model-accepted. All by default;
    pixels of others are then unlabelled."""
    val_fraction: float | None = None
    """Fraction of the training samples held out for validation."""
    seed: int | None = None
    """Seed of every random draw."""
    precision: Literal["bf16", "fp32"] | None = None
    """Numbers of a step's convolutions; weights and losses are always float32."""
    progressive: float | None = None
    """Fraction of the run, from its start, in which views are shown at half their resolution, which takes a quarter to
    a half of the time; 0 is off."""
    tta: bool | None = None
    """Predict the mean over mirrored images, where mirrored images are plausible."""
    cache: float | None = None
    """Memory for decoded images, in GiB."""
    compile: bool | None = None
    """Compile the network with torch.compile: a minute or more at the start, faster steps on a GPU."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.minutes is not None and self.steps is not None:
            raise SettingError(
                f"minutes = {self.minutes:g} and steps = {self.steps} contradict each other.",
                remedy="Give one of them.",
            )
        if self.crop is not None:
            _require(min(self.crop) >= 1, "crop", self.crop, "a height and a width of at least 1 pixel")
        for name, low, high in (
            ("scale", 0.05, 8), ("batch", 1, 65536), ("accumulate", 1, 65536), ("lr", 1e-9, 10),
            ("encoder_rate", 0, 1), ("layer_decay", 0.01, 1), ("warmup", 0, 0.9), ("weight_decay", 0, 10),
            ("label_smoothing", 0, 0.9), ("class_weighting", 0, 1), ("class_fraction", 0, 1),
            ("gradient_clip", 0, 1e6), ("ema", 0, 0.99999), ("minutes", 0.05, 60 * 24 * 365), ("steps", 1, 10**9),
            ("folds", 2, 100), ("validate_every", 1, 10**9), ("progressive", 0, 0.9), ("val_fraction", 0, 0.9),
            ("seed", 0, 2**63 - 1), ("cache", 0, 10**6),
        ):  # fmt: skip
            _in_range(self, name, low, high)
        for source in () if self.sources is None else self.sources.split(","):
            _require(source in SOURCES, "sources", self.sources, f"some of {', '.join(SOURCES)}, with commas between")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a run, in three sections, as in a recipe."""

    training: Training = field(default_factory=Training)
    augmentation: Augmentation = field(default_factory=Augmentation)
    preparation: Preparation = field(default_factory=Preparation)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Sections as plain dictionaries of the settings that are given; TOML and JSON can hold them."""
        return {
            section.name: {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in dataclasses.asdict(getattr(self, section.name)).items()
                if value is not None and value != {}
            }
            for section in fields(self)
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any], source: str) -> Self:
        """Read settings back; `source` names the file in errors.

        Raises SettingError for an unknown section or name, or a value of the wrong type.
        """
        sections: dict[str, Any] = {"training": Training, "augmentation": Augmentation, "preparation": Preparation}
        _refuse_unknown(set(content), set(sections), f"{source}: section", source)
        made: dict[str, Any] = {}
        for name, section in sections.items():
            given = content.get(name, {})
            if not isinstance(given, dict):
                raise SettingError(f"{source}: [{name}] is {given!r}.", expected="Expected a section of settings.")
            for old in RENAMED_SETTINGS.keys() & given.keys():
                new = RENAMED_SETTINGS[old]
                _require(new not in given, old, given[old], f"{new} alone, which {old} is called now")
            given = {RENAMED_SETTINGS.get(key, key): value for key, value in given.items()}
            hints = get_type_hints(section)
            _refuse_unknown(set(given), set(hints), f"{source}: setting in [{name}]", source)
            made[name] = section(**{key: _typed(value, hints[key], f"{source}: {key}") for key, value in given.items()})
        return cls(**made)

    def over(self, base: Settings) -> Settings:
        """These settings where they are given, else those of `base`.

        A budget replaces the other kind of budget: `--steps` over a recipe's minutes leaves the minutes out.
        """
        if self.training.steps is not None or self.training.minutes is not None:
            base = dataclasses.replace(base, training=dataclasses.replace(base.training, steps=None, minutes=None))
        content = base.to_dict()
        for section, given in self.to_dict().items():
            content[section] |= given
        return Settings.from_dict(content, "settings")


PIXEL_LOSSES = ("ce", "ohem", "focal")
"""Losses that are means over pixels: class weights act on these."""
LOSSES = (
    *PIXEL_LOSSES, "dice", "generalised-dice", "jaccard", "tversky", "focal-tversky", "lovasz", "boundary", "cldice"
)  # fmt: skip
"""Names that the setting `loss` may hold; `training/losses.py` has a function for each."""

_LOSS_TERM = re.compile(r"\s*(?:(?P<factor>\d*\.?\d+(?:e-?\d+)?)\s*\*)?\s*(?P<name>[a-z-]+)\s*")


def loss_terms(loss: str) -> list[tuple[float, str]]:
    """Factor and name of each term of a sum such as `ce+dice` or `ce+0.01*boundary`.

    Raises SettingError for what is no such sum, or an unknown name.
    """
    found = [(part, _LOSS_TERM.fullmatch(part)) for part in loss.split("+")]
    for part, match in found:
        if match is None or match["name"] not in LOSSES:
            raise SettingError(
                f"loss = {loss!r}: {part.strip()!r} is unknown.",
                expected=(f"Expected one of {', '.join(LOSSES)}, or a sum such as ce+dice or ce+dice+0.01*boundary."),
            )
    return [(float(match["factor"] or 1), match["name"]) for _, match in found if match is not None]


def load_recipe(name: str) -> Settings:
    """Read a recipe: one of Maskwright's own by name, or a TOML file by path.

    Raises SettingError if there is none, or it does not parse.
    """
    path = Path(name)
    if not path.suffix and not path.exists():
        path = RECIPES / f"{name}.toml"
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingError(
            f"There is no recipe {name!r}.",
            expected=f"Expected the path of a .toml file, or one of: {', '.join(recipe_names())}.",
        ) from None
    except (OSError, ValueError) as error:
        raise SettingError(f"{path} cannot be read as TOML: {error}.", file=path) from None
    for section in content.values():
        for old in RENAMED_SETTINGS.keys() & section if isinstance(section, dict) else ():
            text = f"{path}: {old} is now called {RENAMED_SETTINGS[old]}; the old name will go with the next version."
            warnings.warn(text, InputWarning, stacklevel=2)
    return Settings.from_dict(content, str(path))


def recipe_names() -> list[str]:
    """Names of the recipes that come with Maskwright."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def _refuse_unknown(given: set[str], known: set[str], what: str, source: str) -> None:
    for name in sorted(given - known):
        raise SettingError(f"{what} {name!r} is unknown. Known: {', '.join(sorted(known))}.")


def _typed(value: Any, hint: Any, what: str) -> Any:
    """A TOML value as the type its field declares, or a SettingError that says both."""
    for option in get_args(hint) if type(None) in get_args(hint) else (hint,):
        origin, arguments = get_origin(option), get_args(option)
        if origin is Literal and value in arguments:
            return value
        if origin is tuple and isinstance(value, list | tuple):
            types = list(arguments)
            if len(types) == 2 and types[1] is Ellipsis:
                types = [types[0]] * len(value)
            if len(types) == len(value):
                return tuple(_typed(item, one, what) for item, one in zip(value, types, strict=True))
        elif origin is dict and isinstance(value, dict):
            return value
        elif option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        elif type(value) is option:
            return value
    expected = str(hint).replace("typing.", "").replace(" | None", "").replace("<class '", "").replace("'>", "")
    raise SettingError(f"{what} = {value!r} has the wrong type.", expected=f"Expected {expected}.")

"""Labelling scripts: the functions that vote, and reading them from a file.

The simple form of a script is one function that gives class values, 255 where it does not know:

    CLASSES = ["background", "cell"]

    def label(image):
        return np.where(image.gray > 0.5, 1, np.where(image.gray < 0.1, 0, 255))

The other form has several functions, each with a class, that vote or abstain:

    @votes("cell")
    def bright(image):
        return image.gray > 0.5                  # True votes for "cell"; False abstains

    @votes("cell", otherwise="background")
    def soft(image):
        return 1 / (1 + np.exp(-9 * image.gray))  # 0 to 1; NaN abstains

    network = trained("runs/first", at_least=0.9)  # a trained run votes where it is sure

Names in lower case with a number, text or truth value are parameters, which `--set` changes. Names in capitals:

CLASSES      the class names in order; without them, the project's
SUPERPIXEL   pixels of a superpixel (64); 0 combines each pixel for itself
CONFIDENCE   the probability from which a pixel is labelled (0.75)
COMPANIONS   names of files beside images (`STEM_NAME.*`) that are no images themselves
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from maskwright.datasets.classes import CLASSES_FILE, UNLABELLED, ClassTable
from maskwright.errors import MaskwrightError, SettingError, UnreadableFileError, listed
from maskwright.label.views import View

if TYPE_CHECKING:
    from maskwright.predict.predictor import Predictor

Value = bool | int | float | str
"""A parameter's value."""

SIMPLE = "label"
"""The function of a script in the simple form."""


@dataclass(eq=False)
class Voter:
    """One source of votes. Class names are those of the script; none means that it gives class values itself."""

    name: str
    function: Callable[[View], Any]
    of: str | None = None
    """The class that it votes for."""
    otherwise: str | None = None
    """The class that it votes for where it is false; None abstains there."""

    def __call__(self, image: View) -> Any:
        """What the function itself gives, so that functions of a script can use each other."""
        return self.function(image)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A function that raised, or gave what is no vote, on one image."""

    voter: str
    image: str
    line: int | None
    """In the script."""
    what: str

    def __str__(self) -> str:
        where = f", line {self.line}" if self.line else ""
        return f"{self.voter}{where}, on {self.image}: {self.what}"


def votes(of: str | None = None, *, otherwise: str | None = None) -> Callable[[Callable[[View], Any]], Voter]:
    """Make a function of a script a voter.

    Parameters
    ----------
    of
        The class that the function votes for. It gives bool `H x W`, or the class's probability (float, NaN abstains),
        or None to abstain from the image. Without a class it gives class values, 255 where it abstains.
    otherwise
        The class of pixels that are False, or of probability below 0.5.
    """

    def make(function: Callable[[View], Any]) -> Voter:
        return Voter(function.__name__, function, of, otherwise)

    return make


def trained(run: str | Path, *, at_least: float = 0.9, name: str | None = None) -> Voter:
    """A trained run as a voter: it votes where its probability is `at_least` that, and abstains elsewhere.

    The run's classes must be among the script's, by name; `run` is looked for from the script's folder.
    """
    return _Trained(name or f"run {Path(run).name}", run=Path(run), at_least=at_least)


class _Trained(Voter):
    def __init__(self, name: str, *, run: Path, at_least: float) -> None:
        super().__init__(name, self.predict)
        self.run, self.at_least = run, at_least
        self.home = Path()
        self.values: dict[str, int] = {}
        """Class values by name, of the project."""

    @cached_property
    def predictor(self) -> Predictor:
        from maskwright.predict.predictor import Predictor

        return Predictor.load(self.run if self.run.is_absolute() else self.home / self.run)

    def predict(self, image: View) -> np.ndarray:
        strange = [name for name in self.predictor.classes.names if name not in self.values]
        if strange:
            raise SettingError(
                f"{self.run} has the class {strange[0]!r}, and the script has {listed(list(self.values))}.",
                expected="Expected a run whose classes are the script's, by name.",
            )
        found = self.predictor(np.asarray(image), image.valid, name=image.name)
        table = np.array([self.values[name] for name in self.predictor.classes.names], np.uint8)
        sure = found.probabilities.max(2) >= self.at_least
        return np.where(sure & (found.mask != UNLABELLED), table[found.probabilities.argmax(2)], np.uint8(UNLABELLED))


@dataclass
class Script:
    """A labelling script that was read: its voters, and its parameters with the values they have now."""

    path: Path
    text: str
    module: ModuleType
    voters: tuple[Voter, ...]
    parameters: dict[str, Value]
    classes: tuple[str, ...] | None
    superpixel: int = 64
    confidence: float = 0.75
    companions: tuple[str, ...] = ()
    failures: list[Failure] = field(default_factory=list)

    @property
    def simple(self) -> bool:
        """Whether it is one function that gives class values: nothing is combined."""
        return len(self.voters) == 1 and self.voters[0].of is None

    @property
    def mark(self) -> str:
        """Eight digits that stand for its text and parameters."""
        content = json.dumps([self.text, self.parameters], sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=4).hexdigest()

    def vote(self, voter: Voter, image: View, values: Mapping[str, int]) -> tuple[np.ndarray, Failure | None]:
        """A voter's votes on an image: uint8 `H x W` class values, 255 where it abstains; a failure abstains.

        `values` are class values by name. Invalid pixels get no vote.
        """
        nothing = np.full(image.shape[:2], UNLABELLED, np.uint8)
        if isinstance(voter, _Trained):
            voter.home, voter.values = self.path.parent, dict(values)
        try:
            given = voter.function(image)
            places = None if self.classes is None or isinstance(voter, _Trained) else [values[n] for n in self.classes]
            found = nothing if given is None else _as_votes(given, voter, values, places, image.shape[:2])
        except Exception as error:  # whatever a user's function raises; the others go on
            what = error.what if isinstance(error, MaskwrightError) else f"{type(error).__name__}: {error}"
            return nothing, Failure(voter=voter.name, image=image.name, line=self._line(error), what=what)
        return np.where(image.valid, found, np.uint8(UNLABELLED)), None

    def _line(self, error: BaseException) -> int | None:
        frames = traceback.extract_tb(error.__traceback__)
        return next((frame.lineno for frame in reversed(frames) if frame.filename == str(self.path)), None)


def _as_votes(
    given: Any, voter: Voter, values: Mapping[str, int], places: Sequence[int] | None, shape: tuple[int, ...]
) -> np.ndarray:
    """What a function gave as class values; `places` are the values of the script's own classes, in its order."""
    found = np.asarray(given)
    if found.ndim == 3 and found.shape[2] == 1:
        found = found[..., 0]
    if found.shape != shape:
        raise ValueError(f"it gave an array of shape {found.shape}; expected {shape}, a vote for each pixel")
    if voter.of is None:
        if found.dtype.kind not in "uib" or (found.dtype.kind == "b" and len(values) != 2):
            raise ValueError(f"it gave {found.dtype}; expected class values, 255 where it does not know")
        known = {*(values.values() if places is None else range(len(places))), UNLABELLED}
        strange = sorted(set(np.unique(found).tolist()) - known)
        if strange:
            raise ValueError(f"it gave the value {strange[0]}; expected {', '.join(map(str, sorted(known)))}")
        table = np.arange(256, dtype=np.uint8)
        if places is not None:
            table[: len(places)] = places
        return table[found.astype(np.uint8)]
    if found.dtype.kind not in "bf":
        raise ValueError(f"it gave {found.dtype}; expected True and False, or probabilities from 0 to 1")
    if found.dtype.kind == "f" and (np.nanmin(found, initial=0) < 0 or np.nanmax(found, initial=0) > 1):
        raise ValueError("it gave numbers outside 0 to 1; expected probabilities")
    no = UNLABELLED if voter.otherwise is None else values[voter.otherwise]
    votes_HW = np.where(found > 0.5, np.uint8(values[voter.of]), np.uint8(no))
    undecided = np.isnan(found) | (found == 0.5) if found.dtype.kind == "f" else np.zeros(shape, bool)
    return np.where(undecided, np.uint8(UNLABELLED), votes_HW)


def read_script(path: Path, changes: Mapping[str, str] | None = None) -> Script:
    """Run a script's own lines, and find its voters and parameters.

    Parameters
    ----------
    path
        The script, Python.
    changes
        Parameters with other values, as text; they get the types that the script gives them.

    Raises
    ------
    UnreadableFileError
        The file is missing, or no Python, or its own lines fail.
    SettingError
        It has no function that votes, or lacks a parameter, or a class is not among its classes.
    """
    try:
        text = path.read_text("utf-8")
        tree = ast.parse(text, str(path))
        defaults = _parameters(tree)
        given = {name: _parsed(name, value, defaults, path) for name, value in (changes or {}).items()}
        code = compile(_with(tree, given), str(path), "exec")
        module = ModuleType(f"labelling_script_{path.stem}")
        module.__file__ = str(path)
        sys.modules[module.__name__] = module
        exec(code, module.__dict__)
    except MaskwrightError:
        raise
    except Exception as error:  # whatever the user's file raises
        line = getattr(error, "lineno", None) or next(
            (f.lineno for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == str(path)), None
        )
        raise UnreadableFileError(
            f"{path}{f', line {line}' if line else ''}: {type(error).__name__}: {error}",
            expected="Expected a labelling script in Python.",
            remedy=f"Write one to begin with: maskwright weak --new {path.with_name('labels.py').name}",
            file=path,
        ) from None
    names = module.__dict__
    voters = [value for value in names.values() if isinstance(value, Voter)]
    if callable(names.get(SIMPLE)) and not isinstance(names[SIMPLE], Voter):
        voters.append(Voter(SIMPLE, names[SIMPLE]))
    classes = tuple(map(str, names["CLASSES"])) if "CLASSES" in names else None
    _check(path, voters, classes)
    return Script(
        path=path,
        text=text,
        module=module,
        voters=tuple(voters),
        parameters=defaults | given,
        classes=classes,
        superpixel=int(names.get("SUPERPIXEL", Script.superpixel)),
        confidence=float(names.get("CONFIDENCE", Script.confidence)),
        companions=tuple(names.get("COMPANIONS", ())),
    )


def starting_point(folder: Path | None = None) -> str:
    """The text of a commented script to begin with, with the names of the classes that a folder declares."""
    text = Path(__file__).with_name("starting_point.txt").read_text("utf-8")
    if folder is None or not (folder / CLASSES_FILE).is_file():
        return text
    names = ClassTable.load(folder / CLASSES_FILE).names
    text = text.replace('["background", "object"]', json.dumps(names, ensure_ascii=False))
    for given, name in zip(('"background"', '"object"'), names, strict=False):
        text = text.replace(given, json.dumps(name, ensure_ascii=False))
    return text


def _check(path: Path, voters: Sequence[Voter], classes: tuple[str, ...] | None) -> None:
    if not voters:
        raise SettingError(
            f"{path} has no function that labels.",
            expected='Expected label(image), or functions under @votes("class").',
            remedy="Write one to begin with: maskwright weak --new labels.py",
            file=path,
        )
    named = [name for voter in voters for name in (voter.of, voter.otherwise) if name is not None]
    if classes is not None and (strange := sorted(set(named) - set(classes))):
        raise SettingError(
            f"{path}: a function votes for {strange[0]!r}, which is not in CLASSES.",
            expected=f"Expected one of {', '.join(classes)}.",
            file=path,
        )


def _parameters(tree: ast.Module) -> dict[str, Value]:
    """Names in lower case that the script's own lines give a plain value, with it."""
    found: dict[str, Value] = {}
    for node in tree.body:
        if (target := _target(node)) and re.fullmatch(r"[a-z][a-z0-9_]*", target):
            try:
                value = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            except ValueError:
                continue
            if isinstance(value, (bool, int, float, str)):
                found[target] = value
    return found


def _target(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        return node.target.id
    return None


def _with(tree: ast.Module, given: Mapping[str, Value]) -> ast.Module:
    """The script with other values where it sets its parameters, so that what its own lines make of them follows."""
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and (name := _target(node)) in given:
            assert name is not None
            assert node.value is not None
            node.value = ast.copy_location(ast.Constant(given[name]), node.value)
    return tree


def _parsed(name: str, text: str, defaults: Mapping[str, Value], path: Path) -> Value:
    if name not in defaults:
        raise SettingError(
            f"{path} has no parameter {name!r}.",
            expected=f"Expected one of: {', '.join(defaults) or 'it has none'}.",
            remedy="Parameters are names in lower case that the script gives a number, text or truth value.",
            file=path,
        )
    kind = type(defaults[name])
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return float(text) if kind is int and not re.fullmatch(r"[-+]?\d+", text) else kind(text)
    except (ValueError, KeyError):
        raise SettingError(
            f"--set {name}={text}: expected {'true or false' if kind is bool else 'a number'}, as {defaults[name]!r}."
        ) from None

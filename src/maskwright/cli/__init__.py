"""The command line: one function per verb, thin: parse, call, print.

A verb's file is imported when the verb runs, and nothing heavy is imported here, so that `maskwright --help` answers at
once.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Mapping
from typing import Annotated, TextIO

from cyclopts import App, Group, Parameter

from maskwright import __version__, console
from maskwright.config import RENAMED_SETTINGS, Augmentation, Preparation, Training
from maskwright.errors import InputWarning, MaskwrightError, RunWarning, SettingError, explained

Json = Annotated[
    bool, Parameter(name="--json", negative="", show_default=False, help="Print the result as JSON on standard output.")
]
Switch = Annotated[bool, Parameter(negative="", show_default=False)]
# In the order in which `--help` shows them.
TRAINING, AUGMENTATION, PREPARATION = (
    Group.create_ordered(name) for name in ("Training", "Augmentation", "Preparation of whole images")
)
TrainingOptions = Annotated[Training, Parameter(name="*", group=TRAINING, negative_iterable="", show_default=False)]
AugmentationOptions = Annotated[Augmentation, Parameter(name="*", group=AUGMENTATION, negative_iterable="")]
PreparationOptions = Annotated[Preparation, Parameter(name="*", group=PREPARATION, negative_iterable="")]
Recipe = Annotated[
    str | None, Parameter(help="A recipe: a TOML file, or the name of one of Maskwright's own (unet-classic).")
]
"""Settings as options, for the verbs that plan or train."""

VERBS = {
    "check": ("data:check", "Tell what is in a data set, and what is wrong with it; exits with 1 if there are errors."),
    "adopt": ("data:adopt", "Accept a reading that a refusal proposes: writes manifest.csv and classes.toml, to edit."),
    "preview": ("data:preview", "Draw a contact sheet of what the network will see: samples, augmented views, masks."),
    "convert": ("data:convert", "Write a data set in another format; lists what the format cannot hold."),
    "demo": (
        "demo:demo",
        "Generate street scenes, train on them, evaluate on unseen ones, predict, write a report.",
    ),
    "plan": ("plan:plan", "Show what `train` would do with this data, and why."),
    "train": ("training:train", "Train a model on a folder of images and masks; plans itself."),
    "evaluate": (
        "results:evaluate",
        "Score a model on images and masks; writes numbers, pictures and report.html into the run.",
    ),
    "predict": (
        "prediction:predict",
        "Predict masks of images: files, folders, or patterns in quotes. Originals stay untouched.",
    ),
    "compare": (
        "results:compare",
        "Compare runs evaluated on the same images: differences, intervals, what changed most.",
    ),
    "models": (
        "networks:models",
        "List the networks: size, cost, weights, paper; with a name, one network and its layers.",
    ),
    "label": ("labels:label", "Label images in the browser: paint, fill, correct. Each stroke is saved at once."),
    "weak": ("labels:weak", "Label a folder of images by a script; what humans labelled stays."),
}
"""File and function of each verb, and the first line of its docstring, which the list of verbs shows."""
LABELS = {
    "import": ("labels:import_", "Take labels of a data set into a labelling project, as made by a human."),
    "export": ("labels:export", "Write a labelling project's images and labels in another format, as `convert` does."),
}
"""The verbs below `labels`."""
SCRIBBLES = {
    "train": ("scribbles:train", "Train a pixel classifier on a few strokes of each class; seconds."),
}
"""The verbs below `scribbles`."""


def application(words: list[str]) -> App:
    """The verbs, for a command line that begins with these words."""
    top = App(
        name="maskwright",
        help="Semantic segmentation: from a folder of images to a model you can trust, on the machine you have.",
        version=__version__,
        help_format="markdown",
    )
    labels = App(name="labels", help="Take labels into a labelling project, or write them in another format.")
    scribbles = App(name="scribbles", help="Masks from a few strokes, by a pixel classifier.")
    top.command(labels)
    top.command(scribbles)
    _register(top, VERBS, words[:1])
    _register(labels, LABELS, words[1:2])
    _register(scribbles, SCRIBBLES, words[1:2])
    return top


def _register(group: App, verbs: Mapping[str, tuple[str, str]], asked: list[str]) -> None:
    for name, (place, summary) in verbs.items():
        # A summary that is given here would stand in place of the docstring, whose rest the verb's own help shows.
        group.command(f"maskwright.cli.{place}", name=name, help=None if name in asked else summary)


app = application(sys.argv[1:])


def main() -> None:
    """Run the command line; a user's mistake is printed without a traceback and exits 2 (docs/exit-codes.md)."""
    warnings.showwarning = _show_warning
    console.show_anything()
    try:
        words = _renamed(sys.argv[1:])
        _refuse_fractions(words)
        app(words)
    except MaskwrightError as error:
        console.say(f"error: {error}")
        sys.exit(error.code)
    except KeyboardInterrupt:
        console.say("Stopped.")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe, `head` say, has gone. Python would complain while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        console.say(f"error: {explained(error)}")
        sys.exit(2)
    except MemoryError as error:
        console.say(
            f"error: The memory does not suffice: {error or 'nothing is left'}. Give smaller images or settings."
        )
        sys.exit(2)


def _renamed(words: list[str]) -> list[str]:
    """Replace former names of options by today's, with a warning."""
    former = {f"--{old}".replace("_", "-"): f"--{new}".replace("_", "-") for old, new in RENAMED_SETTINGS.items()}
    found = []
    for word in words:
        option, equals, value = word.partition("=")
        if option in former:
            text = f"{option} is now called {former[option]}; the old name will go with the next version."
            warnings.warn(text, InputWarning, stacklevel=2)
        found.append(former.get(option, option) + equals + value)
    return found


def _refuse_fractions(words: list[str]) -> None:
    """Raise SettingError for a fraction where a whole number is expected, which cyclopts would round in silence."""
    if not any(_FRACTION.fullmatch(word.rpartition("=")[2]) for word in words):
        return
    commands, chain, rest = app.parse_commands(words)
    if ".".join(commands) in ("", "labels"):
        return
    whole = {
        name: expected
        for argument in chain[-1].assemble_argument_collection()
        if (expected := _WHOLE.get(str(argument.hint).removesuffix(" | None").removeprefix("<class '").rstrip("'>")))
        for name in argument.names
    }
    for place, word in enumerate(rest):
        option, equals, value = word.partition("=")
        values = [value] if equals else rest[place + 1 : place + 1 + whole.get(option, 0)]
        for one in values if option in whole else ():
            if _FRACTION.fullmatch(one):
                raise SettingError(
                    f"{option} {one}: {one} is no whole number.",
                    expected="Expected a whole number, without a point.",
                    remedy=f"For example {option} {round(float(one))}.",
                )


_FRACTION = re.compile(r"[+-]?(\d+\.\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_WHOLE = {"int": 1, "tuple[int, int]": 2, "tuple[int, ...]": 1}
"""Types of options that take whole numbers, and how many follow the option's name."""


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, (InputWarning, RunWarning)):
        console.say(f"warning: {message}")
    else:
        console.say(f"warning: {category.__name__}: {message} ({filename}:{lineno})")

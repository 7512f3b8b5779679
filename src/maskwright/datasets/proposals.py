"""What raw values may mean where they do not say so by themselves: proposed class tables, and refusals with ways out.

`values.py` counts the values and reads the clear cases; a set with clear masks needs nothing of this.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from maskwright.datasets.classes import CLASSES_FILE, UNLABELLED, ClassTable, LabelClass, Value
from maskwright.datasets.fill_values import fill_values
from maskwright.datasets.problems import fix_command
from maskwright.datasets.values import MOST_UNDECLARED, Found, clear_classes, two_classes
from maskwright.errors import ClassTableError, listed
from maskwright.imaging.colors import color_rgb, default_color
from maskwright.imaging.images import NO_LABEL

_MOST_SHOWN = 8

_FEW = 6
"""Values that need no explanation: smoothing and compression make more."""

_SOLID = 0.4
"""Fraction of a value's pixels with an equal neighbour, from which it is meant: a class, not an edge between two."""

_HEAVIER = 5
"""How many times as many pixels another value has to have to explain one that is lonely or near it."""

_NEAR = 12
"""Levels that compression moves a value by."""


def two_encodings_text(folder: Path, highest: Sequence[str], ones: Sequence[str]) -> str:
    """What is wrong with masks in two encodings, in a sentence."""
    return (
        f"{folder} has two encodings of one class: {len(highest)} masks hold 0 and 255 ({listed(highest, 3)}), "
        f"{len(ones)} hold 0 and 1 ({listed(ones, 3)})."
    )


def infer_classes(
    found: Mapping[Value, Found],
    folder: Path,
    place: Path | None = None,
    root: Path | None = None,
    *,
    unlabelled_255: bool = False,
    nodata: bool = False,
) -> tuple[ClassTable, str]:
    """Infer the class table that the values of a set suggest, and say so in a sentence.

    Parameters
    ----------
    found
        What `mask_values` counted over the whole set.
    folder
        The folder of the masks, for messages.
    place
        Where a `classes.toml` would be read; by default beside `folder`.
    root
        The data set, as the user names it; by default the folder of `place`.
    unlabelled_255
        As in `values.clear_classes`.
    nodata
        Whether a value was left out that the files declare to mean "no data".

    Returns
    -------
    tuple[ClassTable, str]
        That of `values.clear_classes`, or a class for each of the few values left beside "no data". And the sentence.

    Raises
    ------
    ClassTableError
        Any other values. The text has a `classes.toml` to start from.
    """
    place = place or folder.parent / CLASSES_FILE
    indices = [value for value in found if value != UNLABELLED]
    if nodata and 2 <= len(indices) <= _FEW and list(found) != [0, 255]:
        # With the 0 of "no data" gone, the rest need not begin at 0.
        table = propose_classes(found, folder, unlabelled_255=unlabelled_255)
        return table, f"{folder} holds the values {_words(indices)} beside no data: a class each"
    clear = clear_classes(found, folder, place, unlabelled_255=unlabelled_255)
    if clear is None:
        raise _undecided(found, folder, place, root or place.parent, unlabelled_255=unlabelled_255)
    return clear


def propose_classes(found: Mapping[Value, Found], folder: Path, *, unlabelled_255: bool = False) -> ClassTable:
    """The class table that is offered where values do not say by themselves what they stand for: all that are meant.

    Values that only smoothing or compression made are no classes; 255 is one, unless it is always unlabelled.
    Raises ClassTableError where fewer than two values are left.
    """
    try:
        return infer_classes(found, folder, unlabelled_255=unlabelled_255)[0]
    except ClassTableError:
        pass
    values = intended_values(found)
    if unlabelled_255:
        values = [value for value in values if value != UNLABELLED]
    empty = fill_values(values)
    values = [value for value in values if value not in empty]
    if len(values) == 2:
        background, foreground = values
        return replace(two_classes(background, foreground), unlabelled=empty)
    classes = tuple(
        LabelClass(
            name=f"class {index}",
            color=default_color(index) if isinstance(value, int) else color_rgb(value),
            values=(value,),
        )
        for index, value in enumerate(values)
    )
    if len(classes) < 2:
        raise ClassTableError(
            f"{folder} holds one value that may be a class.",
            expected="Training needs two classes at least, background included.",
            remedy="Are these the right masks?",
            file=folder,
        )
    return ClassTable(classes=classes, unlabelled=empty)


def intended_values(found: Mapping[Value, Found]) -> list[Value]:
    """Values that lie in solid regions, without those that smoothing or compression made round them."""
    if len(found) <= _FEW:
        return list(found)
    kept: list[Value] = []
    for value, item in sorted(found.items(), key=lambda pair: -pair[1].pixels):
        lonely = item.solid < _SOLID * item.pixels
        heavier = [other for other in kept if found[other].pixels > _HEAVIER * item.pixels]
        if (lonely and heavier) or any(_near(value, other) for other in heavier):
            continue
        kept.append(value)
    return sorted(kept, key=lambda value: (isinstance(value, str), value))


def _near(value: Value, other: Value) -> bool:
    if isinstance(value, int) and isinstance(other, int):
        return abs(value - other) <= _NEAR
    if isinstance(value, str) and isinstance(other, str):
        return max(abs(a - b) for a, b in zip(color_rgb(value), color_rgb(other), strict=True)) <= _NEAR
    return False


def _undecided(
    found: Mapping[Value, Found], folder: Path, place: Path, root: Path, *, unlabelled_255: bool
) -> ClassTableError:
    """The refusal of values that could mean anything, with the ways out and a `classes.toml` to start from."""
    by_count = sorted(found.items(), key=lambda item: -item[1].pixels)
    shown = ", ".join(f"{v} ({item.pixels} pixels, first in {item.file})" for v, item in by_count[:_MOST_SHOWN])
    more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    values = "value" if len(found) == 1 else "values"
    what = f"{folder} holds {len(found)} {values}: {shown}{more}; no {CLASSES_FILE} says what they stand for."
    meant = intended_values(found)
    stray = len(found) - len(meant)
    if unlabelled_255:
        meant = [value for value in meant if value != UNLABELLED]
    empty = fill_values(meant)
    meant = [value for value in meant if value not in empty]
    expected, remedy = "", ""
    if empty:
        what += f" {_words(empty)} {'looks' if len(empty) == 1 else 'look'} like no data: proposed as unlabelled."
    if stray and len(meant) > 1:
        lossy = any(Path(item.file).suffix.lower() in (".jpg", ".jpeg") for item in found.values())
        cause = "saved as JPEG, which changes values" if lossy else "resized with smoothing, or drawn with soft edges"
        what += f" {stray} of them come from masks that were {cause}; {_words(meant)} seem to be meant."
        remedy = (
            f"A copy with the nearest of these in every pixel:\n  {fix_command(root)}\n"
            f"If other values are meant, say so in {place}"
        )
    elif len(meant) < 2 and list(found) == [0, UNLABELLED]:
        expected = "In a labels folder 255 means unlabelled."
        remedy = (
            f"If it is a class here, rename the folder to masks, or write that down:\n"
            f"  maskwright adopt {shlex.quote(str(root))} --as 1\n"
            f"If not, say what the values stand for in {place}"
        )
    elif len(meant) < 2:
        expected = (
            "In a labels folder 255 means unlabelled; if it is a class here, rename the folder to masks."
            if unlabelled_255 and UNLABELLED in found
            else "Training needs two classes at least, background included. Are these the right masks?"
        )
        remedy = f"Otherwise say what the values stand for in {place}"
    else:
        many = f"; more than {MOST_UNDECLARED} are not guessed" if len(meant) > MOST_UNDECLARED else ""
        expected = (
            f"Expected one number for each class: 0 and 255 in a masks folder, or 0, 1, 2, ... without a gap{many}."
        )
        remedy = (
            "To take every value for a class of its own:\n"
            f"  maskwright adopt {shlex.quote(str(root))} --as 1\n"
            f"Or say what the values stand for in {place}"
        )
    remedy = f"{remedy}, for example:\n\n{_example(meant, found, empty)}"
    return ClassTableError(what, expected=expected, remedy=remedy, file=folder)


def numbered_objects(found: Mapping[Value, Found], folder: Path, place: Path, root: Path) -> ClassTableError:
    """The refusal of values that number the objects of each image."""
    return ClassTableError(
        f"{folder} holds the values {_words(list(found))}, which seem to number the objects (instances) of each image: "
        "they run from 1 without a gap, up to another number in each image, and each is one region.",
        expected="Expected one value for each class.",
        remedy=f"To make all objects one class:\n  maskwright adopt {shlex.quote(str(root))} --as 1\n"
        f"If the values are classes, name them in {place}.",
        file=folder,
    )


def one_class_of(found: Mapping[Value, Found]) -> ClassTable:
    """Background, and all numbered objects as foreground."""
    colored = any(isinstance(value, str) for value in found)
    nothing: Value = "#000000" if colored else 0
    numbers = tuple(value for value in found if value not in (nothing, NO_LABEL))
    return ClassTable(
        classes=(
            LabelClass(name="background", color=default_color(0, "background"), values=(nothing,)),
            LabelClass(name="foreground", color=default_color(1, "foreground"), values=numbers),
        )
    )


def _words(values: Sequence[Value]) -> str:
    shown = [str(value) for value in values[:_MOST_SHOWN]]
    more = f" and {len(values) - _MOST_SHOWN} more" if len(values) > _MOST_SHOWN else ""
    return ", ".join(shown) + more


def _example(values: Sequence[Value], found: Mapping[Value, Found], empty: Sequence[int]) -> str:
    """A `classes.toml` ready to paste."""
    sections = [f"unlabelled = [{_words(empty)}]  # {found[empty[0]].pixels} pixels\n"] if empty else []
    for index, value in enumerate(values):
        written = f'"{value}"' if isinstance(value, str) else str(value)
        remark = f"  # {found[value].pixels} pixels, first in {found[value].file}"
        if value == UNLABELLED and len(values) > 2:
            remark += "; if it means unlabelled, leave this section out"
        sections.append(f'[[class]]\nname = "class {index}"\nvalue = {written}{remark}\n')
    if len(values) == 1:
        sections.append('[[class]]\nname = "class 1"\nvalue = 255  # or the value it has in other masks\n')
    return "\n".join(sections)

"""Which raw values the masks of a set hold, and the class table they suggest where no `classes.toml` says."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskwright.datasets.classes import CLASSES_FILE, UNLABELLED, ClassTable, LabelClass, Value
from maskwright.datasets.numbering import are_numbers_or_colors
from maskwright.datasets.problems import fix_command
from maskwright.datasets.sources import Source
from maskwright.errors import ClassTableError, listed
from maskwright.imaging.colors import color_codes, color_name, color_rgb, default_color
from maskwright.imaging.images import NO_LABEL

THREADS = 8
"""Files read at once: decoding releases the interpreter, and a network drive answers slowly."""

_MOST_UNDECLARED = 64
"""More classes than this are not guessed from values: masks with smooth edges hold as many values."""

_MOST_SHOWN = 8

_SOLID = 0.4
"""Fraction of a value's pixels with an equal neighbour, from which it is meant: a class, not an edge between two."""
_MANY_OBJECTS = 8
"""Values of a mask from which they may be told for numbers of objects, the largest of a set, at least."""
_FEW = 6
"""Values that need no explanation: smoothing and compression make more."""
_HEAVIER = 5
"""How many times as many pixels another value has to have to explain one that is lonely or near it."""
_NEAR = 12
"""Levels that compression moves a value by."""


@dataclass(frozen=True)
class Found:
    """How often a raw value occurs in a set, and the first mask that holds it."""

    pixels: int
    file: str
    solid: int = 0
    """Pixels of it whose neighbour to the right has it, too: few where a value comes from smoothing or compression."""


@dataclass(frozen=True)
class MaskCounts:
    """The raw values of one mask."""

    file: str
    values: Mapping[Value, tuple[int, int]]
    """Pixels of each value, and those whose neighbour to the right has it, too."""
    numbered: bool | None
    """Whether the values above 0 run from 1 without a gap and each is one region, as numbers of objects are; None if
    there are too few to tell."""


def mask_values(masks: Sequence[Source]) -> dict[Value, Found]:
    """Read all masks and count their raw values, in order of value: `merged` of `count_masks`."""
    return merged(count_masks(masks))


def count_masks(masks: Sequence[Source]) -> list[MaskCounts]:
    """Read all masks and count the raw values of each; raises UnreadableFileError for one that cannot be read."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(_counts, masks))


def number_objects(counts: Sequence[MaskCounts]) -> bool:
    """Whether values number the objects of each image instead of classes (StarDist, Cellpose)."""
    told = [one for one in counts if one.numbered is not None]
    if len(told) < 2 or not all(one.numbered for one in told):
        return False
    # Of colours with numbers in one band, each is a number, and black is none.
    highest = {len([value for value in one.values if value not in (0, "#000000", NO_LABEL)]) for one in told}
    return len(highest) > 1 and (max(highest) >= _MANY_OBJECTS or len(highest) > 2)


def two_encodings(counts: Sequence[MaskCounts]) -> tuple[list[str], list[str]]:
    """Files of 0 and 255, and of 0 and 1, where a set has both and no mask holds 1 and 255: one meaning, two codes."""
    # A mask of 255 alone is one without labels.
    some = [one for one in counts if set(one.values) - {NO_LABEL} != {UNLABELLED}]
    held = [({value for value in one.values if value not in (0, NO_LABEL)}, one.file) for one in some]
    if any(values - {1, UNLABELLED} or values == {1, UNLABELLED} for values, _ in held):
        return [], []
    highest = [file for values, file in held if values == {UNLABELLED}]
    ones = [file for values, file in held if values == {1}]
    return (highest, ones) if highest and ones else ([], [])


def two_encodings_text(folder: Path, highest: Sequence[str], ones: Sequence[str]) -> str:
    """What is wrong with masks in two encodings, in a sentence."""
    return (
        f"{folder} has two encodings of one class: {len(highest)} masks hold 0 and 255 ({listed(highest, 3)}), "
        f"{len(ones)} hold 0 and 1 ({listed(ones, 3)})."
    )


def merged(all_counts: Sequence[MaskCounts]) -> dict[Value, Found]:
    """Counts of a whole set, in order of value; where some masks hold colours, the greys of the others are colours."""
    colored = any(isinstance(value, str) for one in all_counts for value in one.values)
    found: dict[Value, Found] = {}
    for one in all_counts:
        for raw, (pixels, solid) in one.values.items():
            if raw == NO_LABEL:
                continue
            value = color_name(raw * 0x010101) if colored and isinstance(raw, int) and 0 <= raw <= 255 else raw
            before = found.get(value, Found(0, one.file))
            found[value] = Found(before.pixels + pixels, before.file, before.solid + solid)
    return dict(sorted(found.items(), key=lambda item: (isinstance(item[0], str), item[0])))


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
    nodata
        Whether a value was left out that the files declare to mean "no data".
    unlabelled_255
        Whether 255 is always unlabelled (`Layout.unlabelled_255`). If not, exactly the values 0 and 255 are background
        and foreground; beside other values 255 is unlabelled in any case.

    Returns
    -------
    tuple[ClassTable, str]
        Two classes, background and foreground, for 0 and 255, or for 0 and 1; or "class 0", "class 1", ... for values
        from 0 without a gap. And the sentence.

    Raises
    ------
    ClassTableError
        Any other values. The text has a `classes.toml` to start from.
    """
    values, place = list(found), place or folder.parent / CLASSES_FILE
    if values == [0, 255] and not unlabelled_255:
        return _two_classes(0, 255), (
            f"{folder} holds exactly the values 0 and 255, and there is no {CLASSES_FILE}: two classes, "
            "background (0) and foreground (255)"
        )
    indices = [value for value in values if value != UNLABELLED]
    if nodata and 2 <= len(indices) <= _FEW:  # with the 0 of "no data" gone, the rest need not begin at 0
        table = propose_classes(found, folder, unlabelled_255=unlabelled_255)
        return table, f"{folder} holds the values {_words(indices)} beside no data: a class each"
    if indices != list(range(len(indices))) or not 2 <= len(indices) <= _MOST_UNDECLARED:
        raise _undecided(found, folder, place, root or place.parent, unlabelled_255=unlabelled_255)
    also = ""
    if UNLABELLED in found:
        fraction = found[UNLABELLED].pixels / sum(item.pixels for item in found.values())
        also = f"; 255 is unlabelled ({fraction:.1%} of the pixels)"
    start = f"{folder} holds the values 0 to {len(indices) - 1}, and there is no {CLASSES_FILE}: "
    if len(indices) == 2:
        return _two_classes(0, 1), f"{start}two classes, background (0) and foreground (1){also}"
    classes = tuple(LabelClass(name=f"class {i}", color=default_color(i), values=(i,)) for i in range(len(indices)))
    names = f"{len(indices)} classes, named class 0 to class {len(indices) - 1}"
    return ClassTable(classes=classes), f"{start}{names}{also}. To name them, write {place}"


def _two_classes(background: Value, foreground: Value) -> ClassTable:
    return ClassTable(
        classes=tuple(
            LabelClass(name=name, color=default_color(index, name), values=(value,))
            for index, (name, value) in enumerate((("background", background), ("foreground", foreground)))
        )
    )


def _counts(mask: Source) -> MaskCounts:
    raw = mask.read_mask()
    keys = color_codes(raw) if raw.ndim == 3 else raw
    same = keys[:, :-1][keys[:, 1:] == keys[:, :-1]]
    if keys.dtype in (np.uint8, np.uint16):
        counts = np.bincount(keys.ravel())
        present = np.flatnonzero(counts)
        solid = np.bincount(same, minlength=len(counts))[present]
        counts = counts[present]
    else:
        present, counts = np.unique(keys, return_counts=True)
        among, equal = np.unique(same, return_counts=True)
        solid = np.zeros_like(counts)
        solid[np.searchsorted(present, among)] = equal
    rows = zip(present.tolist(), counts.tolist(), solid.tolist(), strict=True)
    values: dict[Value, tuple[int, int]] = {
        color_name(value) if raw.ndim == 3 else value: (pixels, inner) for value, pixels, inner in rows
    }
    return MaskCounts(mask.path.name, values, are_numbers_or_colors(raw, present))


def declared_nodata(masks: Sequence[Source]) -> tuple[int, ...]:
    """Whole values that mask files declare to mean "no data" (GDAL's tag)."""
    found: set[int] = set()
    for mask in masks:
        if mask.path.suffix.lower() in (".tif", ".tiff") and type(mask) is Source:
            nodata = mask.header().nodata
            if nodata is not None and float(nodata).is_integer():
                found.add(int(nodata))
    return tuple(sorted(found))


def without_nodata(
    found: Mapping[Value, Found], nodata: Sequence[int]
) -> tuple[Mapping[Value, Found], tuple[int, ...], str]:
    """Values without those declared as "no data", the latter, and a note.

    They stay classes where fewer than two others are left: many tools declare the 0 of a background so.
    """
    held = tuple(value for value in nodata if value in found and value != UNLABELLED)
    if not held:
        return found, (), ""
    rest = {value: item for value, item in found.items() if value not in held}
    shown = ", ".join(map(str, held))
    if len([value for value in rest if value != UNLABELLED]) < 2:
        return found, (), f"masks declare {shown} as no data, but it is needed as a class: read as one"
    return rest, held, f"masks declare {shown} as no data: unlabelled"


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
    if len(values) == 2:
        background, foreground = values
        return _two_classes(background, foreground)
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
    return ClassTable(classes=classes)


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
    expected, remedy = "", ""
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
        many = f"; more than {_MOST_UNDECLARED} are not guessed" if len(meant) > _MOST_UNDECLARED else ""
        expected = (
            f"Expected one number for each class: 0 and 255 in a masks folder, or 0, 1, 2, ... without a gap{many}."
        )
        remedy = (
            "To take every value for a class of its own:\n"
            f"  maskwright adopt {shlex.quote(str(root))} --as 1\n"
            f"Or say what the values stand for in {place}"
        )
    remedy = f"{remedy}, for example:\n\n{_example(meant, found)}"
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


def _example(values: Sequence[Value], found: Mapping[Value, Found]) -> str:
    """A `classes.toml` ready to paste."""
    sections = []
    for index, value in enumerate(values):
        written = f'"{value}"' if isinstance(value, str) else str(value)
        remark = f"  # {found[value].pixels} pixels, first in {found[value].file}"
        if value == UNLABELLED and len(values) > 2:
            remark += "; if it means unlabelled, leave this section out"
        sections.append(f'[[class]]\nname = "class {index}"\nvalue = {written}{remark}\n')
    if len(values) == 1:
        sections.append('[[class]]\nname = "class 1"\nvalue = 255  # or the value it has in other masks\n')
    return "\n".join(sections)

"""Which raw values the masks of a set hold, and the class table they suggest where no `classes.toml` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskwright.datasets.classes import CLASSES_FILE, UNLABELLED, ClassTable, LabelClass, Value
from maskwright.datasets.sources import Source
from maskwright.errors import ClassTableError
from maskwright.imaging.colors import color_codes, color_name, default_color

THREADS = 8
"""Files read at once: decoding releases the interpreter, and a network drive answers slowly."""

_MOST_UNDECLARED = 64
"""More classes than this are not guessed from values: masks with smooth edges hold as many values."""

_MOST_SHOWN = 8


@dataclass(frozen=True)
class Found:
    """How often a raw value occurs in a set, and the first mask that holds it."""

    pixels: int
    file: str


def mask_values(masks: Sequence[Source]) -> dict[Value, Found]:
    """Read all masks and count their raw values, in order of value.

    Where some masks hold colours, the greys of the others count as colours too.
    Raises UnreadableFileError for a mask that cannot be read.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        all_counts = list(pool.map(_counts, masks))
    colored = any(isinstance(value, str) for counts in all_counts for value in counts)
    found: dict[Value, Found] = {}
    for mask, counts in zip(masks, all_counts, strict=True):
        for raw, pixels in counts.items():
            value = color_name(raw * 0x010101) if colored and isinstance(raw, int) and 0 <= raw <= 255 else raw
            before = found.get(value, Found(0, mask.path.name))
            found[value] = Found(before.pixels + pixels, before.file)
    return dict(sorted(found.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def infer_classes(
    found: Mapping[Value, Found], folder: Path, place: Path | None = None, *, unlabelled_255: bool = False
) -> tuple[ClassTable, str]:
    """Infer the class table that the values of a set suggest, and say so in a sentence.

    Parameters
    ----------
    found : what `mask_values` counted over the whole set.
    folder : the folder of the masks, for messages.
    place : where a `classes.toml` would be read; by default beside `folder`.
    unlabelled_255 : whether 255 is always unlabelled (`Layout.unlabelled_255`). If not, exactly the values 0 and 255
        are background and foreground; beside other values 255 is unlabelled in any case.

    Returns
    -------
    Two classes, background and foreground, for 0 and 255, or for 0 and 1; or "class 0", "class 1", ... for values from
    0 without a gap. And the sentence.

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
    if indices != list(range(len(indices))) or not 2 <= len(indices) <= _MOST_UNDECLARED:
        raise _undecided(found, folder, place, unlabelled_255=unlabelled_255)
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


def _two_classes(background: int, foreground: int) -> ClassTable:
    return ClassTable(
        classes=tuple(
            LabelClass(name=name, color=default_color(index, name), values=(value,))
            for index, (name, value) in enumerate((("background", background), ("foreground", foreground)))
        )
    )


def _counts(mask: Source) -> dict[Value, int]:
    raw = mask.read_mask()
    keys = color_codes(raw) if raw.ndim == 3 else raw
    if keys.dtype in (np.uint8, np.uint16):
        counts = np.bincount(keys.ravel())
        present = np.flatnonzero(counts)
        counts = counts[present]
    else:
        present, counts = np.unique(keys, return_counts=True)
    pairs = zip(present.tolist(), counts.tolist(), strict=True)
    return {color_name(value) if raw.ndim == 3 else value: pixels for value, pixels in pairs}


def _undecided(found: Mapping[Value, Found], folder: Path, place: Path, *, unlabelled_255: bool) -> ClassTableError:
    """The refusal of values that could mean anything, with a `classes.toml` to start from."""
    by_count = sorted(found.items(), key=lambda item: -item[1].pixels)
    listed = ", ".join(f"{v} ({item.pixels} pixels, first in {item.file})" for v, item in by_count[:_MOST_SHOWN])
    more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    values = "value" if len(found) == 1 else "values"
    what = f"{folder} holds {len(found)} {values}: {listed}{more}; no {CLASSES_FILE} says what they stand for."
    expected, otherwise = "", ""
    meant = [value for value in found if value != UNLABELLED]
    if len(meant) > _MOST_UNDECLARED:
        meant = [value for value, _ in by_count[:_MOST_SHOWN] if value != UNLABELLED]
        lossy = any(Path(item.file).suffix.lower() in (".jpg", ".jpeg") for item in found.values())
        cause = "saved as JPEG, which changes them" if lossy else "resized with smoothing, or drawn with soft edges"
        what += f" So many values come from masks that were {cause}."
        otherwise = "Export the masks again as PNG without anti-aliasing. If every value is meant, declare them all in"
    elif len(meant) < 2:
        expected = (
            "In a labels folder 255 means unlabelled; if it is a class here, rename the folder to masks."
            if unlabelled_255 and UNLABELLED in found
            else "Training needs two classes at least, background included. Are these the right masks?"
        )
        otherwise = "Otherwise say what the values stand for in"
    else:
        expected = "Expected one number for each class: 0 and 255 in a masks folder, or 0, 1, 2, ... without a gap."
        otherwise = "Say what the values stand for in"
    remedy = f"{otherwise} {place}, for example:\n\n{_example(meant, found)}"
    return ClassTableError(what, expected=expected, remedy=remedy, file=folder)


def _example(values: Sequence[Value], found: Mapping[Value, Found]) -> str:
    """A `classes.toml` ready to paste."""
    sections = []
    for index, value in enumerate(values):
        written = f'"{value}"' if isinstance(value, str) else str(value)
        remark = f"  # {found[value].pixels} pixels, first in {found[value].file}"
        sections.append(f'[[class]]\nname = "class {index}"\nvalue = {written}{remark}\n')
    if len(values) == 1:
        sections.append('[[class]]\nname = "class 1"\nvalue = 255  # or the value it has in other masks\n')
    return "\n".join(sections)

"""Which raw values the masks of a set hold, and the class table they suggest where no `classes.toml` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskwright.datasets.classes import CLASSES_FILE, UNLABELLED, ClassTable, LabelClass, Value
from maskwright.datasets.sources import THREADS, Source
from maskwright.imaging.colors import color_codes, color_name, default_color
from maskwright.imaging.images import NO_LABEL

MOST_UNDECLARED = 64
"""More classes than this are not guessed from values: masks with smooth edges hold as many values."""

_FEW_OBJECTS = 3
"""Values up to which they are not looked at for numbers of objects."""
_MANY_OBJECTS = 8
"""Values of a mask from which they may be told for numbers of objects, the largest of a set, at least."""


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


def clear_classes(
    found: Mapping[Value, Found], folder: Path, place: Path, *, unlabelled_255: bool = False
) -> tuple[ClassTable, str] | None:
    """The class table where the values of a set say what they stand for, and a sentence on it; None where they do not.

    Parameters
    ----------
    found
        What `mask_values` counted over the whole set.
    folder
        The folder of the masks, for the sentence.
    place
        Where a `classes.toml` would be read.
    unlabelled_255
        Whether 255 is always unlabelled (`Layout.unlabelled_255`). If not, exactly the values 0 and 255 are background
        and foreground; beside other values 255 is unlabelled in any case.

    Returns
    -------
    tuple[ClassTable, str] | None
        Two classes, background and foreground, for 0 and 255, or for 0 and 1; or "class 0", "class 1", ... for values
        from 0 without a gap.
    """
    values = list(found)
    if values == [0, 255] and not unlabelled_255:
        return two_classes(0, 255), (
            f"{folder} holds exactly the values 0 and 255, and there is no {CLASSES_FILE}: two classes, "
            "background (0) and foreground (255)"
        )
    indices = [value for value in values if value != UNLABELLED]
    if indices != list(range(len(indices))) or not 2 <= len(indices) <= MOST_UNDECLARED:
        return None
    also = ""
    if UNLABELLED in found:
        fraction = found[UNLABELLED].pixels / sum(item.pixels for item in found.values())
        also = f"; 255 is unlabelled ({fraction:.1%} of the pixels)"
    start = f"{folder} holds the values 0 to {len(indices) - 1}, and there is no {CLASSES_FILE}: "
    if len(indices) == 2:
        return two_classes(0, 1), f"{start}two classes, background (0) and foreground (1){also}"
    classes = tuple(LabelClass(name=f"class {i}", color=default_color(i), values=(i,)) for i in range(len(indices)))
    names = f"{len(indices)} classes, named class 0 to class {len(indices) - 1}"
    return ClassTable(classes=classes), f"{start}{names}{also}. To name them, write {place}"


def two_classes(background: Value, foreground: Value) -> ClassTable:
    """A table of a background and a foreground that these raw values stand for."""
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
    numbered = None
    if len(present) > _FEW_OBJECTS:
        from maskwright.datasets.numbering import are_numbers_or_colors

        numbered = are_numbers_or_colors(raw, present)
    return MaskCounts(mask.path.name, values, numbered)


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

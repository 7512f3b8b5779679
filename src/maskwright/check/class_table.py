"""Which class table the masks of a set are judged by, where none is declared and some masks may be wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from maskwright.check.scan_result import Labels, Settled
from maskwright.datasets.classes import CLASSES_FILE, UNLABELLED, ClassTable, LabelClass, Value
from maskwright.datasets.formats import table_beside
from maskwright.datasets.formats.layout import Layout
from maskwright.datasets.numbering import doubt
from maskwright.datasets.problems import Problem
from maskwright.datasets.proposals import (
    infer_classes,
    intended_values,
    numbered_objects,
    one_class_of,
    propose_classes,
    two_encodings_text,
)
from maskwright.datasets.sources import Source, declared_nodata
from maskwright.datasets.values import Found, MaskCounts, number_objects, two_encodings, without_nodata
from maskwright.errors import ClassTableError, UnreadableFileError, listed
from maskwright.imaging.colors import color_rgb, default_color
from maskwright.imaging.images import NO_LABEL

__all__ = ["declared_table", "settle"]

_MOST_PROVISIONAL = 64
_FEW_ODD = 0.2
"""Fraction of masks that are odd ones among others; more are a second way of writing."""


def declared_table(layout: Layout) -> ClassTable | None:
    """The table of `classes.toml` or of the format, before any mask is read; raises ClassTableError if it is broken."""
    return layout.classes if layout.table is None else ClassTable.load(layout.table)


def ignored_values(layout: Layout, declared: ClassTable | None) -> frozenset[Value]:
    """The raw values that are known to be unlabelled before any mask is read."""
    if declared is None:
        return frozenset({UNLABELLED} if layout.unlabelled_255 else ())
    return frozenset(declared.unlabelled) | ({UNLABELLED} if not declared.claims(UNLABELLED) else set())


def settle(layout: Layout, declared: ClassTable | None, labels: Sequence[tuple[str, Labels]]) -> Settled:
    """The class table of a set, given its masks (file name and measurements).

    Without a declared table it is what training would infer from the values; where that fails, what it would infer
    from the masks that look sound, so that the others can be named. Values 1 to K are classes counted from one.
    """
    folder = layout.masks_folder
    if declared is not None:
        where = str(layout.table) if layout.table is not None else f"the format ({layout.format})"
        note = f"{where} declares {len(declared)} classes: {declared.describe()}"
        return Settled(declared, note, layout.contradiction(declared) if layout.table is not None else None)
    read = {name for name, _ in labels}  # the header of another may be what is damaged
    masks = [sample.mask for sample in layout.samples if sample.mask is not None and sample.mask.path.name in read]
    found, ignored, told = without_nodata(_found(labels), declared_nodata(masks))
    beside = table_beside(layout, layout.table_place.parent, found)
    if beside is not None:
        return Settled(beside[0], f"{beside[1]} declares {len(beside[0])} classes: {beside[0].describe()}")
    counts = [_as_counts(name, one) for name, one in labels]
    if number_objects(counts):
        refusal = numbered_objects(found, folder, layout.table_place, layout.table_place.parent)
        problem = _undecided(refusal, "numbered-objects", folder)
        return Settled(one_class_of(found), f"{folder} holds numbers of objects: all are foreground", problem)
    highest, ones = two_encodings(counts)
    # Where few masks are odd, each is named by itself.
    if highest and not layout.unlabelled_255 and min(len(highest), len(ones)) > _FEW_ODD * len(labels):
        problem = Problem(
            level="error",
            kind="two-encodings",
            files=(folder,),
            what=two_encodings_text(folder, highest, ones),
            remedy="check --fix unites them.",
        )
        return Settled(_inferred(layout, {v: found[v] for v in (0, 1) if v in found})[0], problem.what, problem)
    try:
        table, note = _inferred(layout, _of_most(labels, dict(found)), nodata=bool(ignored))
        told = "; ".join(part for part in (note, told) if part)
        return Settled(replace(table, unlabelled=ignored), told, _doubtful(layout, masks, found))
    except ClassTableError as refused:
        error = refused
    sound = _sound(labels)
    if sound != found:
        try:
            table, note = _inferred(layout, sound)
            return Settled(table, f"{note} (judged by the masks that look sound)")
        except ClassTableError:
            pass
    counted = sorted(value for value in sound if isinstance(value, int) and value != UNLABELLED)
    if len(counted) == len([value for value in sound if value != UNLABELLED]) and 2 <= len(counted) <= 64:
        first = counted[0]
        if first == 1 and counted == list(range(1, len(counted) + 1)):
            problem = Problem(
                level="error",
                kind="off-by-one",
                files=(folder,),
                what=f"The masks hold the values 1 to {counted[-1]}, never 0, and there is no {CLASSES_FILE}: classes "
                "seem to be counted from 1.",
                remedy=f"Classes count from 0: subtract 1 from every mask (check --fix does), or declare the values in "
                f"{folder.parent / CLASSES_FILE}.",
            )
            return Settled(_named(counted), f"{folder} holds the values 1 to {counted[-1]}", problem)
    meant = intended_values(found)
    if 2 <= len(meant) < len(found) and len(meant) <= _MOST_PROVISIONAL:
        table = propose_classes({value: found[value] for value in meant}, folder, unlabelled_255=layout.unlabelled_255)
        shown = listed([str(value) for value in meant], 8)
        return Settled(table, f"{folder} holds {len(found)} values, of which {shown} fill regions: those are judged by")
    problem = _undecided(error, "undecided-classes", folder)
    most = sorted(found, key=lambda value: -found[value].pixels)[:_MOST_PROVISIONAL]
    values = sorted((value for value in most if value != UNLABELLED), key=lambda v: (isinstance(v, str), v))
    return Settled(_named(values), "the classes cannot be told: every value counts as one", problem, certain=False)


def _doubtful(layout: Layout, masks: Sequence[Source], found: Mapping[Value, Found]) -> Problem | None:
    """A warning where the values may number objects."""
    try:
        what, remedy = doubt(masks, found, layout.masks_folder, layout.table_place)
    except UnreadableFileError:  # is told of that file
        return None
    files = (layout.masks_folder,)
    return Problem(level="warning", kind="numbered-objects", files=files, what=what, remedy=remedy) if what else None


def _undecided(error: ClassTableError, kind: str, folder: Path) -> Problem:
    """What opening the data refuses, as a finding."""
    what = " ".join(part for part in (error.what, error.expected) if part)
    return Problem(level="error", kind=kind, files=(folder,), what=what, remedy=error.remedy)


def _as_counts(name: str, labels: Labels) -> MaskCounts:
    """The measurements of a mask as opening the data counts them."""
    values = {count.value: (count.pixels, count.flat) for count in labels.counts}
    return MaskCounts(name, values, labels.numbered)


def _named(values: Sequence[Value]) -> ClassTable:
    colors = [color_rgb(v) if isinstance(v, str) else default_color(i) for i, v in enumerate(values)]
    return ClassTable(
        classes=tuple(
            LabelClass(name=f"class {value}", color=color, values=(value,))
            for value, color in zip(values, colors, strict=True)
        )
    )


def _found(labels: Sequence[tuple[str, Labels]]) -> dict[Value, Found]:
    pixels: Counter[Value] = Counter()
    solid: Counter[Value] = Counter()
    first: dict[Value, str] = {}
    for name, one in labels:
        for count in one.counts:
            if count.value == NO_LABEL:
                continue
            pixels[count.value] += count.pixels
            solid[count.value] += count.pixels if count.flat else 0
            first.setdefault(count.value, name)
    return _ordered({value: Found(number, first[value], solid[value]) for value, number in pixels.items()})


def _sound(labels: Sequence[tuple[str, Labels]]) -> dict[Value, Found]:
    """The values of masks that look drawn: of the kind that most are (numbers or colours), few values, thick regions.

    A value counts if it fills regions (a pixel and all its neighbours) in several masks: in two at least, and in one of
    twenty. A set of fewer than four masks has to do with one.
    """
    colored = sum(one.colored for _, one in labels) * 2 > len(labels)
    drawn = [(name, one) for name, one in labels if one.colored == colored and not one.jpeg and one.distinct <= 64]
    holders = Counter(count.value for _, one in drawn for count in one.counts if count.flat)
    needed = max(2 if len(drawn) >= 4 else 1, -(-len(drawn) // 20))
    kept = {value for value, number in holders.items() if number >= needed}
    return {value: item for value, item in _found(drawn).items() if value in kept}


def _of_most(labels: Sequence[tuple[str, Labels]], found: dict[Value, Found]) -> dict[Value, Found]:
    """Values found; of masks that hold 0 and 255, or 0 and 1, but never both, those of the larger number."""
    if set(found) != {0, 1, 255}:
        return found
    held = [{count.value for count in one.counts} for _, one in labels]
    if any({1, UNLABELLED} <= values for values in held):
        return found
    ones, others = (
        [item for item, values in zip(labels, held, strict=True) if value in values] for value in (1, UNLABELLED)
    )
    return _ordered(_found(ones if len(ones) >= len(others) else others) | {0: found[0]})


def _ordered(found: Mapping[Value, Found]) -> dict[Value, Found]:
    return dict(sorted(found.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def _inferred(layout: Layout, found: Mapping[Value, Found], *, nodata: bool = False) -> tuple[ClassTable, str]:
    """What opening the data set would infer from these values."""
    return infer_classes(
        found, layout.masks_folder, layout.table_place, unlabelled_255=layout.unlabelled_255, nodata=nodata
    )

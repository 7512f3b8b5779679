"""All rules in one list, and how their findings are ordered, titled and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from maskwright.check import contents, leaks, outliers, pairing
from maskwright.check.causes import undeclared_values
from maskwright.check.placing import placement_problems
from maskwright.check.surveyed import Surveyed
from maskwright.datasets.problems import Problem

__all__ = ["TITLES", "Group", "find_problems", "grouped", "title"]

TITLES = {
    "unreadable": "Files that cannot be read",
    "unpaired": "Files without a partner",
    "duplicate-stem": "Two files for one name",
    "size-mismatch": "Masks of another size than their image",
    "exif-mismatch": "Masks of images that the camera stored on their side",
    "class-table": "The class table contradicts the folder",
    "undecided-classes": "Classes that cannot be told",
    "off-by-one": "Classes counted from 1",
    "undeclared-values": "Values that no class stands for",
    "everything-unlabelled": "Nothing is labelled",
    "same-image": "The same image in two splits",
    "same-group": "A group in two splits",
    "near-duplicate": "Nearly the same image in two splits",
    "repeated-image": "The same image more than once",
    "shifted-masks": "All masks shifted",
    "shifted-mask": "Masks that seem shifted",
    "turned-mask": "Masks that seem flipped or turned",
    "unrelated-mask": "Masks that do not fit their image",
    "never-labelled": "Classes never labelled in training",
    "test-only-class": "Classes in validation or test only",
    "rare-class": "Rare classes",
    "unlabelled-mask": "Masks without a label",
    "one-class-mask": "Masks of one class",
    "interpolated-mask": "Masks that seem interpolated",
    "jpeg-mask": "Masks stored as JPEG",
    "speckle": "Specks",
    "holes": "Holes",
    "far-channels": "Images with other channels",
    "far-size": "Images of an unusual size",
    "far-brightness": "Images of an unusual brightness",
    "constant-channel": "Constant channels",
    "nan-channel": "Channels with NaN",
    "unused-bits": "16-bit images that use fewer bits",
}
"""Kinds of findings in the order in which they are told, and their titles."""

_RULES: tuple[Callable[[Surveyed], list[Problem]], ...] = (
    pairing.unreadable_files,
    pairing.size_mismatches,
    undeclared_values,
    contents.everything_unlabelled,
    leaks.same_images,
    leaks.groups_in_two_splits,
    leaks.near_duplicates_across,
    placement_problems,
    contents.class_problems,
    contents.empty_masks,
    contents.interpolated_masks,
    contents.jpeg_masks,
    contents.speckled_masks,
    outliers.far_images,
    outliers.dead_channels,
    outliers.unused_bits,
)


@dataclass(frozen=True)
class Group:
    """All findings of one kind and level."""

    level: str
    kind: str
    problems: tuple[Problem, ...]


def find_problems(surveyed: Surveyed, from_layout: Iterable[Problem] = ()) -> tuple[Problem, ...]:
    """Ask all rules; errors first, then in the order of `TITLES`."""
    found = [*from_layout]
    if surveyed.settled.problem is not None:
        found.append(surveyed.settled.problem)
    for rule in _RULES:
        found += rule(surveyed)
    return ordered(found)


def ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Errors first, then in the order of `TITLES`; a kind that is not there comes before those that are."""
    places = {kind: place for place, kind in enumerate(TITLES)}
    return tuple(sorted(problems, key=lambda one: (one.level != "error", places.get(one.kind, -1), one.kind)))


def grouped(problems: Sequence[Problem]) -> list[Group]:
    """Findings by kind and level, in their order."""
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        groups.setdefault((problem.level, problem.kind), []).append(problem)
    return [Group(level, kind, tuple(found)) for (level, kind), found in groups.items()]


def title(kind: str) -> str:
    """A kind in words."""
    return TITLES.get(kind, kind.replace("-", " ").capitalize())

"""Rules: what changes in a name from image to mask, the pairs that this gives, and which rule is the better truth."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from maskwright.datasets.formats.looks import FEW, Looks, refines, same_partition
from maskwright.datasets.formats.matching import Match
from maskwright.datasets.formats.naming import IMAGE_WORDS, MASK_WORDS, OTHER_WORDS, WILD, Series
from maskwright.datasets.formats.reading import changed, pattern, relative
from maskwright.errors import listed

_SEMANTIC = frozenset({"semantic", "semantics", "class", "classes"})
"""Words of masks of classes, where masks of instances and the like lie beside them."""
_COVERS = 0.9
"""Fraction of the images of the rule that reaches most, from which a rule reaches as many."""


@dataclass(kw_only=True)
class Rule:
    """Matches with one rule."""

    matches: list[Match]
    looks: Looks = field(default_factory=lambda: Looks({}, {}, 0, False))
    more: dict[Path, tuple[Path, ...]] = field(default_factory=dict)
    """Further masks of some images, by image: of the same names with a number added."""

    @cached_property
    def pairs(self) -> dict[Path, tuple[Path, ...]]:
        """Masks of each image: one, or one for each object."""
        found = {image: masks for match in self.matches for image, masks in match.pairs.items()}
        return {image: (*masks, *self.more.get(image, ())) for image, masks in found.items()}

    @property
    def come(self) -> set[str]:
        """Words of the mask's name that the image's lacks."""
        return set(self.matches[0].come)

    @property
    def words(self) -> set[str]:
        """All words of the mask's name and folders."""
        return self.come | set(self.matches[0].masks.words)

    @property
    def lossy(self) -> bool:
        """Whether many values are due to compression or smoothing, not to numbered objects."""
        if any(match.masks.suffix in (".jpg", ".jpeg") for match in self.matches):
            return True
        codes = list(self.looks.codes.values())
        return (
            bool(codes)
            and self.looks.channels == 1
            and max(int(one.max(initial=0)) for one in codes) <= 255
            and all(len(np.unique(one)) > 24 for one in codes)
        )

    def describe(self, root: Path) -> str:
        """Patterns of images and masks."""
        first = self.matches[0]
        more = ""
        if len(self.matches) > 1:
            folders = [relative(root, match.images.folder) or "." for match in self.matches[1:]]
            more = f", and the same in {listed(list(dict.fromkeys(folders)), 4)}"
        words = changed(first)
        return f"{pattern(root, first.images)} with {pattern(root, first.masks)}{words}{more}"


def gathered(matches: Iterable[Match], looks: Mapping[int, Looks], series: Sequence[Series]) -> list[Rule]:
    """Matches gathered by what changes in the name; those with most pairs first."""
    by_rule: defaultdict[tuple[object, ...], list[Match]] = defaultdict(list)
    for match in matches:
        by_rule[match.rule].append(match)
    rules = [Rule(matches=found) for found in by_rule.values()]
    for rule in rules:
        parts = [looks[id(match.masks)] for match in rule.matches]
        rule.looks = Looks(
            {path: codes for part in parts for path, codes in part.codes.items()},
            {path: shape for part in parts for path, shape in part.shapes.items()},
            max(part.channels for part in parts),
            any(part.colored for part in parts),
        )
        if len(rule.looks.values) <= 2:
            rule.more = {path: found for match in rule.matches for path, found in _more(match, series).items()}
    return sorted(rules, key=lambda rule: -len(rule.pairs))


def _more(match: Match, series: Sequence[Series]) -> dict[Path, tuple[Path, ...]]:
    """Masks whose names are those of a match's masks and a number: x_mask_1.png beside x_mask.png."""
    owners = {masks[0]: image for image, masks in match.pairs.items()}
    own = {(folders, name): owners[path] for folders, name, path in match.masks.files if path in owners}
    found: defaultdict[Path, tuple[Path, ...]] = defaultdict(tuple)
    for other in series:
        longer = (other.folders, other.name, other.suffix)
        if longer != (match.masks.folders, (*match.masks.name, WILD), match.masks.suffix):
            continue
        if all((folders, name[:-1]) in own for folders, name, _ in other.files):
            for folders, name, path in other.files:
                found[own[folders, name[:-1]]] += (path,)
    return found


def says_the_same(one: Rule, other: Rule) -> bool:
    """Whether a rule's masks are a coloured, or a lossy, copy of another's."""
    copy = (one.looks.colored and not other.looks.colored) or (one.lossy and not other.lossy)
    seen = _codes_of_both(one, other)
    return copy and bool(seen) and one.pairs.keys() <= other.pairs.keys() and all(same_partition(a, b) for a, b in seen)


def by_rank(rules: Sequence[Rule]) -> list[Rule]:
    """Better truths first: named so, for most images, without loss, finer, covering more; then by name."""
    most = max((len(rule.pairs) for rule in rules), default=0)

    def rank(rule: Rule) -> tuple[object, ...]:
        named = bool(rule.words & MASK_WORDS) - 2 * bool(rule.come & OTHER_WORDS)
        finer = sum(_is_finer(rule, other) for other in rules if other is not rule)
        return (
            2 * len(rule.pairs) < most,
            -named,
            not rule.words & _SEMANTIC,
            len(rule.pairs) < _COVERS * most,
            rule.lossy,
            -finer,
            -min(len(rule.looks.values), FEW),
            -len(rule.pairs),
            str(rule.matches[0].masks.files[0][2]),
        )

    return sorted(rules, key=rank)


def _is_finer(one: Rule, other: Rule) -> bool:
    seen = _codes_of_both(one, other)
    return bool(seen) and all(refines(a, b) and not refines(b, a) for a, b in seen)


def _codes_of_both(one: Rule, other: Rule) -> list[tuple[np.ndarray, np.ndarray]]:
    """Masks of both rules for the images of which both were opened."""
    others = other.pairs
    return [
        (codes, other.looks.codes[others[image][0]])
        for image, masks in one.pairs.items()
        if (codes := one.looks.codes.get(masks[0])) is not None
        and image in others
        and others[image][0] in other.looks.codes
    ]


def image_rank(rule: Rule) -> int:
    """0 for photographs and what is named as images, more for depth, infrared and the like, and what is named masks."""
    words = {word for match in rule.matches for word in match.images.words}
    if words & OTHER_WORDS:
        return 2
    return int(bool(words & MASK_WORDS) and not words & IMAGE_WORDS)


_ALIKE = 0.3
"""Intersection over union of what two masks do not leave as background, from which they are opinions on one thing."""


def raters(rule: Rule, rules: Sequence[Rule]) -> dict[Path, tuple[tuple[str, Path], ...]]:
    """Masks of other observers of the same thing, by image: masks of the same values, alike and not the same."""
    found: defaultdict[Path, tuple[tuple[str, Path], ...]] = defaultdict(tuple)
    for other in rules:
        if other is rule or other.looks.values != rule.looks.values or not _alike(rule, other):
            continue
        for image in rule.pairs.keys() & other.pairs.keys():
            (own, *_), (mask, *_) = rule.pairs[image], other.pairs[image]
            found[image] += ((_own_words(mask, own), mask),)
    return dict(found)


def _alike(one: Rule, other: Rule) -> bool:
    seen = _codes_of_both(one, other)
    if not seen or any(a.shape != b.shape for a, b in seen):
        return False
    common = sum(int(((a != 0) & (a == b)).sum()) for a, b in seen)
    either = sum(int(((a != 0) | (b != 0)).sum()) for a, b in seen)
    return common > _ALIKE * either and not all((a == b).all() for a, b in seen)


def _own_words(path: Path, other: Path) -> str:
    """The first words of a path that another path has not: what tells two observers apart."""
    mine, others = (re.split(r"[/_\-. ]", one.as_posix()) for one in (path, other))
    return next((word for word in mine if word and word not in others), path.parent.name)

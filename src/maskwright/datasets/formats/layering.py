"""Several rules for the same images that are masks of one class each: whether they are, and how they lie over another.

x_CRACK.png, x_LANE.png                  hardly overlap: classes
00000_skin.png, 00000_l_eye.png          one lies within the other: classes, the inner over the outer
x_1stHO.png, x_2ndHO.png                 overlap, and neither lies within the other: two opinions, no classes
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from maskwright.datasets.formats.matching import Match
from maskwright.datasets.formats.naming import MASK_WORDS, WILD
from maskwright.datasets.formats.rules import Rule
from maskwright.datasets.formats.several import Layered, foreground
from maskwright.datasets.sources import Source

_OVERLAP = 0.5
"""Fraction of the smaller of two masks of one class that may lie in the other; beyond it they are two opinions."""
_WITHIN, _SMALLER = 0.98, 0.8
"""Fraction of a mask that lies in another, and its area as a fraction of the other's, from which it is a part of it."""
_COMPARED = 3

Found = tuple[Match, Path, Source]
"""A match, an image of it, and the source of its mask."""


def layers(rules: Sequence[Rule]) -> list[Rule]:
    """Rules that each say where one class is, those at the bottom first; none where they are opinions."""
    binary = [
        rule for rule in rules if rule.looks.codes and all(len(np.unique(c)) <= 2 for c in rule.looks.codes.values())
    ]
    binary = [rule for rule in binary if len(rule.looks.values) <= 2 or rule.looks.colored]
    if len(binary) < 2 or len({class_name(rule, binary) for rule in binary}) < len(binary):
        return []
    shared, nested = 0, False
    area = {id(rule): 0 for rule in binary}
    for one, other in combinations(binary, 2):
        mine, others = one.pairs, other.pairs
        for image in list(mine.keys() & others.keys())[:_COMPARED]:
            first, second = (foreground(Source(path=masks[0]).read_mask()) for masks in (mine[image], others[image]))
            if first.shape != second.shape:
                return []
            small, large = sorted((int(first.sum()), int(second.sum())))
            area[id(one)] += int(first.sum())
            area[id(other)] += int(second.sum())
            if not small:
                continue
            shared += 1
            common = int((first & second).sum())
            if common < _OVERLAP * small:
                continue
            # A part is named beside its whole; masks in folders of their own are other tasks.
            if common < _WITHIN * small or small > _SMALLER * large or not _beside(one, other):
                return []
            nested = True
    if not shared:
        return []
    return sorted(binary, key=lambda rule: -area[id(rule)] if nested else class_name(rule, binary))


def _beside(one: Rule, other: Rule) -> bool:
    return one.matches[0].masks.folders == other.matches[0].masks.folders


def layered(rules: Sequence[Rule]) -> tuple[list[Found], list[str]]:
    """One mask for each class, the later over the earlier; and the names of the classes."""
    names = [class_name(rule, rules) for rule in rules]
    found: list[Found] = []
    seen: set[Path] = set()
    for rule in rules:
        for match in rule.matches:
            for image in match.pairs:
                if image in seen:
                    continue
                seen.add(image)
                parts = [(path, number) for number, one in enumerate(rules, 1) for path in one.pairs.get(image, ())]
                paths, numbers = zip(*parts, strict=True)
                found.append((match, image, Layered(path=paths[0], paths=paths, numbers=numbers)))
    return found, names


def class_name(rule: Rule, rules: Sequence[Rule]) -> str:
    """The words of a rule's masks that the other rules' masks lack."""
    shared = set.intersection(*(set(other.matches[0].masks.words) for other in rules))
    match = rule.matches[0]
    words = [w for part in (*match.masks.folders, match.masks.name) for w in part if w != WILD and w not in shared]
    own = [word for word in dict.fromkeys(words) if word not in MASK_WORDS] or list(dict.fromkeys(words))
    return " ".join(own)

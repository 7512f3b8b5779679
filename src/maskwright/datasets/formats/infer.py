"""Which files are images, which are their masks, and how their names correspond: found out, where no format is known.

Names are taken apart (`naming`), a few files of each series are opened (`looks`). Two series belong together where
their numbers agree, the sizes of their pictures too, and one of them looks like masks. A *rule* is what changes in the
name from image to mask; it holds over splits, scenes and folders. Several rules for the same images are masks of one
class each if they hardly overlap; else they are alternatives (two observers, a field of view, another task), and it is
the user who chooses. What one rule explains entirely is used and announced; nothing else is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from maskwright.datasets.formats.looks import FEW, Looks, look, refines, same_partition
from maskwright.datasets.formats.matching import Match, matches
from maskwright.datasets.formats.naming import (
    IMAGE_WORDS,
    MASK_WORDS,
    OTHER_WORDS,
    WILD,
    Series,
    listing,
    series_of,
    split_of,
)
from maskwright.datasets.formats.pairing import names_of
from maskwright.datasets.formats.reading import (
    Reading,
    changed,
    paths_of,
    pattern,
    relative,
)
from maskwright.datasets.formats.several import Layered, foreground
from maskwright.datasets.samples import Sample, Source
from maskwright.errors import listed

_FIELD = ", the same in every image: a field of view"
_OVERLAP = 0.5
"""Fraction of the smaller of two masks of one class that may lie in the other; beyond it they are two opinions."""


@dataclass(kw_only=True)
class _Rule:
    """Matches with one rule."""

    matches: list[Match]
    looks: Looks = field(default_factory=lambda: Looks({}, {}, 0, False))

    @property
    def pairs(self) -> dict[Path, tuple[Path, ...]]:
        return {image: masks for match in self.matches for image, masks in match.pairs.items()}

    @property
    def come(self) -> Counter[str]:
        return self.matches[0].come

    def describe(self, root: Path) -> str:
        """Patterns of images and masks."""
        first = self.matches[0]
        more = ""
        if len(self.matches) > 1:
            folders = [relative(root, match.images.folder) or "." for match in self.matches[1:]]
            more = f", and the same in {listed(list(dict.fromkeys(folders)), 4)}"
        words = changed(first)
        return f"{pattern(root, first.images)} with {pattern(root, first.masks)}{words}{more}"


def readings(root: Path) -> list[Reading]:
    """The ways to read a folder, best first; none where nothing looks like images with masks.

    Parameters
    ----------
    root
        The data folder. Nothing is written; a few files of each series are opened.
    """
    if not root.is_dir():
        return []
    files = listing(root)
    here = sum(file.path.parent == root for file in files)
    series = [one for one in series_of(files) if not _is_figure(one, root, here, len(files))]
    looks = {id(one): look([path for _, _, path in one.files]) for one in series}
    rules = _rules(matches(series, looks), looks)
    found = _alternatives(rules, root)
    same = {id(one) for one in series if looks[id(one)].masklike and looks[id(one)].constant}
    used = {path for reading in found for sample in reading.samples for path in paths_of(sample)}
    figures = [file.path for file in files if file.path not in {p for one in series for _, _, p in one.files}]
    return [replace(one, left_out=_left_out(one, root, series, used, figures, same)) for one in found]


def _rules(matches: Iterable[Match], looks: Mapping[int, Looks]) -> list[_Rule]:
    """Matches gathered by what changes in the name."""
    by_rule: defaultdict[tuple[object, ...], list[Match]] = defaultdict(list)
    for match in matches:
        by_rule[match.rule].append(match)
    rules = [_Rule(matches=found) for found in by_rule.values()]
    for rule in rules:
        parts = [looks[id(match.masks)] for match in rule.matches]
        rule.looks = Looks(
            {path: codes for part in parts for path, codes in part.codes.items()},
            {path: shape for part in parts for path, shape in part.shapes.items()},
            max(part.channels for part in parts),
            any(part.colored for part in parts),
        )
    return sorted(rules, key=lambda rule: -len(rule.pairs))


def _alternatives(rules: Sequence[_Rule], root: Path) -> list[Reading]:
    """Readings, best first."""
    if not rules:
        return []
    kinds: defaultdict[frozenset[int], list[_Rule]] = defaultdict(list)
    for rule in rules:
        kinds[frozenset(id(match.images) for match in rule.matches)].append(rule)
    kinds = _joined(kinds)
    ranked = sorted(kinds.values(), key=lambda group: (_image_rank(group[0]), -max(len(r.pairs) for r in group)))
    best = [group for group in ranked if _image_rank(group[0]) == _image_rank(ranked[0][0])]
    found: list[Reading] = []
    for group in best:
        found += _of_one_kind(group, root)
    return found


def _joined(kinds: Mapping[frozenset[int], list[_Rule]]) -> defaultdict[frozenset[int], list[_Rule]]:
    """Rules whose series of images overlap are about the same images."""
    joined: defaultdict[frozenset[int], list[_Rule]] = defaultdict(list)
    for key, rules in sorted(kinds.items(), key=lambda item: -len(item[0])):
        home = next((other for other in joined if other & key), key)
        joined[home] += rules
    return joined


def _of_one_kind(rules: list[_Rule], root: Path) -> list[Reading]:
    """Readings of one kind of images."""
    truths = [rule for rule in rules if not rule.looks.constant] or rules
    shades = [one for one in truths if any(_says_the_same(one, other) for other in truths if other is not one)]
    truths = [one for one in truths if one not in shades]
    numbered = [rule for rule in truths if rule.looks.soft and not _lossy(rule)]
    truths = [rule for rule in truths if rule not in numbered] or truths
    truths = [rule for rule in truths if not set(rule.come) & OTHER_WORDS] or truths
    truths.sort(key=lambda rule: _mask_rank(rule, truths))
    layered = _layers(truths)
    found = []
    finest = [rule for rule in truths if rule not in layered]
    if layered and not finest:
        return [_layered(layered, root)]
    found += [_reading(rule, root) for rule in finest]
    if layered:
        found.append(_layered(layered, root))
    return found


def _layers(rules: Sequence[_Rule]) -> list[_Rule]:
    """Rules that each say where one class is: two values, hardly any overlap, and names that differ in a word."""
    binary = [
        rule for rule in rules if rule.looks.codes and all(len(np.unique(c)) <= 2 for c in rule.looks.codes.values())
    ]
    binary = [rule for rule in binary if len(rule.looks.values) <= 2 or rule.looks.colored]
    if len(binary) < 2 or len({_class_name(rule, binary) for rule in binary}) < len(binary):
        return []
    shared, apart = 0, True
    for one, other in combinations(binary, 2):
        mine, others = one.pairs, other.pairs
        for image in list(mine.keys() & others.keys())[:3]:
            first, second = (foreground(_read(masks[0])) for masks in (mine[image], others[image]))
            smaller = min(int(first.sum()), int(second.sum()))
            if first.shape != second.shape:
                return []
            if smaller:
                shared += 1
                apart &= int((first & second).sum()) < _OVERLAP * smaller
    return binary if apart and shared else []


def _read(path: Path) -> np.ndarray:
    return Source(path=path).read_mask()


def _says_the_same(one: _Rule, other: _Rule) -> bool:
    """Whether a rule's masks are a coloured copy of another's."""
    if not (one.looks.colored and not other.looks.colored):
        return False
    mine, others = one.pairs, other.pairs
    seen = [
        (codes, other.looks.codes[others[image][0]])
        for image, masks in mine.items()
        if (codes := one.looks.codes.get(masks[0])) is not None
        and image in others
        and others[image][0] in other.looks.codes
    ]
    return bool(seen) and mine.keys() <= others.keys() and all(same_partition(a, b) for a, b in seen)


def _mask_rank(rule: _Rule, rules: Sequence[_Rule]) -> tuple[object, ...]:
    """Better truths first: named so, finer, covering more; then by name."""
    words = set(rule.come) | set(rule.matches[0].masks.words)
    named = bool(words & MASK_WORDS) - 2 * bool(words & OTHER_WORDS)
    finer = sum(_refines(rule, other) for other in rules if other is not rule)
    return -named, -finer, -min(len(rule.looks.values), FEW), -len(rule.pairs), str(rule.matches[0].masks.files[0][2])


def _refines(one: _Rule, other: _Rule) -> bool:
    mine, others = one.pairs, other.pairs
    seen = [
        (codes, other.looks.codes[others[image][0]])
        for image, masks in mine.items()
        if (codes := one.looks.codes.get(masks[0])) is not None
        and image in others
        and others[image][0] in other.looks.codes
    ]
    return bool(seen) and all(refines(a, b) and not refines(b, a) for a, b in seen)


def _image_rank(rule: _Rule) -> int:
    """0 for photographs and what is named as images, 1 for what has a word of depth, infrared and the like."""
    return int(any(set(match.images.words) & OTHER_WORDS for match in rule.matches))


def _lossy(rule: _Rule) -> bool:
    """Whether many values are due to compression or smoothing, not to numbered objects."""
    return any(match.masks.suffix in (".jpg", ".jpeg") for match in rule.matches) or bool(
        rule.looks.codes and max(int(codes.max(initial=0)) for codes in rule.looks.codes.values()) <= 255
        and all(len(np.unique(codes)) > 24 for codes in rule.looks.codes.values())
        and rule.looks.channels == 1
    )  # fmt: skip


def _is_figure(series: Series, root: Path, here: int, files: int) -> bool:
    """Whether this is a picture or two beside the folders of the data."""
    return series.folder == root and 2 * here < files


def _reading(rule: _Rule, root: Path) -> Reading:
    objects = any(len(masks) > 1 for masks in rule.pairs.values())
    samples = _samples(
        root,
        [
            (match, image, Source(path=masks[0]) if len(masks) == 1 and not objects else
             Layered(path=masks[0], paths=masks, numbers=(1,) * len(masks)))
            for match in rule.matches for image, masks in match.pairs.items()
        ],
    )  # fmt: skip
    merged = "; the masks of its objects are merged" if objects else ""
    return Reading(
        what=rule.describe(root) + merged,
        samples=samples,
        alone=_alone(rule),
        doubtful=any(match.doubtful for match in rule.matches),
        names=("background", "foreground") if objects else (),
    )


def _layered(rules: Sequence[_Rule], root: Path) -> Reading:
    """One mask for each class, the later over the earlier."""
    names = sorted(_class_name(rule, rules) for rule in rules)
    by_name = {_class_name(rule, rules): rule.pairs for rule in rules}
    found: list[tuple[Match, Path, Source]] = []
    seen: set[Path] = set()
    for rule in rules:
        for match in rule.matches:
            for image in match.pairs:
                if image in seen:
                    continue
                seen.add(image)
                parts = [
                    (path, number) for number, name in enumerate(names, 1) for path in by_name[name].get(image, ())
                ]
                paths, numbers = zip(*parts, strict=True)
                found.append((match, image, Layered(path=paths[0], paths=paths, numbers=numbers)))
    images = {path for rule in rules for match in rule.matches for _, _, path in match.images.files}
    what = (
        f"{pattern(root, rules[0].matches[0].images)} with a mask for each class ({', '.join(names)}); where they "
        f"overlap, {'the later in this order is' if len(names) > 2 else names[-1] + ' is'} on top"
    )
    return Reading(
        what=what,
        samples=_samples(root, found),
        alone=tuple(sorted(images - seen)),
        names=("background", *names),
    )


def _class_name(rule: _Rule, rules: Sequence[_Rule]) -> str:
    """The words of a rule's masks that the other rules' masks lack."""
    shared = set.intersection(*(set(other.matches[0].masks.words) for other in rules))
    match = rule.matches[0]
    words = [w for part in (*match.masks.folders, match.masks.name) for w in part if w != WILD and w not in shared]
    own = [word for word in dict.fromkeys(words) if word not in MASK_WORDS] or list(dict.fromkeys(words))
    return " ".join(own)


def _samples(root: Path, found: Sequence[tuple[Match, Path, Source]]) -> tuple[Sample, ...]:
    """Samples with ids, splits and groups."""
    names = names_of([image for _, image, _ in found])
    splits = [_split(match) for match, _, _ in found]
    known = {split for split in splits if split is not None}
    groups = [_group(root, match, image) for match, image, _ in found]
    some = len(set(groups)) > 1 and (len(set(groups)) < len(groups) or any("/" in g or WILD in g for g in groups))
    return tuple(
        Sample(
            id=name if split is None or len(known) < 2 else f"{split}/{name}",
            image=Source(path=image),
            mask=mask,
            split=split if len(known) > 1 else None,
            group=group if some and group else None,
        )
        for (_, image, mask), name, split, group in zip(found, names, splits, groups, strict=True)
    )


def _split(match: Match) -> str | None:
    return match.images.split() or match.masks.split()


def _group(root: Path, match: Match, image: Path) -> str:
    """The folders of an image that are no role or split: its scene, patient or video."""
    parts = image.relative_to(root).parts[:-1]
    roles = IMAGE_WORDS | MASK_WORDS | set(match.gone)
    kept = [
        part
        for words, part in zip(match.images.folders, parts, strict=False)
        if not set(words) & roles and any(split_of(word) is None for word in words)
    ]
    return "/".join(kept)


def _alone(rule: _Rule) -> tuple[Path, ...]:
    """Files of the series of a rule that have no partner."""
    pairs = rule.pairs
    used = {path for masks in pairs.values() for path in masks}
    images = {path for match in rule.matches for _, _, path in match.images.files}
    masks = {path for match in rule.matches for _, _, path in match.masks.files}
    return tuple(sorted((images - pairs.keys()) | (masks - used)))


def _left_out(
    reading: Reading, root: Path, series: Sequence[Series], used: set[Path], figures: Sequence[Path], same: set[int]
) -> tuple[str, ...]:
    own = {path for sample in reading.samples for path in paths_of(sample)}
    others = [
        f"{pattern(root, one)} ({len(one.files)}{_FIELD if id(one) in same else ''})"
        for one in series
        if not any(path in own or path in reading.alone for _, _, path in one.files)
    ]
    others += [relative(root, path) for path in figures]
    return (f"{root}: not read: {listed(others)}",) if others else ()

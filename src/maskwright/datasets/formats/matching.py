"""Series of images and series of masks that belong together, and who is whose."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskwright.datasets.formats.looks import Looks
from maskwright.datasets.formats.naming import IMAGE_WORDS, MASK_WORDS, WILD, Series, split_of
from maskwright.datasets.samples import proportional

_ENOUGH = 0.5
"""Fraction of a series that has to have partners in the other."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """A series of images and one of masks, and who is whose."""

    images: Series
    masks: Series
    pairs: Mapping[Path, tuple[Path, ...]]
    """Masks of each image: one, or one for each object."""
    gone: Counter[str]
    """Words of the image's name that the mask's lacks; those of splits do not count."""
    come: Counter[str]
    """Words of the mask's name that the image's lacks."""

    @property
    def strange(self) -> int:
        """Words that differ and tell neither images nor masks: places, scenes, other things."""
        known = IMAGE_WORDS | MASK_WORDS
        return sum(count for words in (self.gone, self.come) for word, count in words.items() if word not in known)

    @property
    def distance(self) -> tuple[int, bool]:
        """How far the names of images and masks are apart: strange words, and whether only one is in a split."""
        return self.strange, self.images.split() != self.masks.split()

    @property
    def doubtful(self) -> bool:
        """Whether names exchange a word for one that does not name masks."""
        gone = {word for word in self.images.name if word != WILD} - set(self.masks.name)
        come = {word for word in self.masks.name if word != WILD} - set(self.images.name)
        return bool(gone) and bool(come) and not come & (MASK_WORDS | set(self.masks.folder.name.casefold().split()))

    @property
    def rule(self) -> tuple[object, ...]:
        """What changes from image to mask, the same for all splits and scenes."""
        words = (tuple(sorted(part)) for part in (self.gone, self.come))
        return (*words, self.images.suffix, self.masks.suffix)


def matches(series: Sequence[Series], looks: Mapping[int, Looks]) -> list[Match]:
    """Series of images and masks whose numbers agree; each series of masks with the images nearest to its name."""
    found: list[Match] = []
    for masks in series:
        if not _may_be_masks(masks, looks[id(masks)]):
            continue
        candidates = [
            match
            for images in series
            if images is not masks and not _surely_masks(images, looks[id(images)])
            if (match := _match(images, masks)) is not None and _sizes_agree(match, looks)
        ]
        if candidates:
            nearest = min(match.distance for match in candidates)
            found += [match for match in candidates if match.distance == nearest]
    return found


_KEYS = (
    ("numbers", "numbers"),
    ("full_numbers", "full_numbers"),
    ("numbers", "full_numbers"),
    ("full_numbers", "numbers"),
    ("whole_names", "whole_names"),
)
"""Properties of a series of images and of one of masks that may agree, in the order in which they are tried."""


def _match(images: Series, masks: Series) -> Match | None:
    """Who is whose, where the numbers of at least half of both series agree."""
    if images.split() and masks.split() and images.split() != masks.split():
        return None
    for mine, theirs in _KEYS:
        own, other = getattr(images, mine), getattr(masks, theirs)
        if own is None or other is None:
            continue
        common = own.keys() & other.keys()
        if len(common) >= _ENOUGH * min(len(own), len(other)) and (len(common) > 1 or len(own) == len(other) == 1):
            pairs = {own[key]: (other[key],) for key in own if key in common}
            return _made(images, masks, pairs)
        objects: defaultdict[tuple[str, ...], list[Path]] = defaultdict(list)
        for key, path in other.items():
            for end in range(len(key) - 1, 0, -1):
                if key[:end] in own:
                    objects[key[:end]].append(path)
                    break
        if len(objects) >= max(2.0, _ENOUGH * len(own)) and sum(map(len, objects.values())) == len(other):
            return _made(images, masks, {own[key]: tuple(objects[key]) for key in own if key in objects})
    return None


def _made(images: Series, masks: Series, pairs: Mapping[Path, tuple[Path, ...]]) -> Match:
    own, others = images.words, masks.words
    return Match(images=images, masks=masks, pairs=pairs, gone=_without(own, others), come=_without(others, own))


def _without(words: Counter[str], others: Counter[str]) -> Counter[str]:
    """Words that the others lack; how often a word occurs does not count, since folders repeat what files are named."""
    return Counter({word: count for word, count in words.items() if word not in others and split_of(word) is None})


def _may_be_masks(series: Series, looks: Looks) -> bool:
    """Whether the files look like masks; where none could be opened, whether they are named so."""
    return looks.masklike if looks.shapes else bool(set(series.words) & MASK_WORDS)


def _surely_masks(series: Series, looks: Looks) -> bool:
    """Whether these cannot be the images: they look like masks, and nothing names them images.

    Dark micrographs have flat regions too, of far more values than a mask.
    """
    words = set(series.words)
    return looks.masklike and (bool(words & MASK_WORDS) or not (words & IMAGE_WORDS or looks.soft))


def _sizes_agree(match: Match, looks: Mapping[int, Looks]) -> bool:
    """Whether images and masks that were both opened are equally large, or one of them by one factor."""
    own, other = looks[id(match.images)].shapes, looks[id(match.masks)].shapes
    return all(
        own[image] == other[masks[0]] or proportional(own[image], other[masks[0]])
        for image, masks in match.pairs.items()
        if image in own and masks[0] in other
    )

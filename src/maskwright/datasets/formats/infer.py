"""Which files are images, which are their masks, and how their names correspond: found out, where no format is known.

Names are taken apart (`naming`), a few files of each series are opened (`looks`). Two series belong together where
their numbers agree, the sizes of their pictures too, and one of them looks like masks (`matching`). A *rule* is what
changes in the name from image to mask (`rules`); it holds over splits, scenes and folders. Several rules for the same
images are masks of one class each if they hardly overlap, or lie one within the other (`layering`); else they are
alternatives (two observers, a field of view, another task), and it is the user who chooses. What one rule explains
entirely is used and announced; nothing else is.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from maskwright.datasets.formats.bands import Bands
from maskwright.datasets.formats.both import readings_of_both
from maskwright.datasets.formats.layering import Found, layered, layers
from maskwright.datasets.formats.listed_splits import with_listed_splits
from maskwright.datasets.formats.looks import Looks, look
from maskwright.datasets.formats.matching import Match, matches
from maskwright.datasets.formats.naming import (
    IMAGE_WORDS,
    MASK_WORDS,
    OTHER_WORDS,
    WILD,
    Named,
    Series,
    listing,
    series_of,
    split_of,
)
from maskwright.datasets.formats.pairing import names_of
from maskwright.datasets.formats.reading import Reading, paths_of, pattern, relative
from maskwright.datasets.formats.rules import Rule, by_rank, gathered, image_rank, raters, says_the_same
from maskwright.datasets.formats.several import Layered
from maskwright.datasets.formats.spectral import bands_of
from maskwright.datasets.samples import Sample, Source
from maskwright.errors import listed

_FIELD = ", the same in every image: a field of view"


def readings(root: Path) -> list[Reading]:
    """The ways to read a folder, best first; none where nothing looks like images with masks.

    Parameters
    ----------
    root
        The data folder. Nothing is written; a few files of each series are opened.
    """
    if not root.is_dir():
        return []
    with _uncollected():
        return _readings(root)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the search for cycles: of 100,000 names, it would go through all again and again, and find none."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _readings(root: Path) -> list[Reading]:
    files = listing(root)
    series, looks = _series(files, root)
    found = _alternatives(gathered(matches(series, looks), looks, series), root) or readings_of_both(root, series)
    found = [_once(with_listed_splits(reading, root)) for reading in found]
    same = {id(one) for one in series if looks[id(one)].masklike and looks[id(one)].constant}
    used = {path for one in series for _, _, path in one.files}
    figures = [file.path for file in files if file.path not in used]
    return [replace(one, left_out=(*one.left_out, *_left_out(one, root, series, figures, same))) for one in found]


def _series(files: Sequence[Named], root: Path) -> tuple[list[Series], dict[int, Looks]]:
    """Series of files, and what each looks like.

    A word that images and masks share tells neither: a person, a place, a video. Taken for a part of the number, it no
    longer divides the series.
    """
    here = sum(file.path.parent == root for file in files)

    def seen(shared: frozenset[str]) -> tuple[list[Series], dict[int, Looks]]:
        found = [one for one in series_of(files, shared) if not _is_figure(one, root, here, len(files))]
        return found, {id(one): look([path for _, _, path in one.files]) for one in found}

    series, looks = seen(frozenset())
    words: dict[bool, set[str]] = {True: set(), False: set()}
    for one in series:
        words[looks[id(one)].masklike] |= set(one.words)
    shared = words[True] & words[False]
    # One series of images and one of masks are divided by nothing.
    return seen(frozenset(shared)) if shared and len(series) > 2 else (series, looks)


def _alternatives(rules: Sequence[Rule], root: Path) -> list[Reading]:
    """Readings, best first."""
    if not rules:
        return []
    bands = bands_of(rules)
    if bands:
        return [_of_bands(rules, bands, root)]
    kinds: defaultdict[frozenset[int], list[Rule]] = defaultdict(list)
    for rule in rules:
        kinds[frozenset(id(match.images) for match in rule.matches)].append(rule)
    kinds = _joined(kinds)
    ranked = sorted(kinds.values(), key=lambda group: (image_rank(group[0]), -max(len(r.pairs) for r in group)))
    best = [group for group in ranked if image_rank(group[0]) == image_rank(ranked[0][0])]
    found: list[Reading] = []
    for group in best:
        found += _of_one_kind(group, root)
    # Of copies of the images, those without loss come first.
    return sorted(found, key=lambda reading: reading.lossy) if len(best) > 1 else found


def _of_bands(rules: Sequence[Rule], bands: Mapping[Path, tuple[Path, ...]], root: Path) -> Reading:
    """The reading of images whose bands are files."""
    first = next(rule for rule in rules if next(iter(bands.values()))[0] in rule.pairs)
    reading = _reading(first, root)
    samples = tuple(
        replace(sample, image=Bands(path=paths[0], bands=paths))
        for sample in reading.samples
        if sample.mask is not None and (paths := bands[sample.mask.path])
    )
    count = len(next(iter(bands.values())))
    return replace(reading, samples=samples, what=f"{reading.what}, and {count - 1} more bands in files of their own")


def _joined(kinds: Mapping[frozenset[int], list[Rule]]) -> defaultdict[frozenset[int], list[Rule]]:
    """Rules whose series of images overlap are about the same images."""
    joined: defaultdict[frozenset[int], list[Rule]] = defaultdict(list)
    for key, rules in sorted(kinds.items(), key=lambda item: -len(item[0])):
        home = next((other for other in joined if other & key), key)
        joined[home] += rules
    return joined


def _of_one_kind(rules: list[Rule], root: Path) -> list[Reading]:
    """Readings of one kind of images."""
    truths = [rule for rule in rules if not rule.looks.constant] or rules
    copies = [one for one in truths if any(says_the_same(one, other) for other in truths if other is not one)]
    truths = [one for one in truths if one not in copies]
    numbered = [rule for rule in truths if rule.looks.soft and not rule.lossy]
    truths = [rule for rule in truths if rule not in numbered] or truths
    truths = [rule for rule in truths if not rule.come & OTHER_WORDS] or truths
    truths = by_rank(truths)
    classes = layers(truths)
    single = [rule for rule in truths if rule not in classes]
    found = [replace(_reading(rule, root), raters=raters(rule, single)) for rule in single]
    if classes:
        found.append(_layered(classes, root))
    return found


def _is_figure(series: Series, root: Path, here: int, files: int) -> bool:
    """Whether this is a picture or two beside the folders of the data."""
    return series.folder == root and 2 * here < files


def _reading(rule: Rule, root: Path) -> Reading:
    objects = any(len(masks) > 1 for masks in rule.pairs.values())
    owners: dict[Path, Match] = {}
    for match in rule.matches:
        for image in match.pairs:
            owners.setdefault(image, match)
    samples = _samples(
        root,
        [
            (match, image, Source(path=masks[0]) if not objects else
             Layered(path=masks[0], paths=masks, numbers=(1,) * len(masks)))
            for image, match in owners.items() if (masks := rule.pairs[image])
        ],
    )  # fmt: skip
    merged = "; the masks of its objects are merged" if objects else ""
    return Reading(
        what=rule.describe(root) + merged,
        samples=samples,
        alone=_alone(rule),
        doubtful=any(match.doubtful for match in rule.matches),
        lossy=rule.lossy,
        names=("background", "foreground") if objects else (),
    )


def _layered(rules: Sequence[Rule], root: Path) -> Reading:
    """One mask for each class, the later over the earlier."""
    found, names = layered(rules)
    images = {path for rule in rules for match in rule.matches for _, _, path in match.images.files}
    what = (
        f"{pattern(root, rules[0].matches[0].images)} with a mask for each class ({', '.join(names)}); where they "
        f"overlap, {'the later in this order is' if len(names) > 2 else names[-1] + ' is'} on top"
    )
    return Reading(
        what=what,
        samples=_samples(root, found),
        alone=tuple(sorted(images - {image for _, image, _ in found})),
        names=("background", *names),
    )


def _samples(root: Path, found: Sequence[Found]) -> tuple[Sample, ...]:
    """Samples with ids, splits and groups."""
    names = names_of([image for _, image, _ in found])
    matches_found = {id(match): match for match, _, _ in found}
    by_match = {key: match.images.split() or match.masks.split() for key, match in matches_found.items()}
    splits = [by_match[id(match)] for match, _, _ in found]
    known = {split for split in splits if split is not None}
    folders = {(id(match), image.parent): (match, image) for match, image, _ in found}
    group_of = {key: _group(root, match, image) for key, (match, image) in folders.items()}
    groups = [group_of[id(match), image.parent] for match, image, _ in found]
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


def _alone(rule: Rule) -> tuple[Path, ...]:
    """Files of the series of a rule that have no partner."""
    pairs = rule.pairs
    used = {path for masks in pairs.values() for path in masks}
    images = {path for match in rule.matches for _, _, path in match.images.files}
    masks = {path for match in rule.matches for _, _, path in match.masks.files}
    return tuple(sorted((images - pairs.keys()) | (masks - used)))


def _once(reading: Reading) -> Reading:
    """Without images that are there a second time in a folder of a split: the same names and sizes, file by file."""
    in_splits = {_name_and_size(sample.image.path) for sample in reading.samples if sample.split is not None}
    rest = [sample for sample in reading.samples if sample.split is None]
    if not in_splits or not rest or not all(_name_and_size(sample.image.path) in in_splits for sample in rest):
        return reading
    note = f"{len(rest)} images are there twice, the same in splits and outside of them: read from the splits"
    samples = tuple(sample for sample in reading.samples if sample.split is not None)
    return replace(reading, samples=samples, left_out=(*reading.left_out, note))


def _name_and_size(path: Path) -> tuple[str, int]:
    return path.name, path.stat().st_size


def _left_out(
    reading: Reading, root: Path, series: Sequence[Series], figures: Sequence[Path], same: set[int]
) -> tuple[str, ...]:
    own = {path for sample in reading.samples for path in paths_of(sample)}
    others = [
        f"{pattern(root, one)} ({len(one.files)}{_FIELD if id(one) in same else ''})"
        for one in series
        if not any(path in own or path in reading.alone for _, _, path in one.files)
    ]
    others += [relative(root, path) for path in figures]
    return (f"{root}: not read: {listed(others)}",) if others else ()

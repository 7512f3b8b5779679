"""What should not be on both sides of a split: the same image, the same group, images that are nearly the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from hashlib import blake2b
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.datasets.near_duplicates import near_duplicates, small_pictures
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import Sample
from maskwright.errors import listed

if TYPE_CHECKING:
    from maskwright.check.scan_result import Labels, Picture, ScanResult

__all__ = ["groups_in_two_splits", "near_duplicates_across", "same_files", "same_images"]

_SPLITS = ("train", "val", "test")


def same_images(scanned: ScanResult) -> list[Problem]:
    """Images with the same pixels: an error across splits, a warning within one."""
    masks: dict[str, Labels] = {sample.id: labels for sample, labels in scanned.labels}
    by_digest: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample, picture in scanned.pictures:
        if not all(channel.constant for channel in picture.channels):
            by_digest[picture.digest].append(sample)
    problems = []
    for samples in by_digest.values():
        if len(samples) < 2:
            continue
        splits = list(dict.fromkeys(sample.split or "train" for sample in samples))
        digests = {masks[sample.id].digest for sample in samples if sample.id in masks}
        differ = ", with different masks" if len(digests) > 1 else ""
        # The one to be removed first: of the training images.
        ordered = sorted(samples, key=lambda sample: _SPLITS.index(sample.split or "train"))
        names = listed([sample.id for sample in ordered], 4)
        if len(splits) > 1:
            problems.append(
                Problem(
                    level="error",
                    kind="same-image",
                    files=tuple(sample.image.path for sample in ordered),
                    what=f"The same image is in {' and '.join(splits)}{differ}: {names}.",
                    remedy="Scores on an image that was trained on say nothing. Remove it from training (check --fix "
                    "does).",
                    sample=ordered[0].id,
                )
            )
        else:
            problems.append(
                Problem(
                    level="warning",
                    kind="repeated-image",
                    files=tuple(sample.image.path for sample in ordered),
                    what=f"The same image is there {len(ordered)} times{differ}: {names}.",
                    remedy="Keep one: copies count double, and one may be held out for validation while training sees "
                    "the other.",
                    sample=ordered[0].id,
                )
            )
    return problems


def groups_in_two_splits(samples: Sequence[Sample]) -> list[Problem]:
    """Groups (a video, a slide, a patient) that are trained on and scored on."""
    by_group: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.group is not None and sample.split is not None:
            by_group[sample.group].append(sample)
    problems = []
    for group, members in by_group.items():
        counts = {split: sum(sample.split == split for sample in members) for split in _SPLITS}
        there = [split for split, count in counts.items() if count]
        if len(there) < 2:
            continue
        smallest = min(there, key=lambda split: counts[split])
        first = [sample for sample in members if sample.split == smallest]
        described = ", ".join(f"{counts[split]} images in {split}" for split in there)
        problems.append(
            Problem(
                level="error",
                kind="same-group",
                files=tuple(sample.image.path for sample in (*first, *(s for s in members if s not in first))),
                what=f"The group {group!r} is in more than one split: {described}.",
                remedy="Images of one group resemble each other, so that scores flatter. Keep each group in one split.",
                sample=first[0].id,
            )
        )
    return problems


def near_duplicates_across(scanned: ScanResult) -> list[Problem]:
    """Images nearly the same as one of another split: resized, recompressed, flipped, the next frame."""
    by_split: defaultdict[str, list[tuple[Sample, Picture]]] = defaultdict(list)
    for sample, picture in scanned.pictures:
        by_split[sample.split or "train"].append((sample, picture))
    small = {
        split: small_pictures([picture.small for _, picture in by_split[split]]) for split in _SPLITS if by_split[split]
    }
    problems = []
    for one, other in combinations(small, 2):
        for match in near_duplicates(small[one], small[other]):
            (first, picture), (second, copy) = by_split[one][match.first], by_split[other][match.second]
            if picture.digest == copy.digest:
                continue
            turned = f", {match.turn}," if match.turn else ""
            problems.append(
                Problem(
                    level="warning",
                    kind="near-duplicate",
                    files=(first.image.path, second.image.path),
                    what=f"{second.id}{turned} is nearly the same image as {first.id} (correlation "
                    f"{match.correlation:.2f} in detail).",
                    remedy=f"Look at both; if one is a copy or the next frame of the other, remove it from {one}.",
                    sample=first.id,
                    numbers={"correlation": match.correlation},
                )
            )
    return problems


def same_files(samples: Sequence[Sample]) -> list[Problem]:
    """Images of two splits whose files are equal byte for byte; only files of equal size are read."""
    by_size: defaultdict[tuple[str, int], list[Sample]] = defaultdict(list)
    for sample in samples:
        by_size[sample.image.identity(), sum(path.stat().st_size for path in sample.image.files)].append(sample)
    by_content: defaultdict[bytes, list[Sample]] = defaultdict(list)
    for alike in by_size.values():
        if len({sample.split for sample in alike}) > 1:
            for sample in alike:
                own = sample.image.identity().encode(errors="surrogatepass")
                by_content[_digest(sample.image.files) + own].append(sample)
    problems = []
    for same in by_content.values():
        splits = list(dict.fromkeys(sample.split or "train" for sample in same))
        if len(splits) > 1:
            ordered_samples = sorted(same, key=lambda sample: splits.index(sample.split or "train"))
            problems.append(
                Problem(
                    level="error",
                    kind="same-image",
                    files=tuple(sample.image.path for sample in ordered_samples),
                    what=f"The same image is in {' and '.join(splits)}: "
                    f"{listed([sample.id for sample in ordered_samples], 4)}.",
                    remedy="Scores on an image that was trained on say nothing. Remove it from training.",
                    sample=ordered_samples[0].id,
                )
            )
    return problems


def _digest(files: tuple[Path, ...]) -> bytes:
    digest = blake2b(digest_size=16)
    for path in files:
        digest.update(path.read_bytes())
    return digest.digest()

"""Bands of an image in folders or files of their own, where no format is known: train_red/red_1.TIF, train_nir/..."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskwright.datasets.formats.rules import Rule

BANDS = ("coastal", "red", "green", "blue", "rededge", "nir", "swir", "thermal")
"""Words that name bands, in the order of channels."""


def bands_of(rules: Sequence[Rule]) -> dict[Path, tuple[Path, ...]]:
    """Files of all bands, by mask, where rules have the same masks and images that differ in the name of a band only.

    Empty where they do not, or a mask lacks a band that others have.
    """
    named: dict[str, Rule] = {}
    rest: set[frozenset[str]] = set()
    for rule in rules:
        words = set(rule.matches[0].images.words)
        own = words & set(BANDS)
        if len(own) != 1 or (name := own.pop()) in named:
            return {}
        named[name] = rule
        rest.add(frozenset(words - {name}))
    if len(named) < 2 or len(rest) > 1:
        return {}
    by_mask: dict[Path, list[Path]] = {}
    for name in sorted(named, key=BANDS.index):
        for image, (mask, *_) in named[name].pairs.items():
            by_mask.setdefault(mask, []).append(image)
    complete = all(len(paths) == len(named) for paths in by_mask.values())
    return {mask: tuple(paths) for mask, paths in by_mask.items()} if complete else {}

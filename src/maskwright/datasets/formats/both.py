"""Files that hold an image and its mask both: train_npz/case0005_slice000.npz with the arrays `image` and `label`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskwright.datasets.formats.naming import Series
from maskwright.datasets.formats.pairing import names_of
from maskwright.datasets.formats.reading import Reading, pattern
from maskwright.datasets.samples import Sample
from maskwright.datasets.sources import Source
from maskwright.imaging.images import ARRAY_SUFFIXES, image_and_mask_in

_LOOKED_AT = 3


def readings_of_both(root: Path, series: Sequence[Series]) -> list[Reading]:
    """One reading where all array files hold an array named as an image and one named as a mask; else none."""
    chosen: list[Series] = []
    names: tuple[str, str] | None = None
    for one in series:
        paths = [path for _, _, path in one.files]
        if one.suffix not in ARRAY_SUFFIXES:
            continue
        found = {image_and_mask_in(path) for path in paths[:: max(1, len(paths) // _LOOKED_AT)][:_LOOKED_AT]}
        if len(found) != 1 or None in found:
            continue
        names = names or found.pop()
        chosen.append(one)
    if not chosen or names is None:
        return []
    paths = [path for one in chosen for _, _, path in one.files]
    splits = {path: one.split() for one in chosen for _, _, path in one.files}
    known = len(set(splits.values()) - {None}) > 1
    samples = tuple(
        Sample(
            id=f"{splits[path]}/{name}" if known and splits[path] else name,
            image=Source(path=path),
            mask=Source(path=path),
            split=splits[path] if known else None,
        )
        for path, name in zip(paths, names_of(paths), strict=True)
    )
    shown = " and ".join(pattern(root, one) for one in chosen[:3])
    return [Reading(what=f"{shown}, with image ({names[0]}) and mask ({names[1]}) in one file", samples=samples)]

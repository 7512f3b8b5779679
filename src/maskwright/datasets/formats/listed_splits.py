"""Splits from text files that name the images of each: train.txt, metadata/validation.txt, ImageSets/val.txt."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from maskwright.datasets.formats.naming import split_of
from maskwright.datasets.formats.pairing import stem_of
from maskwright.datasets.formats.reading import Reading, relative
from maskwright.datasets.samples import Sample
from maskwright.errors import listed
from maskwright.imaging.images import IMAGE_SUFFIXES, split_suffix

_DEPTH = 4
"""Folders below the data folder in which lists are looked for."""
_LARGEST = 20_000_000


def with_listed_splits(reading: Reading, root: Path) -> Reading:
    """A reading whose samples are in no split, with those of lists, if the lists name all samples, and each once.

    A line is a name, or a path, of an image; or a group (a video). Lists that name some of the samples only are not
    followed, and the reading says so.
    """
    if any(sample.split is not None for sample in reading.samples):
        return reading
    lists = list(_lists(root))
    by_name: dict[str, list[Sample]] = {}
    for sample in reading.samples if lists else ():
        for name in {stem_of(sample.image.path), *((sample.group or "").rsplit("/", 1)[-1:])} - {""}:
            by_name.setdefault(name, []).append(sample)
    splits: dict[str, str] = {}
    used: list[str] = []
    for path, split in lists:
        named = [sample for line in _lines(path) for sample in by_name.get(line, ())]
        if not named:
            continue
        used.append(relative(root, path))
        for sample in named:
            if splits.setdefault(sample.id, split) != split:
                return _unused(reading, used, "name an image in two splits")
    if not used:
        return reading
    if len(splits) < len(reading.samples):
        return _unused(reading, used, f"name {len(splits)} of {len(reading.samples)} images")
    samples = tuple(replace(s, id=f"{splits[s.id]}/{s.id}", split=splits[s.id]) for s in reading.samples)
    if len(set(splits.values())) < 2:
        return reading
    return replace(reading, samples=samples, left_out=(*reading.left_out, f"splits are those of {listed(used)}"))


def _unused(reading: Reading, lists: list[str], why: str) -> Reading:
    return replace(reading, left_out=(*reading.left_out, f"{listed(lists)} {why}: not followed"))


def _lists(root: Path) -> Iterator[tuple[Path, str]]:
    """Text files whose name is that of one split, those nearest to the data folder first."""
    level = [root]
    for _ in range(_DEPTH):
        inner: list[Path] = []
        for folder in level:
            try:
                with os.scandir(folder) as entries:
                    found = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
            except OSError:
                continue
            inner += [folder / name for name, is_folder in found if is_folder and not name.startswith("__")]
            for name in [name for name, is_folder in found if not is_folder and name.lower().endswith(".txt")]:
                words = re.findall(r"[a-z]+", Path(name).stem.lower())
                splits = {split for word in words if (split := split_of(word)) is not None}
                if len(splits) == 1:
                    yield folder / name, splits.pop()
        level = inner


def _lines(path: Path) -> list[str]:
    """The first name of each line, without folders and suffix."""
    try:
        if path.stat().st_size > _LARGEST:
            return []
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return []
    names = [re.split(r"[,;\t]", line.strip().replace("\\", "/"))[0].strip() for line in text.splitlines()]
    found = [re.split(r"\s+(?=\S+\.\w{2,5}$)", name)[0].rsplit("/", 1)[-1] for name in names if name]
    return [split_suffix(name)[0] if split_suffix(name)[1] in IMAGE_SUFFIXES else name for name in found]

"""Generated data sets with exact masks, to try things without data of one's own: streets, cells and fields.

    street   RGB photographs of streets: sky, building, road, tree, car, person, sign
    cells    grey electron micrographs of nervous tissue: membrane, cell
    fields   aerial views of farmland in red, green, blue and near infrared: grass, crop, trees, road, roof, water

In all three colour alone does not tell the classes apart; shape, texture and surroundings do. Images are `H x W x C`,
masks uint8 `H x W` class indices in the order of `class_table`; every pixel is labelled.
"""

from __future__ import annotations

import difflib
import itertools
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskwright.datasets.classes import CLASSES_FILE, ClassTable, LabelClass
from maskwright.datasets.writing import FolderWriter, unfinished, written_aside
from maskwright.errors import SettingError, listed
from maskwright.synthetic import cells, fields, street

SMALLEST = 64
"""Least height and width of a scene, in pixels."""

SPLITS = ("train", "val", "test")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MOST = len(_LETTERS) ** 4  # scenes in a split: as many as there are names


@dataclass(frozen=True, kw_only=True)
class _Kind:
    draw: Callable[[np.random.Generator, tuple[int, int]], tuple[np.ndarray, np.ndarray]]
    key: int  # sets the kinds' random numbers apart; it never changes, so that a seed keeps its scene
    size: tuple[int, int]
    suffix: str
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]


_KINDS = {
    "street": _Kind(
        draw=street.street_scene,
        key=1,
        size=(192, 256),
        suffix=".png",
        names=street.CLASSES,
        colors=street.COLORS,
    ),
    "cells": _Kind(
        draw=cells.cells_scene,
        key=2,
        size=(256, 256),
        suffix=".png",
        names=cells.CLASSES,
        colors=cells.COLORS,
    ),
    "fields": _Kind(
        draw=fields.fields_scene,
        key=3,
        size=(256, 256),
        suffix=".tif",
        names=fields.CLASSES,
        colors=fields.COLORS,
    ),
}
KINDS = tuple(_KINDS)


def scene(kind: str, seed: int, size: tuple[int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Draw one scene: the image and its mask. The same kind, seed and size give the same scene.

    Parameters
    ----------
    kind
        One of `KINDS`.
    seed
        0 or more.
    size
        Height and width in pixels, 64 or more; by default 192 x 256 for streets and 256 x 256 for the others. Streets
        are drawn larger at a larger size; cells and fields show more.

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        The image, `H x W x 3` uint8 (street, RGB), `H x W x 1` uint8 (cells), or `H x W x 4` uint16 (fields: red,
        green, blue and near infrared as reflectance x 10,000); and its mask, uint8 `H x W`.

    Raises
    ------
    SettingError
        The kind is unknown, or the seed or the size is out of range.
    """
    chosen = _kind(kind)
    height, width = _checked_size(chosen, size)
    if seed < 0:
        raise SettingError(f"seed = {seed}: expected 0 or more.")
    return chosen.draw(np.random.default_rng([seed, chosen.key]), (height, width))


def class_table(kind: str) -> ClassTable:
    """The classes of a kind, in index order; raises SettingError if the kind is unknown."""
    chosen = _kind(kind)
    pairs = enumerate(zip(chosen.names, chosen.colors, strict=True))
    return ClassTable(
        classes=tuple(LabelClass(name=name, color=color, values=(index,)) for index, (name, color) in pairs)
    )


def write_dataset(
    folder: Path,
    kind: str,
    counts: Mapping[str, int],
    seed: int = 0,
    size: tuple[int, int] | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a data set that Maskwright reads: `folder/SPLIT/images`, `folder/SPLIT/masks` and `folder/classes.toml`.

    `counts` says how many scenes each split gets, for example {"train": 120, "test": 24}. A scene depends on the seed,
    its split and its place there only, so that more training scenes leave the test scenes as they are. Streets and
    cells are PNG, fields four-band TIFF, masks palette PNG. A new folder appears when it is complete, and one that is
    added to is marked as unfinished until then; if the process is killed, the same call completes the data set.
    `progress` is called with the scenes written so far and the sum of `counts`.

    Raises
    ------
    SettingError
        The kind is unknown, a number is out of range, or the folder holds other data, with which the scenes would mix.
    """
    chosen = _kind(kind)
    _checked_size(chosen, size)
    if seed < 0:
        raise SettingError(f"seed = {seed}: expected 0 or more.")
    for split, count in counts.items():
        if split not in SPLITS or not 0 <= count <= _MOST:
            raise SettingError(f"{split} = {count} scenes: expected 0 to {_MOST} for {', '.join(SPLITS)}.")
    classes = class_table(kind)
    if not sum(counts.values()):
        raise SettingError("No scenes were asked for.", expected="Expected at least one for train, val or test.")
    _refuse_other_data(folder, chosen, kind, counts, classes)
    asked = {"verb": "demo", "kind": kind, "seed": seed, "size": None if size is None else list(size)}
    if folder.exists() and any(folder.iterdir()):
        with unfinished(folder, asked):
            _write_scenes(FolderWriter(folder, classes), chosen, kind, counts, seed, size, progress, anew=True)
        return
    with written_aside(folder, asked) as aside:
        _write_scenes(FolderWriter(aside, classes), chosen, kind, counts, seed, size, progress, anew=False)


def _write_scenes(
    writer: FolderWriter,
    chosen: _Kind,
    kind: str,
    counts: Mapping[str, int],
    seed: int,
    size: tuple[int, int] | None,
    progress: Callable[[int, int], None] | None,
    *,
    anew: bool,
) -> None:
    """Write all scenes, or without `anew` those that an interrupted call has not written."""
    writer.put_classes()
    written = 0
    for split, count in counts.items():
        for index, name in enumerate(_names(kind, count)):
            if anew or not (writer.home(split) / "images" / f"{name}{chosen.suffix}").exists():
                image, mask = scene(kind, _scene_seed(seed, split, index), size)
                writer.put(split, name, image, mask)
            written += 1
            if progress is not None:
                progress(written, sum(counts.values()))


def _kind(name: str) -> _Kind:
    if name not in _KINDS:
        near = difflib.get_close_matches(name, KINDS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise SettingError(
            f"There is no kind of generated scene {name!r}.", expected=f"Expected one of: {', '.join(KINDS)}.{hint}"
        )
    return _KINDS[name]


def _checked_size(kind: _Kind, size: tuple[int, int] | None) -> tuple[int, int]:
    height, width = size or kind.size
    if min(height, width) < SMALLEST:
        raise SettingError(f"size = {height} {width}: expected a height and a width of {SMALLEST} pixels or more.")
    return height, width


def _scene_seed(seed: int, split: str, index: int) -> int:
    """A seed of 128 bits for one scene of a data set."""
    words = np.random.SeedSequence([seed, zlib.crc32(split.encode()), index]).generate_state(2, np.uint64)
    return int(words[0]) << 64 | int(words[1])


def _names(kind: str, count: int) -> list[str]:
    """street-aaaa, street-aaab, ...: no numbers, which would make them look like frames of a sequence."""
    return [f"{kind}-{''.join(letters)}" for letters in itertools.islice(itertools.product(_LETTERS, repeat=4), count)]


def _refuse_other_data(folder: Path, chosen: _Kind, kind: str, counts: Mapping[str, int], classes: ClassTable) -> None:
    """Raise SettingError if writing would leave a mixture of these scenes and what is there."""
    table = folder / CLASSES_FILE
    if table.exists() and ClassTable.load(table) != classes:
        raise SettingError(
            f"{table} declares other classes than generated {kind} scenes have, so {folder} holds other data.",
            remedy="Choose another folder, or remove that one.",
            file=table,
        )
    for split in SPLITS:
        expected = set(_names(kind, counts.get(split, 0)))
        for part, suffix in (("images", chosen.suffix), ("masks", ".png")):
            there = sorted((folder / split / part).glob("*"))
            others = [path.name for path in there if path.stem not in expected or path.suffix != suffix]
            others = [name for name in others if not name.startswith(".")]
            if others:
                raise SettingError(
                    f"{folder / split / part} already holds files that are not of these scenes: {listed(others)}.",
                    remedy="Choose another folder, or remove that one.",
                )

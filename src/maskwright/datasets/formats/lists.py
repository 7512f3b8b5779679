"""Split text files: train.txt, val.txt and test.txt name the images of each split, line by line.

    DATA/train.txt  val.txt  test.txt   or in DATA/splits, lists, metadata, ImageSets, ImageSets/Segmentation

A line is a stem or a file name, of an image in DATA/images with its mask in DATA/masks (and the other names that
`formats.folder` knows); or an image and its mask, with a blank, tab or comma between them, as in the lists of SegNet:

    /SegNet/CamVid/train/0001TP_006690.png /SegNet/CamVid/trainannot/0001TP_006690.png

Paths are relative to the list or to DATA; of paths from another machine, folders are taken off the front until the file
is found. One list may be given in place of the folder. Empty lines and lines with # are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskwright.datasets.formats import folder
from maskwright.datasets.formats.layout import SPLITS, Layout, counted, found, is_labels, split_named, table_in
from maskwright.datasets.formats.pairing import files_in, is_image, matched, names_of, stem_of
from maskwright.datasets.problems import Problem, report
from maskwright.datasets.samples import Sample, Source
from maskwright.datasets.texts import read_text
from maskwright.errors import DataError, EmptyDataError, PairingError, listed
from maskwright.imaging.images import IMAGE_SUFFIXES

_PLACES = (".", "splits", "lists", "metadata", "ImageSets/Segmentation", "ImageSets")
_ENDINGS = "|".join(suffix[1:] for suffix in sorted(IMAGE_SUFFIXES))
_PAIR = re.compile(rf"(.+?\.(?:{_ENDINGS}))(?:\s*[,;]\s*|\s+)(.+?\.(?:{_ENDINGS}))", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class _List:
    """The lines of a list, and where it lies."""

    path: Path
    split: str | None
    lines: tuple[str, ...]


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read the lists of a folder, or one list; see `layout.Reader`.

    Raises
    ------
    PairingError
        A file of a list does not exist, or is named twice (noted in `problems`, if it is a list).
    """
    home, lists = _lists(root)
    if not lists:
        return None
    if all(_PAIR.fullmatch(line) for part in lists for line in part.lines[:1]):
        samples, notes = _paired(home, lists, masks=masks, problems=problems)
    else:
        of_folder = _named(home, lists, masks=masks, problems=problems)
        if of_folder is None:
            return None
        samples, notes = of_folder
    if not samples and not problems:
        raise EmptyDataError(f"{listed([str(part.path) for part in lists])}: none of the images in it could be used.")
    truth = next((sample.mask.path.parent for sample in samples if sample.mask), home)
    return Layout(
        format="split lists",
        samples=tuple(samples),
        masks_folder=truth,
        unlabelled_255=is_labels(truth),
        home=home,
        table=table_in(home),
        notes=(found(root, f"lists {listed([part.path.name for part in lists])}", samples, masks=masks), *notes),
    )


def _lists(root: Path) -> tuple[Path, list[_List]]:
    """The folder that holds the data, and the lists that are not empty."""
    if root.is_file():
        if root.suffix.lower() != ".txt":
            return root.parent, []
        home = root.parent.parent if root.parent.name in ("splits", "lists", "ImageSets") else root.parent
        home = home.parent.parent if home.name == "Segmentation" else home
        return home, _with_lines([(root, split_named(root.stem))])
    for place in _PLACES if root.is_dir() else ():
        files = sorted((root / place).glob("*.txt")) if (root / place).is_dir() else []
        named = [(path, split) for path in files if (split := split_named(path.stem)) is not None]
        if named:
            order = {split: place for place, split in enumerate(SPLITS)}
            return root, _with_lines(sorted(named, key=lambda item: order.get(str(item[1]), 0)))
    return root, []


def _with_lines(files: Sequence[tuple[Path, str | None]]) -> list[_List]:
    lists = []
    for path, split in files:
        try:
            text = read_text(path)
        except (OSError, UnicodeDecodeError):
            continue
        lines = [line.strip().replace("\\", "/") for line in text.splitlines()]
        kept = tuple(line for line in lines if line and not line.startswith("#"))
        if kept:
            lists.append(_List(path=path, split=split, lines=kept))
    return lists


def _paired(
    home: Path, lists: Sequence[_List], *, masks: bool, problems: list[Problem] | None
) -> tuple[list[Sample], list[str]]:
    """Lines of an image and its mask."""
    entries: list[tuple[_List, Path, Path]] = []
    moved: dict[str, None] = {}
    for part in lists:
        for number, line in enumerate(part.lines, 1):
            pair = _PAIR.fullmatch(line)
            if pair is None:
                report(
                    problems, _broken(part, line, "Expected an image and its mask, with a blank between."), DataError
                )
                continue
            places = [_place(text, part.path.parent, home) for text in pair.groups()]
            image, mask = places
            if image is None or mask is None:
                missing = pair[1] if image is None else pair[2]
                remedy = f"Expected a file below {home}. Correct line {number}, or add the file."
                report(problems, _broken(part, missing, remedy), PairingError)
                continue
            if not str(image).endswith(pair[1]):
                moved[pair[1][: len(pair[1]) - len(image.relative_to(home).as_posix())]] = None
            entries.append((part, image, mask))
    names = names_of([image for _, image, _ in entries])
    samples: dict[str, Sample] = {}
    for (part, image, mask), name in zip(entries, names, strict=True):
        key = name if part.split is None else f"{part.split}/{name}"
        if key in samples:
            report(problems, _broken(part, str(image), "It names this image twice. Remove one line."), PairingError)
            continue
        truth = Source(path=mask) if masks else None
        samples[key] = Sample(id=key, image=Source(path=image), mask=truth, split=part.split)
    notes = [f"paths that begin with {listed(list(moved))} are read below {home}"] if moved else []
    return list(samples.values()), notes


def _place(text: str, *bases: Path) -> Path | None:
    """Where the file of a list lies: as written, below a base, or there without the first of its folders."""
    if Path(text).is_absolute() and Path(text).is_file():
        return Path(text)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    for start in range(len(parts)):
        for base in bases:
            if (path := base.joinpath(*parts[start:])).is_file():
                return path
    return None


def _named(
    home: Path, lists: Sequence[_List], *, masks: bool, problems: list[Problem] | None
) -> tuple[list[Sample], list[str]] | None:
    """Lines of a stem or file name, for images in one folder; None where there is no such folder."""
    images_folder = folder.child(home, *folder.IMAGES)
    truth_folder = folder.child(home, *folder.MASKS) if masks else None
    if images_folder is None or (masks and truth_folder is None) or not _any_image(images_folder, truth_folder):
        return None
    images, notes = files_in(images_folder, problems)
    truth: dict[str, Path] = {}
    if truth_folder is not None:
        truth, more = files_in(truth_folder, problems)
        images, truth, note = matched(images, truth, truth_folder)
        notes += [*more, *([note] if note else [])]
    samples: dict[str, Sample] = {}
    used: set[str] = set()
    for part in lists:
        for line in part.lines:
            stem = stem_of(Path(line)) if Path(line).suffix.lower() in IMAGE_SUFFIXES else stem_of(Path(line + ".x"))
            key = stem if part.split is None else f"{part.split}/{stem}"
            used.add(stem)
            if key in samples:
                report(problems, _broken(part, line, "It is named twice. Remove one line."), PairingError)
                continue
            place = next(
                (p for p, files in ((images_folder, images), (truth_folder, truth)) if stem not in files), None
            )
            if place is not None and (place == images_folder or masks):
                remedy = f"Expected a file of that name in {place}. Add it, or remove the line."
                report(problems, _broken(part, line, remedy), PairingError)
                continue
            mask = Source(path=truth[stem]) if masks else None
            samples[key] = Sample(id=key, image=Source(path=images[stem]), mask=mask, split=part.split)
    left = [path.name for stem, path in images.items() if stem not in used]
    if left:
        notes.append(f"{images_folder}: {counted(len(left), 'image')} in no list left out: {listed(left)}")
    return list(samples.values()), notes


def _any_image(*folders: Path | None) -> bool:
    return all(any(is_image(path) for path in place.iterdir()) for place in folders if place is not None)


def _broken(part: _List, entry: str, remedy: str) -> Problem:
    return Problem(
        level="error",
        kind="unpaired",
        files=(part.path,),
        what=f"{part.path} names {entry}, which cannot be used.",
        remedy=remedy,
    )

"""Which files are each other's image and mask: the image files of a folder by stem, and what their names end in."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.datasets.classes import CLASSES_FILE
from maskwright.datasets.formats.layout import counted, folders_in
from maskwright.datasets.samples import Sample
from maskwright.datasets.sources import Source, natural
from maskwright.errors import DataError, EmptyDataError, PairingError, listed
from maskwright.imaging.images import IMAGE_SUFFIXES, split_suffix

if TYPE_CHECKING:
    from maskwright.datasets.problems import Problem

_IGNORED = {"thumbs.db", "desktop.ini", CLASSES_FILE}


_IMAGE_NAME = re.compile(
    r"(.+)[_\-. ](?:images?|imgs?|im|sat|rgb)|(?:images?|imgs?|im|sat|rgb)[_\-. ](.+)", re.IGNORECASE
)


def is_image(path: Path) -> bool:
    """Whether a name is that of an image file that is looked at."""
    return split_suffix(path.name)[1] in IMAGE_SUFFIXES and not path.name.startswith(".")


def are_copies(folder: Path, others: Sequence[Path]) -> bool:
    """Whether all images of a folder lie in others too, with the same names and sizes in bytes."""

    def files(place: Path) -> set[tuple[str, int]]:
        return {(path.name, path.stat().st_size) for path in place.iterdir() if is_image(path)}

    own = files(folder)
    return bool(own) and own <= set().union(*map(files, others))


def images_below(root: Path) -> int:
    """Images in the folders of a folder, at any depth."""
    return sum(is_image(path) for name in folders_in(root) for path in (root / name).rglob("*"))


def suffixes() -> str:
    """The suffixes of images, for messages."""
    return ", ".join(sorted(IMAGE_SUFFIXES))


def stem_of(path: Path) -> str:
    """A file's name without its suffix; macOS and Linux write one accented name in two ways, this gives one."""
    return unicodedata.normalize("NFC", split_suffix(path.name)[0])


def files_in(
    folder: Path, problems: list[Problem] | None, leaving: Collection[Path] = ()
) -> tuple[dict[str, Path], list[str]]:
    """Image files by stem, in natural order, without those in `leaving`; and notes on what else lies there.

    Raises
    ------
    EmptyDataError
        There are none.
    PairingError
        Two have one stem (noted in `problems`, if it is a list).
    """
    by_stem: dict[str, Path] = {}
    others: list[str] = []
    twice: list[tuple[Path, Path]] = []
    with os.scandir(folder) as entries:
        listing = sorted((natural(entry.name), entry.is_dir()) for entry in entries)
    for (_, name), is_folder in listing:
        path = folder / name
        if name.startswith(".") or name.lower() in _IGNORED or path in leaving:
            continue
        if is_folder or not is_image(path):
            others.append(name + ("/" if is_folder else ""))
            continue
        stem = stem_of(path)
        if stem in by_stem:
            twice.append((by_stem[stem], path))
            continue
        by_stem[stem] = path
    if problems is not None:
        problems += [_duplicate(pair) for pair in twice]
    elif twice:
        names = listed([f"{first.name} and {second.name}" for first, second in twice])
        raise PairingError(
            f"{folder} has two files for one name: {names}.",
            expected="Expected one file for each stem, since files are paired by it.",
            remedy="Remove or rename one.",
            file=folder,
        )
    if not by_stem:
        seen = f"Found: {listed(others)}." if others else "It is empty."
        raise EmptyDataError(
            f"{folder} has no images. {seen} Expected files with {suffixes()}, directly in it.", file=folder
        )
    return by_stem, [f"{folder}: not read, being no images: {listed(others)}"] if others else []


def matched(
    images: Mapping[str, Path], others: Mapping[str, Path], folder: Path
) -> tuple[dict[str, Path], dict[str, Path], str]:
    """Both under common names: without what all images, or most masks, have before or after the name.

    Images `a`, `b` and masks `a_mask`, `b_mask` become `a`, `b`; so do images `a_sat` and masks `mask_a`. Names that
    pair as they are stay. Returns images, others, and a note ("" where nothing was taken off).
    Raises DataError where two endings pair equally well: `a_mask` and `a_label`.
    """
    bare = _bare_images(images)
    for names in (images, bare):
        affixes = _affixes(names, others)
        # Of equals, the shorter: images `a` and `a_b` make both "_mask" and "_b_mask" of `a_b_mask`.
        ranked = sorted(affixes, key=lambda affix: (-affixes[affix], len("".join(affix))))
        if not ranked or affixes[ranked[0]] <= len(names.keys() & others.keys()):
            continue
        before, after = best = ranked[0]
        for other in ranked[1:]:
            if affixes[other] == affixes[best] and not (other[0].startswith(before) and other[1].endswith(after)):
                raise DataError(
                    f"{folder} has two masks for one image: names with {_shown(best)}, and with {_shown(other)}.",
                    expected="Expected one mask for each image.",
                    remedy="Move the others elsewhere.",
                    file=folder,
                )
        renamed: dict[str, Path] = {}
        for stem, path in others.items():
            fits = stem.startswith(before) and stem.endswith(after) and len(stem) > len(before) + len(after)
            renamed[stem[len(before) : len(stem) - len(after)] if fits else stem] = path
        return dict(names), renamed, f"{folder}: masks are the files with {_shown(best)}"
    if len(bare.keys() & others.keys()) > len(images.keys() & others.keys()):
        return bare, dict(others), f"{folder}: masks are named like images without their word for image"
    return dict(images), dict(others), ""


def names_of(paths: Sequence[Path]) -> list[str]:
    """Names for files of many folders: their stems, or as many of the folders before as tell all of them apart."""
    for depth in range(1, max((len(path.parts) for path in paths), default=1) + 1):
        names = ["/".join((*path.parts[-depth:-1], stem_of(path))) for path in paths]
        if len(set(names)) == len(set(paths)):
            return names
    return names


def check_pairs(
    images_folder: Path,
    images: Mapping[str, Path],
    other_folder: Path,
    others: Mapping[str, Path],
    problems: list[Problem] | None,
) -> None:
    """Raise PairingError for files without a partner of the same key, or note each in `problems`."""
    alone = [path.name for stem, path in images.items() if stem not in others]
    left = [path.name for stem, path in others.items() if stem not in images]
    if problems is not None:
        kind = "valid mask" if other_folder.name.lower() == "valid" else "mask"
        problems += [unpaired(images_folder / name, other_folder, kind) for name in alone]
        problems += [unpaired(other_folder / name, images_folder, "image") for name in left]
        return
    if not alone and not left:
        return
    text = f"{images_folder} and {other_folder} do not pair."
    if alone:
        where = f"without a partner in {other_folder.name}"
        text += f"\n{counted(len(alone), 'image')} of {len(images)} {where}: {listed(alone)}."
    if left:
        text += f"\n{counted(len(left), 'file')} in {other_folder.name} without an image: {listed(left)}."
    text += f"\nExpected for each image NAME one file NAME in {other_folder.name}, with the same stem."
    if alone and left:
        stem = next(stem for stem in images if stem not in others)
        endings = [other.removeprefix(stem) for other in others if other not in images and other.startswith(stem)]
        if endings:
            raise PairingError(f"{text} These names end in {endings[0]!r}: rename them without it.")
    none_fits = len(alone) == len(images) and bool(left)
    raise PairingError(text if none_fits else f"{text} Add what is missing, or move these files elsewhere.")


def paired_samples(
    images: Mapping[str, Path],
    masks: Mapping[str, Path] | None,
    *,
    valid: Mapping[str, Path] | None = None,
    split: str | None = None,
    group: Callable[[str], str | None] = lambda name: None,
) -> list[Sample]:
    """Make samples of the images that have all they need; `check_pairs` has reported the others.

    Parameters
    ----------
    images, masks, valid
        Files by common name; None where masks are not wanted, or where there are no valid masks.
    split
        The split they are in, which their ids begin with.
    group
        The group that a name tells.
    """
    needed = [files for files in (masks, valid) if files is not None]
    return [
        Sample(
            id=name if split is None else f"{split}/{name}",
            image=Source(path=path),
            mask=None if masks is None else Source(path=masks[name]),
            valid=None if valid is None else Source(path=valid[name]),
            group=group(name),
            split=split,
        )
        for name, path in images.items()
        if all(name in files for files in needed)
    ]


def _bare_images(images: Mapping[str, Path]) -> dict[str, Path]:
    """Images without the word for "image" in their names, if all have it; else as they are."""
    found = [_IMAGE_NAME.fullmatch(stem) for stem in images]
    bare = [match[1] or match[2] for match in found if match]
    same = len(bare) == len(images) == len(set(bare))
    return dict(zip(bare, images.values(), strict=True)) if same else dict(images)


def _affixes(images: Iterable[str], others: Iterable[str]) -> Counter[tuple[str, str]]:
    """How many names pair if this is taken off before and after: for each (before, after) of which one is empty."""
    known = set(images)
    found: Counter[tuple[str, str]] = Counter()
    for other in others:
        for separator in re.finditer(r"[_\-. ]", other):
            if other[: separator.start()] in known and re.match("[A-Za-z]", other[separator.end() :]):
                found["", other[separator.start() :]] += 1
            if other[separator.end() :] in known and re.match("[A-Za-z]", other):
                found[other[: separator.end()], ""] += 1
    return found


def _shown(affix: tuple[str, str]) -> str:
    before, after = affix
    return f"{before + after!r} {'before' if before else 'after'} the name"


def _duplicate(pair: tuple[Path, Path]) -> Problem:
    from maskwright.datasets.problems import Problem

    return Problem(
        level="error",
        kind="duplicate-stem",
        files=pair[::-1],
        what=f"{pair[0].name} and {pair[1].name} in {pair[0].parent} are two files for one name.",
        remedy="Files are paired by the stem, so expected is one for each. Remove or rename one.",
    )


def unpaired(path: Path, other_folder: Path, what: str) -> Problem:
    """The finding for a file without a partner."""
    from maskwright.datasets.problems import Problem

    return Problem(
        level="error",
        kind="unpaired",
        files=(path,),
        what=f"{path} has no {what} of the same name in {other_folder}.",
        remedy=f"Add the {what}, or move this file elsewhere.",
    )

"""The folder family: images and masks in sibling folders, paired by stem.

    DATA/images/NAME.*                  PNG, JPEG, TIFF, BMP or WebP
    DATA/masks/NAME.*  or  labels/      one value (or colour) for each class; in labels/ 255 is always unlabelled
    DATA/valid/NAME.*                   optional: 0 where the image has no data
    DATA/classes.toml                   optional: beside images/, or above the splits

or the same within DATA/train, DATA/val and DATA/test. Nothing is dropped in silence: files without a partner are
errors, and what is not an image is noted.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from maskwright.data.classes import CLASSES_FILE
from maskwright.data.images import IMAGE_SUFFIXES
from maskwright.data.names import listed, natural
from maskwright.data.samples import Sample, Source
from maskwright.errors import ClassTableError, DataError, EmptyDataError, PairingError, UnreadableFileError

SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
"""Splits, and the folder names they go by."""

_IGNORED = {"thumbs.db", "desktop.ini", CLASSES_FILE}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a folder holds, before any class table is read."""

    samples: tuple[Sample, ...]
    masks_folder: Path
    """The folder of masks; of several, the first."""
    table: Path | None
    """The `classes.toml`."""
    notes: tuple[str, ...]


def read_folder(root: Path, *, masks: bool) -> Layout:
    """Find and pair the files of a folder.

    With `masks` false masks are not looked for, and `root` may also be a plain folder of images, or one image.

    Raises:
        DataError: there is no such folder, or its layout is ambiguous.
        EmptyDataError: there are no images.
        PairingError: a file has no partner, or two have one stem.
        ClassTableError: class tables of splits differ.
    """
    if not root.exists():
        raise DataError(f"{root} does not exist. Expected a folder like this:\n\n{_tree(root)}")
    if not root.is_dir():
        return _one_image(root, masks=masks)
    parts = _parts(root)
    if not parts and masks:
        raise _unknown_layout(root)
    if not parts:
        by_stem, notes = _files(root)
        plain = [Sample(id=stem, image=Source(path=path)) for stem, path in by_stem.items()]
        return _layout(root, plain, [root], None, notes)
    samples: list[Sample] = []
    notes = []
    masks_folders: list[Path] = []
    for split, folder in parts:
        if masks:
            masks_folder = _masks_folder(folder)
            if masks_folder is None and split in ("val", "test"):
                notes.append(f"{folder} has no masks or labels folder: its images are left out")
                continue
            masks_folders.append(masks_folder or _no_masks(folder))
        found, more = _part(folder, split, masks_folders[-1] if masks else None)
        samples += found
        notes += more
    if not samples:
        _no_masks(parts[0][1])
    if len({folder.name.lower() for folder in masks_folders}) > 1:
        both = ", ".join(map(str, masks_folders))
        raise DataError(f"{root} has masks and labels folders: {both}. Expected one name in all splits; rename some.")
    return _layout(root, samples, [folder for _, folder in parts], masks_folders[0] if masks else None, notes)


def _layout(
    root: Path, samples: Sequence[Sample], parts: Sequence[Path], masks_folder: Path | None, notes: Sequence[str]
) -> Layout:
    in_splits = [(split, sum(sample.split == split for sample in samples)) for split in SPLITS]
    each = ", ".join(f"{count} in {split}" for split, count in in_splits if count)
    counted = f"{root}: {_count(len(samples), 'image')}{' with masks' if masks_folder else ''}"
    known = {"images", "masks", "labels", "valid"} if root in parts else {part.name.lower() for part in parts}
    others = [folder.name for folder in sorted(root.iterdir()) if folder.is_dir() and folder.name[0] != "."]
    others = [f"{name}/" for name in others if name.lower() not in known]
    if others and any(_child(part, "images") for part in parts):
        notes = [*notes, f"{root}: not read: {listed(others)}"]
    return Layout(
        samples=tuple(samples),
        masks_folder=masks_folder or root,
        table=_table(root, parts),
        notes=(f"{counted} ({each})" if each else counted, *notes),
    )


def _one_image(path: Path, *, masks: bool) -> Layout:
    if masks:
        raise DataError(f"{path} is a file. Expected a folder like this:\n\n{_tree(path.with_suffix(''))}")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise UnreadableFileError(f"{path} is no image. Expected a folder, or a file with {_suffixes()}.")
    sample = Sample(id=path.stem, image=Source(path=path))
    return Layout(samples=(sample,), masks_folder=path.parent, table=None, notes=())


def _parts(root: Path) -> list[tuple[str | None, Path]]:
    """The folders that hold an images folder, with their split: `root` itself, or its splits."""
    splits: list[tuple[str | None, Path]] = []
    for split, names in SPLITS.items():
        folders = [folder for name in names if (folder := _child(root, name)) and _child(folder, "images")]
        if len(folders) > 1:
            raise DataError(
                f"{' and '.join(map(str, folders))} are both the split {split!r}. Expected one; merge them."
            )
        splits += [(split, folder) for folder in folders]
    if _child(root, "images") is None:
        return splits
    if splits:
        both = ", ".join(str(folder) for _, folder in splits)
        raise DataError(
            f"{root} has an images folder and splits ({both}), so it is unclear what belongs to it. Expected one or "
            f"the other. Give one of the folders, or move {root / 'images'} into {root / 'train'}."
        )
    return [(None, root)]


def _part(folder: Path, split: str | None, masks_folder: Path | None) -> tuple[list[Sample], list[str]]:
    """Pair the files of one folder that holds images; without masks if there is no folder of them."""
    images_folder, valid_folder = _child(folder, "images"), _child(folder, "valid")
    assert images_folder is not None
    images, notes = _files(images_folder)
    masks: dict[str, Path] = {}
    valid: dict[str, Path] = {}
    if masks_folder is not None:
        masks, more = _files(masks_folder)
        notes += more
        _check_pairs(images_folder, images, masks_folder, masks)
    if valid_folder is not None:
        valid, more = _files(valid_folder)
        notes += [*more, f"{valid_folder} says where images have data; elsewhere they are unlabelled"]
        _check_pairs(images_folder, images, valid_folder, valid)
    samples = [
        Sample(
            id=stem if split is None else f"{split}/{stem}",
            image=Source(path=path),
            mask=Source(path=masks[stem]) if masks else None,
            valid=Source(path=valid[stem]) if valid else None,
            split=split,
        )
        for stem, path in images.items()
    ]
    return samples, notes


def _files(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Image files by stem, in natural order, and notes on what else lies there."""
    by_stem: dict[str, Path] = {}
    others, twice = [], []
    for path in sorted(folder.iterdir(), key=lambda path: natural(path.name)):
        if path.name.startswith(".") or path.name.lower() in _IGNORED:
            continue
        if path.is_dir() or path.suffix.lower() not in IMAGE_SUFFIXES:
            others.append(path.name + ("/" if path.is_dir() else ""))
            continue
        # macOS and Linux write one accented name in two ways.
        stem = unicodedata.normalize("NFC", path.stem)
        if stem in by_stem:
            twice.append(f"{by_stem[stem].name} and {path.name}")
        by_stem[stem] = path
    if twice:
        raise PairingError(
            f"{folder} has two files for one name: {listed(twice)}. Expected one file for each stem, since files are "
            "paired by it. Remove or rename one."
        )
    if not by_stem:
        found = f"Found: {listed(others)}." if others else "It is empty."
        raise EmptyDataError(f"{folder} has no images. {found} Expected files with {_suffixes()}, directly in it.")
    if others:
        return by_stem, [f"{folder}: not read, being no images: {listed(others)}"]
    return by_stem, []


def _check_pairs(images_folder: Path, images: dict[str, Path], other_folder: Path, others: dict[str, Path]) -> None:
    alone = [path.name for stem, path in images.items() if stem not in others]
    left = [path.name for stem, path in others.items() if stem not in images]
    if not alone and not left:
        return
    text = f"{images_folder} and {other_folder} do not pair."
    if alone:
        where = f"without a partner in {other_folder.name}"
        text += f"\n{_count(len(alone), 'image')} of {len(images)} {where}: {listed(alone)}."
    if left:
        text += f"\n{_count(len(left), 'file')} in {other_folder.name} without an image: {listed(left)}."
    text += f"\nExpected for each image NAME one file NAME in {other_folder.name}, with the same stem."
    if alone and left:
        stem = next(stem for stem in images if stem not in others)
        endings = [other.removeprefix(stem) for other in others if other not in images and other.startswith(stem)]
        if endings:
            text += f" These names end in {endings[0]!r}: rename them without it."
            raise PairingError(text)
    raise PairingError(f"{text} Add what is missing, or move these files elsewhere.")


def _masks_folder(folder: Path) -> Path | None:
    found = [child for name in ("masks", "labels") if (child := _child(folder, name))]
    if len(found) == 2:
        raise DataError(
            f"{folder} has both masks and labels, so it is unclear which holds the truth. Expected one of them. "
            "Rename or move the other."
        )
    return found[0] if found else None


def _table(root: Path, parts: Sequence[Path]) -> Path | None:
    """The class table: at the root, beside the images, or above a split that was given by itself."""
    places = [root, *parts]
    if root.resolve().name.lower() in {name for names in SPLITS.values() for name in names}:
        places.append(root.resolve().parent)
    tables = [path for place in dict.fromkeys(places) if (path := place / CLASSES_FILE).is_file()]
    if root in parts:
        return tables[0] if tables else None
    for other in tables[1:]:
        if other.read_bytes() != tables[0].read_bytes():
            raise ClassTableError(
                f"{tables[0]} and {other} differ. Expected one class table for all splits. Keep one, as "
                f"{root / CLASSES_FILE}."
            )
    return tables[0] if tables else None


def _no_masks(folder: Path) -> NoReturn:
    raise PairingError(
        f"{folder} has images and no masks. Found there: {_contents(folder)}. Expected a folder masks or labels beside "
        f"images:\n\n{_tree(folder)}"
    )


def _unknown_layout(root: Path) -> DataError:
    text = f"{root} holds no images with masks that Maskwright recognises. Found there: {_contents(root)}.\n"
    parent = root.parent
    if root.name.lower() in ("images", "masks", "labels") and _child(parent, "images"):
        text += f"Did you mean {parent}?\n"
    return EmptyDataError(
        f"{text}Expected this layout, or the same within train, val and test folders:\n\n{_tree(root)}"
    )


def _child(folder: Path, name: str) -> Path | None:
    """A folder's child folder of that name, in any case."""
    if (folder / name).is_dir():
        return folder / name
    if not folder.is_dir():
        return None
    return next((child for child in sorted(folder.iterdir()) if child.name.lower() == name and child.is_dir()), None)


def _contents(folder: Path) -> str:
    names = [f"{child.name}{'/' if child.is_dir() else ''}" for child in sorted(folder.iterdir())]
    return listed([name for name in names if not name.startswith(".")]) or "nothing"


def _tree(root: Path) -> str:
    return (
        f"{root}\n"
        "├── images/        a.png, b.png, ...\n"
        "├── masks/         a.png, b.png, ...   (or labels/)\n"
        "└── classes.toml   optional: names and values of the classes\n"
    )


def _suffixes() -> str:
    return ", ".join(sorted(IMAGE_SUFFIXES))


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"

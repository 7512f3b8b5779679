"""The folder family: images and masks in sibling folders, or side by side, paired by name.

    DATA/images/NAME.*                  also image, imgs, img
    DATA/masks/NAME.*  or  labels/      one value (or colour) for each class; in labels/ 255 is always unlabelled;
                                        also mask, label, annotations, annots, gt, ground_truth, segmentations, ...
    DATA/valid/NAME.*                   optional: 0 where the image has no data
    DATA/classes.toml                   optional: beside images/, or above the splits

or the images directly in DATA, or the same within DATA/train, DATA/val and DATA/test, or with the splits inside
(DATA/images/train and DATA/masks/train), or as twins (DATA/train and DATA/train_masks, DATA/train_images and
DATA/train_labels).

Masks may be named after their images (NAME_mask, mask_NAME, NAME_L, ...), and then may lie beside them in one folder;
so may NAME.jpg and its mask NAME.png. Nothing is dropped in silence: files without a partner are errors, and what is no
image is noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.datasets.classes import CLASSES_FILE
from maskwright.datasets.formats.layout import SPLITS, Layout, counted, folders_in, found, is_labels, not_read
from maskwright.datasets.formats.pairing import (
    are_copies,
    check_pairs,
    files_in,
    images_below,
    is_image,
    matched,
    paired_samples,
    stem_of,
    suffixes,
)
from maskwright.datasets.samples import Sample, Source
from maskwright.errors import ClassTableError, DataError, EmptyDataError, PairingError, UnreadableFileError

if TYPE_CHECKING:
    from maskwright.datasets.problems import Problem

IMAGES = ("images", "image", "imgs", "img")
MASKS = (
    "masks", "labels", "mask", "label", "annotations", "annotation", "annots", "annot", "gt", "groundtruth",
    "segmentations", "segmentation", "seg", "targets", "target",
)  # fmt: skip
"""Names of folders, in lower case and without underscores, hyphens and blanks."""


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A folder of images, and where its masks are."""

    split: str | None
    home: Path
    """The folder that images and masks are in together."""
    images: Path
    masks: Path | None
    """None where there is no folder of them, or none are wanted."""
    valid: Path | None = None


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Find and pair the files of a folder; see `layout.Reader`.

    With `masks` false `root` may also be a plain folder of images, or one image.

    Raises
    ------
    DataError
        The layout is ambiguous.
    EmptyDataError
        There are no images.
    PairingError
        A file has no partner, or two have one stem.
    ClassTableError
        Class tables of splits differ.
    """
    if not root.is_dir():
        return None if masks or not root.exists() else _one_image(root)
    parts = _split_homes(root, masks=masks) or _split_insides(root, masks=masks) or _twins(root, masks=masks)
    parts = parts or _side_by_side(root, masks=masks) or (_above_masks(root) if masks else [])
    if not parts and masks:
        return None
    if not parts:
        parts = [_Part(split=None, home=root, images=root, masks=None)]
    samples: list[Sample] = []
    notes: list[str] = []
    for part in parts:
        read_part = _read_part(part, masks=masks, problems=problems)
        if read_part is None and part.split in ("val", "test"):
            home = part.home if part.home != root else part.images
            notes.append(f"{home} has no masks or labels folder: its images are left out")
            continue
        if read_part is None:
            raise _without_masks(part.home)
        samples += read_part[0]
        notes += read_part[1] + _unusual(part)
    if masks and not samples and not problems:
        raise _without_masks(parts[0].home)
    truths = [part.masks for part in parts if part.masks is not None]
    if masks and len({is_labels(truth) for truth in truths}) > 1:
        both = ", ".join(str(part.masks) for part in parts)
        raise DataError(f"{root} has masks and labels folders: {both}. Expected one name in all splits; rename some.")
    first = next((part for part in parts if part.masks), parts[0])
    return Layout(
        format="folder",
        samples=tuple(samples),
        masks_folder=(first.masks or first.images) if masks else root,
        unlabelled_255=any(map(is_labels, truths)),
        home=first.home,
        table=_table(root, [part.home for part in parts]),
        contested=masks and _contested(root, parts),
        notes=(found(root, "folder", samples, masks=masks), *notes, *_not_read(root, parts)),
    )


def unknown(root: Path) -> DataError:
    """The error for a place that no reader knows."""
    from maskwright.datasets.formats.refusals import contents, tree

    if not root.exists():
        return DataError(f"{root} does not exist. Expected a folder like this:\n\n{tree(root)}")
    if not root.is_dir():
        return DataError(
            f"{root} is a file. Expected a folder like this, or a manifest (.csv), a list (.txt), annotations (.json, "
            f".xml), or a TIFF stack beside its labels:\n\n{tree(root.with_suffix(''))}"
        )
    text = f"{root} holds no images with masks that Maskwright recognises. Found there: {contents(root)}.\n"
    parent = root.parent
    if plain(root.name) in (*IMAGES, *MASKS) and _images_folder(parent):
        text += f"Did you mean {parent}?\n"
    return EmptyDataError(
        f"{text}Expected this layout, or the same within train, val and test folders, or that of a published data set "
        f"(see docs/data.md):\n\n{tree(root)}"
    )


def child(folder: Path, *names: str) -> Path | None:
    """A folder's child folder of one of these names, in any case; underscores, hyphens and blanks do not count."""
    places = {name: place for place, name in enumerate(names)}
    fitting = [name for name in folders_in(folder) if plain(name) in places]
    return folder / min(fitting, key=lambda name: places[plain(name)]) if fitting else None


def plain(name: str) -> str:
    """A folder's name as it is compared: in lower case, without underscores, hyphens and blanks."""
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def _one_image(path: Path) -> Layout:
    if not is_image(path):
        raise UnreadableFileError(f"{path} is no image. Expected a folder, or a file with {suffixes()}.")
    sample = Sample(id=stem_of(path), image=Source(path=path))
    return Layout(format="image", samples=(sample,), masks_folder=path.parent)


def _split_homes(root: Path, *, masks: bool) -> list[_Part]:
    """The folders that hold an images folder: `root` itself, or its splits."""
    parts: list[_Part] = []
    for split, names in SPLITS.items():
        homes = [home for name in names if (home := child(root, name)) and _images_folder(home)]
        if len(homes) > 1:
            raise DataError(f"{' and '.join(map(str, homes))} are both the split {split!r}. Expected one; merge them.")
        parts += [_home(home, split, masks=masks) for home in homes]
    images = _images_folder(root)
    if images is None:
        return parts
    if parts and are_copies(images, [part.images for part in parts]):
        return parts
    if parts:
        both = ", ".join(str(part.home) for part in parts)
        raise DataError(
            f"{root} has an images folder and splits ({both}), so it is unclear what belongs to it. Expected one or "
            f"the other. Give one of the folders, or move {images} into {root / 'train'}."
        )
    if child(images, *[name for names in SPLITS.values() for name in names]) and not any(
        map(is_image, images.iterdir())
    ):
        return []
    return [_home(root, None, masks=masks)]


def _home(home: Path, split: str | None, *, masks: bool) -> _Part:
    images = _images_folder(home)
    assert images is not None
    return _Part(
        split=split,
        home=home,
        images=images,
        masks=_masks_folder(home) if masks else None,
        valid=child(home, "valid"),
    )


def _split_insides(root: Path, *, masks: bool) -> list[_Part]:
    """Splits within the folders: images/train and masks/train."""
    images = _images_folder(root)
    if images is None:
        return []
    truth, valid = _masks_folder(root) if masks else None, child(root, "valid")
    return [
        _Part(
            split=split,
            home=root,
            images=inside,
            masks=child(truth, *names) if truth else None,
            valid=child(valid, *names) if valid else None,
        )
        for split, names in SPLITS.items()
        if (inside := child(images, *names))
    ]


def _twins(root: Path, *, masks: bool) -> list[_Part]:
    """Splits in folders of their own for images and for masks: train and train_masks."""
    parts = []
    for split, names in SPLITS.items():
        images = child(root, *[name + word for name in names for word in ("", *IMAGES)])
        truth = child(root, *[name + word for name in names for word in MASKS])
        if images is not None and any(map(is_image, images.iterdir())):
            parts.append(_Part(split=split, home=root, images=images, masks=truth))
    if not any(part.masks for part in parts):
        return []
    return parts if masks else [_Part(split=p.split, home=p.home, images=p.images, masks=None) for p in parts]


def _side_by_side(root: Path, *, masks: bool) -> list[_Part]:
    """Images with their masks in one folder: `root`, or its splits."""
    parts = [
        _Part(split=split, home=home, images=home, masks=None)
        for split, names in SPLITS.items()
        if (home := child(root, *names)) and any(map(is_image, home.iterdir()))
    ]
    if not masks:
        return parts if not any(map(is_image, root.iterdir())) else []
    from maskwright.datasets.formats.beside import pairs_within

    parts = [part for part in parts if pairs_within(part.images, [])]
    # A figure and its mask at the top of a repository are no data set where folders below hold more images.
    within = None if parts else pairs_within(root, [])
    if within is None or images_below(root) > 2 * len(within[0]):
        return parts
    return [_Part(split=None, home=root, images=root, masks=None)]


def _above_masks(root: Path) -> list[_Part]:
    """Images directly in `root`, and their masks in a folder of it."""
    truth = _masks_folder(root)
    if truth is None or not any(map(is_image, root.iterdir())) or not any(map(is_image, truth.iterdir())):
        return []
    return [_Part(split=None, home=root, images=root, masks=truth, valid=child(root, "valid"))]


def _contested(root: Path, parts: Sequence[_Part]) -> bool:
    """Whether a folder that is passed over holds a file for each image, and masks are not in one called so."""
    read = sum(sum(map(is_image, part.images.iterdir())) for part in parts)
    used = {path.relative_to(root).parts[:1] for part in parts for path in (part.home, part.images, part.masks) if path}
    if (
        all(part.home != root for part in parts)
        and sum(is_image(path) for name in folders_in(root) if (name,) not in used for path in (root / name).rglob("*"))
        > 2 * read
    ):
        return True  # of several splits, only those with common names were found
    if _more_of_them(root, parts):
        return True
    for part in parts:
        if part.masks is None or plain(part.masks.name) in ("masks", "labels") or part.home != part.masks.parent:
            continue
        known = {part.images.name, part.masks.name, *([part.valid.name] if part.valid else [])}
        images = sum(map(is_image, part.images.iterdir()))
        others = [part.home / name for name in folders_in(part.home) if name not in known]
        if any(sum(map(is_image, other.iterdir())) >= images > 0 for other in others):
            return True
    return False


def _more_of_them(root: Path, parts: Sequence[_Part]) -> bool:
    """Whether folders that are passed over are called as those of images, and a number: imgs2 beside imgs."""
    read = {path.name for part in parts for path in (part.home, part.images, part.masks) if path and path != root}
    images = {plain(part.images.name) for part in parts}
    others = [plain(name) for name in folders_in(root) if name not in read]
    return any(name.rstrip("0123456789") in images and name not in images for name in others)


def _read_part(part: _Part, *, masks: bool, problems: list[Problem] | None) -> tuple[list[Sample], list[str]] | None:
    """Pair the files of one folder of images; None where masks are wanted and there are none."""
    truth: dict[str, Path] = {}
    if masks and part.masks is None:
        from maskwright.datasets.formats.beside import pairs_within

        within = pairs_within(part.images, problems)
        if within is None:
            return None
        images, truth, notes = within
    else:
        beside = set() if masks else _masks_beside(part.images)
        own = [path for path in (part.masks, part.valid) if path]
        images, notes = files_in(part.images, problems, [*beside, *own])
        notes += [f"{part.images}: {counted(len(beside), 'mask')} beside the images passed over"] if beside else []
    if part.masks is not None:
        truth, more = files_in(part.masks, problems)
        images, truth, note = matched(images, truth, part.masks)
        notes += [*more, *([note] if note else [])]
        check_pairs(part.images, images, part.masks, truth, problems)
    valid: dict[str, Path] = {}
    if part.valid is not None:
        valid, more = files_in(part.valid, problems)
        notes += [*more, f"{part.valid} says where images have data; elsewhere they are unlabelled"]
        check_pairs(part.images, images, part.valid, valid, problems)
    known_valid = None if part.valid is None else valid
    return paired_samples(images, truth if masks else None, valid=known_valid, split=part.split), notes


def _masks_beside(folder: Path) -> set[Path]:
    """Masks that lie with their images in a folder, by their names."""
    from maskwright.datasets.formats.beside import pairs_within

    try:
        within = pairs_within(folder, [])
    except DataError:  # unclear which of them are masks
        return set()
    return set(within[1].values()) if within else set()


def _unusual(part: _Part) -> list[str]:
    """A note on which folders were taken for images and masks, where their names are not the common ones."""
    if part.masks is None or (plain(part.images.name) == "images" and plain(part.masks.name) in ("masks", "labels")):
        return []
    return [f"images are those of {part.images}, masks those of {part.masks}"]


def _images_folder(folder: Path) -> Path | None:
    """The folder of images; raises DataError if there are two."""
    found_images = [path for name in IMAGES if (path := child(folder, name))]
    if len(found_images) > 1:
        both = " and ".join(path.name for path in found_images)
        raise DataError(
            f"{folder} has both {both}, so it is unclear which holds the images. Expected one of them. Rename or move "
            "the other."
        )
    return found_images[0] if found_images else None


def _masks_folder(folder: Path) -> Path | None:
    """The folder of masks, if there is one; raises DataError if there are two."""
    candidates = [path for name in MASKS if (path := child(folder, name))]
    if len(candidates) > 1:  # annotations/ may hold something else
        candidates = [path for path in candidates if any(map(is_image, path.rglob("*")))]
    if len(candidates) > 1:
        both = " and ".join(path.name for path in candidates)
        raise DataError(
            f"{folder} has both {both}, so it is unclear which holds the truth. Expected one of them. Rename or move "
            "the other."
        )
    return candidates[0] if candidates else None


def _not_read(root: Path, parts: Sequence[_Part]) -> list[str]:
    """A note on the folders in `root` that are passed over."""
    if any(part.images == root for part in parts):
        return []
    used = [path for part in parts for path in (part.home, part.images, part.masks, part.valid) if path]
    unasked = [name for name in folders_in(root) if plain(name) in MASKS]
    unasked = unasked if all(part.masks is None for part in parts) else []
    return not_read(root, used, silent=unasked)


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


def _without_masks(folder: Path) -> PairingError:
    from maskwright.datasets.formats.refusals import no_masks

    return no_masks(folder)

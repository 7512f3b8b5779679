"""Images and masks that lie in one folder: their names say which is which, or their formats do."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.datasets.formats.layout import counted
from maskwright.datasets.formats.pairing import files_in, is_image, matched, stem_of, unpaired
from maskwright.datasets.sources import natural
from maskwright.errors import DataError, PairingError, listed

if TYPE_CHECKING:
    from maskwright.datasets.problems import Problem


_WORDS = "masks?|labels?|gt|segs?|segmentations?|annots?|annotations?|ground_?truths?|targets?"

_MASK_NAME = re.compile(rf"(.+)[_\-. ](?:{_WORDS}|(?-i:L))|(?:{_WORDS})[_\-. ](.+)", re.IGNORECASE)
"""Names that say "mask" themselves: x_mask, x-gt, x_L, mask_x."""

_LOSSY = (".jpg", ".jpeg")


def pairs_within(
    folder: Path, problems: list[Problem] | None
) -> tuple[dict[str, Path], dict[str, Path], list[str]] | None:
    """Images and masks that lie in one folder, by common name, and notes; None where no names tell them apart.

    The names say which is the mask (`x.png` and `x_mask.png`; `x_image.png` and `x_label.png`), or the formats do:
    `x.jpg` and `x.png`, where every image is a JPEG and every mask is not.

    Raises
    ------
    DataError
        Either file may be the mask, or there are two masks for an image.
    PairingError
        A file has no partner (noted in `problems`, if it is a list).
    """
    files = [path for path in folder.iterdir() if is_image(path)]
    if len({stem_of(path) for path in files}) == len(files) and not any(map(_named_mask, files)):
        return None
    files.sort(key=lambda path: natural(path.name))
    masks = {stem_of(path): path for path in files if _named_mask(path)}
    images = {stem_of(path): path for path in files if stem_of(path) not in masks}
    if not masks:
        return _by_format(folder, files, problems)
    if not images:
        return None
    named_images, named_masks, note = matched(images, masks, folder)
    if not named_images.keys() & named_masks.keys():
        return None
    if len(masks) + len(images) < len(files):
        files_in(folder, problems)  # says which two have one stem
    _check_within(folder, named_images, named_masks, problems)
    return named_images, named_masks, [note]


def _named_mask(path: Path) -> bool:
    return _MASK_NAME.fullmatch(stem_of(path)) is not None


def _by_format(
    folder: Path, files: Iterable[Path], problems: list[Problem] | None
) -> tuple[dict[str, Path], dict[str, Path], list[str]] | None:
    by_stem: defaultdict[str, list[Path]] = defaultdict(list)
    for path in files:
        by_stem[stem_of(path)].append(path)
    double = [paths for paths in by_stem.values() if len(paths) == 2]
    if 2 * len(double) <= len(by_stem):
        return None
    unclear = [pair for pair in double if sum(path.suffix.lower() in _LOSSY for path in pair) != 1]
    if unclear:
        first, second = (path.name for path in unclear[0])
        raise DataError(
            f"{folder} has {first} and {second}: either {first} is the image and {second} its "
            f"mask, or {second} is the image and {first} its mask.",
            expected=(
                "Expected images in images/ and masks in masks/, or names such as "
                f"{unclear[0][0].stem}.png and {unclear[0][0].stem}_mask.png."
            ),
            remedy="Move or rename them.",
            file=folder,
        )
    lossy = {stem_of(path): path for paths in by_stem.values() for path in paths if path.suffix.lower() in _LOSSY}
    exact = {stem_of(path): path for paths in by_stem.values() for path in paths if path.suffix.lower() not in _LOSSY}
    _check_within(folder, lossy, exact, problems)
    return lossy, exact, [f"{folder}: JPEG files are the images, the others of the same name their masks"]


def _check_within(
    folder: Path, images: Mapping[str, Path], masks: Mapping[str, Path], problems: list[Problem] | None
) -> None:
    alone = [path for name, path in images.items() if name not in masks]
    left = [path for name, path in masks.items() if name not in images]
    if problems is not None:
        problems += [unpaired(path, folder, "mask") for path in alone]
        problems += [unpaired(path, folder, "image") for path in left]
    elif alone or left:
        text = f"{folder} has images and masks side by side, and they do not pair."
        if alone:
            names = listed([path.name for path in alone])
            text += f"\n{counted(len(alone), 'image')} of {len(images)} without a mask: {names}."
        if left:
            text += f"\n{counted(len(left), 'mask')} without an image: {listed([path.name for path in left])}."
        raise PairingError(
            f"{text}\nExpected one mask for each image.", remedy="Add what is missing, or move these elsewhere."
        )

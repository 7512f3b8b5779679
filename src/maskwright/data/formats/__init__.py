"""Opening data: which files are samples, how they pair, and which class table their masks are read by."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maskwright.data.classes import CLASSES_FILE, NO_CLASSES, UNLABELLED, ClassTable
from maskwright.data.formats.folder import Layout, read_folder
from maskwright.data.samples import Dataset, Source, check_files
from maskwright.data.values import infer_classes, mask_values
from maskwright.errors import ClassTableError

__all__ = ["open_dataset"]

_MASKS_JUDGED = 8
"""Masks looked at to see whether a run's table fits, before all are."""


def open_dataset(path: str | Path, *, classes: ClassTable | None = None, masks: bool = True) -> Dataset:
    """Open a folder of images with masks.

    Files are paired and their headers read: sizes agree when this returns. The class table is that of `classes.toml`;
    without one it is found from the values of all masks, which are read for it once.

    Args:
        path: a folder as `formats.folder` describes.
        classes: a run's table. Its indices, names and colours hold. A `classes.toml` of the data must have the same
            names and gives the raw values; without one the raw values are the run's.
        masks: whether masks are needed. If not, none are read, and a plain folder of images or one image works
            too.

    Raises:
        DataError: its subclasses say what is wrong with the files.
        ClassTableError: the classes cannot be told, or do not agree with `classes`.
    """
    found = read_folder(Path(path), masks=masks)
    notes = [*found.notes, *check_files(found.samples)]
    table = classes
    if found.table is not None:
        own = ClassTable.load(found.table)
        table = own if classes is None else own.agreeing_with(classes, str(found.table))
        notes.append(f"{found.table} declares {len(table)} classes: {table.describe()}")
    elif masks and classes is None:
        table, note = infer_classes(mask_values(_masks(found)), found.masks_folder)
        notes.append(note)
    elif masks and classes is not None:
        _check_binary(found, classes)
        notes.append(f"masks are read by the run's classes: {classes.describe()}")
    if masks and table is not None:
        _check_labels(found, table)
    return Dataset(root=Path(path), samples=found.samples, classes=table or NO_CLASSES, notes=tuple(notes))


def _masks(found: Layout) -> list[Source]:
    return [sample.mask for sample in found.samples if sample.mask is not None]


def _check_labels(found: Layout, table: ClassTable) -> None:
    """In a labels folder the value 255 is unlabelled, whatever a table says."""
    name = next((item.name for item in table.classes if UNLABELLED in item.values), None)
    if name is not None and found.masks_folder.name.lower() == "labels":
        raise ClassTableError(
            f"{found.masks_folder} is a labels folder, where 255 always means unlabelled, but the class table has 255 "
            f"for {name!r}.\nIf 255 is that class in these files, rename the folder to masks; if not, write "
            f"{found.masks_folder.parent / CLASSES_FILE} with the value that stands for {name!r} here."
        )


def _check_binary(found: Layout, run: ClassTable) -> None:
    """Refuse masks of 0 and 255 for a run that knows no 255: its foreground would silently count as unlabelled."""
    masks = _masks(found)
    decided = run.claims(UNLABELLED) or UNLABELLED in run.unlabelled
    if decided or found.masks_folder.name.lower() != "masks":
        return
    places = np.unique(np.linspace(0, len(masks) - 1, _MASKS_JUDGED).astype(int))
    if set(mask_values([masks[place] for place in places])) == {0, 255} == set(mask_values(masks)):
        raise ClassTableError(
            f"{found.masks_folder} holds exactly the values 0 and 255, and the run's classes are {run.describe()}.\n"
            f"Say in {found.masks_folder.parent / CLASSES_FILE}, with the run's names, what the values stand for here: "
            f'for example name = "{run.names[-1]}" with value = 255, or unlabelled = [255].'
        )

"""Opening data: which files are samples, how they pair, and which class table their masks are read by.

`detect.FORMATS` is the table of readers. Detection is automatic: of the readers whose claim fits the listing, the first
that does not say "not mine" is taken, and the first note of the data set says what was found.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maskwright.datasets.classes import NO_CLASSES, UNLABELLED, ClassTable
from maskwright.datasets.formats.detect import FORMATS, Listing, read_with
from maskwright.datasets.formats.folder import unknown
from maskwright.datasets.formats.layout import Layout, may_be_tiff
from maskwright.datasets.problems import Problem, report
from maskwright.datasets.samples import Dataset, Source, check_files
from maskwright.datasets.values import infer_classes, mask_values
from maskwright.errors import ClassTableError

__all__ = ["FORMATS", "Layout", "find_layout", "open_dataset"]

_MASKS_JUDGED = 8
"""Masks looked at to see whether a run's table fits, before all are."""


def find_layout(root: Path, *, masks: bool = True, problems: list[Problem] | None = None) -> Layout:
    """Find out the format of a folder or file, and pair its images and masks; pixels are not read.

    Args:
        root: a folder, or a file where the format is a file.
        masks: whether masks are needed.
        problems: a list to which entries without a partner, doubled or broken are added, instead of being errors; they
            are left out of the samples.

    Raises:
        DataError: no reader knows the place, or the one that does says what is wrong with it.
    """
    listing = Listing(root)
    for row in FORMATS:
        if not row.claims(listing):
            continue
        layout = read_with(row)(root, masks=masks, problems=problems)
        if layout is not None:
            return _divided(layout, problems)
    raise unknown(root)


def _divided(layout: Layout, problems: list[Problem] | None) -> Layout:
    """Samples of stacks and large rasters in parts; only TIFF files are either."""
    if not any(may_be_tiff(sample.image) for sample in layout.samples):
        return layout
    from maskwright.datasets.formats.parts import in_parts

    return in_parts(layout, problems)


def open_dataset(path: str | Path, *, classes: ClassTable | None = None, masks: bool = True) -> Dataset:
    """Open images with masks, in whatever format they lie.

    Files are paired and their headers read: sizes agree when this returns. The class table is that of `classes.toml`,
    or the one that the format declares; without either it is found from the values of all masks, which are read for it
    once.

    Args:
        path: a folder or a file of one of the `FORMATS`.
        classes: a run's table. Its indices, names and colours hold. A `classes.toml` of the data must have the same
            names and gives the raw values; without one the raw values are the run's.
        masks: whether masks are needed. If not, none are read, and a plain folder of images or one image works
            too.

    Raises:
        DataError: its subclasses say what is wrong with the files.
        ClassTableError: the classes cannot be told, or do not agree with `classes`.
    """
    found = find_layout(Path(path), masks=masks)
    notes = [*found.notes, *check_files(found.samples)]
    table = classes
    own, source = _declared(found, Path(path))
    if own is not None:
        table = own if classes is None else own.agreeing_with(classes, source)
        notes.append(f"{source} declares {len(table)} classes: {table.describe()}")
    elif masks and classes is None:
        table, note = infer_classes(
            mask_values(_masks(found)), found.masks_folder, found.table_place, unlabelled_255=found.unlabelled_255
        )
        notes.append(note)
    elif masks and classes is not None:
        _check_binary(found, classes)
        notes.append(f"masks are read by the run's classes: {classes.describe()}")
    if masks and table is not None and found.classes is None:
        problem = found.contradiction(table)
        if problem is not None:
            report(None, problem, ClassTableError)
    return Dataset(root=Path(path), samples=found.samples, classes=table or NO_CLASSES, notes=tuple(notes))


def _declared(found: Layout, path: Path) -> tuple[ClassTable | None, str]:
    """The class table that the data set or its format declares, and what to call it."""
    if found.table is not None:
        return ClassTable.load(found.table), str(found.table)
    return found.classes, f"{path} ({found.format})"


def _masks(found: Layout) -> list[Source]:
    return [sample.mask for sample in found.samples if sample.mask is not None]


def _check_binary(found: Layout, run: ClassTable) -> None:
    """Refuse masks of 0 and 255 for a run that knows no 255: its foreground would silently count as unlabelled."""
    masks = _masks(found)
    decided = run.claims(UNLABELLED) or UNLABELLED in run.unlabelled
    if decided or found.unlabelled_255:
        return
    some = np.unique(np.linspace(0, len(masks) - 1, _MASKS_JUDGED).astype(int))
    if set(mask_values([masks[index] for index in some])) == {0, 255} == set(mask_values(masks)):
        raise ClassTableError(
            f"{found.masks_folder} holds exactly the values 0 and 255, and the run's classes are {run.describe()}.\n"
            f"Say in {found.table_place}, with the run's names, what the values stand for here: "
            f'for example name = "{run.names[-1]}" with value = 255, or unlabelled = [255].'
        )

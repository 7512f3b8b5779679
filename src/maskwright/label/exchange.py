"""Labels from elsewhere into a project, and out of it to elsewhere, by the readers and writers of data sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskwright.convert import Conversion, Target, convert
from maskwright.datasets.classes import CLASSES_FILE, UNLABELLED
from maskwright.datasets.formats import open_dataset
from maskwright.datasets.formats.project import DATABASE
from maskwright.datasets.samples import Dataset, Sample
from maskwright.errors import EmptyDataError, PairingError, SizeMismatchError, UndeclaredValueError, listed
from maskwright.imaging.decoders import Window
from maskwright.imaging.images import split_suffix
from maskwright.label.classes import values_of
from maskwright.label.patches import KEEP, Origin, Patch, encode
from maskwright.label.store import ImageState, Project

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What came of an import."""

    images: int
    """That got labels."""
    pixels: int
    """That got a label, or another."""
    kept: int
    """That a human had labelled otherwise and that stayed."""
    left_out: tuple[str, ...]
    """Samples that are no image of the project."""
    notes: tuple[str, ...]
    """How the data was read."""


def import_labels(
    folder: Path, data: Path, *, replace: bool = False, author: str = "", progress: Progress | None = None
) -> Imported:
    """Take labels of a data set into a project; a folder that is no project becomes one, with the data's classes.

    Labels are matched by the names of images, without suffix, and classes by their names. Unlabelled pixels of the data
    change nothing. What is imported counts as labelled by a human.

    Parameters
    ----------
    folder
        The project.
    data
        Images with masks, in any format that `open_dataset` reads; its images are only matched, not copied.
    replace
        Whether pixels that a human labelled may change; they stay otherwise.
    author
        Noted with the labels; "import NAME" by default.
    progress
        Called with masks read and of all; each is read twice.

    Raises
    ------
    UndeclaredValueError
        The data labels pixels by classes that the project lacks; nothing is imported then.
    SizeMismatchError
        A mask is not of its image's size; nothing is imported then.
    PairingError
        No mask, or more than one, is for an image of the project.
    """
    dataset = open_dataset(data)
    known = (folder / DATABASE).is_file() or (folder / CLASSES_FILE).is_file()
    with Project(folder, classes=None if known else dataset.classes.names, pause=None) as project:
        matched, left_out = _matched(project, dataset)
        total, tell = 2 * len(matched), progress or (lambda done, total: None)
        table = _values(project, dataset)
        counts: Counter[str] = Counter()
        for place, (sample, state, box) in enumerate(matched):
            mask = _mask(dataset, sample, state, box)
            amounts = np.bincount(mask[mask != UNLABELLED], minlength=len(dataset.classes))
            counts.update({name: int(amount) for name, amount in zip(dataset.classes.names, amounts, strict=True)})
            tell(place + 1, total)
        _refuse_undeclared(project, data, counts)
        images: set[str] = set()
        pixels = kept = 0
        for place, (sample, state, box) in enumerate(matched):
            labels, before = table[_mask(dataset, sample, state, box)], project.read(state.name, box)
            new = (labels != UNLABELLED) & ((before.values != labels) | (before.origins != Origin.HUMAN))
            blocked = new & (before.origins == Origin.HUMAN) & (not replace)
            new &= ~blocked
            kept += int(blocked.sum())
            if new.any():
                project.apply(
                    Patch(
                        image=state.name,
                        base=before.revision,
                        author=author or f"import {data.name}",
                        seconds=0.0,
                        box=box,
                        payload=encode(np.where(new, labels, np.uint16(KEEP))),
                        replace_human=replace,
                    )
                )
                images.add(state.name)
                pixels += int(new.sum())
            tell(len(matched) + place + 1, total)
    return Imported(images=len(images), pixels=pixels, kept=kept, left_out=left_out, notes=dataset.notes)


def export_labels(folder: Path, out: Path, to: Target, *, progress: Progress | None = None) -> Conversion:
    """Write a project's labelled images with their labels as a new folder in another format; see `convert`.

    Raises what `Project`, `open_dataset` and `convert` do: EmptyDataError if nothing is labelled yet.
    """
    if not (folder / DATABASE).is_file():
        raise EmptyDataError(
            f"{folder} is not a labelling project.",
            expected=f"Expected a folder with {DATABASE}.",
            remedy=f"For other data: maskwright convert {folder} {out} --to {to}",
            file=folder,
        )
    Project(folder, pause=None).close()  # label files follow the journal when this returns
    return convert(open_dataset(folder), out, to, progress=progress or (lambda done, total: None))


def _matched(project: Project, dataset: Dataset) -> tuple[list[tuple[Sample, ImageState, Window]], tuple[str, ...]]:
    """Samples of the data with the project's images that they are of, and where in them; and the names of others."""
    states = project.ready()
    by_file = {(split_suffix(Path(state.file).name)[0], state.page): state for state in states}
    by_name = {state.name: state for state in states}
    found, left_out = [], []
    for sample in dataset.samples:
        stem = split_suffix(sample.image.path.name)[0]
        state = by_file.get((stem, sample.image.page)) or by_name.get(sample.id.rsplit("/", 1)[-1])
        if state is None:
            left_out.append(sample.id)
        else:
            found.append((sample, state, sample.image.window or Window(0, 0, *state.shape)))
    doubled = [place for place, count in Counter((s.name, box) for _, s, box in found).items() if count > 1]
    if not found or doubled:
        what = f"has several masks for {doubled[0][0]}" if doubled else f"has no mask for an image of {project.folder}"
        raise PairingError(
            f"{dataset.root} {what}; its samples are {listed([sample.id for sample in dataset.samples])}.",
            expected="Expected masks of images with the same names, each once.",
            remedy="Name them alike, or import one split at a time.",
            file=dataset.root,
        )
    return found, tuple(left_out)


def _mask(dataset: Dataset, sample: Sample, state: ImageState, box: Window) -> np.ndarray:
    assert sample.mask is not None, "samples were opened with masks"
    mask = dataset.classes.encode(sample.mask.read_mask(), str(sample.mask.path))
    fits = box.top + box.height <= state.height and box.left + box.width <= state.width
    if mask.shape != (box.height, box.width) or not fits:
        height, width = mask.shape
        raise SizeMismatchError(
            f"The mask of {sample.id} is {width} x {height}, and {state.name} is {state.width} x {state.height}.",
            expected="Expected masks of the size of the project's images.",
            file=sample.mask.path,
        )
    return mask


def _values(project: Project, dataset: Dataset) -> np.ndarray:
    """The project's class values by the data's class indices."""
    own = dict(zip(project.classes.names, values_of(project.classes), strict=True))
    table = np.full(256, UNLABELLED, np.uint8)
    table[: len(dataset.classes)] = [own.get(name, UNLABELLED) for name in dataset.classes.names]
    return table


def _refuse_undeclared(project: Project, data: Path, counts: Counter[str]) -> None:
    strange = {name: count for name, count in counts.items() if count and name not in project.classes.names}
    if strange:
        told = ", ".join(f"{name} ({count:,} pixels)" for name, count in strange.items())
        raise UndeclaredValueError(
            f"{data} labels classes that {project.folder} does not have: {told}.",
            expected=f"Expected: {', '.join(project.classes.names)}.",
            remedy=f"Add them to {project.folder / CLASSES_FILE}, or rename them in the data's own class table.",
            file=data,
        )

"""Opening data: which files are samples, how they pair, and which class table their masks are read by.

`detect.FORMATS` is the table of readers. Detection is automatic: of the readers whose claim fits the listing, the first
that does not say "not mine" is taken, and the first note of the data set says what was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from maskwright.datasets.classes import NO_CLASSES, UNLABELLED, ClassTable, Value
from maskwright.datasets.formats.detect import FORMATS, Listing, read_with
from maskwright.datasets.formats.folder import child, unknown
from maskwright.datasets.formats.layout import Layout, folders_in, has_table, may_be_parts
from maskwright.datasets.formats.pairing import is_image
from maskwright.datasets.samples import Dataset, Sample, check_files
from maskwright.datasets.sources import THREADS, Source, declared_nodata
from maskwright.errors import ClassTableError, DataError, EmptyDataError, PairingError
from maskwright.outputs import refuse_unfinished
from maskwright.runs import OUTPUTS

if TYPE_CHECKING:
    from maskwright.datasets.problems import Problem
    from maskwright.datasets.values import MaskCounts

__all__ = ["FORMATS", "Layout", "divided", "find_layout", "open_dataset"]

_MASKS_JUDGED = 8
"""Masks looked at to see whether a run's table fits, before all are."""


def find_layout(root: Path, *, masks: bool = True, problems: list[Problem] | None = None) -> Layout:
    """Find out the format of a folder or file, and pair its images and masks; pixels are not read.

    Parameters
    ----------
    root
        A folder, or a file where the format is a file.
    masks
        Whether masks are needed.
    problems
        A list to which entries without a partner, doubled or broken are added, instead of being errors; they are left
        out of the samples.

    Raises
    ------
    DataError
        No reader knows the place, or the one that does says what is wrong with it.
    """
    refuse_unfinished(root)
    noted: list[Problem] | None = None if problems is None else []
    layout, refusal, by_names = _of_a_format(root, masks=masks, problems=noted)
    inner = _only_folder(root)
    if layout is None and refusal is None and inner is not None:
        # An archive unpacks into a folder of its own. Plain folders are found by their names anyway.
        layout, refusal, by_names = _of_a_format(inner, masks=masks, problems=noted, plain=False)
    # A manifest was written to say which mask is whose: however wrong, it is not guessed anew.
    listed = layout is not None and layout.format == "manifest"
    if masks and root.is_dir() and not listed and (layout is None or _is_doubtful(layout, noted)):
        layout, noted = _inferred(root, layout, refusal or unknown(root), noted, certain=by_names)
    if layout is None:
        raise refusal or unknown(root)
    _refuse_predictions(layout)
    if problems is not None:
        problems += noted or []
    return divided(layout, problems)


def _of_a_format(
    root: Path, *, masks: bool, problems: list[Problem] | None, plain: bool = True
) -> tuple[Layout | None, DataError | None, bool]:
    """The layout of the first format that knows the place, or its refusal, and whether names may be asked instead.

    With `plain` false, the format of plain folders is not tried.
    """
    listing = Listing(root)
    for row in FORMATS:
        if not row.claims(listing) or (row.module == "folder" and not plain):
            continue
        try:
            layout = read_with(row)(root, masks=masks, problems=problems)
        except DataError as error:
            how_files_lie = type(error) in (DataError, EmptyDataError, PairingError)
            if not how_files_lie or (error.file is not None and error.file.is_file()):
                raise
            # What a list or an annotation file declares, and what may be meant in two ways, is not guessed anew.
            return None, error, row.module == "folder" and type(error) is not DataError
        if layout is not None:
            return layout, None, True
    return None, None, True


def _only_folder(root: Path) -> Path | None:
    """The one folder of a place that holds no image itself; None where there are more."""
    if not root.is_dir():
        return None
    names = [name for name in folders_in(root) if not name.startswith("__")]
    return root / names[0] if len(names) == 1 and not any(map(is_image, root.iterdir())) else None


def _refuse_predictions(layout: Layout) -> None:
    """Raise DataError if masks are what `predict` wrote, unchanged: scores against them would say nothing."""
    folders = {sample.mask.path.parent for sample in layout.samples if isinstance(sample.mask, Source)}
    written = {folder for folder in folders if (folder / OUTPUTS).exists()}
    if not written:
        return
    from maskwright.outputs import is_own

    own = [
        sample.mask.path
        for sample in layout.samples
        if isinstance(sample.mask, Source) and sample.mask.path.parent in written and is_own(sample.mask.path)
    ]
    if own:
        raise DataError(
            f"{own[0]} was predicted by Maskwright, and is as it was written; so are {len(own)} of the masks.",
            expected="Expected masks that a person made or corrected.",
            remedy=f"To take predictions as truth all the same, copy them, or delete {own[0].parent / OUTPUTS}.",
            file=own[0],
        )


def _is_doubtful(layout: Layout, problems: list[Problem] | None) -> bool:
    """Whether what a format found is nothing, or less than half, or contested by what lies beside it."""
    unpaired = sum(problem.kind == "unpaired" for problem in problems or ())
    return (not layout.samples and layout.format == "folder") or unpaired > len(layout.samples) or layout.contested


def _inferred(
    root: Path, layout: Layout | None, refusal: DataError, problems: list[Problem] | None, *, certain: bool
) -> tuple[Layout, list[Problem] | None]:
    """What names and contents tell, where it is certain; else what was found, or the refusal with the ways out.

    With `certain` false they are only proposed.
    """
    from maskwright.datasets.formats import reading as words
    from maskwright.datasets.formats.infer import readings

    found = readings(root)
    reading = words.certain(found) if certain and child(root, "valid") is None else None
    if reading is not None:
        return reading.layout(root), None if problems is None else []
    if layout is not None and (not layout.contested or len(found) < 2):
        return layout, problems
    if found and not layout and refusal.what.startswith(f"{root} holds no images"):
        from maskwright.datasets.formats.refusals import contents

        refusal = EmptyDataError(f"{root} is of no known format. Found there: {contents(root)}.", file=root)
    way_out = words.proposal(root, found) or words.by_hand(root)
    raise type(refusal)(
        refusal.what, expected=refusal.expected, remedy=f"{refusal.remedy}\n{way_out}", file=refusal.file or root
    )


def divided(layout: Layout, problems: list[Problem] | None = None) -> Layout:
    """Samples of stacks and large rasters in parts."""
    if not any(may_be_parts(sample.image) for sample in layout.samples):
        return layout
    from maskwright.datasets.formats.parts import in_parts

    return in_parts(layout, problems)


def open_dataset(
    path: str | Path,
    *,
    classes: ClassTable | None = None,
    masks: bool = True,
    failed: dict[str, str] | None = None,
) -> Dataset:
    """Open images with masks, in whatever format they lie.

    Files are paired and their headers read: sizes agree when this returns. The class table is that of `classes.toml`,
    or the one that the format declares; without either it is found from the values of all masks, which are read for it
    once.

    Parameters
    ----------
    path
        A folder or a file of one of the `FORMATS`.
    classes
        A run's table. Its indices, names and colours hold. A `classes.toml` of the data must have the same names and
        gives the raw values; without one the raw values are the run's.
    masks
        Whether masks are needed. If not, none are read, and a plain folder of images or one image works too.
    failed
        A dictionary that takes samples whose files cannot be read or do not fit, by id, with what is wrong; they are
        left out of the data set, instead of being errors.

    Raises
    ------
    DataError
        Its subclasses say what is wrong with the files.
    ClassTableError
        The classes cannot be told, or do not agree with `classes`.
    """
    found = find_layout(Path(path), masks=masks)
    remarks, channels = check_files(found.samples, Path(path), failed)
    if failed is not None:
        found = replace(found, samples=tuple(sample for sample in found.samples if sample.id not in failed))
        if masks and classes is None and found.classes is None and found.table is None:
            found = replace(found, samples=_with_readable_masks(found.samples, failed))
        if failed and not found.samples:
            raise DataError("\n".join(list(failed.values())[:_SHOWN]))
    notes = [*found.notes, *remarks]
    table = classes
    own, source = _declared(found, Path(path))
    if own is not None:
        nodata = declared_nodata(_masks(found)) if masks else ()
        own = replace(own, unlabelled=(*own.unlabelled, *(v for v in nodata if not own.declares(v))))
        table = own if classes is None else own.agreeing_with(classes, source)
        notes.append(f"{source} declares {len(table)} classes: {table.describe()}")
    elif masks and classes is None:
        table, told = _undeclared(found, Path(path))
        notes += told
    elif masks and classes is not None:
        _check_binary(found, classes)
        notes.append(f"masks are read by the run's classes: {classes.describe()}")
    if masks and table is not None and found.classes is None:
        problem = found.contradiction(table)
        if problem is not None:
            from maskwright.datasets.problems import report

            report(None, problem, ClassTableError)
    return Dataset(
        root=Path(path),
        samples=found.samples,
        classes=table or NO_CLASSES,
        notes=tuple(notes),
        channels=channels,
    )


_SHOWN = 5


def _with_readable_masks(samples: Sequence[Sample], failed: dict[str, str]) -> tuple[Sample, ...]:
    """The samples whose masks can be decoded, which tells the classes; the others are put into `failed`."""

    def decode(sample: Sample) -> None:
        try:
            if sample.mask is not None:
                sample.mask.read_mask()
        except DataError as error:
            failed[sample.id] = str(error)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(decode, samples))
    return tuple(sample for sample in samples if sample.id not in failed)


def _declared(found: Layout, path: Path) -> tuple[ClassTable | None, str]:
    """The class table that the data set or its format declares, and what to call it."""
    if found.table is not None:
        return ClassTable.load(found.table), str(found.table)
    return found.classes, f"{path} ({found.format})"


def _undeclared(found: Layout, path: Path) -> tuple[ClassTable, list[str]]:
    """The class table of a data set that declares none: another tool's beside it, or what all values suggest; notes."""
    from maskwright.datasets.numbering import doubt
    from maskwright.datasets.values import clear_classes, count_masks, merged, number_objects, without_nodata

    counts = count_masks(_masks(found))
    _refuse_two_encodings(counts, found, path)
    values, ignored, told = without_nodata(merged(counts), declared_nodata(_masks(found)))
    notes = [told] if told else []
    beside = table_beside(found, path, values)
    if beside is not None:
        table = beside[0]
        notes.append(f"{beside[1]} declares {len(table)} classes: {table.describe()}")
    else:
        folder, place, unlabelled_255 = found.masks_folder, found.table_place, found.unlabelled_255
        if number_objects(counts):
            from maskwright.datasets.proposals import numbered_objects

            raise numbered_objects(values, folder, place, path)
        clear = None if ignored else clear_classes(values, folder, place, unlabelled_255=unlabelled_255)
        if clear is None:
            from maskwright.datasets.proposals import infer_classes

            clear = infer_classes(values, folder, place, path, unlabelled_255=unlabelled_255, nodata=bool(ignored))
        table, note = clear
        doubtful = doubt(_masks(found), values, folder, place)
        notes += [note, *(["warning: " + " ".join(doubtful)] if doubtful[0] else [])]
    return replace(table, unlabelled=(*table.unlabelled, *(v for v in ignored if not table.declares(v)))), notes


def _refuse_two_encodings(counts: Sequence[MaskCounts], found: Layout, root: Path) -> None:
    """Refuse a set in which some masks say 255 for what others call 1."""
    if found.unlabelled_255:
        return
    from maskwright.datasets.values import two_encodings

    highest, ones = two_encodings(counts)
    if highest:
        from maskwright.datasets.problems import fix_command
        from maskwright.datasets.proposals import two_encodings_text

        raise ClassTableError(
            two_encodings_text(found.masks_folder, highest, ones),
            expected="Expected one value for the class; as they are, 255 would be unlabelled.",
            remedy=f"A copy in which they agree:\n  {fix_command(root)}",
            file=found.masks_folder,
        )


def table_beside(found: Layout, path: Path, values: Mapping[Value, object]) -> tuple[ClassTable, Path] | None:
    """The class table of another tool that lies beside the masks and explains all their values, and its file."""
    homes = [path if path.is_dir() else path.parent, found.home, found.masks_folder, found.masks_folder.parent]
    folders = [home for home in homes if home is not None]
    if not any(has_table(folder) for folder in dict.fromkeys(folders)):
        return None
    from maskwright.datasets.tables import fitting_table

    return fitting_table(folders, values)


def _masks(found: Layout) -> list[Source]:
    return [sample.mask for sample in found.samples if sample.mask is not None]


def _check_binary(found: Layout, run: ClassTable) -> None:
    """Refuse masks of 0 and 255 for a run that knows no 255: its foreground would silently count as unlabelled."""
    masks = _masks(found)
    decided = run.claims(UNLABELLED) or UNLABELLED in run.unlabelled
    if decided or found.unlabelled_255:
        return
    from maskwright.datasets.values import mask_values

    some = np.unique(np.linspace(0, len(masks) - 1, _MASKS_JUDGED).astype(int))
    if set(mask_values([masks[index] for index in some])) == {0, 255} == set(mask_values(masks)):
        raise ClassTableError(
            f"{found.masks_folder} holds exactly the values 0 and 255, and the run's classes are {run.describe()}.\n"
            f"Say in {found.table_place}, with the run's names, what the values stand for here: "
            f'for example name = "{run.names[-1]}" with value = 255, or unlabelled = [255].'
        )

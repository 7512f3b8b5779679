"""Accepting a reading that a refusal proposes: `maskwright adopt DATA --as N` writes it down.

`manifest.csv` says which mask is whose, `classes.toml` what its values stand for; every command reads them from then
on, and a person can correct them. Nothing that exists is written over.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maskwright import runs
from maskwright.datasets.classes import CLASSES_FILE, ClassTable
from maskwright.datasets.formats import divided, find_layout
from maskwright.datasets.formats.infer import readings
from maskwright.datasets.formats.layout import Layout
from maskwright.datasets.formats.reading import Reading
from maskwright.datasets.formats.several import Layered
from maskwright.datasets.proposals import one_class_of, propose_classes
from maskwright.datasets.samples import Sample
from maskwright.datasets.sources import Source, declared_nodata
from maskwright.datasets.tables import fitting_table
from maskwright.datasets.values import count_masks, merged, number_objects, without_nodata
from maskwright.errors import ClassTableError, DataError

MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class Adopted:
    """What was written."""

    what: str
    """The reading, in a sentence."""
    samples: int
    files: tuple[Path, ...]
    classes: ClassTable | None
    """None where the values could not be told; `remains` says why."""
    remains: str = ""
    """What is still to be done."""


def adopt(root: Path, number: int, out: Path | None = None) -> Adopted:
    """Write down the reading of a folder with this number, as a refusal counts them, from 1.

    Parameters
    ----------
    root
        The data folder.
    number
        Which reading.
    out
        Where to write; the data folder itself by default. Elsewhere, paths in the manifest are absolute.

    Raises
    ------
    DataError
        There is no such reading, or a file that would be written exists.
    """
    home = out or root
    layout = _as_it_lies(root) if number == 1 else None
    samples: Sequence[Sample]
    names: Sequence[str]
    raters: Mapping[Path, Sequence[tuple[str, Path]]]
    if layout is None:
        chosen = _reading(root, number)
        what, samples, names, raters = chosen.what, chosen.samples, chosen.names, chosen.raters
        parts = divided(chosen.layout(root)).samples
    else:
        raters = {}
        layered = any(isinstance(sample.mask, Layered) for sample in layout.samples)
        names = layout.classes.names if layered and layout.classes is not None else ()
        what, samples, parts = layout.notes[0], _whole(layout.samples), layout.samples
    manifest, table = home / MANIFEST, home / CLASSES_FILE
    # A labels folder says that 255 is unlabelled; a manifest does not, so that the table may say what it is.
    in_labels = layout is not None and layout.unlabelled_255
    needed = [manifest] if layout is None or out is not None or in_labels else []
    if layout is not None and not needed:
        table = layout.table_place
    declared = _declared(layout)
    if not names and (declared is None or out is not None):
        needed.append(table)
    classes, remains = declared, ""
    if table in needed and declared is None:
        masks = [sample.mask for sample in parts if sample.mask is not None]
        counts = count_masks(masks)
        found, ignored, _ = without_nodata(merged(counts), declared_nodata(masks))
        beside = fitting_table([root, masks[0].path.parent, masks[0].path.parent.parent], found)
        try:
            numbered = beside is None and number_objects(counts)
            proposed = one_class_of(found) if numbered else propose_classes(found, masks[0].path.parent)
            classes = (
                beside[0] if beside is not None else replace(proposed, unlabelled=(*proposed.unlabelled, *ignored))
            )
        except ClassTableError as error:
            remains = str(error)
    text = _csv(samples, names, home, raters)
    # What is there already as it would be written, a killed call has left.
    same = table.exists() and table in needed and classes == ClassTable.load(table)
    for path in [*needed, manifest]:
        if (
            path.exists()
            and not (path == table and same)
            and not (path in needed and path.read_bytes() == text.encode())
        ):
            raise DataError(
                f"{path} exists already, and is not written over.",
                remedy="Move it away, or give another folder with --out.",
                file=path,
            )
    runs.sweep(home)
    # The manifest last: without it the folder is refused as before, and the same call goes on.
    if classes is not None and table in needed:
        classes.save(table)
    if manifest in needed:
        runs.write_text(manifest, text)
    written = tuple(path for path in needed if path.exists())
    return Adopted(what, len(samples), written, classes, remains)


def _whole(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Samples without their pages and windows: a manifest has a row for each file."""
    if all(sample.image.page is None and sample.image.window is None for sample in samples):
        return samples
    found: dict[Path, Sample] = {}
    for sample in samples:
        mask = None if sample.mask is None else replace(sample.mask, page=None, window=None)
        group = None if sample.group == sample.id.rsplit("-", 1)[0] else sample.group
        whole = replace(sample, image=replace(sample.image, page=None, window=None), mask=mask, group=group)
        found.setdefault(sample.image.path, whole)
    return list(found.values())


def _as_it_lies(root: Path) -> Layout | None:
    """The layout, where pairing is not what was refused."""
    try:
        return find_layout(root)
    except DataError:
        return None


def _declared(layout: Layout | None) -> ClassTable | None:
    """The class table that the data set brings along."""
    if layout is None:
        return None
    return layout.classes if layout.table is None else ClassTable.load(layout.table)


def _reading(root: Path, number: int) -> Reading:
    found = readings(root)
    if not 1 <= number <= len(found):
        have = f"{len(found)} readings" if found else "no reading"
        raise DataError(
            f"{root} has {have} to accept, and {number} was asked for.",
            remedy=f"Look at what `maskwright check {root}` proposes.",
            file=root,
        )
    return found[number - 1]


def _csv(
    samples: Sequence[Sample],
    names: Sequence[str],
    home: Path,
    raters: Mapping[Path, Sequence[tuple[str, Path]]],
) -> str:
    """The manifest's text: a column of masks for each class, or one; several masks in a cell are set apart by |.

    Masks of other observers have columns of their own.
    """
    text = io.StringIO()
    splits = any(sample.split for sample in samples)
    groups = any(sample.group for sample in samples)
    layers = list(names[1:]) if names and any(_numbers(sample) > {1} for sample in samples) else []
    header = ["image", *([f"mask:{name}" for name in layers] or ["mask"])]
    writer = csv.writer(text, lineterminator="\n")
    observers = list(dict.fromkeys(name for others in raters.values() for name, _ in others))
    header += [f"rater:{name}" for name in observers]
    writer.writerow(header + ["split"] * splits + ["group"] * groups)
    for sample in samples:
        assert sample.mask is not None
        row = ["|".join(_place(path, home) for path in sample.image.files), *_cells(sample.mask, len(layers), home)]
        others = dict(raters.get(sample.image.path, ()))
        row += [_place(others[name], home) if name in others else "" for name in observers]
        writer.writerow(row + [sample.split or ""] * splits + [sample.group or ""] * groups)
    return text.getvalue()


def _numbers(sample: Sample) -> set[int]:
    return set(sample.mask.numbers) if isinstance(sample.mask, Layered) else set()


def _cells(mask: Source, layers: int, home: Path) -> list[str]:
    if not isinstance(mask, Layered):
        return [_place(mask.path, home)]
    return [
        "|".join(_place(path, home) for path, own in zip(mask.paths, mask.numbers, strict=True) if own == number)
        for number in range(1, max(1, layers) + 1)
    ]


def _place(path: Path, home: Path) -> str:
    """A path as the manifest holds it: relative to the manifest where it lies below it, else absolute."""
    full, base = path.resolve(), home.resolve()
    return Path(os.path.relpath(full, base)).as_posix() if full.is_relative_to(base) else str(full)

"""Pictures of what a labelling script does: each function's votes on a few images, or a parameter's values compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from maskwright.datasets.classes import CLASSES_FILE, UNLABELLED, ClassTable, LabelClass
from maskwright.datasets.formats.project import images_of
from maskwright.datasets.sources import Source
from maskwright.errors import ClassTableError, EmptyDataError
from maskwright.imaging.colors import default_color
from maskwright.imaging.images import display
from maskwright.imaging.lettering import writable
from maskwright.imaging.painting import RGB, outline, overlay, reduced
from maskwright.label import figures
from maskwright.label.views import View, first_of_stack, open_view
from maskwright.label.voters import Failure, Script, read_script
from maskwright.label.weak import class_values, combined, votes_of

CELL = 260
"""Longer side of a picture on a sheet."""
_GAP, _TEXT, _LINE = 8, 13, 22
_INK, _PAPER = (28, 30, 34), (255, 255, 255)


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A contact sheet, and what went wrong on the way."""

    picture: RGB
    failures: tuple[Failure, ...]
    images: tuple[str, ...]


def vote_sheet(script: Script, folder: Path, count: int = 4) -> Sheet:
    """Each function's votes on a few images, spread evenly over the folder's, and what they make together.

    The functions' reliability is estimated from these images alone. Nothing is written. Raises EmptyDataError if there
    are no images, ClassTableError if neither the folder nor the script says what the classes are.
    """
    table = table_of(script, folder)
    views = _views(script, folder, count)
    every, failures = _all_votes(script, table, views)
    titles = ["image", *(voter.name for voter in script.voters), *([] if script.simple else ["together"])]
    rows = []
    for view, votes_JHW, labels in zip(views, every, _labels(script, table, views, every), strict=True):
        shown = [*votes_JHW, *([] if script.simple else [labels])]
        rows.append((view.name, [display(np.asarray(view)), *(colored(view, one, table) for one in shown)]))
    return Sheet(picture=draw(titles, rows), failures=tuple(failures), images=tuple(view.name for view in views))


def parameter_sheet(
    path: Path, folder: Path, parameter: str, values: Sequence[str], others: Mapping[str, str], count: int = 4
) -> Sheet:
    """The labels of a few images for each of several values of a parameter; nothing is written. See `vote_sheet`.

    Raises SettingError if the script at `path` has no such parameter.
    """
    scripts = [read_script(path, {**others, parameter: value}) for value in values]
    table = table_of(scripts[0], folder)
    views = _views(scripts[0], folder, count)
    cells: list[list[RGB]] = [[display(np.asarray(view))] for view in views]
    failures: list[Failure] = []
    for script in scripts:
        fresh = [View(np.asarray(v), source=v.source, home=folder, name=v.name, valid=v.valid) for v in views]
        every, failed = _all_votes(script, table, fresh)
        failures += failed
        for row, view, labels in zip(cells, views, _labels(script, table, fresh, every), strict=True):
            row.append(colored(view, labels, table))
    titles = ["image", *(f"{parameter} = {value}" for value in values)]
    rows = [(view.name, row) for view, row in zip(views, cells, strict=True)]
    return Sheet(picture=draw(titles, rows), failures=tuple(failures), images=tuple(view.name for view in views))


def table_of(script: Script, folder: Path) -> ClassTable:
    """The classes of a folder that need not be a project: those of its `classes.toml`, else the script's."""
    if (folder / CLASSES_FILE).is_file():
        return ClassTable.load(folder / CLASSES_FILE)
    if script.classes is None:
        raise ClassTableError(
            f"Neither {folder / CLASSES_FILE} nor {script.path} says what the classes are.",
            expected='Expected a line in the script such as CLASSES = ["background", "cell"].',
            file=script.path,
        )
    each = enumerate(script.classes)
    return ClassTable(classes=tuple(LabelClass(name=n, color=default_color(v, n), values=(v,)) for v, n in each))


def colored(view: View, labels: np.ndarray, table: ClassTable) -> RGB:
    """An image under labels (class indices); where they are 255 it shows through, darker."""
    photo = display(np.asarray(view))
    unlabelled = labels == UNLABELLED
    shown = overlay(photo, table.rgb(labels), opacity=0.6, hidden_HW=unlabelled, outline_HW=outline(labels))
    shown[unlabelled] = photo[unlabelled] // 2
    return shown


def draw(titles: Sequence[str], rows: Sequence[tuple[str, Sequence[RGB]]]) -> RGB:
    """Rows of pictures under titles, each row with its name below."""
    rows = [(name, [reduced(cell, CELL) for cell in cells]) for name, cells in rows]
    width = max(cell.shape[1] for _, cells in rows for cell in cells) + _GAP
    heights = [max(cell.shape[0] for cell in cells) + _LINE + _GAP for _, cells in rows]
    paper = Pillow.new("RGB", (_GAP + width * len(titles), _LINE + _GAP + sum(heights)), _PAPER)
    pen = ImageDraw.Draw(paper)

    def write(at: tuple[int, int], text: str, room: int) -> None:
        shown, font = writable(text, _TEXT)
        while len(shown) > 1 and font.getlength(shown) > room:
            shown = f"{shown[:-2]}…"
        pen.text(at, shown, fill=_INK, font=font)

    for column, title in enumerate(titles):
        write((_GAP + column * width, 4), title, width - _GAP)
    top = _LINE
    for (name, cells), height in zip(rows, heights, strict=True):
        for column, cell in enumerate(cells):
            paper.paste(Pillow.fromarray(cell), (_GAP + column * width, top))
        write((_GAP, top + height - _LINE - _GAP + 2), name, width * len(titles) - _GAP)
        top += height
    return np.asarray(paper)


def _views(script: Script, folder: Path, count: int) -> list[View]:
    files = images_of(folder)
    ends = tuple(f"{mark}{own}" for own in script.companions for mark in "_-.")
    files = {n: f for n, f in files.items() if not any(n.endswith(e) and n.removesuffix(e) in files for e in ends)}
    if not files:
        raise EmptyDataError(f"{folder} has no images.", file=folder)
    names = list(files)
    places = np.unique(np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int))
    return [
        open_view(Source(path=files[n], page=first_of_stack(files[n])), n, folder) for n in (names[p] for p in places)
    ]


def _all_votes(script: Script, table: ClassTable, views: Sequence[View]) -> tuple[list[np.ndarray], list[Failure]]:
    """Votes (class indices) of every function on every image."""
    values, every, failures = class_values(script, table), [], []
    for view in views:
        votes_JHW, failed = votes_of(script, view, values)
        every.append(votes_JHW)
        failures += failed
    return every, failures


def _labels(script: Script, table: ClassTable, views: Sequence[View], every: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What the votes make together, class indices."""
    if script.simple:
        return [votes_JHW[0] for votes_JHW in every]
    classes = len(table)
    regions = [view.superpixels(script.superpixel) if script.superpixel > 1 else None for view in views]
    found = [
        figures.counted_regions(votes_JHW, regions_HW, classes)
        for votes_JHW, regions_HW in zip(every, regions, strict=True)
    ]
    total = figures.summed([figures.Counts(regions=one) for one in found])
    reliability = figures.fit(total, len(script.voters), classes)
    return [
        combined(votes_JHW, regions_HW, reliability, classes, script.confidence)[0]
        for votes_JHW, regions_HW in zip(every, regions, strict=True)
    ]

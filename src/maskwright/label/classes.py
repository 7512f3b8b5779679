"""Classes of a project: a value means one class for ever, and every change is logged.

The value in label files is the class's number in the project. A class that is merged or deleted leaves its value
unused: nothing else moves, so that files, patches, backups and trained runs of all times agree. Whoever reads the
project reads it by `classes.toml`, which gives the values; gaps do not reach the network.

The database is the truth and `classes.toml` is written from it. Names, colours and new classes that were edited in the
file are taken over when the project is opened; a class that is gone from it is refused, since its pixels would be lost.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tomli_w

from maskwright.datasets.classes import CLASSES_FILE, UNLABELLED, ClassTable, LabelClass
from maskwright.datasets.formats.pairing import is_image
from maskwright.datasets.formats.project import LABELS
from maskwright.datasets.proposals import infer_classes
from maskwright.datasets.sources import Source
from maskwright.datasets.values import mask_values
from maskwright.errors import ClassTableError
from maskwright.imaging.colors import color_codes, color_name, color_rgb, default_color
from maskwright.imaging.decoders import Window
from maskwright.label.files import BACKUPS
from maskwright.label.journal import Entry, Journal, bands, now
from maskwright.label.patches import EMPTY, KEEP, restored, stored
from maskwright.label.schema import explained
from maskwright.runs import replacing, write_text

if TYPE_CHECKING:
    from maskwright.label.store import Project


def values_of(table: ClassTable) -> list[int]:
    """The value of each class in label files, in order."""
    return [int(item.values[0]) for item in table.classes]


def palette_of(table: ClassTable) -> bytes:
    """The 768 bytes of a palette by value: the colours of classes, light grey for 255, black for the others."""
    by_index = np.frombuffer(table.palette(), np.uint8).reshape(256, 3)
    by_value = np.zeros((256, 3), np.uint8)
    by_value[values_of(table)] = by_index[: len(table)]
    by_value[UNLABELLED] = by_index[UNLABELLED]
    return by_value.tobytes()


def settle(journal: Journal, folder: Path, names: Sequence[str] | None) -> ClassTable:
    """The class table of a project that is opened; database and `classes.toml` agree when this returns.

    Raises ClassTableError if the classes cannot be told, or `classes.toml` lacks one of the project.
    """
    path, known = folder / CLASSES_FILE, _load(journal)
    if known is None:
        table, what = _first(folder, names), "the project's first classes"
    else:
        if names is not None and list(names) != known.names:
            raise ClassTableError(
                f"{folder} has the classes {', '.join(known.names)}, and {', '.join(names)} were given.",
                expected="Classes are given once, when a project is made.",
                remedy="Leave them out; add, rename, merge or delete classes one by one.",
            )
        text = path.read_text("utf-8") if path.is_file() else ""
        written = journal.rows("SELECT value FROM fact WHERE name = 'classes.toml'")
        if not text or text == _text(known) or (written and text == written[0][0]):
            table, what = known, ""
        else:
            table, what = _edited(known, ClassTable.load(path), journal, path), f"{CLASSES_FILE} was edited"
    if what:
        with journal.change():
            _note(journal, known, table, "file" if known else "", what)
    _write(journal, path, table)
    return table


def add(project: Project, name: str, author: str, color: str | None = None) -> int:
    """Add a class and return its value: the one after the highest ever used."""
    (highest,) = project.journal.rows("SELECT max(value) FROM class")[0]
    value = int(highest) + 1
    if value >= UNLABELLED:
        raise ClassTableError(
            f"{project.folder} has used all values up to {highest}.", remedy="Rename a class, or begin a new project."
        )
    rgb = color_rgb(color) if color else default_color(value, name)
    new = LabelClass(name=name, color=rgb, values=(value,))
    _change(project, replace(project.classes, classes=(*project.classes.classes, new)), author, f"added {name!r}")
    return value


def rename(project: Project, name: str, new: str, author: str) -> None:
    """Give a class another name."""
    changed = (replace(item, name=new) if item.name == name else item for item in project.classes.classes)
    _value(project, name)
    _change(project, replace(project.classes, classes=tuple(changed)), author, f"renamed {name!r} to {new!r}")


def recolor(project: Project, name: str, color: str, author: str) -> None:
    """Give a class another colour, "#rrggbb"; label files get it in their palettes."""
    rgb = color_rgb(color)
    changed = (replace(item, color=rgb) if item.name == name else item for item in project.classes.classes)
    _value(project, name)
    _change(project, replace(project.classes, classes=tuple(changed)), author, f"gave {name!r} the colour {color}")


def merge(project: Project, name: str, into: str, author: str) -> int:
    """Make all pixels of a class another's, and retire it; returns how many there were. A backup is made first."""
    value, other = _value(project, name), _value(project, into)
    if value == other:
        raise ClassTableError(f"{name!r} cannot be merged into itself.", remedy="Choose another class.")
    return _retire(project, name, other, author, f"merged {name!r} into {into!r}")


def delete(project: Project, name: str, author: str) -> int:
    """Make all pixels of a class unlabelled, and retire it; returns how many there were. A backup is made first."""
    return _retire(project, name, None, author, f"deleted {name!r}")


def _retire(project: Project, name: str, into: int | None, author: str, what: str) -> int:
    value, journal = _value(project, name), project.journal
    if len(project.classes) <= 2:
        raise ClassTableError(
            f"{name!r} is one of two classes.",
            expected="A project has two classes at least.",
            remedy="Add one first, or rename this one.",
        )
    rest = tuple(item for item in project.classes.classes if item.name != name)
    pixels = 0

    def make(old: np.ndarray, top: int) -> np.ndarray:
        nonlocal pixels
        own = old & 0xFF == value
        pixels += int(np.count_nonzero(own))
        new = EMPTY if into is None else old & 0xFF00 | np.uint16(into)
        return np.where(own, new, np.uint16(KEEP))

    with journal.lock:
        states = project.ready()
        backup = _backup(project)
        with journal.change():
            # What was painted before would bring the class back.
            journal.rows("UPDATE entry SET state = 'fixed' WHERE state != 'fixed'")
            for state in states:
                if any((journal.read(state.id, state.shape, b) & 0xFF == value).any() for b in bands(state.shape)):
                    box = Window(0, 0, *state.shape)
                    journal.write(state.id, None, Entry(kind="class", author=author), box, make)
            for id_, *place, cells in journal.rows("SELECT id, top, left, height, width, cells FROM second_label"):
                box = Window(*place)
                drawn = restored(cells, box).rows(0, box.height)
                drawn[drawn == value] = UNLABELLED if into is None else into
                journal.rows("UPDATE second_label SET cells = ? WHERE id = ?", stored(drawn), id_)
            _note(journal, project.classes, replace(project.classes, classes=rest), author, what, pixels, backup)
            journal.rows("UPDATE class SET retired = ? WHERE value = ?", what, value)
        _take_effect(project)
    return pixels


def _change(project: Project, table: ClassTable, author: str, what: str) -> None:
    """Take a table over that leaves all pixels as they are."""
    with project.journal.lock:
        with project.journal.change():
            _note(project.journal, project.classes, table, author, what)
        _take_effect(project)


def _take_effect(project: Project) -> None:
    """Read the table back, write `classes.toml`, and have label files written again, for their palettes."""
    table = _load(project.journal)
    assert table is not None, "an open project has classes"
    project.classes = table
    _write(project.journal, project.folder / CLASSES_FILE, table)
    project.label_files_are_old()


def _backup(project: Project) -> str:
    """Copy the database into `backups/`, and return the copy's name; raises ProjectError if the disk is full."""
    name = f"{now().replace(':', '')}.sqlite"
    folder = project.folder / BACKUPS
    with explained(folder / name), replacing(folder / name) as temporary:
        project.journal.rows("VACUUM INTO ?", str(temporary))
    return name


def _value(project: Project, name: str) -> int:
    """The value of a class; raises ClassTableError if there is none of that name."""
    for item, value in zip(project.classes.classes, values_of(project.classes), strict=True):
        if item.name == name:
            return value
    raise ClassTableError(
        f"{project.folder} has no class {name!r}.", expected=f"Expected one of {', '.join(project.classes.names)}."
    )


def _load(journal: Journal) -> ClassTable | None:
    """The table in the database; None if the project is new."""
    rows = journal.rows("SELECT name, color, value FROM class WHERE retired IS NULL ORDER BY value")
    if not rows:
        return None
    (unlabelled,) = journal.rows("SELECT value FROM fact WHERE name = 'unlabelled'")[0]
    classes = (LabelClass(name=name, color=color_rgb(color), values=(value,)) for name, color, value in rows)
    return ClassTable(classes=tuple(classes), unlabelled=tuple(json.loads(unlabelled)))


def _note(
    journal: Journal,
    before: ClassTable | None,
    table: ClassTable,
    author: str,
    what: str,
    pixels: int = 0,
    backup: str = "",
) -> None:
    """Keep a table in the database, and log the change, within `Journal.change`."""
    for item, value in zip(table.classes, values_of(table), strict=True):
        color = color_name(int(color_codes(np.array(item.color, np.uint8))))
        journal.rows("INSERT OR REPLACE INTO class (value, name, color) VALUES (?, ?, ?)", value, item.name, color)
    journal.rows("INSERT OR REPLACE INTO fact VALUES ('unlabelled', ?)", json.dumps(table.unlabelled))
    journal.rows(
        "INSERT INTO class_change (at, author, what, before, after, pixels, backup) VALUES (?, ?, ?, ?, ?, ?, ?)",
        *(now(), author, what, _text(before) if before else "", _text(table), pixels, backup),
    )


def _edited(known: ClassTable, given: ClassTable, journal: Journal, path: Path) -> ClassTable:
    """A table that was edited by hand, if it leaves the meaning of every value."""
    _check_values(given, path)
    gone = [item.name for item in known.classes if item.values[0] not in values_of(given)]
    retired = {value for (value,) in journal.rows("SELECT value FROM class WHERE retired IS NOT NULL")}
    again = [item.name for item in given.classes if item.values[0] in retired]
    if gone or again:
        found = f"lacks {', '.join(gone)}" if gone else f"gives a value that was retired to {', '.join(again)}"
        raise ClassTableError(
            f"{path} was edited and {found}.",
            expected="Expected every class of the project; names and colours may differ, and new values be added.",
            remedy="Restore them in the file; classes are merged and deleted in the project, which keeps a backup.",
            file=path,
        )
    ordered = sorted(given.classes, key=lambda item: int(item.values[0]))
    return replace(given, classes=tuple(ordered))


def _first(folder: Path, names: Sequence[str] | None) -> ClassTable:
    """The classes of a new project: those of `classes.toml`, those given, or those that label files suggest."""
    path, labels = folder / CLASSES_FILE, folder / LABELS
    masks = [Source(path=file) for file in sorted(labels.glob("*")) if is_image(file)] if labels.is_dir() else []
    if path.is_file():
        table = ClassTable.load(path)
        if masks:
            _check_values(table, path)
        else:
            table = _numbered(table)
        return replace(table, classes=tuple(sorted(table.classes, key=lambda item: int(item.values[0]))))
    if names is not None:
        if len(names) < 2:
            raise ClassTableError(
                f"{len(names)} class was given for {folder}.",
                expected="Expected two or more, background included: it is a class like any other.",
            )
        each = enumerate(names)
        return ClassTable(classes=tuple(LabelClass(name=n, color=default_color(v, n), values=(v,)) for v, n in each))
    if not masks:
        raise ClassTableError(
            f"{folder} has no {CLASSES_FILE} and no labels, so its classes are not known.",
            expected="Expected two or more names of classes.",
            remedy=f"Give them, or write {path}.",
            file=path,
        )
    return infer_classes(mask_values(masks), labels, unlabelled_255=True)[0]


def _numbered(table: ClassTable) -> ClassTable:
    """The classes with their places as values; nothing is labelled yet."""
    classes = tuple(replace(item, values=(value,)) for value, item in enumerate(table.classes))
    return ClassTable(classes=classes)


def _check_values(table: ClassTable, path: Path) -> None:
    for item in table.classes:
        if len(item.values) != 1 or not isinstance(item.values[0], int) or not 0 <= item.values[0] < UNLABELLED:
            raise ClassTableError(
                f"{path} gives {item.name!r} the values {', '.join(map(str, item.values))}.",
                expected="In a labelling project a class has one value, from 0 to 254.",
                remedy="Convert the data first: maskwright convert DATA OUT --to folder",
                file=path,
            )


def _text(table: ClassTable) -> str:
    return tomli_w.dumps(table.to_dict())


def _write(journal: Journal, path: Path, table: ClassTable) -> None:
    """Write `classes.toml` if it differs, and note what was written: any other text is somebody's edit."""
    text = _text(table)
    if not path.is_file() or path.read_text("utf-8") != text:
        with explained(path):
            write_text(path, text)
    if journal.rows("SELECT value FROM fact WHERE name = 'classes.toml'") != [(text,)]:
        with journal.change():
            journal.rows("INSERT OR REPLACE INTO fact VALUES ('classes.toml', ?)", text)

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.datasets.classes import ClassTable, LabelClass
from maskwright.errors import ClassTableError, UndeclaredValueError
from maskwright.imaging.images import read_mask
from maskwright.label import classes
from maskwright.label.store import Patch, Project

Paint = Callable[..., Patch]


def values(project: Project) -> dict[str, int]:
    table = ClassTable.load(project.folder / "classes.toml")
    assert table == project.classes
    return dict(zip(table.names, classes.values_of(table), strict=True))


def palette(path: Path, value: int) -> list[int]:
    with Image.open(path) as picture:
        colors = picture.getpalette()
    assert colors is not None
    return colors[3 * value : 3 * value + 3]


def test_names_and_colours_change_no_value(project: Project, paint: Paint) -> None:
    project.apply(paint(np.ones((2, 2), int), 0))
    project.save()
    classes.rename(project, "cell", "cytoplasm", "ada")
    classes.recolor(project, "cytoplasm", "#010203", "ada")
    project.save()
    assert values(project) == {"ground": 0, "cytoplasm": 1, "nucleus": 2}
    assert palette(project.folder / "labels" / "a.png", 1) == [1, 2, 3]
    log = project.journal.rows("SELECT what, author, pixels, backup FROM class_change ORDER BY id")
    assert log[1:] == [
        ("renamed 'cell' to 'cytoplasm'", "ada", 0, ""),
        ("gave 'cytoplasm' the colour #010203", "ada", 0, ""),
    ]
    with pytest.raises(ClassTableError, match="no class 'cell'"):
        classes.rename(project, "cell", "x", "ada")
    with pytest.raises(ClassTableError, match="Two classes"):
        classes.rename(project, "ground", "nucleus", "ada")


@pytest.mark.parametrize("into", ["nucleus", None], ids=["merge", "delete"])
def test_a_retired_class_takes_its_pixels_along_and_moves_no_other(
    project: Project, paint: Paint, into: str | None
) -> None:
    project.apply(paint(np.ones((3, 3), int), 0))
    project.apply(paint(np.full((1, 3), 2), 1))
    again = paint(np.ones((2, 2), int), 0)
    project.second_label("a", again.box, again.payload, "bo", 1.0)
    if into:
        assert classes.merge(project, "cell", into, "ada") == 6
    else:
        assert classes.delete(project, "cell", "ada") == 6
    assert values(project) == {"ground": 0, "nucleus": 2}
    assert project.read("a").values[:3, :3].tolist() == [[2, 2, 2]] + [[2 if into else 255] * 3] * 2
    assert project.read("a").origins[1, 0] == (1 if into else 0)
    assert project.undo("a", 3, "ada") is None, "what was painted before would bring the class back"
    with pytest.raises(UndeclaredValueError):
        project.apply(paint(np.ones((1, 1), int), 3))
    assert classes.add(project, "debris", "ada") == 3, "a value is never used again"
    (backup,) = project.journal.rows("SELECT backup FROM class_change WHERE pixels = 6")[0]
    with closing(sqlite3.connect(project.folder / "backups" / backup)) as old:
        assert old.execute("SELECT revision FROM image WHERE name = 'a'").fetchone() == (2,)
        assert old.execute("SELECT count(*) FROM class WHERE retired IS NULL").fetchone() == (3,)
    project.close()
    with Project(project.folder, pause=None) as opened:
        assert opened.classes.names == ["ground", "nucleus", "debris"]
        assert opened.read("a").values[1, 0] == (2 if into else 255)
    found = set(np.unique(read_mask(project.folder / "labels" / "a.png")).tolist())
    assert found == {2, 255}
    assert ClassTable.load(project.folder / "classes.toml").encode(np.array([[2, 3]]), "").tolist() == [[1, 2]]


def test_the_last_two_classes_stay(folder: Path) -> None:
    with Project(folder, classes=["x", "y"], pause=None) as project, pytest.raises(ClassTableError, match="two"):
        classes.delete(project, "x", "ada")


def test_an_edited_table_is_taken_over_if_no_pixel_changes_its_meaning(project: Project) -> None:
    project.close()
    path = project.folder / "classes.toml"
    ground, cell, nucleus = project.classes.classes
    debris = LabelClass(name="debris", color=(9, 9, 9), values=(7,))
    ClassTable(classes=(ground, replace(cell, name="cytoplasm"), nucleus, debris)).save(path)
    with Project(project.folder, pause=None) as opened:
        assert values(opened) == {"ground": 0, "cytoplasm": 1, "nucleus": 2, "debris": 7}
        assert opened.journal.rows("SELECT what FROM class_change ORDER BY id DESC LIMIT 1") == [
            ("classes.toml was edited",)
        ]
    path.write_text('[[class]]\nname = "ground"\nvalue = 0\n[[class]]\nname = "nucleus"\nvalue = 1\n')
    with pytest.raises(ClassTableError, match="lacks nucleus, debris"):
        Project(project.folder, pause=None)
    path.unlink()
    with Project(project.folder, pause=None) as opened:
        assert len(values(opened)) == 4, "a lost table is written again"


def test_classes_of_a_new_project(folder: Path) -> None:
    with pytest.raises(ClassTableError, match="classes are not known"):
        Project(folder, pause=None)
    (folder / "classes.toml").write_text('[[class]]\nname = "x"\nvalue = "#ff0000"\n[[class]]\nname = "y"\nvalue = 9\n')
    with Project(folder, pause=None) as project:
        assert values(project) == {"x": 0, "y": 1}
    with pytest.raises(ClassTableError, match="given once"):
        Project(folder, classes=["a", "b"], pause=None)


def test_labels_whose_table_has_colours_are_not_guessed_at(folder: Path) -> None:
    (folder / "labels").mkdir()
    Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save(folder / "labels" / "a.png")
    (folder / "classes.toml").write_text('[[class]]\nname = "x"\nvalue = "#000000"\n[[class]]\nname = "y"\nvalue = 9\n')
    with pytest.raises(ClassTableError, match="from 0 to 254"):
        Project(folder, pause=None)

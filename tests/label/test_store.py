"""A project keeps what it acknowledged: revisions, undo, status, origins, files, and one process at a time."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from maskwright.errors import ProjectError, SizeMismatchError, StaleRevisionError, UndeclaredValueError
from maskwright.imaging.decoders import Window
from maskwright.imaging.images import read_mask
from maskwright.label import journal
from maskwright.label.store import Origin, Patch, Project

Paint = Callable[..., Patch]


def test_a_patch_is_seen_counted_up_and_written(project: Project, paint: Paint) -> None:
    stroke = np.full((3, 4), 2)
    stroke[1, 1] = -1
    assert project.apply(paint(stroke, 0, top=5, left=6)) == 1
    labels = project.read("a")
    expected = np.full((40, 48), 255)
    expected[5:8, 6:10] = 2
    expected[6, 7] = 255
    assert (labels.values == expected).all()
    assert (labels.origins == (expected != 255)).all()
    assert labels.revision == 1
    assert not (project.folder / "labels" / "a.png").exists()
    project.save()
    assert (read_mask(project.folder / "labels" / "a.png") == expected).all()
    assert (read_mask(project.folder / "labels" / "sources" / "a.png") == (expected != 255)).all()
    assert not (project.folder / "labels" / "b.png").exists()
    assert (project.image("a").written, project.image("a").labelled) == (1, 11)


def test_every_commit_is_flushed_and_comes_before_the_acknowledgement(project: Project, paint: Paint) -> None:
    assert project.journal.rows("PRAGMA synchronous") == [(2,)]
    assert project.journal.rows("PRAGMA journal_mode") == [("wal",)]
    seen: list[str] = []
    project.journal.connection.set_trace_callback(seen.append)
    revision = project.apply(paint(np.ones((2, 2), int), 0))
    project.journal.connection.set_trace_callback(None)
    places = [
        next(i for i, text in enumerate(seen) if text.startswith(start)) for start in ("BEGIN", "INSERT INTO entry")
    ]
    assert places == sorted(places)
    assert [text for text in seen if text.startswith(("COMMIT", "ROLLBACK"))] == ["COMMIT"]
    assert seen[-1] == "COMMIT", "nothing of the change comes after it"
    assert revision == 1


def test_a_stale_revision_is_refused(project: Project, paint: Paint) -> None:
    project.apply(paint(np.ones((2, 2), int), 0))
    for base in (0, 2):
        with pytest.raises(StaleRevisionError, match="revision 1"):
            project.apply(paint(np.full((2, 2), 2), base, top=20))
    with pytest.raises(StaleRevisionError):
        project.undo("a", 0, "ada")
    assert (project.read("a").values[20:22] == 255).all()
    assert project.image("a").revision == 1


def test_what_does_not_fit_is_refused(project: Project, paint: Paint) -> None:
    with pytest.raises(UndeclaredValueError, match="value 3"):
        project.apply(paint(np.full((2, 2), 3), 0))
    for top, left in ((39, 0), (0, 47), (-1, 0)):
        with pytest.raises(ProjectError):
            project.apply(paint(np.ones((2, 2), int), 0, top=top, left=left))
    with pytest.raises(ProjectError, match="no image 'c'"):
        project.apply(paint(np.ones((2, 2), int), 0, image="c"))
    assert project.image("a").revision == 0


def test_undo_and_redo_survive_a_restart(folder: Path, paint: Paint) -> None:
    with Project(folder, classes=["ground", "cell"], pause=None) as project:
        project.apply(paint(np.zeros((10, 10), int), 0))
        project.apply(paint(np.ones((4, 4), int), 1, top=2, left=2))
    with Project(folder, pause=None) as project:
        assert project.undo("a", 2, "bo") == (3, Window(2, 2, 4, 4))
        assert (project.read("a").values[:10, :10] == 0).all()
    with Project(folder, pause=None) as project:
        assert project.undo("a", 3, "bo") == (4, Window(0, 0, 10, 10))
        assert project.undo("a", 4, "bo") is None
        assert (project.read("a").values == 255).all()
        assert (project.read("a").origins == 0).all()
    with Project(folder, pause=None) as project:
        assert project.redo("a", 4, "bo") == (5, Window(0, 0, 10, 10))
        assert project.redo("a", 5, "bo") == (6, Window(2, 2, 4, 4))
        assert (project.read("a").values[2:6, 2:6] == 1).all()
        project.undo("a", 6, "bo")
        project.apply(paint(np.ones((1, 1), int), 7, top=30))
        assert project.redo("a", 8, "bo") is None, "painting ends what could be redone"
        project.undo("a", 8, "bo")
        project.undo("a", 9, "bo")
        assert (project.read("a").values == 255).all()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_history_equals_a_model_in_numpy(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small tiles and few entries between snapshots, so that a short history meets every case.
    monkeypatch.setattr(journal, "EDGE", 8)
    monkeypatch.setattr(journal, "REPLAYED", 3)
    monkeypatch.setattr(journal, "_LARGE", 6)
    folder = tmp_path_factory.mktemp("history")
    Image.fromarray(np.zeros((21, 29), np.uint8)).save(folder / "a.png")
    project = Project(folder, classes=["x", "y", "z"], pause=None)
    history, place, revision = [np.full((21, 29), 255)], 0, 0
    for _ in range(data.draw(st.integers(1, 15))):
        match data.draw(st.sampled_from(["paint", "paint", "undo", "redo", "restart", "save"])):
            case "paint":
                top, left = data.draw(st.integers(0, 20)), data.draw(st.integers(0, 28))
                height, width = data.draw(st.integers(1, 21 - top)), data.draw(st.integers(1, 29 - left))
                seed = data.draw(st.integers(0, 99))
                stroke = np.random.default_rng(seed).choice([-1, 0, 1, 2, 255], (height, width))
                revision = project.apply(paint(stroke, revision, top=top, left=left))
                new = history[place].copy()
                part = new[top : top + height, left : left + width]
                part[stroke >= 0] = stroke[stroke >= 0]
                history[place + 1 :] = [new]
                place += 1
            case "undo":
                done = project.undo("a", revision, "ada")
                assert (done is None) == (place == 0)
                place, revision = (place - 1, done[0]) if done else (place, revision)
            case "redo":
                done = project.redo("a", revision, "ada")
                assert (done is None) == (place == len(history) - 1)
                place, revision = (place + 1, done[0]) if done else (place, revision)
            case "restart":
                project.close()
                project = Project(folder, pause=None)
            case "save":
                project.save()
        labels = project.read("a")
        assert (labels.values == history[place]).all()
        assert ((labels.origins != 0) == (history[place] != 255)).all()
        assert labels.revision == revision
    project.close()
    if revision:
        assert (read_mask(folder / "labels" / "a.png") == history[place]).all()


def test_script_and_model_leave_human_pixels_alone(project: Project, paint: Paint) -> None:
    project.apply(paint(np.zeros((4, 4), int), 0))
    project.apply(paint(np.ones((4, 8), int), 1, origin=Origin.SCRIPT))
    project.apply(paint(np.full((4, 10), 2), 2, origin=Origin.MODEL_ACCEPTED))
    labels = project.read("a", Window(0, 0, 1, 11))
    assert labels.values[0].tolist() == [0] * 4 + [2] * 6 + [255]
    assert labels.origins[0].tolist() == [1] * 4 + [3] * 6 + [0]
    models = project.journal.rows("SELECT model FROM entry WHERE origin = 3")
    assert models == [("5eed",)]


def test_a_second_process_is_told(project: Project) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom maskwright.errors import ProjectError\n"
        "from maskwright.label.store import Project\n"
        "try:\n    Project(Path(sys.argv[1]))\nexcept ProjectError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program, project.folder], capture_output=True, text=True, check=True)
    assert "in use by process" in done.stdout
    assert "one process at a time" in done.stdout


def test_status_note_and_validation_set(project: Project, paint: Paint) -> None:
    project.set_status("a", "flagged", "out of focus")
    assert (project.image("a").status, project.image("a").note) == ("flagged", "out of focus")
    for status, note in (("flagged", ""), ("finished", "")):
        with pytest.raises(ProjectError, match="cannot have the status"):
            project.set_status("a", status, note)
    project.apply(paint(np.ones((2, 2), int), 0, origin=Origin.SCRIPT))
    with pytest.raises(ProjectError, match="a script or a model"):
        project.freeze_validation(["a"], "ada")
    project.freeze_validation(["b"], "ada")
    assert [state.validation for state in project.images()] == [False, True]
    with pytest.raises(ProjectError, match="frozen"):
        project.freeze_validation(["a"], "ada")
    with pytest.raises(ProjectError, match="validation set"):
        project.apply(paint(np.ones((2, 2), int), 0, image="b", origin=Origin.MODEL_ACCEPTED))
    assert project.apply(paint(np.ones((2, 2), int), 0, image="b")) == 1


def test_second_labels_are_kept_apart(project: Project, paint: Paint) -> None:
    again = paint(np.ones((2, 3), int), 0)
    project.second_label("a", again.box, again.payload, "bo", 12.0)
    assert (project.read("a").values == 255).all()
    assert project.journal.rows("SELECT author, seconds, height, width FROM second_label") == [("bo", 12.0, 2, 3)]


def test_a_label_file_of_another_program_is_taken_in(folder: Path, paint: Paint) -> None:
    theirs = np.full((40, 48), 255, np.uint8)
    theirs[:10] = 1
    (folder / "labels").mkdir()
    Image.fromarray(theirs).save(folder / "labels" / "a.png")
    with Project(folder, classes=["ground", "cell"], pause=None) as project:
        assert (project.read("a").values == theirs).all()
        project.apply(paint(np.zeros((2, 2), int), 1))
        project.save()
        # While the project is open too, before the file would be written over.
        theirs[20:] = 0
        Image.fromarray(theirs).save(folder / "labels" / "a.png")
        project.apply(paint(np.zeros((1, 1), int), 2, top=15))
        project.save()
        expected = theirs.copy()
        assert (project.read("a").values == expected).all()
        assert [kind for (kind,) in project.journal.rows("SELECT kind FROM entry ORDER BY revision")] == [
            "file", "patch", "patch", "file",
        ]  # fmt: skip
    with Project(folder, pause=None) as project:
        assert project.image("a").revision == 4, "its own files are not taken for somebody's"


def test_a_label_file_that_does_not_fit_is_left_and_named(folder: Path, paint: Paint) -> None:
    (folder / "labels").mkdir()
    for pixels, error in (
        (np.ones((3, 3), np.uint8), SizeMismatchError),
        (np.full((40, 48), 9, np.uint8), UndeclaredValueError),
    ):
        Image.fromarray(pixels).save(folder / "labels" / "a.png")
        with Project(folder, classes=["ground", "cell"], pause=None) as project:
            with pytest.raises(error, match=r"labels/a\.png"):
                project.read("a")
            assert project.apply(paint(np.ones((2, 2), int), project.image("b").revision, image="b"))
        assert (read_mask(folder / "labels" / "a.png") == pixels).all()
        assert (folder / "labels" / "b.png").exists()


def test_label_files_follow_when_labelling_pauses(folder: Path, paint: Paint) -> None:
    import time

    with Project(folder, classes=["ground", "cell"], pause=0.05) as project:
        project.apply(paint(np.ones((2, 2), int), 0))
        end = time.monotonic() + 10
        while not (folder / "labels" / "a.png").exists():
            assert time.monotonic() < end
            time.sleep(0.01)
    assert (read_mask(folder / "labels" / "a.png")[:2, :2] == 1).all()


def test_a_missing_label_file_is_written_again(folder: Path, paint: Paint) -> None:
    with Project(folder, classes=["ground", "cell"], pause=None) as project:
        project.apply(paint(np.ones((2, 2), int), 0))
    (folder / "labels" / "a.png").unlink()
    with Project(folder, pause=None):
        assert (read_mask(folder / "labels" / "a.png")[:2, :2] == 1).all()


def test_many_strokes_cost_no_more_at_the_end(project: Project, paint: Paint) -> None:
    statements: list[int] = []
    for revision in range(200):
        seen: list[str] = []
        project.journal.connection.set_trace_callback(seen.append)
        project.apply(paint(np.full((3, 3), revision % 2), revision, top=revision % 37))
        statements.append(len(seen))
    assert max(statements[100:]) <= max(statements[1:100]), "no stroke looks at the strokes before it"
    size = project.journal.rows("SELECT count(*) FROM touched")[0][0]
    assert size < journal.REPLAYED


def test_a_patch_with_a_key_is_applied_once(project: Project, paint: Callable[..., Patch]) -> None:
    stroke = replace(paint(np.ones((2, 2)), 0), key="one")
    assert project.apply(stroke) == 1
    assert project.apply(stroke) == 1
    assert project.undo("a", 1, "ada", "two") == (2, stroke.box)
    assert project.undo("a", 1, "ada", "two") == (2, stroke.box)
    assert project.apply(stroke) == 1
    assert (project.read("a").values == 255).all()
    assert project.image("a").revision == 2


def test_a_project_of_schema_1_is_brought_up(folder: Path, paint: Callable[..., Patch]) -> None:
    with Project(folder, classes=("ground", "cell"), pause=None) as project:
        project.apply(paint(np.ones((2, 2)), 0))
    with closing(sqlite3.connect(folder / "maskwright.sqlite")) as old:
        old.executescript("DROP INDEX entry_key; ALTER TABLE entry DROP COLUMN key; PRAGMA user_version = 1;")
    with Project(folder, pause=None) as project:
        assert project.apply(replace(paint(np.zeros((2, 2)), 1), key="one")) == 2
        assert project.undo("a", 2, "ada") is not None
        assert (project.read("a").values[:2, :2] == 1).all()
    with closing(sqlite3.connect(folder / "maskwright.sqlite")) as new:
        assert new.execute("PRAGMA user_version").fetchone() == (2,)

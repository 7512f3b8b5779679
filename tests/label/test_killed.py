"""Kill -9 and a full disk: what was acknowledged is there, and every label file can be read."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.errors import ProjectError
from maskwright.imaging.decoders import Window
from maskwright.imaging.images import read_mask
from maskwright.label.patches import KEEP, encode
from maskwright.label.store import Patch, Project

Paint = Callable[..., Patch]
SHAPE = (70, 90)

PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_killed
test_killed.label(Path(sys.argv[1]))
"""


def stroke(revision: int) -> tuple[int, int, np.ndarray] | None:
    """What the program does to get to a revision: None is undo."""
    if revision % 5 == 0:
        return None
    rng = np.random.default_rng(revision)
    height, width = rng.integers(1, 40, 2)
    values = rng.choice([-1, 0, 1, 255], (height, width))
    return int(rng.integers(0, SHAPE[0] - height)), int(rng.integers(0, SHAPE[1] - width)), values


def states() -> Iterator[np.ndarray]:
    """The labels at revision 0, 1, 2, ..."""
    now = before = np.full(SHAPE, 255)
    revision = 0
    while True:
        yield now
        revision += 1
        done = stroke(revision)
        if done is None:
            now = before
            continue
        before, now = now, now.copy()
        top, left, values = done
        part = now[top : top + values.shape[0], left : left + values.shape[1]]
        part[values >= 0] = values[values >= 0]


def label(folder: Path) -> None:
    """Paint until killed; a line for each acknowledged revision."""
    with Project(folder, classes=["x", "y"], pause=0.001) as project:
        revision = project.image("a").revision
        while True:
            done = stroke(revision + 1)
            if done is None:
                undone = project.undo("a", revision, "ada")
                assert undone is not None
                revision = undone[0]
            else:
                top, left, values = done
                box = Window(top, left, *values.shape)
                payload = encode(np.where(values < 0, KEEP, values).astype(np.uint16))
                change = Patch(image="a", base=revision, author="ada", seconds=1, box=box, payload=payload)
                revision = project.apply(change)
            print(revision, flush=True)


@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])])
def test_kill_9_loses_no_acknowledged_patch(tmp_path: Path, kills: int) -> None:
    Image.fromarray(np.zeros(SHAPE, np.uint8)).save(tmp_path / "a.png")
    rng = np.random.default_rng(kills)
    acknowledged = 0
    written = 0
    for _ in range(kills):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first, "the program ended by itself"
            time.sleep(rng.uniform(0, 0.15))
            process.send_signal(signal.SIGKILL)
            lines = (first + process.stdout.read()).splitlines(keepends=True)
        acknowledged = max(int(line) for line in lines if line.endswith("\n"))
        for file in tmp_path.rglob("labels/**/*.png"):
            if not file.name.startswith("."):
                assert read_mask(file).shape == SHAPE
                written += 1
        with Project(tmp_path, pause=None) as project:
            labels = project.read("a")
            assert labels.revision >= acknowledged
            expected = next(state for number, state in enumerate(states()) if number == labels.revision)
            assert (labels.values == expected).all()
            assert (read_mask(tmp_path / "labels" / "a.png") == expected).all()
            assert not project.journal.rows("SELECT 1 FROM entry WHERE kind = 'file'")
    assert written, "label files were written between the kills"


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes: to SQLite a disk that refuses."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def noisy(revision: int) -> np.ndarray:
    return np.random.default_rng(revision).integers(0, 3, (40, 48))


def paint_until_refused(project: Project, paint: Paint) -> None:
    while True:
        revision = project.image("a").revision
        project.apply(paint(noisy(revision), revision))


def test_a_disk_that_refuses_is_told_and_nothing_is_lost(project: Project, paint: Paint) -> None:
    with files_of_at_most(600_000), pytest.raises(ProjectError, match="could not be written") as raised:
        paint_until_refused(project, paint)
    assert "Make room" in str(raised.value)
    labels = project.read("a")
    revision = labels.revision
    assert revision > 5
    assert (labels.values == noisy(revision - 1)).all()
    assert project.apply(paint(noisy(revision), revision)) == revision + 1, "it goes on when there is room"
    project.close()
    with Project(project.folder, pause=None) as again:
        assert (again.read("a").values == noisy(revision)).all()


def test_a_full_database_is_told_and_nothing_is_lost(project: Project, paint: Paint) -> None:
    (pages,) = project.journal.rows("PRAGMA page_count")[0]
    project.journal.rows(f"PRAGMA max_page_count = {pages + 20}")
    with pytest.raises(ProjectError, match="full"):
        paint_until_refused(project, paint)
    revision = project.image("a").revision
    assert revision > 1
    assert (project.read("a").values == noisy(revision - 1)).all()
    project.journal.rows(f"PRAGMA max_page_count = {pages + 1000}")
    assert project.apply(paint(noisy(revision), revision)) == revision + 1


def test_a_label_file_that_cannot_be_written_stays_as_it_was(project: Project, paint: Paint) -> None:
    project.apply(paint(np.ones((40, 48), int), 0))
    project.save()
    project.apply(paint(noisy(1), 1))
    with files_of_at_most(200), pytest.raises(ProjectError):
        project.save()
    assert project.failure is not None
    assert (read_mask(project.folder / "labels" / "a.png") == 1).all()
    assert list((project.folder / "labels").glob(".*")) == []
    project.save()
    assert project.failure is None
    assert (read_mask(project.folder / "labels" / "a.png") == noisy(1)).all()

"""A model is trained from the page, and what it proposes is accepted there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskwright.convert import convert
from maskwright.datasets.formats import open_dataset
from maskwright.errors import ProjectError
from maskwright.imaging.decoders import Window
from maskwright.label.patches import encode
from maskwright.label.store import Patch, Project
from maskwright.web.rounds import Rounds, read_log

Labelling = Callable[..., AbstractContextManager[tuple[Project, str]]]
EDGE = 64


def disc(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc on a dark ground, and where it is."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:EDGE, :EDGE]
    row, column = rng.integers(20, 44, 2)
    inside = (y - row) ** 2 + (x - column) ** 2 <= 196
    image = np.where(inside, 200, 60) + rng.normal(0, 6, inside.shape)
    return np.dstack([image.clip(0, 255).astype(np.uint8)] * 3), inside


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "discs" / "images").mkdir(parents=True)
    for seed in range(6):
        Image.fromarray(disc(seed)[0]).save(tmp_path / "discs" / "images" / f"{seed}.png")
    return tmp_path / "discs"


def label(project: Project, count: int) -> None:
    for seed in range(count):
        payload = encode(disc(seed)[1].astype(np.uint16))
        project.apply(
            Patch(image=str(seed), base=0, author="ada", seconds=1, box=Window(0, 0, EDGE, EDGE), payload=payload)
        )


def test_train_accept_export(folder: Path, tab: Callable[..., Any], labelling: Labelling, tmp_path: Path) -> None:
    with labelling(folder, classes=("ground", "disc")) as (project, address):
        label(project, 4)
        page = tab(address)
        page.press("PageDown", "PageDown", "PageDown", "PageDown")
        page.wait_for("app.editor.image.name === '4'")
        page.ask("app.trainer.ask({ minutes: 0.4 })")
        page.page.get_by_role("button", name="Stop").wait_for()
        page.press("2")  # labelling goes on
        page.drag((2, 2), (2, 2))
        page.saved()
        page.wait_for("app.project.suggester === 'round-1' && app.editor.suggestion", seconds=200)
        page.page.get_by_role("cell", name="1", exact=True).wait_for()
        page.press("a")
        page.button("Accept all")
        page.saved()
        labels = project.read("4")
        human = labels.origins == 1
        assert human.any()
        assert (labels.origins[~human] == 3).all()
        agreed = labels.values[~human] == disc(4)[1][~human]
        assert agreed.mean() > 0.7, "24 seconds of training tell a bright disc from a dark ground"
        ((model, run, pixels),) = project.journal.rows("SELECT model, run, labelled_pixels FROM round")
        assert (run, pixels) == ("round-1", 4 * EDGE * EDGE)
        assert project.journal.rows("SELECT DISTINCT model FROM entry WHERE model IS NOT NULL")[0][0] in model
    done = convert(open_dataset(folder), tmp_path / "coco", "coco")
    assert sum(done.images.values()) == 5


def test_rounds_are_refused_before_they_begin(folder: Path) -> None:
    with Project(folder, classes=("ground", "disc"), pause=None) as project:
        rounds = Rounds(project, lambda run: None)
        with pytest.raises(ProjectError, match="Nothing is labelled"):
            rounds.start(1)
        for minutes in (0.0, -1, 1e9, float("nan")):
            with pytest.raises(ProjectError, match="out of range"):
                rounds.start(minutes)
        assert rounds.told()["rounds"] == []
        rounds.close()


def test_a_round_is_stopped_and_tells_why_it_has_no_model(folder: Path) -> None:
    made: list[Path] = []
    with Project(folder, classes=("ground", "disc"), pause=None) as project:
        label(project, 2)
        rounds = Rounds(project, made.append)
        rounds.start(5)
        with pytest.raises(ProjectError, match="is being trained"):
            rounds.start(1)
        rounds.close()
        told = rounds.told()
        assert told["running"] is False
        assert bool(told["message"]) != bool(made)


def test_a_half_written_line_of_the_log_is_left_out(tmp_path: Path) -> None:
    assert read_log(tmp_path / "none") == []
    (tmp_path / "log").write_text('{"kind": "step", "loss": 1}\n{"kind": "st')
    assert read_log(tmp_path / "log") == [{"kind": "step", "loss": 1}]

"""The report of a labelling script, `report.html`: how its functions vote, and the images on which they conflict."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maskwright import pages
from maskwright.datasets.sources import Source
from maskwright.imaging.images import display
from maskwright.imaging.painting import data_address, encoded
from maskwright.label.sheets import colored, draw
from maskwright.label.store import Project
from maskwright.label.views import open_view
from maskwright.label.voters import Script
from maskwright.label.weak import Outcome, class_values, values_to_indices, votes_of

PAGE = "report.html"
TEMPLATE = Path(__file__).with_name("weak.html.jinja")
COLUMNS = ("function", "votes for", "coverage", "overlap", "conflict", "estimated accuracy", "true accuracy", "failed")

_MOST_SHOWN = 8
"""Images shown, those with most conflict first."""


def rows(outcome: Outcome) -> list[tuple[str, ...]]:
    """The table of functions, as text under COLUMNS."""
    return [
        (
            one.name, one.votes_for, *(f"{value:.1%}" for value in (one.coverage, one.overlap, one.conflict)),
            *("–" if value is None else f"{value:.3f}" for value in (one.estimated, one.true)), str(one.failed),
        )
        for one in outcome.voters
    ]  # fmt: skip


def write_page(project: Project, script: Script, outcome: Outcome) -> Path:
    """Write the page into the outcome's folder, atomically, and return it."""
    worst = sorted(outcome.images, key=lambda image: (-image.conflict, image.name))[:_MOST_SHOWN]
    values = class_values(script, project.classes)
    shown = []
    for image in worst:
        state = project.image(image.name)
        view = open_view(Source(path=project.folder / state.file, page=state.page), state.name, project.folder)
        votes_JHW, _ = votes_of(script, view, values)
        labels = values_to_indices(values)[project.read(state.name).values]
        titles = ["image", *(voter.name for voter in script.voters), "labels"]
        cells = [display(np.asarray(view)), *(colored(view, one, project.classes) for one in (*votes_JHW, labels))]
        picture = encoded(draw(titles, [(image.name, cells)]), "JPEG")
        shown.append((image.name, f"{image.conflict:.1%}", f"{image.labelled:.1%}", data_address(picture)))
    page = outcome.folder / PAGE
    pages.write_page(
        page,
        TEMPLATE,
        name=script.path.name,
        mark=script.mark,
        root=str(project.folder),
        facts=_facts(script, outcome),
        columns=COLUMNS,
        rows=rows(outcome),
        classes=list(zip(project.classes.names, project.classes.css_colors, strict=True)),
        shown=shown,
        failures=[str(failure) for failure in outcome.failures[:200]],
        left_out=outcome.left_out,
        text=script.text,
    )
    return page


def _facts(script: Script, outcome: Outcome) -> list[tuple[str, str]]:
    given = [
        ("images", f"{len(outcome.images):,}"),
        ("labelled", f"{outcome.labelled:.1%} of the pixels"),
        ("method", outcome.method),
        ("parameters", ", ".join(f"{name} = {value}" for name, value in script.parameters.items()) or "none"),
    ]
    if outcome.priors:
        given.append(("classes, estimated", ", ".join(f"{n} {p:.1%}" for n, p in outcome.priors.items())))
    if outcome.true is not None:
        given.append(("right where humans labelled", f"{outcome.true:.1%}"))
    return given

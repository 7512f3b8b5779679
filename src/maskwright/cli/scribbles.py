"""Verbs for masks from strokes: scribbles train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskwright import console
from maskwright.cli import Json, Switch
from maskwright.errors import SettingError


def train(
    folder: Path,
    *,
    out: Path,
    features: Literal["auto", "local", "encoder", "local+encoder", "network"] = "auto",
    run: Path | None = None,
    forest: Switch = False,
    accept_above: Annotated[float | None, Parameter(show_default=False)] = None,
    seed: int = 0,
    json: Json = False,
) -> None:
    """Train a pixel classifier on a few strokes of each class; seconds.

    Example: `maskwright scribbles train cells --out models/cells`

    `predict`, `evaluate` and labelling scripts take the model as they take a run.

    Parameters
    ----------
    folder
        The labelling project: every connected piece of pixels that a human labelled is a stroke.
    out
        The model's folder: new, or a pixel classifier to replace.
    features
        What to learn from: filters of the image, maps of a pretrained encoder, both, or maps of the network of --run.
        By default, what predicts left-out strokes best.
    run
        A trained run whose network's features are tried, too.
    forest
        Learn with a random forest (extra `forest`) instead of the small network.
    accept_above
        Pre-label the project: pixels of at least this probability become "model-accepted"; what a human or a script
        labelled stays.
    seed
        Of everything that is drawn.
    """
    from maskwright.label.scribbles import accept, contradiction_json
    from maskwright.label.scribbles import train as train_scribbles
    from maskwright.label.store import Project

    if accept_above is not None and not 0.5 <= accept_above <= 1:
        raise SettingError(f"accept_above = {accept_above}: expected a probability from 0.5 to 1.")
    if features == "network" and run is None:
        raise SettingError("--features network needs a trained run.", remedy="Name it with --run.")
    if run is not None and features not in ("auto", "network"):
        raise SettingError(f"--run has no effect with --features {features}. Leave one of them out.")
    with Project(folder, pause=None) as project:
        names = project.classes.names
        done = train_scribbles(project, out, features=features, run=run, forest=forest, seed=seed)
        accepted = None
        if accept_above is not None:
            with console.counting("pre-labelling") as progress:
                accepted = accept(project, done.model, done.hash, above=accept_above, progress=progress)
    if json:
        console.print_json({**done.to_json(names), "model": str(out), "accepted": accepted})
    else:
        rows = [["→" if one.features == done.features else "", one.features, f"{one.score:.3f}"] for one in done.judged]
        console.print_table("Features, by left-out strokes", ["", "features", "mean IoU"], rows)
    for one in done.contradictions[:5]:
        found = contradiction_json(one, names)
        console.say(
            f"look at: a stroke of {found['class']} in {found['image']} at row {found['row']}, column "
            f"{found['column']}; by the other strokes it is {found['others_say']} ({found['probability']:.0%})"
        )
    count = sum(done.strokes.values())
    console.say(f"Learnt {count} strokes in {done.images} image(s) from {done.features} features. Model: {out}")
    if accepted:
        mean = sum(accepted.values()) / len(accepted)
        console.say(f"Pre-labelled {mean:.1%} of the pixels of {len(accepted)} image(s) in {folder}")

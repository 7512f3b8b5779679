"""Verbs that score models: evaluate, compare."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from maskwright import console
from maskwright.cli import Json, Switch
from maskwright.errors import OutputError, SettingError, explained, refuse_failed

CLAIM = ".data.json"
"""In the folder of an evaluation, whose data it is of: there before the scores are."""
CLAIMED_WITHIN = 10
"""Tenths of a second, in which a process that made a folder says what it is for."""


def evaluate(
    run: Path,
    data: Path | None = None,
    *,
    out: Path | None = None,
    crf: Switch = False,
    overwrite: Switch = False,
    json: Json = False,
) -> None:
    """Score a model on images and masks; writes numbers, pictures and report.html into the run.

    Example: `maskwright evaluate runs/cells cells/test`

    A run with folds, without other data, is scored out of fold: each training sample by the model that was trained
    without it.

    Parameters
    ----------
    run
        A run folder.
    data
        Folder with images and masks; where it has splits, `test/` is used, else `val/`. None for out-of-fold
        scores.
    out
        Folder for the numbers; `RUN/evaluations/NAME` by default, with `-crf` behind it for `--crf`.
    crf
        Refine predictions as `predict --crf` does.
    overwrite
        Replace files that Maskwright did not write, or that were changed since.
    """
    from maskwright import runs
    from maskwright.datasets.formats import open_dataset
    from maskwright.evaluate import out_of_fold
    from maskwright.evaluate.evaluator import evaluate as score
    from maskwright.evaluate.report import write_report
    from maskwright.outputs import guarded_file
    from maskwright.predict.predictor import Predictor

    failed: dict[str, str] = {}
    if data is None:
        if crf:
            raise SettingError("--crf needs DATA: out-of-fold scores are those of the models alone.")
        runs.read_run(run)  # before a folder is made in what is no run
        folder = out or run / runs.EVALUATIONS / out_of_fold.NAME
        runs.require_writable(folder)
        with _own(folder, out, run, overwrite), console.counting("evaluating") as progress:
            evaluation = out_of_fold.evaluate_out_of_fold(run, folder, progress=progress, failed=failed)
    else:
        predictor = Predictor.load(run)
        if crf:
            from maskwright.predict.crf import CRFSettings

            predictor.crf = CRFSettings()
        dataset = open_dataset(data, classes=predictor.classes, failed=failed)
        for note in dataset.notes:
            console.say(note)
        split = next((name for name in ("test", "val", "train") if name in dataset.splits), None)
        if split is not None:
            dataset = dataset.split(split)
            failed = {key: what for key, what in failed.items() if key.startswith(f"{split}/")}
            console.say(f"Scoring the {len(dataset.samples)} samples of {data / split}")
        folder = out or _evaluation_folder(run, data, split, "-crf" if crf else "")
        runs.require_writable(folder)
        with _own(folder, out, run, overwrite), console.counting("evaluating") as progress:
            evaluation = score(predictor, dataset, folder, progress=progress, failed=failed)
    if json:
        console.print_json(evaluation.to_json())
    else:
        _print_tables(evaluation.tables())
    console.say(f"Scores: {folder}")
    try:
        asked = {"verb": "evaluate", "model": str(run.resolve())}
        with guarded_file(run / runs.REPORT, asked=asked, overwrite=overwrite, own=True):
            console.say(f"Report: {write_report(run)}")
    except (OSError, OutputError) as error:  # the scores are what was asked for
        console.say(f"warning: no report. {explained(error) if isinstance(error, OSError) else error}")
    refuse_failed(failed, f"not be scored; the scores of the others are in {folder}")


def compare(
    *models: Path,
    data: Path | None = None,
    out: Path | None = None,
    pictures: bool = True,
    overwrite: Switch = False,
    json: Json = False,
) -> None:
    """Compare runs evaluated on the same images: differences, intervals, what changed most.

    Example: `maskwright compare runs/first runs/second`

    Every run is compared with the first. Evaluate each on the same data before.

    Parameters
    ----------
    models
        Run folders, two or more.
    data
        The evaluated folder, where the runs were evaluated on several; the latest by default.
    out
        The page; `comparison.html` in the last run by default.
    pictures
        Predict the images that changed most again, to show them.
    overwrite
        Replace files that Maskwright did not write, or that were changed since.
    """
    from maskwright.datasets.formats import open_dataset
    from maskwright.evaluate.compare import common_evaluations, write_page
    from maskwright.evaluate.out_of_fold import answerer_of
    from maskwright.outputs import guarded_file
    from maskwright.predict.predictor import Predictor

    if len(models) < 2:
        raise SettingError("compare needs two runs or more, for example: maskwright compare runs/first runs/second")
    comparison = common_evaluations(models, None if data is None else str(data))
    path = out or models[-1] / "comparison.html"
    evaluated = Path(comparison.first.data)
    asked = {"verb": "compare", "models": [str(model.resolve()) for model in models]}
    with guarded_file(path, asked=asked, overwrite=overwrite, own=out is None):
        if pictures and evaluated.exists():
            predictors = [Predictor.load(model) for model in models]
            dataset = open_dataset(evaluated, classes=predictors[0].classes)
            chosen = {name: answerer_of(run, one, comparison.evaluations[name]) for name, run, one in
                      zip(comparison.names, models, predictors, strict=True)}  # fmt: skip
            write_page(comparison, path, dataset, chosen)
        else:
            if pictures:
                console.say(f"{evaluated} is gone, so the page has no pictures")
            write_page(comparison, path, None, {})
    if json:
        console.print_json(comparison.to_json())
    else:
        _print_tables(comparison.tables())
    console.say(f"Comparison: {path}")


def _own(folder: Path, out: Path | None, run: Path, overwrite: bool) -> AbstractContextManager[None]:
    """Guard of a folder of scores; one at the default place is the run's own."""
    from maskwright.outputs import guarded

    asked = {"verb": "evaluate", "model": str(run.resolve())}
    return guarded(folder, asked=asked, overwrite=overwrite, own=out is None)


def _print_tables(tables: Any) -> None:
    for title, columns, rows in tables:
        console.print_table(title, columns, rows)


def _evaluation_folder(run: Path, data: Path, split: str | None, suffix: str = "") -> Path:
    """`RUN/evaluations/NAME`, named after the data; another data folder's evaluation of that name is left alone.

    The folder is claimed at once, since other processes may be evaluating the same run on other data.
    """
    from maskwright import runs

    source = data.resolve() / split if split else data.resolve()
    generic = source.name in ("train", "val", "test", "images") and source.parent.name
    name = (f"{source.parent.name}-{source.name}" if generic else source.name) + suffix
    runs.require_writable(run / runs.EVALUATIONS)
    number = 1
    while True:
        folder = run / runs.EVALUATIONS / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir()
            runs.write_json(folder / CLAIM, {"data": str(data.resolve())})
            return folder
        if _data_of(folder) in (None, str(data.resolve())):
            return folder
        number += 1


def _data_of(folder: Path) -> Any:
    """What data an evaluation's folder is of; None for one that nobody has claimed."""
    from maskwright import runs

    for _ in range(CLAIMED_WITHIN):
        for path in (folder / "scores.json", folder / CLAIM):
            if path.exists():
                return runs.read_json(path).get("data")
        time.sleep(0.1)
    return None

"""The main job from end to end on generated street scenes: what `make demo` runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maskwright import console, runs
from maskwright.config import Settings, Training
from maskwright.errors import SettingError

COUNTS = {"street": {"train": 320, "test": 40}, "cells": {"train": 60, "test": 12}, "fields": {"train": 60, "test": 12}}
MARK = ".maskwright-demo"
"""A file that tells a folder as an earlier demo's, which may be written over."""


def generate(out: Path, kinds: tuple[str, ...]) -> list[Path]:
    """Write generated data sets `out/<kind>/{train,test}`; returns their folders.

    Raises SettingError if `out` holds something else.
    """
    from maskwright.synthetic import write_dataset

    if out.exists() and not (out / MARK).exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(
            f"{out} exists and is no earlier demo's folder.", remedy="Choose a new folder with --out.", file=out
        )
    runs.write_text(out / MARK, "Made by `maskwright demo`, which may write over what is here.\n")
    for kind in kinds:
        console.say(f"Generating {sum(COUNTS[kind].values())} {kind} images in {out / kind}")
        write_dataset(out / kind, kind, COUNTS[kind], seed=0)
    return [out / kind for kind in kinds]


def run_demo(out: Path, minutes: float, started: float) -> dict[str, Any]:
    """Generate, train, evaluate on unseen scenes, predict, report; returns the scores and paths."""
    from maskwright.datasets.formats import open_dataset
    from maskwright.evaluate.evaluator import evaluate
    from maskwright.evaluate.report import write_report
    from maskwright.predict.files import find_images, predict_files
    from maskwright.predict.predictor import Predictor
    from maskwright.training import session

    given = Settings(training=Training(minutes=minutes))  # refuses a number of minutes that cannot be, before any work
    (data,) = generate(out, ("street",))
    run = runs.fresh_folder(out, "run")
    prepared = session.prepare(data / "train", given, say=console.say)
    console.say(f"Training for {minutes:g} minutes; {prepared.splits.how}. Run folder: {run}")
    with console.training() as show:
        done = session.start(run, prepared, started=started, show=show)
    if not done.finished:
        raise KeyboardInterrupt

    predictor = Predictor.load(run)
    with console.counting("evaluating") as progress:
        unseen = open_dataset(data / "test", classes=predictor.classes)
        evaluation = evaluate(predictor, unseen, run / runs.EVALUATIONS / "test", progress=progress)
    with console.counting("predicting") as progress:
        predict_files(predictor, find_images(str(data / "test")), out / "predictions", progress=progress)
    report = write_report(run)
    for title, columns, rows in evaluation.tables():
        console.print_table(title, columns, rows)
    console.say(
        f"\nHeld-out mIoU {evaluation.miou:.3f} on {evaluation.images} unseen scenes.\n"
        f"  report    {report.resolve()}\n"
        f"  overlays  {(out / 'predictions' / 'overlays').resolve()}\n"
        f"  run       {run.resolve()}\n"
        f"Next: maskwright train YOUR_DATA --minutes 10"
    )
    return {**evaluation.to_json(), "run": str(run), "report": str(report)}

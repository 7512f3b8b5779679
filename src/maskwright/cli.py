"""The command line: one function per verb, thin: parse, call, print.

Nothing heavy is imported here, so that `maskwright --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated, Any, TextIO

from cyclopts import App, Parameter

from maskwright import __version__, console
from maskwright.config import Augmentation, Preparation, Settings, Training
from maskwright.errors import InputWarning, MaskwrightError, SettingError

app = App(
    name="maskwright",
    help="Semantic segmentation: from a folder of images to a model you can trust, on the machine you have.",
    version=__version__,
    help_format="markdown",
)

Json = Annotated[
    bool, Parameter(name="--json", negative="", show_default=False, help="Print the result as JSON on standard output.")
]
Switch = Annotated[bool, Parameter(negative="", show_default=False)]
TrainingOptions = Annotated[Training, Parameter(name="*", group="Training", negative_iterable="", show_default=False)]
AugmentationOptions = Annotated[Augmentation, Parameter(name="*", group="Augmentation", negative_iterable="")]
PreparationOptions = Annotated[
    Preparation, Parameter(name="*", group="Preparation of whole images", negative_iterable="")
]
Recipe = Annotated[
    str | None, Parameter(help="A recipe: a TOML file, or the name of one of Maskwright's own (unet-classic).")
]


@app.command
def demo(
    *,
    out: Path = Path("demo"),
    minutes: float = 5.2,
    images_only: Switch = False,
    json: Json = False,
) -> None:
    """Generate street scenes, train on them, evaluate on unseen ones, predict, and write a report.

    Example: `maskwright demo --out demo`

    Parameters
    ----------
    out
        Where the images and the run go; must be new or an earlier demo's.
    minutes
        Time for training.
    images_only
        Only write the generated images: streets, cells and fields.
    """
    from maskwright.demo import generate, run_demo

    if images_only:
        for folder in generate(out, kinds=("street", "cells", "fields")):
            console.say(f"Wrote {folder}")
        return
    result = run_demo(out, minutes, started=_process_start())
    if json:
        console.print_json(result)


@app.command
def plan(
    data: Path,
    *,
    recipe: Recipe = None,
    val: Path | None = None,
    training: TrainingOptions = Training(),
    augmentation: AugmentationOptions = Augmentation(),
    preparation: PreparationOptions = Preparation(),
    json: Json = False,
) -> None:
    """Show what `train` would do with this data, and why.

    Example: `maskwright plan cells/train --minutes 10`

    Parameters
    ----------
    data
        Folder with `images/` and `masks/` or `labels/`, or with such folders in `train/`, `val/`, `test/`.
    val
        Folder to validate on, instead of a share of the training data.
    """
    from maskwright.train.session import prepare

    given = Settings(training=training, augmentation=augmentation, preparation=preparation)
    prepared = prepare(data, given, recipe=recipe, val=val, say=console.say)
    if json:
        decisions = {
            section: {name: vars(decision) for name, decision in names.items()}
            for section, names in prepared.plan.decisions.items()
        }
        console.print_json({"decisions": decisions, "facts": prepared.plan.facts})
        return
    console.say(prepared.shares.how)
    console.print_table(f"Plan for {data}", ("setting", "value", "reason", "source"), prepared.plan.rows())


@app.command
def train(
    data: Path | None = None,
    *,
    out: Path | None = None,
    val: Path | None = None,
    recipe: Recipe = None,
    resume: Path | None = None,
    pretrained: Path | None = None,
    training: TrainingOptions = Training(),
    augmentation: AugmentationOptions = Augmentation(),
    preparation: PreparationOptions = Preparation(),
    json: Json = False,
) -> None:
    """Train a model on a folder of images and masks; plans itself.

    Example: `maskwright train cells/train --minutes 10 --out runs/cells`

    Parameters
    ----------
    data
        Folder with `images/` and `masks/` or `labels/`, or with such folders in `train/`, `val/`, `test/`.
    out
        New folder for the run; `runs/NAME` by default.
    val
        Folder to validate on, instead of a share of the training data.
    resume
        Continue this interrupted run.
    pretrained
        Weights to start from: a torchvision ResNet checkpoint for a network with such an encoder, or a whole network's.
    """
    from maskwright.train import session

    started = _process_start()
    given = Settings(training=training, augmentation=augmentation, preparation=preparation)
    if resume is not None:
        if given != Settings() or recipe is not None or out is not None or val is not None or pretrained is not None:
            raise SettingError(
                "--resume continues a run exactly as it was planned; other settings have no effect. Leave them out, or "
                "start a new run without --resume."
            )
        run = resume
        with console.training() as show:
            done = session.resume(run, started=started, data=data, say=console.say, show=show)
    else:
        if data is None:
            raise SettingError("train needs a folder of images and masks, for example: maskwright train cells/train")
        if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise SettingError(
                f"--out {out} exists and is not empty. Choose a new folder; or continue that run with --resume {out}."
            )
        prepared = session.prepare(data, given, recipe=recipe, val=val, pretrained=pretrained, say=console.say)
        run = out or session.default_run_folder(data)
        console.say(f"{prepared.shares.how}\nRun folder: {run}")
        console.print_table("Plan", ("setting", "value", "reason", "source"), prepared.plan.rows(), stderr=True)
        with console.training() as show:
            done = session.start(run, prepared, started=started, show=show)
    best = "not validated" if done.best is None else f"validation mIoU {done.best:.4f} at step {done.best_step}"
    if json:
        console.print_json(
            {
                "run": str(run),
                "finished": done.finished,
                "steps": done.step,
                "validation_miou": done.best,
                "best_step": done.best_step,
            }
        )
    if not done.finished:
        console.say(f"Stopped and saved after {done.step} steps ({best}). Continue: maskwright train --resume {run}")
        sys.exit(130)
    console.say(f"Trained {done.step} steps, {best}. Next: maskwright evaluate {run} DATA")


@app.command
def evaluate(
    run: Path,
    data: Path,
    *,
    out: Path | None = None,
    json: Json = False,
) -> None:
    """Score a model on a folder of images and masks; writes numbers, pictures and report.html into the run.

    Example: `maskwright evaluate runs/cells cells/test`

    Parameters
    ----------
    run
        A run folder.
    data
        Folder with images and masks; where it has splits, `test/` is used, else `val/`.
    out
        Folder for the numbers; `RUN/evaluations/NAME` by default.
    """
    from maskwright.data.formats import open_dataset
    from maskwright.evaluate.evaluator import evaluate as score
    from maskwright.evaluate.report import write_report
    from maskwright.predict.predictor import Predictor

    predictor = Predictor.load(run)
    dataset = open_dataset(data, classes=predictor.classes)
    for note in dataset.notes:
        console.say(note)
    split = next((name for name in ("test", "val", "train") if name in dataset.splits), None)
    if split is not None:
        dataset = dataset.split(split)
        console.say(f"Scoring the {len(dataset.samples)} samples of {data / split}")
    folder = out or _evaluation_folder(run, data, split)
    with console.counting("evaluating") as progress:
        evaluation = score(predictor, dataset, folder, progress=progress)
    report = write_report(run)
    if json:
        console.print_json(evaluation.to_json())
    else:
        _print_scores(evaluation)
    console.say(f"Scores: {folder}\nReport: {report}")


@app.command
def predict(
    model: Path,
    *images: str,
    out: Path | None = None,
    overlays: bool = True,
    probabilities: Switch = False,
    uncertainty: Switch = False,
    json: Json = False,
) -> None:
    """Predict masks of images: files, folders, or patterns in quotes. Originals are never touched.

    Example: `maskwright predict runs/cells "new/*.png" --out masks`

    Parameters
    ----------
    model
        A run folder.
    images
        Images, folders (with or without `images/`), or glob patterns.
    out
        Folder for `masks/`, `overlays/`, ...; `RUN/predictions` by default.
    overlays
        Write pictures of the image under its mask.
    probabilities
        Write `probabilities/NAME.npz`: array `probabilities`, K x H x W float16, and `classes`.
    uncertainty
        Write `uncertainty/NAME.png`: 16-bit grey, entropy over log K, 65535 is 1.
    """
    from maskwright.predict.files import find_images, predict_files
    from maskwright.predict.predictor import Predictor

    if not images:
        raise SettingError('predict needs images, for example: maskwright predict runs/cells "new/*.png"')
    predictor = Predictor.load(model)
    folder = out or model / "predictions"
    with console.counting("predicting") as progress:
        written = predict_files(
            predictor,
            find_images(*images),
            folder,
            overlays=overlays,
            probabilities=probabilities,
            uncertainty=uncertainty,
            progress=progress,
        )
    if json:
        console.print_json([one.to_json() for one in written])
    console.say(
        f"Wrote {len(written)} mask(s) to {folder / 'masks'}"
        + (f" and overlays to {folder / 'overlays'}" if overlays else "")
    )


@app.command
def models(name: str | None = None, *, json: Json = False) -> None:
    """List the networks with parameters and GFLOPs; with a name, the layers of one.

    Example: `maskwright models unet`

    Parameters
    ----------
    name
        A network of the list.
    """
    from maskwright.models import summary

    if name is None:
        rows = summary.overview()
        if json:
            console.print_json([vars(row) for row in rows])
            return
        console.print_table(
            summary.OVERVIEW_TITLE,
            ("name", "parameters", "GFLOPs", "stride", "paper"),
            [(r.name, f"{r.parameters:,}", f"{r.gflops:.1f}", str(r.stride), r.paper) for r in rows],
        )
        return
    layers = summary.layer_table(name)
    if json:
        console.print_json([vars(row) for row in layers])
        return
    console.print_table(
        name,
        ("layer", "type", "output", "parameters"),
        [(r.name, r.kind, " x ".join(map(str, r.shape)), f"{r.parameters:,}") for r in layers],
    )


def main() -> None:
    """Run the command line; a user's mistake is printed without a traceback and exits 2."""
    warnings.showwarning = _show_warning
    try:
        app()
    except MaskwrightError as error:
        console.say(f"error: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        console.say("Stopped.")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe, `head` say, has gone. Python would complain while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _print_scores(evaluation: Any) -> None:
    for title, columns, rows in evaluation.tables():
        console.print_table(title, columns, rows)


def _evaluation_folder(run: Path, data: Path, split: str | None) -> Path:
    """`RUN/evaluations/NAME`, named after the data; another data folder's evaluation of that name is left alone."""
    from maskwright import runs

    source = data.resolve() / split if split else data.resolve()
    generic = source.name in ("train", "val", "test", "images") and source.parent.name
    name = f"{source.parent.name}-{source.name}" if generic else source.name
    number = 1
    while True:
        folder = run / runs.EVALUATIONS / (name if number == 1 else f"{name}-{number}")
        scores = folder / "scores.json"
        if not scores.exists() or runs.read_json(scores).get("data") == str(data.resolve()):
            return folder
        number += 1


def _process_start() -> float:
    """`time.time()` when this process began, so that a budget counts imports too; now, where the system cannot tell."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return time.time() - (uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError, AttributeError):
        return time.time()


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, InputWarning):
        console.say(f"warning: {message}")
    else:
        console.say(f"warning: {category.__name__}: {message} ({filename}:{lineno})")

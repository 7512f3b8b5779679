"""The verb train: from a folder of images and masks to a run."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright import console
from maskwright.cli import AugmentationOptions, Json, PreparationOptions, Recipe, Switch, TrainingOptions
from maskwright.config import Augmentation, Preparation, Settings, Training
from maskwright.errors import SettingError

LONGEST_START = 600.0
"""Seconds that imports may take, from a slow network drive; a process that is older has not just begun."""

if TYPE_CHECKING:
    from maskwright.training.checkpoint import Progress


def train(
    data: Path | None = None,
    *,
    out: Path | None = None,
    val: Path | None = None,
    recipe: Recipe = None,
    resume: Path | None = None,
    continue_for: str | None = None,
    pretrained: str | None = None,
    max_bad: int = 0,
    accept_changed: Switch = False,
    training: TrainingOptions = Training(),
    augmentation: AugmentationOptions = Augmentation(),
    preparation: PreparationOptions = Preparation(),
    json: Json = False,
) -> None:
    """Train a model on a folder of images and masks; plans itself.

    Example: `maskwright train cells/train --minutes 10 --out runs/cells`

    On several GPUs or processes: `torchrun --nproc-per-node 2 -m maskwright train cells/train --out runs/cells`

    Parameters
    ----------
    data
        Folder with `images/` and `masks/` or `labels/`, or with such folders in `train/`, `val/`, `test/`.
    out
        New folder for the run; `runs/NAME` by default.
    val
        Folder to validate on, instead of a part of the training data.
    resume
        Continue this interrupted run.
    continue_for
        With `--resume` and a finished run: train it on for so long, as 30m, 2h, or 500steps.
    pretrained
        Weights to start from: a torchvision or timm checkpoint for the network's encoder, a whole network's, Keras's
        for the classic unet, or `hf://ORG/REPO`.
    max_bad
        Skip up to so many samples that cannot be read; each is named.
    accept_changed
        With `--resume`: go on although files changed, because they were repaired.
    """
    from maskwright.training import distributed, session

    started = process_start()
    given = Settings(training=training, augmentation=augmentation, preparation=preparation)
    others = (recipe, out, val, pretrained)
    if resume is not None and (given != Settings() or any(option is not None for option in others)):
        raise SettingError(
            "--resume continues a run exactly as it was planned; other settings have no effect.",
            remedy="Leave them out, or start a new run without --resume.",
        )
    if max_bad < 0:
        raise SettingError(f"--max-bad {max_bad}: expected 0 or more samples.")
    if resume is not None and max_bad:
        raise SettingError(
            "--max-bad is a run's own from its start; with --resume it has no effect.", remedy="Leave it out."
        )
    if accept_changed and resume is None:
        raise SettingError("--accept-changed goes with --resume RUN.")
    if continue_for is not None and resume is None:
        raise SettingError("--continue-for trains a finished run on: give the run too, as --resume RUN.")
    if resume is None and data is None:
        raise SettingError("train needs a folder of images and masks, for example: maskwright train cells/train")
    if out is not None and out.exists():
        _refuse_used(out)
    if continue_for is not None and resume is not None and distributed.launch_rank() == 0:
        from maskwright.training import folds, resuming

        (folds if resuming.has_folds(resume) else resuming).extend(resume, continue_for)
    with distributed.process_group(str(resume or out)):
        if resume is None and out is None and distributed.world_size() > 1:
            raise SettingError("Several processes need --out RUN, so that all of them write to one folder.")
        first = distributed.rank() == 0
        say = console.say if first else _silent
        with console.training(first) as show:
            if resume is not None:
                from maskwright.training import folds, resuming

                run = resume
                if resuming.has_folds(run):
                    done = folds.resume(
                        run, data=data, accept_changed=accept_changed, started=started, say=say, show=show
                    )
                else:
                    done = [
                        resuming.resume(
                            run, started=started, data=data, accept_changed=accept_changed, say=say, show=show
                        )
                    ]
            elif data is not None:
                if session.wants_folds(given, recipe):
                    from maskwright.training import folds

                    if val is not None:
                        raise SettingError(
                            f"--val {val} and --folds contradict each other: each fold is validated on its own part."
                        )
                    if max_bad:
                        raise SettingError("--max-bad and --folds do not go together: a sample is in several folds.")
                    run = out or session.default_run_folder(data)
                    say(f"Run folder: {run}")
                    done = folds.start(
                        run, data, given, recipe=recipe, pretrained=pretrained, started=started, say=say, show=show
                    )
                else:
                    prepared = session.prepare(
                        data, given, recipe=recipe, val=val, pretrained=pretrained, max_bad=max_bad, say=say
                    )
                    run = out or session.default_run_folder(data)
                    say(f"{prepared.splits.how}\nRun folder: {run}")
                    if first:
                        rows = prepared.plan.rows()
                        console.print_table("Plan", ("setting", "value", "reason", "source"), rows, stderr=True)
                        if prepared.plan.time_estimate is not None:
                            say(prepared.plan.time_estimate.text)
                    done = [session.start(run, prepared, started=started, max_bad=max_bad, show=show, say=say)]
        if first:
            _report_training(run, done, json)
    if not done[-1].finished:
        sys.exit(130)


def _refuse_used(out: Path) -> None:
    """Raise SettingError for a folder that something lies in, with the one remedy that works."""
    from maskwright import runs

    if not out.is_dir() or not runs.holds_only_beginnings(out):
        run = (out / runs.RUN).is_file() and (out / runs.RESUME).is_dir()
        raise SettingError(
            f"--out {out} exists and is not empty.",
            expected="Expected a new folder.",
            remedy=f"Continue the run in it: maskwright train --resume {out}" if run else "Choose another name.",
            file=out,
        )


def _report_training(run: Path, done: Sequence[Progress], json: bool) -> None:
    """What came of it, in words and as JSON."""
    from maskwright import runs

    last = done[-1]
    scores = runs.read_run(run)["scores"]
    miou = scores.get("validation_miou")
    best = "not validated" if miou is None else f"validation mIoU {miou:.4f}"
    steps = sum(one.step for one in done)
    at_step = {"best_step": last.best_step} if "step" in scores else {"folds": len(done)}
    if json:
        result = {"run": str(run), "finished": last.finished, "steps": steps, "validation_miou": miou}
        console.print_json(result | at_step)
    best += f" at step {last.best_step}" if "step" in scores and miou is not None else ""
    if not last.finished:
        console.say(f"Stopped and saved after {last.step} steps ({best}). Continue: maskwright train --resume {run}")
    elif "step" in scores:
        console.say(f"Trained {steps} steps, {best}. Next: maskwright evaluate {run} DATA")
    else:
        console.say(f"Trained all folds, mean {best}. Next, out-of-fold scores: maskwright evaluate {run}")


def _silent(text: str) -> None:
    """What processes other than the first say."""


def process_start() -> float:
    """`time.monotonic()` when this process began, so that a budget counts imports too.

    Now, where the system cannot tell, or tells what cannot be: a container may count from another moment than its host,
    and the system's clock may have been set since.
    """
    import psutil

    try:
        age = time.time() - psutil.Process().create_time()
    except (psutil.Error, OSError, ValueError):
        age = 0.0
    return time.monotonic() - (age if 0 <= age <= LONGEST_START else 0.0)

"""Cross-validation: one model for each part of the samples, trained without it; together they are an ensemble.

    RUN/run.json      kind "folds": how many, the data, the settings; what prediction needs is the first fold's
    RUN/folds/0/ ...  a run each

Each fold is an ordinary run, so a kill loses nothing: `resume` goes on with the fold that was interrupted and then with
those that were not begun.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from maskwright import runs
from maskwright.config import Settings, load_recipe
from maskwright.errors import RunError
from maskwright.planning.budget import DEFAULT_MINUTES
from maskwright.planning.plan import Plan
from maskwright.training import checkpoint, distributed, resuming, session
from maskwright.training.checkpoint import Progress
from maskwright.training.loop import Status
from maskwright.training.split import Say

Show = Callable[[Status], None]


def start(
    run: Path,
    data: Path,
    given: Settings,
    *,
    recipe: str | None = None,
    pretrained: Path | str | None = None,
    started: float,
    say: Say = lambda text: None,
    show: Show = lambda status: None,
) -> list[Progress]:
    """Train every fold into the folder `run`, which must be empty; a budget of minutes is divided among the folds.

    Returns the folds' progress, up to the first that was interrupted. Raises what `session.prepare` raises.
    """
    settings = given if recipe is None else given.over(load_recipe(recipe))
    count = settings.training.folds
    assert count is not None, "folds are asked for"
    minutes = settings.training.minutes
    if minutes is None and settings.training.steps is None:
        minutes = DEFAULT_MINUTES
    content: dict[str, Any] = {
        "schema": runs.SCHEMA,
        "kind": "folds",
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "folds": count,
        "data": {"path": str(data.resolve())},
        "given": given.to_dict(),
        "recipe": recipe,
        "pretrained": None if pretrained is None else str(pretrained),
        "fold_minutes": None if minutes is None else minutes / count,
        "software": runs.software(),
        "scores": {},
    }
    if distributed.rank() == 0:
        runs.write_json(run / runs.RUN, content)
    distributed.barrier()
    return _train(run, content, started, say, show)


def resume(
    run: Path,
    *,
    data: Path | None = None,
    accept_changed: bool = False,
    started: float,
    say: Say = lambda text: None,
    show: Show = lambda status: None,
) -> list[Progress]:
    """Train the folds that are not finished, on the same data, which may have moved to `data`.

    Raises RunError if all are finished, or the data changed.
    """
    content = runs.read_run(run)
    if all(finished(folder) for folder in _folders(run, content)):
        raise RunError(
            f"{run} is finished: all {content['folds']} folds are trained.",
            remedy=f"`maskwright evaluate {run}` scores each on the samples it was trained without.",
            file=run,
        )
    if data is not None:
        content["data"] = {"path": str(data.resolve())}
    return _train(run, content, started, say, show, accept_changed=accept_changed)


def extend(run: Path, more: str) -> None:
    """Give every fold of a finished run more steps, or its part of more time; `resume` then trains them on.

    Raises what `resuming.extend` raises.
    """
    content = runs.read_run(run)
    if not all(finished(folder) for folder in _folders(run, content)):
        raise RunError(
            f"{run} is not finished.", remedy=f"Continue it first: maskwright train --resume {run}", file=run
        )
    for folder in _folders(run, content):
        resuming.extend(folder, more, fraction=1 / content["folds"])


def finished(fold: Path) -> bool:
    """Tell whether a fold's run has used up its budget, and its score is written down."""
    if not (fold / runs.RUN).exists() or not checkpoint.exists(fold) or not runs.read_run(fold)["scores"]:
        return False
    return bool(checkpoint.read_state(fold)["finished"])


def _train(
    run: Path, content: dict[str, Any], started: float, say: Say, show: Show, *, accept_changed: bool = False
) -> list[Progress]:
    done: list[Progress] = []
    data = Path(content["data"]["path"])
    for fold, folder in enumerate(_folders(run, content)):
        if finished(folder):
            continue
        say(f"Fold {fold + 1} of {content['folds']}")
        if (folder / runs.RUN).exists():
            done.append(
                resuming.resume(folder, started=started, data=data, accept_changed=accept_changed, say=say, show=show)
            )
        else:
            like = Plan.load(run / runs.FOLDS / "0") if fold else None
            prepared = session.prepare(
                data, _given(content, run), recipe=content["recipe"], pretrained=content["pretrained"], fold=fold,
                like=like, say=say,
            )  # fmt: skip
            done.append(session.start(folder, prepared, started=started, show=show, say=say))
        if distributed.rank() == 0:
            first = runs.read_run(run / runs.FOLDS / "0")
            content |= {name: first[name] for name in ("classes", "network", "preparation", "tta", "input", "seed")}
            content["scores"] = {"validation_miou": _mean_score(run, content)}
            runs.write_json(run / runs.RUN, content)
        if not done[-1].finished:
            break
        started = time.monotonic()
    return done


def _folders(run: Path, content: dict[str, Any]) -> list[Path]:
    return [run / runs.FOLDS / str(fold) for fold in range(content["folds"])]


def _given(content: dict[str, Any], run: Path) -> Settings:
    given = Settings.from_dict(content["given"], str(run / runs.RUN))
    if content["fold_minutes"] is None:
        return given
    return replace(given, training=replace(given.training, minutes=content["fold_minutes"]))


def _mean_score(run: Path, content: dict[str, Any]) -> float | None:
    """Mean of the folds' validation scores, once all have one."""
    begun = [runs.read_run(folder)["scores"] for folder in _folders(run, content) if (folder / runs.RUN).exists()]
    known = [value for scores in begun if (value := scores.get("validation_miou")) is not None]
    return sum(known) / len(known) if len(known) == content["folds"] else None

"""A run that goes on: after an interruption, or with more time after its end."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from maskwright import runs
from maskwright.datasets.samples import Dataset
from maskwright.errors import RunError, SettingError, listed
from maskwright.models.segmenter import best_device, make_segmenter
from maskwright.planning.fingerprint import Fingerprint
from maskwright.planning.plan import Plan
from maskwright.training import checkpoint
from maskwright.training.checkpoint import VALIDATIONS, Clock, Progress
from maskwright.training.loop import Status
from maskwright.training.session import Prepared, lock, open_store, train_prepared
from maskwright.training.split import Say, split_dataset

CONTINUED = 0.3
"""Fraction of the peak rate with which a finished run learns on: enough to move, not enough to lose what it knows."""


def resume(
    run: Path,
    *,
    started: float,
    data: Path | None = None,
    accept_changed: bool = False,
    say: Say = lambda text: None,
    show: Callable[[Status], None] = lambda status: None,
) -> Progress:
    """Continue an interrupted run with the same data; the result is that of the uninterrupted run.

    With `accept_changed`, samples may have other contents than then, repaired ones say. Raises RunError if the run is
    finished, was not begun, or its data changed.
    """
    content, plan = runs.read_run(run), Plan.load(run)
    runs.require(content, run, "scores", "network", "data.path", "data.val", "data.fingerprint")
    with lock(run):
        if not checkpoint.exists(run):
            raise RunError(
                f"{run} cannot be resumed: it has no state in {runs.RESUME}/, which is there from the beginning.",
                remedy="Restore it, or train anew into another folder.",
                file=run / runs.RESUME / checkpoint.STATE,
            )
        if content["scores"] and checkpoint.read_state(run).get("finished"):
            raise RunError(
                f"{run} is finished: its budget of {plan.budget} is used up. "
                "Nothing is left to resume; `maskwright evaluate` and `predict` use it, and "
                f"`maskwright train --resume {run} --continue-for 30m` trains it on."
            )
        path = data or Path(content["data"]["path"])
        val = None if content["data"]["val"] is None else Path(content["data"]["val"])
        splits = split_dataset(
            path, plan.settings.training, val, content["data"].get("fold"), say, content.get("max_bad", 0)
        )
        for key, part in (("fingerprint", splits.training), ("validation_fingerprint", splits.validation)):
            known = content["data"][key]
            if part.samples and not check_same(run, known, part, path, accept=accept_changed, say=say):
                content["data"][key] = part.content_hash()
        store = open_store(splits.training, plan.settings)
        prepared = Prepared(
            data=path,
            val=val,
            pretrained=None,
            weights=content.get("weights"),
            fold=content["data"].get("fold"),
            splits=splits,
            store=store,
            validation_store=open_store(splits.validation, plan.settings, like=store),
            fingerprint=Fingerprint.from_dict(plan.fingerprint),
            plan=plan,
            network=content["network"],
            segmenter=make_segmenter(content["network"]).to(best_device()),
        )
        return train_prepared(run, content, prepared, Clock(started=started), show, say, resume=True)


def extend(run: Path, more: str, *, fraction: float = 1.0) -> None:
    """Give a finished run more time, or more steps: `30m`, `2h`, `90s` or `500steps`; `resume` then trains it on.

    With a `fraction`, that part of the time. The new leg starts from the last state; its rate warms up to `CONTINUED`
    times the run's peak and falls again. Raises SettingError for another text, RunError if the run is not finished.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|steps)", more.strip())
    if match is None or float(match[1]) <= 0 or (match[2] == "steps" and "." in match[1]):
        raise SettingError(f"--continue-for {more!r}: expected a time such as 30m, 2h or 90s, or a number as 500steps.")
    content, plan, state = runs.read_run(run), Plan.load(run), checkpoint.read_state(run)
    with runs.locked(run):
        if not state["finished"]:
            raise RunError(
                f"{run} is not finished.", remedy=f"Continue it first: maskwright train --resume {run}", file=run
            )
        if match[2] == "steps":
            plan = plan.with_budget(steps=state["step"] + int(match[1]), reason=f"continued for {more}")
        else:
            minutes = state["elapsed"] / 60 + fraction * float(match[1]) * {"s": 1 / 60, "m": 1, "h": 60}[match[2]]
            plan = plan.with_budget(minutes=minutes, reason=f"continued for {more}")
        state |= {"finished": False, "fraction": 0.0, "first": state["step"], "peak": CONTINUED}
        plan.save(run)
        runs.write_json(run / runs.RUN, content | {"settings": plan.settings.to_dict()})
        runs.write_json(run / runs.RESUME / checkpoint.STATE, state | {"next_validation": 1 / VALIDATIONS})


def has_folds(run: Path) -> bool:
    """Whether a run is one of cross-validation; raises RunError if it is no run."""
    return bool(runs.read_run(run)["kind"] == "folds")


def check_same(run: Path, known: dict[str, object], dataset: Dataset, path: Path, *, accept: bool, say: Say) -> bool:
    """Whether a data set is the one that the run began with.

    With `accept`, samples may have other contents, and they are named. Raises RunError otherwise, or if there are
    other samples than then.
    """
    found = dataset.content_hash()
    if found == known:
        return True
    told = ", ".join(f"{key}: {known.get(key)} then, {found[key]} now" for key in found if found[key] != known.get(key))
    before = runs.read_json(run / runs.FILES) if (run / runs.FILES).exists() else {}
    now = dataset.sample_hashes()
    same_samples = found["samples"] == known.get("samples") and (not before or now.keys() <= before.keys())
    changed = [name for name, digest in now.items() if before.get(name) != digest]
    told += f"; samples: {listed(changed)}" if before and changed else ""
    if not same_samples or not accept:
        raise RunError(
            f"{run} cannot be resumed: the data in {path} changed since it began ({told}).",
            expected="Expected the same samples.",
            remedy="Restore them"
            + (", or go on with them as they are now: --accept-changed." if same_samples else ", or start a new run."),
        )
    say(f"Going on with changed data ({told})")
    return False

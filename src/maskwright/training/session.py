"""From a data folder to a trained run: what `maskwright train` does; `resuming` goes on with one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskwright import runs
from maskwright.augment.loader import Loader, Store, default_workers
from maskwright.augment.store import decode_all, refuse_bad
from maskwright.config import CACHE, Settings, load_recipe
from maskwright.datasets.samples import Dataset, Sample
from maskwright.errors import RunError, SettingError
from maskwright.models.segmenter import Segmenter, best_device
from maskwright.planning.decisions import ResolvedTraining
from maskwright.planning.fingerprint import Fingerprint, take_fingerprint
from maskwright.planning.plan import Plan
from maskwright.planning.rules import make_plan
from maskwright.processes import available_cores
from maskwright.training import checkpoint, distributed
from maskwright.training.checkpoint import VALIDATIONS, Clock, Progress
from maskwright.training.loop import Status, train
from maskwright.training.losses import make_loss
from maskwright.training.machine import device_name, keep_freed_memory, refuse_beyond_memory
from maskwright.training.machine import step_seconds as measured
from maskwright.training.split import Say, Splits, refuse_unlabelled, split_dataset, validation_samples
from maskwright.training.start import around, describe, from_file, from_installed

GIB = 2**30
DECODING_FRACTION = 0.05
"""Of a budget of minutes that decoding everything once may take before training."""
DECODING_SECONDS = 30.0
"""That it may take before training for a number of steps, or where the budget is not known yet."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A data folder looked at, the plan for it, and the network that the plan asks for."""

    data: Path
    val: Path | None
    pretrained: Path | str | None
    weights: dict[str, Any] | None
    """What training starts from, as in `run.json`: `from`, `what`, `sha256`, `licence`; None for random weights."""
    fold: int | None
    splits: Splits
    store: Store
    validation_store: Store
    fingerprint: Fingerprint
    plan: Plan
    network: dict[str, Any]
    """As in `run.json`; see `make_segmenter`."""
    segmenter: Segmenter


def prepare(
    data: Path,
    given: Settings,
    *,
    recipe: str | None = None,
    val: Path | None = None,
    pretrained: Path | str | None = None,
    fold: int | None = None,
    like: Plan | None = None,
    estimate_time: bool = False,
    max_bad: int = 0,
    say: Say = lambda text: None,
) -> Prepared:
    """Open a data folder, hold out samples for validation, look at the images, decide the plan and build the network.

    `pretrained` is a file, or a name on the Hugging Face Hub; with a `fold`, that part of the samples is held out; a
    plan `like` which this one is to be decides what is left open. Otherwise the time of a step is measured where the
    plan goes by minutes, and with `estimate_time` in any case.
    Nothing is written. Raises a MaskwrightError for whatever would stop training: data, settings, network or weights.
    """
    settings = given if recipe is None else given.over(load_recipe(recipe))
    if val is not None and given.training.val_fraction is not None:
        raise SettingError(
            f"--val {val} replaces the validation split, so val_fraction = "
            f"{given.training.val_fraction:g} has no effect.",
            remedy="Give one of them.",
        )
    splits = split_dataset(data, settings.training, val, fold, say, max_bad)
    store = open_store(splits.training, settings)
    device = best_device()
    validation_store = open_store(splits.validation, settings, like=store)
    held_out = validation_store, validation_samples(splits.validation.samples)
    samples = splits.training.samples
    if max_bad:
        bad, _ = _decoded(store, samples, DECODING_SECONDS, say)
        refuse_bad(bad, max_bad)
        samples = tuple(sample for sample in samples if sample.id not in bad)
    fingerprint = take_fingerprint(store, samples, splits.training.classes, str(device), held_out, say)
    refuse_unlabelled(*held_out)
    classes = len(splits.training.classes)
    if settings.training.crop is not None:
        batch = settings.training.batch or 1
        refuse_beyond_memory(
            settings.training.crop, batch, settings.training.scale or 1.0, fingerprint.channels, classes
        )
    measures = estimate_time or (settings.training.steps is None and like is None)
    step_seconds = partial(_step_seconds, fingerprint.channels, classes, device) if measures else None
    if pretrained is None:
        sought = settings if like is None else like.settings
        start_from = from_installed(sought, fingerprint, store, samples, say)
    else:
        start_from = from_file(pretrained, settings, fingerprint, splits.training.classes.names, like)
    plan = make_plan(
        settings,
        fingerprint,
        given=given,
        recipe=recipe,
        weights=start_from.weights,
        head_start=start_from.head_start,
        step_seconds=step_seconds,
        like=like,
    )
    distributed.slots(plan.training.batch)
    asked = plan.training
    refuse_beyond_memory(asked.crop, asked.batch, asked.scale, fingerprint.channels, classes)
    network = describe(plan.training, fingerprint, classes, start_from.moments)
    segmenter = around(start_from.build(plan.training, fingerprint.channels, classes), network)
    if not plan.training.from_scratch and start_from.record is not None:
        say(f"Starting from {start_from.record['from']}: {start_from.record['what']}")
    prepared = Prepared(
        data=data,
        val=val,
        pretrained=pretrained,
        weights=None if plan.training.from_scratch else start_from.record,
        fold=fold,
        splits=splits,
        store=store,
        validation_store=validation_store,
        fingerprint=fingerprint,
        plan=plan,
        network=network,
        segmenter=segmenter.to(device),
    )
    make_loader(prepared)  # an augmentation that does not suit the images is refused before anything is written
    return prepared


def start(
    run: Path,
    prepared: Prepared,
    *,
    started: float,
    max_bad: int = 0,
    show: Callable[[Status], None] = lambda status: None,
    say: Say = lambda text: None,
) -> Progress:
    """Train into the folder `run`, which must be empty; the budget began at `started`, by `time.monotonic()`.

    Everything is decoded once before, where that is quick. Up to `max_bad` samples that cannot be read are skipped.
    """
    splits, settings = prepared.splits, prepared.plan.settings
    budget = prepared.plan.budget
    seconds = DECODING_SECONDS if budget.steps else DECODING_FRACTION * 60 * budget.minutes
    bad, left = _decoded(prepared.store, splits.training.samples, seconds, say)
    refuse_bad(bad, max_bad)
    with lock(run):
        _refuse_used(run)
        content: dict[str, Any] = {
            "schema": runs.SCHEMA,
            "kind": "run",
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "classes": splits.training.classes.to_dict(),
            "network": prepared.network,
            "preparation": settings.to_dict()["preparation"],
            "tta": prepared.plan.mirrored,
            "input": prepared.store.expected_images(),
            "data": {
                "path": str(prepared.data.resolve()),
                "val": None if prepared.val is None else str(prepared.val.resolve()),
                "fingerprint": splits.training.content_hash(),
                "validation_fingerprint": splits.validation.content_hash() if splits.validation.samples else None,
                "fold": prepared.fold,
                "how": splits.how,
                "training": [sample.id for sample in splits.training.samples],
                "validation": [sample.id for sample in splits.validation.samples],
            },
            "settings": settings.to_dict(),
            "pretrained": None if prepared.pretrained is None else str(prepared.pretrained),
            "weights": prepared.weights,
            "device": device_name(),
            "software": runs.software(),
            "seed": settings.training.seed,
            "max_bad": max_bad,
            "scores": {},
        }
        if distributed.rank() == 0:
            remember_files(run, splits.training, splits.validation)
            prepared.plan.save(run)
            # The state that it begins with, and run.json last: whatever is there can be resumed, however early a kill.
            first = Progress(next_validation=1 / VALIDATIONS, parts=prepared.plan.training.accumulate)
            checkpoint.save(run, first, prepared.segmenter)
            runs.write_json(run / runs.RUN, content)
        return train_prepared(
            run, content, prepared, Clock(started=started), show, say, resume=False, bad=bad, unverified=left
        )


def train_prepared(
    run: Path,
    content: dict[str, Any],
    prepared: Prepared,
    clock: Clock,
    show: Callable[[Status], None],
    say: Say,
    *,
    resume: bool,
    bad: Mapping[str, str] = {},
    unverified: Sequence[Sample] | None = None,
) -> Progress:
    """The part that a fresh and a resumed run share; a resumed one has decoded nothing yet."""
    keep_freed_memory()
    segmenter = prepared.segmenter
    training, fingerprint, splits = prepared.plan.training, prepared.fingerprint, prepared.splits
    device = next(segmenter.parameters()).device
    torch.backends.cudnn.benchmark = device.type == "cuda"
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else "highest")
    loader = make_loader(prepared)
    loader.max_bad = content.get("max_bad", 0)
    loader.bad |= bad
    loader.unverified.extend(splits.training.samples if unverified is None else unverified)
    weights = None
    if training.class_weighting:
        fraction_K = np.maximum(np.array(fingerprint.class_fraction), 1e-6)
        weight_K = fraction_K**-training.class_weighting
        weights = torch.tensor(weight_K / (weight_K * fraction_K).sum(), dtype=torch.float32, device=device)
    done = train(
        run,
        segmenter,
        loader,
        (prepared.validation_store, splits.validation.samples),
        len(splits.training.classes),
        training,
        prepared.plan.budget,
        make_loss(training.loss, weights, training.label_smoothing),
        clock,
        resume=resume,
        show=show,
        say=say,
    )
    content["scores"] = {"validation_miou": done.best, "step": done.best_step, "steps": done.step}
    content["seconds"] = round(clock.elapsed() if not resume else done.elapsed, 1)
    if distributed.rank() == 0:
        runs.write_json(run / runs.RUN, content)
    return done


def make_loader(prepared: Prepared) -> Loader:
    """The training views of what was prepared, those that this process makes.

    Raises SettingError for an augmentation that does not suit the images.
    """
    training, fingerprint = prepared.plan.training, prepared.fingerprint
    device = next(prepared.segmenter.parameters()).device
    # A photometric change by channel is a table for each: worth its time only where channels differ in kind.
    alike = fingerprint.channels == 1 or (fingerprint.channels == 3 and fingerprint.dtype == "uint8")
    return Loader(
        prepared.store,
        prepared.splits.training.samples,
        augmentation=prepared.plan.settings.augmentation,
        crop=training.crop,
        batch=training.batch,
        class_fraction=training.class_fraction,
        seed=training.seed,
        mean=float(np.mean(fingerprint.mean)) if alike else fingerprint.mean,
        std=float(np.mean(fingerprint.std)) if alike else fingerprint.std,
        scale=training.scale,
        slots=distributed.slots(training.batch),
        workers=default_workers(device.type),
        pin=device.type == "cuda",
    )


def _step_seconds(channels: int, classes: int, device: torch.device, training: ResolvedTraining) -> float:
    """As the first process measures it, each with its part of the batch, so that all processes plan alike."""
    refuse_beyond_memory(training.crop, training.batch, training.scale, channels, classes)
    part = replace(training, batch=len(distributed.slots(training.batch)))
    (seconds,), _ = distributed.agree((measured(part, channels, classes, device),))
    return seconds


def lock(run: Path) -> AbstractContextManager[None]:
    """The run's lock, held by the process that writes."""
    return runs.locked(run) if distributed.rank() == 0 else nullcontext()


def _decoded(store: Store, samples: Sequence[Sample], seconds: float, say: Say) -> tuple[dict[str, str], list[Sample]]:
    """What is wrong with samples that cannot be decoded, as far as the seconds go; and those that are left."""
    return decode_all(store, samples, seconds=seconds, threads=min(8, available_cores()), say=say)


def _refuse_used(run: Path) -> None:
    """Raise RunError if another process has trained here since the folder was looked at, which takes time."""
    if distributed.rank() == 0 and (run / runs.RUN).exists():
        raise RunError(f"{run} holds a run already.", remedy=f"Continue it: maskwright train --resume {run}", file=run)


def remember_files(run: Path, *datasets: Dataset) -> None:
    """Write down a hash of each sample's files, so that a resumed run can name what changed."""
    runs.write_json(run / runs.FILES, {key: value for one in datasets for key, value in one.sample_hashes().items()})


def open_store(dataset: Dataset, settings: Settings, like: Store | None = None) -> Store:
    """What reads and keeps the samples; those of validation resemble the images of the training store `like`."""
    gib = CACHE if settings.training.cache is None else settings.training.cache
    return Store(dataset, settings.preparation, gib * GIB, like)


def wants_folds(given: Settings, recipe: str | None) -> bool:
    """Whether cross-validation is asked for, by the user or the recipe."""
    settings = given if recipe is None else given.over(load_recipe(recipe))
    return settings.training.folds is not None


def default_run_folder(data: Path) -> Path:
    """A new folder `runs/<name of the data>`, numbered if it exists."""
    resolved = data.resolve()
    name = resolved.parent.name if resolved.name in ("train", "images") and resolved.parent.name else resolved.name
    return runs.fresh_folder(Path("runs"), name or "run")


__all__ = [
    "Prepared",
    "default_run_folder",
    "lock",
    "make_loader",
    "open_store",
    "prepare",
    "start",
    "train_prepared",
    "wants_folds",
]

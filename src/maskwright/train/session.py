"""From a data folder to a trained run, and on again after an interruption: what `maskwright train` does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskwright import runs
from maskwright.config import Settings, Training, load_recipe
from maskwright.data.classes import ClassTable
from maskwright.data.formats import open_dataset
from maskwright.data.loader import Loader, Store
from maskwright.data.samples import Dataset, hold_out
from maskwright.errors import RunError, SettingError
from maskwright.models.segmenter import Segmenter
from maskwright.models.weights import load_pretrained
from maskwright.predict.predictor import best_device, make_segmenter
from maskwright.train import checkpoint
from maskwright.train.checkpoint import Progress
from maskwright.train.facts import Facts, gather
from maskwright.train.loop import Clock, Status, train, validation_samples
from maskwright.train.losses import make_loss
from maskwright.train.memory import keep_freed_memory
from maskwright.train.plan import Plan, make_plan

GIB = 2**30
DEFAULT_CACHE = 2.0
DEFAULT_VAL_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Which samples train, which validate, and how they were chosen."""

    training: Dataset
    validation: Dataset
    how: str


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A data folder looked at, the plan for it, and the network that the plan asks for."""

    data: Path
    val: Path | None
    pretrained: Path | None
    shares: Shares
    store: Store
    validation_store: Store
    facts: Facts
    plan: Plan
    network: dict[str, Any]
    """As in `run.json`; see `make_segmenter`."""
    segmenter: Segmenter


Say = Callable[[str], None]


def prepare(
    data: Path,
    given: Settings,
    *,
    recipe: str | None = None,
    val: Path | None = None,
    pretrained: Path | None = None,
    say: Say = lambda text: None,
) -> Prepared:
    """Open a data folder, hold out the validation share, look at the images, decide the plan and build the network.

    Nothing is written. Raises a MaskwrightError for whatever would stop training: data, settings, network or weights.
    """
    settings = given if recipe is None else given.over(load_recipe(recipe))
    if val is not None and given.training.val_share is not None:
        raise SettingError(
            f"--val {val} replaces the validation share, so val_share = {given.training.val_share:g} has no effect. "
            "Give one of them."
        )
    shares = _share(data, settings.training, val, say)
    store = _store(shares.training, settings)
    device = best_device()
    facts = gather(store, shares.training.samples, shares.training.classes, str(device))
    validation_store = _store(shares.validation, settings, like=store)
    for sample in validation_samples(shares.validation.samples):
        validation_store.get(sample)
    plan = make_plan(settings, facts, given=given, recipe=recipe)
    network = _network(plan, facts, shares.training.classes)
    torch.manual_seed(plan.settings.training.seed or 0)
    segmenter = make_segmenter(network)
    if pretrained is not None:
        load_pretrained(segmenter.network, pretrained)
    return Prepared(
        data=data,
        val=val,
        pretrained=pretrained,
        shares=shares,
        store=store,
        validation_store=validation_store,
        facts=facts,
        plan=plan,
        network=network,
        segmenter=segmenter.to(device),
    )


def start(
    run: Path, prepared: Prepared, *, started: float, show: Callable[[Status], None] = lambda status: None
) -> Progress:
    """Train into the folder `run`, which must be empty; `started` is the `time.time()` at which the budget began."""
    shares, settings = prepared.shares, prepared.plan.settings
    with runs.locked(run):
        prepared.plan.save(run)
        content: dict[str, Any] = {
            "schema": runs.SCHEMA,
            "kind": "run",
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "classes": shares.training.classes.to_dict(),
            "network": prepared.network,
            "preparation": settings.to_dict()["preparation"],
            "tta": _tta(settings),
            "input": _input(prepared.store),
            "data": {
                "path": str(prepared.data.resolve()),
                "val": None if prepared.val is None else str(prepared.val.resolve()),
                "fingerprint": shares.training.fingerprint(),
                "validation_fingerprint": shares.validation.fingerprint() if shares.validation.samples else None,
                "how": shares.how,
                "training": [sample.id for sample in shares.training.samples],
                "validation": [sample.id for sample in shares.validation.samples],
            },
            "settings": settings.to_dict(),
            "pretrained": None if prepared.pretrained is None else str(prepared.pretrained),
            "device": _device_name(),
            "software": runs.software(),
            "seed": settings.training.seed,
            "scores": {},
        }
        runs.write_json(run / runs.RUN, content)
        return _train(run, content, prepared, Clock(started=started), show, resume=False)


def resume(
    run: Path, *, started: float, data: Path | None = None, say: Say = lambda text: None, show: Callable[[Status], None]
) -> Progress:
    """Continue an interrupted run with the same data; the result is that of the uninterrupted run.

    Raises RunError if the run is finished, was not begun, or its data changed.
    """
    content = runs.read_run(run)
    plan = Plan.load(run)
    with runs.locked(run):
        if not checkpoint.exists(run):
            raise RunError(
                f"{run} cannot be resumed: it has no state in {runs.RESUME}/, which appears within the first minute. "
                "Start again with `maskwright train DATA`."
            )
        if content["scores"] and runs.read_json(run / runs.RESUME / checkpoint.STATE).get("finished"):
            raise RunError(
                f"{run} is finished: its budget of {_budget(plan.settings.training)} is used up. "
                "Nothing is left to resume; `maskwright evaluate` and `predict` use it."
            )
        path = data or Path(content["data"]["path"])
        val = None if content["data"]["val"] is None else Path(content["data"]["val"])
        shares = _share(path, plan.settings.training, val, say)
        _same(run, content["data"]["fingerprint"], shares.training, path)
        if shares.validation.samples:
            _same(run, content["data"]["validation_fingerprint"], shares.validation, path)
        store = _store(shares.training, plan.settings)
        prepared = Prepared(
            data=path,
            val=val,
            pretrained=None,
            shares=shares,
            store=store,
            validation_store=_store(shares.validation, plan.settings, like=store),
            facts=Facts.from_dict(plan.facts),
            plan=plan,
            network=content["network"],
            segmenter=make_segmenter(content["network"]).to(best_device()),
        )
        return _train(run, content, prepared, Clock(started=started), show, resume=True)


def _train(
    run: Path,
    content: dict[str, Any],
    prepared: Prepared,
    clock: Clock,
    show: Callable[[Status], None],
    *,
    resume: bool,
) -> Progress:
    """The part that a fresh and a resumed run share."""
    keep_freed_memory()
    segmenter = prepared.segmenter
    settings, facts, shares = prepared.plan.settings, prepared.facts, prepared.shares
    training = settings.training
    assert training.crop is not None
    device = next(segmenter.parameters()).device
    torch.backends.cudnn.benchmark = device.type == "cuda"
    loader = Loader(
        prepared.store,
        shares.training.samples,
        augmentation=settings.augmentation,
        crop=training.crop,
        batch=training.batch or 1,
        class_share=training.class_share or 0.0,
        seed=training.seed or 0,
        mean=float(np.mean(facts.mean)),
        std=float(np.mean(facts.std)),
    )
    weights = None
    if training.class_weighting:
        share_K = np.maximum(np.array(facts.class_share), 1e-6)
        weight_K = share_K**-training.class_weighting
        weights = torch.tensor(weight_K / (weight_K * share_K).sum(), dtype=torch.float32, device=device)
    done = train(
        run,
        segmenter,
        loader,
        (prepared.validation_store, shares.validation.samples),
        training,
        make_loss(training.loss or "", weights),
        clock,
        resume=resume,
        show=show,
    )
    content["scores"] = {"validation_miou": done.best, "step": done.best_step, "steps": done.step}
    content["seconds"] = round(clock.elapsed() if not resume else done.elapsed, 1)
    runs.write_json(run / runs.RUN, content)
    return done


def _share(data: Path, training: Training, val: Path | None, say: Say) -> Shares:
    dataset = open_dataset(data)
    for note in dataset.notes:
        say(note)
    splits = dataset.splits
    pool = dataset.split("train") if "train" in splits else dataset
    if val is not None:
        other = open_dataset(val, classes=dataset.classes)
        for note in other.notes:
            say(f"validation: {note}")
        return Shares(training=pool, validation=other, how=f"validation on {len(other.samples)} samples of {val}")
    if "train" in splits and "val" in splits:
        validation = dataset.split("val")
        how = f"validation on the {len(validation.samples)} samples of {data / 'val'}"
        return Shares(training=pool, validation=validation, how=how)
    share = DEFAULT_VAL_SHARE if training.val_share is None else training.val_share
    kept, held, how = hold_out(pool.samples, share, training.seed or 0)
    if "test" in splits and "train" in splits:
        how += f"; {data / 'test'} is left for evaluation"
    return Shares(training=pool.with_samples(kept), validation=pool.with_samples(held), how=how)


def _store(dataset: Dataset, settings: Settings, like: Store | None = None) -> Store:
    gib = DEFAULT_CACHE if settings.training.cache is None else settings.training.cache
    return Store(dataset, settings.preparation, gib * GIB, like)


def _network(plan: Plan, facts: Facts, classes: ClassTable) -> dict[str, Any]:
    """The `network` of `run.json`; see `make_segmenter`."""
    training = plan.settings.training
    mean, std = list(facts.mean), list(facts.std)
    if training.normalization == "unit":
        top = {"uint8": 255.0, "uint16": 65535.0}.get(facts.dtype)
        if top is None:
            raise SettingError(
                f"normalization = 'unit' divides by the type's largest value, and the images are {facts.dtype}. "
                "Use normalization = 'data'."
            )
        mean, std = [0.0] * facts.channels, [top] * facts.channels
    if training.normalization == "imagenet":
        # The statistics that torchvision's ImageNet weights were trained with, in units of the type's range.
        top = 65535.0 if facts.dtype == "uint16" else 255.0
        mean, std = [top * v for v in (0.485, 0.456, 0.406)], [top * v for v in (0.229, 0.224, 0.225)]
    return {
        "name": training.model,
        "options": training.model_options,
        "channels": facts.channels,
        "classes": len(classes),
        "mean": mean,
        "std": std,
        "per_image": training.normalization == "image",
        "scale": training.scale,
    }


def _tta(settings: Settings) -> dict[str, bool]:
    on = bool(settings.training.tta)
    return {
        "horizontal": on and bool(settings.augmentation.flip_horizontal),
        "vertical": on and bool(settings.augmentation.flip_vertical),
    }


def _input(store: Store) -> dict[str, Any]:
    """What prediction compares an image with, before preparation."""
    seen = list(store.originals.values())
    return {
        "channels": seen[0].channels,
        "dtype": seen[0].dtype,
        "low": min(one.low for one in seen),
        "middle": float(np.median([one.middle for one in seen])),
        "high": max(one.high for one in seen),
    }


def _same(run: Path, known: dict[str, Any], dataset: Dataset, path: Path) -> None:
    found = dataset.fingerprint()
    if found != known:
        changed = ", ".join(
            f"{key}: {known.get(key)} then, {found.get(key)} now" for key in found if found[key] != known.get(key)
        )
        raise RunError(
            f"{run} cannot be resumed: the data in {path} changed since it began ({changed}). Expected the same "
            "samples. Restore them, or start a new run."
        )


def _budget(training: Training) -> str:
    return f"{training.steps} steps" if training.steps else f"{training.minutes:g} min"


def _device_name() -> str:
    device = best_device()
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{device.type}, {torch.get_num_threads()} threads"


def default_run_folder(data: Path) -> Path:
    """A new folder `runs/<name of the data>`, numbered if it exists."""
    resolved = data.resolve()
    name = resolved.parent.name if resolved.name in ("train", "images") and resolved.parent.name else resolved.name
    return runs.fresh_folder(Path("runs"), name or "run")


__all__ = ["Prepared", "default_run_folder", "prepare", "resume", "start"]

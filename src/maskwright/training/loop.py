"""The training loop, one page: validate -> save -> stop -> step -> log.

Shapes: B batch, C channels, K classes, H, W height and width.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import nn

from maskwright import runs
from maskwright.augment.loader import Batch, Loader, Store
from maskwright.datasets.samples import Sample
from maskwright.errors import TrainingError
from maskwright.models.segmenter import Segmenter
from maskwright.models.weights import save_weights
from maskwright.planning.decisions import Budget, ResolvedTraining
from maskwright.training import checkpoint, distributed
from maskwright.training.checkpoint import Progress
from maskwright.training.clock import VALIDATIONS, Clock, next_validation, share
from maskwright.training.log import Log
from maskwright.training.losses import Loss
from maskwright.training.optim import Average, make_optimizer, rate
from maskwright.training.validation import averaged, validate, validation_samples

SAVE_EVERY = 60.0
"""Seconds between saved states."""
TIE = 0.01
"""Validation mIoU this close to the highest counts as equal, and later weights, of a lower rate, are kept: the few
validation images tell no finer difference, and a peak among noisy scores is luck."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """What a progress display shows after a step."""

    step: int
    share: float
    loss: float
    images_per_second: float
    seconds_left: float
    miou: float | None


def train(
    run: Path,
    segmenter: Segmenter,
    loader: Loader,
    validation: tuple[Store, Sequence[Sample]],
    classes: int,
    settings: ResolvedTraining,
    budget: Budget,
    loss_function: Loss,
    clock: Clock,
    *,
    resume: bool = False,
    show: Callable[[Status], None] = lambda status: None,
    say: Callable[[str], None] = lambda text: None,
) -> Progress:
    """Train until the steps or the minutes are used up; leave the best weights in the run.

    Stops early, with the state saved, at SIGINT or SIGTERM: `Progress.finished` tells. With several processes
    (`distributed`), all call this together. Raises TrainingError if a loss is not finite, naming the step and the
    images, or if the memory does not suffice for a single view.
    """
    device = next(segmenter.parameters()).device
    writes = distributed.rank() == 0
    segmenter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(settings.optimizer, segmenter, settings.lr, settings.weight_decay, settings.layer_decay)
    average = Average(segmenter, settings.ema) if settings.ema else None
    done = Progress(next_validation=1 / VALIDATIONS, begun=clock.elapsed(), parts=settings.accumulate)
    if resume:
        done = checkpoint.load(run, segmenter, optimizer, average)
        clock = Clock(started=clock.started, before=done.elapsed)
        if done.step == done.first and not done.share:
            done.begun = clock.elapsed()  # a continued run has just been opened again
    trained = segmenter.at_working_scale()  # views are reduced already
    model = distributed.shared(trained)
    model = torch.compile(model) if settings.compile else model  # type: ignore[assignment]
    bf16 = settings.precision == "bf16"
    log = Log(run / runs.LOG, after=done.step, on=writes)
    log.write("start", step=done.step, seconds=clock.elapsed(), resumed=resume, processes=distributed.count())
    checked = validation_samples(validation[1])
    saved = time.monotonic()
    miou: float | None = done.best

    with _interruptible() as interrupted, loader.ahead(done.step) as batches:
        while True:
            # What the first process's clock says holds for all.
            (done.share, due_now, save_now), (stop,) = distributed.agree(
                (done.share, float(_due(done, settings)), float(time.monotonic() - saved > SAVE_EVERY)),
                (interrupted(),),
            )

            # Validate, and keep the weights if they are the best so far.
            over = done.share >= 1
            if done.step > done.first and (over or due_now) and not done.finished:
                start = time.monotonic()
                with averaged(segmenter, average):
                    scores = validate(segmenter, validation[0], checked, classes) if checked else None
                    miou = None if scores is None or math.isnan(scores.miou) else scores.miou
                    if miou is None or done.best is None or miou >= done.highest - TIE:
                        if writes:
                            save_weights(segmenter, run / runs.WEIGHTS)
                        done.best, done.best_step = miou, done.step
                    done.highest = max(done.highest, miou or 0.0)
                done.validation_seconds = time.monotonic() - start
                done.next_validation = next_validation(done, budget, clock.elapsed() - done.begun)
                iou = None if scores is None else [None if math.isnan(v) else round(v, 5) for v in scores.iou.tolist()]
                log.write(
                    "validation", step=done.step, seconds=clock.elapsed(), miou=miou, iou=iou, images=len(checked)
                )

            # Save the state.
            done.finished = over
            if (over or stop or save_now) and writes:
                done.elapsed = clock.elapsed()
                checkpoint.save(run, done, segmenter, optimizer, average)
                if not (run / runs.WEIGHTS).exists():
                    with averaged(segmenter, average):
                        save_weights(segmenter, run / runs.WEIGHTS)
            saved = time.monotonic() if save_now else saved

            # Stop.
            if over or stop:
                log.write("end", step=done.step, seconds=clock.elapsed(), finished=over, best=done.best)
                log.close()
                distributed.wait()
                return done

            # One step.
            tick = time.monotonic()
            batch = next(batches)
            halves = done.first == 0 and done.share < settings.progressive  # a continued run has had its share
            shown = batch.halved() if halves else batch
            trained.train()
            share_of_peak = done.peak * rate(done.share, settings.warmup, settings.schedule)
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * share_of_peak * group["rate"]
            while True:
                torch.manual_seed(_seed_of(settings.seed, done.step))
                optimizer.zero_grad(set_to_none=True)
                try:
                    value = _gradients(model, segmenter.auxiliary, shown, done.parts, loss_function, bf16=bf16)
                    break
                except RuntimeError as error:
                    done.parts = _smaller(error, done.parts, len(batch.ids))
                _free(device)
                say(f"Out of memory at step {done.step}: each batch is now made in {done.parts} parts, one by one")
                log.write("memory", step=done.step, seconds=clock.elapsed(), parts=done.parts)
            if not math.isfinite(value):
                kept = f" The best weights so far are in {run}." if (run / runs.WEIGHTS).exists() else ""
                raise TrainingError(
                    f"The loss became {value} at step {done.step}, on {', '.join(batch.ids)}. Expected a finite "
                    f"number. Look at these images for extreme values; else lower the rate, for example "
                    f"--lr {settings.lr / 3:.1e}.{kept}"
                )
            if settings.gradient_clip:
                torch.nn.utils.clip_grad_norm_(segmenter.parameters(), settings.gradient_clip)
            optimizer.step()
            if average is not None:
                average.update(segmenter, done.step)
            done.step += 1
            done.share = share(budget, done, clock)

            # Log.
            speed = distributed.count() * len(batch.ids) / max(time.monotonic() - tick, 1e-9)
            log.write(
                "step",
                step=done.step,
                seconds=clock.elapsed(),
                share=done.share,
                loss=value,
                lr=settings.lr * share_of_peak,
                images_per_second=speed,
            )
            left = (clock.elapsed() - done.begun) * (1 - done.share) / max(done.share, 1e-9)
            show(
                Status(
                    step=done.step, share=done.share, loss=value, images_per_second=speed, seconds_left=left, miou=miou
                )
            )


def _gradients(
    model: nn.Module,
    auxiliary: Sequence[float],
    batch: Batch,
    parts: int,
    loss_function: Loss,
    *,
    bf16: bool,
) -> float:
    """Add the gradients of a batch, made in `parts` of equal size up to one view, and return the loss.

    The loss is the mean over the parts; each part's is over its own labelled pixels. `bf16` computes the network, not
    the loss, in bfloat16.
    """
    device = next(model.parameters()).device
    total = 0.0
    chunks = [part for part in np.array_split(np.arange(len(batch.ids)), parts) if len(part)]
    for number, part in enumerate(chunks):
        image_BCHW = batch.image_BCHW[part[0] : part[-1] + 1].to(device, non_blocking=True)
        target_BHW = batch.target_BHW[part[0] : part[-1] + 1].to(device, non_blocking=True)
        last = number == len(chunks) - 1
        quiet = nullcontext() if last or not hasattr(model, "no_sync") else model.no_sync()  # type: ignore[operator]
        with quiet:
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                outputs = model(image_BCHW)
            logits_BKHW, *others = outputs if isinstance(outputs, tuple) else (outputs,)
            loss = loss_function(logits_BKHW, target_BHW)
            for weight, other_BKHW in zip(auxiliary, others, strict=True):
                loss = loss + weight * loss_function(other_BKHW, target_BHW)
            loss = loss * (len(part) / len(batch.ids))
            loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total


def _due(done: Progress, settings: ResolvedTraining) -> bool:
    if settings.validate_every:
        return done.step % settings.validate_every == 0
    return done.share >= done.next_validation


def _smaller(error: RuntimeError, parts: int, views: int) -> int:
    """Twice the parts after running out of memory; any other error is raised again."""
    if not (isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)):
        raise error
    if parts >= views or distributed.count() > 1:
        remedy = (
            "Use a smaller --crop, a smaller network, or a smaller --scale."
            if parts >= views
            else f"Start again with --accumulate {2 * parts}, which makes each batch in parts."
        )
        raise TrainingError(
            f"The memory does not suffice for {'one view' if parts >= views else f'{views // parts} views'} at a time. "
            f"{remedy}"
        ) from None
    return min(2 * parts, views)


def _free(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _seed_of(seed: int, step: int) -> int:
    """Seed of what the network itself draws in a step (dropout); other processes draw differently."""
    place = [seed, 2, step] if distributed.rank() == 0 else [seed, 2, step, distributed.rank()]
    return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Note SIGINT and SIGTERM instead of dying at once; a second one acts as usual."""
    noted: list[int] = []
    before: dict[signal.Signals, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        signal.signal(number, before[signal.Signals(number)])

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    except ValueError:
        pass  # not the main thread: the caller's affair
    try:
        yield lambda: bool(noted)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

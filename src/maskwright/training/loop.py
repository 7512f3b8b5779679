"""The training loop, one page read from top to bottom: evaluate -> save -> stop -> step -> log.

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
from maskwright.errors import MaskwrightError
from maskwright.evaluate.metrics import Scores, confusion
from maskwright.models.segmenter import Segmenter
from maskwright.models.weights import save_weights
from maskwright.planning.decisions import Budget, ResolvedTraining
from maskwright.training import checkpoint, distributed
from maskwright.training.checkpoint import VALIDATIONS, Clock, Progress, fraction_done, next_validation
from maskwright.training.log import Log
from maskwright.training.losses import Loss
from maskwright.training.optim import Average, averaged, encoder_of, lr_factor, make_optimizer
from maskwright.training.split import validation_samples

SAVE_EVERY = 60.0
"""Seconds between saved states."""
TIE = 0.01
"""Validation mIoU this close to the highest counts as equal, and later weights, of a lower rate, are kept: the few
validation images tell no finer difference, and a peak among noisy scores is luck."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """What a progress display shows after a step."""

    step: int
    fraction: float
    """Of the run, 0 to 1."""
    loss: float
    images_per_second: float
    seconds_left: float
    miou: float | None
    """Of the last validation."""


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
    (`distributed`), all call this together.

    Parameters
    ----------
    run
        The run folder; the weights, the log and the state for resuming are written there.
    segmenter
        Trained in place, on the device that it is on.
    loader
        Makes the batches.
    validation
        Held-out samples, and the store that reads them; none for training without validation.
    classes
        How many there are.
    settings, budget
        What the plan decided, and how many steps or minutes there are.
    loss_function
        f(logits_BKHW, target_BHW) -> scalar.
    clock
        Counts the seconds of the budget.
    resume
        Go on from the state in the run.
    show, say
        Called after each step, and with messages.

    Raises
    ------
    TrainingError
        If a loss is not finite, naming the step and the images, or if the memory does not suffice for a single view.
    """
    writes = distributed.rank() == 0
    # Convolutions are fastest with the channels of a pixel side by side, on CPUs and GPUs alike.
    segmenter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(
        settings.optimizer,
        segmenter,
        settings.lr,
        settings.weight_decay,
        settings.layer_decay,
        settings.encoder_rate,
    )
    encoder = encoder_of(segmenter) if settings.frozen_norms else None
    average = Average(segmenter, settings.ema) if settings.ema else None
    progress = Progress(next_validation=1 / VALIDATIONS, begun=clock.elapsed(), parts=settings.accumulate)
    if resume:
        progress = checkpoint.load(run, segmenter, optimizer, average)
        clock = Clock(started=clock.started, before=progress.elapsed)
        if progress.step == progress.first and not progress.fraction:
            progress.begun = clock.elapsed()  # a continued run has just been opened again
        loader.bad |= {name: loader.bad.get(name, "") for name in progress.bad}
    # Three names for one set of weights: `segmenter` takes images at their own size, `trained` views that were reduced
    # to the working scale already, and `model` is `trained` wrapped for several processes or compiled.
    trained = segmenter.at_working_scale()
    model = distributed.data_parallel(trained)
    model = torch.compile(model) if settings.compile else model  # type: ignore[assignment]
    log = Log(run / runs.LOG, after=progress.step, on=writes)
    log.write("start", step=progress.step, seconds=clock.elapsed(), resumed=resume, processes=distributed.world_size())
    checked = validation_samples(validation[1])
    saved = time.monotonic()
    miou: float | None = progress.best
    verified = False  # whether it is logged that every sample was decoded once

    def tell_parts(parts: int) -> None:
        say(f"Out of memory at step {progress.step}: each batch is now made in {parts} parts, one by one")
        log.write("memory", step=progress.step, seconds=clock.elapsed(), parts=parts)

    def save() -> None:
        progress.elapsed = clock.elapsed()
        checkpoint.save(run, progress, segmenter, optimizer, average)

    with (
        _interruptible() as interrupted,
        loader.ahead(progress.step) as batches,
        _saving(save, run, progress, say) if writes else nullcontext(),
    ):
        while True:
            # Processes have to turn the same corners together, or they would wait for each other forever. So what the
            # first one's clock says holds for all, and a signal to any of them stops all.
            (progress.fraction, due_now, save_now), (stop,) = distributed.agree(
                (progress.fraction, float(_due(progress, settings)), float(time.monotonic() - saved > SAVE_EVERY)),
                (interrupted(),),
            )
            last_step = progress.fraction >= 1

            # Evaluate: score the averaged weights on held-out images, and keep them if they are the best so far. A
            # resumed run that was finished has been scored already.
            if progress.step > progress.first and (last_step or due_now) and not progress.finished:
                start = time.monotonic()
                with averaged(segmenter, average):
                    scores = validate(segmenter, validation[0], checked, classes) if checked else None
                    miou = None if scores is None or math.isnan(scores.miou) else scores.miou
                    if miou is None or progress.best is None or miou >= progress.highest - TIE:
                        if writes:
                            save_weights(segmenter, run / runs.WEIGHTS)
                        progress.best, progress.best_step = miou, progress.step
                    progress.highest = max(progress.highest, miou or 0.0)
                progress.validation_seconds = time.monotonic() - start
                progress.next_validation = next_validation(progress, budget, clock.elapsed() - progress.begun)
                iou = None if scores is None else [None if math.isnan(v) else round(v, 5) for v in scores.iou.tolist()]
                log.write(
                    "validation", step=progress.step, seconds=clock.elapsed(), miou=miou, iou=iou, images=len(checked)
                )

            # Save the state, once a minute and at the end. Weights to predict with are there from the first time on.
            progress.finished = last_step
            if (last_step or stop or save_now) and writes:
                save()
                if not (run / runs.WEIGHTS).exists():
                    with averaged(segmenter, average):
                        save_weights(segmenter, run / runs.WEIGHTS)
            saved = time.monotonic() if save_now else saved

            # Stop.
            if last_step or stop:
                log.write("end", step=progress.step, seconds=clock.elapsed(), finished=last_step, best=progress.best)
                log.close()
                distributed.barrier()
                return progress

            # Step. Early in the run the views may have half their resolution: such steps take about a quarter of the
            # time, and what they teach holds at full resolution too. The learning rate goes by the fraction of the run
            # that is over, so one schedule serves a number of steps and a number of minutes.
            tick = time.monotonic()
            batch = next(batches)
            for name in loader.bad.keys() - set(progress.bad):
                progress.bad.append(name)
                say(f"Skipped from now on, sample {name}: {loader.bad[name]}")
                log.write("bad", step=progress.step, seconds=clock.elapsed(), sample=name, what=loader.bad[name])
            if loader.verified and not loader.unverified and not verified:
                verified, took = True, round(loader.verify_seconds, 3)
                log.write("decoded", step=progress.step, seconds=clock.elapsed(), samples=loader.verified, took=took)
            small = progress.first == 0 and progress.fraction < settings.progressive  # not again in a continued run
            shown = batch.halved() if small else batch
            trained.train()
            if encoder is not None:
                encoder.eval()
            lr = settings.lr * (progress.peak * lr_factor(progress.fraction, settings.warmup, settings.schedule))
            for group in optimizer.param_groups:
                group["lr"] = lr * group["lr_scale"]
            loss = _gradients_within_memory(
                model, optimizer, segmenter.auxiliary, shown, progress, settings, loss_function, tell_parts
            )
            if not math.isfinite(loss):
                from maskwright.training.failures import not_finite

                raise not_finite(loss, progress.step, batch.ids, settings.lr, run)
            if settings.gradient_clip:
                torch.nn.utils.clip_grad_norm_(segmenter.parameters(), settings.gradient_clip)
            optimizer.step()
            if average is not None:
                average.update(segmenter, progress.step)
            progress.step += 1
            progress.fraction = fraction_done(budget, progress, clock)

            # Log.
            speed = distributed.world_size() * len(batch.ids) / max(time.monotonic() - tick, 1e-9)
            log.write(
                "step",
                step=progress.step,
                seconds=clock.elapsed(),
                fraction=progress.fraction,
                share=progress.fraction,  # its older name, for programs that read the log
                loss=loss,
                lr=lr,
                images_per_second=speed,
            )
            left = (clock.elapsed() - progress.begun) * (1 - progress.fraction) / max(progress.fraction, 1e-9)
            show(
                Status(
                    step=progress.step,
                    fraction=progress.fraction,
                    loss=loss,
                    images_per_second=speed,
                    seconds_left=left,
                    miou=miou,
                )
            )


@torch.inference_mode()
def validate(segmenter: Segmenter, store: Store, samples: Sequence[Sample], classes: int) -> Scores:
    """Score whole prepared images; with several processes, each image is scored by one of them.

    The confusion matrices of all images are added up first, so that the scores are those of the whole set and not means
    over images (docs/architecture.md, Metrics).
    """
    device = next(segmenter.parameters()).device
    matrix = np.zeros((classes, classes), np.int64)
    segmenter.eval()
    for sample in distributed.own_part(samples):
        image, mask = store.get(sample)
        image_1CHW = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))[None].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits_1KHW = segmenter(image_1CHW)
        matrix += confusion(mask, logits_1KHW[0].argmax(0).to(torch.uint8).cpu().numpy(), classes)
    return Scores.from_confusion(distributed.summed(matrix))


def _gradients_within_memory(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    auxiliary: Sequence[float],
    batch: Batch,
    progress: Progress,
    settings: ResolvedTraining,
    loss_function: Loss,
    tell_parts: Callable[[int], None],
) -> float:
    """Compute the gradients of a step and return its loss.

    Where the memory does not suffice, the batch is made in twice as many parts, now and in the steps to come.
    """
    device = next(model.parameters()).device
    while True:
        torch.manual_seed(_seed_of(settings.seed, progress.step))
        optimizer.zero_grad(set_to_none=True)
        try:
            bf16 = settings.precision == "bf16"
            return _gradients(model, auxiliary, batch, progress.parts, loss_function, bf16=bf16)
        except RuntimeError as error:
            from maskwright.training.failures import more_parts

            progress.parts = more_parts(error, progress.parts, len(batch.ids))
        # Outside of the handler: the error holds the frames, and these the tensors that are to be freed.
        if device.type == "cuda":
            torch.cuda.empty_cache()
        tell_parts(progress.parts)


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
        # Processes exchange their gradients once, with the last part.
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


def _due(progress: Progress, settings: ResolvedTraining) -> bool:
    """Whether it is time for a validation."""
    if settings.validate_every:
        return progress.step % settings.validate_every == 0
    return progress.fraction >= progress.next_validation


def _seed_of(seed: int, step: int) -> int:
    """Seed of what the network itself draws in a step (dropout); other processes draw differently."""
    key = [seed, 2, step] if distributed.rank() == 0 else [seed, 2, step, distributed.rank()]
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def _saving(save: Callable[[], None], run: Path, progress: Progress, say: Callable[[str], None]) -> Iterator[None]:
    """Save the state when training fails, whatever it is that fails, and say how to go on."""
    try:
        yield
    except Exception:
        try:
            save()
        except (MaskwrightError, OSError) as error:  # the failure itself is what is to be told
            say(f"The state of step {progress.step} could not be saved: {error}")
        else:
            say(f"The state of step {progress.step} is saved. When the cause is gone: maskwright train --resume {run}")
        raise


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

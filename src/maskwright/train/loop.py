"""The training loop, one page: validate -> save -> stop -> step -> log.

Shapes: B batch, C channels, K classes, H, W height and width.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from maskwright import runs
from maskwright.config import Training
from maskwright.data.loader import Loader, Store
from maskwright.data.samples import Sample
from maskwright.errors import TrainingError
from maskwright.evaluate.metrics import Scores, confusion
from maskwright.models.segmenter import Segmenter
from maskwright.models.weights import save_weights
from maskwright.train import checkpoint
from maskwright.train.checkpoint import Progress
from maskwright.train.losses import Loss
from maskwright.train.optim import Average, make_optimizer, rate

SAVE_EVERY = 60.0
"""Seconds between saved states."""
VALIDATIONS = 10
"""In a run, at most; fewer where they would take more than `VALIDATION_SHARE` of the time."""
VALIDATION_SHARE = 0.05
VALIDATION_IMAGES = 64
"""Looked at by a validation, spread evenly over the validation samples."""
TIE = 0.01
"""Validation mIoU this close to the highest counts as equal, and later weights, of a lower rate, are kept: the few
validation images tell no finer difference, and a peak among noisy scores is luck."""
EXIT_SECONDS = 2.0
"""Kept free at the end of a budget of minutes for writing the last files."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """What a progress display shows after a step."""

    step: int
    share: float
    loss: float
    images_per_second: float
    seconds_left: float
    miou: float | None


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Time since the run's budget began: the process's start, and what earlier processes used."""

    started: float
    """`time.time()` at the start of this process."""
    before: float = 0.0
    """Seconds used by earlier processes of the run."""

    def elapsed(self) -> float:
        """Seconds of the budget used."""
        return time.time() - self.started + self.before


def train(
    run: Path,
    segmenter: Segmenter,
    loader: Loader,
    validation: tuple[Store, Sequence[Sample]],
    settings: Training,
    loss_function: Loss,
    clock: Clock,
    *,
    resume: bool = False,
    show: Callable[[Status], None] = lambda status: None,
) -> Progress:
    """Train until the steps or the minutes are used up; leave the best weights in the run.

    Stops early, with the state saved, at SIGINT or SIGTERM: `Progress.finished` tells. Raises TrainingError if a loss
    is not finite, naming the step and the images.
    """
    device = next(segmenter.parameters()).device
    segmenter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(settings.optimizer or "", segmenter, settings.lr or 0.0, settings.weight_decay or 0.0)
    average = Average(segmenter, settings.ema) if settings.ema else None
    done = Progress(next_validation=1 / VALIDATIONS, begun=clock.elapsed())
    if resume:
        done = checkpoint.load(run, segmenter, optimizer, average)
        clock = Clock(started=clock.started, before=done.elapsed)
    log = Log(run / runs.LOG, after=done.step)
    log.write("start", step=done.step, seconds=clock.elapsed(), resumed=resume)
    checked = validation_samples(validation[1])
    saved = time.monotonic()
    miou: float | None = done.best

    with _interruptible() as interrupted, loader.ahead(done.step) as batches:
        while True:
            # Validate, and keep the weights if they are the best so far.
            over = done.share >= 1
            due = (
                done.step % settings.validate_every == 0
                if settings.validate_every
                else done.share >= done.next_validation
            )
            if done.step and (over or due) and not done.finished:
                start = time.monotonic()
                with _weights(segmenter, average):
                    scores = validate(segmenter, validation[0], checked) if checked else None
                    miou = None if scores is None else scores.miou
                    if miou is None or done.best is None or miou >= done.highest - TIE:
                        save_weights(segmenter, run / runs.WEIGHTS)
                        done.best, done.best_step = miou, done.step
                    done.highest = max(done.highest, miou or 0.0)
                done.validation_seconds = time.monotonic() - start
                done.next_validation = _next_validation(done, settings, clock.elapsed() - done.begun)
                iou = None if scores is None else [None if math.isnan(v) else round(v, 5) for v in scores.iou.tolist()]
                log.write(
                    "validation", step=done.step, seconds=clock.elapsed(), miou=miou, iou=iou, images=len(checked)
                )

            # Save the state.
            done.finished = over
            if over or interrupted() or time.monotonic() - saved > SAVE_EVERY:
                done.elapsed = clock.elapsed()
                checkpoint.save(run, done, segmenter, optimizer, average)
                if not (run / runs.WEIGHTS).exists():
                    with _weights(segmenter, average):
                        save_weights(segmenter, run / runs.WEIGHTS)
                saved = time.monotonic()

            # Stop.
            if over or interrupted():
                log.write("end", step=done.step, seconds=clock.elapsed(), finished=over, best=done.best)
                return done

            # One step.
            tick = time.monotonic()
            batch = next(batches)
            torch.manual_seed(_seed_of(settings.seed or 0, done.step))
            segmenter.train()
            lr = (settings.lr or 0.0) * rate(done.share, settings.warmup or 0.0, settings.schedule or "cosine")
            for group in optimizer.param_groups:
                group["lr"] = lr
            image_BCHW = batch.image_BCHW.to(device, non_blocking=True)
            target_BHW = batch.target_BHW.to(device, non_blocking=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits_BKHW = segmenter(image_BCHW)
            loss = loss_function(logits_BKHW.float(), target_BHW)
            value = float(loss.detach())
            if not math.isfinite(value):
                kept = f" The best weights so far are in {run}." if (run / runs.WEIGHTS).exists() else ""
                raise TrainingError(
                    f"The loss became {value} at step {done.step}, on {', '.join(batch.ids)}. Expected a finite "
                    f"number. Look at these images for extreme values; else lower the rate, for example "
                    f"--lr {(settings.lr or 0.0) / 3:.1e}.{kept}"
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if settings.gradient_clip:
                torch.nn.utils.clip_grad_norm_(segmenter.parameters(), settings.gradient_clip)
            optimizer.step()
            if average is not None:
                average.update(segmenter, done.step)
            done.step += 1
            done.share = _share(settings, done, clock)

            # Log.
            speed = len(batch.ids) / max(time.monotonic() - tick, 1e-9)
            log.write(
                "step",
                step=done.step,
                seconds=clock.elapsed(),
                share=done.share,
                loss=value,
                lr=lr,
                images_per_second=speed,
            )
            left = (clock.elapsed() - done.begun) * (1 - done.share) / max(done.share, 1e-9)
            show(
                Status(
                    step=done.step, share=done.share, loss=value, images_per_second=speed, seconds_left=left, miou=miou
                )
            )


@torch.inference_mode()
def validate(segmenter: Segmenter, store: Store, samples: Sequence[Sample]) -> Scores:
    """Score whole prepared images at their working size."""
    device = next(segmenter.parameters()).device
    matrix: np.ndarray | None = None
    segmenter.eval()
    for sample in samples:
        image, mask = store.get(sample)
        image_1CHW = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))[None].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits_1KHW = segmenter(image_1CHW)
        one = confusion(mask, logits_1KHW[0].argmax(0).to(torch.uint8).cpu().numpy(), logits_1KHW.shape[1])
        matrix = one if matrix is None else matrix + one
    assert matrix is not None, "validation needs samples"
    return Scores.from_confusion(matrix)


class Log:
    """`log.jsonl`: one JSON object a line, appended and flushed; lines after a resumed step are dropped first."""

    def __init__(self, path: Path, after: int) -> None:
        kept = []
        if path.exists() and after:
            kept = [line for line in path.read_text("utf-8").splitlines() if _step_of(line) <= after]
        runs.write_text(path, "".join(line + "\n" for line in kept))
        self.path = path

    def write(self, kind: str, **values: Any) -> None:
        """Append one line; seconds and shares are rounded, losses are exact."""
        rounded = {
            name: round(value, 4) if name in ("seconds", "images_per_second") else value
            for name, value in values.items()
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **rounded}) + "\n")


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line).get("step", 0))
    except ValueError:
        return math.inf  # the half-written last line of a killed process


def _share(settings: Training, done: Progress, clock: Clock) -> float:
    """How much of the run is over, by steps, or by the clock with the last validation and exit kept free."""
    if settings.steps:
        return min(1.0, done.step / settings.steps)
    limit = 60 * (settings.minutes or 0.0)
    reserve = EXIT_SECONDS + done.validation_seconds
    return min(1.0, (clock.elapsed() - done.begun) / max(limit - done.begun - reserve, 1e-3))


def _next_validation(done: Progress, settings: Training, elapsed: float) -> float:
    """Share of the run at the next validation. With `--steps` the clock has no say, so that results repeat exactly."""
    gap = 1 / VALIDATIONS
    if not settings.steps and done.share:
        gap = max(gap, min(0.3, done.validation_seconds / (VALIDATION_SHARE * elapsed / done.share)))
    return done.share + gap


def _seed_of(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, 2, step]).generate_state(1, np.uint64)[0] >> 1)


def validation_samples(samples: Sequence[Sample]) -> list[Sample]:
    """At most `VALIDATION_IMAGES` samples, spread evenly: those that every validation looks at."""
    ordered = sorted(samples, key=lambda sample: sample.id)
    if len(ordered) <= VALIDATION_IMAGES:
        return ordered
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, VALIDATION_IMAGES).astype(int)]


@contextmanager
def _weights(segmenter: Segmenter, average: Average | None) -> Iterator[None]:
    """The averaged weights in place of the raw ones, for a while."""
    if average is None:
        yield
        return
    raw = {name: tensor.detach().clone() for name, tensor in segmenter.state_dict().items()}
    segmenter.load_state_dict(average.state)
    try:
        yield
    finally:
        segmenter.load_state_dict(raw)


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

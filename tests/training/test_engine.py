"""What a step is made of: parts of a batch, memory that runs out, auxiliary outputs, further legs, the clock, logs."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from maskwright import models, runs
from maskwright.augment.loader import Batch
from maskwright.config import Settings, Training
from maskwright.errors import RunError, SettingError, TrainingError
from maskwright.models import fcn
from maskwright.models.fcn import FlatFCN
from maskwright.models.segmenter import Segmenter
from maskwright.planning.decisions import Budget
from maskwright.training import distributed, loop, resuming, session
from maskwright.training.checkpoint import Clock, Progress, fraction_done, next_validation
from maskwright.training.failures import more_parts
from maskwright.training.log import Log
from maskwright.training.losses import cross_entropy, make_loss
from maskwright.training.optim import FLOOR

PLAIN = Training(
    model="fcn-flat", model_options={"depth": 2, "width": 4}, crop=(32, 32), batch=4, steps=6, lr=0.01,
    val_fraction=0.25, validate_every=3, warmup=0.25,
)  # fmt: skip


def fit(data: Path, run: Path, training: Training = PLAIN, say: Callable[[str], None] = lambda text: None) -> Progress:
    prepared = session.prepare(data, Settings(training=training))
    return session.start(run, prepared, started=time.monotonic(), say=say)


def resume(run: Path, show: Callable[[loop.Status], None] = lambda status: None) -> Progress:
    return resuming.resume(run, started=time.monotonic(), show=show)


def logged(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / runs.LOG).read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = load_file(one / runs.WEIGHTS), load_file(other / runs.WEIGHTS)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def random_batch(views: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    image_BCHW = torch.randn(views, 3, 8, 8, generator=generator)
    return Batch(image_BCHW, torch.randint(0, 2, (views, 8, 8), generator=generator), ("",) * views)


def test_halved_views_are_means_with_a_class_of_theirs() -> None:
    image_BCHW = torch.arange(30.0).reshape(1, 1, 5, 6)
    target_BHW = torch.arange(30).reshape(1, 5, 6)
    half = Batch(image_BCHW, target_BHW, ("a",)).halved()
    assert half.image_BCHW.tolist() == [[[[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]]]
    assert half.target_BHW.tolist() == [[[7, 9, 11], [19, 21, 23]]]
    row = Batch(image_BCHW[:, :, :1], target_BHW[:, :1], ("a",))
    assert row.halved() is row


def test_the_first_steps_see_halved_views(discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Watched(FlatFCN):
        def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
            if self.training:
                seen.append(x_BCHW.shape[-1])
            return super().forward(x_BCHW)

    monkeypatch.setattr(fcn, "FlatFCN", Watched)
    run = tmp_path / "run"
    fit(discs, run, dataclasses.replace(PLAIN, progressive=0.5))
    assert seen == [16] * 3 + [32] * 3
    # A continued run has had its share of halved views.
    seen.clear()
    resuming.extend(run, "4steps")
    resume(run)
    assert seen == [32] * 4


def test_bfloat16_makes_steps_and_keeps_float32_weights(discs: Path, tmp_path: Path) -> None:
    kinds = []
    for precision in ("fp32", "bf16"):
        run = tmp_path / precision
        fit(discs, run, dataclasses.replace(PLAIN, precision=precision))
        kinds.append(load_file(run / runs.WEIGHTS))
    for name, exact in kinds[0].items():
        assert kinds[1][name].dtype == exact.dtype != np.float16
        np.testing.assert_allclose(kinds[1][name], exact, rtol=0.05, atol=0.05)
    assert any(not np.array_equal(kinds[1][name], exact) for name, exact in kinds[0].items())


@pytest.mark.parametrize("parts", [2, 3, 5, 64])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(parts: int) -> None:
    torch.manual_seed(0)
    segmenter = Segmenter(models.build("fcn-flat", 3, 2, {"depth": 2, "width": 4}), mean=[0] * 3, std=[1] * 3)
    batch, seen = random_batch(5), []
    segmenter.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))

    def gradients(parts: int) -> tuple[float, torch.Tensor]:
        segmenter.zero_grad(set_to_none=True)
        value = loop._gradients(segmenter, (), batch, parts, cross_entropy, bf16=False)
        return value, torch.cat([cast(torch.Tensor, p.grad).flatten() for p in segmenter.parameters()])

    whole, expected = gradients(1)
    assert expected.abs().max() > 0.01
    seen.clear()
    value, found = gradients(parts)
    assert sum(seen) == 5
    assert len(seen) == min(parts, 5)
    assert max(seen) - min(seen) <= 1
    assert value == pytest.approx(whole, abs=1e-6)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


class TwoHeads(nn.Module):
    """A score of its own and an auxiliary one, which counts 0.4 while training."""

    auxiliary = (0.4,)
    stride = 1

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.main, self.side = nn.Conv2d(in_channels, classes, 1), nn.Conv2d(in_channels, classes, 1)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        return (self.main(x_BCHW), self.side(x_BCHW)) if self.training else self.main(x_BCHW)


def test_auxiliary_outputs_enter_the_loss_with_their_weights() -> None:
    torch.manual_seed(0)
    network = TwoHeads(3, 2)
    segmenter, batch = Segmenter(network, mean=[0] * 3, std=[1] * 3), random_batch(2)
    loss = make_loss("ce+dice")
    value = loop._gradients(segmenter, segmenter.auxiliary, batch, 1, loss, bf16=False)
    main, side = (loss(head(batch.image_BCHW), batch.target_BHW) for head in (network.main, network.side))
    assert value == pytest.approx((main + 0.4 * side).item())
    grad, alone = cast(torch.Tensor, network.side.weight.grad), nn.Conv2d(3, 2, 1)
    alone.load_state_dict(network.side.state_dict())
    loss(alone(batch.image_BCHW), batch.target_BHW).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(grad, 0.4 * cast(torch.Tensor, alone.weight.grad))


def test_a_network_with_an_auxiliary_output_trains(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcn, "TwoHeads", TwoHeads, raising=False)
    monkeypatch.setitem(models.MODELS, "two-heads", models.Row(file="fcn", make="TwoHeads"))
    training = dataclasses.replace(PLAIN, model="two-heads", model_options={}, accumulate=2)
    assert fit(discs, tmp_path / "run", training).finished
    assert len(logged(tmp_path / "run", "validation")) == 2


OUT_OF_MEMORY = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"),
}


def hold_at_most(views: int, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the memory suffice for so many views."""
    forward = Segmenter.forward

    def limited(self: Segmenter, x_BCHW: torch.Tensor) -> object:
        if len(x_BCHW) > views:
            raise error
        return forward(self, x_BCHW)

    monkeypatch.setattr(Segmenter, "forward", limited)


@pytest.mark.parametrize("kind", OUT_OF_MEMORY)
def test_out_of_memory_makes_smaller_parts_and_says_so(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    fit(discs, tmp_path / "asked", dataclasses.replace(PLAIN, accumulate=4))
    hold_at_most(1, OUT_OF_MEMORY[kind], monkeypatch)
    spoken: list[str] = []
    fit(discs, tmp_path / "forced", say=spoken.append)
    assert [text for text in spoken if "memory" in text] == [
        f"Out of memory at step 0: each batch is now made in {parts} parts, one by one" for parts in (2, 4)
    ]
    assert [line["parts"] for line in logged(tmp_path / "forced", "memory")] == [2, 4]
    assert runs.read_json(tmp_path / "forced" / runs.RESUME / "state.json")["parts"] == 4
    assert_same_weights(tmp_path / "forced", tmp_path / "asked")


def test_too_little_memory_for_one_view_ends_training(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_at_most(0, OUT_OF_MEMORY["cuda"], monkeypatch)
    with pytest.raises(TrainingError, match=r"does not suffice for one view at a time. Use a smaller --crop"):
        fit(discs, tmp_path / "run")


def test_several_processes_are_told_to_start_with_smaller_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    with pytest.raises(TrainingError, match=r"does not suffice for 4 views at a time. Start again with --accumulate 4"):
        more_parts(torch.OutOfMemoryError(), 2, 8)


def test_other_errors_are_not_taken_for_a_lack_of_memory(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_at_most(0, RuntimeError("shapes do not match"), monkeypatch)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        fit(discs, tmp_path / "run")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, write_pairs: Callable[..., Path]) -> Path:
    """A finished run; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    fit(write_pairs(folder / "discs", 8), folder / "run")
    return folder / "run"


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "copy")


def test_a_continued_run_warms_up_again_and_ends_at_zero(copy: Path) -> None:
    resuming.extend(copy, "8steps")
    done = resume(copy)
    assert (done.finished, done.step) == (True, 14)
    lines = logged(copy, "step")
    assert [line["step"] for line in lines] == list(range(1, 15))
    rates = [line["lr"] for line in lines[6:]]
    # Warm-up over a quarter of 8 steps, to 0.3 of the peak, then half a cosine over 6 steps.
    peak = 0.3 * 0.01
    expected = [peak * FLOOR, peak * (FLOOR + 1) / 2, *(peak * (1 + math.cos(math.pi * k / 6)) / 2 for k in range(6))]
    assert rates == pytest.approx(expected)
    assert [line["fraction"] for line in lines[6:]] == pytest.approx([k / 8 for k in range(1, 9)])
    assert [line["step"] for line in logged(copy, "validation")] == [3, 6, 9, 12, 14]
    content = runs.read_run(copy)
    assert content["settings"]["training"]["steps"] == 14
    assert content["scores"]["steps"] == 14


def test_a_continued_run_that_is_killed_and_resumed_is_the_same(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resuming.extend(copy, "8steps")
    broken = shutil.copytree(copy, tmp_path / "broken")
    resume(copy)

    class Killed(BaseException):
        pass

    def at(step: int) -> Callable[[loop.Status], None]:
        def kill(status: loop.Status) -> None:
            if status.step == step:
                raise Killed

        return kill

    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    for step in (7, 11):  # in the first step of the leg, before its state, and within the leg
        with pytest.raises(Killed):
            resume(broken, show=at(step))
    assert resume(broken).finished
    assert_same_weights(broken, copy)
    assert [line["lr"] for line in logged(broken, "step")] == [line["lr"] for line in logged(copy, "step")]


def test_a_state_that_calls_the_fraction_a_share_is_resumed(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def kill(status: loop.Status) -> None:
        if status.step == 9:
            raise Killed

    resuming.extend(copy, "8steps")
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    with pytest.raises(Killed):
        resume(copy, show=kill)
    path = copy / runs.RESUME / "state.json"
    state = runs.read_json(path)
    fraction = state.pop("fraction")
    assert fraction == pytest.approx((state["step"] - 6) / 8)
    runs.write_json(path, state | {"share": fraction})
    assert resume(copy).finished
    steps = logged(copy, "step")
    assert [line["fraction"] for line in steps[6:]] == pytest.approx([k / 8 for k in range(1, 9)])
    # Warm-up and the whole cosine: the rate went on where it was.
    peak = 0.3 * 0.01
    assert [line["lr"] for line in steps[8:]] == pytest.approx(
        [peak * (1 + math.cos(math.pi * k / 6)) / 2 for k in range(6)]
    )


def test_a_run_of_steps_can_be_continued_for_a_time(copy: Path) -> None:
    before = runs.read_json(copy / runs.RESUME / "state.json")["elapsed"]
    resuming.extend(copy, "4 s")
    start = time.monotonic()
    done = resume(copy)
    assert done.finished
    assert 0.5 < time.monotonic() - start < 15
    assert runs.read_run(copy)["settings"]["training"]["minutes"] == pytest.approx((before + 4) / 60)
    fractions = [line["fraction"] for line in logged(copy, "step")][6:]
    assert fractions == sorted(fractions)
    assert (fractions[0] < 1, fractions[-1]) == (True, 1)


def test_what_cannot_be_continued_is_refused(copy: Path) -> None:
    for text in ("soon", "0m", "-3m", "1.5steps", "30", "30 d", "", "steps"):
        with pytest.raises(SettingError, match=r"expected a time such as 30m, 2h or 90s, or a number as 500steps"):
            resuming.extend(copy, text)
    state = copy / runs.RESUME / "state.json"
    runs.write_json(state, runs.read_json(state) | {"finished": False})
    with pytest.raises(RunError, match=r"is not finished. Continue it first: maskwright train --resume"):
        resuming.extend(copy, "4steps")
    shutil.rmtree(copy / runs.RESUME)
    with pytest.raises(RunError, match=r"state.json does not exist"):
        resuming.extend(copy, "4steps")


def test_the_fraction_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("maskwright.training.checkpoint.time.monotonic", lambda: now[0])
    clock, budget = Clock(started=90.0, before=5.0), Budget(minutes=1)
    done = Progress(begun=10.0, validation_seconds=3.0)
    assert clock.elapsed() == 15
    # 15 - 10 s of 60 - 10, of which 2 + 3 are kept free.
    assert fraction_done(budget, done, clock) == pytest.approx(5 / 45)
    done.fraction, done.validation_seconds = 0.5, 0.1
    assert fraction_done(budget, done, clock) == 0.5
    now[0] = 90 + 28.95 - 5
    assert fraction_done(budget, done, clock) == 0.5
    now[0] = 1000
    assert fraction_done(budget, done, clock) == 1
    # By steps, the clock has no say; a further leg counts from its own beginning.
    assert fraction_done(Budget(steps=20), Progress(step=15, first=10), clock) == 0.5


def test_validations_keep_to_their_share_of_the_time() -> None:
    done = Progress(fraction=0.2, validation_seconds=1.0)
    assert next_validation(done, Budget(steps=10), 1e9) == pytest.approx(0.3)
    assert next_validation(done, Budget(minutes=10), 100) == pytest.approx(0.3)  # 1 s of 500 s: ten times is 2 %
    assert next_validation(done, Budget(minutes=1), 20) == pytest.approx(0.4)  # of 100 s: 5 % are five validations
    assert next_validation(done, Budget(minutes=1), 1) == pytest.approx(0.5)  # three are the least


def test_the_log_forgets_what_a_killed_process_did_after_its_last_state(tmp_path: Path) -> None:
    path = tmp_path / runs.LOG
    log = Log(path, after=0)
    for step in (1, 2, 3):
        log.write("step", step=step, seconds=1.23456, loss=0.123456789)
    with path.open("a") as file:
        file.write('{"kind": "step", "ste')
    Log(path, after=2).write("start", step=2)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["kind"], line["step"]) for line in lines] == [("step", 1), ("step", 2), ("start", 2)]
    assert lines[0] == {"kind": "step", "step": 1, "seconds": 1.2346, "loss": 0.123456789}
    silent = Log(tmp_path / "other" / runs.LOG, after=0, on=False)
    silent.write("step", step=1)
    silent.close()
    assert not (tmp_path / "other").exists()


def test_tensorboard_gets_the_numbers_where_it_is_installed(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[str, list[tuple[int, float]]] = {}
    made: list[tuple[str, int]] = []
    closed: list[bool] = []

    class SummaryWriter:
        def __init__(self, log_dir: str, purge_step: int) -> None:
            made.append((log_dir, purge_step))

        def add_scalar(self, tag: str, value: float, step: int) -> None:
            written.setdefault(tag, []).append((step, value))

        def close(self) -> None:
            closed.append(True)

    board = ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: board if name == "tensorboard" else find(name))
    fit(discs, tmp_path / "run")
    assert made == [(str(tmp_path / "run" / "tensorboard"), 1)]
    assert closed == [True]
    assert set(written) == {"step/loss", "step/lr", "step/images_per_second", "validation/miou"}
    steps = logged(tmp_path / "run", "step")
    assert written["step/loss"] == [(line["step"], line["loss"]) for line in steps]
    assert [step for step, _ in written["validation/miou"]] == [3, 6]

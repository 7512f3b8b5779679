"""Several processes compute what one computes, and end together when one of them dies.

Run as a program, `python test_distributed.py DATA FOLDER`, this file is one of the processes.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from torch import nn

import maskwright
from maskwright import models, runs
from maskwright.config import Settings, Training
from maskwright.errors import SettingError, TrainingError
from maskwright.models import fcn
from maskwright.training import distributed, session
from maskwright.training.loop import validate
from maskwright.training.losses import FUNCTIONS, make_loss
from maskwright.training.split import validation_samples

SOURCE = str(Path(maskwright.__file__).parents[1])
PROCESSES = 2
STEPS = 5
HUGE = 2**60 + 1
"""No float holds it, so a sum through floats would show."""
TRAINING = Training(
    model="grouped",
    crop=(32, 32),
    batch=4,
    steps=STEPS,
    lr=0.01,
    loss="ce+dice",
    val_fraction=0.375,
    ema=0.0,
    precision="fp32",
)


class Grouped(nn.Module):
    """A small network with group norm, which sees each image by itself as batch norm does not."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.stride = 2
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 8, 3, padding=1, bias=False), nn.GroupNorm(4, 8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.GroupNorm(4, 8), nn.ReLU(), nn.Upsample(scale_factor=2.0),
            nn.Conv2d(8, classes, 1),
        )  # fmt: skip

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        logits_BKHW: torch.Tensor = self.layers(x_BCHW)
        return logits_BKHW


def cases() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Four images of three classes; each half of them has another number of unlabelled pixels, or nothing else."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(4, 3, 6, 5, dtype=torch.float64, generator=generator)
    target = torch.randint(0, 3, (4, 6, 5), generator=generator)
    target[0, :4] = 255
    target[3, 2, 1:4] = 255
    blind = target.clone()
    blind[2:] = 255
    return {"unequal": (logits, target), "blind": (logits, blind)}


def losses() -> dict[str, np.ndarray]:
    """Value and gradient of every loss, as DistributedDataParallel averages them, on this process's half of a case."""
    found: dict[str, np.ndarray] = {}
    count, rank = distributed.world_size(), distributed.rank()
    for case, (logits, target) in cases().items():
        own = slice(rank * 4 // count, (rank + 1) * 4 // count)
        for name in [*FUNCTIONS, "ce+0.5*dice"]:
            part = logits[own].clone().requires_grad_()
            value = make_loss(name, torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64), 0.1)(part, target[own])
            value.backward()  # type: ignore[no-untyped-call]
            assert part.grad is not None
            found |= {f"{case} {name} value": value.detach().numpy(), f"{case} {name} grad": part.grad.numpy() / count}
    return found


def work(data: Path, run: Path) -> dict[str, np.ndarray]:
    """What one process does, alone or among others: losses, a validation, five steps."""
    models.MODELS["grouped"] = models.Row(file="fcn", make="Grouped")
    fcn.Grouped = Grouped  # type: ignore[attr-defined]
    found = losses()
    prepared = session.prepare(data, Settings(training=TRAINING))
    checked = validation_samples(prepared.splits.validation.samples)
    assert len(checked) == 3
    found["shown"] = np.array([sample.id for sample in distributed.own_part(checked)])
    found["iou"] = validate(prepared.segmenter, prepared.validation_store, checked, 2).iou
    found["total"] = distributed.summed(np.array([[HUGE, 1]]))
    agreed = distributed.agree((0.25 + distributed.rank(),), (distributed.rank() == 1, False))
    found["agreed"] = np.array([*agreed[0], *agreed[1]])
    for name, parameter in prepared.segmenter.named_parameters():
        found[f"start {name}"] = parameter.detach().numpy().copy()
    session.start(run, prepared, started=time.monotonic())
    return found


@pytest.fixture(scope="module")
def together_and_alone(
    tmp_path_factory: pytest.TempPathFactory, write_pairs: object
) -> tuple[list[dict[str, np.ndarray]], dict[str, np.ndarray], Path]:
    """What each of two processes found, what one alone found, and the folder with the runs `two` and `one`."""
    folder = tmp_path_factory.mktemp("distributed")
    assert callable(write_pairs)
    data = write_pairs(folder / "discs", 8)
    for place, path in enumerate(sorted((data / "masks").iterdir())):
        mask = np.array(Image.open(path))
        mask[: 4 * place] = 255  # so that the processes see different numbers of labelled pixels
        Image.fromarray(mask).save(path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(PROCESSES),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(data), str(folder)],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(PROCESSES)
    ]  # fmt: skip
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    found = [dict(np.load(folder / f"{rank}.npz")) for rank in range(PROCESSES)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.MODELS, "grouped", models.Row(file="fcn", make="Grouped"))
        alone = work(data, folder / "one")
    return found, alone, folder


Found = tuple[list[dict[str, np.ndarray]], dict[str, np.ndarray], Path]


@pytest.mark.parametrize("name", [*FUNCTIONS, "ce+0.5*dice"])
def test_a_loss_over_two_processes_is_the_loss_of_the_whole_batch(together_and_alone: Found, name: str) -> None:
    found, alone, _ = together_and_alone
    for case in cases():
        for each in found:
            np.testing.assert_allclose(each[f"{case} {name} value"], alone[f"{case} {name} value"], rtol=1e-12)
        halves = np.concatenate([each[f"{case} {name} grad"] for each in found])
        np.testing.assert_allclose(halves, alone[f"{case} {name} grad"], rtol=1e-9, atol=1e-14)
    assert np.abs(alone[f"unequal {name} grad"][2:]).max() > 0
    assert not alone[f"blind {name} grad"][2:].any()


def test_five_steps_of_two_processes_are_those_of_one(together_and_alone: Found) -> None:
    _, alone, folder = together_and_alone
    one, two = (load_file(folder / name / runs.RESUME / f"state-{STEPS:08}.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=1e-5, err_msg=name)
    for name, value in alone.items():
        if name.startswith("start "):
            moved = np.abs(one[f"module.{name.removeprefix('start ')}"] - value).max()
            assert moved > 0.005, f"{name} hardly learnt"
    logs = [(folder / name / runs.LOG).read_text().splitlines() for name in ("one", "two")]
    first, second = ([json.loads(line) for line in lines] for lines in logs)
    assert [line["kind"] for line in first] == [line["kind"] for line in second]
    assert (first[0]["processes"], second[0]["processes"]) == (1, 2)
    for a, b in zip(first, second, strict=True):
        if a["kind"] == "step":
            assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
    assert runs.read_run(folder / "two")["scores"]["steps"] == STEPS


def test_every_validation_image_counts_once(together_and_alone: Found) -> None:
    found, alone, _ = together_and_alone
    assert len(alone["shown"]) == 3, "two processes cannot divide them"
    assert sorted([*found[0]["shown"], *found[1]["shown"]]) == sorted(alone["shown"])
    for each in found:
        np.testing.assert_array_equal(each["iou"], alone["iou"])
    assert 0 < alone["iou"].min() < alone["iou"].max() < 1


def test_sums_are_exact_and_the_first_process_decides(together_and_alone: Found) -> None:
    found, alone, _ = together_and_alone
    assert alone["total"].tolist() == [[HUGE, 1]]
    for each in found:
        assert each["total"].tolist() == [[2 * HUGE, 2]]
        assert each["agreed"].tolist() == [0.25, True, False]


def test_a_batch_is_shared_equally_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distributed.slots(3) == range(3)
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    assert distributed.slots(6) == range(2, 4)
    assert distributed.own_part([10, 11, 12, 13, 14]) == [11, 14]
    with pytest.raises(SettingError, match=r"batch = 8 cannot be shared equally by 3 processes.* --batch 6"):
        distributed.slots(8)


def test_other_errors_pass_and_lost_processes_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_, **__: None)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: None)
    said = r"lost the others: one of them ended \(Connection closed by peer .*--resume runs/a"
    with pytest.raises(TrainingError, match=said), distributed.process_group("runs/a"):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:2321")
    with pytest.raises(RuntimeError, match="shapes"), distributed.process_group("runs/a"):
        raise RuntimeError("shapes do not match")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_dead_process_ends_the_job_and_the_run_can_be_resumed(discs: Path, tmp_path: Path) -> None:
    run, program = tmp_path / "run", tmp_path / "program.py"
    # Saves after every step, and tells which process is which.
    program.write_text(
        "import os, pathlib\n"
        "import maskwright.training.loop as loop\n"
        "from maskwright.cli import main\n"
        "loop.SAVE_EVERY = 0.0\n"
        "pathlib.Path(__file__).with_name('rank' + os.environ['RANK']).write_text(str(os.getpid()))\n"
        "main()\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)]
    environment = {**os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"}
    options = "--model fcn-flat --model-options.depth 2 --model-options.width 4 --crop 32 32 --batch 4 --steps 60"
    with (tmp_path / "messages").open("w+") as messages:
        job = subprocess.Popen(
            [*torchrun, "train", str(discs), "--out", str(run), *options.split()], env=environment, stderr=messages
        )
        try:
            state = run / runs.RESUME / "state.json"
            until = time.monotonic() + 120
            while not (state.exists() and runs.read_json(state)["step"]):
                assert job.poll() is None, (tmp_path / "messages").read_text()
                assert time.monotonic() < until
                time.sleep(0.02)
            os.kill(int((tmp_path / "rank1").read_text()), signal.SIGKILL)
            killed = time.monotonic()
            assert job.wait(60) != 0
            assert time.monotonic() - killed < 20
        finally:
            if job.poll() is None:
                job.kill()
        messages.seek(0)
        text = messages.read()
    assert "Process 0 of 2 lost the others: one of them ended" in text
    assert f"--resume {run}" in text
    stopped = runs.read_json(state)["step"]
    assert 1 <= stopped < 60, "killed on its way"

    done = subprocess.run(
        [*torchrun, "train", "--resume", str(run)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Trained 60 steps") == 1, "one process speaks"
    log = [json.loads(line) for line in (run / runs.LOG).read_text().splitlines()]
    assert [line["step"] for line in log if line["kind"] == "step"] == list(range(1, 61))
    assert runs.read_run(run)["scores"]["steps"] == 60


def main() -> None:
    data, folder = map(Path, sys.argv[1:])
    with distributed.process_group():
        found = work(data, folder / "two")
        np.savez(folder / f"{distributed.rank()}.npz", allow_pickle=False, **found)


if __name__ == "__main__":
    main()

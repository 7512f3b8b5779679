"""How fast is a training step, beside Keras on the same machine, and where does its time go?

    python3 -m venv keras-env
    keras-env/bin/pip install keras==3.15.1 tensorflow-cpu==2.21.0 jax==0.10.2 h5py==3.14.0
    python benchmarks/throughput.py --keras keras-env/bin/python

The classic U-Net (31 million parameters) on random data that lie in memory: one step is forward, loss, backward and
Adam, in single precision, 2 images of 256 x 256 with one channel and two classes, on all cores. Each side runs in a
process of its own, one after the other in several rounds, so run it on an idle machine; the median step counts. The bar
is the fastest of Keras's backends: exit status 1 if we are slower. Without --keras we are measured alone.

With a GPU, the same for several networks in bfloat16 at 512 x 512, as a share of the matrix products that the card was
measured to do (--device chooses).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from maskwright import console
from maskwright.models import Segmenter, build
from maskwright.models.summary import summarize
from maskwright.training.losses import make_loss
from maskwright.training.machine import keep_freed_memory
from maskwright.training.optim import make_optimizer

SIZE, BATCH, WARM_UP = 256, 2, 2
BACKENDS = ("tensorflow", "jax", "torch")
BUSY = 0.5
"""Load of the last minute above which nobody should compare speeds."""
PEER = Path(__file__).parent / "peers" / "keras_speed.py"
GPU_SIZE, GPU_BATCH, GPU_STEPS = 512, 16, 20
GPU_NETWORKS = ("unet", "compact-2", "deeplabv3+", "segformer-b2")
KINDS = {
    "convolutions, backward": ("convolution_backward",),
    "convolutions, forward": ("convolution",),
    "matrix products": ("mm", "matmul", "linear", "attention"),
    "normalisation": ("norm",),
    "optimiser": ("adam", "foreach", "lerp"),
    "activations and dropout": ("threshold", "clamp", "relu", "gelu", "bernoulli", "mul", "div"),
    "loss": ("softmax", "nll", "gather", "index_add", "bincount"),
    "pooling, upsampling, joining": ("pool", "upsample", "cat", "pad", "slice"),
    "copies and fills": ("copy", "fill", "zero", "clone", "contiguous"),
    "additions": ("add", "sub", "sum", "neg"),
}
"""Kinds of operations by a word in torch's name for them; the first that fits."""


class Step:
    """A training step as `maskwright train` makes it, on one random batch."""

    def __init__(self, name: str, device: torch.device, *, channels: int, size: int, batch: int) -> None:
        torch.manual_seed(0)
        keep_freed_memory()
        network = build(name, channels, 2)
        self.gflops = 3 * batch * summarize(name, in_channels=channels, size=(size, size)).gflops
        """Of a step: forward, and twice as many backward."""
        self.segmenter = Segmenter(network, mean=[0.5] * channels, std=[0.3] * channels)
        self.segmenter.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = make_optimizer("adam", self.segmenter, 1e-4, 0.0)
        self.loss = make_loss("ce")
        self.device = device
        self.image_BCHW = torch.rand(batch, channels, size, size).to(device, memory_format=torch.channels_last)
        self.target_BHW = torch.randint(0, 2, (batch, size, size)).to(device)

    def __call__(self) -> None:
        """Forward, loss, backward, optimiser; returns when the device has done it."""
        self.segmenter.train()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            outputs = self.segmenter(self.image_BCHW)
        logits_BKHW, *others = outputs if isinstance(outputs, tuple) else (outputs,)
        loss = self.loss(logits_BKHW, self.target_BHW)
        for weight, other_BKHW in zip(self.segmenter.auxiliary, others, strict=True):
            loss = loss + weight * self.loss(other_BKHW, self.target_BHW)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        assert loss.isfinite()  # waits for the device, too

    def seconds(self, steps: int) -> list[float]:
        """Of each step, after `WARM_UP` others."""
        found = []
        for _ in range(WARM_UP + steps):
            start = time.perf_counter()
            self()
            found.append(time.perf_counter() - start)
        return found[WARM_UP:]

    def shares(self) -> dict[str, float]:
        """Share of each kind of operation in the device's time of one step."""
        cuda = self.device.type == "cuda"
        activities = {ProfilerActivity.CPU, ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU}
        with profile(activities=activities) as seen:
            self()
        spent: dict[str, float] = {}
        for event in seen.key_averages():
            if event.key.startswith("aten::"):
                microseconds = event.self_device_time_total if cuda else event.self_cpu_time_total
                kind = _kind(event.key.removeprefix("aten::"))
                spent[kind] = spent.get(kind, 0.0) + microseconds
        total = sum(spent.values())
        return {kind: spent[kind] / total for kind in sorted(spent, key=lambda kind: -spent[kind])}


def matrix_peak(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """10^9 operations per second in a large matrix product, the best of several."""
    a, b = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        float((a @ b)[0, 0])
        best = max(best, 2 * size**3 / (time.perf_counter() - start) / 1e9)
    return best


def ours(steps: int) -> dict[str, Any]:
    """The classic U-Net on the processor: name, seconds of each step, shares of operations."""
    step = Step("unet", torch.device("cpu"), channels=1, size=SIZE, batch=BATCH)
    seconds = step.seconds(steps)
    return {"name": f"Maskwright, torch {torch.__version__}", "seconds": seconds, "shares": step.shares()}


def gpu(device: torch.device, networks: tuple[str, ...], size: int, batch: int, steps: int) -> dict[str, Any]:
    """Several networks on a GPU."""
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    peak = matrix_peak(device, torch.bfloat16 if device.type == "cuda" else torch.float32, 8192 if size > 256 else 512)
    rows = []
    for name in networks:
        step = Step(name, device, channels=3, size=size, batch=batch)
        median = statistics.median(step.seconds(steps))
        rows.append(
            {
                "name": name,
                "images_per_second": batch / median,
                "tflops": step.gflops / median / 1e3,
                "share_of_peak": step.gflops / median / peak,
                "shares": step.shares(),
            }
        )
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    return {"device": card, "size": size, "batch": batch, "matrix_tflops": peak / 1e3, "networks": rows}


def run(command: list[str], **environment: str) -> dict[str, Any] | None:
    """The JSON in the last line of a program's output; None, with its last message, if it fails."""
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if done.returncode:
        console.say(f"{command[1]} failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        return None
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def race(keras: Path | None, steps: int, rounds: int) -> list[dict[str, Any]]:
    """Our step and that of every backend of Keras, in turns; the first row is ours."""
    sides = {"ours": [sys.executable, __file__, "--alone", "--steps", str(steps)]}
    if keras is not None:
        options = ["--size", str(SIZE), "--batch", str(BATCH), "--steps", str(steps)]
        sides |= {backend: [str(keras), str(PEER), *options] for backend in BACKENDS}
    found: dict[str, dict[str, Any]] = {}
    for turn in range(rounds):
        for side, command in list(sides.items()):
            console.say(f"round {turn + 1} of {rounds}: {side}")
            result = run(command, KERAS_BACKEND=side)
            if result is None:
                del sides[side]
                continue
            result["seconds"] = found.get(side, {"seconds": []})["seconds"] + result["seconds"]
            found[side] = result
    if "ours" not in found:
        sys.exit("Our own side failed; see above.")
    work = 3 * BATCH * summarize("unet", in_channels=1, size=(SIZE, SIZE)).gflops
    for row in found.values():
        row["median"] = statistics.median(row["seconds"])
        row["images_per_second"] = BATCH / row["median"]
        row["gflops_per_second"] = work / row["median"]
    return list(found.values())


def show(rows: list[dict[str, Any]], on_gpu: dict[str, Any] | None) -> None:
    """The tables."""
    table = [
        (r["name"], f"{r['median']:.2f}", f"{min(r['seconds']):.2f}", f"{r['images_per_second']:.2f}",
         f"{r['gflops_per_second']:.0f}", f"{rows[0]['median'] / r['median']:.2f}")
        for r in rows
    ]  # fmt: skip
    console.print_table(
        f"Training the classic U-Net, {BATCH} images of {SIZE} x {SIZE}, single precision, {os.cpu_count()} cores",
        ("program", "seconds a step (median)", "fastest", "images/s", "GFLOP/s", "speed (ours 1)"),
        table,
    )
    _show_shares(rows[0]["shares"], "Where our step's time goes")
    if on_gpu is None:
        return
    console.print_table(
        f"Training at {on_gpu['size']} x {on_gpu['size']}, batch {on_gpu['batch']}: {on_gpu['device']}, which "
        f"multiplies matrices at {on_gpu['matrix_tflops']:.1f} TFLOP/s",
        ("network", "images/s", "TFLOP/s", "share of the peak"),
        [
            (r["name"], f"{r['images_per_second']:.0f}", f"{r['tflops']:.1f}", f"{r['share_of_peak']:.0%}")
            for r in on_gpu["networks"]
        ],
    )
    for row in on_gpu["networks"]:
        _show_shares(row["shares"], f"Where the time of {row['name']} goes")


def _show_shares(shares: dict[str, float], title: str) -> None:
    console.print_table(title, ("operations", "share"), [(kind, f"{share:.1%}") for kind, share in shares.items()])


def _kind(name: str) -> str:
    return next((kind for kind, words in KINDS.items() if any(word in name for word in words)), "other")


def main() -> None:
    """Measure, print, and fail if a rival is faster."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keras", type=Path, metavar="PYTHON", help="has keras and its backends")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", help="a GPU, as torch names it; the one there is by default")
    parser.add_argument("--alone", action="store_true", help="only our side, as one line of JSON")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(ours(options.steps)))
        return
    if options.keras is None:
        console.say("Without --keras nothing is compared. How to make its environment:")
        console.say("\n".join(str(__doc__).splitlines()[2:5]))
    if os.getloadavg()[0] > BUSY:
        console.say(
            f"The machine is busy (load {os.getloadavg()[0]:.1f}), so these figures will be neither good nor fair"
        )
    rows = race(options.keras, options.steps, options.rounds if options.keras else 1)
    device = options.device or ("cuda" if torch.cuda.is_available() else None)
    on_gpu = gpu(torch.device(device), GPU_NETWORKS, GPU_SIZE, GPU_BATCH, GPU_STEPS) if device else None
    if options.json:
        console.print_json({"size": SIZE, "batch": BATCH, "cores": os.cpu_count(), "rows": rows, "gpu": on_gpu})
    else:
        show(rows, on_gpu)
    if any(row["median"] < rows[0]["median"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()

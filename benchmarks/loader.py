"""How many training views a second does the loader make, beside albumentations, and what does it take from training?

    python benchmarks/loader.py                                          # generated images, Maskwright alone
    python benchmarks/loader.py camvid/train --peer albumentations-env/bin/python

Views of 512 x 512 in batches of 8, float32 and ready for the network, from images decoded in memory (from files with
--decode). Data folders are given as arguments; images smaller than a view are enlarged by a whole factor. Without
any, street scenes of 720 x 960 and of 2048 x 2048 are generated. Operations: `plan` is what `maskwright train` decides
by itself (zoom, turn, mirror, brightness, contrast), `all` adds perspective, elastic, colours, noise, blur, low
resolution, JPEG and cut-out. The rival warps first and crops then (`usual`), or the other way round (`tuned`), with a
plain DataLoader of none or as many workers as cores: its best figure counts. It does not antialias; Maskwright does.

The last table sets the loader's time for one batch of the default network beside the training step on all cores. Run it
on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maskwright import console
from maskwright.config import Augmentation, Preparation, Settings, Training

CROP, BATCH = 512, 8
PLAN = Augmentation(
    zoom=(0.66, 1.5), rotation=10.0, flip_horizontal=True, brightness=0.4, contrast=0.25, border="reflect"
)
ALL = Augmentation(
    **asdict(PLAN)
    | {
        "perspective": 0.1, "elastic": 12.0, "elastic_grid": 5, "saturation": 0.3, "hue": 10.0, "gamma": (0.7, 1.5),
        "channel_noise": 0.2, "noise": 0.5, "blur": 1.5, "low_resolution": 0.5, "jpeg": 40, "cut_out": 0.4,
    }
)  # fmt: skip
OPERATIONS = {"plan": PLAN, "all": ALL}
IMAGES = 12


def ours(folder: Path, operations: str, cores: int, seconds: float, decode: bool) -> float:
    """Pairs a second of the loader with as many threads as cores; the consumer only takes them."""
    from maskwright.augment.loader import Loader, Store
    from maskwright.datasets.formats import open_dataset

    dataset = open_dataset(folder)
    loader = Loader(
        Store(dataset, Preparation(), 0 if decode else 2**33), dataset.samples, augmentation=OPERATIONS[operations],
        crop=(CROP, CROP), batch=BATCH, class_fraction=0.0, seed=0, mean=110.0, std=55.0, workers=cores,
    )  # fmt: skip
    with loader.ahead(0) as batches:
        for _ in range(2 * IMAGES // BATCH + 2):
            next(batches)
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            next(batches)
            count += BATCH
        return count / (time.perf_counter() - start)


def training(folder: Path, steps: int) -> dict[str, float]:
    """Seconds of one training step of the default network, of making its batch, and of both side by side."""
    import numpy as np
    import torch

    from maskwright.augment.loader import Loader
    from maskwright.training.losses import make_loss
    from maskwright.training.machine import keep_freed_memory
    from maskwright.training.optim import make_optimizer
    from maskwright.training.session import prepare

    keep_freed_memory()
    prepared = prepare(folder, Settings(training=Training(steps=100)))
    settings, fingerprint = prepared.plan.training, prepared.fingerprint
    loader = Loader(
        prepared.store, prepared.splits.training.samples, augmentation=prepared.plan.settings.augmentation,
        crop=settings.crop, batch=settings.batch, class_fraction=settings.class_fraction,
        seed=0, mean=float(np.mean(fingerprint.mean)), std=float(np.mean(fingerprint.std)),
    )  # fmt: skip
    network = prepared.segmenter.train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer("adamw", network, 1e-3, 0.01)
    loss_function = make_loss(settings.loss, None)

    def step(batch: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_function(network(batch.image_BCHW), batch.target_BHW).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    batch = loader.batch(0)
    for _ in range(3):
        step(batch)
    start = time.perf_counter()
    for _ in range(steps):
        step(batch)
    alone = (time.perf_counter() - start) / steps
    start = time.thread_time()
    for number in range(steps):
        loader.batch(number)
    made = (time.thread_time() - start) / steps
    with loader.ahead(0) as batches:
        step(next(batches))
        start = time.perf_counter()
        for _ in range(steps):
            step(next(batches))
        together = (time.perf_counter() - start) / steps
    return {"step": alone, "batch": made, "together": together, "fraction": made / alone}


def generate(folder: Path, size: tuple[int, int], count: int) -> Path:
    """Street scenes of a size, once."""
    from maskwright.synthetic import write_dataset

    if not folder.exists():
        write_dataset(folder, "street", {"train": count}, seed=0, size=size)
    return folder / "train"


def gathered(data: Path, folder: Path) -> Path:
    """Some pairs of a data folder as plain PNG files of at least the view's size, for both rivals to read."""
    import cv2
    import numpy as np

    from maskwright.datasets.formats import open_dataset
    from maskwright.imaging.images import display
    from maskwright.imaging.writing import write_mask, write_picture

    dataset = open_dataset(data)
    chosen = np.unique(np.linspace(0, len(dataset.samples) - 1, IMAGES).astype(int))
    for index in chosen.tolist():
        pair = dataset.read(dataset.samples[index])
        factor = -(-CROP // min(pair.mask.shape))
        image = cv2.resize(display(pair.image), None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        mask = pair.mask.repeat(factor, 0).repeat(factor, 1)
        write_picture(folder / "images" / f"{index:05}.png", image)
        write_mask(folder / "masks" / f"{index:05}.png", mask, dataset.classes.palette())
    table = dataset.classes.to_dict()
    for index, entry in enumerate(table["class"]):
        entry["value"] = index
    type(dataset.classes).from_dict(table | {"unlabelled": []}, "benchmark").save(folder / "classes.toml")
    return folder


def measured(command: list[str]) -> float:
    """The figure that a command prints."""
    # glibc keeps freed memory for both, as training asks it to: without that, page faults take much of the time.
    memory = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | memory)
    return float(json.loads(done.stdout.strip().splitlines()[-1])["pairs_per_second"])


def rival(peer: str, folder: Path, operations: str, cores: int, seconds: float, decode: bool) -> dict[str, float]:
    """Pairs a second of each order and number of workers."""
    script = [peer, str(Path(__file__).with_name("albumentations_loader.py")), str(folder), "--seconds", f"{seconds}"]
    script += ["--operations", operations, "--cores", f"{cores}", *(["--decode"] if decode else [])]
    return {
        f"{order}, {workers} workers": measured([*script, "--order", order, "--workers", f"{workers}"])
        for order in ("usual", "tuned")
        for workers in (0, cores)
    }


def main() -> None:
    """Measure, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", type=Path)
    parser.add_argument("--peer", help="Python of an environment with albumentations and torch")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--operations", nargs="+", choices=list(OPERATIONS), default=list(OPERATIONS))
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=20, help="training steps measured; 0 leaves them out")
    parser.add_argument("--decode", action="store_true", help="read files for every view instead of keeping images")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: options.cores[0]]))
        figure = ours(options.measure, options.operations[0], options.cores[0], options.seconds, options.decode)
        print(json.dumps({"pairs_per_second": figure}))
        return
    with tempfile.TemporaryDirectory() as name:
        run(options, Path(name))


def run(options: argparse.Namespace, scratch: Path) -> None:
    """All measurements, and their tables."""
    folders = {str(path): gathered(path, scratch / f"{number}") for number, path in enumerate(options.data)}
    if not folders:
        cache = Path(tempfile.gettempdir())
        for size, count in (((720, 960), IMAGES), ((2048, 2048), 4)):
            name = f"street {size[0]} x {size[1]}"
            folders[name] = generate(cache / f"maskwright-loader-{size[0]}", size, count)
    results: dict[str, Any] = {"views": [], "training": []}
    for name, folder in folders.items():
        for operations in options.operations:
            for cores in options.cores:
                console.say(f"{name}, {operations}, {cores} core(s)")
                command = [sys.executable, __file__, "--measure", str(folder), "--operations", operations]
                command += ["--cores", f"{cores}", "--seconds", f"{options.seconds}"]
                row: dict[str, Any] = {"data": name, "operations": operations, "cores": cores}
                row["maskwright"] = measured([*command, *(["--decode"] if options.decode else [])])
                if options.peer:
                    row["rival"] = rival(
                        options.peer, folder, operations, cores, options.seconds, options.decode
                    )  # fmt: skip
                    row["ratio"] = row["maskwright"] / max(row["rival"].values())
                results["views"].append(row)
    if options.steps:
        for name, folder in folders.items():
            console.say(f"{name}, training")
            results["training"].append({"data": name, **training(folder, options.steps)})
    if options.json:
        console.print_json(results)
        return
    rows: list[tuple[str, ...]] = []
    for row in results["views"]:
        best = max(row["rival"], key=row["rival"].get) if "rival" in row else ""
        theirs = (f"{row['rival'][best]:.0f}", best, f"{row['ratio']:.1f}") if best else ("–", "", "–")
        rows.append((row["data"], row["operations"], str(row["cores"]), f"{row['maskwright']:.0f}", *theirs))
    columns = ["data", "operations", "cores", "maskwright", "albumentations", "its best way", "ratio"]
    console.print_table(f"Views of {CROP} x {CROP} a second", columns, rows)
    if results["training"]:
        columns = ["data", "step alone, ms", "its batch, ms", "fraction", "step with loader, ms"]
        rows = []
        for row in results["training"]:
            alone, made, together = (f"{1000 * row[key]:.0f}" for key in ("step", "batch", "together"))
            rows.append((row["data"], alone, made, f"{row['fraction']:.1%}", together))
        console.print_table("The default network's training step", columns, rows)


if __name__ == "__main__":
    main()

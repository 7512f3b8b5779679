"""How good is a network that was trained on a script's labels alone, beside one trained on the full ground truth?

    python benchmarks/weak.py DATA                       # DATA/dsb2018, DATA/isbi, DATA/drive, with train/ and test/
    python benchmarks/weak.py DATA --set isbi --labels   # only the script's own labels on the test images: no training

For each set the script of examples/weak/ labels a project that holds only the training images, and

    c   mIoU of the best constant prediction on the test images
    s   mIoU of the script's own labels of the test images, 255 filled by the most probable class
    m   mIoU of `train --minutes 4` on the script's labels of the training images (--seeds runs)
    f   mIoU of `train --minutes 10` on the full ground truth (--seeds runs)

    score = (m - c) / (f - c)

No masks are seen but by f and by the scores. Trainings follow each other, so run it on an idle machine. Each result is
kept in --results and not made again: an interrupted benchmark goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskwright import console, open_dataset, runs
from maskwright.datasets.classes import CLASSES_FILE, UNLABELLED
from maskwright.datasets.formats.pairing import files_in
from maskwright.datasets.samples import Dataset
from maskwright.evaluate.metrics import class_iou, mean_of_present
from maskwright.imaging.images import read_mask

SCRIPTS = Path(__file__).parents[1] / "examples" / "weak"
SETS = {"dsb2018": ("nuclei", 0.85), "isbi": ("membranes", 0.80), "drive": ("vessels", 0.75)}
"""The script of each data set, and the score to reach."""
WEAK_MINUTES, FULL_MINUTES = 4, 10
MASKWRIGHT = (sys.executable, "-m", "maskwright")


def processor() -> str:
    """The processor's name, and those of its flags that decide how fast it trains."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    facts = dict(reversed([line.split(":", 1) for line in lines if ":" in line]))
    found = {name.strip(): value.strip() for name, value in facts.items()}
    flags = [flag for flag in found.get("flags", "").split() if flag.startswith(("avx", "amx", "fma"))]
    return f"{found.get('model name', platform.processor())}: {' '.join(flags) or 'flags unknown'}"


def project(images: Path, script: Path, folder: Path) -> None:
    """A folder with copies of the images alone, labelled by the script."""
    shutil.copytree(images, folder / "images")
    command(*MASKWRIGHT, "weak", str(script), str(folder), "--json")


def own_labels(test: Path, script: Path, place: Path) -> float:
    """Mean IoU of the script's labels of the test images: the most probable class everywhere, no doubt allowed."""
    certain = place / script.name
    certain.write_text(script.read_text("utf-8") + "\nCONFIDENCE = 0.0\n", "utf-8")
    project(test / "images", certain, place / "test")
    data = open_dataset(test)
    labels = {name: read_mask(path) for name, path in files_in(place / "test" / "labels", None)[0].items()}
    classes = len(data.classes)
    counts = sum(np.bincount(one[one != UNLABELLED], minlength=classes) for one in labels.values())
    frequent = int(np.argmax(counts))
    confusion = np.zeros((classes, classes), np.int64)
    for sample in data.samples:
        found, truth = labels[Path(sample.id).name], data.read(sample).mask
        found, told = np.where(found == UNLABELLED, frequent, found), truth != UNLABELLED
        np.add.at(confusion, (truth[told], found[told]), 1)
    return float(mean_of_present(class_iou(confusion)))


def constant(test: Path) -> float:
    """Mean IoU of the best constant prediction."""
    data = open_dataset(test)
    pixels = np.zeros(len(data.classes), np.int64)
    for sample in data.samples:
        mask = data.read(sample).mask
        pixels += np.bincount(mask[mask != UNLABELLED], minlength=len(pixels))
    scores = []
    for index in range(len(pixels)):
        confusion = np.zeros((len(pixels), len(pixels)), np.int64)
        confusion[:, index] = pixels
        scores.append(float(mean_of_present(class_iou(confusion))))
    return max(scores)


def trained(train: Path, test: Path, minutes: float, seed: int, run: Path) -> float:
    """Mean IoU on the test images of a network trained for some minutes."""
    command(*MASKWRIGHT, "train", str(train), "--minutes", f"{minutes:g}", "--seed", str(seed), "--out", str(run))
    test = in_classes_of(open_dataset(train), test, run.with_name(f"{run.name}-test"))
    scores: float = json.loads(command(*MASKWRIGHT, "evaluate", str(run), str(test), "--json"))["miou"]
    return scores


def in_classes_of(train: Dataset, test: Path, folder: Path) -> Path:
    """The test folder with the names of the training classes, which a script gave, for its own values."""
    folder.mkdir()
    for part in test.iterdir():
        (folder / part.name).symlink_to(part.resolve())
    table = open_dataset(test).classes
    named = zip(table.classes, train.classes.names, strict=True)
    if not (folder / CLASSES_FILE).exists():
        replace(table, classes=tuple(replace(label, name=name) for label, name in named)).save(folder / CLASSES_FILE)
    return folder


def command(*words: str) -> str:
    """Standard output of a command that must succeed; its messages go where ours go."""
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"failed with exit status {done.returncode}: {' '.join(words)}")
    return done.stdout


def row(name: str, results: Mapping[str, Any], seeds: int) -> tuple[str, ...]:
    """What is known of a set, as text."""

    def mean(what: str) -> float | None:
        keys = [f"{name} | {what} {seed}" for seed in range(seeds)]
        values = [results[key]["miou"] for key in keys if key in results]
        return statistics.fmean(values) if len(values) == seeds else None

    c, s = (results.get(f"{name} | {what}", {}).get("miou") for what in ("constant", "own labels"))
    m, f = mean("weak, seed"), mean("full, seed")
    score = None if None in (c, m, f) else (m - c) / (f - c)
    shown = ["–" if value is None else f"{value:.3f}" for value in (c, s, m, f, score)]
    beats = "–" if m is None or s is None else "yes" if m > s else "no"
    return name, *shown, f"{SETS[name][1]:.2f}", beats


def main() -> None:
    """Run what has no result yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", action="append", choices=SETS, help="only this set; can be repeated")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--labels", action="store_true", help="nothing is trained: only c and s")
    parser.add_argument("--results", type=Path, default=Path("runs/weak.json"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results: dict[str, Any] = runs.read_json(options.results) if options.results.exists() else {}
    console.say(processor())

    def once(key: str, make: Callable[[], float]) -> None:
        if key not in results:
            console.say(key)
            start = time.monotonic()
            results[key] = {"miou": make(), "seconds": time.monotonic() - start, "processor": processor()}
            runs.write_json(options.results, results)

    for name in options.set or SETS:
        train, test = options.data / name / "train", options.data / name / "test"
        script = SCRIPTS / f"{SETS[name][0]}.py"
        with tempfile.TemporaryDirectory() as text:
            place = Path(text)
            once(f"{name} | constant", partial(constant, test))
            once(f"{name} | own labels", partial(own_labels, test, script, place))
            for seed in () if options.labels else range(options.seeds):
                if f"{name} | weak, seed {seed}" not in results and not (place / "train").exists():
                    project(train / "images", script, place / "train")
                weak, full = (place / f"{what}-{seed}" for what in ("weak", "full"))
                once(f"{name} | weak, seed {seed}", partial(trained, place / "train", test, WEAK_MINUTES, seed, weak))
                once(f"{name} | full, seed {seed}", partial(trained, train, test, FULL_MINUTES, seed, full))
    if options.json:
        console.print_json(results)
        return
    columns = ("data", "constant", "script", "network on script", "full", "score", "bar", "beats its script")
    rows = [row(name, results, options.seeds) for name in options.set or SETS]
    console.print_table("mIoU on test images", columns, rows)


if __name__ == "__main__":
    main()

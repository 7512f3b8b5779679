"""How good is the model that a few minutes buy, beside rivals given the same minutes on the same machine?

    python benchmarks/budget.py                                                # generated cells, 1 minute
    python benchmarks/budget.py DATA/isbi/train:DATA/isbi/test --minutes 10 \
        --rival "small=python small_budget.py {train} {test} --classes 2 --binary --turn --minutes {minutes}"

Each TRAIN:TEST pair of folders is given to plain `maskwright train` and `maskwright evaluate`, then to each rival, one
after the other, so run it on an idle machine. A rival prints one JSON line with `miou`. Finished runs are kept in
--results and not run again: an interrupted benchmark goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from maskwright import console, runs
from maskwright.data.synthetic import write_dataset


def command_output(command: list[str]) -> tuple[str, float]:
    """Standard output and seconds of a command that must succeed; its messages go where ours go."""
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"failed with exit status {done.returncode}: {shlex.join(command)}")
    return done.stdout, time.monotonic() - start


def ours(train: str, test: str, minutes: float, seed: int, run: Path) -> dict[str, Any]:
    """Train and evaluate with nothing but a budget and a seed."""
    maskwright = [sys.executable, "-m", "maskwright"]
    budget = ["--minutes", f"{minutes:g}", "--seed", str(seed)]
    _, seconds = command_output([*maskwright, "train", train, "--out", str(run), *budget])
    scores = json.loads(command_output([*maskwright, "evaluate", str(run), test, "--json"])[0])
    steps = runs.read_run(run)["scores"]["steps"]
    return {"miou": scores["miou"], "iou": scores["iou"], "seconds": seconds, "steps": steps}


def rival(command: str, train: str, test: str, minutes: float) -> dict[str, Any]:
    """Run a rival's command; its last line of output is its JSON."""
    words = [part.format(train=train, test=test, minutes=f"{minutes:g}") for part in shlex.split(command)]
    text, seconds = command_output(words)
    return {**json.loads(text.strip().splitlines()[-1]), "seconds": seconds}


def main() -> None:
    """Run what has no result yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", metavar="TRAIN:TEST")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rival", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--results", type=Path, default=Path("runs/budget.json"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.pairs:
        generated = Path(tempfile.gettempdir()) / "maskwright-budget-cells"
        if not (generated / "test").exists():
            write_dataset(generated, "cells", {"train": 40, "test": 10}, seed=0)
        options.pairs = [f"{generated / 'train'}:{generated / 'test'}"]
    results: dict[str, Any] = runs.read_json(options.results) if options.results.exists() else {}
    for pair in options.pairs:
        train, test = pair.split(":")
        jobs = {f"maskwright, seed {seed}": seed for seed in range(options.seeds)}
        commands = dict(text.split("=", 1) for text in options.rival)
        for name in (*jobs, *commands):
            key = f"{train} | {options.minutes:g} min | {name}"
            if key in results:
                continue
            console.say(key)
            if name in jobs:
                run = runs.fresh_folder(options.results.parent / "budget", Path(train).parent.name)
                results[key] = ours(train, test, options.minutes, jobs[name], run)
            else:
                results[key] = rival(commands[name], train, test, options.minutes)
            runs.write_json(options.results, results)
    if options.json:
        console.print_json(results)
        return
    rows = [(*key.split(" | "), f"{one['miou']:.4f}", f"{one['seconds']:.0f}") for key, one in results.items()]
    console.print_table("mIoU on unseen images", ("data", "budget", "who", "mIoU", "seconds"), rows)


if __name__ == "__main__":
    main()

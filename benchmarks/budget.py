"""How good is the model that a few minutes buy, beside rivals given the same minutes on the same machine?

    python benchmarks/budget.py                                                # generated cells, 1 minute
    python benchmarks/budget.py DATA/isbi/train:DATA/isbi/test --minutes 10 \
        --rival "small=python small_budget.py {train} {test} --classes 2 --binary --turn --minutes {minutes}"

Each TRAIN:TEST pair of folders is given to plain `maskwright train` and `maskwright evaluate`, then to each rival, one
after the other, so run it on an idle machine. A rival prints one JSON line with `miou`; it is run once for each seed if
its command says {seed}. An earlier build of Maskwright is a rival too: `--build before=FOLDER`, a checkout. Finished
runs are kept in --results, each with its kind of processor, and not run again on such a processor: an interrupted
benchmark goes on where it stopped, and sets whose rivals need other options go into the same results by calls of their
own.

The second table compares, over all results: the mean mIoU of each, and how large our error 1 - mIoU is in units of each
rival's, for each data set and as the geometric mean over the sets that both have.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskwright import console, runs
from maskwright.synthetic import write_dataset

OURS = "maskwright"


def processor() -> str:
    """The processor's name and cores, and those of its flags that decide how fast it trains."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    flags = [
        flag for flag in facts.get("flags", "").split() if flag.startswith(("avx512_bf16", "avx512f", "avx2", "amx"))
    ]
    return (
        f"{facts.get('model name', platform.processor())}, {os.cpu_count()} cores: {' '.join(flags) or 'flags unknown'}"
    )


def command_output(command: list[str], build: Path | None = None) -> tuple[str, float]:
    """Standard output and seconds of a command that must succeed; its messages go where ours go.

    With a `build`, the maskwright of that checkout is run instead of the installed one.
    """
    start = time.monotonic()
    environment = os.environ if build is None else {**os.environ, "PYTHONPATH": str(build.resolve() / "src")}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"failed with exit status {done.returncode}: {shlex.join(command)}")
    return done.stdout, time.monotonic() - start


def ours(
    train: str, test: str, minutes: float, seed: int, run: Path, options: Sequence[str], build: Path | None = None
) -> dict[str, Any]:
    """Train and evaluate with a budget, a seed, and `options` if there are any; with another build if one is given."""
    maskwright = [sys.executable, "-m", "maskwright"]
    budget = ["--minutes", f"{minutes:g}", "--seed", str(seed), *options]
    _, seconds = command_output([*maskwright, "train", train, "--out", str(run), *budget], build)
    scores = json.loads(command_output([*maskwright, "evaluate", str(run), test, "--json"], build)[0])
    content = runs.read_run(run)
    told = {"miou": scores["miou"], "iou": scores["iou"], "seconds": seconds, "steps": content["scores"]["steps"]}
    return told | {"model": content["network"]["name"], "processor": processor()}


def rival(command: str, train: str, test: str, minutes: float, seed: int) -> dict[str, Any]:
    """Run a rival's command; its last line of output is its JSON."""
    values = {"train": train, "test": test, "minutes": f"{minutes:g}", "seed": str(seed)}
    words = [part.format(**values) for part in shlex.split(command)]
    text, seconds = command_output(words)
    return {**json.loads(text.strip().splitlines()[-1]), "seconds": seconds, "processor": processor()}


def summary(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each budget and rival: mean mIoU of both and the ratio of errors, by data set and over all that both have."""
    means: dict[tuple[str, str, str], list[float]] = {}
    for key, one in results.items():
        data, budget, who = key.split(" | ")
        means.setdefault((budget, who.rsplit(",", 1)[0], data), []).append(one["miou"])
    score = {key: statistics.fmean(values) for key, values in means.items()}
    rows = []
    for budget, who in dict.fromkeys((budget, who) for budget, who, _ in score if who != OURS):
        pairs = {
            data: (score[budget, OURS, data], theirs)
            for (at, name, data), theirs in score.items()
            if (at, name) == (budget, who) and (budget, OURS, data) in score
        }
        ratios = {data: (1 - ours) / (1 - theirs) for data, (ours, theirs) in pairs.items()}
        for data, (ours, theirs) in pairs.items():
            row = {"budget": budget, "rival": who, "data": data, "ours": ours, "theirs": theirs}
            rows.append(row | {"error": ratios[data]})
        if pairs:
            ours, theirs = (statistics.fmean(side) for side in zip(*pairs.values(), strict=True))
            row = {"budget": budget, "rival": who, "data": "all", "ours": ours, "theirs": theirs}
            rows.append(row | {"error": statistics.geometric_mean(ratios.values())})
    return rows


def main() -> None:
    """Run what has no result yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", metavar="TRAIN:TEST")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rival", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--build", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument(
        "--option", action="append", default=[], help="of maskwright train, for example --option=--model --option=unet"
    )
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
        builds = {name: Path(folder) for name, _, folder in (text.partition("=") for text in options.build)}
        commands = dict.fromkeys([" ".join([OURS, *options.option]), *builds]) | dict(
            text.split("=", 1) for text in options.rival
        )
        for name, command in commands.items():
            for seed in range(options.seeds if command is None or "{seed}" in command else 1):
                key = f"{train} | {options.minutes:g} min | {name}, seed {seed}"
                if key in results and results[key].get("processor", processor()) == processor():
                    continue
                console.say(key)
                if command is None:
                    run = runs.fresh_folder(options.results.parent / "budget", Path(train).parent.name)
                    build = builds.get(name)
                    given = options.option if build is None else ()
                    results[key] = ours(train, test, options.minutes, seed, run, given, build)
                else:
                    results[key] = rival(command, train, test, options.minutes, seed)
                runs.write_json(options.results, results)
    if options.json:
        console.print_json({"runs": results, "summary": summary(results)})
        return
    rows = [(*key.split(" | "), f"{one['miou']:.4f}", f"{one['seconds']:.0f}") for key, one in results.items()]
    console.print_table("mIoU on unseen images", ("data", "budget", "who", "mIoU", "seconds"), rows)
    compared = [
        (one["budget"], one["rival"], one["data"], f"{one['ours']:.4f}", f"{one['theirs']:.4f}", f"{one['error']:.3f}")
        for one in summary(results)
    ]
    if compared:
        console.print_table("Our error over theirs", ("budget", "rival", "data", "ours", "theirs", "ratio"), compared)


if __name__ == "__main__":
    main()

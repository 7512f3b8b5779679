"""What do a few labelled images give in two minutes? One, three and ten of a set, beside other builds and rivals.

    python benchmarks/few.py DATA/drive/train:DATA/drive/test --build before=CHECKOUT --rival "lite0=python
        lite0_budget.py {train} {test} --classes 2 --binary --turn --minutes {minutes} --seed {seed}"

From each TRAIN folder so many images are drawn by each seed and copied, with the class table, into a folder of their
own; that is given to plain `maskwright train` and scored on TEST, then given to each build and rival, as `budget.py`
does. Rivals whose options differ between sets go into the same results by calls of their own. Finished runs are kept in
--results and not run again. Without folders, generated streets stand for the data.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from budget import OURS, ours, processor, rival
from maskwright import console, open_dataset, runs
from maskwright.synthetic import write_dataset

COUNTS = (1, 3, 10)


def draw(train: Path, count: int, seed: int, folder: Path) -> Path:
    """Copy `count` samples of a folder of images and masks, drawn by the seed, into a new folder."""
    samples = sorted(open_dataset(train).samples, key=lambda sample: sample.id)
    for place in np.random.default_rng(seed).permutation(len(samples))[:count]:
        stem = Path(samples[place].id).name
        for part in (child for child in train.iterdir() if child.is_dir()):
            for file in (file for file in part.iterdir() if file.stem == stem):
                (folder / part.name).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, folder / part.name / file.name)
    if (train / "classes.toml").exists():
        shutil.copyfile(train / "classes.toml", folder / "classes.toml")
    return folder


def main() -> None:
    """Run what has no result yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", metavar="TRAIN:TEST")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--count", type=int, action="append", help=f"images; {COUNTS} by default")
    parser.add_argument("--build", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--rival", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--results", type=Path, default=Path("runs/few.json"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.pairs:
        generated = Path(tempfile.gettempdir()) / "maskwright-few-streets"
        if not (generated / "test").exists():
            write_dataset(generated, "street", {"train": 10, "test": 10}, seed=0)
        options.pairs, options.minutes, options.draws, options.count = (
            [f"{generated / 'train'}:{generated / 'test'}"],
            0.5,
            1,
            [3],
        )
    builds: dict[str, Path | None] = {OURS: None} | {
        name: Path(folder) for name, _, folder in (text.partition("=") for text in options.build)
    }
    rivals = dict(text.split("=", 1) for text in options.rival)
    results: dict[str, Any] = runs.read_json(options.results) if options.results.exists() else {}
    for pair in options.pairs:
        train, test = pair.split(":")
        for count in options.count or COUNTS:
            for seed in range(options.draws):
                for name in (*builds, *rivals):
                    key = f"{train} | {count} images, {options.minutes:g} min | {name}, draw {seed}"
                    if key in results and results[key]["processor"] == processor():
                        continue
                    console.say(key)
                    with tempfile.TemporaryDirectory() as folder:
                        drawn = str(draw(Path(train), count, seed, Path(folder) / "drawn"))
                        if name in builds:
                            run = Path(folder) / "run"
                            results[key] = ours(drawn, test, options.minutes, seed, run, (), builds[name])
                        else:
                            results[key] = rival(rivals[name], drawn, test, options.minutes, seed)
                    runs.write_json(options.results, results)
    means: dict[tuple[str, str, str], list[float]] = {}
    for key, one in results.items():
        data, budget, who = key.split(" | ")
        means.setdefault((data, budget, who.rsplit(",", 1)[0]), []).append(one["miou"])
    if options.json:
        console.print_json({"runs": results})
        return
    rows = [(*key, f"{statistics.fmean(scores):.4f}", str(len(scores))) for key, scores in means.items()]
    console.print_table("Mean mIoU on unseen images", ("data", "budget", "who", "mIoU", "draws"), rows)


if __name__ == "__main__":
    main()

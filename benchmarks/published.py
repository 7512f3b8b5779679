"""Layouts in the manner of published data sets, each tried as a newcomer would: what is read, after how many commands.

    python benchmarks/published.py [--only NAME ...] [--keep FOLDER] [--json FILE] [--datumaro PYTHON]

Each function of `layouts/` writes tiny pictures of our own into the folders, names and file types that a published set
has (its name stands in the docstring), and returns the truth. Then the folder is opened. Where Maskwright refuses it,
the command that its message proposes first (`maskwright adopt ...` or `maskwright check ... --fix ...`) is run once as
it stands there, and nothing else. All images must be there, with their pixels and the right class in every pixel; class
indices may be in any one order. A row a layout; exit status 1 if any is not read, or read wrong.

With `--datumaro`, the last column is what Datumaro detects in the same folders (`peers/datumaro_detect.py`); PYTHON is
that of an environment in which it is installed.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.layouts import aerial, cells, general, industry, medical, people, plants, streets
from benchmarks.layouts.drawing import UNLABELLED, Truth, Writer

ROOMS = (streets, plants, cells, medical, people, industry, aerial, general)


def layouts() -> list[Writer]:
    """All of them: the functions of the rooms that return a truth."""
    return [
        writer
        for room in ROOMS
        for writer in vars(room).values()
        if getattr(writer, "__annotations__", {}).get("return") == "Truth" and writer.__module__ == room.__name__
    ]


def judged(root: Path, truth: Truth) -> str:
    """Nothing if the folder reads as the truth says, else what is wrong."""
    from maskwright import open_dataset

    dataset = open_dataset(root)
    if truth.refused:
        return f"read ({len(dataset.samples)} samples), and must be refused"
    if len(dataset.samples) != len(truth.pairs):
        return f"{len(dataset.samples)} samples of {len(truth.pairs)}"
    if truth.splits is not None:
        found = {name: sum(sample.split == name for sample in dataset.samples) for name in truth.splits}
        if found != truth.splits:
            return f"splits {found}, expected {truth.splits}"
    groups = {sample.group for sample in dataset.samples}
    if truth.groups is not None and len(groups) != truth.groups:
        return f"groups {sorted(map(str, groups))[:5]}, expected {truth.groups}"
    left = list(range(len(truth.pairs)))
    meaning: dict[int, int] = {}
    for sample in dataset.samples:
        pair = dataset.read(sample)
        apart = [
            float(np.abs(pair.image.astype(float) - truth.pairs[index][0]).mean())
            if pair.image.shape == truth.pairs[index][0].shape
            else np.inf
            for index in left
        ]
        best = int(np.argmin(apart))
        if apart[best] > 15:
            return f"{sample.id} is none of the images (shape {pair.image.shape})"
        mask = truth.pairs[left.pop(best)][1]
        for value in np.unique(mask):
            index, counts = np.unique(pair.mask[mask == value], return_counts=True)
            if len(index) > 1:
                return f"{sample.id}: pixels of class {value} are of {len(index)} classes ({counts.tolist()})"
            if meaning.setdefault(int(value), int(index[0])) != int(index[0]):
                return f"{sample.id}: class {value} is index {index[0]} here and {meaning[int(value)]} elsewhere"
    if meaning.pop(UNLABELLED, UNLABELLED) != UNLABELLED:
        return f"unlabelled pixels are of a class; the classes are {meaning}"
    if len(set(meaning.values())) < len(meaning) or UNLABELLED in meaning.values():
        return f"classes fall together or are unlabelled: {meaning}"
    return ""


def proposed(message: str, root: Path) -> list[str] | None:
    """The first command that a message proposes, as it stands there."""
    for line in re.findall(r"maskwright ((?:adopt|check) .*)", message):
        words = shlex.split(line.split("`")[0].strip().rstrip("."))
        if "--as" in words or "--fix" in words:
            return words
    return None


def tried(write: Writer, home: Path) -> tuple[str, str]:
    """How a layout was read (at once, after one command, not), and what is wrong."""
    from maskwright import MaskwrightError

    root = home / write.__name__
    truth = write(root)
    try:
        return "at once", judged(root, truth)
    except MaskwrightError as error:
        message = str(error)
    if truth.refused:
        said = re.search(truth.refused, message) is not None
        return "refused", "" if said else f"{truth.refused!r} is not said: {' '.join(message.split())[:300]}"
    command = proposed(message, root)
    if command is None:
        return "not", f"no command is proposed: {' '.join(message.split())[:300]}"
    done = subprocess.run(
        [sys.executable, "-m", "maskwright", *command], cwd=home, capture_output=True, text=True, check=False
    )
    read = Path(command[command.index("--fix") + 1]) if "--fix" in command else root
    shown = " ".join(command).replace(str(home), "...")
    if done.returncode > ("--fix" in command):
        return "not", f"`{shown}` fails: {' '.join(done.stderr.split())[-300:]}"
    try:
        return f"after {shown}", judged(home / read, truth)
    except MaskwrightError as error:
        return "not", f"after `{shown}`: {' '.join(str(error).split())[:300]}"


def detected(python: Path, chosen: list[Writer]) -> dict[str, str]:
    """What Datumaro's format detection says of each layout, as it is written: formats, "none", or an error."""
    script = Path(__file__).parent / "peers" / "datumaro_detect.py"
    with tempfile.TemporaryDirectory() as place:
        for write in chosen:
            write(Path(place) / write.__name__)
        done = subprocess.run([python, script, place], capture_output=True, text=True, check=True)
    return {name: ", ".join(formats) or "none" for name, formats in json.loads(done.stdout).items()}


def main() -> int:
    """Try all layouts, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="names of layouts")
    parser.add_argument("--keep", type=Path, help="write the layouts here, and keep them")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--datumaro", type=Path, metavar="PYTHON", help="of an environment that has Datumaro")
    options = parser.parse_args()
    rows: list[dict[str, str]] = []
    chosen = [write for write in layouts() if not options.only or write.__name__ in options.only]
    other = detected(options.datumaro, chosen) if options.datumaro else {}
    with tempfile.TemporaryDirectory() as place:
        home = options.keep or Path(place)
        for write in chosen:
            how, wrong = tried(write, home)
            rows.append({"layout": write.__name__, "read": how, "wrong": wrong})
            if other:
                rows[-1]["datumaro"] = other[write.__name__]
            word = "right" if not wrong else "not read" if how == "not" else "WRONG"
            print(f"{word:8}  {write.__name__:20} {how:40} {wrong}{other.get(write.__name__, '')}", flush=True)
    right = sum(not row["wrong"] for row in rows)
    at_once = sum(not row["wrong"] and row["read"] == "at once" for row in rows)
    print(f"{right} of {len(rows)} read right, {at_once} of them at once")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(right < len(rows))


if __name__ == "__main__":
    sys.exit(main())

"""Handed failures, tried as their reporters would: which of them are right today.

    python benchmarks/cases.py ../shared/cases [--only NAME ...] [--json FILE]

Each script below the folder writes an input and prints what is right. For each there is a short function of the same
name in `expectations/`: it runs the commands that the script names and holds what they give (exit code, pixels or
class counts, words that must and must not appear) against that text. A row a case; exit status 1 if any is wrong.
A script without a function is an error here, so that none is forgotten.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.expectations import data, layout, runs
from benchmarks.expectations.trial import Trial, Wrong

ROOMS = {"data": data, "layout": layout, "runs": runs}


@dataclass
class Row:
    """How one case went."""

    name: str
    right: bool
    why: str = ""
    expected: str = ""
    seconds: float = 0.0
    commands: list[str] = field(default_factory=list)


def tried(script: Path, expectation: Callable[[Trial], None] | None) -> Row:
    """Write the script's input into a folder of its own, and hold the program against the expectation."""
    name = f"{script.parent.name}/{script.stem}"
    with tempfile.TemporaryDirectory(prefix="case-") as place:
        made = subprocess.run(
            [sys.executable, str(script), f"{place}/input"], capture_output=True, text=True, check=False
        )
        if made.returncode:
            return Row(name, right=False, why=f"the script fails: {made.stderr.strip().splitlines()[-1]}")
        row = Row(name, right=True, expected=made.stdout.strip())
        if expectation is None:
            row.right, row.why = False, "there is no expectation for it"
            return row
        trial = Trial(Path(place) / "input", Path(place) / "work")
        start = time.perf_counter()
        try:
            expectation(trial)
        except Wrong as wrong:
            row.right, row.why = False, str(wrong)
        except Exception as error:  # an expectation that falls over has found something, too
            last = traceback.extract_tb(error.__traceback__)[-1]
            row.right, row.why = False, f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
        row.seconds, row.commands = time.perf_counter() - start, trial.commands
        return row


def main() -> int:
    """Try all cases below the folder, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--only", nargs="*", help="names of cases, or of folders of them")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--verbose", action="store_true", help="print what each wrong case expects, and its commands")
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    np.seterr(all="ignore")
    rows: list[Row] = []
    for room, module in ROOMS.items():
        for script in sorted((options.cases / room).glob("*.py")):
            if options.only and not {script.stem, room} & set(options.only):
                continue
            row = tried(script, getattr(module, script.stem, None))
            rows.append(row)
            print(f"{'right' if row.right else 'WRONG'}  {row.seconds:5.1f} s  {row.name}  {row.why}", flush=True)
            if options.verbose and not row.right:
                print(f"    {row.expected}\n    " + "\n    ".join(row.commands))
    right = sum(row.right for row in rows)
    print(f"{right} of {len(rows)} right")
    if options.json:
        options.json.write_text(json.dumps([vars(row) for row in rows], indent=1) + "\n")
    return int(right < len(rows))


if __name__ == "__main__":
    sys.exit(main())

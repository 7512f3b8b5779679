"""Whether two builds give the same plan, weights, scores, masks and findings.

    python benchmarks/same_results.py OLD_SRC NEW_SRC [DATA ...] [--images 8] [--steps 6]

Every command runs in a fresh process, with PYTHONPATH set to one build's `src` and then to the other's. DATA are
folders that `train` takes, of which the first `--images` are used; without any, generated streets, cells and fields.
Weights are compared bit for bit, masks byte for byte once decoded, numbers exactly. Prints a table; exit status 1 on a
difference.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

RENAMED = {
    "val_share": "val_fraction", "class_share": "class_fraction", "thick_share": "thick_fraction",
    "image_share": "image_fraction",
}  # fmt: skip
"""Keys of the older build's JSON, and what the newer one calls them; it prints both for one version."""
FOLDERS = ("images", "masks", "labels", "valid")


def run(src: Path, home: Path, *arguments: object) -> str:
    """Standard output of one command of a build; RuntimeError with its messages if it fails."""
    environment = os.environ | {
        "PYTHONPATH": str(src), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive",
        "XDG_CACHE_HOME": str(home / "cache"),
    }  # fmt: skip
    command = [sys.executable, "-m", "maskwright", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=home)
    if done.returncode not in (0, 1):  # 1: done, with findings
        raise RuntimeError(f"{' '.join(command)} with {src}:\n{done.stderr[-2000:]}")
    return done.stdout


def results(src: Path, home: Path, data: Path, steps: int) -> dict[str, Any]:
    """What a build makes of a data set, by what is compared."""
    home.mkdir(parents=True)
    out = home / "run"
    plan = json.loads(run(src, home, "plan", data, "--steps", steps, "--json"))
    values = {
        f"{section}.{RENAMED.get(name, name)}": decision["value"]
        for section, names in plan["decisions"].items()
        for name, decision in names.items()
    }
    fingerprint = plan.get("fingerprint") or {RENAMED.get(key, key): value for key, value in plan["facts"].items()}
    run(src, home, "train", data, "--steps", steps, "--out", out)
    weights = load_file(out / "model.safetensors")
    scores = json.loads(run(src, home, "evaluate", out, data, "--json"))
    run(src, home, "predict", out, data / "images", "--out", home / "predicted")
    masks = {path.name: np.array(Image.open(path)) for path in sorted((home / "predicted/masks").glob("[!.]*"))}
    findings = json.loads(run(src, home, "check", data, "--json"))
    return {
        "plan": values,
        "fingerprint": fingerprint,
        "weights": weights,
        "scores": scores,
        "masks": masks,
        "check": findings,
    }


def difference(old: Any, new: Any, where: str = "") -> str | None:
    """The first difference between two results; None where they are the same. A key that only one has counts."""
    if isinstance(old, dict) and isinstance(new, dict):
        if missing := sorted(map(str, old.keys() ^ new.keys())):
            return f"{where}: only one has {', '.join(missing[:5])}"
        found = (difference(value, new[key], f"{where}.{key}" if where else str(key)) for key, value in old.items())
        return next((one for one in found if one is not None), None)
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        found = (difference(a, b, f"{where}[{number}]") for number, (a, b) in enumerate(zip(old, new, strict=True)))
        return next((one for one in found if one is not None), None)
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        same = old.dtype == new.dtype and old.shape == new.shape and old.tobytes() == new.tobytes()
        return None if same else f"{where}: arrays differ"
    return None if old == new else f"{where}: {str(old)[:60]} | {str(new)[:60]}"


def compared(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, int, str | None]]:
    """Name, number of values and difference of everything that is compared."""
    rows = []
    for name, before in old.items():
        after = new[name]
        if name == "fingerprint":  # facts that steered nothing may be gone
            before = {key: value for key, value in before.items() if key in after}
            after = {key: value for key, value in after.items() if key in before}
        if name in ("scores", "check"):
            before, after = _without_paths(before), _without_paths(after)
        rows.append((name, len(before), difference(before, after)))
    return rows


def _without_paths(content: dict[str, Any]) -> dict[str, Any]:
    """Without what names the folder of the run, says when it was made or how long it took, or is new."""
    left_out = ("run", "report", "page", "out", "evaluated", "refinements")
    return {key: value for key, value in content.items() if key not in left_out and "seconds" not in key}


def subset(data: Path, images: int, to: Path) -> Path:
    """A copy of the first images of a folder, with their masks and whatever else belongs to them."""
    to.mkdir(parents=True)
    for file in data.glob("*.*"):
        if file.is_file():
            shutil.copy(file, to)
    for name in FOLDERS:
        if (data / name).is_dir():
            (to / name).mkdir()
            for file in sorted((data / name).iterdir())[:images]:
                shutil.copy(file, to / name)
    return to


def main() -> int:
    """Compare, print the table, and say whether all is the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("data", type=Path, nargs="*")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()
    differs = False
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder)
        if options.data:
            sets = {
                f"{path.parent.name}/{path.name}": subset(path, options.images, temporary / "data" / str(number))
                for number, path in enumerate(options.data)
            }
        else:
            run(options.old.resolve(), temporary, "demo", "--images-only", "--out", temporary / "made")
            made = sorted(path.parent for path in (temporary / "made").rglob("train/images"))
            sets = {
                path.parent.name: subset(path, options.images, temporary / "data" / path.parent.name) for path in made
            }
        print(f"{'data':<16} {'compared':<12} {'values':>7}  difference")
        for number, (title, data) in enumerate(sets.items()):
            old, new = (
                results(src.resolve(), temporary / side / str(number), data, options.steps)
                for side, src in (("old", options.old), ("new", options.new))
            )
            for name, count, found in compared(old, new):
                differs |= found is not None
                print(f"{title:<16} {name:<12} {count:>7}  {found or 'none'}", flush=True)
    return int(differs)


if __name__ == "__main__":
    sys.exit(main())

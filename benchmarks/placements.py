"""How often `check` says that a mask is shifted, flipped or of another image: of clean masks, and of planted ones.

    python benchmarks/placements.py [--count 400] [--source ../older/src] [--json FILE]

Five kinds of generated sets, three of which fit their images weakly where they lie: faint cracks beside lines of paint,
roads among roofs, rings of myelin; streets and cells fit well. Each set is checked clean; with every tenth mask shifted
by 4 pixels; and with every tenth mask flipped. `maskwright check` runs as a program, so that an older state of the
sources can be held beside this one. Exit status 1 if more than one clean mask in 500 is named.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

MISPLACED = frozenset({"shifted-mask", "turned-mask", "unrelated-mask", "shifted-masks"})
SIZE = (192, 256)
"""Not reduced by the check, so that 4 pixels are beyond the two that count as play."""
EVERY = 10
SHIFT = 4
Picture = tuple[np.ndarray, np.ndarray]


def cracks(seed: int) -> Picture:
    """Thin dark cracks, fainter than the grain at times, on a road with two lines of paint."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    ground = 110 + cv2.GaussianBlur(rng.normal(0, 12, SIZE), (0, 0), 1.5) + rng.normal(0, 4, SIZE)
    left = int(rng.integers(30, 70))
    for row in range(height):
        for column in (left + row // 6, width - left - row // 6):
            ground[row, column : column + 6] = 215 + rng.normal(0, 4)
    mask = np.zeros(SIZE, np.uint8)
    for _ in range(int(rng.integers(1, 3))):
        points = np.cumsum(rng.normal((0, 3), (2.5, 1), (90, 2)), 0) + np.array([rng.integers(40, height - 40), 20])
        line = np.rint(points[:, ::-1]).astype(np.int32)
        cv2.polylines(mask, [line], False, 1, 2)
    ground[mask > 0] -= rng.uniform(8, 22)
    # Drawn by hand, a little wider than what is seen.
    return _grey(ground), cv2.dilate(mask, np.ones((3, 3), np.uint8))


def roads(seed: int) -> Picture:
    """A road that is hardly brighter than the fields, among roofs with hard edges, that the mask does not know."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    ground = 95 + cv2.GaussianBlur(rng.normal(0, 60, SIZE), (0, 0), 6) + rng.normal(0, 6, SIZE)
    mask = np.zeros(SIZE, np.uint8)
    start, bend = rng.integers(40, height - 40), rng.normal(0, 0.25)
    line = [(x, int(start + bend * x + 14 * np.sin(x / rng.uniform(35, 60)))) for x in range(-5, width + 5, 8)]
    cv2.polylines(mask, [np.array(line, np.int32)], False, 1, int(rng.integers(9, 15)))
    ground[mask > 0] += rng.uniform(12, 25)
    for _ in range(16):
        top, left = int(rng.integers(0, height - 30)), int(rng.integers(0, width - 30))
        roof = (slice(top, top + int(rng.integers(12, 28))), slice(left, left + int(rng.integers(12, 28))))
        if not mask[roof].any():
            ground[roof] = rng.uniform(40, 230)
    return _grey(ground), mask


def rings(seed: int) -> Picture:
    """Dark rings of several sizes, as myelin has them; the mask is the ring, drawn smoother than it is."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    y, x = np.mgrid[:height, :width]
    ground = 150 + cv2.GaussianBlur(rng.normal(0, 40, SIZE), (0, 0), 3) + rng.normal(0, 8, SIZE)
    mask = np.zeros(SIZE, np.uint8)
    for cy in range(30, height - 20, 42):
        for cx in range(30, width - 20, 42):
            cy_, cx_ = cy + rng.integers(-5, 6), cx + rng.integers(-5, 6)
            outer = rng.uniform(10, 18)
            distance = np.hypot((y - cy_) * rng.uniform(0.9, 1.1), x - cx_) + 2 * np.sin(
                3 * np.arctan2(y - cy_, x - cx_)
            )
            ring = (distance < outer) & (distance > 0.62 * outer)
            ground[ring] -= rng.uniform(25, 70)
            plain = np.hypot(y - cy_, x - cx_)
            mask[(plain < outer) & (plain > 0.62 * outer)] = 1
    return _grey(cv2.GaussianBlur(ground, (0, 0), 1.2)), mask


def _grey(pixels: np.ndarray) -> np.ndarray:
    clipped: np.ndarray = np.clip(pixels, 0, 255).astype(np.uint8)
    return clipped


def _generated(kind: str) -> Callable[[int], Picture]:
    def draw(seed: int) -> Picture:
        from maskwright.synthetic import scene

        return scene(kind, seed, SIZE)

    return draw


KINDS: dict[str, Callable[[int], Picture]] = {
    "cracks": cracks, "roads": roads, "rings": rings, "streets": _generated("street"), "cells": _generated("cells"),
}  # fmt: skip


def moved(mask: np.ndarray, seed: int) -> np.ndarray:
    """A mask 4 pixels off, along one of eight directions; its edge is repeated."""
    down, right = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)][seed % 8]
    padded = np.pad(mask, SHIFT, mode="edge")
    top, left = SHIFT - SHIFT * down, SHIFT - SHIFT * right
    found: np.ndarray = padded[top : top + mask.shape[0], left : left + mask.shape[1]]
    return found


def flipped(mask: np.ndarray, seed: int) -> np.ndarray:
    """A mask flipped left to right, or upside down."""
    return np.ascontiguousarray(mask[:, ::-1] if seed % 2 else mask[::-1])


def write(folder: Path, pairs: list[Picture], change: Callable[[np.ndarray, int], np.ndarray] | None) -> None:
    """Images and masks; every tenth mask changed."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index, (image, mask) in enumerate(pairs):
        if change is not None and index % EVERY == 0:
            mask = change(mask, index // EVERY)
        Image.fromarray(image.squeeze()).save(folder / f"images/p{index:04}.png", compress_level=1)
        Image.fromarray(mask).save(folder / f"masks/p{index:04}.png", compress_level=1)


def named(folder: Path, source: Path | None) -> set[int]:
    """Numbers of the masks that `check` names as misplaced."""
    environment = os.environ | ({"PYTHONPATH": str(source.resolve())} if source else {})
    command = [sys.executable, "-m", "maskwright", "check", str(folder), "--out", str(folder / "report"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    found = json.loads(done.stdout)
    masks = {
        Path(path).stem
        for problem in found["problems"]
        if problem["kind"] in MISPLACED
        for path in (problem["files"] if problem["kind"] == "shifted-masks" else problem["files"][:1])
    }
    return {int(stem[1:]) for stem in masks}


def rates(kind: str, count: int, source: Path | None) -> dict[str, int | str]:
    """Of clean masks those named; of shifted and flipped ones those found, and of the masks beside them those named."""
    pairs = [KINDS[kind](seed) for seed in range(count)]
    planted = set(range(0, count, EVERY))
    row: dict[str, int | str] = {"kind": kind, "masks": count, "planted": len(planted)}
    with tempfile.TemporaryDirectory() as place:
        for name, change in (("clean", None), ("shifted", moved), ("flipped", flipped)):
            folder = Path(place) / name
            write(folder, pairs, change)
            found = named(folder, source)
            row[name] = len(found) if change is None else len(found & planted)
            row[f"beside {name}"] = 0 if change is None else len(found - planted)
    return row


def main() -> int:
    """Print the rates of all kinds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400, help="masks of each kind")
    parser.add_argument("--only", nargs="*", choices=list(KINDS))
    parser.add_argument("--source", type=Path, help="folder of other sources of Maskwright")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    print("kind      masks   clean: named   shifted: found   flipped: found   beside them: named")
    for kind in options.only or KINDS:
        row = rates(kind, options.count, options.source)
        rows.append(row)
        beside = int(row["beside shifted"]) + int(row["beside flipped"])
        found = [f"{row[name]:6} of {row['planted']:3}" for name in ("shifted", "flipped")]
        print(f"{kind:8} {row['masks']:6} {row['clean']:14} {found[0]:>16} {found[1]:>16} {beside:20}", flush=True)
    wrong, clean = sum(int(row["clean"]) for row in rows), sum(int(row["masks"]) for row in rows)
    print(f"{wrong} of {clean} clean masks named; at most 1 in 500 may be")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(500 * wrong > clean)


if __name__ == "__main__":
    sys.exit(main())

"""How good are masks from a few strokes, beside scikit-image's features with a forest, and how soon are they there?

Strokes are drawn by a program: pieces of a class's skeleton, with jitter and a width of 1 to 5 pixels, 20 per class
spread over the training images. Both sides get the same ones, and are scored on the same random pixels of each test
image.

    python benchmarks/scribbles.py accuracy DATA --set isbi --results results.json
    python benchmarks/scribbles.py train DATA --set isbi --results results.json      # four minutes a set
    python benchmarks/scribbles.py speed --results results.json                      # on an idle machine

DATA holds a folder for each set, with `train/` and `test/` (or `val/`). Needs the extra `forest`. What is in the
results already is not computed again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from skimage.feature import multiscale_basic_features
from skimage.morphology import skeletonize

from maskwright.datasets.classes import UNLABELLED
from maskwright.datasets.formats import open_dataset
from maskwright.datasets.samples import Dataset
from maskwright.evaluate.metrics import Scores, confusion
from maskwright.pixels import maps
from maskwright.pixels.classifier import CANDIDATES, PixelClassifier
from maskwright.pixels.mlp import PixelMlp
from maskwright.pixels.model import MapCache
from maskwright.pixels.sources import TILE, Source
from maskwright.pixels.strokes import Stroke

SETS = ("isbi", "dsb2018", "drive", "camvid")
PER_CLASS = 20
SCORED = 10_000
"""Pixels of each test image."""
SMALLEST = 30
"""Pixels of a class that an image must have to get a stroke of it."""
Read = Callable[[str], np.ndarray]


def draw_stroke(truth: np.ndarray, label: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a stroke along the skeleton of one piece of a class."""
    mask = truth == label
    rows, columns = np.nonzero(mask)
    pick = rng.integers(len(rows))
    pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1]
    piece = pieces == pieces[rows[pick], columns[pick]]
    skeleton = skeletonize(piece)  # type: ignore[no-untyped-call]
    half = cv2.distanceTransform(np.pad(piece, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    on = np.argwhere(skeleton)
    start = on[((on - (rows[pick], columns[pick])) ** 2).sum(1).argmin()]
    path = np.array(_walk(skeleton, (int(start[0]), int(start[1])), int(rng.integers(15, 60)), rng))
    room = half[path[:, 0], path[:, 1]]
    wobble = np.stack([np.convolve(np.pad(one, 4, mode="edge"), np.ones(9) / 3, "valid")
                       for one in rng.normal(size=(2, len(path)))], 1)  # fmt: skip
    line = path + wobble * np.minimum(0.3 * room, 2)[:, None]
    width = int(np.clip(min(rng.integers(1, 6), np.median(room)), 1, 5))
    canvas = np.zeros(truth.shape, np.uint8)
    cv2.polylines(canvas, [np.rint(line[:, ::-1]).astype(np.int32)], False, 1, width)
    canvas[truth == UNLABELLED] = 0
    found = np.nonzero(canvas)
    return found[0], found[1]


def _walk(skeleton: np.ndarray, start: tuple[int, int], length: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Places along a skeleton, straight on where it branches."""
    path, seen = [start], {start}
    around = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right]
    while len(path) < length:
        row, column = path[-1]
        inside = np.array(skeleton.shape)
        near = [
            (row + down, column + right)
            for down, right in around
            if (row + down, column + right) not in seen
            and 0 <= row + down < inside[0] and 0 <= column + right < inside[1]
            and skeleton[row + down, column + right]
        ]  # fmt: skip
        if not near:
            break
        if len(path) == 1:
            step = near[rng.integers(len(near))]
        else:
            ahead = np.subtract(path[-1], path[max(0, len(path) - 4)])
            step = max(near, key=lambda place: float(np.dot(ahead, np.subtract(place, path[-1]))))
        path.append(step)
        seen.add(step)
    return path


def draw_strokes(data: Dataset, seed: int) -> list[Stroke]:
    """PER_CLASS strokes of each class, over images in random order."""
    rng = np.random.default_rng(seed)
    strokes: list[Stroke] = []
    truths: dict[int, np.ndarray] = {}
    for label in range(len(data.classes)):
        order = rng.permutation(len(data.samples))
        count = place = 0
        while count < PER_CLASS:
            sample = int(order[place % len(order)])
            place += 1
            if sample not in truths:
                pair = data.read(data.samples[sample])
                truths[sample] = np.where(pair.valid, pair.mask, UNLABELLED) if pair.valid is not None else pair.mask
            if (truths[sample] == label).sum() < SMALLEST:
                continue
            rows, columns = draw_stroke(truths[sample], label, rng)
            if len(rows) >= 5:
                strokes.append(Stroke(image=data.samples[sample].id, label=label, rows=rows, columns=columns))
                count += 1
    return strokes


def peer_features(image: np.ndarray) -> np.ndarray:
    """scikit-image's, with its defaults: `H x W x D`."""
    grey = image.shape[2] == 1
    found = multiscale_basic_features(  # type: ignore[no-untyped-call]
        image[..., 0] if grey else image, channel_axis=None if grey else -1, workers=2
    )
    return np.asarray(found, np.float32)


def peer_forest(features: np.ndarray, labels: np.ndarray) -> Any:
    """A hundred trees, with scikit-learn's defaults."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(100, n_jobs=2, random_state=0).fit(features, labels)


def opened(root: Path, name: str) -> tuple[Dataset, Dataset]:
    """Training and test samples of a set."""
    test = next(root / name / part for part in ("test", "val") if (root / name / part).is_dir())
    return open_dataset(root / name / "train"), open_dataset(test)


def accuracy(root: Path, name: str, seeds: Sequence[int], done: dict[str, Any], keep: Callable[[], None]) -> None:
    """Score ours, with each set of features, and the peer; all seeds that are missing."""
    missing = [seed for seed in seeds if str(seed) not in done]
    if not missing:
        return
    train, test = opened(root, name)
    by_id = {sample.id: sample for sample in train.samples}
    cache: dict[str, np.ndarray] = {}

    def read(image: str) -> np.ndarray:
        if image not in cache:
            cache[image] = train.read(by_id[image]).image
        return cache[image]

    strokes = {seed: draw_strokes(train, seed) for seed in missing}
    heads: dict[tuple[int, str], PixelMlp] = {}
    facts: dict[int, dict[str, Any]] = {}
    shared = PixelClassifier(len(train.classes), read)
    for seed in missing:
        classifier = PixelClassifier(len(train.classes), read, seed=seed)
        classifier._known = shared._known  # features of strokes; an image is decoded and filtered for all seeds at once
        if not facts:
            classifier._pixels([one for some in strokes.values() for one in some], "local+encoder")
        started = time.perf_counter()
        judged = classifier.choose(strokes[seed])
        facts[seed] = {
            "chosen": classifier.features,
            "held_out": {one.features: one.score for one in judged},
            "choose_seconds": time.perf_counter() - started,
        }
        for one in judged:
            classifier.features = one.features  # type: ignore[assignment]
            head = classifier.learn(strokes[seed]).head
            assert isinstance(head, PixelMlp)
            heads[seed, one.features] = head
    forests = dict(zip(missing, _peer_forests([strokes[seed] for seed in missing], read), strict=True))
    counts: dict[tuple[int, str], Any] = {}
    classes = len(train.classes)
    sources = classifier._made("local+encoder")
    for place, sample in enumerate(test.samples):
        pair = test.read(sample)
        truth = np.where(pair.valid, pair.mask, UNLABELLED) if pair.valid is not None else pair.mask
        labelled = np.flatnonzero(truth != UNLABELLED)
        chosen = np.sort(np.random.default_rng(place).choice(labelled, min(SCORED, len(labelled)), replace=False))
        own = np.asarray(truth.ravel()[chosen])[None]
        peer = peer_features(pair.image).reshape(truth.size, -1)[chosen]
        local, encoder = (features_at(source, pair.image, chosen) for source in sources)
        given = {"local": local, "encoder": encoder, "local+encoder": torch.cat([local, encoder], 1)}
        found = {key: head.logits(head.standard(given[key[1]]))[0].argmax(0).numpy() for key, head in heads.items()} | {
            (seed, "peer"): forest.predict(peer) for seed, forest in forests.items()
        }
        for key, predicted in found.items():
            counts[key] = counts.get(key, 0) + confusion(own, predicted[None].astype(np.uint8), classes)
    for seed in missing:
        facts[seed]["miou"] = {
            what: Scores.from_confusion(one).miou for (own_seed, what), one in counts.items() if own_seed == seed
        }
        done[str(seed)] = facts[seed]
    keep()


def features_at(source: Source, image: np.ndarray, chosen: np.ndarray) -> torch.Tensor:
    """Features at some pixels of an image, given by their places in a row of all of them."""
    rows, columns = (torch.from_numpy(places) for places in np.divmod(chosen, image.shape[1]))
    cache, found = MapCache(), torch.empty(0)
    tile = rows // TILE * image.shape[1] + columns // TILE
    for one in tile.unique():
        (own,) = torch.nonzero(tile == one, as_tuple=True)
        top, left = int(rows[own[0]]) // TILE * TILE, int(columns[own[0]]) // TILE * TILE
        values = maps.read(cache.tile(0, image, [source], top, left), rows[own] - top, columns[own] - left)
        found = torch.empty(len(chosen), values.shape[1]) if not len(found) else found
        found[own] = values
    return found


def _peer_forests(strokes: Sequence[Sequence[Stroke]], read: Read) -> Iterator[Any]:
    features: dict[int, np.ndarray] = {}
    for image in sorted({one.image for some in strokes for one in some}):
        whole = peer_features(read(image))
        features |= {id(one): whole[one.rows, one.columns] for some in strokes for one in some if one.image == image}
    for some in strokes:
        labels = np.concatenate([np.full(len(one.rows), one.label) for one in some])
        yield peer_forest(np.concatenate([features[id(one)] for one in some]), labels)


def train_on_masks(root: Path, name: str, seed: int, minutes: float) -> dict[str, float]:
    """The classifier's score on the test images, and that of a network trained on its confident masks and strokes."""
    from maskwright.imaging.decoders import Window
    from maskwright.imaging.writing import write_picture
    from maskwright.label.patches import KEEP, Patch, encode
    from maskwright.label.store import Project

    train, test = opened(root, name)
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        folder = home / "project"
        for sample in train.samples:
            pixels = train.read(sample).image
            write_picture(folder / "images" / f"{sample.id}.png", pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        # Indices as values: a set of 0 and 255 has a class where a project has what is unlabelled.
        with Project(folder, classes=train.classes.names, pause=None) as project:
            for stroke in draw_strokes(train, seed):
                state = project.image(stroke.image)
                cells = np.full(state.shape, KEEP, np.uint16)
                cells[stroke.rows, stroke.columns] = stroke.label
                project.apply(
                    Patch(image=stroke.image, base=state.revision, author="benchmark", seconds=1.0,
                          box=Window(0, 0, *state.shape), payload=encode(cells))
                )  # fmt: skip
        run(["scribbles", "train", folder, "--out", home / "model", "--accept-above", "0.95", "--seed", str(seed)])
        run(["train", folder, "--minutes", f"{minutes:g}", "--seed", str(seed), "--out", home / "run"])
        found = {what: score(home / place, test) for what, place in (("classifier", "model"), ("network", "run"))}
    return {**found, "minutes": minutes}


def score(model: Path, test: Dataset) -> float:
    """The mIoU of a model over all pixels of a set whose classes have the same order."""
    from maskwright import Predictor

    predictor = Predictor.load(model)
    counts: Any = 0
    for sample in test.samples:
        pair = test.read(sample)
        counts = counts + confusion(pair.mask, predictor(pair.image, pair.valid).mask, len(test.classes))
    return Scores.from_confusion(counts).miou


def run(words: Sequence[str | Path]) -> None:
    """Run a verb, whatever it finds; raises RuntimeError with what it says where it does not do it."""
    told = subprocess.run(
        [sys.executable, "-m", "maskwright", *map(str, words)], check=False, capture_output=True, text=True
    )
    if told.returncode not in (0, 1):
        raise RuntimeError(told.stderr)


def speed(repeats: int = 15) -> dict[str, float]:
    """Seconds of a live session on a generated street of 1920 x 1080 pixels, and of the peer on the same view."""
    from maskwright.synthetic import class_table, scene

    image, mask = scene("street", 0, (1080, 1920))
    classes = len(class_table("street"))
    rng = np.random.default_rng(0)
    present = [label for label in range(classes) if (mask == label).sum() > 1000]
    strokes = [
        Stroke(image="street", label=label, rows=rows, columns=columns)
        for _ in range(PER_CLASS)
        for label in present
        for rows, columns in [draw_stroke(mask, label, rng)]
    ]
    tiles = [(top, left) for top in range(0, 1080, TILE) for left in range(0, 1920, TILE)]
    found: dict[str, float] = {"threads": torch.get_num_threads(), "strokes": len(strokes)}
    for features in CANDIDATES:
        classifier = PixelClassifier(classes, lambda _: image, features=features, memory=4 << 30)
        started = time.perf_counter()
        classifier.learn(strokes[:-repeats])
        classifier.paint("street", *tiles[0])
        found[f"{features}: opened and first tile"] = time.perf_counter() - started
        list(classifier.paint_view("street", tiles))
        found[f"{features}: opened and view"] = time.perf_counter() - started
        first, view = [], []
        for count in range(len(strokes) - repeats, len(strokes)):
            started = time.perf_counter()
            classifier.learn(strokes[: count + 1])
            classifier.paint("street", *tiles[count % len(tiles)])
            first.append(time.perf_counter() - started)
            list(classifier.paint_view("street", tiles))
            view.append(time.perf_counter() - started)
        found[f"{features}: new stroke to first tile"] = statistics.median(first)
        found[f"{features}: new stroke to view"] = statistics.median(view)
    started = time.perf_counter()
    whole = peer_features(image)
    labels = np.concatenate([np.full(len(one.rows), one.label) for one in strokes])
    computed = time.perf_counter()
    forest = peer_forest(np.concatenate([whole[one.rows, one.columns] for one in strokes]), labels)
    forest.predict_proba(whole.reshape(-1, whole.shape[2]))
    found["peer: opened and view"] = time.perf_counter() - started
    found["peer: new stroke to view"] = time.perf_counter() - computed
    return found


def main() -> None:
    """Read the command line, compute what is missing, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("accuracy", "train", "speed"))
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--set", dest="sets", action="append", choices=SETS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = json.loads(given.results.read_text()) if given.results.is_file() else {}

    def keep() -> None:
        given.results.write_text(json.dumps(found, indent=1) + "\n")

    part = found.setdefault(given.part, {})
    if given.part == "speed":
        threads = len(os.sched_getaffinity(0))
        torch.set_num_threads(threads)
        part[f"{threads} cores"] = speed()
        keep()
    for name in (given.sets or SETS) if given.part != "speed" else ():
        done = part.setdefault(name, {})
        if given.part == "accuracy":
            accuracy(given.data, name, range(given.seeds), done, keep)
        else:
            for seed in range(given.seeds):
                if str(seed) not in done:
                    done[str(seed)] = train_on_masks(given.data, name, seed, given.minutes)
                    keep()
    print(json.dumps(part, indent=1) if given.json else table(given.part, part))


def table(part: str, found: dict[str, Any]) -> str:
    """What was found, as lines."""
    lines = []
    for name, done in found.items():
        if part == "speed":
            lines += [f"{name}  {what}: {seconds:.3f}" for what, seconds in done.items()]
        elif part == "train":
            lines += [f"{name} {seed}: classifier {one['classifier']:.3f}, network {one['network']:.3f}"
                      for seed, one in done.items()]  # fmt: skip
        elif done:
            kinds = list(next(iter(done.values()))["miou"])
            means = {kind: statistics.mean(one["miou"][kind] for one in done.values()) for kind in kinds}
            means["chosen"] = statistics.mean(one["miou"][one["chosen"]] for one in done.values())
            own = [kind for kind in kinds if kind != "peer"]
            held = {kind: statistics.mean(one["held_out"][kind] for one in done.values()) for kind in own}
            chosen = ", ".join(one["chosen"] for one in done.values())
            lines.append(f"{name}: " + ", ".join(f"{kind} {value:.3f}" for kind, value in means.items()))
            lines.append(f"{name}, left out: " + ", ".join(f"{kind} {value:.3f}" for kind, value in held.items()))
            lines.append(f"{name}, chosen: {chosen}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

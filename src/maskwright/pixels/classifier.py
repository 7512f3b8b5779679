"""The live pixel classifier: it learns strokes as they come, and paints tiles.

    classifier = PixelClassifier(classes=3, read=images.__getitem__)
    classifier.choose(strokes)          # which features suit them; a few seconds
    classifier.learn(strokes)           # goes on from what it has learnt before: a tenth of a second
    classifier.paint("cell-07", 0, 256) # the probabilities of a tile, 3 x 256 x 256

Whoever shows it live calls `learn` after each stroke and then `paint` for the tiles that are seen, from any thread:
`paint` uses what was learnt last, as a whole.

Shapes: N pixels, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import RLock
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch

from maskwright.errors import DataError, SettingError
from maskwright.pixels import maps
from maskwright.pixels.choice import HeldOut, held_out
from maskwright.pixels.mlp import WARM_RATE, PixelMlp
from maskwright.pixels.model import MEMORY, Head, MapCache, PixelModel
from maskwright.pixels.sources import TILE, Network, Range, Source, make_source
from maskwright.pixels.strokes import Stroke, chances

Features = Literal["local", "encoder", "local+encoder", "network"]
CANDIDATES: tuple[Features, ...] = ("local", "encoder", "local+encoder")
STEPS = 100
"""Of the first training, and of one after other features are chosen."""
WARM_STEPS = 25
JOINED = 0.05
"""By how much both sets of features must predict left-out strokes better than one: on new images they do worse."""
RANGED = 8
"""Images by which the range of values is found."""


class PixelClassifier:
    """Learns classes from strokes. Any thread may use it.

    Parameters
    ----------
    classes
        K.
    read
        Gives an image by its name, `H x W x C` in native values; the same array each time, or as quickly.
    features
        What to learn from.
    network
        A trained network, for the features "network".
    forest
        Whether a random forest learns, not a small network; it takes seconds (extra `forest`).
    memory
        Bytes of features that are kept.
    seed
        Of first weights and of the pixels that are drawn.
    """

    def __init__(
        self, classes: int, read: Callable[[str], np.ndarray], *, features: Features = "local",
        network: Network | None = None, forest: bool = False, memory: int = MEMORY, seed: int = 0,
    ) -> None:  # fmt: skip
        if features == "network" and network is None:
            raise SettingError('features = "network" needs a trained network.', remedy="Name a run, or other features.")
        self.classes, self.read, self.seed, self.forest = classes, read, seed, forest
        self.features: Features = features
        self.values: Range | None = None
        self.model: PixelModel | None = None
        self.temperature = 1.0
        self._network = network
        self._sources: dict[str, Source] = {}
        self._cache = MapCache(memory)
        self._known: WeakKeyDictionary[Stroke, dict[str, torch.Tensor]] = WeakKeyDictionary()
        self._learnt: tuple[Features, Head] | None = None
        self._lock = RLock()

    def learn(self, strokes: Sequence[Stroke]) -> PixelModel:
        """Learn all strokes there are; what was learnt before is where it begins.

        Raises DataError if they are of less than two classes.
        """
        with self._lock:
            _check(strokes, self.classes)
            features_ND, target_N, chance_N = self._pixels(strokes, self.features)
            head: Head
            if self.forest:
                from maskwright.pixels.forest import fit_forest

                head = fit_forest(features_ND, target_N, chance_N, self.classes, seed=self.seed)
            else:
                head = self._trained(features_ND, target_N, chance_N)
            self._learnt = (self.features, head)
            self.model = PixelModel(self._made(self.features), head, self.classes)
            return self.model

    def choose(self, strokes: Sequence[Stroke]) -> tuple[HeldOut, ...]:
        """Judge each set of features by leaving strokes out, take the best, and return all, the best first.

        Raises DataError if strokes are of less than two classes.
        """
        with self._lock:
            _check(strokes, self.classes)
            candidates = (*CANDIDATES, "network") if self._network is not None else CANDIDATES
            judged = [self.judge(strokes, one) for one in candidates]
            handicap = {"local+encoder": JOINED}
            best = sorted(judged, key=lambda one: handicap.get(one.features, 0.0) - np.nan_to_num(one.score))
            self.features = best[0].features  # type: ignore[assignment]
            return tuple(best)

    def judge(self, strokes: Sequence[Stroke], features: Features) -> HeldOut:
        """Judge one set of features by leaving strokes out; the network's probabilities are softened as it says."""
        with self._lock:
            counts = [len(one.learnt[0]) for one in strokes]
            features_ND = self._pixels(strokes, features)[0]
            return held_out(features, features_ND, strokes, counts, self.classes, self.seed)

    def paint(self, image: str, top: int, left: int) -> np.ndarray:
        """The probabilities of a tile: float32 `K x h x w`, TILE pixels along an edge, less at the image's end.

        `top` and `left` are multiples of TILE. Raises DataError if nothing was learnt.
        """
        return self._ready().paint(image, self.read(image), top, left, self._cache)

    def paint_view(
        self, image: str, tiles: Iterable[tuple[int, int]], workers: int | None = None
    ) -> Iterator[tuple[int, int, np.ndarray]]:
        """Paint several tiles, in their order, as `PixelModel.paint_all` does: those at the centre of the view first.

        Stop taking them when a new stroke comes. Raises DataError if nothing was learnt.
        """
        return self._ready().paint_all(image, self.read(image), tiles, self._cache, workers)

    def _ready(self) -> PixelModel:
        if self.model is None:
            raise DataError("Nothing was learnt yet.", expected="Expected strokes of two classes.")
        return self.model

    def _trained(self, features_ND: torch.Tensor, target_N: torch.Tensor, chance_N: torch.Tensor) -> PixelMlp:
        before = self._learnt
        if before is not None and before[0] == self.features and isinstance(before[1], PixelMlp):
            network = before[1].copy()
            network.fit(features_ND, target_N, chance_N, steps=WARM_STEPS, seed=self.seed, rate=WARM_RATE)
        else:
            network = PixelMlp.begin(features_ND, self.classes, seed=self.seed)
            network.fit(features_ND, target_N, chance_N, steps=STEPS, seed=self.seed)
        network.temperature = self.temperature
        return network

    def _pixels(self, strokes: Sequence[Stroke], features: Features) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Features, classes and chances of the strokes' pixels; those of known strokes are not computed again."""
        self._made(features, strokes)
        by_image = sorted(strokes, key=lambda one: one.image)
        for stroke in by_image:
            known = self._known.setdefault(stroke, {})
            for name in features.split("+"):
                if name not in known:
                    known[name] = self._read(stroke, self._sources[name])
        parts = [torch.cat([self._known[one][name] for name in features.split("+")], 1) for one in strokes]
        counts = torch.tensor([len(one) for one in parts])
        label_S = torch.tensor([one.label for one in strokes])
        chance_S = torch.from_numpy(chances(strokes))
        return torch.cat(parts), label_S.repeat_interleave(counts), chance_S.repeat_interleave(counts)

    def _read(self, stroke: Stroke, source: Source) -> torch.Tensor:
        """The features of a stroke's pixels, from the tiles that it touches."""
        image = self.read(stroke.image)
        rows_N, columns_N = (torch.from_numpy(np.asarray(places, np.int64)) for places in stroke.learnt)
        tile_N = rows_N // TILE * image.shape[1] + columns_N // TILE
        found: torch.Tensor | None = None
        for tile in tile_N.unique():
            own_N = (tile_N == tile).nonzero()[:, 0]
            top, left = (int(places_N[own_N[0]]) // TILE * TILE for places_N in (rows_N, columns_N))
            tile_maps = self._cache.tile(stroke.image, image, [source], top, left)
            read_nD = maps.read(tile_maps, rows_N[own_N] - top, columns_N[own_N] - left)
            found = torch.empty(len(rows_N), read_nD.shape[1]) if found is None else found
            found[own_N] = read_nD
        assert found is not None
        return found

    def _made(self, features: Features, strokes: Sequence[Stroke] = ()) -> list[Source]:
        """The sources of these features; the range of values is that of the first images that hold strokes."""
        if self.values is None:
            names = sorted({one.image for one in strokes})[:RANGED]
            self.values = Range.of([self.read(name) for name in names])
        for name in features.split("+"):
            if name not in self._sources:
                self._sources[name] = make_source(name, self.values, self._network)
        return [self._sources[name] for name in features.split("+")]


def _check(strokes: Sequence[Stroke], classes: int) -> None:
    labels = {one.label for one in strokes}
    if len(labels) < 2 or not labels <= set(range(classes)):
        raise DataError(
            f"The strokes are of {len(labels)} class(es): {sorted(labels)}.",
            expected=f"Expected strokes of at least two of the classes 0 to {classes - 1}.",
            remedy="Paint a little of another class, too.",
        )

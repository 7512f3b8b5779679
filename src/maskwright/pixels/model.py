"""A pixel classifier that has learnt: features from sources, and a small network or a forest that reads them.

Shapes: C channels, K classes, H, W height and width in pixels, S pixels along a tile.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Protocol

import numpy as np
import torch

from maskwright.pixels import maps
from maskwright.pixels.maps import MARGIN, Map, Maps
from maskwright.pixels.sources import TILE, Source

MEMORY = 512 << 20
"""Bytes of features that a cache keeps."""


class Head(Protocol):
    """What gives probabilities from features."""

    def probabilities(self, maps: Maps) -> torch.Tensor:
        """The maps of a tile -> float32 `K x S x S`."""
        ...


class MapCache:
    """Features of blocks, the latest `memory` bytes of them. Any thread may use it.

    They stay in memory: reading a tile's features from a disk takes as long as computing them.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self.memory = memory
        self._found: OrderedDict[Hashable, Maps] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()
        self._computing: dict[Hashable, Lock] = {}
        """Of blocks that are computed now: two threads that want one block compute it once."""

    def tile(self, key: Hashable, image: np.ndarray, sources: Sequence[Source], top: int, left: int) -> Maps:
        """The maps of the tile at (top, left), from all sources; `key` stands for the image."""
        return tuple(one for source in sources for one in self._tile(key, image, source, top, left))

    def _tile(self, key: Hashable, image: np.ndarray, source: Source, top: int, left: int) -> Iterator[Map]:
        side = source.block((image.shape[0], image.shape[1]))
        row, column = top // side * side, left // side * side
        block = self._block((key, source.name, row, column), image, source, row, column, side)
        for stride, values_Dhw in block:
            down, right = (top - row) // stride, (left - column) // stride
            long = TILE // stride + (2 * MARGIN if stride > 1 else 0)
            yield Map(stride, values_Dhw[:, down : down + long, right : right + long])

    def _block(self, own: Hashable, image: np.ndarray, source: Source, row: int, column: int, side: int) -> Maps:
        with self._lock:
            computing = self._computing.setdefault(own, Lock())
        with computing:
            with self._lock:
                if own in self._found:
                    self._found.move_to_end(own)
                    return self._found[own]
            computed = source.maps(image, row, column, side)
            with self._lock:
                self._found[own] = computed
                self._bytes += maps.size(computed)
                while self._bytes > self.memory and len(self._found) > 1:
                    self._bytes -= maps.size(self._found.popitem(last=False)[1])
                self._computing.pop(own, None)
        return computed


class PixelModel:
    """Probabilities of classes for every pixel of an image.

    Parameters
    ----------
    sources
        What gives features, in the order that the head was trained with.
    head
        What reads them.
    classes
        K.
    """

    def __init__(self, sources: Sequence[Source], head: Head, classes: int) -> None:
        self.sources, self.head, self.classes = tuple(sources), head, classes

    def paint(self, key: Hashable, image: np.ndarray, top: int, left: int, cache: MapCache) -> np.ndarray:
        """The probabilities of a tile (TILE pixels along an edge, less at the image's end), float32 `K x h x w`.

        Parameters
        ----------
        key
            What the cache knows the image by.
        image
            `H x W x C` in native values.
        top, left
            The tile's first pixel, multiples of TILE.
        cache
            Of features.
        """
        with torch.no_grad():
            found_KSS = self.head.probabilities(cache.tile(key, image, self.sources, top, left))
        height, width = image.shape[0] - top, image.shape[1] - left
        painted: np.ndarray = found_KSS[:, :height, :width].numpy()
        return painted

    def paint_all(
        self, key: Hashable, image: np.ndarray, places: Iterable[tuple[int, int]], cache: MapCache, workers: int | None
    ) -> Iterator[tuple[int, int, np.ndarray]]:
        """Paint tiles in their order; each comes with its first row and column as soon as it is done.

        `workers` threads work, by default as many as torch's, and never far ahead of what is taken; what was not begun
        when taking ends is dropped.
        """
        workers = workers or torch.get_num_threads()
        waiting: deque[tuple[int, int, Future[np.ndarray]]] = deque()
        with ThreadPoolExecutor(workers) as pool:
            try:
                for top, left in places:
                    waiting.append((top, left, pool.submit(self.paint, key, image, top, left, cache)))
                    if len(waiting) > 2 * workers:
                        first_row, first_column, done = waiting.popleft()
                        yield first_row, first_column, done.result()
                for top, left, done in waiting:
                    yield top, left, done.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Of a whole image `H x W x C` in native values: float32 `K x H x W`."""
        found_KHW = np.empty((self.classes, *image.shape[:2]), np.float32)
        places = tiles(image.shape[:2], max(one.block(image.shape[:2]) for one in self.sources))
        for top, left, tile_Khw in self.paint_all(0, image, places, MapCache(), None):
            found_KHW[:, top : top + TILE, left : left + TILE] = tile_Khw
        return found_KHW


def tiles(shape: tuple[int, ...], block: int = TILE) -> Iterator[tuple[int, int]]:
    """Where the tiles of an image begin, those of a block one after the other."""
    for row in range(0, shape[0], block):
        for column in range(0, shape[1], block):
            for top in range(row, min(row + block, shape[0]), TILE):
                for left in range(column, min(column + block, shape[1]), TILE):
                    yield top, left

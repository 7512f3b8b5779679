"""A Gaussian filter between points of many dimensions, in time linear in their number, on the permutohedral lattice.

Adams, Baek, Davis 2010, "Fast High-Dimensional Filtering Using the Permutohedral Lattice": values are splat onto the
corners of the lattice simplex around each point, blurred among corners, and sliced back at the points.

What differs from the paper: a blur along one lattice direction after the other loses what would pass through corners
that no point has touched, which among pixels are most of them, and its kernel has no tails. Here every pair of touched
corners up to REACH apart is linked directly, with its Gaussian weight, in one sparse product for all directions. The
lattice is as fine as the number of links allows.

Shapes: N points, D dimensions of a point, E = D + 1 coordinates of a lattice point and corners of a simplex, M corners
that points have touched, K channels that are filtered, L kinds of links.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import sparse

FINENESS = (1.0, 0.8)
"""Scale of the points on the lattice, whose nearest neighbours are about 1 apart; the first one that takes no more
links than are allowed."""
REACH = 2.8
"""Corners further apart than this many standard deviations are not linked."""
LINKS = 4_000_000
"""Links allowed however few the points are ..."""
LINKS_PER_POINT = 60
"""... and for each point, whichever is more. Where the coarsest lattice has more still, the shortest are taken."""


class Lattice:
    """Sums over all other points j of exp(-|f_i - f_j|² / 2) x_j, approximately.

    `features_ND` are the points, N x D, in units of the Gaussian's standard deviation, D up to about 5.
    """

    def __init__(self, features_ND: np.ndarray) -> None:
        points, dimensions = features_ND.shape
        allowed = max(LINKS, LINKS_PER_POINT * points) // 2
        for fineness in FINENESS:
            # Splatting and slicing blur by a sixth of the squared lattice unit; the links do the rest of the variance.
            variance = 1 - 1 / (6 * fineness**2)
            corners_NE, weights_NE = _splat(features_ND.astype(np.float64), fineness)
            keys_M, index_NE = np.unique(corners_NE, return_inverse=True)
            steps_LE = _steps(dimensions, fineness)
            weights_L = np.exp(-_squared(steps_LE, fineness) / (2 * variance)).astype(np.float32)
            self.links, complete = _links(keys_M, steps_LE, weights_L, allowed)
            if complete:
                break
        pointers = np.arange(0, weights_NE.size + 1, dimensions + 1)
        self.splat = sparse.csr_matrix(
            (weights_NE.astype(np.float32).ravel(), index_NE.ravel().astype(np.int32), pointers),
            shape=(points, len(keys_M)),
        )
        # A narrower Gaussian that is to have the same integral is higher.
        self.peak = np.float32(variance ** (-dimensions / 2))
        # What a point would give to itself: corners m apart in the order of a simplex always lie as far from each
        # other, m coordinates by E - m and the others by m.
        apart_EE = np.abs(np.subtract.outer(np.arange(dimensions + 1), np.arange(dimensions + 1)))
        squared_EE = apart_EE * (dimensions + 1 - apart_EE) / ((dimensions + 1) * fineness**2)
        own_EE = np.exp(-squared_EE / (2 * variance))
        self.own_N1 = (self.peak * ((weights_NE @ own_EE) * weights_NE).sum(1, keepdims=True)).astype(np.float32)

    def __call__(self, values_NK: np.ndarray) -> np.ndarray:
        """N x K float32 -> N x K float32 sums; a point's own value is left out."""
        at_MK = self.splat.T @ values_NK
        at_MK = at_MK + self.links @ at_MK + self.links.T @ at_MK
        sums_NK: np.ndarray = self.peak * (self.splat @ at_MK) - self.own_N1 * values_NK
        return sums_NK


def _splat(features_ND: np.ndarray, fineness: float) -> tuple[np.ndarray, np.ndarray]:
    """Keys of the corners of the simplex around each point (uint64), and the point's barycentric weights of them."""
    dimensions = features_ND.shape[1]
    count = dimensions + 1
    # An isometry from D dimensions onto those vectors of E coordinates whose sum is 0, times fineness and E. The
    # lattice are the whole numbers of such vectors that have the same remainder by E.
    base_DE = np.tril(np.ones((dimensions, count)))
    base_DE[range(dimensions), range(1, count)] = -np.arange(1, count)
    base_DE *= fineness * count / np.sqrt(np.arange(1, count) * np.arange(2, count + 1))[:, None]
    place_NE = features_ND @ base_DE
    # The nearest point of remainder 0: every coordinate rounded to a multiple of E; if the sum is not 0 then, those
    # that were rounded most are rounded the other way.
    multiple_NE = np.rint(place_NE / count).astype(np.int64)
    order_NE = np.argsort(multiple_NE * count - place_NE, 1, kind="stable")
    rank_NE = np.empty_like(order_NE)
    np.put_along_axis(rank_NE, order_NE, np.arange(count)[None], 1)
    rank_NE += multiple_NE.sum(1, keepdims=True)
    turns_NE = (rank_NE < 0).astype(np.int64) - (rank_NE > dimensions)
    multiple_NE += turns_NE
    rank_NE += count * turns_NE
    # In the order of what is left of the coordinates, the differences of neighbours are the weights.
    sorted_NE = np.empty_like(place_NE)
    np.put_along_axis(sorted_NE, rank_NE, place_NE / count - multiple_NE, 1)
    weights_NE = np.empty_like(place_NE)
    weights_NE[:, 1:] = (sorted_NE[:, :-1] - sorted_NE[:, 1:])[:, ::-1]
    weights_NE[:, 0] = 1 + sorted_NE[:, -1] - sorted_NE[:, 0]
    # Corner e has remainder e; the coordinates of the last e ranks are a multiple lower.
    corners_NE = np.stack(
        [_keys(count * (multiple_NE - (rank_NE > dimensions - corner)) + corner) for corner in range(count)], 1
    )
    return corners_NE, weights_NE


def _links(
    keys_M: np.ndarray, steps_LE: np.ndarray, weights_L: np.ndarray, allowed: int
) -> tuple[sparse.csr_matrix, bool]:
    """Weights between corners that are a step apart, M x M, and whether all steps were taken within those allowed."""
    sources, targets, weights = [np.empty(0, np.int32)], [np.empty(0, np.int32)], [np.empty(0, np.float32)]
    found, complete = 0, True
    for step, weight in zip(_keys(steps_LE), weights_L, strict=True):
        reached_M = keys_M + step
        target_M = np.searchsorted(keys_M, reached_M) % len(keys_M)
        source = np.flatnonzero(keys_M[target_M] == reached_M)
        found += len(source)
        if found > allowed:
            complete = False
            break
        sources.append(source.astype(np.int32))
        targets.append(target_M[source].astype(np.int32))
        weights.append(np.full(len(source), weight))
    shape = (len(keys_M), len(keys_M))
    links = sparse.coo_matrix((np.concatenate(weights), (np.concatenate(sources), np.concatenate(targets))), shape)
    links.has_canonical_format = True  # no pair twice: saves sorting
    return links.tocsr(), complete


@cache
def _steps(dimensions: int, fineness: float) -> np.ndarray:
    """Lattice vectors up to REACH long, one of each opposite pair, the shortest first: L x E int64."""
    count = dimensions + 1
    longest = int(REACH * fineness * count)
    every = []
    for remainder in range(count):
        values = np.arange(-longest, longest + 1)
        values = values[values % count == remainder]
        vectors = np.zeros((1, 0), np.int64)
        for _ in range(count):
            vectors = np.concatenate([np.repeat(vectors, len(values), 0), np.tile(values, len(vectors))[:, None]], 1)
            vectors = vectors[(vectors**2).sum(1) <= (REACH * fineness * count) ** 2]
        every.append(vectors[vectors.sum(1) == 0])
    steps_LE = np.concatenate(every)
    steps_LE = steps_LE[steps_LE.any(1)]
    leading_L = steps_LE[np.arange(len(steps_LE)), (steps_LE != 0).argmax(1)]
    steps_LE = steps_LE[leading_L > 0]
    sorted_LE: np.ndarray = steps_LE[np.argsort((steps_LE**2).sum(1), kind="stable")]
    return sorted_LE


def _squared(steps_LE: np.ndarray, fineness: float) -> np.ndarray:
    """Squared lengths of lattice vectors, in deviations."""
    squared: np.ndarray = (steps_LE**2).sum(1) / (fineness * steps_LE.shape[1]) ** 2
    return squared


def _keys(vectors_NE: np.ndarray) -> np.ndarray:
    """One uint64 for each lattice vector. Linear, so that the key of a sum is the sum of the keys.

    Odd multipliers at random: that any of a million vectors share a key has a chance of about 1 in 10^7.
    """
    factors_D = np.random.default_rng(0).integers(2**63, size=vectors_NE.shape[1] - 1, dtype=np.uint64) * 2 + 1
    keys: np.ndarray = vectors_NE[:, :-1].astype(np.uint64) @ factors_D.astype(np.uint64)
    return keys

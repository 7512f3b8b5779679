"""The lattice filter against sums over all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.predict import lattice
from maskwright.predict.lattice import Lattice


def all_pairs(features_ND: np.ndarray) -> np.ndarray:
    """The Gaussian of every pair, zero for a point with itself: N x N float64."""
    squared = ((features_ND[:, None] - features_ND[None]) ** 2).sum(2)
    kernel_NN = np.exp(-squared / 2)
    np.fill_diagonal(kernel_NN, 0)
    return np.asarray(kernel_NN)


@pytest.mark.parametrize(("dimensions", "error"), [(1, 0.02), (2, 0.03), (3, 0.04), (5, 0.06)])
def test_sums_are_those_over_all_pairs(dimensions: int, error: float) -> None:
    rng = np.random.default_rng(dimensions)
    features = rng.normal(size=(600, dimensions)) * 1.5
    values = rng.random((600, 3)).astype(np.float32)
    expected = all_pairs(features) @ values
    sums = Lattice(features)(values)
    assert sums.shape == (600, 3)
    assert sums.dtype == np.float32
    assert np.abs(sums - expected).mean() < error * expected.mean()
    assert abs(sums.mean() / expected.mean() - 1) < 0.05, "hardly any bias: what lies beyond the reach"


def test_two_points_by_hand() -> None:
    for apart in (0.0, 0.5, 1.0, 2.0):
        sums = Lattice(np.array([[0.3, 0.1], [0.3 + apart, 0.1]]))(np.array([[0.0], [1.0]], np.float32))
        # Splatting is piecewise linear, so a single pair is right to a few hundredths only.
        assert sums[0, 0] == pytest.approx(np.exp(-(apart**2) / 2), abs=0.12)


def test_it_is_a_symmetric_operator() -> None:
    rng = np.random.default_rng(0)
    matrix = Lattice(rng.normal(size=(40, 3)))(np.eye(40, dtype=np.float32))
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-6)
    assert abs(np.diag(matrix)).max() < 1e-5, "a point's own value is left out exactly"


def test_far_points_and_equal_ones() -> None:
    values = np.ones((3, 1), np.float32)
    assert not Lattice(np.array([[0.0, 0.0], [50.0, 0.0], [0.0, -80.0]]))(values).round(6).any()
    # On a corner nothing is blurred by splatting, so that the narrower Gaussian of the links is seen at its peak; the
    # mean over all places is 1 for each of the two others.
    np.testing.assert_allclose(Lattice(np.zeros((3, 4)))(values), 2 * (6 / 5) ** (4 / 2), rtol=1e-5)
    places = np.random.default_rng(0).uniform(0, 20, (300, 4))
    sums = [float(Lattice(np.stack([place] * 3))(values)[0, 0]) for place in places]
    assert np.mean(sums) == pytest.approx(2, abs=0.1)
    assert abs(Lattice(np.zeros((1, 3)))(values[:1])).max() < 1e-6


def test_too_many_links_make_the_lattice_coarser_and_then_the_reach_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(800, 4))
    expected = all_pairs(features) @ np.ones((800, 1))
    errors, corners = [], []
    monkeypatch.setattr(lattice, "LINKS_PER_POINT", 1)
    for allowed in (10_000_000, 120_000, 40_000):
        monkeypatch.setattr(lattice, "LINKS", allowed)
        made = Lattice(features)
        assert 2 * made.links.nnz <= allowed
        corners.append(made.links.shape[0])
        errors.append(np.abs(made(np.ones((800, 1), np.float32)) - expected).mean() / expected.mean())
    assert corners[0] > corners[1] == corners[2]
    assert errors[0] < 0.03
    assert errors[2] < 0.5


def test_steps_are_all_short_lattice_vectors() -> None:
    # In two dimensions the lattice is the triangular one: rings of 6, 6, 6, 12 ... neighbours, one of each pair kept.
    steps_LE = lattice._steps(2, 1.0)
    lengths = np.sqrt(lattice._squared(steps_LE, 1.0))
    nearest = lengths[0]
    counts = [int(np.isclose(lengths, nearest * ring).sum()) for ring in (1, np.sqrt(3), 2)]
    assert counts == [3, 3, 3]
    assert lengths.max() <= lattice.REACH
    assert (steps_LE.sum(1) == 0).all()

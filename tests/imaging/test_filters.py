"""Local filters give the same numbers whenever they are asked, wherever their results lie in memory."""

from __future__ import annotations

import numpy as np

from maskwright.imaging.filters import gaussian, gradient, hessian_eigenvalues, magnitude, structure_eigenvalues


def filtered(channel: np.ndarray) -> list[np.ndarray]:
    smooth = gaussian(channel, 1.6)
    across, down = gradient(smooth)
    return [
        smooth, magnitude(across, down), *hessian_eigenvalues(smooth), *structure_eigenvalues(across, down, 2.0),
    ]  # fmt: skip


def test_the_same_wherever_results_lie() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((37, 41), np.float32)
    usual = filtered(image)
    kept: list[object] = []  # so that each result lies elsewhere, by an odd number of bytes
    for _ in range(100):
        kept.append(np.empty(int(rng.integers(1, 5000)), np.uint8))
        again = filtered(image)
        kept.append(again)
        for one, other in zip(again, usual, strict=True):
            np.testing.assert_array_equal(one, other)


def test_lengths_by_hand() -> None:
    lengths = magnitude(np.array([[3, 0]], np.float32), np.array([[-4, 2]], np.float32))
    np.testing.assert_array_equal(lengths, [[5, 2]])

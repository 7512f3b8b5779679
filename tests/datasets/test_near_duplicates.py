"""Copies are told from other images, whatever was done to them."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from maskwright.datasets.near_duplicates import TURNS, near_duplicates, small_grey, small_pictures


def image(seed: int, rim: bool = False) -> np.ndarray:
    """A picture with detail at many scales; with a rim, seen through a round opening."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((128, 128), np.float32)
    for n in (4, 8, 16, 32):
        picture += cv2.resize(rng.normal(0, 1, (n, n)).astype(np.float32), (128, 128), interpolation=cv2.INTER_CUBIC)
    pixels = (picture * 25 + 128).clip(0, 255).astype(np.uint8)
    if rim:
        y, x = np.indices(pixels.shape)
        pixels[(y - 64) ** 2 + (x - 64) ** 2 > 58**2] = 0
    return pixels[..., None]


def small(images: list[np.ndarray]) -> np.ndarray:
    return small_pictures([base64.b64encode(small_grey(one).tobytes()).decode() for one in images])


def test_small_pictures_are_stretched_and_read_back() -> None:
    grey = small_grey(np.linspace(100, 200, 64 * 64).reshape(64, 64, 1).astype(np.uint16))
    assert grey.dtype == np.uint8
    assert (grey.shape, int(grey.min()), int(grey.max())) == ((32, 32), 0, 255)
    assert (small_grey(np.full((40, 40, 3), 9, np.uint8)) == 0).all()
    assert small([image(0)]).shape == (1, 32, 32)


def test_other_images_do_not_match() -> None:
    first, second = [image(seed) for seed in range(30)], [image(seed) for seed in range(100, 130)]
    assert near_duplicates(small(first), small(second)) == []


def test_a_rim_that_all_images_share_is_no_likeness() -> None:
    first, second = [image(seed, rim=True) for seed in range(12)], [image(seed, rim=True) for seed in range(100, 112)]
    assert near_duplicates(small(first), small(second)) == []
    (match,) = near_duplicates(small(first), small([*second, first[3]]))
    assert (match.first, match.second) == (3, 12)


def recompressed(pixels: np.ndarray) -> np.ndarray:
    _, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 40])
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_GRAYSCALE))[..., None]


@pytest.mark.parametrize(
    "change",
    [
        recompressed,
        lambda pixels: cv2.resize(pixels, (80, 90), interpolation=cv2.INTER_AREA)[..., None],
        lambda pixels: (pixels * 0.5).astype(np.uint8),
        lambda pixels: pixels.astype(np.uint16) * 200,
        lambda pixels: np.repeat(pixels, 3, axis=2),
    ],
    ids=["JPEG", "size", "brightness", "type", "channels"],
)
def test_a_copy_matches(change: object) -> None:
    assert callable(change)
    first = [image(seed) for seed in range(20)]
    (match,) = near_duplicates(small(first), small([image(50), change(first[7])]))
    assert (match.first, match.second, match.turn) == (7, 1, "")
    assert match.correlation > 0.95


@pytest.mark.parametrize("name", TURNS)
def test_a_turned_copy_matches_and_says_how(name: str) -> None:
    first = [image(seed) for seed in range(20)]
    undo = {"turned by 90 degrees to the left": "turned by 90 degrees to the right"}
    undo |= {value: key for key, value in undo.items()}
    turned = np.ascontiguousarray(TURNS[undo.get(name, name)](first[7]))
    (match,) = near_duplicates(small(first), small([turned]))
    assert (match.first, match.turn) == (7, name)


def test_flat_and_missing_images_match_nothing() -> None:
    flat = np.full((64, 64, 1), 7, np.uint8)
    assert near_duplicates(small([flat, image(0)]), small([flat])) == []
    assert near_duplicates(small([flat]), np.zeros((0, 32, 32), np.float32)) == []

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from maskwright.augment.custom import Transform, call_transform
from maskwright.errors import DataError

IMAGE = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
MASK = np.arange(20, dtype=np.uint8).reshape(4, 5) % 3


def call(transform: Transform, seed: tuple[int, ...] = (1, 2)) -> tuple[np.ndarray, np.ndarray]:
    image, mask = IMAGE.copy(), MASK.copy()
    result = call_transform(transform, image, mask, seed, 3)
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(mask, MASK)
    return result


def mirrored(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    image[:] = image[:, ::-1].copy()  # in place: it may do so
    return image, mask[:, ::-1]


class Pipeline:
    """Called as an Albumentations 2.0.8 `Compose` is: by keyword, with a generator of its own."""

    def __init__(self) -> None:
        self.set_random_seed(None)

    def set_random_seed(self, seed: int | None) -> None:
        self.random_generator = np.random.default_rng(seed)

    def __call__(self, *args: Any, force_apply: bool = False, **data: Any) -> dict[str, Any]:
        if args:
            raise KeyError("You have to pass data to augmentations as named arguments, for example: aug(image=image)")
        shift = int(self.random_generator.integers(1, 5))
        return {"image": np.roll(data["image"], shift, 1), "mask": np.roll(data["mask"], shift, 1)}


def global_chance(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shift = np.random.randint(1000) + random.randrange(1000)  # noqa: NPY002 - what users' code does
    return image + np.uint8(shift % 100), mask


def own_chance(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return image + np.uint8(rng.integers(100)), mask


def test_a_plain_function_changes_both() -> None:
    image, mask = call(mirrored)
    np.testing.assert_array_equal(image, IMAGE[:, ::-1])
    np.testing.assert_array_equal(mask, MASK[:, ::-1])


def test_a_pipeline_is_called_by_keyword_and_seeded() -> None:
    pipeline = Pipeline()
    image, mask = call(pipeline)
    shift = next(s for s in range(1, 5) if (np.roll(IMAGE, s, 1) == image).all())
    np.testing.assert_array_equal(mask, np.roll(MASK, shift, 1))
    for seed in range(10):
        np.testing.assert_array_equal(call(pipeline, (1, seed))[0], call(pipeline, (1, seed))[0])
    assert len({call(pipeline, (1, seed))[0].tobytes() for seed in range(30)}) == 4


@pytest.mark.parametrize("transform", [global_chance, own_chance])
def test_chance_comes_from_the_seed_and_nothing_else_is_disturbed(transform: Transform) -> None:
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    first, _ = call(transform)
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002
    np.testing.assert_array_equal(call(transform)[0], first)
    assert len({call(transform, (1, seed))[0].tobytes() for seed in range(20)}) > 10


def test_a_grey_image_may_come_back_without_its_channel() -> None:
    image, _ = call_transform(lambda image, mask: (image[:, :, 0], mask), IMAGE[:, :, :1], MASK, (1,), 3)
    np.testing.assert_array_equal(image, IMAGE[:, :, :1])


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda image, mask: image, r"returned \(4, 5, 3\) uint8. Expected \(image, mask\)"),
        (
            lambda image, mask: (image[:2], mask),
            r"returned \(2, 5, 3\) uint8 and .* Expected an image \(4, 5, 3\) uint8",
        ),
        (lambda image, mask: (image / 255, mask), r"\(4, 5, 3\) float64 .*Leave scaling to float"),
        (lambda image, mask: (image, None), r"and a NoneType"),
        (lambda image, mask: (image, mask + np.uint8(2)), r"returned a mask with 3, 4. Expected class indices 0 to 2"),
    ],
)
def test_what_is_no_view_is_refused(transform: Transform, message: str) -> None:
    with pytest.raises(DataError, match=message):
        call(transform)


def test_unlabelled_may_be_added() -> None:
    _, mask = call(lambda image, mask: (image, np.where(mask == 1, 255, mask).astype(np.uint8)))
    assert set(np.unique(mask)) == {0, 2, 255}

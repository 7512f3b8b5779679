"""Call a user's own transform of a view: a plain function, or a pipeline called as Albumentations' are."""

from __future__ import annotations

import inspect
import random
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from maskwright.datasets.classes import UNLABELLED
from maskwright.errors import DataError

Transform = Callable[..., Any]
"""One of: f(image, mask) -> (image, mask); f(image, mask, rng) -> (image, mask) with a `numpy.random.Generator`;
f(image=..., mask=...) -> {"image": ..., "mask": ...}, as Albumentations pipelines are called."""

_SEEDED = threading.Lock()


def call_transform(
    transform: Transform, image: np.ndarray, mask: np.ndarray, seed: tuple[int, ...], classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Apply a user's transform to a view.

    A function with a third parameter gets a generator of its own there, and such functions run in several threads at
    once. Others run one at a time, with `random`, `numpy.random` and a pipeline's own `set_random_seed`, if it has one,
    seeded from `seed`; the two former go on afterwards as if nothing had happened.

    Parameters
    ----------
    transform
        Gets copies of image and mask, and returns a pair of the same shapes and types.
    image
        h x w x C in native type and values.
    mask
        h x w uint8 class indices, 255 for unlabelled.
    seed
        Key of whatever the transform draws.
    classes
        How many there are: a mask that comes back holds indices below this, or 255.

    Raises
    ------
    DataError
        If what comes back is no such pair; what the transform itself raises is left to the caller.
    """
    image, mask = np.array(image, order="C"), np.array(mask, order="C")
    count = _positional(transform)
    if count >= 3:
        result = transform(image, mask, np.random.default_rng(seed))
    else:
        with _SEEDED:
            states = random.getstate(), np.random.get_state()  # noqa: NPY002 - what users' code draws from
            number = int(np.random.SeedSequence(seed).generate_state(1)[0])
            random.seed(number)
            np.random.seed(number)  # noqa: NPY002
            if hasattr(transform, "set_random_seed"):
                transform.set_random_seed(number)
            try:
                result = transform(image, mask) if count == 2 else transform(image=image, mask=mask)
            finally:
                random.setstate(states[0])
                np.random.set_state(states[1])  # noqa: NPY002
    if isinstance(result, Mapping):
        result = result.get("image"), result.get("mask")
    return _checked(result, image, mask, classes)


def _positional(transform: Transform) -> int:
    """How many parameters can be given by position, each with a name of its own."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in positional for parameter in inspect.signature(transform).parameters.values())


def _checked(result: Any, image: np.ndarray, mask: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    def shown(value: Any) -> str:
        return f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"

    expected = f"an image {image.shape} {image.dtype} and a mask {mask.shape} {mask.dtype}"
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise DataError(f"The transform returned {shown(result)}.", expected=f"Expected (image, mask): {expected}.")
    given = result[0]
    if isinstance(given, np.ndarray) and given.ndim == 2 and image.shape[2] == 1:
        given = given[:, :, None]
    for found, wanted in ((given, image), (result[1], mask)):
        if not isinstance(found, np.ndarray) or found.shape != wanted.shape or found.dtype != wanted.dtype:
            raise DataError(
                f"The transform returned {shown(result[0])} and {shown(result[1])}.",
                expected=f"Expected {expected}: size and type stay.",
                remedy="Leave scaling to float and conversion to tensors out; --crop sets the size of views.",
            )
    invented = np.flatnonzero(np.bincount(result[1].ravel(), minlength=256)[classes:UNLABELLED])
    if len(invented):
        raise DataError(
            f"The transform returned a mask with {', '.join(map(str, (invented + classes).tolist()))}.",
            expected=f"Expected class indices 0 to {classes - 1}, or {UNLABELLED} for unlabelled.",
            remedy=f"Resample masks by nearest neighbour, and fill them with {UNLABELLED} outside "
            f"(fill_mask={UNLABELLED} in Albumentations).",
        )
    return given, result[1]

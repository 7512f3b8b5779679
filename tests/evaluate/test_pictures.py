from __future__ import annotations

import io

import numpy as np
from PIL import Image

from maskwright.datasets.classes import ClassTable, LabelClass
from maskwright.evaluate.pictures import FALSE_ALARM, LONGEST, MISSED, WRONG, errors_picture, render

TWO = ClassTable(
    classes=(
        LabelClass(name="ground", color=(10, 20, 30), values=(0,)),
        LabelClass(name="cell", color=(200, 100, 50), values=(1,)),
    )
)


def test_errors_are_coloured_and_the_rest_is_dim_and_grey() -> None:
    photo = np.full((2, 3, 3), (255, 0, 0), np.uint8)
    truth = np.array([[0, 1, 2], [0, 1, 2]], np.uint8)
    prediction = np.array([[0, 2, 2], [1, 1, 0]], np.uint8)
    shown = errors_picture(photo, truth, prediction, None)
    wrong = truth != prediction
    assert (shown[wrong] == WRONG).all()
    right = shown[~wrong]
    assert (right == right[0, 0]).all()
    assert right[0, 0] < 100


def test_of_two_classes_what_was_missed_and_what_was_imagined_differ() -> None:
    photo = np.zeros((1, 4, 3), np.uint8)
    truth = np.array([[0, 1, 0, 255]], np.uint8)
    prediction = np.array([[1, 0, 0, 1]], np.uint8)
    shown = errors_picture(photo, truth, prediction, 1)
    assert tuple(shown[0, 0]) == FALSE_ALARM
    assert tuple(shown[0, 1]) == MISSED
    assert tuple(errors_picture(photo, truth, prediction, 0)[0, 0]) == MISSED


def test_pixels_that_do_not_count_are_hatched() -> None:
    photo = np.full((20, 20, 3), 128, np.uint8)
    truth = np.full((20, 20), 255, np.uint8)
    truth[:10] = 0
    prediction = np.ones((20, 20), np.uint8)
    prediction[:5] = 255
    shown = errors_picture(photo, truth, prediction, None)
    hatched = {tuple(color) for color in shown[truth == 255]}
    assert hatched == {(150, 150, 150), (96, 96, 96)}
    assert {tuple(color) for color in shown[:5].reshape(-1, 3)} == hatched
    assert (shown[5:10] == WRONG).all()


def test_small_masks_keep_every_pixel_and_their_palette() -> None:
    truth = np.array([[0, 1, 255]], np.uint8)
    files = render(np.zeros((1, 3, 1), np.uint16), truth, truth[:, ::-1].copy(), TWO, 1)
    assert set(files) == {"image", "truth", "prediction", "errors"}
    with Image.open(io.BytesIO(files["truth"])) as picture:
        assert (picture.format, picture.mode) == ("PNG", "P")
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), TWO.rgb(truth))
    with Image.open(io.BytesIO(files["image"])) as picture:
        assert picture.format == "JPEG"


def test_large_pictures_are_reduced_and_thin_errors_stay_visible() -> None:
    truth = np.zeros((40, 4 * LONGEST), np.uint8)
    prediction = truth.copy()
    prediction[:, 100] = 1
    files = render(np.zeros((40, 4 * LONGEST, 3), np.uint8), truth, prediction, TWO, None)
    shapes = set()
    for content in files.values():
        with Image.open(io.BytesIO(content)) as picture:
            shapes.add(picture.size)
            if content is files["errors"]:
                shown = np.asarray(picture.convert("RGB"))
    assert shapes == {(LONGEST, 10)}
    assert shown[5, 25, 0] > 120
    assert shown[5, 60, 0] < 60


def test_noise_can_be_encoded() -> None:
    # Pillow's optimised JPEG guesses the size of the file, and noise is larger.
    pixels = np.random.default_rng(0).integers(0, 256, (LONGEST, LONGEST, 3), np.uint8)
    truth = np.random.default_rng(1).integers(0, 2, (LONGEST, LONGEST), np.uint8)
    rendered = render(pixels, truth, 1 - truth, TWO, 1)
    assert Image.open(io.BytesIO(rendered["errors"])).size == (LONGEST, LONGEST)

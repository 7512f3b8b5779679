from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from maskwright.imaging.painting import data_address, encoded, outline, overlay, reduced, stripes


def test_an_overlay_mixes_outlines_and_leaves_hidden_pixels() -> None:
    photo = np.full((1, 4, 3), 100, np.uint8)
    colors = np.zeros((1, 4, 3), np.uint8)
    colors[..., 0] = 200
    shown = overlay(
        photo,
        colors,
        opacity=0.25,
        hidden_HW=np.array([[False, False, True, True]]),
        outline_HW=np.array([[False, True, False, True]]),
    )
    assert shown[0].tolist() == [[125, 75, 75], [200, 0, 0], [100, 100, 100], [100, 100, 100]]
    assert (photo == 100).all()


def test_an_outline_is_one_pixel_wide_or_two() -> None:
    labels = np.array([[1, 1, 2], [1, 1, 2]])
    np.testing.assert_array_equal(outline(labels), [[False, False, True]] * 2)
    np.testing.assert_array_equal(outline(labels, thick=True), [[False, True, True]] * 2)
    assert not outline(np.zeros((3, 3))).any()
    np.testing.assert_array_equal(outline(labels.T, thick=True), outline(labels, thick=True).T)


def test_stripes_are_diagonal() -> None:
    np.testing.assert_array_equal(
        stripes((2, 5), period=4, width=1), [[True, False, False, False, True], [False, False, False, True, False]]
    )


def test_large_pictures_are_reduced_and_small_ones_left() -> None:
    picture = np.zeros((40, 100, 3), np.uint8)
    picture[:, 50:] = 250
    assert reduced(picture, 100) is picture
    assert reduced(picture, 50).shape == (20, 50, 3)
    assert set(np.unique(reduced(picture, 33, nearest=True))) == {0, 250}


@pytest.mark.parametrize(("kind", "start"), [("PNG", "data:image/png;base64,"), ("JPEG", "data:image/jpeg;base64,")])
def test_pictures_become_files_and_addresses(kind: str, start: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
    content = encoded(picture, kind)  # type: ignore[arg-type]
    with Image.open(io.BytesIO(content)) as again:
        assert (again.format, again.size) == (kind, (9, 8))
        assert kind == "JPEG" or (np.asarray(again) == picture).all()
    assert data_address(content).startswith(start)

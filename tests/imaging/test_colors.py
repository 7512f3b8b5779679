"""Colours as names, numbers and RGB."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maskwright.imaging.colors import color_code, color_codes, color_name, color_rgb


@given(st.integers(0, 0xFFFFFF))
def test_names_numbers_and_rgb_are_the_same_colour(code: int) -> None:
    name = color_name(code)
    assert color_code(name) == code
    assert int(color_codes(np.array(color_rgb(name), np.uint8))) == code


def test_known_colours() -> None:
    assert color_name(0xFF8000) == "#ff8000"
    assert color_rgb("#ff8001") == (255, 128, 1)
    assert color_codes(np.array([[[0, 0, 1], [1, 0, 0]]], np.uint8)).tolist() == [[1, 65536]]

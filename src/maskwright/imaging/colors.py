"""Colours of classes: as "#rrggbb", as numbers 0xrrggbb, as RGB, and the ones that classes get by themselves."""

from __future__ import annotations

import colorsys

import numpy as np

_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
"""Distinct to colour-blind eyes too: Okabe and Ito, Color Universal Design, 2008."""


def color_code(color: str) -> int:
    """The number 0xrrggbb of a colour "#rrggbb"."""
    return int(color[1:], 16)


def color_name(code: int) -> str:
    """The colour "#rrggbb" of a number 0xrrggbb."""
    return f"#{code:06x}"


def color_codes(rgb: np.ndarray) -> np.ndarray:
    """Colours (uint8, any shape x 3) as numbers 0xrrggbb (int32, that shape)."""
    wide = rgb.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def color_rgb(color: str) -> tuple[int, int, int]:
    """Red, green and blue, 0..255, of a colour "#rrggbb"."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def default_color(index: int, name: str = "") -> tuple[int, int, int]:
    """The colour of a class that declares none: black for "background", else distinct ones by index."""
    if name.lower() == "background":
        return (0, 0, 0)
    if index < len(_COLORS):
        return color_rgb(_COLORS[index])
    # Steps of the golden ratio spread any number of hues evenly.
    bright = 0.95 if index % 2 else 0.65
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.9 if index % 3 else 0.5, bright)
    return round(red * 255), round(green * 255), round(blue * 255)

"""Text in pictures, in a font that has its letters.

DejaVu Sans comes with the package (`fonts/`, with its licence): Latin, Greek, Cyrillic, Arabic, Hebrew and more, but no
Chinese, Japanese or Korean, whose fonts are 20 times as large. For text that it cannot write, the fonts installed on
the machine are searched. Where none has the letters, `font_for` says so by None: the caller writes a class by its
number and tells the reader, instead of drawing boxes.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont
from PIL.ImageFont import FreeTypeFont

__all__ = ["font_for", "writable"]

BUNDLED = Path(__file__).with_name("fonts") / "DejaVuSans.ttf"

_LIKELY = (
    "cjk",
    "droidsansfallback",
    "wqy",
    "uming",
    "ukai",
    "pingfang",
    "hiragino",
    "msyh",
    "simsun",
    "arialuni",
    "noto",
)
"""Parts of the names of fonts with many letters, which are tried first."""
_MISSING = "\U0010ffff"
"""A code point that no font has a letter for: it is drawn as whatever the font draws for missing letters."""


def font_for(text: str, size: int) -> FreeTypeFont | None:
    """A font that has every letter of a text: the bundled one, else one that is installed, else None.

    Parameters
    ----------
    text
        What is to be written.
    size
        Height of the letters in pixels.
    """
    for path in (BUNDLED, *_installed(_folders())):
        font = _font(path, size)
        if font is not None and _missing(text, path) == "":
            return font
    return None


def writable(text: str, size: int) -> tuple[str, FreeTypeFont]:
    """A text and the font to write it with; a "?" stands for each letter that no font has."""
    font = font_for(text, size)
    if font is not None:
        return text, font
    missing = set(_missing(text, BUNDLED))
    bundled = _font(BUNDLED, size)
    assert bundled is not None, "the font is part of the package"
    return "".join("?" if letter in missing else letter for letter in text), bundled


def _folders() -> tuple[Path, ...]:
    """Where this system keeps its fonts."""
    home = Path.home()
    if sys.platform == "darwin":
        return Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts"
    if sys.platform == "win32":
        return Path("C:/Windows/Fonts"), home / "AppData" / "Local" / "Microsoft" / "Windows" / "Fonts"
    share = Path("/usr/share/fonts"), Path("/usr/local/share/fonts")
    return *share, home / ".local" / "share" / "fonts", home / ".fonts"


@lru_cache(4)
def _installed(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    """All font files, those that are likely to have many letters first."""
    files = [
        path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in (".ttf", ".ttc", ".otf")
    ]
    return tuple(sorted(files, key=lambda path: (not any(part in path.name.lower() for part in _LIKELY), str(path))))


@lru_cache(64)
def _font(path: Path, size: int) -> FreeTypeFont | None:
    try:
        return ImageFont.truetype(str(path), size)
    except OSError:  # damaged, or of a kind that FreeType does not read
        return None


@lru_cache(1024)
def _missing(text: str, path: Path) -> str:
    """The letters of a text that a font draws like one that it does not have."""
    font = _font(path, 24)
    if font is None:
        return text
    absent = _drawn(font, _MISSING)
    return "".join(letter for letter in text if not letter.isspace() and _drawn(font, letter) == absent)


def _drawn(font: FreeTypeFont, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskwright.imaging import lettering
from maskwright.imaging.lettering import BUNDLED, font_for, writable

GREEK, CYRILLIC, CHINESE = "κύτταρο", "клетка ядра", "植物"


@pytest.fixture
def no_other_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without installed fonts."""
    monkeypatch.setattr(lettering, "_folders", lambda: ())


@pytest.mark.parametrize("text", ["cell", "Zellkörper", GREEK, CYRILLIC, "", "  "])
def test_the_bundled_font_writes_latin_greek_and_cyrillic(no_other_fonts: None, text: str) -> None:
    font = font_for(text, 13)
    assert font is not None
    assert font.path == str(BUNDLED)
    assert writable(text, 13)[0] == text


def test_different_letters_look_different() -> None:
    font = font_for(GREEK + CYRILLIC, 24)
    assert font is not None
    letters = sorted({*GREEK, *CYRILLIC} - {" "})
    # Letters that the alphabets share look alike; boxes would all look alike.
    assert len({bytes(font.getmask(letter)) for letter in letters}) > len(letters) - 4


def test_without_a_font_chinese_is_refused_not_drawn_as_boxes(no_other_fonts: None) -> None:
    assert font_for(CHINESE, 13) is None
    written, font = writable(f"{CHINESE} 7", 13)
    assert written == "?? 7"
    assert font.path == str(BUNDLED)


def test_an_installed_font_writes_what_the_bundled_one_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another font is taken if it has the letters; damaged files among the fonts are passed over."""
    (tmp_path / "fonts").mkdir()
    (tmp_path / "fonts" / "NotoSansCJK-damaged.ttc").write_bytes(b"no font")
    installed = tmp_path / "fonts" / "installed.ttf"
    installed.write_bytes(BUNDLED.read_bytes())
    monkeypatch.setattr(lettering, "_folders", lambda: (tmp_path / "fonts",))
    had = lettering._missing

    def missing(text: str, path: Path) -> str:
        return "" if path == installed else had(text, path)

    monkeypatch.setattr(lettering, "_missing", missing)
    font = font_for(CHINESE, 13)
    assert font is not None
    assert font.path == str(installed)
    assert lettering._installed((tmp_path / "fonts",))[0].name == "NotoSansCJK-damaged.ttc"


def test_the_licence_lies_beside_the_font() -> None:
    assert "Bitstream Vera" in (BUNDLED.parent / "LICENSE-DejaVu.txt").read_text("utf-8")
    assert BUNDLED.stat().st_size < 800_000


def test_missing_letters_are_told_at_any_size() -> None:
    for size in (8, 13, 40):
        font = lettering._font(BUNDLED, size)
        assert font is not None
        drawn = [np.array(lettering._drawn(font, letter)[1:]) for letter in (CHINESE[0], lettering._MISSING)]
        assert (drawn[0] == drawn[1]).all()

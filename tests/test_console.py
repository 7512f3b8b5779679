"""What the terminal is given: names as they are, whatever they hold and whatever it can show."""

from __future__ import annotations

import io
import json
import math
import sys

import pytest

from maskwright import console


def test_titles_and_headings_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table("3 images of test[red]", ["model [bold]", "score"], [["[link]", "1.0"]])
    shown = " ".join(capsys.readouterr().out.split())
    assert "3 images of test[red]" in shown
    assert "model [bold]" in shown
    assert "[link]" in shown


def test_control_characters_are_shown_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("a\x1b[31mred\x07\u202ename\n\tnext")
    console.print_table("t\x1b[2J", ["c\x9b"], [["d\r"]])
    shown = capsys.readouterr()
    out = "".join(shown.out.split())
    assert shown.err == "a\\x1b[31mred\\x07\\u202ename\n        next\n"
    assert all(text in out for text in ("t\\x1b[2J", "c\\x9b", "d\\r"))


def test_json_steers_no_terminal_and_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b[31m\x9b\u202e\udcff.png"
    console.print_json({name: name})
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert json.loads(shown) == {name: name}


@pytest.mark.parametrize("coding", ["ascii", "cp932", "latin-1", "utf-8"])
def test_output_of_any_encoding_shows_what_it_can(monkeypatch: pytest.MonkeyPatch, coding: str) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=coding, write_through=True))
    console.show_anything()
    console.print_table("0.1 – 0.2", ["name"], [["\udcff.png 日本"]])
    console.print_json({"name": "\udcff – 日本"})
    assert b"0.1 " in raw.getvalue()


def test_json_holds_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"miou": math.nan, "range": (math.inf, 1.5), "all": [{"a": -math.inf, "b": 2}]})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "miou": None,
        "range": [None, 1.5],
        "all": [{"a": None, "b": 2}],
    }

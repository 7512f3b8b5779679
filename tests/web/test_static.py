"""The browser's side of pages: its own tests under node, its types, and what a page may not have."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import maskwright

STATIC = Path(maskwright.__file__).parent / "web" / "static"
TESTS = Path(__file__).parent / "static"
MODULES = sorted(STATIC.glob("*.js"))


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here: the modules' own tests need it")
def test_modules_pass_their_tests() -> None:
    done = subprocess.run(
        ["node", "--test", *map(str, sorted(TESTS.glob("*.test.mjs")))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_are_short_and_name_every_import(path: Path) -> None:
    content = path.read_text("utf-8")
    assert content.count("\n") <= 400
    for name in re.findall(r'(?:from|import\() ?"([^"]+)"', content):
        assert (STATIC / name).is_file(), f"{path.name} imports {name}"


def test_a_page_loads_nothing_from_elsewhere_and_has_no_code_in_it() -> None:
    for path in (*MODULES, *STATIC.glob("*.html"), *STATIC.glob("*.css")):
        content = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|innerHTML|eval\(|new Function|document\.write", content), path.name
    for path in STATIC.glob("*.html"):
        assert not re.search(r"<script(?![^>]* src=)|\son\w+=|style=", path.read_text("utf-8")), path.name

"""Rooms: imports go one way, files stay short, and the command line starts light."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

import maskwright

SOURCE = Path(maskwright.__file__).parent
FLOORS = {
    "errors": 0, "config": 1, "runs": 1, "processes": 1, "outputs": 2, "pages": 2,
    "imaging": 2, "datasets": 3, "augment": 4, "check": 5, "convert": 5, "synthetic": 5,
    "models": 2, "pixels": 5, "predict": 6, "evaluate": 7, "planning": 8, "training": 9, "label": 10,
    "console": 10, "demo": 11, "web": 11, "cli": 12, "__main__": 13,
}  # fmt: skip
"""A module may import from lower floors, and from its own room."""


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("maskwright.")}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path) -> None:
    own = room(path)
    if own == "__init__":
        return
    for name in imports(path):
        other = name.split(".")[1]
        if other in FLOORS and other != own:
            assert FLOORS[other] < FLOORS[own], f"{own} imports {name}"


def test_every_room_has_a_floor() -> None:
    rooms = {room(path) for path in SOURCE.rglob("*.py")} - {"__init__"}
    assert rooms == set(FLOORS)


def test_no_file_is_above_400_lines() -> None:
    long = {
        str(p.relative_to(SOURCE)): n for p in SOURCE.rglob("*.py") if (n := p.read_text("utf-8").count("\n")) > 400
    }
    assert not long


def test_no_name_says_nothing() -> None:
    assert not [p for p in SOURCE.rglob("*") if p.stem in {"utils", "util", "helpers", "common", "misc", "core"}]


def test_public_names_exist() -> None:
    for name in maskwright.__all__:
        assert getattr(maskwright, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Predicter'"):
        _ = maskwright.Predicter


def test_help_is_light_and_quick() -> None:
    program = (
        "import sys\nfrom maskwright.cli import app\napp(['--help'], result_action='return_value')\n"
        "heavy = {'torch', 'cv2', 'numpy', 'fastapi', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    for verb in (
        "check",
        "preview",
        "convert",
        "demo",
        "plan",
        "train",
        "evaluate",
        "predict",
        "compare",
        "models",
        "weak",
        "label",
    ):
        assert verb in done.stdout
    # About 0.3 s on an idle machine; ten times that would mean something heavy came in.
    assert seconds < 3

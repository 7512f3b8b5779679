"""README and docs are true: their commands and programs run, their options, links and files exist.

Tiny images stand in `cells/train` and `cells/test` for the reader's own, and budgets become two steps. Blocks of a page
run in order, in one folder: `sh` (commands of maskwright), `python` (one namespace a page) and `toml` (class tables are
read; recipes are written to the file that their first line names).
"""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import maskwright
from maskwright import demo, models
from maskwright.cli import app
from maskwright.config import Settings
from maskwright.datasets.classes import ClassTable

ROOT = Path(__file__).parents[1]
SOURCE = Path(maskwright.__file__).parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = [ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
VERBS = sorted(name for name in app if not name.startswith("-"))
BUDGETS = {"train": ["--steps", "2"], "plan": ["--steps", "2"], "demo": ["--minutes", "0.05"]}
FOREIGN = {
    "--nproc-per-node", "--nnodes", "--rdzv-backend", "--rdzv-endpoint", "--rdzv-id",  # torchrun
    "--job-name", "--nodes", "--ntasks-per-node", "--gpus-per-node", "--cpus-per-task", "--signal",  # Slurm
    "--requeue", "--time", "--logdir",  # Slurm, TensorBoard
}  # fmt: skip
"""Options of other programs that pages mention."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Kind and text of each fenced block."""
    for found in FENCE.finditer(page.read_text("utf-8")):
        yield found[1], found[2]


def commands(block: str) -> list[list[str]]:
    """The maskwright commands of a `sh` block, without the program's name; `make` and `pip` are not ours to run."""
    lines = (shlex.split(line, comments=True) for line in block.splitlines())
    return [words[1:] for words in lines if words and words[0] == "maskwright"]


def quick(words: list[str]) -> list[str]:
    """The command with a budget of moments in place of its own, or of the default."""
    budget = BUDGETS.get(words[0])
    if budget is None or "--images-only" in words:
        return words
    kept = list(words)
    for option in ("--minutes", "--steps"):
        if option in kept:
            place = kept.index(option)
            del kept[place : place + 2]
    return kept + budget


def run(words: list[str]) -> None:
    """Run a command in this process; any error, of the user's kind too, fails the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("maskwright.web.serving.serve", open_and_end)
        patch.setattr("webbrowser.open", lambda address: None)
        if words[0] == "train":
            # The classic U-Net of full width takes half a minute for two steps.
            patch.setitem(models.MODELS, "unet", models.Row(file="classic_unet", make="UNet", widths=(4, 4, 8, 8, 8)))
        patch.setattr(demo, "COUNTS", {kind: {"train": 4, "test": 2} for kind in demo.COUNTS})
        app(words, exit_on_error=False, result_action="return_value")


def open_and_end(app: Any, place: Any, *, ready: Callable[[], None]) -> None:
    """In place of a page that stays open."""
    ready()
    place.listening.close()


def write_cells(folder: Path, write_pairs: Callable[..., Path]) -> None:
    write_pairs(folder / "cells" / "train", 6, channels=1)
    write_pairs(folder / "cells" / "test", 3, channels=1, seed=1)
    new = write_pairs(folder / "cells" / "new", 2, channels=1, seed=2)
    shutil.rmtree(new / "masks")
    (new / "classes.toml").unlink()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, write_pairs: Callable[..., Path]) -> Path:
    """A run, for the pages that use one and train none."""
    folder = tmp_path_factory.mktemp("trained")
    write_cells(folder, write_pairs)
    small = [part for width in (8, 16) for part in ("--model-options.widths", str(width))]
    run(["train", str(folder / "cells" / "train"), "--out", str(folder / "run"), *BUDGETS["train"], *small])
    return folder / "run"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_runs(
    page: Path,
    trained: Path,
    write_pairs: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_cells(tmp_path, write_pairs)
    trains = [words for kind, text in blocks(page) if kind == "sh" for words in commands(text)]
    if not any(words[0] == "train" and "runs/cells" in words for words in trains):
        shutil.copytree(trained, tmp_path / "runs" / "cells")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    shown: str | None = None  # what a block of `maskwright models` printed, which the page must show as it is
    for kind, text in blocks(page):
        if kind == "sh":
            capsys.readouterr()
            for words in commands(text):
                run(quick(words))
            printed = capsys.readouterr().out
            shown = printed if {words[0] for words in commands(text)} == {"models"} else None
        elif kind == "python":
            exec(compile(text, str(page), "exec"), namespace)
        elif kind == "toml":
            check_toml(text, tmp_path, name_of(page))
        elif kind == "text" and shown is not None:
            actual = {line.rstrip() for line in shown.splitlines()}
            stale = set(text.splitlines()) - {"..."} - actual
            assert not stale


def check_toml(text: str, folder: Path, page: str) -> None:
    content = tomllib.loads(text)
    if "class" in content:
        assert len(ClassTable.from_dict(content, page)) > 1
        return
    Settings.from_dict(content, page)
    named = re.match(r"# (\S+\.toml)\n", text)
    assert named, f"{page}: the first line of a recipe names its file"
    (folder / named[1]).write_text(text)


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    prose = FENCE.sub("", page.read_text("utf-8"))
    targets = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link]
    dead = [target for target in targets if target and not (page.parent / target).exists()]
    assert not dead


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_exist(page: Path) -> None:
    known = {"--help", "--version"} | FOREIGN
    for verb in VERBS:
        inner = [app[verb][name] for name in app[verb] if not name.startswith("-")]  # of `labels`: import, export
        for each in inner or [app[verb]]:
            for argument in each.assemble_argument_collection():
                known.update(argument.names)
    for script in (ROOT / "benchmarks").glob("*.py"):
        known.update(re.findall(r'add_argument\("(--[a-z-]+)"', script.read_text("utf-8")))
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page.read_text("utf-8")))
    assert mentioned <= known


def test_every_verb_has_a_page_that_runs_it() -> None:
    for verb in VERBS:
        page = ROOT / "docs" / f"{verb}.md"
        assert page.exists()
        assert page.read_text("utf-8").startswith(f"# {verb}\n")
        assert any(words[0] == verb for kind, text in blocks(page) if kind == "sh" for words in commands(text)), verb


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    assert [name_of(page) for page in PAGES[1:] if page.name != "README.md" and f"({page.name})" not in index] == []


def test_the_map_names_the_rooms() -> None:
    _, _, section = (ROOT / "README.md").read_text("utf-8").partition("\n## Rooms\n")
    found = FENCE.search(section)
    assert found, "README has a map under Rooms"
    lines = found[2].splitlines()
    assert len(lines) <= 40
    assert all(line.endswith("/") or len(line.split()) > 2 for line in lines if line.startswith("  ")), "described"
    named = {line.split()[0] for line in lines if line.startswith("  ") and not line.startswith("   ")}
    rooms = {f"{path.name}/" for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert {name for name in named if name.endswith("/")} == rooms
    assert all((SOURCE / name).exists() for name in named)

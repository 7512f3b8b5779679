"""What a newcomer reads to follow one training and one prediction: the files that they import, with lines of code.

Fresh processes, through the command line, with everything at its default; their children count too.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tokenize
from collections.abc import Callable
from pathlib import Path

import maskwright

SOURCE = Path(maskwright.__file__).parent
MOST = {"train": (53, 7200), "predict": (23, 3000)}
"""Files and lines of code."""
TELL_IMPORTS = """
import os, sys
to = os.open(os.environ["MASKWRIGHT_IMPORTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
class Told:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "maskwright":
            os.write(to, f"{name}\\n".encode())
sys.meta_path.insert(0, Told)
"""
"""A `sitecustomize` that appends the name of each module to a file when it is looked for; forked children keep it."""
NOT_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
    tokenize.ENDMARKER,
}  # fmt: skip


def lines_of_code(text: str) -> int:
    """Lines that hold code: no comments, blank lines, or strings that stand alone, such as docstrings."""
    lines: set[int] = set()
    alone = True  # whether the next token begins a statement
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    for token, after in zip(tokens, [*tokens[1:], tokens[-1]], strict=True):
        if token.type in NOT_CODE:
            alone = alone or token.type == tokenize.NEWLINE
            continue
        if not (alone and token.type == tokenize.STRING and after.type == tokenize.NEWLINE):
            lines.update(range(token.start[0], token.end[0] + 1))
        alone = False
    return len(lines)


def imported(folder: Path, *words: str | Path) -> dict[str, int]:
    """Files of Maskwright that a command imports, with their lines of code."""
    (folder / "sitecustomize.py").write_text(TELL_IMPORTS)
    names = folder / f"{words[0]}.txt"
    path = os.pathsep.join([str(folder), str(SOURCE.parent)])
    environment = {**os.environ, "PYTHONPATH": path, "MASKWRIGHT_IMPORTS": str(names)}
    done = subprocess.run(
        [sys.executable, "-c", "from maskwright.cli import main; main()", *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = {}
    for name in set(names.read_text().split()):
        place = SOURCE.parent.joinpath(*name.split("."))
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                found[str(file.relative_to(SOURCE))] = lines_of_code(file.read_text("utf-8"))
    return found


def test_lines_of_code_are_counted_without_comments_docstrings_and_blank_lines() -> None:
    text = (
        '"""One.\n\nTwo."""\n\nimport os  # why\n\n# a comment\nX = """a\nb"""\n"""Of X."""\n\n\n'
        'def f() -> str:\n    """Doc."""\n    return "s"\n'
    )
    assert lines_of_code(text) == 5


def test_a_default_training_and_a_prediction_are_read_in_an_afternoon(
    write_pairs: Callable[..., Path], tmp_path: Path
) -> None:
    data, run = write_pairs(tmp_path / "data", 12), tmp_path / "run"
    for command in (
        ("train", data, "--out", run, "--minutes", "0.3"),
        ("predict", run, data / "images", "--out", tmp_path / "predicted"),
    ):
        found = imported(tmp_path, *command)
        files, lines = MOST[str(command[0])]
        listed = "\n".join(f"{count:5d} {file}" for file, count in sorted(found.items(), key=lambda item: -item[1]))
        assert {"__init__.py", "cli/__init__.py"} <= set(found)
        within = len(found) <= files and sum(found.values()) <= lines
        assert within, (
            f"{command[0]} imports {len(found)} files and {sum(found.values())} lines of code; {files} and {lines} "
            f"are allowed. Import where it is used what a default run does without.\n{listed}"
        )

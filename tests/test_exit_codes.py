"""One table of exit codes for all verbs: docs/exit-codes.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from maskwright.cli import app, main
from maskwright.errors import DataError, FailedFilesError, MaskwrightError, visible

PAGE = Path(__file__).parents[1] / "docs" / "exit-codes.md"
VERBS = sorted(name for name in app if not name.startswith("-"))
WORDS = {
    "adopt": ["/nowhere", "--as", "1"],
    "compare": ["/nowhere", "/nowhere/else"],
    "convert": ["/nowhere", "/nowhere/out", "--to", "coco"],
    "weak": ["/nowhere.py", "/nowhere"],
    "labels": ["export", "/nowhere", "/nowhere/out", "--to", "coco"],
    "scribbles": ["train", "/nowhere", "--out", "/nowhere/out"],
    "demo": ["--minutes", "-1"],
    "models": ["no-such-network"],
    "predict": ["/nowhere", "/nowhere/a.png"],
}
"""What each verb cannot do; `/nowhere` where it is not listed."""


def code_of(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    if words:
        monkeypatch.setattr("maskwright.cli.app", lambda _: app(list(words)))
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code if isinstance(caught.value.code, int) else int(caught.value.code is not None)


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_not_done_exits_2(
    verb: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert code_of(monkeypatch, verb, *WORDS.get(verb, ["/nowhere"])) == 2
    assert "error: " in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.png")), "nothing was made before it was refused"
    assert not Path("/nowhere").exists()


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (MaskwrightError("A mistake."), 2),
        (DataError("A mistake."), 2),
        (FailedFilesError("One of two."), 1),
        (OSError(28, "No space left on device", "/disk/a.png"), 2),
        (MemoryError(), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_end_has_its_code_and_is_in_the_table(
    raised: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(_: object) -> None:
        raise raised

    monkeypatch.setattr("maskwright.cli.app", failing)
    assert code_of(monkeypatch) == code
    assert visible(capsys.readouterr().err).strip()
    assert re.search(rf"^\| {code} \|", PAGE.read_text("utf-8"), re.MULTILINE)

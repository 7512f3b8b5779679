"""Nothing of the user's is written over, and nothing that Maskwright wrote is taken for the user's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright import open_dataset, runs
from maskwright.errors import DataError, OutputError
from maskwright.outputs import RECORD, RECORD_OF_FILES, Guard, guarded, guarded_file, is_own, require_free

ASKED = {"verb": "predict", "model": "runs/cells"}


def write(folder: Path, name: str = "a.txt", text: str = "one", *, overwrite: bool = False) -> Path:
    with guarded(folder, asked=ASKED, overwrite=overwrite):
        runs.write_text(folder / name, text)
    return folder / name


def test_what_was_written_may_be_written_again_and_a_user_s_file_may_not(tmp_path: Path) -> None:
    path = write(tmp_path / "out", "below/a.txt")
    assert is_own(path)
    write(tmp_path / "out", "below/a.txt", "two")
    path.write_text("a correction")
    assert not is_own(path)
    with pytest.raises(OutputError, match=r"a.txt was changed since Maskwright wrote it.* --overwrite replaces it"):
        write(tmp_path / "out", "below/a.txt", "three")
    assert path.read_text() == "a correction"
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"mine.txt was not written by Maskwright"):
        write(tmp_path / "out", "mine.txt")
    write(tmp_path / "out", "mine.txt", "theirs", overwrite=True)
    assert (tmp_path / "out/mine.txt").read_text() == "theirs"


def test_a_link_to_a_user_s_file_is_not_followed_nor_replaced(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.txt").symlink_to(tmp_path / "mask.png")
    with pytest.raises(OutputError):
        write(tmp_path / "out")
    (tmp_path / "out/b.txt").symlink_to(tmp_path / "gone")
    with pytest.raises(OutputError):
        write(tmp_path / "out", "b.txt")
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "real").mkdir()
    assert is_own(write(tmp_path / "link"))
    assert is_own(tmp_path / "real" / "a.txt")


def test_the_record_tells_what_was_asked_and_survives_half_a_line(tmp_path: Path) -> None:
    write(tmp_path, "na\udcffme.txt")
    record = tmp_path / RECORD
    first, second = map(json.loads, record.read_text().splitlines())
    assert first == ASKED
    assert (second["file"], second["size"]) == ("na\udcffme.txt", 3)
    record.write_text(record.read_text() + '{"file": "b')
    write(tmp_path, "b.txt")
    write(tmp_path, "b.txt", "again")
    write(tmp_path, "na\udcffme.txt", "again")


def test_a_kill_between_record_and_file_is_no_change_of_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path)

    def killed(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, text="two")
    assert path.read_text() == "one"
    write(tmp_path, text="three")
    assert path.read_text() == "three"


def test_single_files_have_a_record_of_their_own(tmp_path: Path) -> None:
    sheet = tmp_path / "preview.png"
    for text in ("one", "two"):
        with guarded_file(sheet, asked=ASKED):
            runs.write_text(sheet, text)
    assert {path.name for path in tmp_path.iterdir()} == {"preview.png", RECORD_OF_FILES}
    (tmp_path / "photo.png").write_text("mine")
    with pytest.raises(OutputError), guarded_file(tmp_path / "photo.png", asked=ASKED):
        pass


def test_a_run_s_own_folder_may_hold_what_was_written_before_there_were_records(tmp_path: Path) -> None:
    scores = tmp_path / "scores.json"
    scores.write_text("of an older version")
    for text in ("first", "second"):
        with guarded(tmp_path, asked={"verb": "evaluate"}, own=True):
            runs.write_text(scores, text)
    scores.write_text("my own notes")
    with pytest.raises(OutputError, match="was changed since"), guarded(tmp_path, asked={}, own=True):
        runs.write_text(scores, "third")
    assert scores.read_text() == "my own notes"
    with guarded(tmp_path, asked={}, own=True, overwrite=True):
        runs.write_text(scores, "third")


def test_what_a_sibling_writes_meanwhile_is_known(tmp_path: Path) -> None:
    first, second = Guard(tmp_path, {}), Guard(tmp_path, {})
    page = tmp_path / "page.html"
    for guard in (first, second, first):
        guard.check(page)
        (tmp_path / "new").write_text(f"by {id(guard)}")
        guard.record(page, tmp_path / "new")
        (tmp_path / "new").replace(page)


def test_it_is_known_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_text("mine")
    with guarded(tmp_path, asked=ASKED):
        require_free([tmp_path / "a.png", tmp_path.parent / "elsewhere.png"])
        with pytest.raises(OutputError, match=r"b\.png"):
            require_free([tmp_path / "a.png", tmp_path / "b.png"])


def test_predictions_are_no_truth_until_somebody_changes_them(discs: Path, tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    for name in ("images", "classes.toml"):
        (discs / name).rename(tmp_path / "cells" / name)
    masks = tmp_path / "cells/masks"
    with guarded(masks, asked=ASKED):
        for path in sorted((discs / "masks").iterdir()):
            runs.write_bytes(masks / path.name, path.read_bytes())
    with pytest.raises(DataError, match=r"was predicted by Maskwright, and is as it was written; so are \d+ of"):
        open_dataset(tmp_path / "cells")
    for path in masks.glob("*.png"):
        with Image.open(path) as image:
            changed = np.asarray(image).copy()
        changed[0, 0] = 7 - changed[0, 0]
        Image.fromarray(changed).save(path)
    assert open_dataset(tmp_path / "cells").samples

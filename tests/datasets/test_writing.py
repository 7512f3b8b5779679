"""Folders are written aside: killed, failed or on a full disk, a writer leaves nothing that opens as a data set."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from maskwright.check.audit import audit
from maskwright.check.fixing import fix
from maskwright.convert import Target, convert
from maskwright.datasets.adopt import adopt
from maskwright.datasets.formats import open_dataset
from maskwright.datasets.writing import unfinished, written_aside
from maskwright.errors import DataError, RunError
from maskwright.outputs import UNFINISHED
from maskwright.synthetic import write_dataset

Progress = Callable[[int, int], None]
WRITERS: dict[str, Callable[[Path, Path, Progress], object]] = {
    **{
        f"convert --to {to}": lambda data, out, progress, to=to: convert(  # type: ignore[misc]
            open_dataset(data), out, to, progress=progress
        )
        for to in get_args(Target)
    },
    "check --fix": lambda data, out, progress: fix(audit(data), out, progress=progress),
    "demo --images-only": lambda data, out, progress: write_dataset(
        out, "cells", {"train": 4, "test": 1}, size=(64, 64), progress=progress
    ),
}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stop_after(count: int, error: BaseException) -> Progress:
    def tell(done: int, total: int) -> None:
        if done == count:
            raise error

    return tell


def nothing(done: int, total: int) -> None:
    """No progress is shown."""


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_interrupted_opens_as_nothing_and_is_completed_by_the_same_call(
    discs: Path, tmp_path: Path, name: str
) -> None:
    write, out = WRITERS[name], tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        write(discs, out, stop_after(3, KeyboardInterrupt()))
    assert not out.exists()
    (aside,) = (path for path in tmp_path.iterdir() if path.name.startswith("."))
    with pytest.raises(DataError, match="is not finished"):
        open_dataset(aside)
    images = [path for path in aside.rglob("*.*g") if path.parent.name not in ("masks", "SegmentationClass")]
    before = {str(path.relative_to(aside)): path.stat().st_ino for path in images}
    assert before
    # A killed process leaves half a file too.
    half = aside / next(iter(before))
    (half.parent / f".maskwright-{half.stem}-a1b2c3d4{half.suffix}").write_bytes(b"half")
    write(discs, out, nothing)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    if not name.endswith("voc"):  # whose JPEGs are encoded anew
        assert all((out / path).stat().st_ino == number for path, number in before.items())
    write(discs, tmp_path / "at once", nothing)
    found, expected = content(out), content(tmp_path / "at once")
    if name == "check --fix":
        assert found.pop("corrections.json") == expected.pop("corrections.json").replace(b"at once", b"out")
    assert found == expected
    assert len(open_dataset(out).samples) in (5, 8)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_nothing(discs: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def full(handle: int) -> None:
        written.append(handle)
        if len(written) == 7:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("maskwright.runs.os.fsync", full)
    before = set(tmp_path.iterdir())
    with pytest.raises(OSError, match="No space"):
        WRITERS[name](discs, tmp_path / "out", nothing)
    assert set(tmp_path.iterdir()) == before


def test_a_killed_process_leaves_nothing_that_opens(discs: Path, tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from maskwright.convert import convert
from maskwright.datasets.formats import open_dataset
kill = lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done == 3 else None
convert(open_dataset({str(discs)!r}), Path({str(tmp_path / "out")!r}), "folder", progress=kill)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.unfinished", "discs"]
    with pytest.raises(DataError, match=r"unfinished(?s:.)*Give that command again"):
        open_dataset(tmp_path / ".out.unfinished")
    convert(open_dataset(discs), tmp_path / "out", "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["discs", "out"]
    assert len(open_dataset(tmp_path / "out").samples) == 8


def test_other_data_or_another_format_begins_anew(discs: Path, tmp_path: Path) -> None:
    for change in (False, True):
        with pytest.raises(KeyboardInterrupt):
            convert(open_dataset(discs), tmp_path / "out", "folder", progress=stop_after(3, KeyboardInterrupt()))
        first = sorted((discs / "masks").iterdir())[0]
        if change:
            Image.fromarray(np.zeros((40, 48), np.uint8)).save(first)
        convert(open_dataset(discs), tmp_path / "out", "folder" if change else "coco")
        assert (tmp_path / "out" / "annotations").exists() == (not change)
        assert not (tmp_path / "out" / "annotations" / "masks").exists()
        if change:
            data = open_dataset(tmp_path / "out")
            assert not data.read(data.samples[0]).mask.any()
        else:
            (tmp_path / "out").rename(tmp_path / "coco")


def test_two_processes_do_not_write_one_folder(tmp_path: Path) -> None:
    with (
        written_aside(tmp_path / "out", {}),
        pytest.raises(RunError, match="in use by process"),
        written_aside(tmp_path / "out", {}),
    ):
        pass
    assert (tmp_path / "out").is_dir()


def test_a_volume_is_written_in_place_under_a_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "volume"
    out.mkdir()
    monkeypatch.setattr("maskwright.datasets.writing.os.path.ismount", lambda path: path == out)
    with written_aside(out, {}) as aside:
        assert aside == out
        assert (out / UNFINISHED).exists()
        (aside / "a").touch()
    assert content(out) == {"a": b""}


def test_a_set_that_is_added_to_is_marked_until_it_is_complete(tmp_path: Path) -> None:
    write_dataset(tmp_path / "cells", "cells", {"train": 2}, size=(64, 64))
    stop = stop_after(1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "cells", "cells", {"train": 4}, size=(64, 64), progress=stop)
    for place in ("cells", "cells/train", "cells/train/images"):
        with pytest.raises(DataError, match="is not finished"):
            open_dataset(tmp_path / place)
    write_dataset(tmp_path / "cells", "cells", {"train": 4}, size=(64, 64))
    assert len(open_dataset(tmp_path / "cells").samples) == 4
    with pytest.raises(ValueError, match="stays"), unfinished(tmp_path / "cells", {}):
        raise ValueError("stays")
    assert (tmp_path / "cells" / UNFINISHED).exists()


def test_an_adoption_that_is_killed_halfway_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for name in ("one", "two", "three"):
        for part, pixels in (("first", rng.integers(0, 255, (16, 16, 3))), ("second", rng.integers(0, 2, (16, 16)))):
            path = tmp_path / "data" / f"{name}_{part}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)

    def killed(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("maskwright.datasets.adopt.runs.write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            adopt(tmp_path / "data", 1, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["classes.toml"]
    adopt(tmp_path / "data", 1, tmp_path / "out")
    assert len(open_dataset(tmp_path / "out").samples) == 3
    (tmp_path / "out" / "classes.toml").write_text((tmp_path / "out" / "classes.toml").read_text() + "# mine\n")
    (tmp_path / "out" / "manifest.csv").write_text("mine")
    with pytest.raises(DataError, match=r"manifest\.csv exists already"):
        adopt(tmp_path / "data", 1, tmp_path / "out")

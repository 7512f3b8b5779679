from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from maskwright import runs
from maskwright.errors import RunError, RunWarning, explained


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    runs.write_text(path, "old")

    def fail() -> None:
        with runs.replacing(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_a_write_makes_folders_and_keeps_usual_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    runs.write_json(path, {"ä": 1})
    assert runs.read_json(path) == {"ä": 1}
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_json_without_a_standard_meaning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        runs.write_json(tmp_path / "x.json", float("nan"))
    assert not (tmp_path / "x.json").exists()


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere is not a run: the folder does not exist"):
        runs.read_run(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"is not a run: it has no run.json"):
        runs.read_run(tmp_path)
    (tmp_path / runs.RUN).write_text("{")
    with pytest.raises(RunError, match=r"run.json cannot be read as JSON"):
        runs.read_run(tmp_path)
    (tmp_path / runs.RUN).write_text(json.dumps({"schema": runs.SCHEMA + 1}))
    with pytest.raises(RunError, match=r"Install a newer one: pip install --upgrade maskwright"):
        runs.read_run(tmp_path)
    (tmp_path / runs.RUN).write_text("[]")
    with pytest.raises(RunError, match=r"has no schema version"):
        runs.read_run(tmp_path)


def test_fresh_folders_never_meet(tmp_path: Path) -> None:
    names = [runs.fresh_folder(tmp_path / "runs", "cells").name for _ in range(3)]
    assert names == ["cells", "cells-2", "cells-3"]


def test_a_run_in_use_is_refused_and_freed_when_its_process_dies(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\nfrom pathlib import Path\nfrom maskwright.runs import locked\n"
            "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(runs.__file__).parents[1])},
    )
    assert holder.stdout is not None
    with holder, holder.stdout:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=rf"is in use by process {holder.pid} "), runs.locked(tmp_path):
            pass
        holder.kill()
        holder.wait()
    with runs.locked(tmp_path):
        pass


def test_what_a_killed_process_was_writing_is_swept_and_a_sibling_s_is_not(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom maskwright import runs\n"
        "with runs.replacing(Path(sys.argv[1]) / 'masks' / 'photo.png') as temporary:\n"
        "    temporary.write_bytes(b'half')\n    print('half', flush=True)\n    sys.stdin.read()\n"
    )
    mine = tmp_path / ".my-settings.json"
    mine.touch()

    def left() -> list[Path]:
        return [path for path in (tmp_path / "masks").iterdir() if runs.is_temporary(path.name)]

    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdin=pipe, stdout=pipe) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"half\n"
        runs.sweep(tmp_path)
        assert len(left()) == 1
        other.kill()
        other.wait()
    assert len(left()) == 1
    with runs.locked(tmp_path):
        assert left() == []
    assert mine.exists()


def test_a_lock_can_be_waited_for(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom maskwright import runs\n"
        "with runs.locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(0.3)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="in use by process"), runs.locked(tmp_path):
            pass
        with runs.locked(tmp_path, wait=True):
            assert (tmp_path / runs.LOCK).read_text().startswith(f"process {os.getpid()}")


def test_a_file_system_without_locks_is_said_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(file: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(runs, "_lock", none)
    with pytest.warns(RunWarning, match=r"cannot be locked \(Function not implemented\)"), runs.locked(tmp_path):
        pass


def test_errors_of_the_system_name_the_file_that_was_meant(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        with runs.replacing(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space") as caught:
        full(tmp_path / "a.json")
    told = explained(caught.value)
    assert str(told).startswith(f"{tmp_path / 'a.json'}: No space left on device. Free some space")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "afile").write_text("")
    with pytest.raises(OSError, match="afile"):
        runs.require_writable(tmp_path / "afile" / "below")


def test_no_permissions_are_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "chmod", refused)
    runs.write_text(tmp_path / "a.txt", "a")
    assert (tmp_path / "a.txt").read_text() == "a"


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/b", "..", "", "link", "a\\b", None])
def test_a_run_names_only_files_within(tmp_path: Path, name: Any) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    assert runs.inside(folder, "a.png") == folder / "a.png"
    with pytest.raises(RunError, match="elsewhere"):
        runs.inside(folder, name)


def test_names_that_are_not_utf_8_are_written_and_read(tmp_path: Path) -> None:
    runs.write_json(tmp_path / "a.json", {"name": "caf\udce9", "other": "\ud800"})
    assert runs.read_json(tmp_path / "a.json") == {"name": "caf\udce9", "other": "\ud800"}
    runs.write_text(tmp_path / "a.csv", "caf\udce9")
    assert (tmp_path / "a.csv").read_bytes() == b"caf\xe9"


def test_a_copy_onto_a_full_disk_names_the_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").write_bytes(b"pixels")

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(source), None, str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left") as caught, runs.replacing(tmp_path / "copy.png") as temporary:
        shutil.copyfile(tmp_path / "source", temporary)
    assert explained(caught.value).file == tmp_path / "copy.png"


def test_errors_of_writing_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File too large") as caught, runs.naming(tmp_path / "cache.jsonl"):
        raise OSError(errno.EFBIG, "File too large")
    assert explained(caught.value).file == tmp_path / "cache.jsonl"

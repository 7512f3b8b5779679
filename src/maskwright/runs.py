"""The run folder: its file names, its schema version, and writing that never leaves half a file.

RUN/run.json            schema version, kind, classes, network, settings, data fingerprint, software, seed, scores
RUN/plan.toml           every decision with its value, reason and source
RUN/model.safetensors   the best weights so far (averaged ones if averaging is on)
RUN/resume/             the last state of training, for `--resume`
RUN/folds/K/            with --folds, a run for each fold
RUN/files.json          a hash of each sample's files, to name those that changed
RUN/log.jsonl           one JSON object a line: steps, validations, decisions of the clock
RUN/evaluations/NAME/   confusion matrices per image, scores, pictures
RUN/report.html         the page to read
"""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from maskwright.errors import CONTROL, MaskwrightError, RunError, RunWarning

SCHEMA = 1
RUN = "run.json"
PLAN = "plan.toml"
WEIGHTS = "model.safetensors"
RESUME = "resume"
FOLDS = "folds"
LOG = "log.jsonl"
EVALUATIONS = "evaluations"
FILES = "files.json"
REPORT = "report.html"
LOCK = ".lock"
_TEMPORARY = re.compile(r"\.maskwright-.{0,32}-[a-z0-9_]{8}(\.[^.]*)?", re.DOTALL)
OUTPUTS = ".maskwright.jsonl"
"""Record of a folder of outputs; see `outputs`."""
TAKEN = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
"""What systems say where another process holds a lock; anything else is a file system that has none."""


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What systems say where nothing more can be written."""
RESTORE = "Restore it from a copy, or train again."
MOST_FOLDS = 1000
NUMBER = int | float
KINDS: dict[str, Any] = {
    "kind": str, "classes": dict, "network": dict, "preparation": dict, "settings": dict, "scores": dict, "given": dict,
    "tta": {"horizontal": bool, "vertical": bool},
    "input": {"channels": int, "dtype": str, "low": NUMBER, "middle": NUMBER, "high": NUMBER},
    "data": {"path": str, "val": str | None, "training": list, "validation": list, "fold": int | None},
    "folds": int, "max_bad": int, "seed": int, "seconds": NUMBER, "fold_minutes": NUMBER | None,
    "pretrained": str | None, "recipe": str | None, "created": str, "device": str, "software": dict,
}  # fmt: skip
"""Types of the values in `run.json`, those that are there; what is within settings, classes and network is checked
where it is used."""


class _Guard(Protocol):
    """What a folder of outputs lets be written; see `outputs`."""

    def covers(self, path: Path) -> bool: ...
    def check(self, path: Path) -> None: ...
    def record(self, path: Path, content: Path) -> None: ...


GUARDS: list[_Guard] = []
"""Those that hold now, for all threads; the last one that covers a file decides."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, flush it to disk and move it over `path`.

    A killed process leaves the old file or the new one, never a mixture; a failed block leaves the old one.
    The temporary name keeps the suffix, because encoders choose the format by it.
    """
    guard = next((one for one in reversed(GUARDS) if one.covers(path)), None)
    if guard is not None:
        guard.check(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _temporary(path)
    try:
        yield temporary
        with suppress(PermissionError, NotImplementedError):  # shared drives and mounted buckets know no permissions
            temporary.chmod(0o666 & ~umask())
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if guard is not None:
            guard.record(path, temporary)
        temporary.replace(path)
    except OSError as error:
        full = error.errno in FULL and error.filename2 in (temporary, str(temporary))  # a copy names both files
        if error.errno is not None and (full or error.filename in (None, str(temporary))):
            error.filename = str(path)  # a full disk is told of a file that nobody has named
        raise
    finally:
        if handle is not None:
            os.close(handle)
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> tuple[int | None, Path]:
    """A new file beside `path`, and a handle that holds its lock, by which `sweep` knows that somebody writes it."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".maskwright-{path.stem[:32]}-", suffix=path.suffix, dir=path.parent)
        if sys.platform == "win32":  # which replaces no file that is open
            os.close(handle)
            return None, Path(name)
        with suppress(OSError):  # there are no locks here, or a sweep has just this one
            _lock(handle)
        if Path(name).exists():
            return handle, Path(name)
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what killed processes were writing into a folder, and into those in it; siblings at work are left alone.

    Where files cannot be locked, nobody can tell, and all stays.
    """
    folders = [folder]
    with suppress(OSError):
        folders += [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    for place in folders:
        with suppress(OSError):
            for path in [Path(entry.path) for entry in os.scandir(place) if is_temporary(entry.name)]:
                with suppress(OSError), path.open("rb+") as file:
                    _lock(file.fileno())
                    path.unlink()


def is_temporary(name: str) -> bool:
    """Whether a file's name is one that `replacing` gives to what is not yet in place."""
    return _TEMPORARY.fullmatch(name) is not None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors of writing to an open file name it; the system's own name none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def require_writable(folder: Path) -> None:
    """Make a folder of results and try to write into it, before hours of work; raises OSError, naming it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"written")
            file.flush()
    except OSError as error:
        error.filename = str(folder)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 text file atomically; names of files that are not UTF-8 keep their bytes."""
    try:
        encoded = content.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half a character, from an escape in somebody's JSON
        encoded = content.encode(errors="replace")
    write_bytes(path, encoded)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically, indented for human eyes; non-finite numbers are refused."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def read_json(path: Path) -> Any:
    """Read a JSON file of a run, or raise a RunError that names it."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise RunError(
            f"{path} does not exist.",
            expected="Expected a file that Maskwright wrote; was the run copied whole?",
            remedy="Copy the whole run folder.",
            file=path,
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read as JSON: {error}.", remedy=RESTORE, file=path) from None


def read_run(folder: Path) -> dict[str, Any]:
    """Read and check `run.json` of a run folder.

    Raises RunError if the folder is no run, or was written by a newer Maskwright.
    """
    path = folder / RUN
    if not path.is_file():
        found = "the folder does not exist" if not folder.exists() else f"it has no {RUN}"
        raise RunError(
            f"{folder} is not a run: {found}.",
            expected=f"Expected a folder that `maskwright train DATA --out RUN` wrote, with {RUN} and {WEIGHTS} in it.",
            remedy="Give such a folder.",
            file=path,
        )
    content = read_json(path)
    schema = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(schema, int):
        raise RunError(
            f"{path} has no schema version, so it was not written by Maskwright.",
            remedy="Train again, or restore it.",
            file=path,
        )
    if schema > SCHEMA:
        raise RunError(
            f"{path} has schema version {schema}, and this Maskwright reads up to {SCHEMA}.",
            remedy="Install a newer one: pip install --upgrade maskwright",
            file=path,
        )
    assert isinstance(content, dict)
    wrong = _of_other_kind(content, KINDS)
    if wrong:
        raise RunError(f"{path}: {wrong}.", expected="Expected what training wrote.", remedy=RESTORE, file=path)
    return content


def require(content: dict[str, Any], run: Path, *names: str) -> None:
    """Raise RunError where the `run.json` of a run lacks values, those within others named as "data.path"."""
    for name in names:
        value: Any = content
        for key in name.split("."):
            if not isinstance(value, dict) or key not in value:
                path = run / RUN
                raise RunError(
                    f"{path} has no {name}.", expected="Expected what training wrote.", remedy=RESTORE, file=path
                )
            value = value[key]


def _of_other_kind(content: dict[str, Any], kinds: dict[str, Any], within: str = "") -> str:
    """What is wrong with the first value that is not of its kind; empty if all are."""
    for key, kind in kinds.items():
        if key not in content:
            continue
        value = content[key]
        if isinstance(kind, dict) and isinstance(value, dict):
            wrong = _of_other_kind(value, kind, f"{within}{key}.")
            if wrong:
                return wrong
            continue
        fits = not isinstance(kind, dict) and isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if not fits or (isinstance(value, str) and "\0" in value):
            return f"{within}{key} is {str(value)[:60]!r}"
    folds = content.get("folds", 1)
    return f"folds is {folds}" if not within and not 1 <= folds <= MOST_FOLDS else ""


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Raise RunError, naming the file, where the block comes upon something that Maskwright did not write there."""
    try:
        yield
    except MaskwrightError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError, EOFError) as error:
        found = f"{path} has no {error}" if isinstance(error, KeyError) else f"{path} cannot be understood: {error}"
        raise RunError(
            f"{found[:1000]}.", expected="Expected a file that Maskwright wrote.", remedy=RESTORE, file=path
        ) from error


def inside(folder: Path, *names: str) -> Path:
    """The file of a run's folder (in a folder in it) that another file of the run names.

    Raises RunError for a name that leads elsewhere: a run may be a stranger's, and what it names is read and shown.
    """
    if all(isinstance(name, str) and name and not {*"/\\:\0"} & {*name} and set(name) != {"."} for name in names):
        path = folder.joinpath(*names)
        if path.resolve() == folder.resolve().joinpath(*names):
            return path
    raise RunError(
        f"{folder} names the file {str(names[-1])[:80]!r}, which lies elsewhere.",
        expected="Expected the plain name of a file in that folder.",
        remedy="Do not use this run if it is not your own; restore it from a copy if it is.",
        file=folder,
    )


def holds_only_beginnings(folder: Path) -> bool:
    """Whether a folder is empty but for what a run that was killed before it began has left, its lock among it."""
    names = {path.name for path in folder.iterdir()}
    return not names or (
        LOCK in names and all(name in (LOCK, PLAN, FILES, RESUME) or is_temporary(name) for name in names)
    )


def fresh_folder(parent: Path, name: str) -> Path:
    """Make and return `parent/name`, or `parent/name-2`, `-3`, ... if that exists. Never touches an existing folder."""
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
        number += 1


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a run for writing; a second process that tries gets a RunError that names the first, or waits for it.

    The operating system drops the lock when the process ends, however it ends: no stale lock has to be removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as file:
        try:
            while True:
                try:
                    _lock(file.fileno())
                    break
                except OSError as error:
                    if not wait or error.errno not in TAKEN:
                        raise
                time.sleep(0.05)
        except OSError as error:
            if error.errno not in TAKEN:
                text = f"{folder} cannot be locked ({error.strerror}): let no second process write into it."
                warnings.warn(text, RunWarning, stacklevel=4)
                yield
                return
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise RunError(
                f"{folder} is in use by {holder}.",
                remedy="Wait until it ends, stop it, or choose another folder with --out.",
                file=folder,
            ) from None
        sweep(folder)
        with suppress(OSError):  # the lock is held on a full disk too; who holds it is only for a message
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), f"process {os.getpid()} on {platform.node()}".encode())  # with no buffer to be left
        yield


def software() -> dict[str, str]:
    """Look up the versions of Maskwright, Python and the packages that decide results."""
    found = {"python": platform.python_version()}
    for package in ("maskwright", "torch", "numpy", "opencv-python-headless", "pillow"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _lock(handle: int) -> None:
    """Take an exclusive lock without waiting; OSError if another process has it."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def umask() -> int:
    """Look up the permissions that this process takes away from new files; temporary files begin without them."""
    mask = os.umask(0)
    os.umask(mask)
    return mask

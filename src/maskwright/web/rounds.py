"""Rounds of training from the page: `maskwright train` in a process of its own, while labelling goes on.

A round trains on the project as it is when it begins. Its model is in `FOLDER/runs/round-N`, a run like any other; when
it ends, its predictions become the page's suggestions. The project's table `round` keeps labelled pixels, seconds and
score of each, so that the person sees whether more labels still help.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from maskwright import runs
from maskwright.errors import MaskwrightError, ProjectError
from maskwright.label.files import mark_of
from maskwright.label.journal import now
from maskwright.label.store import Project

FOLDER = "runs"
"""In the project: a folder for each round."""
_POINTS = 200
"""Points of a curve that are sent at most."""
_LONGEST_END = 60.0
"""Seconds that training has to save and end once it is told to."""


class Rounds:
    """Training started from the page, one at a time.

    Parameters
    ----------
    project
        The project.
    trained
        Called with the run of each round that has made a model, from another thread.
    """

    def __init__(self, project: Project, trained: Callable[[Path], None]) -> None:
        self._project, self._trained = project, trained
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: Thread | None = None
        self._run: Path | None = None
        self._minutes, self._began, self._pixels = 0.0, 0.0, 0
        self._message = ""

    def start(self, minutes: float) -> None:
        """Begin a round.

        Raises ProjectError if one goes on, nothing is labelled, or the minutes are out of range.
        """
        if not 0.2 <= minutes <= 24 * 60:
            raise ProjectError(f"{minutes} minutes are out of range.", expected="Expected 0.2 to 1440.")
        with self._lock:
            if self.running:
                raise ProjectError("A model is being trained.", remedy="Wait for its end, or stop it.")
            self._project.save()  # training reads the label files
            self._pixels = sum(state.labelled for state in self._project.images() if not state.validation)
            if not self._pixels:
                raise ProjectError("Nothing is labelled yet.", remedy="Label some images first.")
            folder = self._project.folder
            number = 1
            while (folder / FOLDER / f"round-{number}").exists():
                number += 1
            self._run = folder / FOLDER / f"round-{number}"
            self._run.parent.mkdir(exist_ok=True)
            self._minutes, self._began, self._message = minutes, time.monotonic(), ""
            words = ["train", str(folder), "--minutes", str(minutes), "--out", str(self._run)]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "maskwright", *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C in the terminal is for the page, which then ends this well
            )
            self._thread = Thread(target=self._follow, args=(self._process, self._run), daemon=True)
            self._thread.start()

    @property
    def running(self) -> bool:
        """Whether a model is being trained."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Have training save what it has and end; the best weights so far are used."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """Stop, and wait for the end."""
        self.stop()
        if self._process is not None:
            try:
                self._process.wait(_LONGEST_END)
            except subprocess.TimeoutExpired:
                self._process.kill()
        if self._thread is not None:
            self._thread.join()  # it writes to the project, which is closed after this

    def told(self) -> dict[str, Any]:
        """What the page shows: the state, the curves of the last round, and all rounds."""
        rows = self._project.journal.rows("SELECT at, run, labelled_pixels, seconds, scores FROM round ORDER BY id")
        names = ("at", "run", "pixels", "seconds")
        rounds = [{**dict(zip(names, row, strict=False)), **json.loads(row[4])} for row in rows]
        lines = [] if self._run is None else read_log(self._run / runs.LOG)
        steps = [line for line in lines if line["kind"] == "step"]
        return {
            "running": self.running,
            "minutes": self._minutes,
            "seconds": time.monotonic() - self._began if self.running else 0,
            "message": self._message,
            "loss": [[line["fraction"], line["loss"]] for line in steps[:: max(1, len(steps) // _POINTS)]],
            "miou": [
                [next((s["fraction"] for s in reversed(steps) if s["step"] <= line["step"]), 0), line["miou"]]
                for line in validations(lines)
            ],
            "rounds": rounds,
        }

    def _follow(self, process: subprocess.Popen[bytes], run: Path) -> None:
        """Wait for the end of training, and make use of its model."""
        assert process.stderr is not None, "it was asked for"
        said = process.stderr.read().decode("utf-8", "replace").splitlines()
        code = process.wait()
        process.stderr.close()
        errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
        try:
            if not (run / runs.WEIGHTS).is_file():
                raise ProjectError(" ".join(errors) or f"Training ended with the code {code}, and made no model.")
            scores = [line["miou"] for line in validations(read_log(run / runs.LOG))]
            with self._project.journal.change():
                self._project.journal.rows(
                    "INSERT INTO round (at, model, run, labelled_pixels, seconds, scores) VALUES (?, ?, ?, ?, ?, ?)",
                    *(now(), mark_of(run / runs.WEIGHTS), run.name, self._pixels, time.monotonic() - self._began),
                    json.dumps({"miou": max(scores, default=None)}),
                )
            self._trained(run)
        except MaskwrightError as error:
            self._message = str(error)


def validations(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of a log that have a score; a validation without a labelled pixel has none."""
    return [line for line in lines if line["kind"] == "validation" and line["miou"] is not None]


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's log, as far as they are written."""
    try:
        lines: Iterable[str] = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:  # the last one, half written
            break
    return found

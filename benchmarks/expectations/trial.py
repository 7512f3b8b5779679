"""One case being tried: its input, the commands that were run, and what is held against them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LIMIT = 240
"""Seconds after which a command counts as hanging."""


class Wrong(AssertionError):
    """The program did not do what is right."""


@dataclass(frozen=True)
class Answer:
    """What a command gave."""

    code: int
    out: str
    """Standard output."""
    text: str
    """Standard output and standard error, white space folded."""
    command: str

    def exits(self, *codes: int) -> Answer:
        """Hold the exit code against those that are right; a traceback never is."""
        if "Traceback (most recent call last)" in self.text:
            raise Wrong(f"traceback: ...{self.text[-300:]} [{self.command}]")
        if self.code not in codes:
            raise Wrong(f"exit {self.code}, expected {codes}: {self.text[-300:]} [{self.command}]")
        return self

    def says(self, *patterns: str) -> Answer:
        """Each regular expression (in any case) is somewhere in the text."""
        for pattern in patterns:
            if not re.search(pattern, self.text, re.IGNORECASE):
                raise Wrong(f"does not say {pattern!r}: {self.text[:400]} [{self.command}]")
        return self

    def never(self, *patterns: str) -> Answer:
        """None of the regular expressions is in the text."""
        for pattern in patterns:
            found = re.search(pattern, self.text, re.IGNORECASE)
            if found:
                raise Wrong(f"says {found[0]!r} [{self.command}]")
        return self

    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


class Trial:
    """An input and a place to work in."""

    def __init__(self, folder: Path, work: Path) -> None:
        self.folder = folder
        self.work = work
        self.commands: list[str] = []
        work.mkdir()

    def run(self, *words: str | Path, coding: str | None = None) -> Answer:
        """`maskwright WORDS` in the working folder."""
        return self.python("-m", "maskwright", *words, coding=coding)

    def python(self, *words: str | Path, coding: str | None = None) -> Answer:
        """`python WORDS` in the working folder."""
        return self._call([sys.executable, *map(str, words)], coding)

    def shell(self, script: Path) -> Answer:
        """A script of the case's own, with `maskwright` on its path."""
        return self._call(["sh", str(script)], None)

    def _call(self, words: list[str], coding: str | None) -> Answer:
        command = shlex.join(words)
        self.commands.append(command)
        bin_folder = self.work.parent / "bin"
        if not bin_folder.exists():
            bin_folder.mkdir()
            program = bin_folder / "maskwright"
            program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m maskwright "$@"\n')
            program.chmod(0o755)
        environment = os.environ | {"COLUMNS": "400", "PATH": f"{bin_folder}:{os.environ['PATH']}"}
        if coding:
            environment["PYTHONIOENCODING"] = coding
        try:
            done = subprocess.run(
                words, cwd=self.work, env=environment, capture_output=True, timeout=LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            raise Wrong(f"hangs for {LIMIT} s [{command}]") from None
        out, errors = (part.decode(coding or "utf-8", "replace") for part in (done.stdout, done.stderr))
        return Answer(done.returncode, out, " ".join(f"{out}\n{errors}".split()), command)

    def masks(self, *parts: str) -> dict[str, np.ndarray]:
        """Class indices of each sample, as `open_dataset` reads them; a refusal is wrong."""
        from maskwright import MaskwrightError, open_dataset

        path = self.folder.joinpath(*parts)
        self.commands.append(f"open_dataset({str(path)!r})")
        try:
            dataset = open_dataset(path)
            return {sample.id: dataset.read(sample).mask for sample in dataset.samples if sample.mask is not None}
        except MaskwrightError as error:
            raise Wrong(f"refused: {error}") from None

    def names(self, *parts: str) -> tuple[str, ...]:
        """Class names of a data set."""
        from maskwright import MaskwrightError, open_dataset

        try:
            return tuple(open_dataset(self.folder.joinpath(*parts)).classes.names)
        except MaskwrightError as error:
            raise Wrong(f"refused: {error}") from None

    def splits(self, *parts: str) -> dict[str | None, int]:
        """Number of samples in each split."""
        from maskwright import MaskwrightError, open_dataset

        try:
            dataset = open_dataset(self.folder.joinpath(*parts))
        except MaskwrightError as error:
            raise Wrong(f"refused: {error}") from None
        return {
            split: sum(sample.split == split for sample in dataset.samples)
            for split in {sample.split for sample in dataset.samples}
        }

    def train(self, *words: str | Path, out: str = "run") -> Path:
        """A few steps, which must succeed; returns the run folder."""
        self.run("train", *words, "--out", out).exits(0)
        return self.work / out


def holds(condition: bool, message: str) -> None:
    """Raise Wrong with the message unless the condition holds."""
    if not condition:
        raise Wrong(message)


def pixels(path: Path) -> np.ndarray:
    """The values of a picture, palette indices as they are."""
    return np.asarray(Image.open(path))

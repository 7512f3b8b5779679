"""What is wrong with a data set, finding by finding: readers of formats and the audit write these, people read them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from maskwright.errors import MaskwrightError


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One finding: what is wrong, where, and what to do about it."""

    level: Literal["error", "warning"]
    """Training refuses data with errors."""
    kind: str
    """A slug that is the same for all findings of a kind, such as "unpaired" or "duplicate-stem"."""
    files: tuple[Path, ...]
    """The files to look at, the one to be corrected first."""
    what: str
    """What was found, in a sentence."""
    remedy: str
    """What to do, in a sentence."""
    sample: str | None = None
    """Id of the sample it belongs to, if it is one's."""
    numbers: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Measurements for a picture of it, such as a shift in pixels."""


def report(problems: list[Problem] | None, problem: Problem, kind: type[MaskwrightError]) -> None:
    """Note a problem where a list of them is kept; without one, raise it as an error of this kind."""
    if problems is None:
        raise kind(problem.what, remedy=problem.remedy, file=problem.files[0] if problem.files else None)
    problems.append(problem)


def fix_command(root: Path) -> str:
    """The command that writes a corrected copy beside the data, to be shown in a line of its own."""
    return f"maskwright check {shlex.quote(str(root))} --fix {shlex.quote(str(root.parent / f'{root.name}-fixed'))}"

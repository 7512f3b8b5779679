"""What the command line shows: tables, messages, progress bars on a terminal and plain lines when piped.

Messages go to standard error and results to standard output, so that `--json` output can be piped.
"""

from __future__ import annotations

import io
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from maskwright.errors import CONTROL, visible

if TYPE_CHECKING:
    from maskwright.training.loop import Status

LINE_EVERY = 10.0
"""Seconds between progress lines when the output is no terminal."""


def show_anything() -> None:
    """Let output of any encoding show what it can, and a question mark for the rest: no work is lost to a dash."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def say(text: str) -> None:
    """A message for the user."""
    _console(stderr=True).print(visible(text), markup=False, highlight=False, soft_wrap=True)


def print_json(content: Any) -> None:
    """A result for a program, on standard output; JSON has no NaN and no infinity, which become null."""
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, stderr: bool = False) -> None:
    """A table; columns whose cells are all numbers are set flush right."""
    from rich.table import Table
    from rich.text import Text

    content = [list(row) for row in rows]
    table = Table(
        title=Text(visible(title)),
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=None,
        pad_edge=False,
    )
    for place, name in enumerate(columns):
        numeric = bool(content) and all(_is_number(row[place]) for row in content)
        table.add_column(Text(visible(name)), justify="right" if numeric else "left", no_wrap=place == 0)
    for row in content:
        table.add_row(*(Text(visible(cell)) for cell in row))
    _console(stderr=stderr).print(table)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, total) that shows progress over a known number of things."""
    console = _console(stderr=True)
    if console.is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
        ) as progress:
            task = progress.add_task(what, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
        return
    last = [time.monotonic()]

    def line(done: int, total: int) -> None:
        if time.monotonic() - last[0] > LINE_EVERY:
            last[0] = time.monotonic()
            say(f"{what}: {done} of {total}")

    yield line


@contextmanager
def training(shown: bool = True) -> Iterator[Callable[[Status], None]]:
    """A callback for the state of training: a bar with rate, time left, loss and validation mIoU, or plain lines.

    One that is not `shown` does nothing.
    """
    if not shown:
        yield lambda status: None
        return
    console = _console(stderr=True)
    speeds: list[float] = []

    def text(status: Status) -> str:
        speeds.append(status.images_per_second)
        del speeds[:-20]
        miou = "" if status.miou is None else f"   validation mIoU {status.miou:.3f}"
        return (
            f"step {status.step}   {sum(speeds) / len(speeds):.1f} images/s   {_duration(status.seconds_left)} left   "
            f"loss {status.loss:.3f}{miou}"
        )

    if console.is_terminal:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        with Progress(
            BarColumn(), TaskProgressColumn(), TextColumn("{task.description}", markup=False), console=console
        ) as progress:
            task = progress.add_task("reading", total=1.0)
            yield lambda status: progress.update(task, completed=status.fraction, description=text(status))
        return
    last = [-LINE_EVERY]

    def line(status: Status) -> None:
        shown = text(status)
        if time.monotonic() - last[0] > LINE_EVERY or status.fraction >= 1:
            last[0] = time.monotonic()
            say(f"{status.fraction:4.0%}   {shown}")

    yield line


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").replace("%", "").replace("-", "").strip().isdigit() or cell == "–"


def _console(*, stderr: bool) -> Any:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    # Piped output is not for a window of some width: a table must not be cut at 80 columns there.
    return Console(file=stream, width=None if stream.isatty() else 160)

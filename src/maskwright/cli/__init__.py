"""The command line: one function per verb, thin: parse, call, print.

Nothing heavy is imported here, so that `maskwright --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import TextIO

from maskwright import console
from maskwright.cli import data, labels, networks, results, training
from maskwright.cli.application import app
from maskwright.errors import InputWarning, MaskwrightError, RunWarning, explained

__all__ = ["app", "data", "labels", "main", "networks", "results", "training"]


def main() -> None:
    """Run the command line; a user's mistake is printed without a traceback and exits 2 (docs/exit-codes.md)."""
    warnings.showwarning = _show_warning
    console.show_anything()
    try:
        app()
    except MaskwrightError as error:
        console.say(f"error: {error}")
        sys.exit(error.code)
    except KeyboardInterrupt:
        console.say("Stopped.")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe, `head` say, has gone. Python would complain while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        console.say(f"error: {explained(error)}")
        sys.exit(2)
    except MemoryError as error:
        console.say(
            f"error: The memory does not suffice: {error or 'nothing is left'}. Give smaller images or settings."
        )
        sys.exit(2)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, (InputWarning, RunWarning)):
        console.say(f"warning: {message}")
    else:
        console.say(f"warning: {category.__name__}: {message} ({filename}:{lineno})")

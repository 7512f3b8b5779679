"""Write `log.jsonl`, and TensorBoard's files where that is installed."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

from maskwright import runs

BOARD = "tensorboard"
"""Folder of TensorBoard's event files, in the run."""


class Log:
    """`log.jsonl`: one JSON object a line, appended and flushed.

    Where the package `tensorboard` is installed, the numbers go to `RUN/tensorboard/` as well.

    Parameters
    ----------
    path
        Of `log.jsonl`.
    after
        The step at which training begins. Lines of later steps, which a killed process wrote after its last saved
        state, are dropped: these steps will be done again.
    on
        Whether this process writes; otherwise the log does nothing.
    """

    def __init__(self, path: Path, after: int, *, on: bool = True) -> None:
        self.path = path if on else None
        self.board: Any = None
        if not on:
            return
        kept = []
        if path.exists() and after:
            kept = [line for line in path.read_text("utf-8").splitlines() if _step_of(line) <= after]
        runs.write_text(path, "".join(line + "\n" for line in kept))
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(path.parent / BOARD), purge_step=after + 1)

    def write(self, kind: str, **values: Any) -> None:
        """Append one line; seconds and rates are rounded, losses are exact."""
        if self.path is None:
            return
        rounded = {
            name: round(value, 4) if name in ("seconds", "images_per_second") else value
            for name, value in values.items()
        }
        with runs.naming(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **rounded}) + "\n")
        if self.board is not None and kind in ("step", "validation"):
            for name in ("loss", "lr", "images_per_second", "miou"):
                if values.get(name) is not None:
                    self.board.add_scalar(f"{kind}/{name}", values[name], values["step"])

    def close(self) -> None:
        """Write out what TensorBoard still holds."""
        if self.board is not None:
            self.board.close()


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line).get("step", 0))
    except ValueError:
        return math.inf  # the half-written last line of a killed process

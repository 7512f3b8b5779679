"""Writing a data set in another format: `maskwright convert`.

Masks are kept pixel for pixel in all formats; images are copied byte for byte wherever the format takes them. What a
format cannot hold is listed. Every result has a `classes.toml` that gives Maskwright the classes back as they were,
their order, names and colours; other programs pass over it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

from maskwright.convert import coco, folder, labelme, voc, yolo
from maskwright.convert.writing import Progress, Writing
from maskwright.datasets.classes import CLASSES_FILE
from maskwright.datasets.samples import Dataset
from maskwright.datasets.writing import identity, refuse_folder, written_aside
from maskwright.errors import DataError, SettingError

__all__ = ["TARGETS", "Conversion", "Target", "convert"]

Target = Literal["folder", "coco", "voc", "yolo", "labelme"]

TARGETS: dict[Target, Callable[[Writing], None]] = {
    "folder": folder.write,
    "coco": coco.write,
    "voc": voc.write,
    "yolo": yolo.write,
    "labelme": labelme.write,
}
"""Writers by the name of their format."""


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What was written."""

    out: Path
    to: Target
    images: dict[str, int]
    """How many in each split; "all" where the data has none."""
    lost: tuple[str, ...]
    """What the format cannot hold, a sentence each."""
    notes: tuple[str, ...]
    """What other programs should know of the result."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "out": str(self.out),
            "to": self.to,
            "images": self.images,
            "lost": list(self.lost),
            "notes": list(self.notes),
        }


def convert(
    dataset: Dataset,
    out: Path,
    to: Target,
    *,
    progress: Progress = lambda done, total: None,
    failed: dict[str, str] | None = None,
) -> Conversion:
    """Write a data set, with all of its masks, as a new folder in another format. The data itself is only read.

    The folder appears when it is complete: until then it is written under a hidden name beside it. What goes wrong
    leaves nothing; after Ctrl-C or a kill, the same call goes on where it stopped.

    Parameters
    ----------
    dataset
        As `open_dataset` gives it.
    out
        The folder to write; new, or empty.
    to
        The format.
    progress
        Called with the number of images written, and of all.
    failed
        A dictionary that takes samples which cannot be read, by id, with what is wrong; the others are written.

    Raises
    ------
    SettingError
        `out` is not new, lies within the data, or `to` is unknown.
    DataError
        Its subclasses say which file cannot be read.
    """
    if to not in get_args(Target):
        raise SettingError(f"--to {to}: unknown format.", expected=f"Expected {', '.join(TARGETS)}.")
    refuse_folder(out, dataset.root)
    asked = {
        "verb": "convert",
        "version": version("maskwright"),
        "to": to,
        "classes": dataset.classes.to_dict(),
        "data": identity(dataset.samples),
    }
    with written_aside(out, asked) as aside:
        writing = Writing(dataset, aside, progress, failed)
        TARGETS[to](writing)
        if failed and not any(writing.parts.values()):
            raise DataError("\n".join(list(failed.values())[:_SHOWN]))
        if len(writing.written_classes) >= _FEWEST:
            writing.written_classes.save(aside / CLASSES_FILE)
    counts = {part or "all": len(samples) for part, samples in writing.parts.items()}
    return Conversion(
        out=out, to=to, images=counts, lost=tuple(writing.told("lost")), notes=tuple(writing.told("note"))
    )


_SHOWN = 5
_FEWEST = 2
"""A class table of fewer classes is none."""

"""The verb demo: from generated images to a report."""

from __future__ import annotations

from pathlib import Path

from maskwright import console
from maskwright.cli import Json, Switch
from maskwright.cli.training import process_start


def demo(
    *,
    out: Path = Path("demo"),
    minutes: float = 5.2,
    images_only: Switch = False,
    json: Json = False,
) -> None:
    """Generate street scenes, train on them, evaluate on unseen ones, predict, write a report.

    Example: `maskwright demo --out demo`

    Parameters
    ----------
    out
        Where the images and the run go; must be new or an earlier demo's.
    minutes
        Time for training.
    images_only
        Only write the generated images: streets, cells and fields.
    """
    from maskwright.demo import generate, run_demo

    if images_only:
        for folder in generate(out, kinds=("street", "cells", "fields")):
            console.say(f"Wrote {folder}")
        return
    result = run_demo(out, minutes, started=process_start())
    if json:
        console.print_json(result)

"""The verb that shows the networks: models."""

from __future__ import annotations

from dataclasses import asdict

from maskwright import console
from maskwright.cli import Json, Switch


def models(name: str | None = None, *, time: Switch = False, json: Json = False) -> None:
    """List the networks: size, cost, weights, paper; with a name, one network and its layers.

    Example: `maskwright models unet`

    Parameters
    ----------
    name
        A network of the list.
    time
        Train and predict for a moment with each, and tell images per second at 256 x 256 on this machine.
    """
    from maskwright.models import installed, summary

    if name is None:
        with console.counting("counting") as progress:
            rows = summary.overview(progress)
    else:
        rows = [summary.summarize(name)]
    speeds: dict[str, summary.Speed] = {}
    if time:
        from maskwright.models.segmenter import best_device

        with console.counting("timing") as progress:
            for row in rows:
                speeds[row.name] = summary.measure(row.name, best_device())
                progress(len(speeds), len(rows))
    layers = summary.layer_table(name) if name else []
    if json:
        content = [{**asdict(row), **(asdict(speeds[row.name]) if time else {})} for row in rows]
        console.print_json({**content[0], "layers": [asdict(layer) for layer in layers]} if name else content)
    elif name is None:
        console.print_table(summary.OVERVIEW_TITLE, *summary.overview_table(rows, speeds))
        console.say("\n".join([summary.OVERVIEW_NOTES, *summary.licence_notes(rows), *installed.notes()]))
    else:
        console.print_table(name, ("network", ""), summary.facts(rows[0], speeds.get(name)))
        console.print_table(
            "",
            ("layer", "type", "output", "parameters"),
            [(row.name, row.kind, " x ".join(map(str, row.shape)), f"{row.parameters:,}") for row in layers],
        )

"""What a run's own files tell: its key facts, learning curves, plan, and the commands that made it.

Everything here reads defensively: an interrupted or older run lacks lines and keys, and the page then lacks them too.
"""

from __future__ import annotations

import json
import math
import shlex
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from markupsafe import Markup

from maskwright.evaluate import figures

__all__ = ["commands", "is_finite", "key_facts", "learning_curves", "mapping", "read_log", "read_plan", "three", "when"]

Plan = list[tuple[str, list[dict[str, str]]]]
"""Sections of decisions, each with name, value, reason and source as text."""


def read_log(path: Path) -> list[Any]:
    """Read the lines of `log.jsonl` that are whole: a killed process may leave half a line."""
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("kind"), str):
            entries.append(entry)
    return entries


def read_plan(path: Path) -> Plan:
    """Read the decisions of `plan.toml` by section: name, value, reason, source. Anything else is passed over."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return []
    sections = []
    for section, names in content.items():
        rows = [
            {
                "name": name,
                "value": _value(decision["value"]),
                "reason": str(decision.get("reason", "")),
                "source": str(decision.get("source", "")),
            }
            for name, decision in mapping(names).items()
            if isinstance(decision, Mapping) and "value" in decision
        ]
        if rows:
            sections.append((section, rows))
    return sections


def key_facts(content: Mapping[str, Any], log: list[Any]) -> list[tuple[str, str]]:
    """Collect the key facts of the run, those that are known."""
    network, data = content.get("network"), mapping(content.get("data"))
    model = network.get("name") if isinstance(network, Mapping) else network
    scores = mapping(content.get("scores"))
    last = max((entry.get("step", 0) for entry in log if is_finite(entry.get("step"))), default=None)
    seconds = content.get("seconds")
    if seconds is None:
        seconds = max((entry["seconds"] for entry in log if is_finite(entry.get("seconds"))), default=None)
    counts = [
        f"{len(data[part])} for {part}" for part in ("training", "validation") if isinstance(data.get(part), list)
    ]
    facts = [
        ("Model", model),
        ("Pretrained", content.get("pretrained")),
        ("Data", "/".join(Path(str(data["path"])).parts[-2:]) if data.get("path") else None),
        ("Images", ", ".join(counts)),
        ("Steps", scores.get("steps", last)),
        ("Duration", _duration(seconds) if is_finite(seconds) else None),
        ("Device", content.get("device")),
        ("Seed", content.get("seed")),
        ("Begun", when(content.get("created"))),
    ]
    return [(name, str(value)) for name, value in facts if value is not None and value != ""]


def learning_curves(log: list[Any], classes: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Plot the training loss, validation mIoU with the classes behind it, and the learning rate.

    Parameters
    ----------
    log
        The lines of `log.jsonl`.
    classes
        Names and colours.

    Returns
    -------
    list[dict[str, Any]]
        `title`, `note` and `svg` of each plot; those without two points are left out.
    """
    steps = [entry for entry in log if entry["kind"] == "step" and is_finite(entry.get("step"))]
    checks = [entry for entry in log if entry["kind"] == "validation" and is_finite(entry.get("step"))]
    curves = []

    def series(entries: list[Any], key: str) -> tuple[list[float], list[float]]:
        known = [(float(entry["step"]), float(entry[key])) for entry in entries if is_finite(entry.get(key))]
        return [x for x, _ in known], [y for _, y in known]

    x, y = series(steps, "loss")
    mean = figures.smoothed(y, max(5, len(y) // 25))
    lines = [
        figures.Line(x=x, y=mean, label="training loss, running mean"),
        figures.Line(x=x, y=y, label="training loss", style="line faint"),
    ]
    note = f"running mean at the end: {mean[-1]:.3f}" if mean else ""
    curves.append({"title": "Loss", "note": note, "svg": figures.line_figure(lines, title="Loss over steps", low=0.0)})

    x, y = series(checks, "miou")
    lines = [figures.Line(x=x, y=y, label="mIoU", style="line strong", dots=True)]
    for index, (name, color) in enumerate(classes):
        by_class = [{"step": entry["step"], "iou": _class_value(entry.get("iou"), index, name)} for entry in checks]
        class_x, class_y = series(by_class, "iou")
        lines.append(figures.Line(x=class_x, y=class_y, label=name, style="line class", color=color))
    note = f"best: {max(y):.3f} at step {x[int(np.argmax(y))]:.0f}; thin: classes" if y else ""
    svg = figures.line_figure(lines, title="Validation mIoU over steps", low=0.0, high=1.0) if x else Markup("")
    curves.append({"title": "Validation mIoU", "note": note, "svg": svg})

    x, y = series(steps, "lr")
    note = f"peak: {max(y):.2g}" if y else ""
    lines = [figures.Line(x=x, y=y, label="learning rate")]
    svg = figures.line_figure(lines, title="Learning rate over steps", low=0.0)
    curves.append({"title": "Learning rate", "note": note, "svg": svg})
    return [curve for curve in curves if curve["svg"]]


def commands(run: Path, content: Mapping[str, Any], plan: Plan, evaluated: Iterable[str]) -> list[str]:
    """Tell what to type to get this again: the training, and the evaluation of each data folder in `evaluated`."""
    data = mapping(content.get("data"))
    lines = []
    if isinstance(data.get("path"), str):
        words = ["maskwright", "train", data["path"]]
        if isinstance(data.get("val"), str):
            words += ["--val", data["val"]]
        if isinstance(content.get("pretrained"), str):
            words += ["--pretrained", content["pretrained"]]
        lines.append(shlex.join(words + _given(content, plan)))
    lines += [shlex.join(["maskwright", "evaluate", str(run), path]) for path in evaluated]
    return lines


def _given(content: Mapping[str, Any], plan: Plan) -> list[str]:
    """The options that were given by hand, as on the command line."""
    settings = mapping(content.get("settings"))
    words: list[str] = []
    for section, rows in plan:
        values = mapping(settings.get(section))
        for row in rows:
            name, value = row["name"], values.get(row["name"])
            if row["source"] not in ("given", "recipe") or value is None:
                continue
            option = name.replace("_", "-")
            if isinstance(value, Mapping):
                for key, item in value.items():
                    for one in item if isinstance(item, list) else [item]:
                        words += [f"--{option}.{key}", str(one)]
                continue
            if isinstance(value, bool):
                words.append(f"--{option}" if value else f"--no-{option}")
            else:
                words += [
                    f"--{option}",
                    *(str(item).removesuffix(".0") for item in (value if isinstance(value, list) else [value])),
                ]
    return words


def _class_value(iou: Any, index: int, name: str) -> Any:
    """The IoU of a class in a line of the log, which may list them by index or by name."""
    if isinstance(iou, Mapping):
        return iou.get(name)
    return iou[index] if isinstance(iou, list) and index < len(iou) else None


def three(value: float | None) -> str | None:
    """Write a score with three digits; None and NaN give None."""
    return f"{value:.3f}" if is_finite(value) else None


def is_finite(value: Any) -> TypeGuard[float]:
    """Tell whether a value of a JSON file is a number one can plot."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def mapping(value: Any) -> Mapping[str, Any]:
    """Take the value if it is a table, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def when(text: Any) -> str | None:
    """Write an ISO time for human eyes; what is no time stays as it is."""
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text).strftime("%d %B %Y, %H:%M")
    except ValueError:
        return text


def _value(value: Any) -> str:
    """A setting as one would read it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        joint = ", " if len(value) != 2 else " – " if isinstance(value[0], float) else " × "
        return joint.join(map(_value, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {_value(item)}" for name, item in value.items()) or "none"
    return str(value)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

"""One page to judge a run by: `report.html`, a single file without script, link or anything to load.

It is made from what is on disk alone (`run.json`, `plan.toml`, `log.jsonl`, `evaluations/*/`), so it can be made again
at any time. What an older or interrupted run lacks is left out of the page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from maskwright import pages, runs
from maskwright.datasets.classes import ClassTable
from maskwright.errors import RunError
from maskwright.evaluate import figures, pictures
from maskwright.evaluate.evaluation import COUNTS, INTERVAL_RESAMPLES, PICTURES, Evaluation, Picture
from maskwright.evaluate.history import (
    commands,
    is_finite,
    key_facts,
    learning_curves,
    mapping,
    read_log,
    read_plan,
    three,
    when,
)
from maskwright.evaluate.metrics import class_iou, mean_of_present
from maskwright.imaging.decoders import sniff
from maskwright.imaging.painting import data_address

__all__ = ["write_report"]

TEMPLATE = Path(__file__).with_name("report.html.jinja")
MISTAKES = 6
"""Confusions of two classes that are put into words."""


def write_report(run: Path) -> Path:
    """Write `report.html` into a run folder from what the folder holds, and return its path.

    Raises RunError if the folder is no run, or an evaluation in it cannot be read.
    """
    content = runs.read_run(run)
    log = read_log(run / runs.LOG)
    plan = read_plan(run / runs.PLAN)
    folders = sorted((run / runs.EVALUATIONS).glob(f"*/{COUNTS}"))
    evaluations = [(path.parent, Evaluation.load(path.parent)) for path in folders]
    evaluations.sort(key=lambda item: item[1].evaluated, reverse=True)
    classes = evaluations[0][1].classes if evaluations else _classes(content, run)
    legend = [] if classes is None else list(zip(classes.names, classes.css_colors, strict=True))
    path = run / runs.REPORT
    pages.write_page(
        path,
        TEMPLATE,
        name=run.resolve().name,
        headline=_headline(content, evaluations, log),
        facts=key_facts(content, log),
        legend=legend,
        evaluations=[_evaluation(folder, evaluation) for folder, evaluation in evaluations],
        curves=learning_curves(log, legend),
        plan=plan,
        software=sorted(mapping(content.get("software")).items()),
        how=mapping(content.get("data")).get("how"),
        commands=commands(run, content, plan, [evaluation.data for _, evaluation in evaluations]),
        colors={"wrong": _css(pictures.WRONG), "missed": _css(pictures.MISSED), "alarm": _css(pictures.FALSE_ALARM)},
        resamples=INTERVAL_RESAMPLES,
    )
    return path


def _headline(content: Mapping[str, Any], evaluations: list[tuple[Path, Evaluation]], log: list[Any]) -> dict[str, Any]:
    """The figures at the top of the page: those of the latest evaluation, else of the best validation."""
    if not evaluations:
        best = mapping(content.get("scores")).get("validation_miou")
        if best is None:
            known = [entry.get("miou") for entry in log if entry["kind"] == "validation"]
            best = max(filter(is_finite, known), default=None)
        return {"miou": three(best), "interval": None, "of": "best validation", "others": [], "sentence": None}
    folder, evaluation = evaluations[0]
    scores = evaluation.scores
    low, high = evaluation.interval
    others = [
        ("pixel accuracy", three(scores.pixel_accuracy)),
        ("mean Dice", three(scores.mean_dice)),
        ("mean boundary F1", three(float(mean_of_present(evaluation.boundary_f1_K)))),
    ]
    if evaluation.membranes is not None:
        others += [
            ("V_rand", three(evaluation.membranes.best(0)[0])),
            ("V_info", three(evaluation.membranes.best(1)[0])),
        ]
    return {
        "miou": three(scores.miou),
        "interval": None if math.isnan(low) else {"low": low, "high": high, "text": f"{low:.3f} – {high:.3f}"},
        "of": f"{_images(len(evaluation.ids))} of {folder.name}",
        "others": others,
        "sentence": _sentence(evaluation),
    }


def _sentence(evaluation: Evaluation) -> str | None:
    """What the scores say, in words."""
    iou, names = evaluation.scores.iou, evaluation.classes.names
    present = [int(place) for place in np.argsort(np.nan_to_num(iou, nan=2.0)) if not math.isnan(iou[place])]
    if len(present) < 2:
        return None
    best, worst = present[-1], present[0]
    text = f"Found best: {names[best]} (IoU {iou[best]:.2f}). Least well: {names[worst]} ({iou[worst]:.2f})."
    mistakes = _mistakes(evaluation)
    if mistakes:
        first = mistakes[0]
        text += f" Most frequent mistake: {first['truth']} taken for {first['prediction']}, "
        text += f"{first['of_all']} of all wrong pixels."
    return text


def _evaluation(folder: Path, evaluation: Evaluation) -> dict[str, Any]:
    """One evaluation as the template shows it."""
    scores, names, colors = evaluation.scores, evaluation.classes.names, evaluation.classes.css_colors
    columns = (scores.iou, scores.dice, scores.precision, scores.recall, evaluation.boundary_f1_K)
    rows = [
        {
            "name": name,
            "color": colors[index],
            "share": None if math.isnan(scores.truth_share[index]) else f"{100 * scores.truth_share[index]:.1f} %",
            "values": [(three(column[index]), _width(column[index])) for column in columns],
        }
        for index, name in enumerate(names)
    ]
    macro = [(three(value), _width(value)) for value in (float(mean_of_present(column)) for column in columns)]
    pixels, unlabelled = int(evaluation.confusions_NKK.sum()), int(evaluation.unlabelled_N.sum())
    absent = [name for name, value in zip(names, scores.iou, strict=True) if math.isnan(value)]
    low, high = evaluation.interval
    shown = [_shown(folder, evaluation, picture) for picture in evaluation.pictures]
    return {
        "id": f"evaluation-{folder.name}",
        "name": folder.name,
        "data": evaluation.data,
        "when": when(evaluation.evaluated),
        "images": _images(len(evaluation.ids)),
        "miou": three(scores.miou),
        "interval": None if math.isnan(low) else f"{low:.3f} – {high:.3f}",
        "accuracy": three(scores.pixel_accuracy),
        "rows": rows,
        "macro": macro,
        "absent": absent,
        "confusion": figures.confusion_figure(evaluation.confusion_KK, names, colors),
        "mistakes": _mistakes(evaluation),
        "ranking": figures.ranking_figure(
            evaluation.image_miou_N, evaluation.ids, title="mIoU of every image, from the worst to the best"
        )
        if len(evaluation.ids) > len(evaluation.pictures)
        else Markup(""),
        "membranes": _membranes(evaluation),
        "membrane_reason": evaluation.membrane_reason if len(names) == 2 else None,
        "tolerance": evaluation.tolerance,
        "pixels": f"{pixels:,}",
        "unlabelled": f"{unlabelled:,}",
        "unlabelled_share": f"{100 * unlabelled / max(pixels + unlabelled, 1):.1f} %",
        "seconds": f"{float(evaluation.seconds_N.mean()):.2f} s" if len(evaluation.ids) else None,
        "looked_for": None if evaluation.rarer is None else names[evaluation.rarer],
        "notes": evaluation.notes,
        "galleries": [
            (title, chosen)
            for title, kind in (("Worst images", "worst"), ("Best images", "best"))
            if (chosen := [entry for entry in shown if entry["kind"] == kind])
        ],
    }


def _membranes(evaluation: Evaluation) -> dict[str, Any] | None:
    found = evaluation.membranes
    if found is None:
        return None
    scores = []
    for which, name in enumerate(("V_rand", "V_info")):
        best, threshold = found.best(which)
        scores.append(
            {"name": name, "best": three(best), "threshold": f"{threshold:g}", "plain": three(found.plain(which))}
        )
    return {"class": evaluation.classes.names[found.index], "scores": scores}


def _mistakes(evaluation: Evaluation) -> list[dict[str, str]]:
    """The confusions of two classes that cost most pixels."""
    wrong_KK = evaluation.confusion_KK.copy()
    of_class = wrong_KK.sum(1)
    np.fill_diagonal(wrong_KK, 0)
    names, total = evaluation.classes.names, int(wrong_KK.sum())
    found = []
    for place in np.argsort(-wrong_KK, axis=None, kind="stable")[:MISTAKES]:
        truth, prediction = divmod(int(place), len(names))
        pixels = int(wrong_KK[truth, prediction])
        if pixels:
            found.append(
                {
                    "truth": names[truth],
                    "prediction": names[prediction],
                    "of_class": f"{100 * pixels / of_class[truth]:.1f} %",
                    "of_all": _percent(pixels / total),
                    "width": f"{100 * pixels / total:.1f}",
                }
            )
    return found


def _shown(folder: Path, evaluation: Evaluation, picture: Picture) -> dict[str, Any]:
    """One row of the gallery, its pictures as data."""
    place, names = picture.place, evaluation.classes.names
    matrix = evaluation.confusions_NKK[place]
    iou = np.where(matrix.sum(1) > 0, class_iou(matrix), np.nan)
    lowest = [int(k) for k in np.argsort(np.nan_to_num(iou, nan=2.0), kind="stable") if not math.isnan(iou[k])][:3]
    height, width = evaluation.sizes_N2[place].tolist()
    name = evaluation.ids[place]
    parts = [
        (part, f"{part} of {name}", _data(runs.inside(folder, PICTURES, getattr(picture, part))))
        for part in ("image", "truth", "prediction", "errors")
    ]
    return {
        "kind": picture.kind,
        "id": name,
        "miou": three(float(evaluation.image_miou_N[place])),
        "accuracy": three(float(evaluation.image_accuracy_N[place])),
        "size": f"{width} × {height}",
        "unlabelled": f"{100 * evaluation.unlabelled_N[place] / (height * width):.0f} % unlabelled"
        if evaluation.unlabelled_N[place]
        else None,
        "lowest": [(names[k], f"{iou[k]:.2f}") for k in lowest] if len(names) > 2 else [],
        "parts": [part for part in parts if part[2] is not None],
        "small": max(height, width) < 200,
    }


def _classes(content: Mapping[str, Any], run: Path) -> ClassTable | None:
    table = content.get("classes")
    return ClassTable.from_dict(table, str(run / runs.RUN)) if isinstance(table, Mapping) else None


def _data(path: Path) -> str | None:
    """A picture as a data address, or None if it is gone; raises RunError for what is no picture."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if sniff(content[:16]) not in ("png", "jpeg"):
        raise RunError(
            f"{path} is no picture.",
            expected="Expected PNG or JPEG, as `maskwright evaluate` writes them.",
            remedy="Evaluate again, or remove the evaluation.",
            file=path,
        )
    return data_address(content)


def _css(color: tuple[int, int, int]) -> str:
    return "rgb({} {} {})".format(*color)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %" if fraction >= 0.0995 else f"{100 * fraction:.1f} %"


def _width(value: float) -> str:
    return f"{100 * value:.1f}" if is_finite(value) else "0"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"

"""One page that shows what a check found: `check.html`, a single file without script, link or anything to load."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from maskwright import pages
from maskwright.check.audit import RULES, Audit, Group, grouped, title
from maskwright.check.pictures import Originals, Shot, montage_picture, pair
from maskwright.check.scan_result import QUANTILES, ScanResult
from maskwright.datasets.problems import Problem
from maskwright.errors import MaskwrightError

__all__ = ["write_page"]

TEMPLATE = Path(__file__).with_name("check.html.jinja")

_MOST_SHOWN = 8
"""Findings of a kind that are shown with pictures."""
_MOST_LISTED = 200
"""Findings of a kind that are listed without."""
_MONTAGE = 24
_MOST_SIZES = 12
_MOST_CHANNELS = 16


def write_page(path: Path, audit: Audit) -> None:
    """Write the page, atomically."""
    scanned = audit.scanned
    pages.write_page(
        path,
        TEMPLATE,
        name=audit.root.resolve().name,
        root=str(audit.root),
        errors=audit.errors,
        warnings=audit.warnings,
        facts=_facts(audit),
        groups=_groups(audit),
        classes=_classes(scanned),
        sizes=_sizes(scanned),
        channels=_channels(scanned),
        montage=_montage(scanned),
        notes=audit.notes,
        agreements=audit.agreements,
    )


def _facts(audit: Audit) -> list[tuple[str, str]]:
    scanned = audit.scanned
    splits = Counter(sample.split for sample in scanned.samples)
    kinds = Counter((len(picture.channels), picture.dtype) for _, picture in scanned.pictures)
    known = ", ".join(f"{count} in {split}" for split, count in splits.items() if split is not None)
    (channels, dtype), _ = kinds.most_common(1)[0] if kinds else ((0, ""), 0)
    pixels = ", ".join(
        [f"{channels} channel{'s' if channels != 1 else ''} of {dtype}"]
        + ([f"{len(kinds) - 1} other kinds"] if len(kinds) > 1 else [])
    )
    labelled = int(sum(pixels.sum() for pixels in scanned.class_pixels))
    valid = sum(count.pixels - count.invalid for _, one in scanned.labels for count in one.counts)
    return [
        ("pairs", f"{len(scanned.samples):,}" + (f" ({known})" if known else "")),
        ("format", audit.layout.format),
        ("images", pixels if kinds else "none could be read"),
        ("classes", f"{len(scanned.table)}"),
        ("labelled", f"{labelled / valid:.1%} of the pixels" if valid else "–"),
    ]


def _groups(audit: Audit) -> list[dict[str, Any]]:
    """Findings by kind, the first of each with pictures."""
    originals = Originals(audit.scanned)
    return [_group(group, originals) for group in grouped(audit.problems)]


def _group(group: Group, originals: Originals) -> dict[str, Any]:
    shown = [
        {
            "what": problem.what,
            "remedy": problem.remedy if problem.remedy != group.problems[0].remedy else None,
            "files": [str(path) for path in problem.files[:3]],
            "more": max(0, len(problem.files) - 3),
            "shots": _shots(problem, originals),
        }
        for problem in group.problems[:_MOST_SHOWN]
    ]
    rest = group.problems[_MOST_SHOWN:]
    return {
        "level": group.level,
        "kind": group.kind,
        "title": title(group.kind),
        "count": len(group.problems),
        "remedy": group.problems[0].remedy,
        "shown": shown,
        "rest": [problem.what for problem in rest[:_MOST_LISTED]],
        "more": len(rest),
        "unlisted": max(0, len(rest) - _MOST_LISTED),
    }


def _shots(problem: Problem, originals: Originals) -> list[Shot]:
    """Pictures of one finding, as its rule draws them; none where nothing can be read."""
    draw = next((rule.picture for rule in RULES if problem.kind in rule.titles), pair)
    try:
        return draw(problem, originals)
    except MaskwrightError:
        return []


def _classes(scanned: ScanResult) -> list[dict[str, Any]]:
    """Frequencies of the classes, in all and in each split."""
    splits = [split for split in ("train", "val", "test") if any(s.split == split for s in scanned.samples)]
    every = scanned.split_pixels((None, "train", "val", "test"))
    each = [(split, scanned.split_pixels((split,))) for split in splits]
    total = max(1, int(every.sum()))
    largest = max(1, int(every.sum(0).max())) if every.size else 1
    return [
        {
            "name": item.name,
            "color": "#{:02x}{:02x}{:02x}".format(*item.color),
            "values": ", ".join(map(str, item.values)),
            "pixels": f"{int(every[:, index].sum()):,}",
            "share": _percent(int(every[:, index].sum()) / total),
            "width": f"{100 * int(every[:, index].sum()) / largest:.2f}",
            "images": f"{int((every[:, index] > 0).sum()):,}",
            "splits": [
                (split, _percent(int(counts[:, index].sum()) / max(1, int(counts.sum())))) for split, counts in each
            ],
        }
        for index, item in enumerate(scanned.table.classes)
    ]


def _sizes(scanned: ScanResult) -> dict[str, Any]:
    """The most frequent sizes."""
    counts = Counter(picture.shape for _, picture in scanned.pictures)
    most = counts.most_common(_MOST_SIZES)
    return {
        "rows": [
            (f"{width} × {height}", f"{count:,}", f"{100 * count / most[0][1]:.1f}") for (height, width), count in most
        ],
        "more": len(counts) - len(most),
    }


def _channels(scanned: ScanResult) -> list[dict[str, Any]]:
    """Intensities of each channel: the mean, over images, of what each spans, on the range that all of them span."""
    kinds = Counter((len(picture.channels), picture.dtype) for _, picture in scanned.pictures)
    if not kinds:
        return []
    (channels, dtype), _ = kinds.most_common(1)[0]
    alike = [p for _, p in scanned.pictures if (len(p.channels), p.dtype) == (channels, dtype)]
    spans = np.array([[channel.quantiles for channel in p.channels] for p in alike], np.float64)
    means = np.array([[channel.mean for channel in p.channels] for p in alike], np.float64)
    low, high = (0.0, 255.0) if dtype == "uint8" else (float(spans.min()), float(spans.max()))
    rows = []
    for index in range(min(channels, _MOST_CHANNELS)):
        typical = dict(zip(QUANTILES, spans[:, index].mean(axis=0).tolist(), strict=True))
        place = {q: 100 * (value - low) / max(high - low, 1e-12) for q, value in typical.items()}
        rows.append(
            {
                "name": f"channel {index + 1}" if channels > 1 else "grey",
                "low": _number(float(spans[:, index].min())),
                "high": _number(float(spans[:, index].max())),
                "mean": _number(float(means[:, index].mean())),
                "spread": _number(float(means[:, index].std())),
                "whisker": (f"{place[0.01]:.2f}", f"{place[0.99] - place[0.01]:.2f}"),
                "box": (f"{place[0.25]:.2f}", f"{max(place[0.75] - place[0.25], 0.4):.2f}"),
                "middle": f"{place[0.5]:.2f}",
                "ends": (_number(low), _number(high)),
            }
        )
    return rows


def _montage(scanned: ScanResult) -> list[tuple[str, str]]:
    """Pairs spread evenly over the set."""
    with_masks = [sample for sample in scanned.samples if sample.mask is not None]
    if not with_masks:
        return []
    places = np.unique(np.linspace(0, len(with_masks) - 1, _MONTAGE).round().astype(int)).tolist()
    drawn = [(with_masks[place].id, montage_picture(with_masks[place], scanned)) for place in places]
    return [(name, data) for name, data in drawn if data is not None]


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def _percent(fraction: float) -> str:
    if fraction == 0:
        return "0"
    return f"{fraction:.1%}" if fraction >= 0.001 else f"{fraction:.3%}"

"""Plots as inline SVG, drawn by hand: no script, no font, no colour of their own, so that the page's style rules.

A figure is markup with CSS classes (`axis`, `grid`, `line`, ...); colours come from the page's custom properties, which
follow a light or dark screen. All text is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

__all__ = ["Line", "confusion_figure", "line_figure", "ranking_figure", "smoothed", "ticks"]

POINTS = 240
"""Points of a drawn line; more would not be seen, and a long log would make a heavy page."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a plot; `style` is a CSS class, `color` overrides its colour."""

    x: Sequence[float]
    y: Sequence[float]
    label: str
    style: str = "line"
    color: str | None = None
    dots: bool = False


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten apart) inside low..high, at most `most` steps apart."""
    if not high > low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def smoothed(y: Sequence[float], window: int) -> list[float]:
    """Centred running mean over up to `window` neighbours; at the ends over those that there are."""
    values = np.asarray(y, float)
    half = max(0, window // 2)
    total = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    start, stop = np.maximum(place - half, 0), np.minimum(place + half + 1, len(values))
    return [float(v) for v in (total[stop] - total[start]) / np.maximum(stop - start, 1)]


def line_figure(
    lines: Sequence[Line], *, title: str, unit: str = "steps", low: float | None = None, high: float | None = None
) -> Markup:
    """A plot of lines over one x axis, with ticks and the last value of the first line written out.

    `low` and `high` fix the ends of the y axis. Returns empty markup if no line has two finite points.
    """
    drawn = [line for line in (_thinned(line) for line in lines) if len(line.x) > 1 or (line.dots and line.x)]
    if not drawn:
        return Markup("")
    width, height, left, right, top, bottom = 336, 220, 44, 12, 12, 34
    all_y = [value for line in drawn for value in line.y]
    y_low = min(all_y) if low is None else low
    y_high = max(all_y) if high is None else high
    if not y_high > y_low:
        y_low, y_high = (0.0, y_high * 1.1) if y_high > 0 else (y_low - 1, y_high + 1)
    y_ticks = ticks(y_low, y_high)
    if high is None:
        step = y_ticks[1] - y_ticks[0] if len(y_ticks) > 1 else y_high - y_low
        y_high = max(y_high, y_ticks[-1]) if y_high - y_ticks[-1] < step * 0.02 else y_ticks[-1] + step
        y_ticks = ticks(y_low, y_high, len(y_ticks) + 1)
    x_low, x_high = 0.0, max(max(line.x) for line in drawn) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + (x - x_low) / (x_high - x_low) * (width - left - right)
        down = height - bottom - (min(max(y, y_low), y_high) - y_low) / (y_high - y_low) * (height - top - bottom)
        return across, down

    parts = []
    for tick in y_ticks:
        x, y = place(x_low, tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{_short(tick)}</text>')
    for tick in ticks(x_low, x_high, 4):
        x, _ = place(tick, y_low)
        anchor = "end" if x > width - right - 8 else "middle"
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{height - bottom + 17}" text-anchor="{anchor}">{_short(tick)}</text>'
        )
    parts.append(f'<line class="axis" x1="{left}" x2="{width - right}" y1="{height - bottom}" y2="{height - bottom}"/>')
    parts.append(f'<text class="tick" x="{width - right}" y="{height - 3}" text-anchor="end">{escape(unit)}</text>')
    for line in reversed(drawn):
        points = [place(x, y) for x, y in zip(line.x, line.y, strict=True)]
        color = f' style="--color:{escape(line.color)}"' if line.color else ""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<g class="{escape(line.style)}"{color}><title>{escape(line.label)}</title>')
        parts.append(f'<polyline points="{path}"/>')
        if line.dots:
            parts.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' for x, y in points)
        parts.append("</g>")
    return _svg(width, height, title, parts)


def ranking_figure(scores: NDArray[np.float64], ids: Sequence[str], *, title: str) -> Markup:
    """One column an image, from the lowest score to the highest (0..1), with the median marked; NaN is left out."""
    order = [int(place) for place in np.argsort(scores, kind="stable") if not math.isnan(scores[place])]
    if not order:
        return Markup("")
    width, height, left, right, top, bottom = 1040, 170, 40, 8, 10, 24
    room, depth = width - left - right, height - top - bottom
    parts = []
    for tick in ticks(0.0, 1.0, 4):
        y = height - bottom - tick * depth
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{_short(tick)}</text>')
    if len(order) > 400:
        # A column each would be thinner than a pixel: one outline instead.
        ends = [f"{left},{height - bottom}"]
        for rank, place in enumerate(order):
            ends.append(f"{left + room * (rank + 0.5) / len(order):.1f},{height - bottom - scores[place] * depth:.1f}")
        ends.append(f"{width - right},{height - bottom}")
        parts.append(f'<polygon class="column" points="{" ".join(ends)}"/>')
    else:
        pitch = room / len(order)
        thick = min(pitch * 0.72, 46.0)
        for rank, place in enumerate(order):
            tall = max(float(scores[place]) * depth, 0.5)
            x = left + pitch * (rank + 0.5) - thick / 2
            parts.append(
                f'<rect class="column" x="{x:.1f}" y="{height - bottom - tall:.1f}" width="{thick:.2f}" '
                f'height="{tall:.1f}"><title>{escape(ids[place])}: {scores[place]:.3f}</title></rect>'
            )
    median = float(np.median(scores[order]))
    y = height - bottom - median * depth
    parts.append(f'<line class="median" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
    parts.append(f'<text class="tick strong" x="{left + 6}" y="{y - 6:.1f}">median {median:.3f}</text>')
    parts.append(f'<line class="axis" x1="{left}" x2="{width - right}" y1="{height - bottom}" y2="{height - bottom}"/>')
    parts.append(f'<text class="tick" x="{left}" y="{height - 6}">worst image</text>')
    parts.append(f'<text class="tick" x="{width - right}" y="{height - 6}" text-anchor="end">best image</text>')
    return _svg(width, height, title, parts)


def confusion_figure(confusion_KK: NDArray[np.int64], names: Sequence[str], colors: Sequence[str]) -> Markup:
    """A confusion matrix as a heat map: each row is where the pixels of one true class went, in percent.

    Rows without a pixel stay blank. Numbers are written up to 16 classes, names up to 60.
    """
    kinds = len(names)
    rows = confusion_KK.sum(1, keepdims=True)
    share_KK = np.divide(confusion_KK, rows, out=np.full(confusion_KK.shape, np.nan), where=rows > 0)
    cell = 88 if kinds <= 3 else 46 if kinds <= 16 else 22 if kinds <= 60 else max(2, 1200 // kinds)
    named, slanted = kinds <= 60, kinds > 3
    labels = [name if len(name) <= 22 else name[:21] + "…" for name in names]
    left = round(7.7 * max(map(len, labels))) + 34 if named else 40
    top = max(left, 50) if named and slanted else 50
    # A slanted name reaches to the right of its column.
    right = max(12, round(4.9 * max(map(len, labels[-3:])) - cell / 2 + 8)) if named and slanted else 12
    parts = [
        f'<text class="tick" x="{left}" y="12">predicted →</text>',
        f'<text class="tick" x="2" y="{top - 8}">true ↓</text>',
    ]
    if named:
        for index, label in enumerate(labels):
            parts += _class_labels(label, colors[index], left, top, (index + 0.5) * cell, slanted)
    for row in range(kinds):
        for column in range(kinds):
            fraction = float(share_KK[row, column])
            if kinds <= 16 or fraction >= 0.0005 or (row == column and math.isnan(fraction)):
                title = f"{names[row]} → {names[column]}: {100 * fraction:.2f} %"
                kind = "none" if math.isnan(fraction) else "right" if row == column else "wrong"
                parts += _cell(fraction, kind, title, left + column * cell, top + row * cell, cell, kinds <= 16)
    return _svg(left + kinds * cell + right, top + kinds * cell + 12, "Confusion matrix", parts, fixed=True)


def _class_labels(label: str, color: str, left: float, top: float, middle: float, slanted: bool) -> list[str]:
    """A class's name and colour at its row, and its name at its column, `middle` away from the matrix's corner."""
    x, y = left + middle + (3 if slanted else 0), top - 10
    turn = f'transform="rotate(-52 {x} {y})" text-anchor="start"' if slanted else 'text-anchor="middle"'
    return [
        f'<rect class="swatch" x="{left - 18}" y="{top + middle - 5}" width="10" height="10" rx="2" '
        f'fill="{escape(color)}"/>',
        f'<text class="name" x="{left - 24}" y="{top + middle + 4}" text-anchor="end">{escape(label)}</text>',
        f'<text class="name" x="{x}" y="{y}" {turn}>{escape(label)}</text>',
    ]


def _cell(fraction: float, kind: str, title: str, x: float, y: float, size: float, numbered: bool) -> list[str]:
    """One cell of a confusion matrix: its shade, its number, and its words for a pointer that rests on it."""
    edge = size - 1 if size > 4 else size
    shape = f'x="{x}" y="{y}" width="{edge}" height="{edge}"'
    if kind == "none":
        return [f'<rect class="cell none" {shape}/>']
    # The square root lets rare confusions be seen; the written number is the fraction itself.
    parts = [
        f'<g><title>{escape(title)}</title><rect class="cell {kind}" {shape} fill-opacity="{math.sqrt(fraction):.3f}"/>'
    ]
    if numbered:
        on = " on" if fraction >= 0.3 else ""
        place = f'x="{x + size / 2}" y="{y + size / 2 + 4}"'
        parts.append(f'<text class="value{on}" {place} text-anchor="middle">{_percent(fraction)}</text>')
    return [*parts, "</g>"]


def _thinned(line: Line) -> Line:
    """The line without points that are not finite, and with at most `POINTS` of them, each the mean of a stretch."""
    pairs = np.array(
        [p for p in zip(line.x, line.y, strict=True) if math.isfinite(p[0]) and math.isfinite(p[1])], float
    )
    pairs = pairs.reshape(-1, 2)
    if len(pairs) > POINTS:
        pairs = np.stack([stretch.mean(0) for stretch in np.array_split(pairs, POINTS)])
    x, y = pairs.T.tolist()
    return Line(x=x, y=y, label=line.label, style=line.style, color=line.color, dots=line.dots)


def _svg(width: float, height: float, title: str, parts: Sequence[str], *, fixed: bool = False) -> Markup:
    size = f' width="{width:g}" height="{height:g}"' if fixed else ""
    body = "".join(parts)
    return Markup(  # every text in it was escaped above
        f'<svg viewBox="0 0 {width:g} {height:g}"{size} role="img" aria-label="{escape(title)}">{body}</svg>'
    )


def _short(value: float) -> str:
    """A tick's text: 0, 0.25, 3000 as 3k, 0.0003 as 3e-4."""
    if value and abs(value) < 0.001:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    if abs(value) >= 10_000 or (abs(value) >= 1000 and value % 100 == 0):
        return f"{value / 1000:g}k"
    return f"{value:g}"


def _percent(fraction: float) -> str:
    """Percent for a small cell: 93, 4.1, 0.2, and a dot for next to nothing."""
    percent = 100 * fraction
    if percent >= 9.95:
        return f"{percent:.0f}"
    return f"{percent:.1f}" if percent >= 0.05 else "·"

"""A contact sheet: samples as they are, and beside each some views as training will see them, with their masks.

Every sample has two lines, images above and the same under their masks below; the first column shows the sample whole,
the others are views. Colours are shown alike along a line, so that a brighter view looks brighter.

Shapes: H, W height and width of an image, h, w of a cell of the sheet in pixels, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from maskwright.config import Augmentation
from maskwright.datasets.classes import UNLABELLED, ClassTable
from maskwright.errors import listed
from maskwright.imaging.lettering import font_for, writable
from maskwright.imaging.painting import outline, overlay, stripes

if TYPE_CHECKING:
    from maskwright.augment.loader import Loader
    from maskwright.datasets.samples import Sample

INK, FAINT, PAPER = (28, 30, 34), (120, 124, 130), (255, 255, 255)
CELL = 176
"""Height of a cell in pixels."""
WIDEST = 2.2
"""A cell is at most this many times as wide as it is high; wider images are reduced further."""
MARGIN, GAP = 24, 6
TEXT = 13
"""Height of letters in pixels."""
OVERLAY = 0.5
"""Opacity of a mask over its image."""


def sheet(
    loader: Loader, classes: ClassTable, *, rows: int = 6, views: int = 4, title: str = "", notes: Sequence[str] = ()
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Draw the contact sheet of a loader.

    Parameters
    ----------
    loader
        Makes the views: those of steps 0, 1, ..., one slot for each sample.
    classes
        Names and colours of the masks' indices.
    rows, views
        How many samples, spread evenly over the loader's, and views of each.
    title, notes
        Text above and below.

    Returns
    -------
    tuple[np.ndarray, list[dict[str, Any]]]
        The sheet, uint8 RGB, and for each sample what is on it: id, file, size, type, and each class's share of its
        pixels, in the sample and in every view.
    """
    spread = np.unique(np.linspace(0, len(loader.samples) - 1, min(rows, len(loader.samples))).round().astype(int))
    chosen = [loader.samples[index] for index in spread]
    lines, listing = [], []
    for row, sample in enumerate(chosen):
        cells, entry = _line(loader, classes, sample, row, views)
        lines.append(cells)
        listing.append(entry)
    widths = [max(line[column][0].shape[1] for line in lines) for column in range(views + 1)]
    captions = [f"{entry['id']}   {_described(entry)}" for entry in listing]
    height, width = loader.size
    headings = ["whole image", *(f"view {number + 1}" for number in range(views))]
    headings[1:2] = [f"view 1, {width} x {height}"] if views else []
    below = [*notes, f"Views: {_settings(loader.augmentation)}."] if views else notes
    return _composed(lines, widths, headings, captions, classes, title, below), listing


def _line(
    loader: Loader, classes: ClassTable, sample: Sample, row: int, views: int
) -> tuple[list[tuple[np.ndarray, np.ndarray]], dict[str, Any]]:
    """The cells of one sample (image and overlay, h x w x 3 each), and its entry of the listing."""
    image, mask = loader.store.get(sample)
    scale = _Scale(image)
    cells = [_cell(scale(image), mask, classes)]
    entry: dict[str, Any] = {
        "id": sample.id,
        "file": str(sample.image.path),
        "height": mask.shape[0],
        "width": mask.shape[1],
        "channels": image.shape[2],
        "dtype": str(image.dtype),
        "shares": _shares(mask, classes),
        "views": [],
    }
    for number in range(views):
        view = loader.view(number, row, sample)
        cells.append(_cell(scale(loader.photometric(view)), view.mask, classes))
        entry["views"].append(_shares(view.mask, classes))
    return cells, entry


class _Scale:
    """Native values as RGB for human eyes, on the scale that suits one image; channels as in `images.display`."""

    def __init__(self, image: np.ndarray) -> None:
        self.order = {1: [0, 0, 0], 2: [0, 1, 0]}.get(image.shape[2], [0, 1, 2])
        seen = image[:: max(1, image.shape[0] // 512), :: max(1, image.shape[1] // 512), : max(self.order) + 1]
        together = image.dtype == np.uint8 or image.shape[2] == 3
        ends: np.ndarray = np.percentile(seen, (0.5, 99.5), axis=None if together else (0, 1))
        ends = np.array([0, 255]) if image.dtype == np.uint8 else ends
        self.low: np.ndarray = ends[0].astype(np.float32)
        self.high: np.ndarray = ends[1].astype(np.float32)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        shown = pixels[..., : max(self.order) + 1].astype(np.float32)
        fractions = (shown - self.low) / np.maximum(self.high - self.low, np.finfo(np.float32).tiny)
        return np.ascontiguousarray(np.rint(fractions.clip(0, 1) * 255).astype(np.uint8)[..., self.order])


def _cell(rgb: np.ndarray, mask: np.ndarray, classes: ClassTable) -> tuple[np.ndarray, np.ndarray]:
    """An image at the size of a cell, and the same under its mask."""
    height, width = mask.shape
    factor = min(CELL / height, WIDEST * CELL / width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    photo = np.asarray(cv2.resize(rgb, size, interpolation=how), np.uint8)
    labels = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
    colors = classes.rgb(labels)
    shown = overlay(photo, colors, opacity=OVERLAY, outline_HW=outline(labels))
    unlabelled = labels == UNLABELLED
    shown[unlabelled] = _striped(labels.shape)[unlabelled]
    return photo, shown


def _striped(shape: tuple[int, ...]) -> np.ndarray:
    """What is not labelled, uint8 h x w x 3."""
    grey = np.where(stripes(shape, width=2), np.uint8(168), np.uint8(226))
    return np.repeat(grey[..., None], 3, axis=2)


def _shares(mask: np.ndarray, classes: ClassTable) -> dict[str, float]:
    """Share of the pixels of each class that is present; those without label under "unlabelled"."""
    counts = np.bincount(mask.ravel(), minlength=256)
    found = {name: counts[index] for index, name in enumerate(classes.names) if counts[index]}
    if counts[UNLABELLED]:
        found["unlabelled"] = counts[UNLABELLED]
    return {name: round(float(count) / mask.size, 6) for name, count in found.items()}


def unwritten_names(classes: ClassTable) -> str:
    """A sentence about the class names that no font on this machine has the letters for; empty where there is none."""
    numbers = [str(index) for index, name in enumerate(classes.names) if font_for(name, TEXT) is None]
    if not numbers:
        return ""
    of = f"class {numbers[0]}" if len(numbers) == 1 else f"the classes {listed(numbers, 12)}"
    return (
        f"No font on this machine has the letters for the name of {of}: the number is shown instead. "
        "Install one, for example Noto Sans CJK."
    )


def _legend(classes: ClassTable) -> list[str]:
    """What the legend calls each class, and what is not labelled after them."""
    names = [name if font_for(name, TEXT) else f"class {index}" for index, name in enumerate(classes.names)]
    return [*names, "unlabelled"]


def _width(text: str) -> float:
    """Width of a text in pixels."""
    written, font = writable(text, TEXT)
    return font.getlength(written)


def _described(entry: dict[str, Any]) -> str:
    channels = {1: "grey", 3: "RGB"}.get(entry["channels"], f"{entry['channels']} channels")
    return f"{entry['width']} x {entry['height']}, {channels}, {entry['dtype']}"


def _settings(augmentation: Augmentation) -> str:
    """The settings that are on."""
    shown = []
    for item in fields(augmentation):
        value = getattr(augmentation, item.name)
        if value and value != (1, 1):
            values = value if isinstance(value, tuple) else () if value is True else (value,)
            words = [one if isinstance(one, str) else f"{one:g}" for one in values]
            shown.append(" ".join([item.name.replace("_", " "), *words]))
    return ", ".join(shown) or "crops as they are"


def _wrapped(text: str, width: int) -> list[str]:
    """Text in lines of at most `width` pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _width(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _composed(
    lines: list[list[tuple[np.ndarray, np.ndarray]]],
    widths: list[int],
    headings: list[str],
    captions: list[str],
    classes: ClassTable,
    title: str,
    notes: Sequence[str],
) -> np.ndarray:
    """Everything on one sheet."""
    left = [MARGIN + sum(widths[:column]) + GAP * column for column in range(len(widths))]
    width = max(640, left[-1] + widths[-1] + MARGIN)
    legend = _legend_positions(classes, width)
    unwritten = unwritten_names(classes)
    notes = [*([unwritten] if unwritten else []), *notes]
    notes = [line for note in notes for line in _wrapped(note, width - 2 * MARGIN)]
    heights = [max(photo.shape[0] for photo, _ in line) for line in lines]
    top = MARGIN + (34 if title else 0) + legend[-1][1] + 50
    total = top + sum(2 * height + 2 * GAP + 30 for height in heights) + 20 * len(notes) + MARGIN
    page = Pillow.new("RGB", (width, total), PAPER)
    draw = ImageDraw.Draw(page)
    y = MARGIN
    if title:
        _write(draw, (MARGIN, y), title, INK, 19)
        y += 34
    _draw_legend(page, draw, classes, legend, y)
    y = top - 20
    for x, heading in zip(left, headings, strict=True):
        _write(draw, (x, y), heading, FAINT)
    y = top
    for line, height, caption in zip(lines, heights, captions, strict=True):
        for (photo, labelled), x in zip(line, left, strict=True):
            page.paste(Pillow.fromarray(photo), (x, y))
            page.paste(Pillow.fromarray(labelled), (x, y + height + GAP))
        _write(draw, (MARGIN, y + 2 * height + GAP + 4), caption, INK)
        y += 2 * height + 2 * GAP + 30
    for note in notes:
        _write(draw, (MARGIN, y), note, FAINT)
        y += 20
    return np.asarray(page, np.uint8)


def _legend_positions(classes: ClassTable, width: int) -> list[tuple[int, int]]:
    """Where each class of the legend, and "unlabelled" after them, stands below the title."""
    positions, x, y = [], MARGIN, 0
    for name in _legend(classes):
        needed = 20 + round(_width(name)) + 18
        if x + needed > width - MARGIN and x > MARGIN:
            x, y = MARGIN, y + 22
        positions.append((x, y))
        x += needed
    return positions


def _draw_legend(
    page: Pillow.Image, draw: ImageDraw.ImageDraw, classes: ClassTable, positions: list[tuple[int, int]], top: int
) -> None:
    swatches = [np.broadcast_to(color, (14, 14, 3)) for color in classes.colors] + [_striped((14, 14))]
    for swatch, name, (x, y) in zip(swatches, _legend(classes), positions, strict=True):
        page.paste(Pillow.fromarray(np.ascontiguousarray(swatch)), (x, top + y + 1))
        draw.rectangle((x, top + y + 1, x + 13, top + y + 14), outline=FAINT)
        _write(draw, (x + 20, top + y), name, INK)


def _write(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, color: tuple[int, int, int], size: int = TEXT
) -> None:
    written, font = writable(text, size)
    draw.text(at, written, color, font)

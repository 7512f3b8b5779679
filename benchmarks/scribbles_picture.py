"""Draw the picture of docs/scribbles.md: strokes on scikit-image's coins, how features were chosen, the mask.

python benchmarks/scribbles_picture.py docs/scribbles.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw
from skimage import data

from maskwright.imaging.lettering import writable
from maskwright.imaging.painting import overlay
from maskwright.imaging.writing import write_picture
from maskwright.pixels.classifier import PixelClassifier
from maskwright.pixels.strokes import Stroke

COLORS = np.array([[0, 114, 178], [230, 159, 0]], np.uint8)
LINES = [  # class, and places (column, row) of a stroke
    (1, [(35, 50), (55, 62)]), (1, [(145, 124), (162, 130)]), (1, [(262, 102), (280, 134)]),
    (1, [(332, 172), (360, 198)]), (1, [(163, 255), (182, 280)]), (0, [(10, 10), (12, 90), (10, 150)]),
    (0, [(70, 89), (180, 86), (300, 88)]), (0, [(20, 153), (130, 152), (225, 150)]), (0, [(75, 219), (200, 222)]),
    (0, [(378, 20), (377, 110)]),
]  # fmt: skip


def main() -> None:
    """Learn the strokes, and paint three pictures side by side."""
    image = np.asarray(data.coins())[..., None]  # type: ignore[no-untyped-call]
    painted = np.full(image.shape[:2], 255, np.uint8)
    strokes = []
    for label, places in LINES:
        canvas = np.zeros(image.shape[:2], np.uint8)
        cv2.polylines(canvas, [np.array(places, np.int32)], False, 1, 4)
        rows, columns = np.nonzero(canvas)
        painted[rows, columns] = label
        strokes.append(Stroke(image="coins", label=label, rows=rows, columns=columns))
    classifier = PixelClassifier(2, lambda _: image)
    judged = classifier.choose(strokes)
    mask = classifier.learn(strokes).probabilities(image).argmax(0)
    grey = np.repeat(image, 3, 2)
    first = grey.copy()
    first[painted != 255] = COLORS[painted[painted != 255]]
    sheet = Image.new("RGB", (260, image.shape[0]), "white")
    pen = ImageDraw.Draw(sheet)
    title, font = writable("left-out strokes, mean IoU", 15)
    pen.text((12, 20), title, fill="black", font=font)
    for place, one in enumerate(judged):
        top = 60 + 80 * place
        best = one.features == classifier.features
        pen.text((12, top), f"{one.features}  {one.score:.2f}", fill="black", font=font)
        pen.rectangle((12, top + 22, 12 + int(230 * one.score), top + 44), fill="#0072b2" if best else "#b4b4b4")
    second = overlay(grey, COLORS[mask], opacity=0.5)
    write_picture(Path(sys.argv[1]), np.concatenate([first, np.asarray(sheet), second], 1))


if __name__ == "__main__":
    main()

"""How close is the dense CRF to the same mean field over all pairs of pixels, and how long does it take?

    python benchmarks/crf.py                                   # generated streets, cells and fields
    python benchmarks/crf.py DATA/camvid/val DATA/isbi/test     # crops of images with masks

Accuracy: on crops of 64 x 48 pixels, probabilities as of a middling network (the mask blurred, with noise) are refined
by `maskwright.predict.crf` and by a float64 sum over all pairs; marginals and labels are compared. Time: 320 x 213
pixels with 21 classes, on a photograph-like image and on one with much noise. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskwright import console
from maskwright.datasets.classes import UNLABELLED
from maskwright.datasets.formats import open_dataset
from maskwright.predict import crf
from maskwright.synthetic import KINDS, scene

CROP = (48, 64)
TIMED = (213, 320)
CLASSES = 21


def all_pairs(probabilities_HWK: np.ndarray, image_HWC: np.ndarray, settings: crf.CRFSettings) -> np.ndarray:
    """Mean field with every pair of pixels, straight from the paper's equations."""
    height, width, classes = probabilities_HWK.shape
    place_N2 = np.argwhere(np.ones((height, width))).astype(float)
    color_NC = crf.colors(image_HWC).reshape(height * width, -1).astype(float)
    kernel_NN = np.zeros((height * width, height * width))
    for weight, scaled in (
        (
            settings.appearance_weight,
            np.hstack([place_N2 / settings.appearance_pixels, color_NC / settings.appearance_color]),
        ),
        (settings.smoothness_weight, place_N2 / settings.smoothness_pixels),
    ):
        norms = (scaled**2).sum(1)
        every = np.exp(scaled @ scaled.T - norms[:, None] / 2 - norms / 2)
        root = np.sqrt(every.sum(1))
        kernel_NN += weight * every / root / root[:, None]
    np.fill_diagonal(kernel_NN, 0)
    log_NK = np.log(np.maximum(probabilities_HWK.reshape(-1, classes).astype(float), crf.CERTAIN))
    marginals_NK = softmax(log_NK)
    for _ in range(settings.iterations):
        marginals_NK = softmax(log_NK + kernel_NN @ marginals_NK)
    return np.asarray(marginals_NK.reshape(height, width, classes))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def network_output(mask_HW: np.ndarray, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Probabilities as of a middling network: blurred, and wrong in patches."""
    logits_HWK = np.zeros((*mask_HW.shape, classes), np.float32)
    for label in range(classes):
        noise_HW = cv2.GaussianBlur(rng.normal(size=mask_HW.shape), (0, 0), 3)
        blurred_HW = cv2.GaussianBlur((mask_HW == label).astype(float), (0, 0), 2)
        logits_HWK[..., label] = 4 * blurred_HW + 0.8 * noise_HW / noise_HW.std()
    return softmax(logits_HWK).astype(np.float32)


def crops(folders: list[Path], count: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """`count` crops of each folder, or of each kind of generated scene: name, image, mask."""
    height, width = CROP
    rng = np.random.default_rng(0)
    for folder in folders:
        dataset = open_dataset(folder)
        for place in np.linspace(0, len(dataset.samples) - 1, count).astype(int):
            pair = dataset.read(dataset.samples[place])
            top, left = (
                int(rng.integers(0, max(1, have - want + 1))) for have, want in zip(pair.mask.shape, CROP, strict=True)
            )
            area = np.s_[top : top + height, left : left + width]
            yield folder.parent.name or folder.name, pair.image[area], pair.mask[area]
    if not folders:
        for kind in KINDS:
            for seed in range(count):
                image, mask = scene(kind, seed, (64, 64))
                yield kind, image[:height], mask[:height]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--crops", type=int, default=4, help="of each folder or kind of scene")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    accuracy: list[dict[str, Any]] = []
    with console.counting("comparing") as progress:
        every = list(crops(options.folders, options.crops))
        for done, (name, image, mask) in enumerate(every):
            labels = np.where(mask == UNLABELLED, 0, mask)
            probabilities = network_output(labels, max(2, int(labels.max()) + 1), rng)
            refined, expected = crf.refine(probabilities, image), all_pairs(probabilities, image, crf.DEFAULTS)
            accuracy.append(
                {
                    "image": name,
                    "classes": probabilities.shape[2],
                    "marginal_difference": float(np.abs(refined - expected).mean()),
                    "equal_labels": float((refined.argmax(2) == expected.argmax(2)).mean()),
                }
            )
            progress(done + 1, len(every))
    street, mask = scene("street", 0, TIMED)
    noisy = np.clip(street + rng.normal(0, 8, street.shape), 0, 255).astype(np.uint8)
    probabilities = network_output(mask, CLASSES, rng)
    times: list[dict[str, Any]] = []
    for name, image in (("street", street), ("street with noise of 8 levels", noisy)):
        begin = time.perf_counter()
        crf.refine(probabilities, image)
        times.append({"image": name, "seconds": time.perf_counter() - begin})
    if options.json:
        console.print_json({"accuracy": accuracy, "times": times})
        return
    console.print_table(
        f"Dense CRF against all pairs, {CROP[1]} x {CROP[0]} pixels",
        ("image", "classes", "mean marginal difference", "equal labels"),
        [
            (row["image"], str(row["classes"]), f"{row['marginal_difference']:.5f}", f"{row['equal_labels']:.4f}")
            for row in accuracy
        ],
    )
    console.print_table(
        f"{TIMED[1]} x {TIMED[0]} pixels, {CLASSES} classes, {crf.DEFAULTS.iterations} iterations",
        ("image", "seconds"),
        [(row["image"], f"{row['seconds']:.2f}") for row in times],
    )


if __name__ == "__main__":
    main()

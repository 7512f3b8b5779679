"""Which views of the images are plausible: the part of the plan that decides the augmentation."""

from __future__ import annotations

from typing import Any

from maskwright.planning.fingerprint import Facts

LEAST_ZOOM = 0.66, 0.9
"""Smallest magnification of views, and the most that it is raised to where images are hardly larger than views."""
SYMMETRIC = 0.15
"""Below this difference from their mirror image, class positions are taken as symmetric."""


def decide_augmentation(facts: Facts, crop: tuple[int, int], decide: Any) -> None:
    """Decide each range of the augmentation, and whether predictions are means over mirrored images.

    `decide(section, name, value, reason, source)` keeps what is given already.
    """
    upright, told = _upright(facts)
    sided, why = _sided(facts)
    mirrored = facts.left_right <= SYMMETRIC and not sided
    decide("augmentation", "flip_vertical", not upright and not sided, told if upright or not sided else why, "data")
    decide("augmentation", "quarter_turns", not upright, told, "data")
    decide("augmentation", "flip_horizontal", mirrored, why, "data")
    if upright or not mirrored:
        decide("training", "tta", False, "mirrored images gain nothing where they are not plausible both ways")
    else:
        decide("training", "tta", True, "images mirrored both ways are averaged: 0.003 to 0.009 mIoU (EXPERIMENTS.md)")
    shorter = min(facts.height[1], facts.width[1])
    lowest = round(min(LEAST_ZOOM[1], max(LEAST_ZOOM[0], min(crop) / shorter)), 2)
    decide(
        "augmentation", "zoom", [lowest, 1.5],
        f"sizes vary in most data; views of {min(crop)} pixels that are reduced more would show little else than what "
        f"lies beyond images of {shorter}" if lowest > LEAST_ZOOM[0] else "sizes vary in most data",
        "data" if lowest > LEAST_ZOOM[0] else "default",
    )  # fmt: skip
    decide("augmentation", "rotation", 5.0 if upright else 10.0, "cameras and specimens are never quite level")
    decide("augmentation", "shift", 0.0, "random crops shift already")
    decide("augmentation", "shear", 0.0, "turn and zoom are enough")
    decide("augmentation", "brightness", 0.4, "share of the data's deviation")
    decide("augmentation", "contrast", 0.25, "lighting and exposure vary")
    decide("augmentation", "border", "reflect", "continues textures")


def _upright(facts: Facts) -> tuple[bool, str]:
    """Whether images have a top, and how that is known."""
    most, index = max(((value, index) for index, value in enumerate(facts.upright)), default=(0.0, 0))
    if facts.upside_down <= SYMMETRIC < most:
        return True, f"class {index} lies differently in images turned upside down ({most:.2f}), more than by chance"
    return facts.upside_down > SYMMETRIC, _compared(facts.upside_down, "images turned upside down")


def _sided(facts: Facts) -> tuple[bool, str]:
    """Whether classes tell left from right, and how classes lie in mirrored images."""
    for index, other in enumerate(facts.mirror_image):
        if other != index:
            return True, f"classes {index} and {other} are each other's mirror image: left and right of the same thing"
    return False, _compared(facts.left_right, "mirrored images")


def _compared(difference: float, images: str) -> str:
    return f"classes lie {'differently' if difference > SYMMETRIC else 'alike'} in {images} ({difference:.2f})"

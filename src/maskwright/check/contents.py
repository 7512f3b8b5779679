"""What masks hold: classes that are missing or rare, masks without content, and masks that were not drawn cleanly."""

from __future__ import annotations

import numpy as np

from maskwright.check.causes import diagnose
from maskwright.check.records import Labels
from maskwright.check.surveyed import TRAINING, Surveyed
from maskwright.datasets.classes import UNLABELLED
from maskwright.datasets.problems import Problem
from maskwright.errors import listed

__all__ = [
    "class_problems",
    "empty_masks",
    "everything_unlabelled",
    "interpolated_masks",
    "jpeg_masks",
    "seems_interpolated",
    "speckled_masks",
]

_RARE_PIXELS = 0.0005
_RARE_IMAGES = 0.01
_FEWEST_FOR_RARE = 20
"""Training masks from which a class in only one of them is called rare."""

_USUAL = 0.9
"""Share of masks with several classes from which the others are remarkable."""

_MOST_RAMPS = 0.08
"""Share of edge pixels between their two neighbours' values; drawn masks have 0 to 2 %, smoothed ones 30 % and more."""
_FEWEST_RAMPS = 20

_DENSE_SPOTS = 150e-6
"""Spots for each pixel; drawn masks have up to half as many."""
_FEWEST_SPOTS = 8


def everything_unlabelled(surveyed: Surveyed) -> list[Problem]:
    """A set without one labelled pixel to train on."""
    labels = [(sample, one) for sample, one in surveyed.labels if sample.split in TRAINING]
    if not labels or surveyed.split_pixels(TRAINING).sum() > 0:
        return []
    if any(surveyed.index(count.value) is None for _, one in labels for count in one.counts):
        return []  # said of each mask already
    return [
        Problem(
            level="error",
            kind="everything-unlabelled",
            files=tuple(surveyed.mask_path(sample) for sample, _ in labels),
            what=f"All {len(labels)} training masks are unlabelled everywhere: there is nothing to learn from.",
            remedy="Are these the right masks? If 255 is a class here, say so in classes.toml (in a masks folder), or "
            "rename the labels folder to masks.",
        )
    ]


def class_problems(surveyed: Surveyed) -> list[Problem]:
    """Classes without a labelled pixel in training, and classes with few."""
    training, other = surveyed.split_pixels(TRAINING), surveyed.split_pixels(("val", "test"))
    total = int(training.sum())
    if not total or not surveyed.settled.certain:
        return []
    problems = []
    for index, item in enumerate(surveyed.table.classes):
        pixels, images = int(training[:, index].sum()), int((training[:, index] > 0).sum())
        if pixels == 0 and len(other) and other[:, index].any():
            problems.append(_test_only(surveyed, index))
        elif pixels == 0:
            problems.append(
                Problem(
                    level="warning",
                    kind="never-labelled",
                    files=(surveyed.home,),
                    what=f"The class {item.name!r} ({_listed(item.values)}) is never labelled in training.",
                    remedy="A network cannot learn it. Label some, or take it out of the class table.",
                )
            )
        elif pixels < _RARE_PIXELS * total or (
            len(training) >= _FEWEST_FOR_RARE and images <= max(1, _RARE_IMAGES * len(training))
        ):
            holders = _holders(surveyed, index, TRAINING)
            problems.append(
                Problem(
                    level="warning",
                    kind="rare-class",
                    files=tuple(surveyed.mask_path(surveyed.labels[place][0]) for place in holders),
                    what=f"The class {item.name!r} has {pixels:,} labelled training pixels ({pixels / total:.3%}), in "
                    f"{images} of {len(training)} masks.",
                    remedy="Expect it to be found poorly: label more of it, or merge it with another class.",
                    numbers={"pixels": pixels, "images": images},
                )
            )
    return problems


def empty_masks(surveyed: Surveyed) -> list[Problem]:
    """Masks without a labelled pixel, and masks of one class where nearly all have several."""
    kinds = [int((pixels > 0).sum()) for pixels in surveyed.class_pixels]
    several = sum(kind > 1 for kind in kinds)
    trained = bool(surveyed.split_pixels(TRAINING).sum())
    usual = len(kinds) >= 5 and several >= _USUAL * len(kinds)
    problems = []
    for (sample, labels), kind, pixels in zip(surveyed.labels, kinds, surveyed.class_pixels, strict=True):
        path = surveyed.mask_path(sample)
        if diagnose(labels, surveyed) is not None or (sample.split in TRAINING and not trained):
            continue  # said already
        if kind == 0 and several:
            what = f"{path.name} is unlabelled everywhere."
            problems.append((path, sample, "unlabelled-mask", what))
        elif kind == 1 and usual:
            name = surveyed.class_name(int(pixels.argmax()))
            what = f"{path.name} holds only {name!r}; {several} of {len(kinds)} masks hold several classes."
            problems.append((path, sample, "one-class-mask", what))
    return [
        Problem(
            level="warning",
            kind=kind,
            files=(path, *sample.image.files[:1]),
            what=what,
            remedy="Look whether the image shows nothing else; if it does, label it, or leave the pair out.",
            sample=sample.id,
        )
        for path, sample, kind, what in problems
    ]


def jpeg_masks(surveyed: Surveyed) -> list[Problem]:
    """Masks stored as JPEG, whatever their suffix; those that hold undeclared values are reported as such."""
    return [
        Problem(
            level="warning",
            kind="jpeg-mask",
            files=(surveyed.mask_path(sample),),
            what=f"{surveyed.mask_path(sample).name} is a JPEG: its compression changes class values next to edges.",
            remedy="Export the mask as PNG, from what it was drawn in.",
            sample=sample.id,
        )
        for sample, labels in surveyed.labels
        if labels.jpeg and diagnose(labels, surveyed) is None
    ]


def interpolated_masks(surveyed: Surveyed) -> list[Problem]:
    """Masks smoothed between class indices, so that edges between 2 and 5 hold the classes 3 and 4."""
    problems = []
    for sample, labels in surveyed.labels:
        if not seems_interpolated(labels) or diagnose(labels, surveyed) is not None:
            continue
        share = labels.ramps / labels.edges
        path = surveyed.mask_path(sample)
        problems.append(
            Problem(
                level="warning",
                kind="interpolated-mask",
                files=(path,),
                what=f"{path.name} seems interpolated: {share:.0%} of its edge pixels lie between the values of their "
                "neighbours, so that edges hold classes that are not there.",
                remedy="Export or resize the mask again with nearest neighbour (check --fix leaves such pixels "
                "unlabelled).",
                sample=sample.id,
                numbers={"share": share},
            )
        )
    return problems


def seems_interpolated(labels: Labels) -> bool:
    """Whether far more edge pixels lie between the values of their neighbours than in a drawn mask."""
    return labels.ramps >= _FEWEST_RAMPS and labels.ramps > _MOST_RAMPS * labels.edges


def speckled_masks(surveyed: Surveyed) -> list[Problem]:
    """Masks with regions of a few pixels far beyond what the set shows elsewhere, or in the set as a whole."""
    labels = surveyed.labels
    if not labels:
        return []
    density = np.array([one.spots / max(1, one.shape[0] * one.shape[1]) for _, one in labels])
    spots = np.array([one.spots for _, one in labels])
    most = max(_DENSE_SPOTS, 6 * float(np.quantile(density, 0.75)))
    problems = []
    for place in np.flatnonzero((density > most) & (spots >= _FEWEST_SPOTS)).tolist():
        sample, one = labels[place]
        if diagnose(one, surveyed) is not None:
            continue  # compression and stray values make specks
        path = surveyed.mask_path(sample)
        kind, words = _kind_of_spots(surveyed, one)
        problems.append(
            Problem(
                level="warning",
                kind=kind,
                files=(path,),
                what=f"{path.name} has {one.spots} {words} of 1 to 9 pixels; other masks have "
                f"{int(np.median(spots))} in the middle.",
                remedy="Fill or remove them if they are slips: a median filter of 5 x 5 pixels does.",
                sample=sample.id,
                numbers={"spots": one.spots},
            )
        )
    if float(np.median(density)) > _DENSE_SPOTS and float(np.median(spots)) >= _FEWEST_SPOTS:
        order = np.argsort(-density, kind="stable").tolist()
        problems.append(
            Problem(
                level="warning",
                kind="speckle",
                files=tuple(surveyed.mask_path(labels[place][0]) for place in order if density[place] > _DENSE_SPOTS),
                what=f"The masks are speckled throughout: half of them have {int(np.median(spots))} or more regions "
                f"of 1 to 9 pixels inside another class (worst: {labels[order[0]][0].id} with {spots[order[0]]}).",
                remedy="If leaves or hairs were labelled one by one, that is meant. If the specks are left over from "
                "resizing or an automatic method, a median filter of 5 x 5 pixels removes them.",
                sample=labels[order[0]][0].id,
                numbers={"spots": int(spots[order[0]])},
            )
        )
    return problems


def _kind_of_spots(surveyed: Surveyed, labels: Labels) -> tuple[str, str]:
    """Whether most spots are background inside something (holes) or something inside anything (specks)."""
    nothing = {UNLABELLED} | {
        index for index, item in enumerate(surveyed.table.classes) if item.name.lower() == "background"
    }
    holes = sum(surveyed.index(spot.value) in nothing for spot in labels.shown_spots)
    within = listed(sorted({surveyed.name(spot.around) for spot in labels.shown_spots}), 3)
    if 2 * holes > len(labels.shown_spots):
        return "holes", f"holes in {within}"
    return "speckle", f"specks inside {within}"


def _test_only(surveyed: Surveyed, index: int) -> Problem:
    holders = [surveyed.labels[place][0] for place in _holders(surveyed, index, ("val", "test"))]
    name = surveyed.class_name(index)
    where = " and ".join(sorted({str(sample.split) for sample in holders}))
    return Problem(
        level="warning",
        kind="test-only-class",
        files=tuple(surveyed.mask_path(sample) for sample in holders),
        what=f"The class {name!r} is in {len(holders)} masks of {where}, and in no training mask.",
        remedy="A network cannot learn it, and its score will be 0. Move some of these images into training.",
        sample=holders[0].id,
    )


def _holders(surveyed: Surveyed, index: int, splits: tuple[str | None, ...]) -> list[int]:
    """Places of the masks that hold a class, those with most of it first."""
    places = [
        place
        for place, (sample, _) in enumerate(surveyed.labels)
        if sample.split in splits and surveyed.class_pixels[place][index]
    ]
    return sorted(places, key=lambda place: -surveyed.class_pixels[place][index])


def _listed(values: tuple[int | str, ...]) -> str:
    return f"value{'s' if len(values) > 1 else ''} {', '.join(map(str, values))}"

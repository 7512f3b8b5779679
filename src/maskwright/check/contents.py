"""What masks hold: classes that are missing or rare, masks without content, specks and holes."""

from __future__ import annotations

import numpy as np

from maskwright.check.mask_values import diagnose
from maskwright.check.scan_result import TRAINING, Labels, ScanResult
from maskwright.datasets.classes import UNLABELLED
from maskwright.datasets.problems import Problem
from maskwright.errors import listed

__all__ = ["class_problems", "empty_masks", "speckled_masks"]

_RARE_PIXELS = 0.0005
_RARE_IMAGES = 0.01
_FEWEST_FOR_RARE = 20
"""Training masks from which a class in only one of them is called rare."""

_USUAL = 0.9
"""Share of masks with several classes from which the others are remarkable."""

_DENSE_SPOTS = 150e-6
"""Spots for each pixel; drawn masks have up to half as many."""
_FEWEST_SPOTS = 8


def class_problems(scanned: ScanResult) -> list[Problem]:
    """Classes without a labelled pixel in training, and classes with few."""
    training, other = scanned.split_pixels(TRAINING), scanned.split_pixels(("val", "test"))
    total = int(training.sum())
    if not total or not scanned.settled.certain:
        return []
    problems = []
    for index, item in enumerate(scanned.table.classes):
        pixels, images = int(training[:, index].sum()), int((training[:, index] > 0).sum())
        if pixels == 0 and len(other) and other[:, index].any():
            problems.append(_test_only(scanned, index))
        elif pixels == 0:
            problems.append(
                Problem(
                    level="warning",
                    kind="never-labelled",
                    files=(scanned.home,),
                    what=f"The class {item.name!r} ({_listed(item.values)}) is never labelled in training.",
                    remedy="A network cannot learn it. Label some, or take it out of the class table.",
                )
            )
        elif pixels < _RARE_PIXELS * total or (
            len(training) >= _FEWEST_FOR_RARE and images <= max(1, _RARE_IMAGES * len(training))
        ):
            holders = _holders(scanned, index, TRAINING)
            problems.append(
                Problem(
                    level="warning",
                    kind="rare-class",
                    files=tuple(scanned.mask_path(scanned.labels[place][0]) for place in holders),
                    what=f"The class {item.name!r} has {pixels:,} labelled training pixels ({pixels / total:.3%}), in "
                    f"{images} of {len(training)} masks.",
                    remedy="Expect it to be found poorly: label more of it, or merge it with another class.",
                    numbers={"pixels": pixels, "images": images},
                )
            )
    return problems


def empty_masks(scanned: ScanResult) -> list[Problem]:
    """Masks without a labelled pixel, and masks of one class where nearly all have several."""
    kinds = [int((pixels > 0).sum()) for pixels in scanned.class_pixels]
    several = sum(kind > 1 for kind in kinds)
    trained = bool(scanned.split_pixels(TRAINING).sum())
    usual = len(kinds) >= 5 and several >= _USUAL * len(kinds)
    problems = []
    for (sample, labels), kind, pixels in zip(scanned.labels, kinds, scanned.class_pixels, strict=True):
        path = scanned.mask_path(sample)
        if diagnose(labels, scanned) is not None or (sample.split in TRAINING and not trained):
            continue  # said already
        if kind == 0 and several:
            what = f"{path.name} is unlabelled everywhere."
            problems.append((path, sample, "unlabelled-mask", what))
        elif kind == 1 and usual:
            name = scanned.class_name(int(pixels.argmax()))
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


def speckled_masks(scanned: ScanResult) -> list[Problem]:
    """Masks with regions of a few pixels far beyond what the set shows elsewhere, or in the set as a whole."""
    labels = scanned.labels
    if not labels:
        return []
    density = np.array([one.spots / max(1, one.shape[0] * one.shape[1]) for _, one in labels])
    spots = np.array([one.spots for _, one in labels])
    most = max(_DENSE_SPOTS, 6 * float(np.quantile(density, 0.75)))
    problems = []
    for place in np.flatnonzero((density > most) & (spots >= _FEWEST_SPOTS)).tolist():
        sample, one = labels[place]
        if diagnose(one, scanned) is not None:
            continue  # compression and stray values make specks
        path = scanned.mask_path(sample)
        kind, words = _kind_of_spots(scanned, one)
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
                files=tuple(scanned.mask_path(labels[place][0]) for place in order if density[place] > _DENSE_SPOTS),
                what=f"The masks are speckled throughout: half of them have {int(np.median(spots))} or more regions "
                f"of 1 to 9 pixels inside another class (worst: {labels[order[0]][0].id} with {spots[order[0]]}).",
                remedy="If leaves or hairs were labelled one by one, that is meant. If the specks are left over from "
                "resizing or an automatic method, a median filter of 5 x 5 pixels removes them.",
                sample=labels[order[0]][0].id,
                numbers={"spots": int(spots[order[0]])},
            )
        )
    return problems


def _kind_of_spots(scanned: ScanResult, labels: Labels) -> tuple[str, str]:
    """Whether most spots are background inside something (holes) or something inside anything (specks)."""
    nothing = {UNLABELLED} | {
        index for index, item in enumerate(scanned.table.classes) if item.name.lower() == "background"
    }
    holes = sum(scanned.index(spot.value) in nothing for spot in labels.shown_spots)
    within = listed(sorted({scanned.name(spot.around) for spot in labels.shown_spots}), 3)
    if 2 * holes > len(labels.shown_spots):
        return "holes", f"holes in {within}"
    return "speckle", f"specks inside {within}"


def _test_only(scanned: ScanResult, index: int) -> Problem:
    holders = [scanned.labels[place][0] for place in _holders(scanned, index, ("val", "test"))]
    name = scanned.class_name(index)
    where = " and ".join(sorted({str(sample.split) for sample in holders}))
    return Problem(
        level="warning",
        kind="test-only-class",
        files=tuple(scanned.mask_path(sample) for sample in holders),
        what=f"The class {name!r} is in {len(holders)} masks of {where}, and in no training mask.",
        remedy="A network cannot learn it, and its score will be 0. Move some of these images into training.",
        sample=holders[0].id,
    )


def _holders(scanned: ScanResult, index: int, splits: tuple[str | None, ...]) -> list[int]:
    """Places of the masks that hold a class, those with most of it first."""
    places = [
        place
        for place, (sample, _) in enumerate(scanned.labels)
        if sample.split in splits and scanned.class_pixels[place][index]
    ]
    return sorted(places, key=lambda place: -scanned.class_pixels[place][index])


def _listed(values: tuple[int | str, ...]) -> str:
    return f"value{'s' if len(values) > 1 else ''} {', '.join(map(str, values))}"

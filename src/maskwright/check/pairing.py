"""Files that cannot be read, and pairs whose sizes differ."""

from __future__ import annotations

from pathlib import Path

from maskwright.check.records import Picture
from maskwright.check.surveyed import Surveyed
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import Sample

__all__ = ["size_mismatches", "turned_by_exif", "unreadable_files"]


def unreadable_files(surveyed: Surveyed) -> list[Problem]:
    """Files that are missing, no image, damaged or truncated."""
    problems = []
    for sample, measured in zip(surveyed.samples, surveyed.measured, strict=True):
        for unread in measured.unread:
            path = Path(unread.file)
            found = unread.text.removeprefix(f"{path} ").removesuffix("Export or copy it again, or remove it.").strip()
            problems.append(
                Problem(
                    level="error",
                    kind="unreadable",
                    files=(path,),
                    what=f"{path.name} {found}",
                    remedy="Export or copy the file again, or remove the pair.",
                    sample=sample.id,
                )
            )
    return problems


def size_mismatches(surveyed: Surveyed) -> list[Problem]:
    """Masks, and valid masks, that do not have their image's size."""
    problems = []
    for sample, measured in zip(surveyed.samples, surveyed.measured, strict=True):
        picture, labels = measured.picture, measured.labels
        if picture is None:
            continue
        if labels is not None and sample.mask is not None and labels.shape != picture.shape:
            problems.append(_mismatch(sample, picture, sample.mask.path, labels.shape, "mask"))
        if measured.valid_shape is not None and sample.valid is not None and measured.valid_shape != picture.shape:
            problems.append(_mismatch(sample, picture, sample.valid.path, measured.valid_shape, "valid mask"))
    return problems


def turned_by_exif(picture: Picture, shape: tuple[int, int]) -> bool:
    """Whether a mask has the size of the image as it is stored, which its EXIF orientation turns upright."""
    return picture.orientation >= 5 and shape == picture.shape[::-1] and shape != picture.shape


def _mismatch(sample: Sample, picture: Picture, path: Path, shape: tuple[int, int], what: str) -> Problem:
    kind = "size-mismatch"
    text = (
        f"{path.name} is {shape[1]} x {shape[0]} pixels (width x height), and its image {sample.image.path.name} is "
        f"{picture.shape[1]} x {picture.shape[0]}."
    )
    remedy = f"Export the {what} again at the image's size."
    factors = {round(a / b, 2) for a, b in zip(shape, picture.shape, strict=True)}
    if turned_by_exif(picture, shape):
        kind = "exif-mismatch"
        text += (
            f" The camera stored the image on its side, and its EXIF orientation turns it upright; the {what} was "
            "drawn on the image as stored."
        )
        remedy = f"Turn the {what} (check --fix does), or remove the orientation from the image."
    elif shape == picture.shape[::-1]:
        text += " Height and width are swapped."
    elif len(factors) == 1:
        text += f" The {what} is the image's size times {factors.pop():g}: one of the two was resized."
    return Problem(
        level="error", kind=kind, files=(path, *sample.image.files[:1]), what=text, remedy=remedy, sample=sample.id
    )

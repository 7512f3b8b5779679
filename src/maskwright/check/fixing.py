"""`maskwright check --fix OUT`: a copy of a data set with what can be corrected safely, corrected.

Corrected are masks whose meaning is certain: counted from one, 0/1 for 0/255, class colours for indices, blurred or
compressed between two classes, drawn on an image before its EXIF orientation turned it, smaller than their image by one
factor. Pixels blurred between several
classes become unlabelled. Left out are pairs that cannot be read or understood, and training images that are in
another split. Everything else is copied as it is and listed as not corrected. The source is never touched.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from maskwright import runs
from maskwright.check.audit import Audit, grouped, title
from maskwright.check.edges import ramps_of
from maskwright.check.mask_values import Diagnosis, diagnose, seems_interpolated
from maskwright.check.measure import to_keys
from maskwright.check.misalignment import turned_by_exif
from maskwright.check.scan_result import Measured, ScanResult
from maskwright.datasets.classes import UNLABELLED, ClassTable
from maskwright.datasets.samples import Sample, is_reduced
from maskwright.datasets.writing import (
    FolderWriter,
    file_names,
    identity,
    is_whole_file,
    refuse_folder,
    valid_of,
    written_aside,
)
from maskwright.errors import ClassTableError
from maskwright.imaging.colors import color_codes, color_rgb
from maskwright.imaging.decoders import orient

__all__ = ["Fixed", "fix"]

RECORD = "corrections.json"
JOURNAL = ".corrected.jsonl"
"""Each pair that is written, with what was corrected, so that an interrupted call goes on where it stopped."""

_CORRECTED = frozenset(
    {
        "unreadable", "unpaired", "duplicate-stem", "size-mismatch", "exif-mismatch", "undeclared-values", "off-by-one",
        "interpolated-mask", "same-image", "two-encodings", "numbered-objects",
    }
)  # fmt: skip
"""Kinds of findings that a corrected copy no longer has."""


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """What was done for a corrected copy."""

    out: Path
    written: int
    """Pairs in the copy."""
    corrected: tuple[str, ...]
    """One line for each correction."""
    left_out: tuple[str, ...]
    """One line for each pair that is not in the copy, and each file without a pair."""
    not_corrected: tuple[str, ...]
    """One line for each kind of finding that the copy still has."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "out": str(self.out),
            "written": self.written,
            "corrected": list(self.corrected),
            "left_out": list(self.left_out),
            "not_corrected": list(self.not_corrected),
        }


def fix(audit: Audit, out: Path, *, progress: Callable[[int, int], None] | None = None) -> Fixed:
    """Write a corrected copy, in the folder layout with index masks, and `corrections.json` beside it.

    Raises
    ------
    SettingError
        `out` exists and is not empty, or lies within the data set.
    ClassTableError
        The classes cannot be told, so that no mask can be translated.
    """
    refuse_folder(out, audit.root, "--fix")
    if audit.refusal is not None:
        raise audit.refusal
    scanned = audit.scanned
    if not scanned.settled.certain or not scanned.samples:
        problem = scanned.settled.problem
        reason = f"{problem.what} {problem.remedy}" if problem is not None else "There is no pair."
        raise ClassTableError(f"{audit.root} cannot be corrected: its classes cannot be told.", remedy=reason)
    copies = _copies_in_training(audit)
    refused = [_refused(sample, one, scanned) for sample, one in zip(scanned.samples, scanned.measured, strict=True)]
    why_not = {
        sample.id: f"its image is also {copies[sample.id]}" if sample.id in copies else why
        for sample, (why, _) in zip(scanned.samples, refused, strict=True)
        if why is not None or sample.id in copies
    }
    left_out = [problem.what for problem in audit.problems if problem.kind in ("unpaired", "duplicate-stem")]
    left_out += [f"{name}: {why}" for name, why in why_not.items()]
    # Where some samples are in a split and some in none, these are trained on.
    divided = any(sample.split is not None for sample in scanned.samples)
    kept = [
        (replace(sample, split=sample.split or ("train" if divided else None)), measured, diagnosis)
        for sample, measured, (_, diagnosis) in zip(scanned.samples, scanned.measured, refused, strict=True)
        if sample.id not in why_not
    ]
    with_valid = _with_valid(kept)
    names = file_names([sample for sample, _, _ in kept])
    corrected: list[str] = []
    if scanned.settled.problem is not None and scanned.settled.problem.kind == "off-by-one":
        corrected.append("all masks: 1 subtracted, so that classes count from 0")
    asked = {
        "verb": "check --fix",
        "version": version("maskwright"),
        "classes": scanned.table.to_dict(),
        "data": identity([sample for sample, _, _ in kept]),
    }
    with written_aside(out, asked) as aside:
        writer = FolderWriter(aside, scanned.table)
        before = _journal(aside / JOURNAL)
        for place, (sample, measured, diagnosis) in enumerate(kept):
            done = before.get(sample.id)
            if done is None:
                mask, done = _mask(sample, measured, scanned, diagnosis)
                valid = valid_of(sample)
                if valid is None and sample.split in with_valid:
                    valid = np.ones(mask.shape, bool)
                writer.put(sample.split, names[sample.id], sample.image, mask, valid)
                with (aside / JOURNAL).open("a", encoding="utf-8") as file:
                    file.write(json.dumps([sample.id, done]) + "\n")
            corrected += [f"{sample.id}: {text}" for text in done]
            if progress is not None:
                progress(place + 1, len(kept))
        writer.put_classes()
        rest = [group for group in grouped(audit.problems) if group.kind not in _CORRECTED]
        fixed = Fixed(
            out=out,
            written=len(kept),
            corrected=tuple(corrected),
            left_out=tuple(left_out),
            not_corrected=tuple(f"{title(group.kind)}: {len(group.problems)}" for group in rest),
        )
        runs.write_json(aside / RECORD, fixed.to_json())
        (aside / JOURNAL).unlink(missing_ok=True)
    return fixed


def _journal(path: Path) -> dict[str, list[str]]:
    """What an interrupted call has corrected, by sample; half a line is none."""
    found: dict[str, list[str]] = {}
    with suppress(FileNotFoundError, ValueError):
        for line in path.read_text("utf-8").splitlines():
            name, done = json.loads(line)
            found[name] = done
    return found


def _copies_in_training(audit: Audit) -> dict[str, str]:
    """Samples of training (or validation) whose image is in a later split too, and which one that is."""
    by_path = {sample.image.path: sample for sample in audit.scanned.samples}
    copies: dict[str, str] = {}
    for problem in audit.problems:
        if problem.kind == "same-image" and problem.level == "error":
            same = [by_path[path] for path in problem.files]
            last = same[-1].split
            copies |= {sample.id: same[-1].id for sample in same if sample.split != last}
    return copies


def _with_valid(kept: Sequence[tuple[Sample, Measured, Diagnosis | None]]) -> set[str | None]:
    """Splits whose copy needs a `valid` folder: it holds one file for each image, or none."""
    return {
        sample.split
        for sample, measured, _ in kept
        if sample.valid is not None
        or (not is_whole_file(sample.image) and measured.picture is not None and measured.picture.valid < 1)
    }


def _refused(sample: Sample, measured: Measured, scanned: ScanResult) -> tuple[str | None, Diagnosis | None]:
    """Why a pair is left out, or None; and what is wrong with its values."""
    picture, labels = measured.picture, measured.labels
    if measured.unread or picture is None or labels is None:
        return "it cannot be read", None
    if (
        labels.shape != picture.shape
        and not turned_by_exif(picture, labels.shape)
        and not is_reduced(picture.shape, labels.shape)
    ):
        return "its mask has another size than its image", None
    if measured.valid_shape is not None and measured.valid_shape != picture.shape:
        return "its valid mask has another size than its image", None
    diagnosis = diagnose(labels, scanned)
    if diagnosis is not None and not diagnosis.certain:
        return f"its mask cannot be corrected safely: {diagnosis.text}", None
    return None, diagnosis


def _mask(
    sample: Sample, measured: Measured, scanned: ScanResult, diagnosis: Diagnosis | None
) -> tuple[np.ndarray, list[str]]:
    """Class indices (uint8 H x W) of a mask, and what was corrected in it."""
    assert sample.mask is not None, "the mask was measured"
    assert measured.picture is not None, "the image was measured"
    raw, done = sample.mask.read_mask(), []
    if turned_by_exif(measured.picture, (raw.shape[0], raw.shape[1])):
        raw = np.ascontiguousarray(orient(raw, measured.picture.orientation))
        done.append(f"mask turned as its image's EXIF orientation {measured.picture.orientation} says")
    if diagnosis is not None:
        mask, text = _meant(raw, diagnosis, scanned.table)
        done.append(text)
    else:
        mask = scanned.table.encode(raw, str(sample.mask.path))
    if diagnosis is None or (diagnosis.cause == "interpolated" and len(scanned.table) > 2):
        mask, said = _without_ramps(raw, mask, measured)
        done += said
    if mask.shape != measured.picture.shape:
        factor = measured.picture.shape[0] / mask.shape[0]
        mask = _enlarged(mask, measured.picture.shape)
        done.append(f"mask enlarged to the image's size, {factor:.3g} times (nearest neighbour)")
    return mask, done


def _enlarged(mask_hw: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A mask at a larger size: the value of the nearest pixel centre."""
    rows, columns = (
        ((np.arange(length) + 0.5) * own / length).astype(np.intp)
        for length, own in zip(shape, mask_hw.shape, strict=True)
    )
    return np.ascontiguousarray(mask_hw[rows[:, None], columns])


def _without_ramps(raw: np.ndarray, mask: np.ndarray, measured: Measured) -> tuple[np.ndarray, list[str]]:
    """A mask smoothed between classes, without what may not be there: values between those of two neighbours."""
    assert measured.labels is not None, "the mask was measured"
    if raw.ndim == 3 or not seems_interpolated(measured.labels):
        return mask, []
    ramps = ramps_of(raw)
    mask[ramps] = UNLABELLED
    return mask, [f"{int(ramps.sum())} pixels between the values of their neighbours made unlabelled"]


def _meant(raw: np.ndarray, diagnosis: Diagnosis, table: ClassTable) -> tuple[np.ndarray, str]:
    """The class indices that were meant, and what was done."""
    if diagnosis.cause == "color":
        index = {int(code): place for place, code in enumerate(color_codes(table.colors))}
        mask = _translated(color_codes(raw), index)
        return mask, "colours translated to class indices"
    if diagnosis.cause == "color-off":
        owner = [(color_rgb(v), i) for i, item in enumerate(table.classes) for v in item.values if isinstance(v, str)]
        known = np.array([color for color, _ in owner], np.int64)
        codes, where = np.unique(color_codes(raw), return_inverse=True)
        colors = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], 1).astype(np.int64)
        nearest = np.abs(colors[:, None] - known).max(axis=2).argmin(axis=1)
        indices = np.array([index for _, index in owner], np.uint8)[nearest]
        return indices[where].reshape(raw.shape[:2]), f"{diagnosis.pixels} pixels given to the nearest class's colour"
    if diagnosis.cause == "off-by-one":
        shifted = np.where(raw == UNLABELLED, UNLABELLED, raw.astype(np.int64) - 1)
        return table.encode(shifted, "the mask less 1"), "1 subtracted: classes were counted from 1"
    if diagnosis.cause == "binary":
        return (raw != 0).astype(np.uint8), "0 and another value read as background and foreground"
    integers = {v: i for i, item in enumerate(table.classes) for v in item.values if isinstance(v, int)}
    if raw.ndim == 2 and len(integers) == 2:
        (low, first), (high, second) = sorted(integers.items())
        mask = np.where(raw.astype(np.int64) * 2 < low + high, first, second).astype(np.uint8)
        return mask, f"{diagnosis.pixels} pixels between {low} and {high} given to the nearer of the two"
    keys = to_keys(raw)
    length = int(keys.keys_HW.max()) + 1
    lookup = np.full(length, UNLABELLED, np.uint8)
    for key in np.flatnonzero(np.bincount(keys.keys_HW.ravel())).tolist():
        value = keys.value(key)
        if table.declares(value):
            shape = (1, 1) if isinstance(value, int) else (1, 1, 3)
            one = np.array(value if isinstance(value, int) else list(bytes.fromhex(value[1:])), np.int64).reshape(shape)
            lookup[key] = table.encode(one.astype(np.uint8) if len(shape) == 3 else one, "a value")[0, 0]
    return lookup[keys.keys_HW], f"{diagnosis.pixels} pixels between classes made unlabelled"


def _translated(codes_HW: np.ndarray, index: dict[int, int]) -> np.ndarray:
    """Indices of colour codes; unlabelled where a colour is no class's."""
    known = np.array(sorted(index), np.int64)
    places = np.searchsorted(known, codes_HW).clip(max=len(known) - 1)
    indices = np.array([index[int(code)] for code in known], np.uint8)
    return np.where(known[places] == codes_HW, indices[places], np.uint8(UNLABELLED))

"""ADE20K with all of its classes, as it was first published: a mask beside each image, numbers spread over its bands.

    images/training/a/abbey/ADE_train_00000970.jpg
    images/training/a/abbey/ADE_train_00000970_seg.png      R / 10 * 256 + G: class of the object; B: instance
    images/training/a/abbey/ADE_train_00000970_parts_1.png  parts of objects: not read
    images/training/a/abbey/ADE_train_00000970_atr.txt      attributes: not read

(Zhou et al., CVPR 2017; loadAde20K.m.) Class 0 is what was not annotated. There are more classes than a mask of ours
can hold: where a part of the set has at most 255 of them, `adopt` lists their numbers; else a classes.toml has to
gather those that are wanted, and to list the others as unlabelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskwright.datasets.formats.layout import Layout, folders_in, found, split_named, table_in
from maskwright.datasets.problems import Problem, report
from maskwright.datasets.samples import Sample
from maskwright.datasets.sources import Source, natural
from maskwright.errors import PairingError

_MASK = "_seg.png"


@dataclass(frozen=True, kw_only=True)
class ObjectClasses(Source):
    """A mask whose red and green bands hold the class of the object together."""

    def read_mask(self) -> np.ndarray:
        """Numbers of classes, uint16 H x W."""
        raw = super().read_mask()
        red, green = (raw[..., 0], raw[..., 1]) if raw.ndim == 3 else (raw, raw)
        classes: np.ndarray = red.astype(np.uint16) // 10 * 256 + green
        return classes


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read the full ADE20K; see `layout.Reader`.

    Raises
    ------
    PairingError
        A mask has no image (noted in `problems`, if it is a list).
    """
    home = root / "images"
    truths = _truths(home)
    if not truths:
        return None
    samples = []
    for truth in truths:
        stem = truth.name.removesuffix(_MASK)
        image = truth.with_name(f"{stem}.jpg")
        if not image.is_file():
            what, remedy = f"{truth} has no image {image.name} beside it.", "Copy it again, or remove the mask."
            report(
                problems,
                Problem(level="error", kind="unpaired", files=(truth,), what=what, remedy=remedy),
                PairingError,
            )
            continue
        split = next((name for part in truth.relative_to(home).parts if (name := split_named(part))), None)
        samples.append(
            Sample(
                id=stem if split is None else f"{split}/{stem}",
                image=Source(path=image),
                mask=ObjectClasses(path=truth) if masks else None,
                split=split,
            )
        )
    return Layout(
        format="ADE20K (full)",
        samples=tuple(samples),
        masks_folder=home,
        home=root,
        table=table_in(root),
        notes=(found(root, "ADE20K (full)", samples, masks=masks), "classes of objects are read; parts are not"),
    )


def _truths(home: Path) -> list[Path]:
    """Masks below the folders of splits, in natural order; none unless attributes lie beside the first."""
    splits = [home / name for name in folders_in(home) if split_named(name)]
    first = next((path for split in splits for path in split.rglob(f"*{_MASK}")), None)
    if first is None or not first.with_name(first.name.replace(_MASK, "_atr.txt")).is_file():
        return []
    return sorted((path for split in splits for path in split.rglob(f"*{_MASK}")), key=lambda path: natural(str(path)))

"""One PNG for each object, as in Kaggle's 2018 Data Science Bowl (Caicedo et al., Nature Methods 2019).

    DATA/ID/images/ID.png               one image
    DATA/ID/masks/NAME.png ...          a mask for each nucleus: 0 outside, 255 inside

DATA is stage1_train, or a folder that holds it; train, val and test folders of IDs are splits; stage1_test and others
without masks are left out where masks are needed. Objects are merged to foreground: which object a pixel belongs to is
lost, and objects that touch become one region.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskwright.datasets.classes import ClassTable, LabelClass
from maskwright.datasets.formats.layout import SPLITS, Layout, counted, folders_in, found, split_named, table_in
from maskwright.datasets.formats.pairing import is_image
from maskwright.datasets.problems import Problem, report
from maskwright.datasets.samples import Sample
from maskwright.datasets.sources import Source, natural
from maskwright.errors import PairingError, SizeMismatchError
from maskwright.imaging import images
from maskwright.imaging.colors import default_color
from maskwright.imaging.decoders import Header

_STAGES = {"stage1_train": None, "stage1_test": None}
_LOOKED_AT = 8
"""Folders looked at to see whether they are of this kind."""


@dataclass(frozen=True, kw_only=True)
class Merged(Source):
    """The masks of a folder, one for each object, merged: 1 where any of them is not 0, else 0."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The masks of the folder."""
        return tuple(sorted(path for path in self.path.iterdir() if is_image(path)))

    def header(self) -> Header:
        """As `Source.header`, of the first object."""
        return images.header_of(self.files[0], None, self.window)

    def read_image(self) -> images.Image:
        """Objects are no image."""
        raise AssertionError("merged objects are read as a mask")

    def read_mask(self) -> np.ndarray:
        """The merged mask, uint8; raises SizeMismatchError if objects differ in size."""
        merged: np.ndarray | None = None
        for path in self.files:
            raw = images.read_mask(path, None, self.window)
            inside = (raw != 0).any(axis=2) if raw.ndim == 3 else raw != 0
            if merged is not None and merged.shape != inside.shape:
                raise SizeMismatchError(
                    f"{path} is {inside.shape[1]} x {inside.shape[0]} pixels, and the masks before it in "
                    f"{self.path} are {merged.shape[1]} x {merged.shape[0]}.",
                    expected="Expected the size of the image.",
                    remedy="Export it again.",
                    file=path,
                )
            merged = inside if merged is None else merged | inside
        assert merged is not None, "a folder without masks is no source"
        return merged.astype(np.uint8)


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read folders of one image and a mask for each object; see `layout.Reader`.

    Raises
    ------
    PairingError
        An image has no masks, or there are several images for one set of masks (noted in `problems`, if it is a list).
    """
    parts = _parts(root)
    if not parts:
        return None
    samples: list[Sample] = []
    notes: list[str] = []
    for split, home in parts:
        folders = _folders(home)
        if masks and not any((folder / "masks").is_dir() for folder in folders):
            notes.append(f"{home}: {counted(len(folders), 'image')} without masks left out")
            continue
        read_one = [_sample(folder, split, masks=masks, problems=problems) for folder in folders]
        samples += [sample for sample in read_one if sample is not None]
    if masks:
        notes.append("objects are merged to foreground; those that touch become one region")
    return Layout(
        format="one mask for each object",
        samples=tuple(samples),
        masks_folder=root,
        table=table_in(root),
        classes=ClassTable(
            classes=tuple(
                LabelClass(name=name, color=default_color(index, name), values=(index,))
                for index, name in enumerate(("background", "foreground"))
            )
        ),
        notes=(found(root, "one mask for each object", samples, masks=masks), *notes),
    )


def _parts(root: Path) -> list[tuple[str | None, Path]]:
    """The folders of IDs, with their splits: `root`, its splits, or Kaggle's stages."""
    if not root.is_dir():
        return []
    if _of_this_kind(root):
        return [(None, root)]
    places = {name.lower(): root / name for name in folders_in(root)}
    parts: list[tuple[str | None, Path]] = [
        (split, path) for split in SPLITS for name, path in places.items() if split_named(name) == split
    ]
    parts += [(None, places[name]) for name in _STAGES if name in places]
    parts = [(split, path) for split, path in parts if _folders(path)]
    return parts if any(_of_this_kind(path) for _, path in parts) else []


def _folders(home: Path) -> list[Path]:
    """The folders of one image each: ID/images/ID.png."""
    folders = [home / name for name in sorted(folders_in(home), key=natural) if (home / name / "images").is_dir()]
    if not all(_named_after(folder) for folder in folders[:_LOOKED_AT]):
        return []
    return folders


def _of_this_kind(home: Path) -> bool:
    return any((folder / "masks").is_dir() for folder in _folders(home))


def _named_after(folder: Path) -> bool:
    return any(is_image(path) and path.stem == folder.name for path in (folder / "images").iterdir())


def _sample(folder: Path, split: str | None, *, masks: bool, problems: list[Problem] | None) -> Sample | None:
    pictures = sorted(path for path in (folder / "images").iterdir() if is_image(path))
    truth = folder / "masks"
    some = not masks or (truth.is_dir() and any(map(is_image, truth.iterdir())))
    if len(pictures) != 1 or not some:
        what = f"{folder} has {counted(len(pictures), 'image')}" + ("" if some else " and no masks") + "."
        problem = Problem(
            level="error",
            kind="unpaired",
            files=(folder,),
            what=what,
            remedy=f"Expected one image in {folder / 'images'} and a mask for each object in {truth}. For an image of "
            "nothing, add a mask of zeros.",
        )
        report(problems, problem, PairingError)
        return None
    return Sample(
        id=folder.name if split is None else f"{split}/{folder.name}",
        image=Source(path=pictures[0]),
        mask=Merged(path=truth) if masks else None,
        split=split,
    )

"""Which formats a folder may be of: one cheap claim for each, from the listing alone.

A claim says what a format cannot do without; the reader, imported only then, looks closer and may still say "not mine".
So a claim may be generous, and must never be narrower than its reader.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from maskwright.datasets.formats.folder import plain
from maskwright.datasets.formats.layout import Reader, split_named
from maskwright.imaging.images import IMAGE_SUFFIXES

_TIFF = frozenset({".tif", ".tiff"})


class Entries(NamedTuple):
    """What one folder holds."""

    suffixes: frozenset[str]
    """Suffixes of its files, in lower case."""
    folders: tuple[str, ...]
    """Names of the folders in it."""


@dataclass(frozen=True)
class Listing:
    """The folders of a data set, each listed once, when a claim first asks for it."""

    root: Path
    """A folder, or a file where the format is a file."""
    _seen: dict[str, Entries] = field(default_factory=dict)

    def entries(self, inside: str = "") -> Entries:
        """List a folder below the root ("" is the root); nothing where there is none. A file lists as itself."""
        if inside not in self._seen:
            self._seen[inside] = self._list(inside)
        return self._seen[inside]

    def folders(self, depth: int) -> list[str]:
        """Folders (relative paths) from the root, which is "", down to a depth."""
        found = level = [""]
        for _ in range(depth):
            level = [f"{up}/{name}".lstrip("/") for up in level for name in self.entries(up).folders]
            found = [*found, *level]
        return found

    def has(self, *suffixes: str, depth: int = 0) -> bool:
        """Whether a file of one of these suffixes lies in the root, or in folders down to a depth."""
        return any(not self.entries(folder).suffixes.isdisjoint(suffixes) for folder in self.folders(depth))

    def _list(self, inside: str) -> Entries:
        try:
            with os.scandir(self.root / inside) as entries:
                names = [(entry.name, entry.is_dir()) for entry in entries]
        except NotADirectoryError:
            names = [(self.root.name, False)]
        except OSError:
            names = []
        files = {Path(name).suffix.lower() for name, is_folder in names if not is_folder}
        return Entries(frozenset(files), tuple(sorted(name for name, is_folder in names if is_folder)))


@dataclass(frozen=True)
class Format:
    """A row of `FORMATS`."""

    module: str
    """The reader's module, below this package."""
    claims: Callable[[Listing], bool]


def read_with(row: Format) -> Reader:
    """Import the reader of a format."""
    reader: Reader = import_module(f"{__package__}.{row.module}").read
    return reader


def _yolo(listing: Listing) -> bool:
    """`data.yaml`, or text files in a labels folder that holds no image."""
    if listing.has(".yaml", ".yml"):
        return True
    homes = [home for home in listing.folders(1) if {"images", "labels"} <= set(listing.entries(home).folders)]
    return any(_only_text(listing.root / home / "labels") for home in homes)


def _only_text(folder: Path) -> bool:
    """Whether the first image or text file that a walk meets is text."""
    suffixes = (path.suffix.lower() for path in folder.rglob("*"))
    return next((suffix == ".txt" for suffix in suffixes if suffix == ".txt" or suffix in IMAGE_SUFFIXES), False)


def _supervisely(listing: Listing) -> bool:
    """A project has `meta.json`; one of its datasets has `ann` and `img`."""
    return listing.has(".json") or {"ann", "img"} <= set(listing.entries().folders)


def _cityscapes(listing: Listing) -> bool:
    return "leftimg8bit" in map(plain, listing.entries().folders)


def _voc(listing: Listing) -> bool:
    """The names are compared without case, for disks that do not tell it."""
    return bool({"jpegimages", "voc2012", "vocdevkit"} & {name.lower() for name in listing.entries().folders})


def _ade20k(listing: Listing) -> bool:
    places = {folder.lower() for folder in listing.folders(2)}
    return bool({"images/training", "images/validation", "adechallengedata2016"} & places)


def _camvid(listing: Listing) -> bool:
    return any(name == "701stillsrawfull" or name.endswith("annot") for name in map(plain, listing.entries().folders))


def _objects(listing: Listing) -> bool:
    """A folder for each image, with `images` in it: in the root, its splits or Kaggle's stages."""
    names = listing.entries().folders
    homes = ["", *(name for name in names if split_named(name) or name.lower().startswith("stage1_"))]
    within = [f"{home}/{name}".lstrip("/") for home in homes for name in listing.entries(home).folders]
    return any("images" in listing.entries(folder).folders for folder in within if not split_named(folder))


FORMATS: tuple[Format, ...] = (
    # A labelling project: its images are not all labelled, which any other reader would refuse.
    Format("project", lambda listing: listing.has(".sqlite")),
    # What a user wrote or accepted (`adopt`) comes before everything that may be inferred.
    Format("manifest", lambda listing: listing.has(".csv", ".tsv")),
    # Annotation files name their images: whoever wrote one meant it, whatever folders lie beside it.
    Format("drawn.coco", lambda listing: listing.has(".json", depth=1)),
    Format("drawn.labelstudio", lambda listing: listing.has(".json")),
    Format("drawn.cvat", lambda listing: listing.has(".xml")),
    Format("drawn.imagescope", lambda listing: listing.has(".xml", depth=2)),
    Format("drawn.supervisely", _supervisely),
    Format("drawn.labelme", lambda listing: listing.has(".json", depth=1)),
    Format("drawn.yolo", _yolo),
    # Labels on the map: before the folder, which would pair label rasters that lie on another grid.
    Format("geo.geo", lambda listing: listing.has(*_TIFF, ".geojson", depth=2)),
    # Published data sets, known by folder names that nobody else gives.
    Format("cityscapes", _cityscapes),
    Format("voc", _voc),
    Format("ade20k", _ade20k),
    Format("ade20k_full", _ade20k),
    Format("camvid", _camvid),
    # One sample from several files, which the folder would take for as many images.
    Format("objects", _objects),
    Format("nnunet", lambda listing: "imagesTr" in listing.entries().folders),
    Format("bands", lambda listing: listing.has(*_TIFF, ".jp2", depth=3)),
    Format("stacks", lambda listing: listing.has(*_TIFF)),
    # Tables and lists: they say what belongs together in folders that could also be paired by name.
    Format("drawn.runlength", lambda listing: listing.has(".csv")),
    Format("lists", lambda listing: listing.has(".txt", depth=2)),
    # What is left is paired by name.
    Format("folder", lambda listing: True),
)  # fmt: skip
"""Readers, most specific first."""

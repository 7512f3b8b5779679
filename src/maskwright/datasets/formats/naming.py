"""How files are named: names taken apart into words that tell roles, and the pieces that number them.

A file's place below the data folder is cut at separators, between letters and digits, and where small letters turn to
capitals:

    train/GroundTruth/im0012_mask.png   ->   words: train | ground truth | im * mask     numbers: 12

Words that many files share are kept; digits, and words that few files have, become a wildcard with what stood there as
a piece of the file's number. Files with the same words and type are one *series*; a series and another are each other's
images and masks where their numbers agree.
"""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from maskwright.datasets.sources import natural
from maskwright.imaging.images import IMAGE_SUFFIXES, split_suffix
from maskwright.outputs import holds_outputs

WILD = "*"
MOST_SERIES = 300
"""With more series, words are shared by too few files to tell anything, and become wildcards."""

IMAGE_WORDS = frozenset(
    {
        "image", "images", "img", "imgs", "im", "photo", "photos", "picture", "pictures", "frame", "frames",
        "raw", "rgb", "sat", "original", "originals", "input", "inputs", "camera", "ortho", "stills",
        "stillsraw", "leftimg", "rgbimages", "jpegimages", "data", "volume", "x", "src", "source", "color",
        "colour",
    }
)  # fmt: skip
MASK_WORDS = frozenset(
    {
        "mask", "masks", "label", "labels", "gt", "gts", "truth", "groundtruth", "annotation", "annotations",
        "annot", "annots", "anno", "ann", "seg", "segs", "segmentation", "segmentations", "segmented", "target",
        "targets", "manual", "lab", "ground", "lbl", "labelled", "labeled", "labelid", "trimap", "trimaps", "semantic",
        "semantics", "parsing", "parse", "y", "observer", "ho", "expert", "approved", "class", "classes", "roi",
        "matte",
    }
)  # fmt: skip
OTHER_WORDS = frozenset(
    {
        "depth", "dsm", "dem", "ndsm", "dtm", "disp", "disparity", "thermal", "ir", "infrared", "nir", "flow",
        "edge", "edges", "boundary", "boundaries", "instance", "instances", "inst", "overlay", "overlays",
        "visualization", "visualizations", "vis", "colormap", "colormaps", "preview", "superpixel",
        "superpixels", "fov", "probability", "probabilities", "uncertainty", "prediction", "predictions",
        "pred", "track", "tracks", "tra", "marker", "markers", "center", "centers", "centre", "centres", "contour",
        "contours", "skeleton", "skeletons",
    }
)  # fmt: skip
SPLIT_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training", "trn", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "ts"), "test"),
}
ORDINALS = frozenset({"st", "nd", "rd"})
"""After a digit, they tell observers apart: `_1stHO`, `2nd_manual`."""
_KNOWN = IMAGE_WORDS | MASK_WORDS | OTHER_WORDS | ORDINALS | set(SPLIT_WORDS)
_PIECES = re.compile(r"\d+|[^\W\d_]+")
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Where a word begins inside of others: labelIds, RGBImages."""


@dataclass(frozen=True)
class Named:
    """A file and its name, taken apart."""

    path: Path
    suffix: str
    folders: tuple[tuple[str, ...], ...]
    """Words and digits of each folder between the data folder and the file."""
    name: tuple[str, ...]
    """Those of its stem."""


@dataclass
class Series:
    """Files whose names differ in their numbers only; they are complete before numbers are asked for."""

    folders: tuple[tuple[str, ...], ...]
    """Words of each folder, with wildcards."""
    name: tuple[str, ...]
    suffix: str
    files: list[tuple[tuple[str, ...], tuple[str, ...], Path]] = field(default_factory=list)
    """Pieces of the number that stand in folders, those in the name, and the file; in natural order."""

    @property
    def words(self) -> Counter[str]:
        """The words of folders and name."""
        return Counter(word for part in (*self.folders, self.name) for word in part if word != WILD)

    @property
    def folder(self) -> Path:
        """The folder of the first file."""
        return self.files[0][2].parent

    @cached_property
    def numbers(self) -> dict[tuple[str, ...], Path] | None:
        """The shortest number that tells all files apart, by file; None if none does.

        That of the name where it does, else that of folders and name; pieces that are the same in all files are no part
        of it, and 007 is 7 where that leaves all apart.
        """
        for with_folders in (False, True):
            pieces = _varying([folders + name if with_folders else name for folders, name, _ in self.files])
            for plain in (True, False):
                keys = [tuple(_plain(piece) if plain else piece for piece in one) for one in pieces]
                if len(set(keys)) == len(keys):
                    return {key: path for key, (_, _, path) in zip(keys, self.files, strict=True)}
        return None

    @cached_property
    def whole_names(self) -> dict[tuple[str, ...], Path] | None:
        """As `numbers`, with all pieces of the name, those too that are the same in all files of this series."""
        keys = [tuple(_plain(piece) for piece in name) for _, name, _ in self.files]
        paths = [path for _, _, path in self.files]
        return dict(zip(keys, paths, strict=True)) if len(set(keys)) == len(keys) else None

    @cached_property
    def full_numbers(self) -> dict[tuple[str, ...], Path] | None:
        """As `numbers`, always with the pieces of folders; None if they do not tell the files apart."""
        keys = [tuple(map(_plain, one)) for one in _varying([folders + name for folders, name, _ in self.files])]
        paths = [path for _, _, path in self.files]
        return dict(zip(keys, paths, strict=True)) if len(set(keys)) == len(keys) else None

    def split(self) -> str | None:
        """The split that a word of a folder, or of the name, stands for."""
        words = [word for part in (*self.folders, self.name) for word in part]
        return next((split for word in words if (split := split_of(word)) is not None), None)


def split_of(word: str) -> str | None:
    """The split that a word stands for: `train`, `validation`, also `testA` and `traincrop`."""
    if word in SPLIT_WORDS:
        return SPLIT_WORDS[word]
    for start in ("train", "test", "val"):
        rest = word.removeprefix(start)
        if rest != word and (len(rest) == 1 or rest in IMAGE_WORDS or rest in ("crop", "set", "data")):
            return start
    return None


def listing(root: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> list[Named]:
    """All files below a folder whose suffix is that of pixels, hidden ones and outputs of ours left out."""
    found: list[Named] = []
    for folder, parts in _folders(root, ()):
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".") and not entry.is_dir()]
        home = Path(folder)
        for name in sorted(names, key=natural):
            stem, suffix = split_suffix(name)
            if suffix in suffixes:
                found.append(Named(home / name, suffix, parts, _taken_apart(stem)))
    return found


def series_of(files: Sequence[Named], numbers: frozenset[str] = frozenset()) -> list[Series]:
    """The series that files make, larger ones first.

    Words in `numbers` are parts of the number, unless their meaning is known.
    """
    shared = Counter(word for file in files for part in {*file.folders, file.name} for word in set(part))
    least = max(3.0, math.sqrt(len(files)))
    while True:
        kept = _KNOWN | {word for word, count in shared.items() if count >= least and not word.isdigit()}
        kept -= numbers - _KNOWN
        made: dict[tuple[object, ...], Series] = {}
        for file in files:
            folders = [_wild(part, kept) for part in file.folders]
            name, pieces = _wild(file.name, kept)
            words = tuple(words for words, _ in folders)
            series = made.setdefault((words, name, file.suffix), Series(words, name, file.suffix))
            series.files.append((tuple(p for _, own in folders for p in own), pieces, file.path))
        if len(made) <= MOST_SERIES or least > len(files):
            return sorted(made.values(), key=lambda series: -len(series.files))
        least *= 4


def _folders(folder: Path, parts: tuple[tuple[str, ...], ...]) -> Iterator[tuple[str, tuple[tuple[str, ...], ...]]]:
    yield str(folder), parts
    try:
        with os.scandir(folder) as entries:
            inner = sorted((e.name for e in entries if e.is_dir() and not e.name.startswith((".", "__"))), key=natural)
    except OSError:
        return
    for name in inner:
        if not (folder / name / "run.json").exists() and not holds_outputs(folder / name):
            yield from _folders(folder / name, (*parts, _taken_apart(name)))


def _taken_apart(name: str) -> tuple[str, ...]:
    return tuple(_PIECES.findall(_CAPITAL.sub(" ", unicodedata.normalize("NFC", name)).casefold()))


def _wild(part: tuple[str, ...], kept: set[str] | frozenset[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A part's words with wildcards (several in a row are one), and what they stand for."""
    words: list[str] = []
    pieces: list[str] = []
    for word in part:
        if word in kept:
            words.append(word)
        elif words and words[-1] == WILD:
            pieces[-1] += f"_{word}"
        else:
            words.append(WILD)
            pieces.append(word)
    return tuple(words), tuple(pieces)


def _varying(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Rows without the columns that are the same in all; of rows that are not equally long, all columns stay."""
    if len({len(row) for row in rows}) > 1 or len(rows) == 1:
        return rows
    # What a wildcard stands for is divided again where it has as many parts in all files: 07_1, 08_1 are 07, 08.
    widths = [{piece.count("_") for piece in column} for column in zip(*rows, strict=True)]
    rows = [
        tuple(
            part
            for piece, width in zip(row, widths, strict=True)
            for part in (piece.split("_") if len(width) == 1 else [piece])
        )
        for row in rows
    ]
    kept = [column for column in range(len(rows[0])) if len({row[column] for row in rows}) > 1]
    return [tuple(row[column] for column in kept) for row in rows]


def _plain(piece: str) -> str:
    return "_".join(part.lstrip("0") or "0" if part.isdigit() else part for part in piece.split("_"))

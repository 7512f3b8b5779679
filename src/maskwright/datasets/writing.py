"""Writing a data set in the folder layout, which all of Maskwright reads without a question.

    OUT/classes.toml                                  the classes, by index
    OUT/[SPLIT/]images/NAME.*                         copied byte for byte, or native values as PNG or TIFF
    OUT/[SPLIT/]masks/NAME.png                        palette PNG of class indices, 255 unlabelled
    OUT/[SPLIT/]valid/NAME.png                        where an image has data, if any image of the split lacks some

`maskwright convert`, `check --fix` and the generated data sets are written by this. A new folder is written aside, as
`.OUT.unfinished` beside `OUT`, and renamed when it is complete; until then it bears a mark that readers refuse. Once
killed, the same command goes on with it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from maskwright.datasets.classes import CLASSES_FILE, ClassTable
from maskwright.datasets.samples import Sample
from maskwright.datasets.sources import Source
from maskwright.errors import RunError, SettingError
from maskwright.imaging.images import IMAGE_SUFFIXES
from maskwright.imaging.writing import write_mask
from maskwright.outputs import UNFINISHED
from maskwright.runs import LOCK, is_temporary, locked, read_json, replacing, write_bytes, write_json

__all__ = [
    "FolderWriter",
    "Written",
    "file_names",
    "identity",
    "indexed",
    "is_whole_file",
    "refuse_folder",
    "unfinished",
    "valid_of",
    "write_image",
    "write_native",
    "written_aside",
    "written_image",
]

_CHANNELS_OF_PNG = (1, 3)


@dataclass(frozen=True)
class Written:
    """The files of one sample."""

    image: Path
    mask: Path
    valid: Path | None


class FolderWriter:
    """Writes samples into a folder, one by one and from any thread.

    Parameters
    ----------
    out
        The folder.
    classes
        The classes that the masks' indices stand for.
    """

    def __init__(self, out: Path, classes: ClassTable) -> None:
        self.out = out
        self.classes = indexed(classes)

    def home(self, split: str | None) -> Path:
        """The folder of a split."""
        return self.out / split if split else self.out

    def put(
        self,
        split: str | None,
        name: str,
        image: Source | np.ndarray,
        mask_HW: np.ndarray,
        valid_HW: NDArray[np.bool_] | None = None,
    ) -> Written:
        """Write a sample.

        Parameters
        ----------
        split
            Its split, None in data without splits.
        name
            Its files' name, without a suffix.
        image
            Where it is to be copied from, or its native values, H x W x C.
        mask_HW
            Class indices, uint8.
        valid_HW
            Where the image has data.
        """
        home = self.home(split)
        # The image last: where it is, all of the sample is.
        mask = home / "masks" / f"{name}.png"
        write_mask(mask, mask_HW, self.classes.palette())
        valid = None if valid_HW is None else self.put_valid(split, name, valid_HW)
        if isinstance(image, Source):
            return Written(write_image(image, home / "images", name), mask, valid)
        return Written(write_native(home / "images" / name, image), mask, valid)

    def found(self, split: str | None, name: str, image: Source) -> Written | None:
        """The files of a sample that an earlier, interrupted call has written; None if they are not all there."""
        home = self.home(split)
        # The image is written last, so where it is, the rest is.
        file = written_image(image, home / "images", name)
        valid = home / "valid" / f"{name}.png"
        if file is None:
            return None
        return Written(file, home / "masks" / f"{name}.png", valid if valid.exists() else None)

    def put_valid(self, split: str | None, name: str, valid_HW: NDArray[np.bool_]) -> Path:
        """Write where an image has data. Once one image of a split has such a file, all need one."""
        return write_native(self.home(split) / "valid" / name, valid_HW[..., None].astype(np.uint8) * np.uint8(255))

    def put_classes(self) -> None:
        """Write the class table."""
        self.classes.save(self.out / CLASSES_FILE)


def indexed(classes: ClassTable) -> ClassTable:
    """The table of masks that hold class indices."""
    same = tuple(replace(item, values=(index,)) for index, item in enumerate(classes.classes))
    return ClassTable(classes=same)


def refuse_folder(out: Path, data: Path, option: str = "") -> None:
    """Raise SettingError where a data set cannot be written: onto other files, or into the data that is read.

    Parameters
    ----------
    out
        The folder to write.
    data
        The folder or file that is read.
    option
        The name of the option that gave `out`, for the message.
    """
    named = f"{option} {out}".strip()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(
            f"{named} exists and is not empty.",
            expected="Expected a new folder, or an empty one.",
            remedy="Choose another name.",
            file=out,
        )
    if data.is_dir() and out.resolve().is_relative_to(data.resolve()):
        raise SettingError(
            f"{named} lies within the data set {data}, which is only read.",
            expected="Expected a folder elsewhere.",
            remedy="Choose another one.",
            file=out,
        )


@contextmanager
def written_aside(out: Path, asked: Mapping[str, Any]) -> Iterator[Path]:
    """Give a folder to write into, which becomes `out` when the block ends well.

    It holds what an interrupted call with the same `asked` wrote, each file complete; else nothing. What fails leaves
    nothing behind; what is interrupted or killed leaves a folder that no reader takes for a data set.

    Parameters
    ----------
    out
        The folder to write; new, or empty.
    asked
        What decides the folder's content, as JSON can hold it.

    Raises
    ------
    RunError
        Another process is writing the same folder.
    """
    out = out.resolve()
    # A volume of a container, say, cannot be renamed over: its mark alone has to do there.
    in_place = out.exists() and (os.path.ismount(out) or not os.access(out.parent, os.W_OK))
    aside = out if in_place else out.with_name(f".{out.name}.unfinished")
    with locked(aside):
        if not _continues(aside, asked):
            _clear(aside)
        for path in list(aside.rglob(".*")):
            if is_temporary(path.name):
                path.unlink(missing_ok=True)
        try:
            write_json(aside / UNFINISHED, dict(asked))
            yield aside
        except Exception:
            _clear(aside)
            (aside / LOCK).unlink(missing_ok=True)
            if not in_place:
                aside.rmdir()
            raise
        if sys.platform != "win32":
            _finish(aside, out)
    if sys.platform == "win32":  # which renames no folder that holds an open file
        _finish(aside, out)


def _finish(aside: Path, out: Path) -> None:
    for name in (LOCK, UNFINISHED):
        (aside / name).unlink(missing_ok=True)
    if aside != out:
        if out.exists():
            out.rmdir()
        aside.replace(out)


@contextmanager
def unfinished(folder: Path, asked: Mapping[str, Any]) -> Iterator[None]:
    """Mark a folder that is being added to, in place; the mark stays where the block fails, and goes when one ends."""
    write_json(folder / UNFINISHED, dict(asked))
    yield
    (folder / UNFINISHED).unlink(missing_ok=True)


def identity(samples: Sequence[Sample]) -> str:
    """A hash of the names, sizes and times of all files of samples; files that are missing count as such."""
    total = blake2b(digest_size=16)
    for sample in samples:
        parts = [part for part in (sample.image, sample.mask, sample.valid) if part is not None]
        state = sample, [_stat(path) for part in parts for path in part.files]
        total.update(repr(state).encode(errors="surrogatepass"))
    return total.hexdigest()


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _continues(folder: Path, asked: Mapping[str, Any]) -> bool:
    try:
        return bool(read_json(folder / UNFINISHED) == asked)
    except RunError:
        return False


def _clear(folder: Path) -> None:
    """Empty a folder, but for the lock that is held there."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def file_names(
    samples: Sequence[Sample],
    *,
    apart: bool = True,
    spaces: bool = True,
    renamed: Callable[[Sample], None] = lambda sample: None,
) -> dict[str, str]:
    """A file name without suffix for every sample's id.

    Parameters
    ----------
    samples
        In the order in which they get their names.
    apart
        Splits have folders of their own, so that names differ within each; else in all of the data.
    spaces
        Names may hold white space; else it becomes "_".
    renamed
        Called with each sample whose name is not its id.
    """
    names: dict[str, str] = {}
    taken: set[tuple[str | None, str]] = set()
    for sample in samples:
        plain = sample.id.removeprefix(f"{sample.split}/") if sample.split else sample.id
        name = re.sub(r'[/\\:*?"<>|\x00-\x1f\ud800-\udfff]', "-", plain)
        name = name if spaces else re.sub(r"\s", "_", name)
        folder = sample.split if apart else None
        # Some systems do not tell capital letters apart.
        if (folder, name.lower()) in taken and sample.split and not apart:
            name = f"{sample.split}-{name}"
        while (folder, name.lower()) in taken:
            name += "-2"
        taken.add((folder, name.lower()))
        names[sample.id] = name
        if name != plain:
            renamed(sample)
    return names


def is_whole_file(source: Source) -> bool:
    """Whether a source is all of one image file, which can be copied."""
    plain = type(source) is Source and source.page is None and source.window is None
    return plain and source.path.suffix.lower() in IMAGE_SUFFIXES


def valid_of(sample: Sample) -> NDArray[np.bool_] | None:
    """Where a written image has data, H x W, as far as its own file does not say so; None for everywhere.

    It is what `valid/` said, and where only pixels are written, what the file they come from said.
    """
    marks: list[NDArray[np.bool_]] = []
    if sample.valid is not None:
        raw = sample.valid.read_mask() != 0
        marks.append(np.asarray(raw.any(axis=2) if raw.ndim == 3 else raw, bool))
    if not is_whole_file(sample.image):
        valid = sample.image.read_image().valid
        marks += [] if valid is None else [valid]
    return np.asarray(np.logical_and.reduce(marks), bool) if marks else None


def write_image(source: Source, folder: Path, name: str) -> Path:
    """Copy an image file byte for byte; a page, a window or bands of several files become a file of their own."""
    if not is_whole_file(source):
        return write_native(folder / name, source.read_image().pixels)
    path = folder / f"{name}{source.path.suffix}"
    with replacing(path) as temporary:
        shutil.copyfile(source.path, temporary)
    return path


def written_image(source: Source, folder: Path, name: str) -> Path | None:
    """The file that `write_image` has written, if it has."""
    suffixes = (source.path.suffix,) if is_whole_file(source) else (".png", ".tif")
    return next((file for suffix in suffixes if (file := folder / f"{name}{suffix}").exists()), None)


def write_native(path: Path, pixels_HWC: np.ndarray) -> Path:
    """Write native values without loss: PNG if it can hold them, else TIFF; returns the file.

    `path` has no suffix.
    """
    channels = pixels_HWC.shape[2]
    if pixels_HWC.dtype in (np.uint8, np.uint16) and channels in _CHANNELS_OF_PNG:
        file = path.with_name(f"{path.name}.png")
        write_bytes(file, bytes(imagecodecs.png_encode(pixels_HWC if channels == 3 else pixels_HWC[..., 0])))
        return file
    file = path.with_name(f"{path.name}.tif")
    bands, planar = (pixels_HWC[..., 0], None) if channels == 1 else (pixels_HWC, "contig")
    with replacing(file) as temporary:
        tifffile.imwrite(
            temporary,
            bands,
            photometric="minisblack",
            planarconfig=planar,
            compression="zlib",
            predictor=True,
            metadata=None,
        )
    return file

"""Arrays in files that are no pictures: NumPy, MATLAB and HDF5 files, NIfTI and NRRD volumes.

.npy, .npz; .mat (7.3 is HDF5); .h5, .hdf5; .nii, .nii.gz; .nrrd.

Which axes are rows, columns and channels is told by their lengths: one axis of at most four, first or last, is that of
channels; a further first axis, or a first axis of a volume, counts pictures, which become the pages of a stack. Of a
file that holds several arrays, the one that its name makes image or mask is taken, or the only one that is a picture.

Nothing is unpickled; links and storage outside of an HDF5 file are refused. Slices of a NIfTI or NRRD volume are those
along its last axis, with rows and columns exchanged, as viewers show them; the axes' directions stay as stored.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.errors import UnreadableFileError
from maskwright.imaging.decoders import Header, LayoutError, Raster
from maskwright.imaging.memory import require_room
from maskwright.imaging.packed import check_elements, check_offset, check_values

MOST_CHANNELS = 4
"""Length of an axis, first or last, up to which it is that of channels."""

_MASK_NAMES = (
    "segmentation", "mask", "label", "labels", "groundtruth", "gt", "seg", "annotation", "type_map", "class_map",
    "labelmap", "exported_data", "anno", "truth", "masks", "tumormask", "s", "y", "inst_map",
)  # fmt: skip
"""Names of arrays that are masks, better ones first: classes before numbers of objects."""
_IMAGE_NAMES = ("image", "img", "data", "im", "raw", "images", "x", "volume", "i")


@dataclass(frozen=True)
class Stored:
    """An array of a file, before its values are read."""

    name: str
    shape: tuple[int, ...]
    read: Callable[[Any], np.ndarray]
    """The array at an index, such as a page's number or `...`."""
    remark: str = ""
    each: int = 8
    """Bytes of a value."""
    by_page: bool = False
    """Whether a page is read without the others."""


@dataclass(frozen=True)
class Axes:
    """What the axes of an array stand for."""

    pages: int
    """Pictures; 0 where the array is one picture."""
    height: int
    width: int
    channels_first: bool
    channels: bool
    transposed: bool = False
    """Whether the array is a volume whose last axis counts slices of columns by rows (NIfTI, NRRD)."""


def count_pictures(path: Path, kind: str, *, mask: bool) -> int:
    """Pictures in an array file: 1, or the pages of a stack."""
    with _open(path, kind, mask=mask) as stored:
        return max(1, _axes(stored, kind).pages)


def array_header(path: Path, kind: str, page: int | None) -> Header:
    """Size of the picture (or of a page) in an array file, without its values.

    Raises LayoutError if it holds several and no page is asked for, or no picture; UnreadableFileError if the library
    for it is not installed.
    """
    with _open(path, kind, mask=False) as stored:
        axes = _axes(stored, kind)
        _check_page(axes, page)
        return Header(height=axes.height, width=axes.width, remark=stored.remark)


def decode_array(path: Path, kind: str, page: int | None, *, indices: bool) -> Raster:
    """Values of the picture (or of a page) in an array file: H x W x C. Raises as `array_header`."""
    with _open(path, kind, mask=indices) as stored:
        axes = _axes(stored, kind)
        _check_page(axes, page)
        index: Any
        if axes.transposed:
            index = (slice(None), slice(None), page or 0) if axes.pages else ...
        else:
            index = (page or 0) if axes.pages else ...
        values = math.prod(stored.shape)
        require_room(values // axes.pages if axes.pages and stored.by_page else values, stored.each)
        pixels = np.asarray(stored.read(index))
    if axes.transposed:
        pixels = pixels.reshape(axes.width, axes.height, -1).swapaxes(0, 1)
    elif axes.channels_first:
        pixels = np.moveaxis(pixels.reshape(-1, axes.height, axes.width), 0, 2)
    pixels = pixels.reshape(axes.height, axes.width, -1)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8)
    if pixels.dtype.kind not in "uif":
        raise LayoutError(f"its array {stored.name!r} holds values of type {pixels.dtype}. Expected numbers")
    return Raster(pixels=np.ascontiguousarray(pixels))


def image_and_mask(path: Path, kind: str) -> tuple[str, str] | None:
    """Names of the arrays of a file that are its image and its mask, equally large; None if it does not hold both."""
    with _open(path, kind, mask=False) as image, _open(path, kind, mask=True) as mask:
        if image.name == mask.name or _last(image) not in _IMAGE_NAMES or _last(mask) not in _MASK_NAMES:
            return None
        one, other = _axes(image, kind), _axes(mask, kind)
        alike = (one.pages, one.height, one.width) == (other.pages, other.height, other.width)
        return (image.name, mask.name) if alike else None


def _axes(stored: Stored, kind: str) -> Axes:
    shape = stored.shape
    if kind in ("nifti", "nrrd"):
        shape = shape + (1,) * (3 - len(shape)) if len(shape) < 3 else shape
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        if len(shape) != 3:
            raise LayoutError(f"it has {len(stored.shape)} axes ({_by(stored.shape)}). Expected a volume of three")
        return Axes(shape[2] if shape[2] > 1 else 0, shape[1], shape[0], False, False, transposed=True)
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) == 2:
        return Axes(0, shape[0], shape[1], False, False)
    if len(shape) in (3, 4):
        inner = shape[-3:]
        pages = shape[0] if len(shape) == 4 else 0
        if inner[2] <= MOST_CHANNELS < min(inner[:2]):
            return Axes(pages, inner[0], inner[1], False, True)
        if inner[0] <= MOST_CHANNELS < min(inner[1:]):
            return Axes(pages, inner[1], inner[2], True, True)
        if len(shape) == 3:
            return Axes(shape[0], shape[1], shape[2], False, False)
    raise LayoutError(
        f"its array {stored.name!r} has the shape {_by(stored.shape)}. Expected height x width, with up to "
        f"{MOST_CHANNELS} channels before or after, or a stack of such pictures"
    )


def _check_page(axes: Axes, page: int | None) -> None:
    if page is None and axes.pages > 1:
        raise LayoutError(f"it holds {axes.pages} pictures. Expected one. Give a page, or open it as a stack")
    if page and page >= max(1, axes.pages):
        raise LayoutError(f"page {page} was asked for, and it has {max(1, axes.pages)}")


class _open:
    """The array of a file that is the image, or the mask."""

    def __init__(self, path: Path, kind: str, *, mask: bool) -> None:
        self.path, self.kind, self.mask = path, kind, mask
        self.close: Callable[[], None] = lambda: None

    def __enter__(self) -> Stored:
        opened = {"npy": _npy, "npz": _npz, "mat": _mat, "hdf5": _hdf5, "nifti": _nifti, "nrrd": _nrrd}[self.kind]
        arrays, self.close = opened(self.path)
        return _chosen(arrays, mask=self.mask)

    def __exit__(self, *error: object) -> None:
        self.close()


def _chosen(arrays: Sequence[Stored], *, mask: bool) -> Stored:
    """The array that is meant, by its name where there are several."""
    pictures = [one for one in arrays if len(one.shape) >= 2 and min(one.shape[-2:]) > 0 and np.prod(one.shape) > 4]
    if not pictures:
        found = ", ".join(f"{one.name} ({_by(one.shape)})" for one in arrays[:5]) or "nothing"
        raise LayoutError(f"it holds no array of two or more axes. Found: {found}")
    pictures = [one for one in pictures if min(one.shape[-2:]) > 1] or pictures  # lists of names, boxes, centres
    if len(pictures) == 1:
        return pictures[0]
    # A header is asked for without saying what the file is for, so the other names come second.
    for name in (*_MASK_NAMES, *_IMAGE_NAMES) if mask else (*_IMAGE_NAMES, *_MASK_NAMES):
        named = [one for one in pictures if _last(one) == name]
        if named:
            return named[0]
    found = ", ".join(f"{one.name} ({_by(one.shape)})" for one in pictures[:5])
    raise LayoutError(
        f"it holds {len(pictures)} arrays: {found}. Expected one, or one named {_MASK_NAMES[1] if mask else 'image'!r}"
    )


def _last(stored: Stored) -> str:
    """The name of an array without the groups that it lies in."""
    return stored.name.rsplit("/", 1)[-1].lower()


_HEADER = 2**16
"""Bytes that the header of a NumPy array has, at most."""
_Opened = tuple[list[Stored], Callable[[], None]]


def _npy(path: Path) -> _Opened:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return [Stored("array", array.shape, lambda index: array[index], each=array.itemsize, by_page=True)], lambda: None


def _npz(path: Path) -> _Opened:
    found: list[Stored] = []
    file = zipfile.ZipFile(path)
    for name in file.namelist():
        with file.open(name) as member:
            start = io.BytesIO(member.read(_HEADER))  # not more: a header may say that it is of 4 GB
        version = np.lib.format.read_magic(start)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = reader(start)
        key = name.removesuffix(".npy")
        found.append(Stored(key, shape, _from_npz(path, key), each=max(1, dtype.itemsize)))
    return found, file.close


def _from_npz(path: Path, key: str) -> Callable[[Any], np.ndarray]:
    def read(index: Any) -> np.ndarray:
        with np.load(path, allow_pickle=False) as content:
            values: np.ndarray = content[key][index]
        return values

    return read


def _mat(path: Path) -> _Opened:
    from scipy.io import loadmat

    check_elements(path)
    content = loadmat(path, squeeze_me=False, struct_as_record=True)
    found = [one for name, value in content.items() if not name.startswith("__") for one in _numbers(name, value)]
    return found, lambda: None


def _numbers(name: str, value: Any, depth: int = 0) -> Iterator[Stored]:
    """The numeric arrays in what MATLAB calls structs and cells."""
    if not isinstance(value, np.ndarray) or depth > 4:
        return
    if value.dtype.names:
        for field in value.dtype.names:
            for one in value[field].ravel()[:1]:
                yield from _numbers(f"{name}/{field}", one, depth + 1)
    elif value.dtype == object:
        cells = value.ravel()
        for one in cells[:1]:
            for stored in _numbers(name, one, depth + 1):
                remark = f"the first of {len(cells)} in a cell array" if len(cells) > 1 else ""
                yield Stored(stored.name, stored.shape, stored.read, remark or stored.remark)
    elif value.dtype.kind in "uifb":
        yield Stored(name, value.shape, lambda index: value[index])


def _hdf5(path: Path) -> _Opened:
    try:
        import h5py
    except ModuleNotFoundError:
        raise _needs(path, "an HDF5 file", "h5py", "hdf5") from None
    file = h5py.File(path, "r")
    matlab = path.suffix.lower() == ".mat"
    found: list[Stored] = []
    links: list[str] = []
    seen = set()

    def visit(group: Any, name: str) -> None:
        for key in group:
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
                links.append(f"{name}{key}")  # what lies elsewhere is not this file's, and a way may lead elsewhere
                continue
            item = group[key]
            if isinstance(item, h5py.Group) and key != "#refs#":
                place = h5py.h5o.get_info(item.id).addr
                if place not in seen:  # groups may hold each other
                    seen.add(place)
                    visit(item, f"{name}{key}/")
            elif isinstance(item, h5py.Dataset) and item.dtype.kind in "uifb":
                if item.external or item.is_virtual:
                    raise LayoutError(
                        f"its data set {name}{key} keeps its values in another file. Expected them inside"
                    )
                shape, each = item.shape[::-1] if matlab else item.shape, item.dtype.itemsize
                read = _from_hdf5(item, transposed=matlab)
                found.append(Stored(f"{name}{key}", shape, read, each=each, by_page=not matlab))

    try:
        visit(file, "")
        if links and not found:
            raise LayoutError(f"its entry {links[0]} is a link, maybe to another file. Expected the values inside")
    except BaseException:
        file.close()
        raise
    return found, file.close


def _from_hdf5(item: Any, *, transposed: bool) -> Callable[[Any], np.ndarray]:
    def read(index: Any) -> np.ndarray:
        values: np.ndarray = item[...].T[index] if transposed else item[index]
        return values

    return read


def _nifti(path: Path) -> _Opened:
    try:
        import nibabel
    except ModuleNotFoundError:
        raise _needs(path, "a NIfTI file", "nibabel", "medical") from None
    check_offset(path)
    image: Any = nibabel.load(path)
    directions: Any = nibabel
    codes = "".join(code or "?" for code in directions.aff2axcodes(image.affine))
    shape = tuple(int(length) for length in image.shape)

    def read(index: Any) -> np.ndarray:
        values: np.ndarray = np.asarray(image.dataobj[index])
        if values.dtype == np.float64 and image.header.get_data_dtype().kind in "ui" and (values % 1 == 0).all():
            values = values.astype(np.int32)
        return values

    remark = f"slices along the last axis of a volume whose axes point to {codes}" if len(shape) > 2 else ""
    return [Stored("volume", shape, read, remark, by_page=True)], lambda: None


def _nrrd(path: Path) -> _Opened:
    try:
        import nrrd
    except ModuleNotFoundError:
        raise _needs(path, "an NRRD file", "pynrrd", "medical") from None
    header = nrrd.read_header(str(path))
    if {"data file", "datafile"} & {key.lower() for key in header}:
        raise LayoutError("its header keeps the values in another file. Expected them in the same one")
    shape = tuple(int(length) for length in header["sizes"])
    most = math.prod(shape) * 8

    def read(index: Any) -> np.ndarray:
        check_values(path, header["encoding"], most)
        values, _ = nrrd.read(str(path))
        found: np.ndarray = values[index]
        return found

    return [Stored("volume", shape, read)], lambda: None


def _needs(path: Path, what: str, package: str, extra: str) -> UnreadableFileError:
    return UnreadableFileError(
        f"{path} is {what}, which needs {package}.",
        remedy=f"Install it: pip install 'maskwright[{extra}]'. Or save its pictures as TIFF or PNG.",
        file=path,
    )


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "one number"

"""Decoding DICOM slices (extra `dicom`) into arrays of native values.

Where the file declares a rescale slope and intercept other than 1 and 0 (computed tomography: Hounsfield units), the
values are stored value x slope + intercept, float32; else they are the stored ones. MONOCHROME1, where low values are
bright, is turned round within the bits that are stored. Pixels of the padding value are invalid. Windows for display
are left alone. As masks, stored values are read as they are.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskwright.errors import UnreadableFileError
from maskwright.imaging.codestreams import require_room_for
from maskwright.imaging.decoders import Header, LayoutError, Raster
from maskwright.imaging.memory import SMALL, require_room, require_room_inflated

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def dicom_header(path: Path, page: int | None) -> Header:
    """Read the size of a DICOM image, and what reading does to its values, without its pixels.

    Raises LayoutError if it has several frames and none is asked for, UnreadableFileError if pydicom is not installed,
    and what pydicom raises if the file is damaged.
    """
    dataset = _read(path, stop_before_pixels=True)
    _check_frame(dataset, page)
    slope, intercept = _rescale(dataset)
    done = [f"rescaled by slope {slope:g} and intercept {intercept:g}"] if (slope, intercept) != (1, 0) else []
    done += ["turned round, low values being bright (MONOCHROME1)"] if _inverted(dataset) else []
    return Header(height=int(dataset.Rows), width=int(dataset.Columns), remark=" and ".join(done))


def decode_dicom(path: Path, page: int | None, *, indices: bool) -> Raster:
    """Decode a DICOM image, or one of its frames; with `indices`, its stored values. Raises as `dicom_header`."""
    from pydicom.pixels.processing import apply_color_lut

    dataset = _read(path)
    _check_frame(dataset, page)
    frames = int(dataset.get("NumberOfFrames") or 1)
    each = int(dataset.get("SamplesPerPixel") or 1) * (int(dataset.get("BitsAllocated") or 8) // 8)
    require_room(frames * int(dataset.Rows) * int(dataset.Columns), each)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        from pydicom.encaps import generate_frames

        for frame in generate_frames(dataset.PixelData, number_of_frames=frames):
            require_room_for(frame, each)
    stored: np.ndarray = dataset.pixel_array
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        stored = stored[page or 0]
    if dataset.PhotometricInterpretation == "PALETTE COLOR" and not indices:
        colors = apply_color_lut(stored, dataset)
        return Raster(pixels=colors if colors.dtype == np.uint8 else (colors >> 8).astype(np.uint8))
    pixels = stored if stored.ndim == 3 else stored[..., None]
    if indices or pixels.shape[2] > 1:
        return Raster(pixels=pixels)
    padding = dataset.get("PixelPaddingValue")
    valid = None if padding is None else pixels[..., 0] != int(padding)
    if _inverted(dataset):
        signed = int(dataset.PixelRepresentation) == 1
        sum_of_ends = -1 if signed else 2 ** int(dataset.BitsStored) - 1
        pixels = (sum_of_ends - pixels.astype(np.int64)).astype(pixels.dtype)
    slope, intercept = _rescale(dataset)
    if (slope, intercept) != (1, 0):
        pixels = (pixels * slope + intercept).astype(np.float32)
    return Raster(pixels=pixels, valid=valid)


def _read(path: Path, **options: Any) -> Dataset:
    try:
        from pydicom import config, dcmread
    except ModuleNotFoundError:
        raise UnreadableFileError(
            f"{path} is a DICOM file, which needs pydicom.",
            remedy="Install it: pip install 'maskwright[dicom]'",
            file=path,
        ) from None
    config.settings.reading_validation_mode = config.IGNORE  # odd texts in a header are no matter here
    _refuse_inflated(path)
    dataset = dcmread(path, **options)
    if "Rows" not in dataset or "Columns" not in dataset:
        raise LayoutError("it is a DICOM file without an image. Expected a slice. Leave it out")
    return dataset


_RATIO = 32
"""Bytes that one byte of a deflated file stands for, at most, where it is large: scans are noisy."""
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_LONG = (b"OB", b"OW", b"OF", b"SQ", b"UN", b"UT")
"""Types of values whose length has four bytes, after two that are reserved."""


def _refuse_inflated(path: Path) -> None:
    """Raise TooLargeError where a deflated file yields more than there is room for: it is inflated to read its header.

    DICOM PS3.10, section 7.1: elements of group 2 come first, plain, and one of them says that the rest is deflated.
    """
    with path.open("rb") as file:
        file.seek(132)
        deflated = False
        while len(start := file.read(8)) == 8 and start[:2] == b"\x02\x00":
            if start[4:6] in _LONG:
                (length,) = struct.unpack("<I", file.read(4))
            else:
                (length,) = struct.unpack("<H", start[6:])
            if start[2:4] == b"\x10\x00":
                deflated = file.read(length).startswith(_DEFLATED)
            else:
                file.seek(length, io.SEEK_CUR)
        if deflated:
            file.seek(-len(start), io.SEEK_CUR)
            content = file.read()
            require_room_inflated(content, -zlib.MAX_WBITS, most=max(SMALL, _RATIO * len(content)))


def _check_frame(dataset: Dataset, page: int | None) -> None:
    frames = int(dataset.get("NumberOfFrames") or 1)
    if page is None and frames > 1:
        raise LayoutError(f"it has {frames} frames. Expected one picture. Save each frame as a file of its own")
    if page is not None and not 0 <= page < frames:
        raise LayoutError(f"it has {frames} frames, counted from 0, and frame {page} was asked for")


def _rescale(dataset: Dataset) -> tuple[float, float]:
    """Slope and intercept (DICOM PS3.3, C.7.6.16.2.9 and C.11.1)."""
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    return (1.0 if slope is None else float(slope)), (0.0 if intercept is None else float(intercept))


def _inverted(dataset: Dataset) -> bool:
    return bool(dataset.get("PhotometricInterpretation") == "MONOCHROME1")

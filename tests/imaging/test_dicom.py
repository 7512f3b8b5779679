"""DICOM slices: stored values, rescaling, inversion, padding, frames."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskwright.datasets.samples import Sample, Source, check_files
from maskwright.errors import UnreadableFileError
from maskwright.imaging.images import header_of, read_image, read_mask, read_shape

pydicom = pytest.importorskip("pydicom")


def write(path: Path, stored: np.ndarray, **more: Any) -> Path:
    """A slice by the standard's least: explicit little endian, uncompressed."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    frames = stored.ndim == 3 and stored.shape[2] != 3
    dataset.Rows, dataset.Columns = stored.shape[1:] if frames else stored.shape[:2]
    if frames:
        dataset.NumberOfFrames = stored.shape[0]
    dataset.SamplesPerPixel = 3 if stored.ndim == 3 and not frames else 1
    dataset.PhotometricInterpretation = "RGB" if dataset.SamplesPerPixel == 3 else "MONOCHROME2"
    if dataset.SamplesPerPixel == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = stored.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes()
    for name, value in more.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_stored_values_where_nothing_is_rescaled(tmp_path: Path) -> None:
    stored = np.array([[0, 1, 4095], [7, 300, 65535]], np.uint16)
    path = write(tmp_path / "a.dcm", stored, RescaleSlope="1", RescaleIntercept="0")
    image = read_image(path)
    assert image.pixels.dtype == np.uint16
    assert image.pixels[..., 0].tolist() == stored.tolist()
    assert image.valid is None
    assert read_shape(path) == (2, 3)
    assert header_of(path).remark == ""
    assert read_mask(path).tolist() == stored.tolist()


def test_rescaled_values_are_float32_and_it_is_said(tmp_path: Path) -> None:
    stored = np.array([[0, 1000, 2000]], np.uint16)
    path = write(tmp_path / "a.dcm", stored, RescaleSlope="0.5", RescaleIntercept="-1024")
    image = read_image(path)
    assert image.pixels.dtype == np.float32
    assert image.pixels[..., 0].tolist() == [[-1024, -524, -24]]
    assert read_mask(path).tolist() == stored.tolist()
    notes, _ = check_files([Sample(id="a", image=Source(path=path))])
    assert notes == ("images are rescaled by slope 0.5 and intercept -1024, first a.dcm",)


def test_monochrome1_is_turned_round_within_its_bits(tmp_path: Path) -> None:
    stored = np.array([[0, 1, 4095]], np.uint16)
    more: dict[str, Any] = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11}
    path = write(tmp_path / "a.dcm", stored, **more)
    assert read_image(path).pixels[..., 0].tolist() == [[4095, 4094, 0]]
    assert read_mask(path).tolist() == stored.tolist()
    assert "MONOCHROME1" in header_of(path).remark
    signed = write(
        tmp_path / "b.dcm", np.array([[-32768, 0, 32767]], np.int16), PhotometricInterpretation="MONOCHROME1"
    )
    assert read_image(signed).pixels[..., 0].tolist() == [[32767, -1, -32768]]


def test_padding_has_no_data(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", np.array([[-2000, 5]], np.int16), PixelPaddingValue=-2000)
    image = read_image(path)
    assert image.pixels.dtype == np.float32
    assert image.pixels[..., 0].tolist() == [[0, 5]]
    assert image.valid is not None
    assert image.valid.tolist() == [[False, True]]


def test_colours(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (4, 5, 3), dtype=np.uint8)
    assert (read_image(write(tmp_path / "a.dcm", rgb)).pixels == rgb).all()


def test_frames_need_a_number(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (4, 6, 5), dtype=np.uint8)
    path = write(tmp_path / "a.dcm", frames)
    assert (read_image(path, 2).pixels[..., 0] == frames[2]).all()
    for read in (read_image, read_shape):
        with pytest.raises(UnreadableFileError, match=r"4 frames\. Expected one picture"):
            read(path)
    with pytest.raises(UnreadableFileError, match="frame 4 was asked for"):
        read_image(path, 4)


def test_truncated_files_and_files_without_an_image_are_errors(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", np.zeros((40, 50), np.uint16))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 1000])
    with pytest.raises(UnreadableFileError, match=r"a\.dcm cannot be read"):
        read_image(path)
    path.write_bytes(content[:300])
    with pytest.raises(UnreadableFileError, match=r"a\.dcm cannot be read"):
        read_image(path)


def test_without_pydicom_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.dcm", np.zeros((4, 5), np.uint16))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UnreadableFileError, match=r"needs pydicom. Install it: pip install 'maskwright\[dicom\]'"):
        read_image(path)

"""Arrays in NumPy, MATLAB, HDF5, NIfTI and NRRD files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import nibabel
import nrrd
import numpy as np
import pytest
from scipy.io import savemat

from maskwright.errors import UnreadableFileError
from maskwright.imaging.images import pictures_in, read_image, read_mask, read_shape, split_suffix

GREY = np.arange(20, dtype=np.uint8).reshape(4, 5)
RGB = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
WIDE = np.arange(6 * 5 * 7, dtype=np.uint16).reshape(6, 5, 7)


def test_numpy_pictures_with_channels_first_or_last(tmp_path: Path) -> None:
    for name, array in (("a", GREY), ("b", np.repeat(RGB, 2, 1)), ("c", np.moveaxis(np.repeat(RGB, 2, 0), 2, 0))):
        np.save(tmp_path / f"{name}.npy", array)
    assert (read_image(tmp_path / "a.npy").pixels[..., 0] == GREY).all()
    assert (read_mask(tmp_path / "a.npy") == GREY).all()
    np.save(tmp_path / "d.npy", np.zeros((9, 8, 3), np.uint8))
    np.save(tmp_path / "e.npy", np.zeros((3, 9, 8), np.uint8))
    assert read_image(tmp_path / "d.npy").pixels.shape == read_image(tmp_path / "e.npy").pixels.shape == (9, 8, 3)


def test_a_stack_is_pages(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", WIDE)
    assert pictures_in(tmp_path / "a.npy") == 6
    assert (read_image(tmp_path / "a.npy", page=2).pixels[..., 0] == WIDE[2]).all()
    with pytest.raises(UnreadableFileError, match="holds 6 pictures"):
        read_image(tmp_path / "a.npy")
    with pytest.raises(UnreadableFileError, match="page 6 was asked for"):
        read_image(tmp_path / "a.npy", page=6)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UnreadableFileError):
        read_image(tmp_path / "a.npy")


def test_of_several_arrays_the_named_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=WIDE[0], mask=GREY)
    assert (read_image(tmp_path / "a.npz").pixels[..., 0] == WIDE[0]).all()
    assert (read_mask(tmp_path / "a.npz") == GREY).all()
    np.savez(tmp_path / "b.npz", one=WIDE[0], two=GREY)
    with pytest.raises(UnreadableFileError, match=r"2 arrays: one .5 x 7.*two"):
        read_mask(tmp_path / "b.npz")


def test_matlab_structs_and_matrices(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"groundTruth": {"Segmentation": GREY.astype(np.uint16), "Boundaries": GREY > 3}})
    savemat(tmp_path / "b.mat", {"groundtruth": GREY})
    assert (read_mask(tmp_path / "a.mat") == GREY).all()
    assert (read_mask(tmp_path / "b.mat") == GREY).all()
    assert read_shape(tmp_path / "a.mat") == (4, 5)


def test_hdf5_and_what_lies_elsewhere(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/exported_data"] = GREY
        file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")
    assert (read_mask(tmp_path / "a.h5") == GREY).all()
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("x", (4, 5), np.uint8, external=[("/etc/hostname", 0, 20)])
    with pytest.raises(UnreadableFileError, match="another file"):
        read_mask(tmp_path / "b.h5")
    virtual = h5py.VirtualLayout((4, 5), np.uint8)
    virtual[...] = h5py.VirtualSource(tmp_path / "a.h5", "group/exported_data", shape=(4, 5))
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_virtual_dataset("x", virtual)
    with pytest.raises(UnreadableFileError, match="another file"):
        read_mask(tmp_path / "c.h5")
    for link in (h5py.ExternalLink(tmp_path / "a.h5", "/group/exported_data"), h5py.SoftLink("/elsewhere/x")):
        with h5py.File(tmp_path / "d.h5", "w") as file:
            file["x"] = link
        with pytest.raises(UnreadableFileError, match=r"entry x is a link"):
            read_mask(tmp_path / "d.h5")


def test_hdf5_groups_that_hold_each_other(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("group")
        group["mask"] = GREY
        group["root"] = group["again"] = file["/"]
    assert (read_mask(tmp_path / "a.h5") == GREY).all()


def test_nrrd_values_in_another_file(tmp_path: Path) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(range(20)))
    for key in ("data file", "datafile"):
        header = f"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 5\nencoding: raw\n{key}: secret.raw\n\n"
        (tmp_path / "a.nrrd").write_text(header)
        with pytest.raises(UnreadableFileError, match="another file"):
            read_mask(tmp_path / "a.nrrd")


def _nifti(volume: np.ndarray, affine: np.ndarray) -> Any:
    make: Any = nibabel.Nifti1Image
    return make(volume, affine)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_slices_show_rows_down(tmp_path: Path, suffix: str) -> None:
    volume = np.arange(4 * 5 * 3, dtype=np.int16).reshape(4, 5, 3)
    nibabel.save(_nifti(volume, np.diag([1.0, 1, 2, 1])), tmp_path / f"a{suffix}")
    path = tmp_path / f"a{suffix}"
    assert pictures_in(path) == 3
    assert (read_mask(path, page=1) == volume[:, :, 1].T).all()
    assert read_image(path, page=2).pixels.shape == (5, 4, 1)
    nibabel.save(_nifti(volume[:, :, 0], np.eye(4)), path)
    assert read_shape(path) == (5, 4)


def test_nrrd_slices(tmp_path: Path) -> None:
    volume = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    nrrd.write(str(tmp_path / "a.seg.nrrd"), volume)
    assert (read_mask(tmp_path / "a.seg.nrrd", page=1) == volume[:, :, 1].T).all()


def test_double_suffixes_are_one() -> None:
    assert split_suffix("a.b.OME.tif") == ("a.b", ".ome.tif")
    assert split_suffix("a.nii.gz") == ("a", ".nii.gz")
    assert split_suffix("a.tar.png") == ("a.tar", ".png")
    assert split_suffix(".png") == (".png", "")

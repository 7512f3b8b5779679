"""Masks of array files are written back in the form of their images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import nrrd
import numpy as np
import pytest
from scipy.io import savemat

from maskwright.datasets.classes import ClassTable, LabelClass
from maskwright.errors import DataError, FailedFilesError, PairingError
from maskwright.imaging.images import pictures_in, read_image, read_mask
from maskwright.predict.files import find_images, predict_files
from maskwright.predict.predictor import Prediction, Predictor

CLASSES = ClassTable(
    classes=(
        LabelClass(name="dark", color=(0, 0, 200), values=(0,)),
        LabelClass(name="bright", color=(250, 250, 0), values=(1,)),
    )
)
SLICES = np.random.default_rng(0).integers(0, 200, (7, 8, 10)).astype(np.uint8)
TURNED = np.array([[0, -0.7, 0, 11], [0.7, 0, 0, -5], [0, 0, 2.5, 3], [0, 0, 0, 1]])
DIRECTIONS = np.array([[0.5, 0, 0], [0, 0.5, 0], [0, 0, 2.0]])


class Threshold:
    """Bright where grey is above 99; refuses a picture that is constant."""

    classes = CLASSES
    channels = 1

    def __call__(self, image: np.ndarray, valid: np.ndarray | None = None, *, name: str = "") -> Prediction:
        if image.min() == image.max():
            raise DataError(f"{name} is constant.")
        mask = (image[:, :, 0] > 99).astype(np.uint8)
        probabilities = np.stack([1.0 - mask, mask], 2).astype(np.float32)
        return Prediction(image=image, mask=mask, probabilities=probabilities, classes=CLASSES)


@pytest.fixture
def predictor() -> Predictor:
    return Threshold()  # type: ignore[return-value]


def npz(path: Path, pixels: np.ndarray) -> None:
    np.savez(path, image=pixels)


def mat(path: Path, pixels: np.ndarray) -> None:
    savemat(path, {"image": pixels})


def hdf5(path: Path, pixels: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["image"] = pixels


def nifti(path: Path, pixels: np.ndarray) -> None:
    volume: Any = np.atleast_3d(pixels.T if pixels.ndim == 2 else pixels.transpose(2, 1, 0)).astype(np.int16)
    make: Any = nibabel.Nifti1Image
    nibabel.save(make(volume, TURNED), path)


def nearly_raw(path: Path, pixels: np.ndarray) -> None:
    volume = np.atleast_3d(pixels.T if pixels.ndim == 2 else pixels.transpose(2, 1, 0))
    header = {"space": "left-posterior-superior", "space directions": DIRECTIONS, "space origin": [1.0, 2, 3]}
    nrrd.write(str(path), volume, header=header)


FORMS: dict[str, Callable[[Path, np.ndarray], None]] = {
    ".npy": np.save, ".npz": npz, ".mat": mat, ".h5": hdf5, ".nii": nifti, ".nii.gz": nifti, ".nrrd": nearly_raw,
}  # fmt: skip


@pytest.mark.parametrize("pages", [1, 3, 7])
@pytest.mark.parametrize("suffix", FORMS)
def test_a_mask_has_the_form_of_its_image(suffix: str, pages: int, tmp_path: Path, predictor: Predictor) -> None:
    if suffix in (".npy", ".npz", ".mat", ".h5"):
        several = SLICES[:pages, ..., None] if pages == 3 else SLICES[:pages]  # three would be channels
    else:
        several = SLICES[:pages]
    pixels = SLICES[0] if pages == 1 else several
    FORMS[suffix](tmp_path / f"scan{suffix}", pixels)
    images = find_images(str(tmp_path / f"scan{suffix}"))
    written = predict_files(predictor, images, tmp_path / "out", overlays=False)
    target = tmp_path / f"out/masks/scan{suffix}"
    assert {one.mask for one in written} == {target}
    assert len(written) == pages == pictures_in(target, mask=True)
    for page in range(pages):
        mask = read_mask(target, page if pages > 1 else None)
        assert (mask == (SLICES[page] > 99)).all()
        # Whatever the axes are, image and mask of one page lie on each other.
        assert ((read_image(tmp_path / f"scan{suffix}", page if pages > 1 else None).pixels[..., 0] > 99) == mask).all()
    assert sorted(path.name for path in target.parent.iterdir() if path.name[0] != ".") == [target.name]


def test_a_volume_keeps_its_place_in_space(tmp_path: Path, predictor: Predictor) -> None:
    nifti(tmp_path / "a.nii.gz", SLICES)
    nearly_raw(tmp_path / "b.nrrd", SLICES)
    for name in ("a.nii.gz", "b.nrrd"):
        predict_files(predictor, find_images(str(tmp_path / name)), tmp_path / "out", overlays=False)
    mask: Any = nibabel.load(tmp_path / "out/masks/a.nii.gz")
    assert np.allclose(mask.affine, TURNED)
    assert mask.get_data_dtype() == np.uint8
    assert mask.shape == (10, 8, 7)
    header = nrrd.read_header(str(tmp_path / "out/masks/b.nrrd"))
    assert header["space"] == "left-posterior-superior"
    assert np.allclose(header["space directions"], DIRECTIONS)
    assert np.allclose(header["space origin"], [1, 2, 3])


def test_a_slice_that_fails_is_unlabelled_in_its_volume(tmp_path: Path, predictor: Predictor) -> None:
    slices = SLICES.copy()
    slices[2] = 5
    nifti(tmp_path / "a.nii.gz", slices)
    with pytest.raises(FailedFilesError, match="1 of 7 image"):
        predict_files(predictor, find_images(str(tmp_path / "a.nii.gz")), tmp_path / "out", overlays=False)
    target = tmp_path / "out/masks/a.nii.gz"
    assert (read_mask(target, 2) == 255).all()
    assert (read_mask(target, 3) == (SLICES[3] > 99)).all()


def test_an_input_is_not_written_over(tmp_path: Path, predictor: Predictor) -> None:
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / "masks/a.npy", SLICES[0])
    with pytest.raises(PairingError, match="would overwrite an input"):
        predict_files(predictor, find_images(str(tmp_path / "masks/a.npy")), tmp_path, overlays=False)
    assert (np.load(tmp_path / "masks/a.npy") == SLICES[0]).all()

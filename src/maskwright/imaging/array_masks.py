"""Masks in the form of the array file that their images came from: NumPy, MATLAB, HDF5, NIfTI, NRRD.

    x.npy      ->  uint8, height x width, or pages x height x width (up to four pages: x 1)
    x.npz      ->  the same, as the array `mask`; .mat and .h5 likewise
    x.nii.gz   ->  uint8 with the image's affine, axes as in the image
    x.nrrd     ->  uint8 with the image's space, directions and origin

So a mask lies on its image in every program that shows both, and is read back by `images.read_mask` as it was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.imaging.arrays import MOST_CHANNELS
from maskwright.imaging.images import ARRAY_SUFFIXES, split_suffix
from maskwright.runs import replacing

_KEPT = ("space", "space dimension", "space directions", "space origin", "space units", "measurement frame")
"""Fields of an NRRD header that say where its voxels lie."""


def mask_suffix(image: Path) -> str | None:
    """The suffix of an array file's masks; None where the image is no array file."""
    suffix = split_suffix(image.name)[1]
    return {".seg.nrrd": ".nrrd"}.get(suffix, suffix) if suffix in ARRAY_SUFFIXES else None


def write_array_masks(path: Path, masks: Sequence[np.ndarray], image: Path) -> None:
    """Write the masks of all pictures of an array file, atomically.

    Parameters
    ----------
    path
        Where; its suffix (`mask_suffix`) says in which form.
    masks
        Class indices (uint8 H x W, 255 unlabelled) of each picture or slice, in order; all of one size.
    image
        The file that they were predicted for, whose axes and place in space they take.
    """
    stack_NHW = np.stack(masks)
    suffix = split_suffix(path.name)[1]
    with replacing(path) as temporary:
        if suffix in (".nii", ".nii.gz"):
            _write_nifti(temporary, stack_NHW, image)
        elif suffix == ".nrrd":
            _write_nrrd(temporary, stack_NHW, image)
        else:
            # A few pages would be taken for channels.
            several = stack_NHW[..., None] if len(stack_NHW) <= MOST_CHANNELS else stack_NHW
            _write_plain(temporary, stack_NHW[0] if len(stack_NHW) == 1 else several, suffix)


def _write_plain(path: Path, pixels: np.ndarray, suffix: str) -> None:
    if suffix == ".npy":
        with path.open("wb") as file:
            np.save(file, pixels)
    elif suffix == ".npz":
        with path.open("wb") as file:
            np.savez_compressed(file, mask=pixels)
    elif suffix == ".mat":
        from scipy.io import savemat

        with path.open("wb") as file:
            savemat(file, {"mask": pixels}, do_compression=True)
    else:
        import h5py

        # The temporary file is locked by this process already (`runs.replacing`).
        with h5py.File(path, "w", locking=False) as file:
            file.create_dataset("mask", data=pixels, compression="gzip")


def _as_volume(stack_NHW: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Slices as a volume of columns x rows x slices, with the axes of length one that the image has."""
    return np.ascontiguousarray(stack_NHW.transpose(2, 1, 0)).reshape(tuple(shape))


def _write_nifti(path: Path, stack_NHW: np.ndarray, image: Path) -> None:
    import nibabel

    nib: Any = nibabel
    source = nib.load(image)
    header = source.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    volume = _as_volume(stack_NHW, source.shape)
    written = type(source)(volume, source.affine, header)
    content = written.to_bytes()
    if path.name.endswith(".gz"):
        import gzip

        content = gzip.compress(content)
    path.write_bytes(content)


def _write_nrrd(path: Path, stack_NHW: np.ndarray, image: Path) -> None:
    import nrrd

    source = nrrd.read_header(str(image))
    header = {name: source[name] for name in _KEPT if name in source}
    volume = _as_volume(stack_NHW, [int(length) for length in source["sizes"]])
    nrrd.write(str(path), volume, header={**header, "encoding": "gzip"})

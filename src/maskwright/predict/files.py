"""Prediction of files: find images, write masks, overlays, probabilities and uncertainty under the images' names."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskwright import runs
from maskwright.datasets.classes import UNLABELLED
from maskwright.errors import DataError, EmptyDataError, PairingError
from maskwright.imaging.images import IMAGE_SUFFIXES, read_image, write_mask, write_picture
from maskwright.predict.predictor import Prediction, Predictor

LISTED = 5
"""Failures told in full."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was predicted for one image."""

    image: Path
    mask: Path
    shares: dict[str, float]
    """Of the valid pixels, for each class."""
    uncertainty: float
    """Mean over valid pixels."""

    def to_json(self) -> dict[str, Any]:
        """As `predict --json` prints it."""
        return {
            "image": str(self.image),
            "mask": str(self.mask),
            "shares": {name: round(share, 6) for name, share in self.shares.items()},
            "uncertainty": round(self.uncertainty, 6),
        }


def find_images(*patterns: str) -> list[Path]:
    """The images that files, folders (their `images/` if they have one) and glob patterns stand for, in order of name.

    Raises EmptyDataError if there are none for a pattern, PairingError if two images have one stem and so would write
    one mask.
    """
    by_stem: dict[str, Path] = {}
    for file in sorted({file for pattern in patterns for file in _find(pattern)}):
        other = by_stem.setdefault(file.stem, file)
        if other != file:
            raise PairingError(
                f"{other} and {file} have one name, {file.stem!r}, so that their masks would overwrite each other. "
                "Expected names that differ. Predict them one after the other with different --out folders."
            )
    return list(by_stem.values())


def _find(pattern: str) -> list[Path]:
    path = Path(pattern)
    if path.is_dir():
        folder = next((inner for inner in path.iterdir() if inner.is_dir() and inner.name.lower() == "images"), path)
        found = [file for file in folder.iterdir() if _is_image(file)]
        where = f"in the folder {folder}"
    elif path.is_file():
        found, where = [path], f"at {path}"
    else:
        found = [Path(name) for name in glob.glob(pattern, recursive=True) if _is_image(Path(name))]  # noqa: PTH207
        where = f"for {pattern!r}"
    if not found:
        raise EmptyDataError(
            f'Found no image {where}. Expected a file, a folder or a quoted pattern such as "new/*.png", with '
            f"{', '.join(sorted(IMAGE_SUFFIXES))}."
        )
    return found


def predict_files(
    predictor: Predictor,
    images: Sequence[Path],
    out: Path,
    *,
    overlays: bool = True,
    probabilities: bool = False,
    uncertainty: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Written]:
    """Predict images one after the other and write, for each, `out/masks/<stem>.png` and what else is asked for.

    An image that cannot be read or does not suit the model does not stop the others: at the end a DataError names all
    such images. Raises PairingError before anything is written if an output would overwrite an input.
    """
    sources = {image.resolve() for image in images}
    for image in images:
        for name in ("masks", "overlays", "uncertainty"):
            target = (out / name / f"{image.stem}.png").resolve()
            if target in sources:
                raise PairingError(f"Writing {target} would overwrite an input. Choose another folder with --out.")
    written = []
    failed: list[str] = []
    for done, image in enumerate(images):
        progress(done, len(images))
        try:
            source = read_image(image)
            prediction = predictor(source.pixels, source.valid, name=str(image))
        except DataError as error:
            failed.append(str(error))
            continue
        mask = out / "masks" / f"{image.stem}.png"
        write_mask(mask, prediction.mask, predictor.classes.palette())
        if overlays:
            write_picture(out / "overlays" / f"{image.stem}.png", prediction.overlay())
        if probabilities:
            _write_probabilities(out / "probabilities" / f"{image.stem}.npz", prediction)
        entropy = prediction.uncertainty
        if uncertainty:
            with runs.replacing(out / "uncertainty" / f"{image.stem}.png") as temporary:
                encoded = cv2.imencode(".png", np.rint(entropy * 65535).astype(np.uint16))[1]
                temporary.write_bytes(encoded.tobytes())
        valid = prediction.mask != UNLABELLED
        counts = np.bincount(prediction.mask[valid], minlength=len(predictor.classes))
        written.append(
            Written(
                image=image,
                mask=mask,
                shares={
                    name: float(count / max(1, counts.sum()))
                    for name, count in zip(predictor.classes.names, counts, strict=True)
                },
                uncertainty=float(entropy[valid].mean()) if valid.any() else 0.0,
            )
        )
    progress(len(images), len(images))
    if failed:
        more = f"\n  ... and {len(failed) - LISTED} more" if len(failed) > LISTED else ""
        rest = f"; the masks of the others are in {out / 'masks'}" if written else ""
        raise DataError(
            f"{len(failed)} of {len(images)} image(s) could not be predicted{rest}.\n  "
            + "\n  ".join(failed[:LISTED])
            + more
        )
    return written


def _write_probabilities(path: Path, prediction: Prediction) -> None:
    with runs.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            probabilities=prediction.probabilities.transpose(2, 0, 1).astype(np.float16),
            classes=np.array(prediction.classes.names),
        )


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not path.name.startswith(".")

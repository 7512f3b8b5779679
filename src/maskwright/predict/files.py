"""Prediction of files: find images, write masks, overlays, probabilities and uncertainty under the images' names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from maskwright import runs
from maskwright.datasets.classes import UNLABELLED
from maskwright.datasets.sources import Source
from maskwright.errors import DataError, EmptyDataError, FailedFilesError, PairingError, listed
from maskwright.imaging.images import ARRAY_SUFFIXES, IMAGE_SUFFIXES, split_suffix
from maskwright.imaging.writing import write_mask, write_picture
from maskwright.outputs import is_own, require_free
from maskwright.predict.predictor import Prediction, Predictor

if TYPE_CHECKING:
    from maskwright.predict.volumes import Volumes

MASKS, OVERLAYS, PROBABILITIES, UNCERTAINTY = "masks", "overlays", "probabilities", "uncertainty"
"""Folders of outputs."""
LISTED = 5
"""Failures told in full."""


_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".ppm", ".pgm"})
"""Suffixes of files that hold one picture."""

_MASK_NAME = re.compile(r"(?:.+[_\-. ](?:masks?|labels?|gt|segs?|(?-i:L))|(?:mask|label|gt)[_\-. ].+)", re.IGNORECASE)
"""Names that may be those of masks beside images: then the readers tell."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image to predict."""

    name: str
    """What its outputs are called, without a suffix."""
    source: Source

    @property
    def key(self) -> tuple[str, int, str]:
        """Sorts by file, page and name."""
        return str(self.source.path), self.source.page or 0, self.name


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


def find_images(*patterns: str, say: Callable[[str], None] = lambda text: None) -> list[Image]:
    """Find the images that files, folders and glob patterns stand for, in order of name.

    A folder or file is opened by the readers that training uses, so that a model predicts what it was trained on:
    stacks page by page, bands that are files, splits. Masks that lie beside images are passed over; `say` is told.
    A plain folder of pictures, and its `images/`, need no reader.

    Raises
    ------
    EmptyDataError
        There are none for a pattern.
    PairingError
        Two images have one name, and so would write one mask.
    """
    found = sorted({image for pattern in patterns for image in _find(pattern, say)}, key=lambda image: image.key)
    own = [image for image in found if is_own(image.source.path)]
    if own:
        say(f"Passed over, as Maskwright wrote them: {listed([str(image.source.path) for image in own])}")
        found = [image for image in found if image not in own]
        if not found:
            raise EmptyDataError(
                f"Every image found was written by Maskwright itself, {own[0].source.path} for example.",
                expected="Expected images of yours.",
            )
    by_name: dict[str, Image] = {}
    for image in found:
        other = by_name.setdefault(image.name, image)
        if other != image:
            raise PairingError(
                f"{other.source.path} and {image.source.path} have one name, {image.name!r}, so that their masks would "
                "overwrite each other.",
                expected="Expected names that differ.",
                remedy="Predict them one after the other with different --out folders.",
                file=image.source.path,
            )
    return list(by_name.values())


def _find(pattern: str, say: Callable[[str], None]) -> list[Image]:
    path = Path(pattern)
    if path.is_dir():
        folder = next((inner for inner in path.iterdir() if inner.is_dir() and inner.name.lower() == "images"), path)
        files = [file for file in folder.iterdir() if _is_image(file)]
        found = [_alone(file) for file in files] if files and all(map(_is_plain, files)) else _read(path, say)
        where = f"in the folder {folder}"
    elif path.is_file():
        found, where = [_alone(path)] if _is_plain(path) else _read(path, say), f"at {path}"
    else:
        files = [file for file in _matching(path) if _is_image(file)]
        found = [image for file in files for image in ([_alone(file)] if _is_plain(file) else _read(file, say))]
        where = f"for {pattern!r}"
    if not found:
        raise EmptyDataError(
            f"Found no image {where}.",
            expected='Expected a file, a folder or a quoted pattern such as "new/*.png", with '
            f"{', '.join(sorted(IMAGE_SUFFIXES))}.",
        )
    return found


def _matching(pattern: Path) -> list[Path]:
    """Files that a glob pattern fits; its first folders are taken literally as far as they exist ("odd [v1]/*.png")."""
    parts = pattern.parts
    kept = next((n for n in range(len(parts) - 1, 0, -1) if Path(*parts[:n]).is_dir()), 0)
    home, rest = (Path(*parts[:kept]), parts[kept:]) if kept else (Path(), parts)
    return sorted(home.glob(str(Path(*rest)))) if not Path(*rest).is_absolute() else []


def _read(path: Path, say: Callable[[str], None]) -> list[Image]:
    """The images that the readers of data sets find."""
    from maskwright.datasets.formats import find_layout

    layout = find_layout(path, masks=False)
    for note in layout.notes:
        say(note)
    return [Image(name=sample.id, source=sample.image) for sample in layout.samples]


def _alone(path: Path) -> Image:
    return Image(name=split_suffix(path.name)[0], source=Source(path=path))


def _is_plain(path: Path) -> bool:
    """Whether a name is that of one picture, and not that of a mask beside one."""
    stem, suffix = split_suffix(path.name)
    return suffix in _PICTURES and not _MASK_NAME.fullmatch(stem)


def predict_files(
    predictor: Predictor,
    images: Sequence[Image],
    out: Path,
    *,
    overlays: bool = True,
    probabilities: bool = False,
    uncertainty: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    each: Callable[[Written], None] = lambda written: None,
) -> list[Written]:
    """Predict images one after the other and write, for each, `out/masks/<stem>.png` and what else is asked for.

    `each` is called with what was written for an image, as soon as it is.

    An image that cannot be read or does not suit the model does not stop the others: at the end a FailedFilesError
    names all such images, or a DataError if none was predicted. Raises PairingError before anything is written if an
    output would overwrite an input.
    """
    sources = {file.resolve() for image in images for file in image.source.files}
    for image in images:
        for name in ("masks", "overlays", "uncertainty"):
            targets = {(out / name / f"{image.name}{suffix}").resolve() for suffix in (".png", ".tif")}
            target = next(iter(targets & sources), None)
            if target is not None:
                raise PairingError(
                    f"Writing {target} would overwrite an input.", remedy="Choose another folder with --out."
                )
    parts = {MASKS: True, OVERLAYS: overlays, PROBABILITIES: probabilities, UNCERTAINTY: uncertainty}
    volumes = _volumes(images, out / MASKS)
    if volumes is not None:
        places = {volumes.place(image.name, image.source) for image in images if volumes.holds(image.source)}
        target = next((place for place in places if place.resolve() in sources), None)
        if target is not None:
            raise PairingError(f"Writing {target} would overwrite an input. Choose another folder with --out.")
        require_free(places)
    require_free(
        out / part / f"{image.name}{suffix}"
        for image in images
        for part, asked in parts.items()
        if asked
        for suffix in (".png", ".tif", ".npz")
    )
    written = []
    failed: list[str] = []
    for done, image in enumerate(images):
        progress(done, len(images))
        try:
            source = image.source.read_image()
            pixels = source.pixels
            if pixels.shape[2] == 1 and predictor.channels == 3:  # as in training, where grey images lie among RGB ones
                pixels = np.repeat(pixels, 3, axis=2)
            prediction = predictor(pixels, source.valid, name=_told(image))
        except DataError as error:
            failed.append(str(error))
            if volumes is not None and volumes.holds(image.source):
                volumes.add(image.name, image.source, None)
            continue
        if volumes is not None and volumes.holds(image.source):
            mask = volumes.add(image.name, image.source, prediction.mask)
        else:
            mask = _write_mask(out / "masks", image, prediction, predictor.classes.palette())
        if overlays:
            write_picture(out / "overlays" / f"{image.name}.png", prediction.overlay())
        if probabilities:
            _write_probabilities(out / "probabilities" / f"{image.name}.npz", prediction)
        entropy = prediction.uncertainty
        if uncertainty:
            with runs.replacing(out / "uncertainty" / f"{image.name}.png") as temporary:
                encoded = cv2.imencode(".png", np.rint(entropy * 65535).astype(np.uint16))[1]
                temporary.write_bytes(encoded.tobytes())
        valid = prediction.mask != UNLABELLED
        counts = np.bincount(prediction.mask[valid], minlength=len(predictor.classes))
        written.append(
            Written(
                image=image.source.path,
                mask=mask,
                shares={
                    name: float(count / max(1, counts.sum()))
                    for name, count in zip(predictor.classes.names, counts, strict=True)
                },
                uncertainty=float(entropy[valid].mean()) if valid.any() else 0.0,
            )
        )
        each(written[-1])
    progress(len(images), len(images))
    if failed:
        more = f"\n  ... and {len(failed) - LISTED} more" if len(failed) > LISTED else ""
        rest = f"; the masks of the others are in {out / 'masks'}" if written else ""
        raise (FailedFilesError if written else DataError)(
            f"{len(failed)} of {len(images)} image(s) could not be predicted{rest}.\n  "
            + "\n  ".join(failed[:LISTED])
            + more
        )
    return written


def _volumes(images: Sequence[Image], folder: Path) -> Volumes | None:
    """What gathers the masks of array files; None where there are none, and nothing needs to be imported."""
    if not any(split_suffix(image.source.path.name)[1] in ARRAY_SUFFIXES for image in images):
        return None
    from maskwright.predict.volumes import Volumes

    return Volumes([(image.name, image.source) for image in images], folder)


def _told(image: Image) -> str:
    """What messages call an image."""
    page = image.source.page
    return str(image.source.path) if page is None else f"{image.source.path}, page {page}"


def _write_mask(folder: Path, image: Image, prediction: Prediction, palette: bytes) -> Path:
    """Write a mask as PNG, or on the map as its image is: as GeoTIFF."""
    path = image.source.path
    if path.suffix.lower() in (".tif", ".tiff") and image.source.window is None:
        from maskwright.imaging.geotags import grid_of, write_tiff_masks

        if grid_of(path):
            mask = folder / f"{image.name}.tif"
            write_tiff_masks(mask, prediction.mask, palette, path)
            return mask
    mask = folder / f"{image.name}.png"
    write_mask(mask, prediction.mask, palette)
    return mask


def _write_probabilities(path: Path, prediction: Prediction) -> None:
    with runs.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            probabilities=prediction.probabilities.transpose(2, 0, 1).astype(np.float16),
            classes=np.array(prediction.classes.names),
        )


def _is_image(path: Path) -> bool:
    """Whether a name is that of an image; a link that leads nowhere is one, so that it is named."""
    listed = path.is_file() or path.is_symlink()
    return split_suffix(path.name)[1] in IMAGE_SUFFIXES and listed and not path.name.startswith(".")

"""One file for each band of an image, as Landsat and Sentinel-2 scenes are published.

    DATA/images/SCENE_B02.tif           bands side by side: SCENE_B02, SCENE_B03, ... (also -B02, _band2, _red, _nir)
    DATA/images/SCENE_B03.tif
    DATA/masks/SCENE.tif                also SCENE_mask.tif

    DATA/images/SCENE/B02.tif ...       or a folder for each scene, of files B02.tif or ANYTHING_B02.tif
    DATA/masks/SCENE.tif

    DATA/SCENE/B02.tif ...              or with the mask in it: mask.tif, labels.tif, SCENE_mask.tif

and each of these in train, val and test folders. Bands are channels in the natural order of their names (B2, B3, B8,
B8A, B11), the same ones for every scene. A band with fewer pixels, by a whole factor on both axes, is repeated to the
size of the largest, so that its values stay its own. A pixel is invalid where any band has no data.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskwright.datasets.formats.folder import IMAGES, MASKS, child
from maskwright.datasets.formats.layout import SPLITS, Layout, folders_in, found, is_labels, table_in
from maskwright.datasets.formats.pairing import check_pairs, files_in, is_image, matched, stem_of
from maskwright.datasets.problems import Problem, report
from maskwright.datasets.samples import Sample
from maskwright.datasets.sources import Source, natural
from maskwright.errors import PairingError, SizeMismatchError, listed
from maskwright.imaging import images
from maskwright.imaging.decoders import Header, Window

_NAMES = "red|green|blue|nir|swir[12]?|rededge[1-4]?|pan|coastal|cirrus|thermal"
_BAND = re.compile(rf"(?:(.*)[_\-. ])?(b[0-9]{{1,2}}a?|band_?[0-9]{{1,2}}a?|{_NAMES})(_[0-9]{{2}}m)?", re.IGNORECASE)
_KINDS = (".tif", ".tiff", ".jp2")
_TRUTH = re.compile(r"(?:.+[_\-. ])?(?:masks?|labels?|gt|truth|annotations?)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Bands(Source):
    """An image whose bands are files; `path` is the first of them."""

    bands: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the bands, in the order of channels."""
        return self.bands

    def header(self) -> Header:
        """As `Source.header`, of the largest band; raises SizeMismatchError if sizes are not multiples."""
        shape = self._factors()[1]
        whole = Header(height=shape[0], width=shape[1])
        return whole if self.window is None else images.windowed(whole, self.path, self.window)

    def read_image(self) -> images.Image:
        """As `Source.read_image`: bands as channels, in the widest of their types."""
        factors, _ = self._factors()
        parts = [_enlarged(path, factor, self.window) for path, factor in zip(self.bands, factors, strict=True)]
        kinds = {part.pixels.dtype for part in parts}
        kind = kinds.pop() if len(kinds) == 1 else np.result_type(*kinds, *[part.pixels.dtype for part in parts])
        kind = kind if kind in (np.uint8, np.uint16) else np.dtype(np.float32)
        masks = [part.valid for part in parts if part.valid is not None]
        valid = np.logical_and.reduce(masks) if masks else None
        return images.Image(np.concatenate([part.pixels.astype(kind) for part in parts], axis=2), valid)

    def read_mask(self) -> np.ndarray:
        """Bands are no mask."""
        raise AssertionError("bands are read as an image")

    def _factors(self) -> tuple[list[int], tuple[int, int]]:
        """How often a pixel of each band is repeated along both axes, and the size of all."""
        shapes = [images.read_shape(path) for path in self.bands]
        height, width = max(shapes)
        factors = [height // max(1, shape[0]) for shape in shapes]
        for path, shape, factor in zip(self.bands, shapes, factors, strict=True):
            if (shape[0] * factor, shape[1] * factor) != (height, width):
                sizes = f"{path} is {shape[1]} x {shape[0]} pixels, and the largest band is {width} x {height}"
                raise SizeMismatchError(
                    f"{sizes}. Expected bands of one size, or smaller by a whole factor. Resample it, or move it away."
                )
        return factors, (height, width)


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read scenes whose bands are files; see `layout.Reader`.

    Raises
    ------
    PairingError
        Scenes differ in their bands, or have no mask (noted in `problems`, if it is a list).
    """
    if not root.is_dir():
        return None
    homes: list[tuple[str | None, Path]] = [
        (split, home) for split, names in SPLITS.items() if (home := child(root, *names))
    ]
    found_in = {home: _scenes(home) for home in [*(home for _, home in homes), root]}
    homes = [(split, home) for split, home in homes if found_in[home]] or [(None, root)]
    scenes = [(split, home, name, scene) for split, home in homes for name, scene in found_in[home].items()]
    if not scenes:
        return None
    common = _bands_of(scenes[0][3])
    truths = {home: _truth(home, found_in[home], problems) for _, home in homes} if masks else {}
    samples: list[Sample] = []
    used: set[str] = set()
    for split, home, name, scene in scenes:
        if _bands_of(scene) != common:
            own = listed(_bands_of(scene), 16)
            what = f"The scene {name} in {home} has the bands {own}; {scenes[0][2]} has {listed(common, 16)}."
            problem = Problem(
                level="error",
                kind="unlike-bands",
                files=tuple(scene),
                what=what,
                remedy="Expected the same bands in all scenes. Add or remove files.",
            )
            report(problems, problem, PairingError)
            continue
        mask = _mask(home, name, scene[0].parent, truths[home]) if masks else None
        if masks and mask is None:
            problem = Problem(
                level="error",
                kind="unpaired",
                files=(scene[0],),
                what=f"The scene {name} in {home} has no mask.",
                remedy=f"Expected {home / 'masks' / name}.tif, or a mask.tif among its bands.",
            )
            report(problems, problem, PairingError)
            continue
        used.add(name)
        samples.append(
            Sample(
                id=name if split is None else f"{split}/{name}",
                image=Bands(path=scene[0], bands=scene),
                mask=Source(path=mask) if mask else None,
                split=split,
            )
        )
    truth = next((sample.mask.path.parent for sample in samples if sample.mask), root)
    kind = f"one file for each of {len(common)} bands ({listed(common, 16)})"
    return Layout(
        format="a file for each band",
        samples=tuple(samples),
        masks_folder=truth,
        unlabelled_255=is_labels(truth),
        home=root,
        table=table_in(root),
        notes=(found(root, kind, samples, masks=masks),),
    )


def _scenes(home: Path) -> dict[str, tuple[Path, ...]]:
    """The bands of each scene, by its name; none where files are not bands."""
    folder = child(home, *IMAGES) or home
    inside = sorted(folders_in(folder), key=natural)
    scenes = {name: _in_order((folder / name).iterdir()) for name in inside}
    scenes = {name: bands for name, bands in scenes.items() if len(bands) > 1}
    if scenes:
        return scenes
    by_scene: defaultdict[str, list[Path]] = defaultdict(list)
    for path in folder.iterdir():
        if not is_image(path):
            continue
        match = _BAND.fullmatch(stem_of(path)) if path.suffix.lower() in _KINDS else None
        if match and match[1]:
            by_scene[match[1]].append(path)
        elif not _TRUTH.fullmatch(stem_of(path)):
            return {}
    truth = child(home, *MASKS)
    named = {stem_of(path) for path in truth.iterdir()} if truth else set()
    alone = [path for paths in by_scene.values() for path in paths if stem_of(path) in named]
    if alone or any(len(paths) < 2 for paths in by_scene.values()):
        return {}  # images of their own, such as car_red.png
    return {name: _in_order(by_scene[name]) for name in sorted(by_scene, key=natural)}


def _in_order(files: Iterable[Path]) -> tuple[Path, ...]:
    files = [path for path in files if path.suffix.lower() in _KINDS and not path.name.startswith(".")]
    bands = {match[2]: path for path in files if (match := _BAND.fullmatch(stem_of(path)))}
    return tuple(bands[name] for name in sorted(bands, key=natural))


def _bands_of(scene: Iterable[Path]) -> list[str]:
    return [match[2].upper() for path in scene if (match := _BAND.fullmatch(stem_of(path)))]


def _truth(home: Path, found_scenes: Mapping[str, Sequence[Path]], problems: list[Problem] | None) -> dict[str, Path]:
    """The masks in a folder of their own, by the names of scenes; raises PairingError for those without a scene."""
    folder = child(home, *MASKS)
    if folder is None:
        return {}
    scenes = {name: bands[0] for name, bands in found_scenes.items()}
    files, _ = files_in(folder, problems)
    _, by_scene, _ = matched(scenes, files, folder)
    check_pairs(
        child(home, *IMAGES) or home,
        {name: scenes[name] for name in by_scene if name in scenes},
        folder,
        by_scene,
        problems,
    )
    return by_scene


def _mask(home: Path, name: str, folder: Path, truth: Mapping[str, Path]) -> Path | None:
    """The mask of a scene: in the folder of masks, or among the bands."""
    if name in truth:
        return truth[name]
    beside = [path for path in sorted(folder.iterdir()) if is_image(path) and _TRUTH.fullmatch(stem_of(path))]
    own = folder not in (home, child(home, *IMAGES))
    fitting = [path for path in beside if own or stem_of(path).startswith(name)]
    return fitting[0] if len(fitting) == 1 else None


def _enlarged(path: Path, factor: int, window: Window | None) -> images.Image:
    """A window of a band whose pixels are repeated along both axes."""
    if factor == 1:
        return images.read_image(path, None, window)
    part = None
    if window is not None:
        top, left = window.top // factor, window.left // factor
        bottom, right = -(-(window.top + window.height) // factor), -(-(window.left + window.width) // factor)
        part = Window(top, left, bottom - top, right - left)
    small = images.read_image(path, None, part)
    rows, columns = slice(None), slice(None)
    if window is not None and part is not None:
        rows = slice(window.top - part.top * factor, window.top - part.top * factor + window.height)
        columns = slice(window.left - part.left * factor, window.left - part.left * factor + window.width)

    def large(pixels: np.ndarray) -> np.ndarray:
        return pixels.repeat(factor, axis=0).repeat(factor, axis=1)[rows, columns]

    return images.Image(large(small.pixels), None if small.valid is None else large(small.valid))

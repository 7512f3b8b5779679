"""What a labelling script is given: the image as an array, with features that are computed when first asked for.

Shapes: H, W height and width, C channels. `View` is a numpy array `H x W x C` in native values; its features are
`H x W` float32 unless said otherwise, and computed once.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from skimage import color

from maskwright.datasets.sources import Source
from maskwright.errors import DataError
from maskwright.imaging.filters import gradient, hessian_eigenvalues
from maskwright.imaging.images import IMAGE_SUFFIXES, read_image, split_suffix
from maskwright.imaging.tiffs import count_pages, first_page
from maskwright.label.grids import Grid, grid_of
from maskwright.label.superpixels import superpixels

T = TypeVar("T")
_BANDS_WITH_INFRARED = 4


class View(np.ndarray[Any, np.dtype[Any]]):
    """An image for a script: the array itself (`H x W x C`, native values), and features.

    Whatever is computed from it with numpy is a plain array.

    Parameters
    ----------
    pixels
        `H x W x C`.
    source
        The file, which companions, the grid and values are found by.
    home
        The folder of the project.
    valid
        Bool `H x W`, False where the source has no data.
    """

    def __new__(
        cls, pixels: np.ndarray, *, source: Source | None = None, home: Path | None = None, name: str = "",
        valid: np.ndarray | None = None,
    ) -> View:  # fmt: skip
        """Make a view of an array; the pixels are not copied."""
        view = np.asarray(pixels if pixels.ndim == 3 else pixels[..., None]).view(cls)
        view.flags.writeable = False
        view.name, view.source, view._home = name, source, home
        view.valid = np.ones(view.shape[:2], bool) if valid is None else valid
        return view

    name: str
    """The image's name: the stem of its file."""
    valid: np.ndarray
    """bool `H x W`, False where the source has no data."""
    source: Source | None
    """The file."""
    _home: Path | None

    def __array_finalize__(self, obj: object) -> None:
        self._made: dict[Any, Any] = {}

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[key]

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """A feature by its key, computed when first asked for: for a script's own features too."""
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made

    @cached_property
    def unit(self) -> np.ndarray:
        """Float32 `H x W x C`: integers divided by the largest value of their type, floats as they are."""
        pixels = np.asarray(self)
        scale = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
        return pixels.astype(np.float32) / np.float32(scale)

    @cached_property
    def rgb(self) -> np.ndarray:
        """Float32 `H x W x 3`: the first three channels of `unit`; grey is repeated."""
        unit = self.unit
        return np.ascontiguousarray(unit[..., :3]) if unit.shape[2] >= 3 else np.repeat(unit[..., :1], 3, 2)

    @cached_property
    def gray(self) -> np.ndarray:
        """Luma of `rgb` (ITU-R BT.601), or the first channel where there are fewer than three."""
        return cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY) if self.shape[2] >= 3 else self.unit[..., 0].copy()

    @cached_property
    def stretched(self) -> np.ndarray:
        """`gray` with its 0.5 and 99.5 percentiles (of valid pixels) at 0 and 1, clipped."""
        values = self.gray[self.valid] if self.valid.any() else self.gray
        low, high = np.percentile(values, (0.5, 99.5))
        return np.asarray(np.clip((self.gray - low) / max(high - low, 1e-6), 0, 1), np.float32)

    @cached_property
    def lab(self) -> np.ndarray:
        """CIE Lab `H x W x 3`: lightness 0 to 100; values of `rgb` above 1 are clipped."""
        return np.asarray(color.rgb2lab(np.clip(self.rgb, 0, 1)), np.float32)

    @cached_property
    def hsv(self) -> np.ndarray:
        """Hue, saturation and value, each 0 to 1, `H x W x 3`."""
        return np.asarray(color.rgb2hsv(np.clip(self.rgb, 0, 1)), np.float32)

    @cached_property
    def exg(self) -> np.ndarray:
        """Excess green, 2 g - r - b of chromatic coordinates (Woebbecke et al. 1995), -1 to 2."""
        if self.shape[2] < 3:
            raise self._lacks("excess green", "red, green and blue")
        return np.asarray(3 * self.rgb[..., 1] / np.maximum(self.rgb.sum(2), 1e-6) - 1, np.float32)

    @cached_property
    def ndvi(self) -> np.ndarray:
        """Normalised difference vegetation index, -1 to 1: the fourth channel is near infrared, the first red."""
        if self.shape[2] < _BANDS_WITH_INFRARED:
            raise self._lacks("NDVI", "red, green, blue and near infrared")
        red, infrared = self.unit[..., 0], self.unit[..., 3]
        return np.asarray((infrared - red) / np.maximum(np.abs(infrared + red), 1e-6), np.float32)

    @property
    def gradient(self) -> np.ndarray:
        """Strength of edges: `gradients(1)`."""
        return self.gradients(1.0)

    def gradients(self, sigma: float) -> np.ndarray:
        """Magnitude of the gradient of `gray`, smoothed by a Gaussian of `sigma` pixels; per pixel."""

        def make() -> np.ndarray:
            across, down = gradient(self.smooth(sigma))
            return np.asarray(np.hypot(across, down))

        return self.once(("gradients", sigma), make)

    def smooth(self, sigma: float) -> np.ndarray:
        """`gray` under a Gaussian of `sigma` pixels."""
        return self.once(("smooth", sigma), lambda: cv2.GaussianBlur(self.gray, (0, 0), sigma))

    def local_mean(self, radius: int) -> np.ndarray:
        """Mean of `gray` in a square of 2 `radius` + 1 pixels a side."""
        side = (2 * radius + 1, 2 * radius + 1)
        return self.once(("mean", radius), lambda: cv2.blur(self.gray, side))

    def local_std(self, radius: int) -> np.ndarray:
        """Standard deviation of `gray` in a square of 2 `radius` + 1 pixels a side."""

        def make() -> np.ndarray:
            side = (2 * radius + 1, 2 * radius + 1)
            squares = cv2.blur(self.gray.astype(np.float64) ** 2, side)
            mean = cv2.blur(self.gray.astype(np.float64), side)
            return np.asarray(np.sqrt(np.maximum(squares - mean**2, 0)), np.float32)

        return self.once(("std", radius), make)

    def ridges(self, *sigmas: float, dark: bool = True, of: np.ndarray | None = None) -> np.ndarray:
        """How much each pixel lies on a line, dark or bright: the largest over widths, 0 or more.

        The largest eigenvalue of the Hessian at scale sigma, times sigma squared (Lindeberg 1998); a line of width w
        answers most at sigma = w / 3.5 or so.

        Parameters
        ----------
        sigmas
            Scales in pixels.
        dark
            Whether lines are darker than what lies about them.
        of
            Another map, `H x W`, instead of `gray`.
        """
        gray = (self.gray if of is None else np.asarray(of, np.float32)) * np.float32(1 if dark else -1)
        found = [hessian_eigenvalues(cv2.GaussianBlur(gray, (0, 0), sigma))[0] * sigma**2 for sigma in sigmas]
        return np.asarray(np.maximum(np.max(found, 0), 0), np.float32)

    def superpixels(self, area: int = 64) -> np.ndarray:
        """Regions of about `area` pixels: int32 `H x W`."""
        return self.once(("superpixels", area), lambda: superpixels(self.lab, area))

    def distance(self, mask: np.ndarray) -> np.ndarray:
        """Distance in pixels to the nearest pixel of a mask: 0 within it, infinite where it is empty."""
        away = np.ascontiguousarray(~np.asarray(mask, bool)).astype(np.uint8)
        if away.all():
            return np.full(away.shape, np.inf, np.float32)
        return cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)

    @cached_property
    def border(self) -> np.ndarray:
        """Distance in pixels to the nearest pixel that is not of the image: outside it, or without data."""
        inside = np.pad(self.valid, 1).astype(np.uint8)
        return cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]

    def companion(self, name: str) -> np.ndarray:
        """A file that belongs to the image, in native values: `H x W`, or `H x W x C` if it has several channels.

        A fluorescence or infrared channel, a depth map, the picture before: `NAME/STEM.*` beside the images or above
        them, or `STEM_NAME.*`, `STEM-NAME.*` beside the image. Raises DataError if there is none, or sizes differ.
        """
        return self.once(("companion", name), lambda: self._companion(name))

    @cached_property
    def grid(self) -> Grid:
        """Where the image lies on the map (extra `geo`): transform, reference system, coordinates of pixels."""
        return grid_of(self._file(), self.shape[:2])

    def burn(self, shapes: str | Path, *, width: float = 0.0, layer: str | None = None) -> np.ndarray:
        """Where shapes of a map lie in the image: bool `H x W` (extra `geo`).

        Parameters
        ----------
        shapes
            GeoJSON or GeoPackage, in any reference system; looked for in the project's folder.
        width
            Of lines and points, in units of the image's map, usually metres; 0 is one pixel.
        layer
            Of a GeoPackage with several.
        """
        path = Path(shapes) if self._home is None else self._home / shapes
        return self.grid.burn(path, width=width, layer=layer)

    @cached_property
    def values(self) -> dict[str, Any]:
        """What CSV files in the project's folder say of the image: numbers where they are numbers, else text.

        A row is the image's if its first column, or its column "image" or "name", is the image's name, with suffix or
        without (of a page, its own name or its file's). Raises DataError if there is none.
        """
        home = self._home or self._file().parent
        found: dict[str, Any] = {}
        own = {self.name, *([split_suffix(self.source.path.name)[0]] if self.source else [])}
        files = sorted(path for path in home.glob("*.csv") if path.name != "manifest.csv")
        for path in files:
            with path.open(newline="", encoding="utf-8-sig") as file:
                for row in csv.DictReader(file):
                    key = row.get("image") or row.get("name") or next(iter(row.values()), "") or ""
                    if split_suffix(Path(key).name)[0] in own or key in own:
                        found |= {column: _number(text) for column, text in row.items() if column is not None}
        if not found:
            raise DataError(
                f"No row for {self.name} in {', '.join(path.name for path in files) or f'a CSV of {home}'}.",
                expected='Expected a CSV file with a column "image" and a row for each image.',
                remedy=f"Write it to {home}.",
                file=home,
            )
        return found

    def _companion(self, name: str) -> np.ndarray:
        file, stem = self._file(), split_suffix(self._file().name)[0]
        homes = [file.parent / name, file.parent.parent / name, *([self._home / name] if self._home else [])]
        wanted = [(home, stem) for home in homes] + [(file.parent, f"{stem}{mark}{name}") for mark in "_-."]
        for home, own in wanted:
            for path in sorted(home.glob(f"{_literal(own)}.*")) if home.is_dir() else []:
                own_stem, suffix = split_suffix(path.name)
                if own_stem == own and suffix in IMAGE_SUFFIXES and path != file:
                    page = self.source.page if self.source and first_of_stack(path) is not None else None
                    return self._of_same_size(read_image(path, page).pixels, path)
        raise DataError(
            f"{file.name} has no companion {name!r}.",
            expected=f"Expected {name}/{stem}.* beside the images or above them, or {stem}_{name}.* beside the image.",
            remedy="Put the file there, or leave the image out.",
            file=file,
        )

    def _of_same_size(self, pixels: np.ndarray, path: Path) -> np.ndarray:
        if pixels.shape[:2] != self.shape[:2]:
            sizes = " and ".join(f"{width} x {height}" for height, width in (pixels.shape[:2], self.shape[:2]))
            raise DataError(f"{path} and its image differ in size: {sizes}.", file=path)
        return pixels[..., 0] if pixels.shape[2] == 1 else pixels

    def _file(self) -> Path:
        if self.source is None:
            raise DataError("The image was made from an array, and has no file.", remedy="Make it with `open_view`.")
        return self.source.path

    def _lacks(self, what: str, bands: str) -> DataError:
        return DataError(f"{self.name} has {self.shape[2]} channel(s), and {what} needs {bands}.")


def open_view(source: Source, name: str, home: Path | None = None) -> View:
    """Read an image for a script; raises UnreadableFileError as `read_image` does."""
    image = source.read_image()
    return View(image.pixels, source=source, home=home, name=name, valid=image.valid)


def first_of_stack(path: Path) -> int | None:
    """The first page of a stack; None for other files."""
    first = first_page(path)
    return 0 if first is not None and not first.alone and count_pages(path) > 1 else None


def _number(text: str | None) -> Any:
    try:
        return float(text or "")
    except ValueError:
        return text


def _literal(text: str) -> str:
    """A name for glob that means itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)

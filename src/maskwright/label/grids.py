"""Where an image lies on the map, and shapes of a map as pixels (extra `geo`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskwright.errors import DataError, UnreadableFileError
from maskwright.imaging.maps import opened, reference_system
from maskwright.label import vectors


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A georeferenced image's grid."""

    transform: Any
    """rasterio's affine map: `transform * (column, row)` is (x, y) of a pixel's upper left corner."""
    crs: Any
    """The coordinate reference system, rasterio's."""
    shape: tuple[int, int]
    """Height and width."""

    @property
    def pixel(self) -> float:
        """Edge of a pixel in units of the map: the square root of its area."""
        return math.sqrt(abs(self.transform.determinant))

    @property
    def coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """The x and y of pixel centres, float64 `H x W` each."""
        row, column = np.mgrid[: self.shape[0], : self.shape[1]] + 0.5
        t = self.transform
        return t.a * column + t.b * row + t.c, t.d * column + t.e * row + t.f

    def burn(self, path: Path, *, width: float = 0.0, layer: str | None = None) -> np.ndarray:
        """Where shapes of a file lie: bool `H x W`; see `View.burn`."""
        from rasterio.features import rasterize
        from rasterio.warp import transform_geom

        geometries, crs = vectors.read(path, layer)
        if not geometries:
            return np.zeros(self.shape, bool)
        try:
            system = reference_system(crs)
        except ValueError as error:
            raise UnreadableFileError(
                f"{path}: the reference system {error}.",
                expected='Expected an authority\'s code such as "EPSG:32632", WKT or PROJJSON.',
                remedy="Export the shapes again.",
                file=path,
            ) from None
        here = [transform_geom(system, self.crs, geometry) for geometry in geometries]
        thin = any(not geometry["type"].endswith("Polygon") for geometry in geometries)
        if not (thin and width):
            return np.asarray(rasterize(here, self.shape, transform=self.transform, all_touched=thin), bool)
        # Shapes that lie outside may reach in by their width, so the grid is wider by it.
        wide = int(np.ceil(width / 2 / self.pixel)) + 1
        size = (self.shape[0] + 2 * wide, self.shape[1] + 2 * wide)
        moved = self.transform @ self.transform.translation(-wide, -wide)
        drawn = rasterize(here, size, transform=moved, all_touched=False)
        if not drawn.any():
            return np.zeros(self.shape, bool)
        distance = cv2.distanceTransform((drawn == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return np.asarray(distance * self.pixel <= width / 2)[wide:-wide, wide:-wide]


def grid_of(path: Path, shape: tuple[int, int]) -> Grid:
    """The grid of a georeferenced file.

    Raises DataError if the file is not georeferenced, or rasterio is not installed.
    """
    try:
        import rasterio  # noqa: F401
    except ImportError:
        raise DataError(
            f"{path.name} cannot be laid on the map: rasterio is not installed.",
            expected="Grids and shapes of maps need the extra geo.",
            remedy="pip install maskwright[geo]",
            file=path,
        ) from None
    with opened(path) as raster:
        transform, crs = raster.transform, raster.crs
    if crs is None:
        raise DataError(
            f"{path} is not georeferenced.",
            expected="Expected a GeoTIFF with its coordinate reference system.",
            remedy="Give it one, with gdal_translate -a_srs and -a_ullr.",
            file=path,
        )
    return Grid(transform=transform, crs=crs, shape=shape)

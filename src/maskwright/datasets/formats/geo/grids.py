"""Labels of a map as masks on the grid of an image: GeoJSON polygons, and rasters on grids of their own (rasterio)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from maskwright.datasets.classes import UNLABELLED
from maskwright.datasets.formats.geo import geojson
from maskwright.datasets.sources import Source, Window
from maskwright.errors import UnreadableFileError
from maskwright.imaging import images
from maskwright.imaging.decoders import Header
from maskwright.imaging.maps import opened

Box = tuple[float, float, float, float]
"""Left, bottom, right and top on the map."""

_TOLERANCE = 1e-3
"""Pixels by which a warped place may be off: GDAL interpolates between places that it projects exactly."""


class Grid(NamedTuple):
    """Where the pixels of a raster lie on the map."""

    transform: tuple[float, float, float, float, float, float]
    """x = a * column + b * row + c, y = d * column + e * row + f, from the corner of the first pixel."""
    crs: str
    """Its reference system as WKT; empty if it has none, and is its own map."""
    height: int
    width: int

    @classmethod
    def of(cls, path: Path) -> Grid:
        """The grid of a file; raises UnreadableFileError if it is no raster."""
        import rasterio

        try:
            with opened(path) as raster:
                a, b, c, d, e, f = raster.transform[:6]
                crs = raster.crs.to_wkt() if raster.crs else ""
                return cls((a, b, c, d, e, f), crs, raster.height, raster.width)
        except rasterio.errors.RasterioError as error:
            raise UnreadableFileError(
                f"{path} cannot be read: {error}.", expected="Expected a GeoTIFF.", remedy="Export it again.", file=path
            ) from None

    def cut(self, window: Window) -> Grid:
        """The grid of a window of the raster."""
        a, b, c, d, e, f = self.transform
        x, y = a * window.left + b * window.top + c, d * window.left + e * window.top + f
        return Grid((a, b, x, d, e, y), self.crs, window.height, window.width)

    def box(self) -> Box:
        """The smallest box that holds it, however it is turned."""
        a, b, c, d, e, f = self.transform
        corners = ((0, 0), (self.width, 0), (0, self.height), (self.width, self.height))
        xs, ys = ([u * x + v * y + w for x, y in corners] for u, v, w in ((a, b, c), (d, e, f)))
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True, kw_only=True)
class OnGrid(Source):
    """Labels of a map, on the grid of an image."""

    grid: Grid

    def header(self) -> Header:
        """As `Source.header`."""
        header = Header(height=self.grid.height, width=self.grid.width)
        return header if self.window is None else images.windowed(header, self.path, self.window)

    def shown(self) -> Grid:
        """The grid of what is read: the window's, or all of it."""
        height, width = self.header().shape
        return self.grid.cut(self.window or Window(0, 0, height, width))


@dataclass(frozen=True, kw_only=True)
class GeoShapes(OnGrid):
    """The polygons of a GeoJSON file."""

    key: str | None
    """The property that says the class."""
    labels: tuple[str, ...]
    """Classes; the raw value is the place, from 1."""

    def read_mask(self) -> np.ndarray:
        """As `Source.read_mask`: int32."""
        from rasterio.features import rasterize
        from rasterio.transform import Affine

        grid = self.shown()
        shapes = geojson.shapes(self.path, self.grid.crs)
        values = {label: place + 1 for place, label in enumerate(self.labels)}
        near = shapes.near(grid.box())
        named = [(shapes.geometries[place], shapes.label(place, self.key)) for place in near]
        pairs = [(geometry, values[label]) for geometry, label in named if label is not None]
        size = grid.height, grid.width
        if not pairs:
            return np.zeros(size, np.int32)
        mask: np.ndarray = rasterize(pairs, out_shape=size, transform=Affine(*grid.transform), dtype="int32")
        return mask


@dataclass(frozen=True, kw_only=True)
class GeoRaster(OnGrid):
    """A label raster, resampled onto the grid of an image."""

    def read_mask(self) -> np.ndarray:
        """As `Source.read_mask`; 255 where the raster has no data."""
        import rasterio
        from rasterio.enums import ColorInterp, Resampling
        from rasterio.transform import Affine
        from rasterio.vrt import WarpedVRT

        grid = self.shown()
        try:
            with opened(self.path) as labels:
                opaque = labels.nodata is None and ColorInterp.alpha not in labels.colorinterp
                bands = 3 if labels.dtypes[0] == "uint8" and labels.count >= 3 else 1
                with WarpedVRT(
                    labels,
                    crs=grid.crs,
                    transform=Affine(*grid.transform),
                    height=grid.height,
                    width=grid.width,
                    resampling=Resampling.nearest,
                    add_alpha=opaque,
                    tolerance=_TOLERANCE,
                ) as view:
                    raw = np.moveaxis(view.read(list(range(1, bands + 1))), 0, -1)
                    there = view.dataset_mask()[..., None] != 0
        except rasterio.errors.RasterioError as error:
            raise UnreadableFileError(
                f"{self.path} cannot be read: {error}.", remedy="Export it again.", file=self.path
            ) from None
        if raw.dtype.kind == "f" and not (raw[there] == np.rint(raw[there])).all():
            raise UnreadableFileError(
                f"{self.path} cannot be read: its values are not whole numbers.",
                expected="Expected a class value for each pixel.",
                remedy="Export it again.",
                file=self.path,
            )
        raw = np.where(there, raw, np.array(0, raw.dtype)).astype(np.uint8 if bands == 3 else np.int32)
        raw = np.where(there, raw, raw.dtype.type(UNLABELLED))
        return np.ascontiguousarray(raw if bands == 3 else raw[..., 0])

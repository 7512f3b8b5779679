"""GeoJSON polygons (RFC 7946) in the reference system of a raster, read once for each file and system."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.datasets.formats.drawn.annotations import damaged
from maskwright.imaging.maps import reference_system

_CLASS_KEYS = (
    "class", "label", "class_name", "classname", "category", "classification", "name", "type", "landcover",
    "land_cover",
)  # fmt: skip
_EXPECTED = "GeoJSON: a FeatureCollection of polygons"
_WGS84 = "OGC:CRS84"
FOREGROUND = "foreground"
_SOME = 6
"""Shapes, from which it is no chance that each has another value."""


@dataclass(frozen=True)
class Shapes:
    """The polygons of a file, projected."""

    path: Path
    geometries: list[dict[str, Any]]
    properties: list[dict[str, Any]]
    bounds: np.ndarray
    """N x 4: left, bottom, right, top."""
    left_out: int
    """Features that cover no area."""

    def near(self, box: tuple[float, float, float, float]) -> list[int]:
        """Places of the shapes whose bounds overlap a box (left, bottom, right, top), in order."""
        left, bottom, right, top = self.bounds.T
        overlap = (left < box[2]) & (right > box[0]) & (bottom < box[3]) & (top > box[1])
        return np.flatnonzero(overlap).tolist()

    def label(self, place: int, key: str | None) -> str | None:
        """The class of a shape; None if it was never given one."""
        return FOREGROUND if key is None else _flat(self.properties[place].get(key))


def is_geojson(path: Path) -> bool:
    """Whether a JSON file starts like GeoJSON."""
    with path.open("rb") as file:
        start = file.read(512)
    return b'"FeatureCollection"' in start


def class_property(contents: Sequence[Shapes]) -> tuple[str | None, str]:
    """The property that says the class, or None; and a note on one that was passed over, or "".

    Of the known names it is the first that most shapes have. A property that differs in every shape numbers the
    shapes: it is an id, and no class.
    """
    all_properties = [properties for shapes in contents for properties in shapes.properties]
    keys = Counter(key for properties in all_properties for key in properties)
    passed_over = ""
    for known in _CLASS_KEYS:
        for key in keys:
            values = [value for properties in all_properties if (value := _flat(properties.get(key))) is not None]
            if key.lower() != known or 2 * len(values) <= len(all_properties):
                continue
            if len(values) >= _SOME and len(set(values)) == len(values):
                passed_over = f"the property {key!r} differs in every shape ({values[0]!r}, ...): an id, no class"
                continue
            return key, passed_over
    return None, passed_over


def shapes(path: Path, crs: str) -> Shapes:
    """The polygons of a file in a reference system (WKT), or as they are if `crs` is empty.

    Raises DataError if the file is damaged, or names a reference system that is unknown.
    """
    return _shapes(path, crs, path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=64)
def _shapes(path: Path, crs: str, _: int) -> Shapes:
    try:
        content = json.loads(path.read_bytes())
        features = content["features"]
        areal = [(f["geometry"], _properties(f)) for f in features if f.get("geometry")]
        polygons = [(part, properties) for geometry, properties in areal for part in _polygons(geometry)]
        left_out = len(features) - sum(bool(_polygons(geometry)) for geometry, _ in areal)
        own = _reference_system(content.get("crs"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, f"{type(error).__name__}: {error}", _EXPECTED) from None
    geometries = [geometry for geometry, _ in polygons]
    if crs and geometries:
        geometries = _projected(path, geometries, own, crs)
    try:
        bounds = [_bounds(geometry) for geometry in geometries]
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise damaged(path, f"a polygon is damaged: {error}", _EXPECTED) from None
    return Shapes(path, geometries, [p for _, p in polygons], np.array(bounds).reshape(-1, 4), left_out)


def _properties(feature: dict[str, Any]) -> dict[str, Any]:
    found = feature.get("properties") or {}
    if not isinstance(found, dict):
        raise TypeError(f"a feature has the properties {str(found)[:60]!r}")
    return found


def _polygons(geometry: dict[str, Any]) -> list[dict[str, Any]]:
    """The geometries with an area in a geometry."""
    kind = geometry.get("type")
    if kind == "GeometryCollection":
        return [part for inner in geometry["geometries"] for part in _polygons(inner)]
    return [geometry] if kind in ("Polygon", "MultiPolygon") and geometry["coordinates"] else []


def _projected(path: Path, geometries: list[dict[str, Any]], own: str, crs: str) -> list[dict[str, Any]]:
    from rasterio.crs import CRS
    from rasterio.warp import transform_geom

    try:
        source = reference_system(own)
    except ValueError as error:
        found = f"its reference system {error}"
        raise damaged(path, found, 'an authority\'s code such as "EPSG:32632", WKT or PROJJSON') from None
    target = CRS.from_wkt(crs)
    if source == target:
        return geometries
    try:
        projected: list[dict[str, Any]] = transform_geom(source, target, geometries)
    except Exception as error:  # rasterio passes on whatever GDAL and PROJ say, as private kinds
        system = "longitude and latitude" if own == _WGS84 else own
        expected = f'places in {system}, or their reference system in the member "crs"'
        raise damaged(path, f"a corner is not in {system} ({error})", expected) from None
    return projected


def _reference_system(member: Any) -> str:
    """The name in the member "crs" of older GeoJSON; longitude and latitude without one."""
    name = member["properties"]["name"] if member else _WGS84
    return _WGS84 if str(name).upper().endswith("CRS84") else str(name)


def _bounds(geometry: dict[str, Any]) -> tuple[float, float, float, float]:
    polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    corners = np.concatenate([np.array([c[:2] for c in polygon[0]], np.float64) for polygon in polygons])
    (left, bottom), (right, top) = corners.min(axis=0), corners.max(axis=0)
    return float(left), float(bottom), float(right), float(top)


def _flat(value: Any) -> str | None:
    """A class as text: numbers too, and the name within QuPath's {"name", "color"}."""
    if isinstance(value, dict):
        value = value.get("name")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None or isinstance(value, bool | list | dict) or str(value).strip() == "" else str(value)

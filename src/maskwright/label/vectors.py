"""Shapes of a map: GeoJSON and GeoPackage files as geometries to burn into an image's grid.

A GeoPackage is an SQLite database whose geometries are well-known binary (OGC 12-128r19, clause 2.1.3); the few lines
that read it spare a library.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from maskwright.errors import UnreadableFileError

Geometry = dict[str, Any]
"""A geometry as in GeoJSON: type and coordinates (or geometries)."""

_DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration, RecursionError)
_ENVELOPES = (0, 32, 48, 48, 64)
"""Bytes of a GeoPackage geometry's envelope, by its kind."""
_NAMES = ("", "Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection")


def read(path: Path, layer: str | None = None) -> tuple[list[Geometry], str]:
    """Geometries of a file, and their coordinate reference system as text that rasterio takes.

    Raises UnreadableFileError if the file is missing, or neither GeoJSON nor a GeoPackage.
    """
    try:
        if path.suffix.lower() in (".geojson", ".json"):
            return _geojson(json.loads(path.read_text("utf-8")))
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            return _geopackage(database, layer)
    except (*_DAMAGED, struct.error, sqlite3.Error) as error:
        raise UnreadableFileError(
            f"{path} cannot be read as shapes of a map: {error}.",
            expected="Expected GeoJSON, or a GeoPackage (.gpkg) with a layer of features.",
            remedy="Convert it: ogr2ogr shapes.gpkg FILE",
            file=path,
        ) from None


def _geojson(content: dict[str, Any]) -> tuple[list[Geometry], str]:
    crs = str(content.get("crs", {}).get("properties", {}).get("name", "EPSG:4326"))
    if content["type"] == "FeatureCollection":
        return [feature["geometry"] for feature in content["features"] if feature["geometry"]], crs
    return [content["geometry"] if content["type"] == "Feature" else content], crs


def _geopackage(database: sqlite3.Connection, layer: str | None) -> tuple[list[Geometry], str]:
    layers = database.execute("SELECT table_name, column_name, srs_id FROM gpkg_geometry_columns").fetchall()
    table, column, srs = next(row for row in layers if layer in (None, row[0])) if layers else _no_layer(layer)
    ((organization, number),) = database.execute(
        "SELECT organization, organization_coordsys_id FROM gpkg_spatial_ref_sys WHERE srs_id = ?", (srs,)
    )
    rows = database.execute(f'SELECT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL')
    return [_unpacked(blob) for (blob,) in rows], f"{organization}:{number}"


def _no_layer(layer: str | None) -> tuple[str, str, int]:
    raise ValueError(f"it has no layer {layer or 'of features'}")


def _unpacked(blob: bytes) -> Geometry:
    if blob[:2] != b"GP":
        raise ValueError("a geometry does not begin with GP")
    envelope = _ENVELOPES[(blob[3] >> 1) & 7]
    return _geometry(blob, 8 + envelope)[0]


def _geometry(data: bytes, at: int) -> tuple[Geometry, int]:
    """A geometry of well-known binary at a place, and the place after it; heights and measures are passed over."""
    order = "<" if data[at] == 1 else ">"
    (code,) = struct.unpack_from(f"{order}I", data, at + 1)
    kind = code % 1000 & 0xFF
    dimensions = 2 + (code // 1000 in (1, 2)) + 2 * (code // 1000 == 3) + (code >> 31) + (code >> 30 & 1)
    at += 5

    def count() -> int:
        nonlocal at
        (number,) = struct.unpack_from(f"{order}I", data, at)
        at += 4
        return int(number)

    def points(number: int) -> list[tuple[float, float]]:
        nonlocal at
        values = struct.unpack_from(f"{order}{number * dimensions}d", data, at)
        at += 8 * number * dimensions
        return list(zip(values[0::dimensions], values[1::dimensions], strict=True))

    def parts() -> Iterator[Geometry]:
        nonlocal at
        for _ in range(count()):
            part, at = _geometry(data, at)
            yield part

    name = _NAMES[kind]
    if name == "Point":
        return {"type": name, "coordinates": points(1)[0]}, at
    if name == "LineString":
        return {"type": name, "coordinates": points(count())}, at
    if name == "Polygon":
        return {"type": name, "coordinates": [points(count()) for _ in range(count())]}, at
    inner = list(parts())
    if name == "GeometryCollection":
        return {"type": name, "geometries": inner}, at
    return {"type": name, "coordinates": [part["coordinates"] for part in inner]}, at

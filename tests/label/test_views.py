"""The image that scripts are given: an array, with features that are right and computed once."""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.datasets.sources import Source
from maskwright.errors import DataError, UnreadableFileError
from maskwright.label.superpixels import superpixels
from maskwright.label.views import View, open_view


def test_a_view_is_the_array_and_what_is_made_of_it_is_plain() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    view = View(pixels)
    assert isinstance(view, np.ndarray)
    assert (np.asarray(view) == pixels).all()
    for made in (view > 3, view[..., 0], view + 1, view.mean(2), np.where(view > 3, 1, 0)):
        assert type(made) is np.ndarray
    assert View(pixels[..., 0]).shape == (2, 4, 1)
    assert pixels.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(view)[0] = 1


def test_features_are_computed_once() -> None:
    view = View(np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8))
    assert view.lab is view.lab
    assert view.local_std(3) is view.local_std(3)
    assert view.local_std(3) is not view.local_std(4)
    calls: list[int] = []

    def own() -> int:
        calls.append(1)
        return 5

    assert [view.once("own", own) for _ in range(2)] == [5, 5]
    assert len(calls) == 1


def test_colours_and_indices() -> None:
    green = View(np.array([[[0, 255, 0]]], np.uint8))
    np.testing.assert_allclose(green.hsv[0, 0], [1 / 3, 1, 1], atol=1e-6)
    np.testing.assert_allclose(green.lab[0, 0], [87.74, -86.18, 83.18], atol=0.02)
    np.testing.assert_allclose(green.exg, [[2]], atol=1e-6)
    np.testing.assert_allclose(green.gray, [[0.587]], atol=1e-4)
    bands = View(np.array([[[100, 0, 0, 300]]], np.uint16))
    np.testing.assert_allclose(bands.ndvi, [[0.5]], atol=1e-6)
    np.testing.assert_allclose(bands.unit[0, 0, 3], 300 / 65535)
    with pytest.raises(DataError, match="NDVI needs red"):
        _ = green.ndvi
    with pytest.raises(DataError, match="excess green needs"):
        _ = View(np.zeros((2, 2), np.uint8)).exg


def test_gradients_and_statistics() -> None:
    ramp = np.tile(np.arange(40, dtype=np.float32) * 0.01, (40, 1))
    view = View(ramp)
    np.testing.assert_allclose(view.gradient[10:-10, 10:-10], 0.01, atol=1e-5)
    np.testing.assert_allclose(view.local_mean(2)[20, 20], 0.2, atol=1e-6)
    np.testing.assert_allclose(view.local_std(2)[20, 20], 0.01 * np.sqrt(2), atol=1e-6)


def test_ridges_answer_to_dark_lines_most_at_their_width() -> None:
    picture = np.full((60, 60), 0.8, np.float32)
    picture[:, 28:33] = 0.2
    view = View(picture)
    found = view.ridges(1.5)
    assert found[30, 30] > 0.15
    assert found[30, 10] < 1e-6
    assert view.ridges(1.5, dark=False)[30, 30] < 1e-6
    assert (view.ridges(1.5, 3.0) == np.maximum(view.ridges(1.5), view.ridges(3.0))).all()
    assert found[30, 30] > view.ridges(6.0)[30, 30]


def test_distances() -> None:
    valid = np.ones((5, 7), bool)
    valid[:, 6] = False
    view = View(np.zeros((5, 7, 1), np.uint8), valid=valid)
    mask = np.zeros((5, 7), bool)
    mask[2, 1] = True
    np.testing.assert_allclose(view.distance(mask)[2], [1, 0, 1, 2, 3, 4, 5], atol=1e-5)
    assert np.isinf(view.distance(~np.ones_like(mask))).all()
    np.testing.assert_allclose(view.border[2], [1, 2, 3, 3, 2, 1, 0], atol=1e-5)


def test_superpixels_follow_edges_and_are_repeatable() -> None:
    picture = np.full((64, 64, 3), 30, np.uint8)
    picture[20:44, 20:44] = 34  # of little contrast
    view = View(picture)
    found = view.superpixels(64)
    inside = picture[..., 0] == 34
    crossing = [region for region in np.unique(found) if 0 < inside[found == region].mean() < 1]
    assert not crossing
    assert 30 < found.max() + 1 < 100
    assert (superpixels(view.lab, 64) == found).all()
    assert view.superpixels(1).max() == 64 * 64 - 1


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def test_companions_are_found_beside_and_above(tmp_path: Path) -> None:
    pixels = np.full((4, 6), 9, np.uint8)
    source = Source(path=write(tmp_path / "images" / "a.png", pixels))
    write(tmp_path / "dapi" / "a.tif", pixels + 1)
    write(tmp_path / "images" / "a_depth.png", pixels + 2)
    write(tmp_path / "before" / "a.png", np.zeros((2, 2), np.uint8))
    view = open_view(source, "a", tmp_path)
    assert (view.companion("dapi") == 10).all()
    assert (view.companion("depth") == 11).all()
    with pytest.raises(DataError, match="no companion 'nir'"):
        view.companion("nir")
    with pytest.raises(DataError, match="differ in size: 2 x 2 and 6 x 4"):
        view.companion("before")


def test_values_come_from_a_row_of_a_csv(tmp_path: Path) -> None:
    source = Source(path=write(tmp_path / "a.png", np.zeros((2, 2), np.uint8)))
    (tmp_path / "about.csv").write_text("image,age,site\nb.png,3,north\na.png,41.5,south\n")
    assert open_view(source, "a", tmp_path).values == {"image": "a.png", "age": 41.5, "site": "south"}
    other = Source(path=write(tmp_path / "c.png", np.zeros((2, 2), np.uint8)))
    with pytest.raises(DataError, match=r"No row for c in about\.csv"):
        _ = open_view(other, "c", tmp_path).values


def raster(tmp_path: Path) -> View:
    """20 x 10 pixels of 2 m, its upper left corner at (500000, 4000020) of UTM 32 N."""
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "map.tif"
    transform = rasterio.Affine(2, 0, 500_000, 0, -2, 4_000_020)
    profile = {"driver": "GTiff", "height": 10, "width": 20, "count": 1, "dtype": "uint8", "crs": "EPSG:32632"}
    with rasterio.open(path, "w", transform=transform, **profile) as file:
        file.write(np.ones((1, 10, 20), np.uint8))
    return open_view(Source(path=path), "map", tmp_path)


def geopackage(path: Path, kind: int, points: list[tuple[float, float]]) -> None:
    """A GeoPackage as OGC 12-128r19 has it, with one line (kind 2) or polygon (kind 3)."""
    coordinates = struct.pack(f"<{2 * len(points)}d", *(value for point in points for value in point))
    rings = struct.pack("<I", 1) if kind == 3 else b""
    geometry = struct.pack("<BI", 1, kind) + rings + struct.pack("<I", len(points)) + coordinates
    with sqlite3.connect(path) as database:
        database.executescript(
            "CREATE TABLE gpkg_geometry_columns (table_name, column_name, srs_id);"
            "CREATE TABLE gpkg_spatial_ref_sys (srs_id, organization, organization_coordsys_id);"
            "INSERT INTO gpkg_geometry_columns VALUES ('roads', 'geom', 32632);"
            "INSERT INTO gpkg_spatial_ref_sys VALUES (32632, 'EPSG', 32632);"
            "CREATE TABLE roads (geom)"
        )
        blob = b"GP\x00\x01" + struct.pack("<i", 32632) + geometry
        database.execute("INSERT INTO roads VALUES (?)", (blob,))
    database.close()


def test_the_grid_gives_coordinates_and_burns_shapes(tmp_path: Path) -> None:
    view = raster(tmp_path)
    x, y = view.grid.coordinates
    assert (x[0, 0], y[0, 0], x[9, 19], y[9, 19]) == (500_001, 4_000_019, 500_039, 4_000_001)
    assert view.grid.pixel == 2
    corners = [(500_004, 4_000_016), (500_012, 4_000_016), (500_012, 4_000_010), (500_004, 4_000_010)]
    geopackage(tmp_path / "fields.gpkg", 3, [*corners, corners[0]])
    expected = np.zeros((10, 20), bool)
    expected[2:5, 2:6] = True
    assert (view.burn("fields.gpkg") == expected).all()
    geopackage(tmp_path / "roads.gpkg", 2, [(499_990, 4_000_011), (500_060, 4_000_011)])
    assert np.flatnonzero(view.burn("roads.gpkg").all(1)).tolist() == [4]
    assert np.flatnonzero(view.burn("roads.gpkg", width=8.0).all(1)).tolist() == [2, 3, 4, 5, 6]
    (tmp_path / "x.geojson").write_text('{"type": "Point", "coordinates": [9.00005, 36.1434]}')
    assert view.burn("x.geojson").sum() <= 1
    (tmp_path / "bad.gpkg").write_text("no")
    with pytest.raises(UnreadableFileError, match="shapes of a map"):
        view.burn("bad.gpkg")


def test_an_image_without_a_grid_says_so(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    view = open_view(Source(path=write(tmp_path / "a.tif", np.zeros((4, 4), np.uint8))), "a", tmp_path)
    with pytest.raises(DataError, match="not georeferenced"):
        _ = view.grid

"""Labels on the map: against hand-counted pixels, and against rasterio's own drawing and warping."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from maskwright.datasets.formats import open_dataset
from maskwright.datasets.formats.geo import geo
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import Window
from maskwright.errors import ClassTableError, DataError, PairingError

rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed")

# rasterio 1.4 multiplies transforms with `*`, which affine 3.1 will drop some day.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

HEIGHT, WIDTH = 20, 30
WEST, NORTH, PIXEL = 500_000.0, 5_400_000.0, 2.0
UTM = "EPSG:32632"


def at(column: float, row: float) -> tuple[float, float]:
    """The place of a pixel's corner, in UTM zone 32."""
    return WEST + PIXEL * column, NORTH - PIXEL * row


def raster(path: Path, pixels: np.ndarray, *, crs: str | None = UTM, transform: Any = None, nodata: Any = None) -> Path:
    """Pixels `C x H x W` as a GeoTIFF."""
    from rasterio.transform import from_origin

    path.parent.mkdir(parents=True, exist_ok=True)
    place = {} if crs is None else {"crs": crs, "transform": transform or from_origin(WEST, NORTH, PIXEL, PIXEL)}
    count, height, width = pixels.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": pixels.dtype}
    with rasterio.open(path, "w", **profile, **place, nodata=nodata) as file:
        file.write(pixels)
    return path


def image(path: Path, **more: Any) -> Path:
    pixels = np.arange(2 * HEIGHT * WIDTH, dtype=np.uint16).reshape(2, HEIGHT, WIDTH)
    return raster(path, pixels, **more)


def square(left: float, top: float, right: float, bottom: float) -> list[Any]:
    """A ring round pixels, in UTM."""
    corners = [at(left, top), at(right, top), at(right, bottom), at(left, bottom), at(left, top)]
    return [[list(corner) for corner in corners]]


def feature(ring: Any, kind: str = "Polygon", **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": {"type": kind, "coordinates": ring}}


def write(path: Path, *features: dict[str, Any], crs: str | None = UTM) -> Path:
    content: dict[str, Any] = {"type": "FeatureCollection"}
    if crs is not None:
        content["crs"] = {"type": "name", "properties": {"name": crs.replace("EPSG:", "urn:ogc:def:crs:EPSG::")}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | {"features": list(features)}))
    return path


def test_geojson_for_each_image(tmp_path: Path) -> None:
    image(tmp_path / "images" / "a.tif")
    hole = square(4, 4, 6, 6)[0]
    write(
        tmp_path / "labels" / "a.geojson",
        feature([*square(2, 2, 10, 8), hole], class_name="forest"),
        feature(square(8, 6, 12, 10), class_name="lake"),
        feature(list(at(1, 1)), "Point", class_name="tree"),
        feature([square(20, 0, 21, 1), square(29, 19, 99, 99)], "MultiPolygon", class_name="lake"),
    )
    data = open_dataset(tmp_path)
    assert data.classes.names == ["background", "forest", "lake"]
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[2:8, 2:10] = 1
    expected[4:6, 4:6] = 0
    expected[6:10, 8:12] = 2
    expected[0, 20] = expected[19, 29] = 2
    pair = data.read(data.samples[0])
    assert np.array_equal(pair.mask, expected)
    assert pair.image.shape == (HEIGHT, WIDTH, 2)
    assert data.notes[0] == f"{tmp_path}: GeoTIFF, 1 image with masks"
    assert any("3 shapes, whose class is the property 'class_name': forest, lake" in note for note in data.notes)
    assert any("1 point or line, which cover no pixels" in note for note in data.notes)
    mask = data.samples[0].mask
    assert mask is not None
    assert np.array_equal(mask.cut(Window(3, 5, 6, 9)).read_mask(), mask.read_mask()[3:9, 5:14])


def test_longitude_and_latitude_are_projected(tmp_path: Path) -> None:
    from rasterio.warp import transform_geom

    image(tmp_path / "a.tif")
    rng = np.random.default_rng(0)
    rings = [[[*at(*corner)] for corner in rng.uniform(0, 20, (4, 2))] for _ in range(5)]
    shapes = [{"type": "Polygon", "coordinates": [[*ring, ring[0]]]} for ring in rings]
    angles = transform_geom(UTM, "OGC:CRS84", shapes)
    write(tmp_path / "labels.geojson", *[feature(g["coordinates"], label="x") for g in angles], crs=None)
    data = open_dataset(tmp_path)
    with rasterio.open(tmp_path / "a.tif") as file:
        from rasterio.features import rasterize

        expected = rasterize([(shape, 1) for shape in shapes], out_shape=(HEIGHT, WIDTH), transform=file.transform)
    assert expected.sum() > 50
    assert np.array_equal(data.read(data.samples[0]).mask, expected)


def test_one_file_for_images_in_two_systems_and_splits(tmp_path: Path) -> None:
    from rasterio.transform import from_origin
    from rasterio.warp import transform

    image(tmp_path / "train" / "images" / "a.tif")
    (east,), (north,) = transform(UTM, "EPSG:3857", [WEST], [NORTH])
    image(tmp_path / "val" / "images" / "b.tif", crs="EPSG:3857", transform=from_origin(east, north, 3, 3))
    for split in ("train", "val"):
        write(tmp_path / split / "labels" / "all.geojson", feature(square(2, 2, 10, 8), type=3))
    data = open_dataset(tmp_path)
    assert [sample.id for sample in data.samples] == ["train/a", "val/b"]
    assert data.classes.names == ["background", "3"]
    counts = [int(data.read(sample).mask.sum()) for sample in data.samples]
    assert counts[0] == 48
    # Web Mercator stretches lengths by 1 / cos(latitude): 192 square metres become about 192 * 2.31, in pixels of 9.
    assert counts[1] == pytest.approx(192 * 2.31 / 9, abs=8)


def test_pixel_coordinates_and_classifications_of_qupath(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "slide.tif", np.zeros((HEIGHT, WIDTH, 3), np.uint8), photometric="rgb")
    ring = [[[2, 1], [6, 1], [6, 4], [2, 4], [2, 1]]]
    tumor = feature(ring, objectType="annotation", classification={"name": "Tumor", "color": [200, 0, 0]})
    write(tmp_path / "slide.geojson", tumor, crs=None)
    data = open_dataset(tmp_path)
    assert data.classes.names == ["background", "Tumor"]
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[1:4, 2:6] = 1
    assert np.array_equal(data.read(data.samples[0]).mask, expected)
    assert any("coordinates are taken as they are" in note for note in data.notes)


def test_without_a_property_all_shapes_are_one_class(tmp_path: Path) -> None:
    image(tmp_path / "images" / "a.tif")
    image(tmp_path / "images" / "b.tif")
    write(tmp_path / "labels" / "a.geojson", feature(square(0, 0, 1, 1), id=1), feature(square(2, 2, 3, 3), name=None))
    write(tmp_path / "labels" / "b.geojson")
    data = open_dataset(tmp_path)
    assert data.classes.names == ["background", "foreground"]
    assert [int(data.read(sample).mask.sum()) for sample in data.samples] == [2, 0]
    assert any("1 image without a shape, background only: b.tif" in note for note in data.notes)


def test_label_rasters_on_another_grid(tmp_path: Path) -> None:
    from rasterio.transform import from_origin

    image(tmp_path / "images" / "a.tif")
    coarse = np.array([[[0, 1, 2], [1, 9, 0]]], np.uint8)
    # Pixels of 8 m: four by four of the image's; two pixels further east, and one further south.
    grid = from_origin(WEST + 2 * PIXEL, NORTH - PIXEL, 4 * PIXEL, 4 * PIXEL)
    raster(tmp_path / "labels" / "a.tif", coarse, transform=grid, nodata=9)
    data = open_dataset(tmp_path)
    expected = np.full((HEIGHT, WIDTH), 255, np.uint8)
    expected[1:9, 2:14] = np.where(coarse[0] == 9, 255, coarse[0]).repeat(4, 0).repeat(4, 1)
    assert np.array_equal(data.read(data.samples[0]).mask, expected)
    mask = data.samples[0].mask
    assert mask is not None
    assert np.array_equal(mask.cut(Window(3, 5, 6, 20)).read_mask(), mask.read_mask()[3:9, 5:25])
    assert any("resampled to the nearest pixel" in note for note in data.notes)


def test_label_rasters_in_another_system_and_colours(tmp_path: Path) -> None:
    from rasterio.transform import from_origin
    from rasterio.warp import transform

    image(tmp_path / "images" / "a.tif")
    (east,), (north,) = transform(UTM, "EPSG:4326", [WEST], [NORTH])
    fine = from_origin(east - 1e-4, north + 1e-4, 5e-6, 5e-6)
    colours = np.zeros((3, 400, 400), np.uint8)
    colours[0, :, 100:] = 200
    raster(tmp_path / "labels" / "a.tif", colours, crs="EPSG:4326", transform=fine)
    (tmp_path / "classes.toml").write_text(
        '[[class]]\nname = "a"\nvalue = "#000000"\n[[class]]\nname = "b"\nvalue = "#c80000"\n'
    )
    data = open_dataset(tmp_path)
    mask = data.read(data.samples[0]).mask
    columns, rows = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    places = [at(*corner) for corner in zip(columns.ravel(), rows.ravel(), strict=True)]
    longitudes, _ = transform(UTM, "EPSG:4326", [x for x, _ in places], [y for _, y in places])
    place = (np.array(longitudes) - (east - 1e-4)) / 5e-6
    sure = np.abs(place - 100) > 0.01
    assert np.array_equal(mask.ravel()[sure], (place >= 100).astype(np.uint8)[sure])


def test_rasters_on_one_grid_are_a_folder(tmp_path: Path) -> None:
    image(tmp_path / "images" / "a.tif")
    raster(tmp_path / "labels" / "a.tif", np.eye(HEIGHT, WIDTH, dtype=np.uint8)[None])
    assert geo.read(tmp_path, masks=True, problems=None) is None
    assert open_dataset(tmp_path).notes[0] == f"{tmp_path}: 1 image with masks"


def test_255_cannot_be_a_class_and_no_data(tmp_path: Path) -> None:
    from rasterio.transform import from_origin

    image(tmp_path / "images" / "a.tif")
    pixels = np.array([[[0, 255], [255, 0]]], np.uint8)
    raster(tmp_path / "masks" / "a.tif", pixels, transform=from_origin(WEST, NORTH, 8, 8))
    with pytest.raises(ClassTableError, match=r"a.tif does not cover all of its image.*a.tif uses 255 for a class"):
        open_dataset(tmp_path)
    # Where it covers everything, nothing is unclear.
    raster(tmp_path / "masks" / "a.tif", pixels, transform=from_origin(WEST - 10, NORTH + 10, 50, 50))
    data = open_dataset(tmp_path)
    assert data.classes.names == ["background", "foreground"]
    assert 0 < int(data.read(data.samples[0]).mask.sum()) < HEIGHT * WIDTH


def test_nodata_of_the_image_is_unlabelled(tmp_path: Path) -> None:
    pixels = np.ones((1, HEIGHT, WIDTH), np.uint8)
    pixels[0, 5] = 0
    raster(tmp_path / "images" / "a.tif", pixels, nodata=0)
    write(tmp_path / "labels" / "a.geojson", feature(square(0, 0, WIDTH, HEIGHT), label="x"))
    data = open_dataset(tmp_path)
    assert [int(row[0]) for row in data.read(data.samples[0]).mask[4:7]] == [1, 255, 1]


def test_what_is_wrong(tmp_path: Path) -> None:
    image(tmp_path / "images" / "a.tif")
    image(tmp_path / "images" / "b.tif")
    write(tmp_path / "labels" / "a.geojson", feature(square(0, 0, 9, 9), label="x"), crs=None)
    with pytest.raises(DataError, match="a corner is not in longitude and latitude"):
        open_dataset(tmp_path)
    write(tmp_path / "labels" / "a.geojson", feature(square(0, 0, 9, 9), label="x"))
    with pytest.raises(PairingError, match=r"1 image without GeoJSON of the same stem: .*b.tif"):
        open_dataset(tmp_path)
    problems: list[Problem] = []
    layout = geo.read(tmp_path, masks=True, problems=problems)
    assert layout is not None
    assert [sample.id for sample in layout.samples] == ["a"]
    assert [problem.kind for problem in problems] == ["unpaired"]

    (tmp_path / "images" / "b.tif").unlink()
    write(tmp_path / "labels" / "a.geojson", feature(square(-99, -99, -90, -90), label="x"))
    with pytest.raises(DataError, match="None of the 1 shape of"):
        open_dataset(tmp_path)
    write(tmp_path / "labels" / "a.geojson", feature(square(0, 0, 9, 9)), crs="EPSG:999999")
    with pytest.raises(DataError, match="'urn:ogc:def:crs:EPSG::999999' is unknown"):
        open_dataset(tmp_path)
    write(tmp_path / "labels" / "a.geojson", feature([[["x", 1]]]))
    with pytest.raises(DataError, match=r"a.geojson cannot be read"):
        open_dataset(tmp_path)
    write(tmp_path / "labels" / "z.geojson")
    with pytest.raises(PairingError, match=r"without an image in .*: z.geojson"):
        open_dataset(tmp_path)


def test_without_rasterio_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image(tmp_path / "images" / "a.tif")
    write(tmp_path / "labels" / "a.geojson")
    monkeypatch.setattr(geo, "_has_rasterio", lambda: False)
    with pytest.raises(DataError, match=r"pip install 'maskwright\[geo\]'"):
        open_dataset(tmp_path)


def test_what_is_not_geo(tmp_path: Path) -> None:
    image(tmp_path / "images" / "a.tif")
    assert geo.read(tmp_path, masks=True, problems=None) is None
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.json").write_text('{"shapes": []}')
    assert geo.read(tmp_path, masks=True, problems=None) is None
    assert geo.read(tmp_path / "images" / "a.tif", masks=True, problems=None) is None

"""Files of maps reach out for nothing: no address, no other file."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from maskwright.datasets.formats.geo.geojson import shapes
from maskwright.datasets.formats.geo.grids import Grid
from maskwright.errors import DataError, UnreadableFileError
from maskwright.imaging.maps import opened, reference_system

rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed")

# rasterio 1.4 multiplies transforms with `*`, which affine 3.1 will drop some day.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """A server's address, and what was asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *words: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def test_reference_systems_are_codes_wkt_and_projjson() -> None:
    system = rasterio.crs.CRS.from_epsg(32632)
    for name in (
        "EPSG:32632",
        "urn:ogc:def:crs:EPSG::32632",
        "http://www.opengis.net/def/crs/EPSG/0/32632",
        system.to_wkt(),
        json.dumps(system.to_dict(projjson=True)),
    ):
        assert reference_system(name) == system
    assert reference_system("urn:ogc:def:crs:OGC:1.3:CRS84") == rasterio.crs.CRS.from_string("OGC:CRS84")
    for name in ("EPSG:99999999", "+proj=utm +zone=32", "/etc/hostname", "", "nonsense[]"):
        with pytest.raises(ValueError, match=r"unknown|no name"):
            reference_system(name)


def test_geojson_asks_no_address_for_its_reference_system(tmp_path: Path) -> None:
    ring = [[0, 0], [1, 0], [1, 1], [0, 0]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    target = rasterio.crs.CRS.from_epsg(32632).to_wkt()
    with listening() as (address, asked):
        crs = {"type": "name", "properties": {"name": f"{address}/system.prj"}}
        path = tmp_path / "a.geojson"
        path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))
        with pytest.raises(DataError, match=r"a\.geojson.*no name of a reference system"):
            shapes(path, target)
    assert asked == []


@pytest.mark.parametrize("elsewhere", ["/vsicurl/{address}/a.tif", "{address}/a.tif", "{folder}/secret.tif"])
def test_a_virtual_raster_is_no_image(tmp_path: Path, elsewhere: str) -> None:
    with rasterio.open(
        tmp_path / "secret.tif", "w", driver="GTiff", height=4, width=4, count=1, dtype="uint8", crs="EPSG:32632",
        transform=rasterio.transform.from_origin(500000, 5400000, 2, 2),
    ) as file:  # fmt: skip
        file.write(np.full((1, 4, 4), 7, np.uint8))
    with listening() as (address, asked):
        source = elsewhere.format(address=address, folder=tmp_path)
        (tmp_path / "a.tif").write_text(
            f'<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
            f"<SourceFilename>{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
            "</VRTDataset>"
        )
        with pytest.raises(UnreadableFileError, match=r"a\.tif"):
            Grid.of(tmp_path / "a.tif")
    assert asked == []
    with opened(tmp_path / "secret.tif") as raster:
        assert raster.read(1)[0, 0] == 7

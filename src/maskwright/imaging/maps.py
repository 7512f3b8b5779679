"""Rasters and reference systems of maps, read with rasterio (extra `geo`) so that no file reaches out for another.

GDAL tells formats by their content, and some of them are references: a file that ends in .tif may be a virtual raster
whose pixels lie in any file or at any address. A reference system may be named by an address, too. Neither is followed.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.errors import UnreadableFileError
from maskwright.imaging.decoders import sniff

if TYPE_CHECKING:
    from rasterio.crs import CRS

DRIVERS = {"tiff": "GTiff", "jpeg2000": "JP2OpenJPEG", "png": "PNG", "jpeg": "JPEG", "bmp": "BMP"}
"""GDAL's formats whose pixels lie in the file itself, by what a file's first bytes show."""
OFFLINE = {"CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none", "GDAL_HTTP_TIMEOUT": "1"}
"""Settings of GDAL under which no address is opened."""
AUTHORITY = re.compile(r"([A-Za-z][A-Za-z0-9_-]{0,31}):([A-Za-z0-9_.-]{1,31})")
"""Such as EPSG:32632 or OGC:CRS84."""
_URN = re.compile(
    r"(?:urn:(?:x-)?ogc:def:crs|https?://www\.opengis\.net/def/crs)[:/]([A-Za-z0-9_-]+)[:/][^:/]*[:/]([A-Za-z0-9_.-]+)",
    re.IGNORECASE,
)
"""An authority's code as OGC writes it, which looks like an address and is none."""
_WKT = re.compile(r"[A-Z][A-Z0-9_]{2,31}\s*\[", re.IGNORECASE)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a georeferenced raster for reading; raises UnreadableFileError, or rasterio's errors, if it is none."""
    import rasterio

    with path.open("rb") as file:
        kind = sniff(file.read(16)) or ""
    if kind not in DRIVERS:
        raise UnreadableFileError(
            f"{path} cannot be read: it is no raster of a map.",
            expected="Expected a GeoTIFF.",
            remedy="Export it again.",
            file=path,
        )
    os.environ["PROJ_NETWORK"] = "OFF"  # PROJ could fetch grids of datum shifts
    with warnings.catch_warnings(), rasterio.Env(**OFFLINE):
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, driver=DRIVERS[kind]) as raster:
            yield raster


def reference_system(name: str) -> CRS:
    """The reference system that text in a file names: an authority and its code, WKT or PROJJSON.

    Raises ValueError for anything else, addresses and names of files among them, and for an unknown system.
    """
    import rasterio
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    text = name.strip()
    urn = _URN.fullmatch(text)
    code = f"{urn[1]}:{urn[2]}" if urn else text
    try:
        with rasterio.Env(**OFFLINE):
            if AUTHORITY.fullmatch(code) or text.startswith("{"):
                system = CRS.from_user_input(code)
            elif _WKT.match(text):
                system = CRS.from_wkt(text)
            else:
                raise ValueError(f"{text[:80]!r} is no name of a reference system")
    except CRSError as error:
        raise ValueError(f"{text[:80]!r} is unknown ({error})") from None
    return system

"""Formats on a map: GeoTIFF with raster labels or GeoJSON."""

"""GeoTIFF images with labels on the map: GeoJSON polygons, or label rasters on another grid (extra `geo`: rasterio).

    DATA/images/NAME.tif                   georeferenced, in any reference system (CRS)
    DATA/labels/NAME.geojson               one for each image; or one file of any name, here or in DATA, for all of them
    DATA/labels/NAME.tif  or  masks/       label rasters that cover the images, on grids of their own

or the same within train, val and test folders. Images and labels may lie in one folder too, with GeoJSON.

GeoJSON is in longitude and latitude (RFC 7946, WGS 84), unless it has the older member "crs". Corners are projected
into the image's reference system, and edges between them are straight there. `rasterio.features.rasterize` decides
which pixels a polygon covers: those whose centres lie inside. Later features lie over earlier ones; where there is none
is background. Points and lines are left out. Where an image has no reference system, coordinates are its pixels, x to
the right and y down, as QuPath exports them.

A feature's class is in the property that all features have, of the first of these names: class, label, class_name,
classname, category, classification, name, type, landcover, land_cover. Without one, all are one class. Raw values: 0
for background, then 1, 2, ... for the classes in order of their names.

A label raster on another grid is resampled onto the image's, to the nearest pixel (`rasterio.vrt.WarpedVRT`). Where it
has no data, or does not reach, the raw value is 255, unlabelled. Rasters on the images' own grid are a folder like any
other, and are read without rasterio. Everything is read by windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.datasets.classes import UNLABELLED, ClassTable
from maskwright.datasets.formats.drawn.annotations import Entry, class_table, samples_of, split_of, table_file
from maskwright.datasets.formats.geo import geojson
from maskwright.datasets.formats.geo.grids import GeoRaster, GeoShapes, Grid, OnGrid
from maskwright.datasets.formats.layout import Layout, counted, found, is_labels
from maskwright.datasets.problems import Problem, report
from maskwright.datasets.sources import Source, natural
from maskwright.errors import ClassTableError, DataError, PairingError, listed
from maskwright.imaging.maps import opened
from maskwright.imaging.tiffs import first_page

_TIFF = (".tif", ".tiff")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
"""Images whose GeoJSON is in pixels, as QuPath writes it: they have no place on the map."""
_LABELS = ("labels", "masks", "annotations", "vectors")
_JUDGED = 16
"""Pairs of rasters whose grids are compared before this reader takes a folder."""


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read GeoTIFF images with labels on the map; see `layout.Reader` and the module.

    Raises
    ------
    DataError
        A file is damaged, rasterio is missing, or no shape lies on any image.
    PairingError
        An image has no labels, or labels have no image.
    ClassTableError
        255 is a class, and also what stands for pixels without labels.
    """
    if not masks or not root.is_dir():
        return None
    homes = [root, *(child for child in sorted(root.iterdir()) if child.is_dir() and split_of(child.name))]
    vector = [(home, pairs) for home in homes if (pairs := _with_vectors(home)) is not None]
    raster = [] if vector else [(home, pairs) for home in homes if (pairs := _with_rasters(home)) is not None]
    if not vector and not raster:
        return None
    _need_rasterio(root)
    triples = [(home, image, label) for home, pairs in vector or raster for image, label in pairs]
    grids = {image: Grid.of(image) for _, image, _ in triples}
    if raster and not any(_apart(grids[image], label) for _, image, label in _some(triples) if label):
        return None
    notes: list[str] = []
    classes: ClassTable | None = None
    table = table_file(root, *dict.fromkeys(home for home, _, _ in triples))
    sources: dict[tuple[Path, Path], OnGrid] = {}
    if vector:
        key, labels, notes = _classes(root, grids, triples)
        for _, image, label in triples:
            if label is not None:
                sources[image, label] = GeoShapes(path=label, grid=grids[image], key=key, labels=labels)
        classes = class_table([(name, place + 1, None) for place, name in enumerate(labels)], background=0)
        notes += ["later shapes are drawn over earlier ones; pixels of no shape are 'background' (raw value 0)"]
    else:
        sources = {(image, label): GeoRaster(path=label, grid=grids[image]) for _, image, label in triples if label}
        _check_unlabelled(sources, table)
        notes += [f"label rasters lie on other grids than images: resampled to the nearest pixel; {UNLABELLED} beyond"]
    entries = [
        Entry(
            name=image.name,
            image=Source(path=image),
            mask=sources[image, label],
            split=split_of(home.name) if home != root else None,
            file=label,
        )
        for home, image, label in triples
        if label is not None
    ]
    _check_labelled([image for _, image, label in triples if label is None], problems)
    samples = samples_of(entries, problems)
    labels_folder = next(label.parent for _, _, label in triples if label)
    return Layout(
        format="GeoTIFF with GeoJSON" if vector else "GeoTIFF with label rasters",
        samples=samples,
        masks_folder=labels_folder,
        unlabelled_255=is_labels(labels_folder),
        home=root,
        table=table,
        classes=classes,
        notes=(found(root, "GeoTIFF", samples, masks=True), *notes),
    )


Pairs = list[tuple[Path, Path | None]]


def _with_vectors(home: Path) -> Pairs | None:
    """Images and their GeoJSON files; None where there are none of either."""
    place = home / "images" if (home / "images").is_dir() else home
    rasters = _named(place, _TIFF) or _named(place, _PICTURES)
    if not rasters:
        return None
    for folder in (*(home / name for name in _LABELS), home, place):
        files = _named(folder, (".geojson",)) or [p for p in _named(folder, (".json",)) if geojson.is_geojson(p)]
        if not files:
            continue
        by_stem = {path.stem: path for path in files}
        if len(files) == 1 and files[0].stem not in {raster.stem for raster in rasters}:
            return [(raster, files[0]) for raster in rasters]
        alone = [path.name for path in files if path.stem not in {raster.stem for raster in rasters}]
        if alone:
            raise PairingError(
                f"{folder} has {counted(len(alone), 'GeoJSON file')} without an image in {place}: {listed(alone)}.",
                expected="Expected the stem of an image, or one file for all images.",
                remedy="Rename them, or move them elsewhere.",
                file=folder,
            )
        return [(raster, by_stem.get(raster.stem)) for raster in rasters]
    return None


def _with_rasters(home: Path) -> Pairs | None:
    """Images and their label rasters, where these may be on other grids."""
    truth = next((home / name for name in ("labels", "masks") if (home / name).is_dir()), None)
    if truth is None or not (home / "images").is_dir():
        return None
    rasters, labels = _named(home / "images", _TIFF), {path.stem: path for path in _named(truth, _TIFF)}
    if not rasters or {path.stem for path in rasters} != set(labels):
        return None  # the folder reader says what does not pair
    pairs: Pairs = [(raster, labels[raster.stem]) for raster in rasters]
    sizes = [(first_page(image), first_page(labels[image.stem])) for image in rasters]
    same = all(a and b and (a.height, a.width) == (b.height, b.width) for a, b in sizes)
    return pairs if not same or _has_rasterio() else None


def _named(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    paths = (path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.name[0] != ".")
    return sorted(paths, key=lambda path: natural(path.name))


def _some(triples: Sequence[Any]) -> list[Any]:
    places = np.unique(np.linspace(0, len(triples) - 1, _JUDGED).astype(int))
    return [triples[place] for place in places]


def _has_rasterio() -> bool:
    from importlib.util import find_spec

    return find_spec("rasterio") is not None


def _need_rasterio(root: Path) -> None:
    if not _has_rasterio():
        raise DataError(
            f"{root} has GeoTIFF images with labels on the map, and rasterio is not installed, which places them.",
            remedy="Install it: pip install 'maskwright[geo]'",
            file=root,
        )


def _apart(grid: Grid, label: Path) -> bool:
    """Whether a label raster has a place on the map, and its grid is not the image's."""
    from rasterio.crs import CRS

    own = Grid.of(label)
    if not own.crs or not grid.crs:
        return False
    pixel = max(abs(grid.transform[0]), abs(grid.transform[1]))
    near = np.allclose(own.transform, grid.transform, rtol=0, atol=pixel * 1e-3)
    same = (own.height, own.width) == (grid.height, grid.width) and near
    return not same or CRS.from_wkt(own.crs) != CRS.from_wkt(grid.crs)


def _classes(
    root: Path, grids: dict[Path, Grid], triples: Sequence[tuple[Path, Path, Path | None]]
) -> tuple[str | None, tuple[str, ...], list[str]]:
    """The property that says the class, the classes, and notes; every shape is placed once."""
    files = dict.fromkeys(label for _, _, label in triples if label)
    notes = []
    if any(not grid.crs for grid in grids.values()):
        without = sum(not grid.crs for grid in grids.values())
        notes.append(
            f"{counted(without, 'image')} without a reference system: coordinates are taken as they are, in pixels"
        )
    pairs = [(image, label) for _, image, label in triples if label]
    placed = {(label, crs): geojson.shapes(label, crs) for label, crs in {(b, grids[a].crs): None for a, b in pairs}}
    contents = [next(shapes for (label, _), shapes in placed.items() if label == file) for file in files]
    left = sum(shapes.left_out for shapes in contents)
    notes += [f"left out: {counted(left, 'point or line')}, which cover no pixels"] if left else []
    key, passed_over = geojson.class_property(contents)
    notes += [passed_over] if passed_over else []
    named = [(s, s.label(place, key)) for s in contents for place in range(len(s.geometries))]
    labels = tuple(sorted({label for _, label in named if label is not None}, key=natural))
    nameless = [s.path.name for s, label in named if label is None]
    if nameless:
        notes.append(
            f"warning: {counted(len(nameless), 'shape')} without a class (no {key!r}) left out, first in {nameless[0]}"
        )
    total = sum(len(shapes.geometries) for shapes in contents)
    notes.append(
        f"{counted(total, 'shape')}, whose class is the property {key!r}: {listed(labels, 8)}"
        if key
        else f"{counted(total, 'shape')}; no property tells their classes, so all are 'foreground'"
    )
    empty = [image.name for image, label in pairs if not placed[label, grids[image].crs].near(grids[image].box())]
    if len(empty) == len(pairs):
        raise DataError(
            f"None of the {counted(total, 'shape')} of {root} lies on an image. Expected labels of these places. Is "
            'the reference system right? GeoJSON is in longitude and latitude, unless it has the member "crs". Export '
            "the labels again in the images' reference system, with its name in the file."
        )
    notes += [f"{counted(len(empty), 'image')} without a shape, background only: {listed(empty)}"] if empty else []
    return key, labels, notes


def _check_labelled(alone: Sequence[Path], problems: list[Problem] | None) -> None:
    """Report images without labels."""
    if alone:
        what = f"{counted(len(alone), 'image')} without GeoJSON of the same stem: {listed([str(p) for p in alone])}."
        remedy = "Add the labels (a FeatureCollection without features, if there is nothing), or move the images."
        found_problem = Problem(level="error", kind="unpaired", files=tuple(alone), what=what, remedy=remedy)
        report(problems, found_problem, PairingError)


def _check_unlabelled(sources: dict[tuple[Path, Path], OnGrid], table: Path | None) -> None:
    """Refuse sets where 255 would stand for a class and for pixels without labels."""
    folder = next(iter(sources))[1].parent
    if folder.name.lower() == "labels":
        return
    claimed = table is not None and ClassTable.load(table).claims(UNLABELLED)
    bare = [source.path for source in sources.values() if _uncovered(source)]
    holders = [path for path in dict.fromkeys(source.path for source in sources.values()) if bare and _holds(path)]
    if bare and (claimed or (holders and table is None)):
        what = f"{holders[0].name} uses {UNLABELLED}" if holders else f"{table} has {UNLABELLED}"
        raise ClassTableError(
            f"{bare[0]} does not cover all of its image, and pixels without labels get the value "
            f"{UNLABELLED}; but {what} for a class.",
            expected=f"Expected labels without {UNLABELLED}.",
            remedy="Give that class another value.",
        )


def _uncovered(source: OnGrid) -> bool:
    """Whether a label raster may leave pixels of its image without a label."""
    from rasterio.warp import transform_bounds

    with opened(source.path) as labels:
        if labels.nodata is not None or labels.crs is None:
            return True
        left, bottom, right, top = transform_bounds(source.grid.crs, labels.crs, *source.grid.box())
    own = Grid.of(source.path).box()
    return bool(left < own[0] or bottom < own[1] or right > own[2] or top > own[3])


def _holds(path: Path) -> bool:
    """Whether 255 is among the values of a raster that are data."""
    with opened(path) as labels:
        blocks: Iterator[Any] = (window for _, window in labels.block_windows(1))
        for window in blocks:
            data = labels.read_masks(1, window=window) != 0
            if bool((labels.read(1, window=window)[data] == UNLABELLED).any()):
                return True
    return False

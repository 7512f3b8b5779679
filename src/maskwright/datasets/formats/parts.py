"""Stacks of pages and large rasters, as many samples each: pages, and windows of a grid.

    stack.tif of 30 pages         -> stack-000 .. stack-029, one page of image and mask each
    raster.tif above 64 megapixels -> raster-y0-x0, raster-y0-x1024, ...: windows of 1024 x 1024 pixels

A TIFF is read by tiles or strips, so that a raster of 50,000 x 50,000 pixels is never a whole array. Parts of one file
are one group: training and validation never share a file, unless there is only one.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from maskwright.datasets.formats.layout import Layout, counted, may_be_parts
from maskwright.datasets.problems import Problem, report
from maskwright.datasets.samples import Sample, Source
from maskwright.datasets.sources import THREADS, Window
from maskwright.errors import PairingError, TooLargeError, UnreadableFileError, listed
from maskwright.imaging.images import ARRAY_SUFFIXES, pictures_in, split_suffix
from maskwright.imaging.memory import require_room
from maskwright.imaging.tiffs import count_pages, first_page, segment_pixels

LARGEST = 64_000_000
"""An image with more pixels is read by windows."""

_MOST_DECODED = 16_000_000

EDGE = 1024
"""Pixels along a window's edges; the last window of a row or column takes a remainder below a quarter."""


def in_parts(layout: Layout, problems: list[Problem] | None) -> Layout:
    """Replace samples whose image is a TIFF stack by their pages, and large TIFF images by their windows.

    Only first directories of TIFF files are read. A stack whose mask has another number of pages raises PairingError,
    or is noted in `problems` and left out.
    """
    tiffs = [sample.image for sample in layout.samples if may_be_parts(sample.image)]
    with ThreadPoolExecutor(THREADS) as pool:
        firsts = dict(zip(tiffs, pool.map(lambda image: first_page(image.path), tiffs), strict=True))
    samples: list[Sample] = []
    stacks: list[str] = []
    rasters: list[str] = []
    slow: list[str] = []
    for sample in layout.samples:
        first = firsts.get(sample.image)
        if first is None:
            pages = _pages(sample, problems) if split_suffix(sample.image.path.name)[1] in ARRAY_SUFFIXES else [sample]
            stacks += [sample.image.path.name] if len(pages) > 1 else []
            samples += pages
            continue
        pages = [sample] if first.alone else _pages(sample, problems)
        stacks += [sample.image.path.name] if len(pages) > 1 else []
        for page in pages:
            windows = _windows(page) if first.height * first.width > LARGEST else [page]
            if len(windows) > 1:
                rasters.append(sample.image.path.name)
                slow += [part.path.name for part in (page.image, page.mask, page.valid) if part and _is_slow(part)]
            samples += windows
    if len(samples) == len(layout.samples) and not stacks:
        return replace(layout, samples=tuple(samples))
    notes = [*layout.notes, *_told(stacks, rasters, slow, len(samples))]
    return replace(layout, samples=tuple(samples), notes=tuple(notes))


def _told(stacks: Sequence[str], rasters: Sequence[str], slow: Sequence[str], count: int) -> list[str]:
    notes = []
    if stacks:
        notes.append(f"{counted(len(stacks), 'stack')} ({listed(stacks)}): each page is a sample")
    if rasters:
        limit = LARGEST // 1_000_000
        notes.append(
            f"{counted(len(rasters), 'image')} above {limit} megapixels ({listed(rasters)}): read by windows of "
            f"{EDGE} x {EDGE} pixels"
        )
    if slow:
        notes.append(
            f"{listed(slow)}: no tiles of moderate size in it, so that each window decodes much more than itself. Save "
            "it as a tiled TIFF (gdal_translate -co TILED=YES -co COMPRESS=DEFLATE) to read it fast"
        )
    return [*notes, f"{counted(count, 'sample')} together"] if notes else []


def _pages(sample: Sample, problems: list[Problem] | None) -> list[Sample]:
    """The pages of a stack as samples; the sample itself where its image is one picture."""
    if type(sample.image) is not Source or sample.image.page is not None:
        return [sample]
    count = _count(sample.image)
    if count < 2:
        return [sample]
    for part, what in ((sample.mask, "mask"), (sample.valid, "valid mask")):
        if part is None or (other := _count(part, mask=True)) == count:
            continue
        if other < 2:  # bands in pages, it seems: reading says what to do
            return [sample]
        problem = Problem(
            level="error",
            kind="unpaired",
            files=(part.path, sample.image.path),
            sample=sample.id,
            what=f"{sample.image.path} has {count} pages and its {what} {part.path} has {other}.",
            remedy=f"Expected one page of the {what} for each page of the image. Export the {what} again.",
        )
        report(problems, problem, PairingError)
        return []
    digits = len(str(count - 1))

    def page(part: Source | None, number: int) -> Source | None:
        return None if part is None else replace(part, page=number)

    return [
        replace(
            sample,
            id=f"{sample.id}-{number:0{max(3, digits)}}",
            image=replace(sample.image, page=number),
            mask=page(sample.mask, number),
            valid=page(sample.valid, number),
            group=sample.group or sample.id,
        )
        for number in range(count)
    ]


def _count(part: Source, *, mask: bool = False) -> int:
    if split_suffix(part.path.name)[1] in ARRAY_SUFFIXES:
        return pictures_in(part.path, mask=mask)
    first = first_page(part.path)
    if first is None or first.alone:
        return 0
    try:
        return count_pages(part.path)
    except Exception:  # a damaged file is found when headers are checked, with an error that names it
        return 0


def _is_slow(part: Source) -> bool:
    """Whether reading a window of a large file decodes more than `_MOST_DECODED` pixels."""
    if type(part) is not Source:
        return False
    if first_page(part.path) is None:
        return True
    try:
        return segment_pixels(part.path, part.page) > _MOST_DECODED
    except Exception:  # damaged: headers are checked next
        return False


def _windows(sample: Sample) -> list[Sample]:
    """The windows of a large image, in rows; the sample itself where it has none that can be read alone."""
    try:
        height, width = sample.image.header().shape
        others = [part.header().shape for part in (sample.mask, sample.valid) if part is not None]
        for part in (sample.image, sample.mask, sample.valid):
            if type(part) is Source and first_page(part.path) is not None:
                require_room(segment_pixels(part.path, part.page))  # else every window says so
    except (UnreadableFileError, TooLargeError):
        return [sample]
    if any(shape != (height, width) for shape in others):
        return [sample]  # checking headers says so
    return [
        replace(
            sample,
            id=f"{sample.id}-y{top}-x{left}",
            image=sample.image.cut(window := Window(top, left, rows, columns)),
            mask=sample.mask.cut(window) if sample.mask else None,
            valid=sample.valid.cut(window) if sample.valid else None,
            group=sample.group or sample.id,
        )
        for top, rows in _steps(height)
        for left, columns in _steps(width)
    ]


def _steps(length: int) -> list[tuple[int, int]]:
    """Starts and lengths of windows along an axis."""
    starts = list(range(0, length, EDGE))
    if len(starts) > 1 and length - starts[-1] < EDGE // 4:
        starts.pop()
    return [(start, stop - start) for start, stop in zip(starts, [*starts[1:], length], strict=True)]

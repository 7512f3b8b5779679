"""Measures all pairs in one pass: in parallel, and continued from a cache after an interruption.

The cache is a file of JSON lines beside the page: one line for each pair, keyed by the format of the records, by the
pair's sources, and by size and time of all its files, so that a changed file is read again. A line that a killed
process left half written is skipped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO

import cv2

from maskwright import runs
from maskwright.check.measure import files_of, measure
from maskwright.check.scan_result import RECORD_FORMAT, Measured, Unread
from maskwright.datasets.classes import Value
from maskwright.datasets.samples import Sample
from maskwright.errors import SettingError
from maskwright.processes import available_cores, spawned

__all__ = ["scan"]

_BATCH = 8
_WORTH_A_WORKER = 32
"""Pairs for which starting another process pays."""


def scan(
    samples: Sequence[Sample],
    ignored: frozenset[Value],
    *,
    cache: Path | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Measured]:
    """Measure every pair, in the order given.

    Parameters
    ----------
    samples
        The pairs.
    ignored
        Raw values of unlabelled pixels.
    cache
        A file to continue from and to add to; without one, nothing is kept.
    workers
        Processes; by default one for each core, fewer for few pairs, none beside this one for very few.
    progress
        Called with the pairs measured so far and their number.
    """
    keys = [_key(sample, ignored) for sample in samples]
    known, stale = _load(cache)
    found: dict[int, Measured] = {place: known[key] for place, key in enumerate(keys) if key in known}
    todo = [place for place in range(len(samples)) if place not in found]
    tell = progress or (lambda done, total: None)
    tell(len(found), len(samples))
    with _opened(cache) as file:
        for place, measured in _measured(todo, samples, ignored, workers):
            found[place] = measured
            if file is not None:
                file.write(_line(keys[place], measured))
                file.flush()
            tell(len(found), len(samples))
    if cache is not None and (stale or len(known) + len(todo) > len(set(keys))):
        # Not through `runs.replacing`: lines are added to it, so that no record of outputs knows what it holds.
        renewed = cache.with_name(f"{cache.name}.new")
        with runs.naming(cache):
            renewed.write_text("".join(_line(keys[place], found[place]) for place in range(len(samples))), "utf-8")
        renewed.replace(cache)
    return [found[place] for place in range(len(samples))]


def _measured(
    todo: Sequence[int], samples: Sequence[Sample], ignored: frozenset[Value], workers: int | None
) -> Iterator[tuple[int, Measured]]:
    """Measure these places, in any order."""
    if workers is None:
        workers = min(available_cores(), len(todo) // _WORTH_A_WORKER)
    if workers <= 1:
        with _one_thread():
            for place in todo:
                yield place, measure(samples[place], ignored)
        return
    batches = [todo[start : start + _BATCH] for start in range(0, len(todo), _BATCH)][::-1]
    while batches:
        waiting: dict[Future[list[Measured]], Sequence[int]] = {}
        with _pool(workers) as pool, suppress(BrokenProcessPool):
            while batches or waiting:
                while batches and len(waiting) < 3 * workers:
                    future = pool.submit(_measure_all, [samples[place] for place in batches[-1]], ignored)
                    waiting[future] = batches.pop()
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield from zip(waiting[future], future.result(), strict=True)
                    del waiting[future]
        # Here something is only left if a decoder took its process down; whose file it was has to be found out.
        yield from _one_by_one([place for batch in waiting.values() for place in batch], samples, ignored)


def _one_by_one(
    todo: Sequence[int], samples: Sequence[Sample], ignored: frozenset[Value]
) -> Iterator[tuple[int, Measured]]:
    """Measure pairs in a process that may die of one, and is then replaced."""
    left = [*todo][::-1]
    while left:
        with _pool(1) as pool:
            while left:
                place, broken = left.pop(), False
                try:
                    measured = pool.submit(measure, samples[place], ignored).result()
                except BrokenProcessPool:
                    measured, broken = _crashed(samples[place]), True
                yield place, measured
                if broken:
                    break


def _crashed(sample: Sample) -> Measured:
    path = str(sample.image.path)
    what = f"{path} or its mask cannot be read: the decoder crashed."
    return Measured(unread=(Unread(file=path, what=what, remedy="Export or copy it again, or remove it."),))


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    with spawned(workers) as pool:
        try:
            pool.submit(int).result()
        except BrokenProcessPool:
            raise SettingError(
                "The check cannot start other processes.",
                remedy="In a program of your own, call it under if __name__ == '__main__':, or with workers=1.",
            ) from None
        yield pool


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV on one thread: a pair is too small to divide."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _measure_all(samples: Sequence[Sample], ignored: frozenset[Value]) -> list[Measured]:
    return [measure(sample, ignored) for sample in samples]


def _key(sample: Sample, ignored: frozenset[Value]) -> str:
    digest = blake2b(
        f"{RECORD_FORMAT} {sorted(map(str, ignored))} {sample.id}".encode(errors="surrogatepass"), digest_size=16
    )
    for part in (sample.image, sample.mask, sample.valid):
        digest.update(
            b"-" if part is None else f"{type(part).__name__} {part.identity()}".encode(errors="surrogatepass")
        )
    for path in files_of(sample):
        digest.update(str(path.resolve()).encode(errors="surrogatepass"))
        with suppress(OSError):
            status = path.stat()
            digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _line(key: str, measured: Measured) -> str:
    return json.dumps({"key": key, "measured": measured.to_json()}, separators=(",", ":")) + "\n"


def _load(cache: Path | None) -> tuple[Mapping[str, Measured], bool]:
    """The pairs that a cache knows, and whether it holds lines that are of no use."""
    known: dict[str, Measured] = {}
    if cache is None or not cache.is_file():
        return known, False
    stale = False
    for line in cache.read_text("utf-8", errors="replace").splitlines():
        try:
            content = json.loads(line)
            known[content["key"]] = Measured.from_json(content["measured"])
        except (ValueError, KeyError, TypeError):
            stale = True
    return known, stale


@contextmanager
def _opened(cache: Path | None) -> Iterator[IO[str] | None]:
    """The cache, open to add lines to."""
    if cache is None:
        yield None
        return
    cache.parent.mkdir(parents=True, exist_ok=True)
    with runs.naming(cache), cache.open("a", encoding="utf-8") as file:
        if file.tell():
            file.write("\n")  # ends a line that a killed process left half written; empty lines are skipped
        yield file

"""Work on images in several processes: results in their order, Ctrl-C and lost processes told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from maskwright.errors import DataError
from maskwright.processes import available_cores, spawned

T = TypeVar("T")

_WORTH_A_WORKER = 8
"""Images for which starting another process pays."""
_AHEAD = 16
"""Images whose results may wait: more would fill the memory with masks."""


@contextmanager
def processes(workers: int | None, images: int) -> Iterator[Executor | None]:
    """Processes to work in; None where one is enough."""
    if workers is None:
        workers = min(available_cores(), images // _WORTH_A_WORKER)
    if workers <= 1:
        yield None
        return
    try:
        with spawned(workers) as pool:
            yield pool
    except BrokenProcessPool:
        raise DataError(
            "A process that ran the script ended without a word; memory may not have been enough.",
            remedy="Run it with --workers 1.",
        ) from None


def each(pool: Executor | None, work: Callable[..., T], given: Iterable[Sequence[Any]]) -> Iterator[T]:
    """Results in the order of what is given, of which only a little is taken ahead."""
    if pool is None:
        for one in given:
            yield work(*one)
        return
    waiting: deque[Future[T]] = deque()
    for one in given:
        waiting.append(pool.submit(work, *one))
        if len(waiting) > _AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()

"""Work on images in several processes: results in their order, Ctrl-C and lost processes told."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

import cv2

from maskwright.errors import DataError

T = TypeVar("T")

_WORTH_A_WORKER = 8
"""Images for which starting another process pays."""
_AHEAD = 16
"""Images whose results may wait: more would fill the memory with masks."""
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def processes(workers: int | None, images: int) -> Iterator[Executor | None]:
    """Processes to work in (`spawn`: the same on all systems), one thread each; None where one is enough."""
    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = min(cores, images // _WORTH_A_WORKER)
    before = {name: os.environ.get(name) for name in _THREAD_LIMITS}
    if workers > 1:
        os.environ.update(dict.fromkeys(_THREAD_LIMITS, "1"))  # read when a process first imports numpy
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, spawn, initializer=_begin) if workers > 1 else None
    try:
        yield pool
    except BrokenProcessPool:
        raise DataError(
            "A process that ran the script ended without a word; memory may not have been enough.",
            remedy="Run it with --workers 1.",
        ) from None
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _begin() -> None:
    cv2.setNumThreads(1)
    # Ctrl-C reaches every process of a terminal; the first one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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

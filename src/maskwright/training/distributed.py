"""Train one model with several processes: `torchrun --nproc-per-node 2 -m maskwright train ...`.

Each process makes its own slots of every batch and scores its own part of the validation images;
DistributedDataParallel averages the gradients. Losses are sums over the pixels of all processes (`losses.everywhere`),
so a step is that of one process with the whole batch. The first process keeps the clock and writes the run; the others
follow.

Alone (without torchrun) everything here does nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from maskwright.errors import SettingError, TrainingError
from maskwright.models.segmenter import Segmenter

PATIENCE = timedelta(minutes=10)
"""How long a process waits for the others: as long as the slowest may read its images."""

Item = TypeVar("Item")


def world_size() -> int:
    """Count the processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Tell the number of this process; 0 writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def launch_rank() -> int:
    """Tell the number that this process will have once it has joined the others."""
    return int(os.environ.get("RANK", "0"))


@contextmanager
def process_group(run: str = "the run") -> Iterator[None]:
    """Join the processes that torchrun started, and leave them at the end.

    Raises TrainingError where another process has died, in words; what `run` has saved can be resumed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield
    except RuntimeError as error:
        if not _is_lost(error):
            raise
        raise TrainingError(
            f"Process {rank()} of {world_size()} lost the others: one of them ended ({_said(error)}). "
            "Its own message says why.",
            remedy=f"The state of the last minute is saved: start all of them again with --resume {run}.",
        ) from None
    finally:
        dist.destroy_process_group()


def slots(batch: int) -> range:
    """Give the positions in a batch that this process makes.

    Raises SettingError if the processes cannot divide the batch equally.
    """
    processes = world_size()
    if batch % processes:
        raise SettingError(
            f"batch = {batch} cannot be shared equally by {processes} processes.",
            expected=f"Expected a multiple of {processes}.",
            remedy=f"Give for example --batch {processes * max(1, batch // processes)}.",
        )
    own = batch // processes
    return range(rank() * own, (rank() + 1) * own)


def own_part(items: Sequence[Item]) -> Sequence[Item]:
    """Give the items that this process looks at; every item falls to exactly one process."""
    return items[rank() :: world_size()]


def summed(matrix: np.ndarray) -> np.ndarray:
    """Sum an integer array over the processes, exactly."""
    if world_size() == 1:
        return matrix
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    total = torch.from_numpy(matrix).to(device)
    dist.all_reduce(total)
    found: np.ndarray = total.cpu().numpy()
    return found


def agree(first: Sequence[float], anyone: Sequence[bool] = ()) -> tuple[list[float], list[bool]]:
    """Learn numbers as the first process has them, and whether any process answers yes, in one exchange."""
    if world_size() == 1:
        return list(first), list(anyone)
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    told = [value if rank() == 0 else 0.0 for value in first] + [float(answer) for answer in anyone]
    numbers = torch.tensor(told, dtype=torch.float64, device=device)
    dist.all_reduce(numbers)
    values = numbers.tolist()
    return values[: len(first)], [value > 0 for value in values[len(first) :]]


def barrier() -> None:
    """Wait until all processes are here."""
    if world_size() > 1:
        dist.barrier()


def data_parallel(segmenter: Segmenter) -> nn.Module:
    """Wrap the segmenter, so that gradients are averaged over the processes; on GPUs batch norms see the whole batch.

    On a CPU torch has no batch norm over several processes: there each normalises by its own slots of the batch.
    """
    if world_size() == 1:
        return segmenter
    device = next(segmenter.parameters()).device
    if device.type == "cuda":
        segmenter.network = nn.SyncBatchNorm.convert_sync_batchnorm(segmenter.network)  # type: ignore[no-untyped-call]
        return nn.parallel.DistributedDataParallel(segmenter, device_ids=[device.index])
    return nn.parallel.DistributedDataParallel(segmenter)


def _is_lost(error: RuntimeError) -> bool:
    """Whether another process went away. Torch says so by class in some cases, in gloo's by text alone."""
    text = str(error).lower()
    return isinstance(error, dist.DistBackendError | dist.DistNetworkError) or any(
        sign in text for sign in ("connection closed by peer", "connection reset", "timed out", "socket", "nccl")
    )


def _said(error: Exception) -> str:
    """What torch says, without the line of its sources that gloo puts before it, and the guesses that follow it."""
    return re.sub(r"^\[[^\]]*\]\s*", "", str(error).strip().split("\n")[0]).split(". ")[0][:120]

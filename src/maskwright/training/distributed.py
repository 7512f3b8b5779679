"""Several processes that train one model: `torchrun --nproc-per-node 2 -m maskwright train ...`.

Each process makes its own slots of every batch and sees its own share of the validation images; DistributedDataParallel
averages the gradients. Losses are sums over the pixels of all processes (`losses.everywhere`), so a step is that of one
process with the whole batch. The first process keeps the clock and writes the run; the others follow.

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


def count() -> int:
    """Processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this one; 0 writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def starts_as() -> int:
    """The number that this process will have once it has joined the others."""
    return int(os.environ.get("RANK", "0"))


@contextmanager
def together(run: str = "the run") -> Iterator[None]:
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
            f"Process {rank()} of {count()} lost the others: one of them ended ({_said(error)}). Its own message "
            f"says why. The state of the last minute is saved: start all of them again with --resume {run}."
        ) from None
    finally:
        dist.destroy_process_group()


def slots(batch: int) -> range:
    """The places of a batch that this process makes.

    Raises SettingError if the processes cannot share the batch equally.
    """
    if batch % count():
        raise SettingError(
            f"batch = {batch} cannot be shared equally by {count()} processes. Expected a multiple of {count()}, for "
            f"example --batch {count() * max(1, batch // count())}."
        )
    share = batch // count()
    return range(rank() * share, (rank() + 1) * share)


def own_share(items: Sequence[Item]) -> Sequence[Item]:
    """The items that this process looks at; every item falls to exactly one process."""
    return items[rank() :: count()]


def total(matrix: np.ndarray) -> np.ndarray:
    """An integer array summed over the processes, exactly."""
    if count() == 1:
        return matrix
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    summed = torch.from_numpy(matrix).to(device)
    dist.all_reduce(summed)
    found: np.ndarray = summed.cpu().numpy()
    return found


def agree(first: Sequence[float], anyone: Sequence[bool] = ()) -> tuple[list[float], list[bool]]:
    """Numbers as the first process has them, and whether any process answers yes; one exchange."""
    if count() == 1:
        return list(first), list(anyone)
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    told = [value if rank() == 0 else 0.0 for value in first] + [float(answer) for answer in anyone]
    numbers = torch.tensor(told, dtype=torch.float64, device=device)
    dist.all_reduce(numbers)
    values = numbers.tolist()
    return values[: len(first)], [value > 0 for value in values[len(first) :]]


def wait() -> None:
    """Until all processes are here."""
    if count() > 1:
        dist.barrier()


def shared(segmenter: Segmenter) -> nn.Module:
    """The segmenter, with gradients averaged over the processes; batch norms see all of the batch on GPUs.

    On a CPU torch has no batch norm over several processes: there each normalises by its own share of the batch.
    """
    if count() == 1:
        return segmenter
    device = next(segmenter.parameters()).device
    if device.type == "cuda":
        segmenter.network = nn.SyncBatchNorm.convert_sync_batchnorm(segmenter.network)  # type: ignore[no-untyped-call]
        return nn.parallel.DistributedDataParallel(segmenter, device_ids=[device.index])
    return nn.parallel.DistributedDataParallel(segmenter)


def _is_lost(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, dist.DistBackendError | dist.DistNetworkError) or any(
        sign in text for sign in ("connection closed by peer", "connection reset", "timed out", "socket", "nccl")
    )


def _said(error: Exception) -> str:
    """What it says, without the place in torch's sources that gloo puts before it, and torch's guesses after it."""
    return re.sub(r"^\[[^\]]*\]\s*", "", str(error).strip().split("\n")[0]).split(". ")[0][:120]

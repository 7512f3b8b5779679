"""The other side of `parity.py`: random weights, an input and its outputs, from torchvision, timm and transformers.

    PEER/bin/python benchmarks/peers/torch_side.py FOLDER [NAME ...]
    PEER/bin/python benchmarks/peers/torch_side.py --record tests/models/recorded/encoders.json

Runs in an environment of its own and knows nothing of Maskwright. For each name it writes the weights as their users
have them (`NAME.pth`, `NAME.safetensors`) and `NAME.npz` with `input` and `output_0`, `output_1`, ...

`--record` writes what the ordinary tests compare with: tensor names and shapes, and some values of the maps for weights
that a formula makes from each tensor's name and shape (the test has the same formula).
"""

from __future__ import annotations

import argparse
import json
import math
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import segmentation

Outputs = list[Tensor]
SEGFORMERS: dict[str, dict[str, Any]] = {
    "segformer-b0": {"hidden_sizes": [32, 64, 160, 256], "depths": [2, 2, 2, 2], "decoder_hidden_size": 256},
    "segformer-b1": {"hidden_sizes": [64, 128, 320, 512], "depths": [2, 2, 2, 2], "decoder_hidden_size": 256},
    "segformer-b2": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 6, 3], "decoder_hidden_size": 768},
}
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
RESNET_MAPS = ("relu", "layer1", "layer2", "layer3", "layer4")
VGG_MAPS = ("3", "8", "15", "22", "29", "30")
VGG_BN_POOLS = ("6", "13", "23", "33", "43")
ALEXNET_MAPS = ("1", "4", "11", "12")
SAMPLES = 12
FILLED = 31  # zeros that our AlexNet puts at the right and the bottom


def settle(model: nn.Module, x: Tensor) -> nn.Module:
    """Give batch norms the statistics of an input and weights of their own, so that neither is hidden by ones."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        nn.init.uniform_(norm.weight, 0.5, 1.0)
        nn.init.uniform_(norm.bias, -0.2, 0.2)
    model.train()
    with torch.no_grad():
        model(torch.cat([x, x.flip(3)]))
    return model.eval()


def resnet_maps(model: Any, x: Tensor) -> Outputs:
    """The maps at strides 2, 4, 8, 16, 32 of torchvision's ResNet."""
    x = model.relu(model.bn1(model.conv1(x)))
    maps = [x]
    x = model.maxpool(x)
    for name in RESNET_MAPS[1:]:
        x = model.get_submodule(name)(x)
        maps.append(x)
    return maps


def chain_maps(features: nn.Module, x: Tensor, places: tuple[str, ...]) -> Outputs:
    """Outputs of some layers of a sequence."""
    maps = []
    for name, layer in features.named_children():
        x = layer(x)
        if name in places:
            maps.append(x.clone())
    return maps


def resnet(name: str, dilate: tuple[bool, bool, bool], x: Tensor) -> tuple[nn.Module, Outputs]:
    """Build torchvision's ResNet, its last stages dilated as told."""
    options = {"replace_stride_with_dilation": dilate} if any(dilate) else {}
    model = settle(getattr(torchvision.models, name)(weights=None, **options), x)
    return model, resnet_maps(model, x)


def alexnet(x: Tensor) -> tuple[nn.Module, Outputs]:
    """The maps of the extended image, cut to H/4, H/8, H/16, H/32, and fc7 where pool5 has its 6x6 cells."""
    model = torchvision.models.alexnet(weights=None).eval()
    extended = F.pad(x, (0, FILLED, 0, FILLED))
    maps = chain_maps(model.features, extended, ALEXNET_MAPS)
    sizes = [x.shape[2] // stride for stride in (4, 8, 16, 32)]
    fc7 = model.classifier[:6](maps[-1][..., :6, :6].flatten(1))
    return model, [*(m[..., :size, :size] for m, size in zip(maps, sizes, strict=True)), fc7]


def vgg(x: Tensor) -> tuple[nn.Module, Outputs]:
    """The maps before each pooling, pool5, and fc7."""
    model = torchvision.models.vgg16(weights=None).eval()
    maps = chain_maps(model.features, x, VGG_MAPS)
    return model, [*maps, model.classifier[:6](maps[-1].flatten(1))]


def vgg_with_norms(x: Tensor) -> tuple[nn.Module, Outputs]:
    """The maps after each pooling of VGG-16 with batch norm, which is SegNet's encoder; without the classifier."""
    model = torchvision.models.vgg16_bn(weights=None)
    model.classifier = nn.Identity()
    settle(model, x)
    return model, chain_maps(model.features, x, VGG_BN_POOLS)


def timm_vgg(x: Tensor) -> tuple[nn.Module, Outputs]:
    """The same maps of timm's VGG-16, whose fully connected layers are convolutions already."""
    model = timm.create_model("vgg16", pretrained=False).eval()
    maps = chain_maps(model.features, x, VGG_MAPS)
    return model, [*maps, model.pre_logits(maps[-1]).flatten(1)]


def timm_maps(name: str, x: Tensor, **options: Any) -> tuple[nn.Module, Outputs]:
    """The whole model, whose weights are written, and the maps of its `features_only` form with the same weights."""
    whole = settle(timm.create_model(name, pretrained=False, **options), x)
    features = timm.create_model(name, pretrained=False, features_only=True, **options).eval()
    flat = {key.replace(".", "_"): value for key, value in whole.state_dict().items()}
    features.load_state_dict({key: flat[key.replace(".", "_")] for key in features.state_dict()})
    return whole, features(x)


def torchvision_network(name: str, x: Tensor) -> tuple[nn.Module, Outputs]:
    """Logits and auxiliary logits of a segmentation network."""
    make = getattr(segmentation, name)
    model = settle(make(weights=None, weights_backbone=None, num_classes=21, aux_loss=True), x)
    out = model(x)
    return model, [out["out"], out["aux"]]


def segformer(name: str, folder: Path, x: Tensor) -> tuple[None, Outputs]:
    """Written as transformers writes it: a folder with settings and `model.safetensors`."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    model = SegformerForSemanticSegmentation(SegformerConfig(num_labels=19, **SEGFORMERS[name]))
    # Weights of deviation 0.02, as they start, leave little to see of the attention.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(3)
    settle(model, x)
    model.save_pretrained(folder / name)
    return None, [F.interpolate(model(x).logits, x.shape[2:], mode="bilinear", align_corners=False)]


def cases(folder: Path) -> dict[str, tuple[tuple[int, int], str, Callable[[Tensor], tuple[nn.Module | None, Outputs]]]]:
    """Input size, suffix of the weights, and what makes them and the outputs, by name."""
    none, last, two = (False, False, False), (False, False, True), (False, True, True)
    wide, square = (64, 96), (224, 224)
    return {
        **{name: (wide, ".pth", partial(resnet, name, none)) for name in RESNETS},
        "resnet50, stride 16": (wide, ".pth", partial(resnet, "resnet50", last)),
        "resnet50, stride 8": (wide, ".pth", partial(resnet, "resnet50", two)),
        "resnet101, stride 8": (wide, ".pth", partial(resnet, "resnet101", two)),
        "alexnet": (square, ".pth", alexnet),
        "vgg16": (square, ".pth", vgg),
        "vgg16_bn": (wide, ".pth", vgg_with_norms),
        **{f"timm {name}": (wide, ".safetensors", partial(timm_maps, name)) for name in RESNETS},
        "timm resnet18, stride 8": (wide, ".pth", partial(timm_maps, "resnet18", output_stride=8)),
        "timm resnet34, stride 16": (wide, ".safetensors", partial(timm_maps, "resnet34", output_stride=16)),
        "timm vgg16": (square, ".safetensors", timm_vgg),
        **{
            f"{name}_{encoder}": (wide, ".pth", partial(torchvision_network, f"{name}_{encoder}"))
            for name in ("fcn", "deeplabv3")
            for encoder in ("resnet50", "resnet101")
        },
        **{name: (wide, "", partial(segformer, name, folder)) for name in SEGFORMERS},
        "timm:convnext_tiny": (wide, ".safetensors", partial(timm_maps, "convnext_tiny")),
    }


def write(folder: Path, names: list[str]) -> None:
    """Write the cases `names`, or all."""
    table = cases(folder)
    for name in names or table:
        size, suffix, make = table[name]
        torch.manual_seed(zlib.crc32(name.encode()))
        x = torch.randn(1, 3, *size)
        with torch.no_grad():
            model, outputs = make(x)
        arrays: dict[str, Any] = {f"output_{place}": output.numpy() for place, output in enumerate(outputs)}
        np.savez(folder / f"{name}.npz", input=x.numpy(), **arrays)
        if model is not None:
            state = {key: value.clone().contiguous() for key, value in model.state_dict().items()}
            if suffix == ".pth":
                torch.save(state, folder / f"{name}.pth")
            else:
                safetensors.torch.save_file(state, folder / f"{name}.safetensors")


def formula(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values that depend on a tensor's name and shape only: He uniform, and mild ones for vectors."""
    raw = np.random.PCG64(zlib.crc32(name.encode())).random_raw(math.prod(shape)).reshape(shape)
    share = (raw >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
    if name.endswith("running_var"):
        return share + np.float32(0.5)
    if len(shape) == 1:
        return share * np.float32(0.4) + np.float32(0.2) if name.endswith("weight") else share - np.float32(0.5)
    limit = np.float32(math.sqrt(6 / math.prod(shape[1:])))
    return (share * 2 - 1) * limit


def nested(model: nn.Module) -> dict[str, Any]:
    """Shapes of a state dictionary as a tree, which says every part of a name once."""
    tree: dict[str, Any] = {}
    for name, tensor in model.state_dict().items():
        *modules, leaf = name.split(".")
        branch = tree
        for part in modules:
            branch = branch.setdefault(part, {})
        branch[leaf] = "x".join(map(str, tensor.shape))
    return tree


def record(path: Path) -> None:
    """Write names, shapes and some values of the maps of torchvision's encoders."""
    recorded: dict[str, Any] = {}
    x = torch.from_numpy(formula("input", (1, 3, 64, 96)))
    for name in (*RESNETS, "vgg16", "alexnet"):
        with torch.device("meta"):
            tree = nested(getattr(torchvision.models, name)())
        model = getattr(torchvision.models, name)()
        if name in ("vgg16", "alexnet"):
            del model.classifier
        model.load_state_dict(
            {
                key: torch.from_numpy(formula(key, tuple(value.shape))) if value.ndim else torch.tensor(0)
                for key, value in model.state_dict().items()
                if not key.startswith("fc.")
            },
            strict=False,
        )
        model.eval()
        with torch.inference_mode():
            if name in RESNETS:
                maps = resnet_maps(model, x)
            elif name == "vgg16":
                maps = chain_maps(model.features, x, VGG_MAPS)
            else:
                extended = F.pad(x, (0, FILLED, 0, FILLED))
                maps = [
                    m[..., : 64 // stride, : 96 // stride]
                    for m, stride in zip(
                        chain_maps(model.features, extended, ALEXNET_MAPS), (4, 8, 16, 32), strict=True
                    )
                ]
        values = [m.flatten()[np.linspace(0, m.numel() - 1, SAMPLES).astype(int)].tolist() for m in maps]
        recorded[name] = {
            "shapes": [list(m.shape) for m in maps],
            "values": [[float(f"{value:.7g}") for value in row] for row in values],
            "state": tree,
        }
    with torch.device("meta"):
        recorded["timm vgg16"] = {"state": nested(timm.create_model("vgg16", pretrained=False))}
    recorded["made with"] = {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
    }
    path.write_text(json.dumps(recorded, separators=(",", ":")) + "\n", "utf-8")


def main() -> None:
    """Write cases, or with --record what the tests compare with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    if options.record:
        record(options.record)
    if options.folder:
        write(options.folder, options.names)


if __name__ == "__main__":
    main()

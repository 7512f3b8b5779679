"""Encoders have the names, shapes and outputs of torchvision's networks.

`recorded/encoders.json` was written by `benchmarks/peers/torch_side.py --record`, which runs torchvision.
"""

from __future__ import annotations

import json
import math
import sys
import zlib
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskwright.errors import ModelError
from maskwright.models import Row, build, load_encoder, model_options
from maskwright.models.encoders import ENCODERS, FULLY_CONNECTED, STRIDED, Encoder, build_encoder
from maskwright.models.encoders.resnet import BasicBlock, Bottleneck
from maskwright.models.fcn import FCN

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
TORCHVISION = [name for name in ENCODERS if not name.startswith("lite")]
"""The others are compared with their own source in `test_efficientnet_lite.py`."""
CLASSIFIERS = {**dict.fromkeys(RESNETS, ("fc.",)), "vgg16": ("classifier.",), "alexnet": ("classifier.",)}


@cache
def recorded() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(__file__).parent / "recorded" / "encoders.json").read_text("utf-8"))
    return content


def flat(tree: dict[str, Any], before: str = "") -> dict[str, tuple[int, ...]]:
    """Names and shapes of a recorded state dictionary."""
    found: dict[str, tuple[int, ...]] = {}
    for part, branch in tree.items():
        if isinstance(branch, dict):
            found |= flat(branch, f"{before}{part}.")
        else:
            found[before + part] = tuple(int(side) for side in branch.split("x") if side)
    return found


def shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def on_meta(name: str, **options: Any) -> Encoder:
    with torch.device("meta"):
        return build_encoder(name, 3, **options)


def formula(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The weights of the recording, from a tensor's name and shape: He uniform, and mild values for vectors."""
    raw = np.random.PCG64(zlib.crc32(name.encode())).random_raw(math.prod(shape)).reshape(shape)
    share = (raw >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
    if name.endswith("running_var"):
        share += np.float32(0.5)
    elif len(shape) == 1:
        share = share * np.float32(0.4) + np.float32(0.2) if name.endswith("weight") else share - np.float32(0.5)
    else:
        share = (share * 2 - 1) * np.float32(math.sqrt(6 / math.prod(shape[1:])))
    return torch.from_numpy(share)


@pytest.mark.parametrize("name", TORCHVISION)
def test_names_and_shapes_are_torchvision_s(name: str) -> None:
    published = flat(recorded()[name]["state"])
    expected = {key: shape for key, shape in published.items() if not key.startswith(CLASSIFIERS[name])}
    assert len(expected) == {"vgg16": 26, "alexnet": 10}.get(name, len(published) - 2)
    assert shapes(on_meta(name).state_dict()) == expected


@pytest.mark.parametrize(
    ("name", "parameters"),
    # torchvision's published counts without its last layers.
    [
        ("resnet18", 11_689_512 - 513_000),
        ("resnet34", 21_797_672 - 513_000),
        ("resnet50", 25_557_032 - 2_049_000),
        ("resnet101", 44_549_160 - 2_049_000),
        ("vgg16", 138_357_544 - (25_088 * 4096 + 4096) - (4096 * 4096 + 4096) - 4_097_000),
        ("alexnet", 61_100_840 - (9216 * 4096 + 4096) - (4096 * 4096 + 4096) - 4_097_000),
    ],
)
def test_counts_are_torchvision_s(name: str, parameters: int) -> None:
    assert sum(parameter.numel() for parameter in on_meta(name).parameters()) == parameters


@pytest.mark.parametrize("name", FULLY_CONNECTED)
def test_fully_connected_layers_keep_their_weights_as_convolutions(name: str) -> None:
    encoder = on_meta(name, fully_connected=True)
    total = sum(math.prod(shape) for shape in flat(recorded()[name]["state"]).values())
    assert sum(parameter.numel() for parameter in encoder.parameters()) == total - 4_097_000  # without fc8
    fc6, fc7 = {"vgg16": ("0", "3"), "alexnet": ("1", "4")}[name]
    assert (
        encoder.state_dict()[f"classifier.{fc6}.weight"].shape
        == ((4096, 512, 7, 7), (4096, 256, 6, 6))[name == "alexnet"]
    )
    assert encoder.state_dict()[f"classifier.{fc7}.weight"].shape == (4096, 4096, 1, 1)


@pytest.mark.parametrize("name", TORCHVISION)
def test_maps_are_torchvision_s(name: str) -> None:
    encoder = build_encoder(name, 3)
    state = encoder.state_dict()
    encoder.load_state_dict(
        {key: formula(key, tuple(tensor.shape)) if tensor.ndim else tensor for key, tensor in state.items()}
    )
    with torch.inference_mode():
        maps = encoder.eval()(formula("input", (1, 3, 64, 96)))
    assert [list(m.shape) for m in maps] == recorded()[name]["shapes"]
    for ours, theirs in zip(maps, recorded()[name]["values"], strict=True):
        values = ours.flatten()[np.linspace(0, ours.numel() - 1, len(theirs)).astype(int)]
        spread = float(ours.max() - ours.min())
        assert spread > 0.05
        assert (values - torch.tensor(theirs)).abs().max() < 1e-4 * min(1.0, spread)


@pytest.mark.parametrize("name", list(ENCODERS))
def test_maps_are_as_announced(name: str) -> None:
    for output_stride in (32,) if name in STRIDED else (32, 16, 8):
        for fully_connected in (False, True)[: 1 + (name in FULLY_CONNECTED)]:
            encoder = build_encoder(name, 2, 4, output_stride, fully_connected=fully_connected).eval()
            with torch.inference_mode():
                maps = encoder(torch.randn(2, 2, 64, 96))
            assert encoder.stride == max(encoder.strides) == output_stride
            assert [tuple(m.shape) for m in maps] == [
                (2, c, 64 // s, 96 // s) for c, s in zip(encoder.channels, encoder.strides, strict=True)
            ]


def test_published_width_by_default() -> None:
    assert {name: on_meta(name).channels for name in ENCODERS} == {
        "alexnet": (64, 192, 256, 256),
        "vgg16": (64, 128, 256, 512, 512, 512),
        "resnet18": (64, 64, 128, 256, 512),
        "resnet34": (64, 64, 128, 256, 512),
        "resnet50": (64, 256, 512, 1024, 2048),
        "resnet101": (64, 256, 512, 1024, 2048),
        "lite0": (16, 24, 40, 112, 320),
        "lite1": (16, 24, 40, 112, 320),
        "lite2": (16, 24, 48, 120, 352),
    }
    assert {name: on_meta(name).strides for name in ENCODERS} == {
        "alexnet": (4, 8, 16, 32),
        "vgg16": (1, 2, 4, 8, 16, 32),
        **dict.fromkeys((*RESNETS, "lite0", "lite1", "lite2"), (2, 4, 8, 16, 32)),
    }


def test_fcn_scores_the_maps_behind_poolings_and_fc7() -> None:
    torch.manual_seed(0)
    vgg, alexnet = (build_encoder(name, 3, 4, fully_connected=True).eval() for name in ("vgg16", "alexnet"))
    assert (vgg.strides, vgg.channels) == ((2, 4, 8, 16, 32), (4, 8, 16, 32, 256))
    assert (alexnet.strides, alexnet.channels) == ((8, 16, 32), (4, 12, 256))
    bare = build_encoder("vgg16", 3, 4).eval()
    bare.load_state_dict({k: v for k, v in vgg.state_dict().items() if k.startswith("features.")})
    x_BCHW = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before, after = bare(x_BCHW), vgg(x_BCHW)
        for finer, pooled in zip(before[:4], after[:4], strict=True):
            assert torch.equal(F.max_pool2d(finer, 2), pooled)
        fc6, _, _, fc7, *_ = vgg.get_submodule("classifier").children()
        assert isinstance(fc6, nn.Conv2d)
        assert (fc6.kernel_size, fc6.padding) == ((7, 7), (3, 3))
        torch.testing.assert_close(after[4], F.relu(fc7(F.relu(fc6(before[5])))))


def test_alexnet_s_fc6_sees_two_cells_and_three() -> None:
    # fc7 (k, k) is centred on pixel 32 k + 15, the middle of its 32 pixels: fc6 sees cells k - 3 .. k + 2 of pool5.
    encoder = build_encoder("alexnet", 1, 2, fully_connected=True).eval()
    seen = []
    encoder.get_submodule("classifier").register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    with torch.inference_mode():
        encoder(torch.randn(1, 1, 96, 128))
    assert seen[0].shape[2:] == (3 + 1, 4 + 1)
    assert not seen[0][..., 0, :].any()
    assert not seen[0][..., :, 0].any()
    fc6 = encoder.get_submodule("classifier.1")
    assert isinstance(fc6, nn.Conv2d)
    assert (fc6.kernel_size, fc6.padding) == ((6, 6), (2, 2))


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101"])
@pytest.mark.parametrize(("output_stride", "step"), [(16, 2), (8, 4)])
def test_a_dilated_resnet_answers_as_the_strided_one_where_that_answers(
    name: str, output_stride: int, step: int
) -> None:
    # Dilation instead of strides gives the same values at the places that strides keep, and others between them.
    torch.manual_seed(0)
    strided, dilated = build_encoder(name, 1, 4).eval(), build_encoder(name, 1, 4, output_stride).eval()
    dilated.load_state_dict(strided.state_dict())
    x_BCHW = torch.randn(1, 1, 128, 128)
    with torch.inference_mode():
        for mine, theirs in zip(dilated(x_BCHW), strided(x_BCHW), strict=True):
            factor = mine.shape[2] // theirs.shape[2]
            torch.testing.assert_close(mine[..., ::factor, ::factor], theirs, rtol=1e-4, atol=1e-5)
    assert factor == step


def test_dilations_are_torchvision_s() -> None:
    # replace_stride_with_dilation = [False, True, True]: the block that would stride keeps the dilation before it.
    encoder = on_meta("resnet50", output_stride=8)
    found = [
        encoder.get_submodule(f"{layer}.conv2").dilation[0]  # type: ignore[index]  # a convolution
        for layer in ("layer2.0", "layer3.0", "layer3.1", "layer3.5", "layer4.0", "layer4.1", "layer4.2")
    ]
    assert found == [1, 1, 2, 2, 2, 4, 4]
    basic = on_meta("resnet18", output_stride=8)
    assert [
        basic.get_submodule(f"layer4.{name}").dilation[0]  # type: ignore[index]
        for name in ("0.conv1", "0.conv2", "1.conv1", "1.conv2")
    ] == [2, 4, 4, 4]


def test_a_dilated_vgg_is_deeplab_s() -> None:
    encoder = on_meta("vgg16", output_stride=8, fully_connected=True)
    pools = [layer for layer in encoder.modules() if isinstance(layer, nn.MaxPool2d)]
    assert [pool.stride for pool in pools] == [2, 2, 2, 1, 1]
    convs = [layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d)]
    assert [conv.dilation[0] for conv in convs] == [1] * 10 + [2, 2, 2, 4, 1]


def test_a_bottleneck_strides_in_its_3x3() -> None:
    block = Bottleneck(16, 8, 2)
    assert [conv.stride for conv in (block.conv1, block.conv2, block.conv3)] == [(1, 1), (2, 2), (1, 1)]


def test_a_block_adds_its_input_before_the_last_relu() -> None:
    block = BasicBlock(2, 2, 1).eval()
    torch.nn.init.zeros_(block.bn2.weight)
    torch.nn.init.constant_(block.bn2.bias, -1.0)
    x_BCHW = torch.tensor([[[[0.5, 3.0]], [[-2.0, 1.0]]]])
    assert block.downsample is None
    assert block(x_BCHW).tolist() == [[[[0.0, 2.0]], [[0.0, 0.0]]]]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet19", {}, r"no encoder 'resnet19'.*alexnet, vgg16, resnet18.*timm:NAME"),
        ("resnet18", {"output_stride": 4}, "'resnet18' has 8, 16 or 32"),
        ("alexnet", {"output_stride": 8}, "'alexnet' has 32"),
        ("resnet18", {"fully_connected": True}, "no fully connected layers to keep.*alexnet, vgg16"),
        ("timm:convnext_tiny", {"width": 8}, "'timm:convnext_tiny'.*has the width of its name"),
    ],
)
def test_what_there_is_not(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_encoder(name, 3, **options)


def test_without_timm_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"'timm:convnext_tiny' needs timm.*pip install 'maskwright\[timm\]'"):
        build("unet-timm:convnext_tiny", 3, 2)


class Whole(nn.Module):
    """A classification network as timm has them: a stem, two stages, and a head."""

    def __init__(self, in_chans: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_chans, 4, 4, stride=4)
        self.stages = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 8, 2, stride=2))
        self.head = nn.ModuleDict({"norm": nn.LayerNorm(8), "fc": nn.Linear(8, 1000)})


class Features(nn.Module):
    """The same network as timm's `features_only` gives it: names flattened by one level, no head, a list of maps."""

    def __init__(self, in_chans: int = 3, strides: tuple[int, ...] = (4, 8), fixed: bool = False) -> None:
        super().__init__()
        whole = Whole(in_chans)
        self.stem, self.stages_0, self.stages_1 = whole.stem, *whole.stages
        self.feature_info = SimpleNamespace(reduction=lambda: list(strides), channels=lambda: [4, 8])
        self.pretrained_cfg = {"mean": (0.5, 0.4, 0.3), "std": (0.1, 0.2, 0.3)}
        self.fixed = fixed

    def forward(self, x_BCHW: torch.Tensor) -> list[torch.Tensor]:
        assert not self.fixed, "Input height (16) doesn't match model (224)."
        fine = self.stages_0(self.stem(x_BCHW))
        return [fine, self.stages_1(fine)]


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that behaves as timm does, which cannot be imported here; `benchmarks/parity.py` runs the real one."""

    def create_model(name: str, *, pretrained: bool, features_only: bool = False, **options: Any) -> nn.Module:
        assert not pretrained
        if name == "net":
            return Features(**options) if features_only else Whole()
        if name == "vit":
            return Features(strides=(16, 16), **options)
        if name == "swin":
            return Features(fixed=True, **options)
        raise RuntimeError(f"Unknown model ({name})")

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))


@pytest.mark.usefixtures("timm")
def test_a_backbone_of_timm_is_an_encoder() -> None:
    network = build("unet-timm:net", 5, 3, {"widths": [8, 8, 8]})
    encoder = network.get_submodule("encoder")
    assert isinstance(encoder, Encoder)
    assert (encoder.stride, encoder.strides, encoder.channels) == (8, (4, 8), (4, 8))
    assert (encoder.mean, encoder.std) == ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
    assert encoder.training
    assert network(torch.randn(2, 5, 16, 24)).shape == (2, 3, 16, 24)
    assert "width" not in model_options("unet-timm:net")


@pytest.mark.usefixtures("timm")
def test_weights_of_timm_s_whole_model_fill_its_backbone(tmp_path: Path) -> None:
    whole = Whole()
    torch.save(whole.state_dict(), tmp_path / "net.pth")
    encoder = build_encoder("timm:net", 4)
    origin = load_encoder(encoder, tmp_path / "net.pth")
    state = encoder.state_dict()
    assert torch.equal(state["model.stages_1.weight"], whole.state_dict()["stages.1.weight"])
    assert torch.equal(state["model.stem.weight"][:, 3], whole.stem.weight[:, 0] * 0.75)
    assert (origin.kind, origin.mean, origin.std) == ("timm", (0.5, 0.4, 0.3, 0.5), (0.1, 0.2, 0.3, 0.1))
    torch.save({**whole.state_dict(), "stages.2.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match=r"1 unexpected: stages\.2\.weight"):
        load_encoder(encoder, tmp_path / "other.pth")


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", r"timm makes no encoder 'nothing' \(Unknown model"),
        ("vit", r"strides \[16, 16\]\. Expected strides that grow"),
        ("swin", "does not take images of every size that 8 divides"),
    ],
)
def test_backbones_that_are_no_encoders_are_refused(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_encoder(f"timm:{name}", 3)


@pytest.mark.parametrize("name", ["gcn", "refinenet", "deeplabv3+"])
def test_a_network_says_which_maps_it_misses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Deep(Encoder):
        def __init__(self, in_channels: int, width: int, output_stride: int = 32) -> None:
            super().__init__()
            self.stride, self.strides, self.channels = 32, (8, 16, 32), (width, width, width)

    monkeypatch.setitem(sys.modules, "maskwright.models.deep", SimpleNamespace(Deep=Deep))
    monkeypatch.setitem(ENCODERS, "deep", Row(file="deep", make="Deep"))
    with pytest.raises(ModelError, match=r"'deep' gives maps at 1/8, 1/16, 1/32 .* needs one at 1/4"):
        build(name, 3, 2, {"encoder": "deep"})


def test_an_fcn_says_which_maps_it_misses() -> None:
    with pytest.raises(ModelError, match=r"'alexnet' gives maps at 1/8, 1/16, 1/32 .* needs one at 1/4"):
        FCN(3, 2, skips=(4,), encoder="alexnet", width=8)

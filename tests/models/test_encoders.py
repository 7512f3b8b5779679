"""ResNet encoders have torchvision's names, shapes and counts."""

from __future__ import annotations

import pytest
import torch

from maskwright.models.encoders import ENCODERS, STRIDES, BasicBlock, Bottleneck, build_encoder


def on_meta(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        return build_encoder(name, 3)


@pytest.mark.parametrize(
    ("name", "parameters", "tensors"),
    # torchvision's published counts without fc (512 x 1000 + 1000, or 2048 x 1000 + 1000), and its state dictionary.
    [
        ("resnet18", 11_689_512 - 513_000, 122 - 2),
        ("resnet34", 21_797_672 - 513_000, 218 - 2),
        ("resnet50", 25_557_032 - 2_049_000, 320 - 2),
    ],
)
def test_counts_are_torchvision_s(name: str, parameters: int, tensors: int) -> None:
    encoder = on_meta(name)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters
    assert len(encoder.state_dict()) == tensors


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        (
            "resnet18",
            {
                "conv1.weight": (64, 3, 7, 7),
                "bn1.running_var": (64,),
                "layer1.0.conv1.weight": (64, 64, 3, 3),
                "layer1.1.bn2.num_batches_tracked": (),
                "layer2.0.conv1.weight": (128, 64, 3, 3),
                "layer2.0.downsample.0.weight": (128, 64, 1, 1),
                "layer2.0.downsample.1.bias": (128,),
                "layer4.1.conv2.weight": (512, 512, 3, 3),
            },
        ),
        ("resnet34", {"layer3.5.conv2.weight": (256, 256, 3, 3), "layer3.0.downsample.0.weight": (256, 128, 1, 1)}),
        (
            "resnet50",
            {
                "layer1.0.conv1.weight": (64, 64, 1, 1),
                "layer1.0.conv3.weight": (256, 64, 1, 1),
                "layer1.0.downsample.0.weight": (256, 64, 1, 1),
                "layer2.0.conv1.weight": (128, 256, 1, 1),
                "layer3.5.bn3.weight": (1024,),
                "layer4.2.conv2.weight": (512, 512, 3, 3),
            },
        ),
    ],
)
def test_names_and_shapes_are_torchvision_s(name: str, shapes: dict[str, tuple[int, ...]]) -> None:
    state = on_meta(name).state_dict()
    assert {key: tuple(state[key].shape) for key in shapes} == shapes
    assert not any(key.startswith(("fc.", "layer1.0.downsample")) for key in state if name != "resnet50")


@pytest.mark.parametrize("name", list(ENCODERS))
def test_five_maps_at_five_strides(name: str) -> None:
    encoder = build_encoder(name, 2, width=8)
    maps = encoder.eval()(torch.randn(1, 2, 64, 96))
    assert encoder.channels == ((8, 8, 16, 32, 64) if name != "resnet50" else (8, 32, 64, 128, 256))
    assert [tuple(m.shape) for m in maps] == [
        (1, c, 64 // s, 96 // s) for c, s in zip(encoder.channels, STRIDES, strict=True)
    ]


def test_published_width_by_default() -> None:
    with torch.device("meta"):
        encoders = [build_encoder(name, 3) for name in ENCODERS]
    assert [encoder.channels for encoder in encoders] == [
        (64, 64, 128, 256, 512),
        (64, 64, 128, 256, 512),
        (64, 256, 512, 1024, 2048),
    ]


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

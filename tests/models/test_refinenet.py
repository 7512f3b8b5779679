"""RefineNet: residual convolution units, fusion at the finer resolution, chained pooling, no batch norm of its own."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.models import build
from maskwright.models.refinenet import (
    ChainedResidualPooling,
    MultiResolutionFusion,
    RefineBlock,
    RefineNet,
    ResidualConvUnit,
)

# torchvision's published counts less the 1000-way classifier.
RESNET50 = 25_557_032 - 2_049_000
RESNET101 = 44_549_160 - 2_049_000


def pass_on(module: nn.Module) -> None:
    """Every 3x3 convolution shows its first input channel."""
    for conv in module.modules():
        if isinstance(conv, nn.Conv2d):
            nn.init.zeros_(conv.weight)
            nn.init.ones_(conv.weight[:, :1, 1, 1])


def test_a_residual_unit_is_two_convolutions_each_behind_a_relu() -> None:
    torch.manual_seed(0)
    unit = ResidualConvUnit(3)
    x_BChw = torch.randn(2, 3, 5, 6)
    with torch.inference_mode():
        inner = F.conv2d(x_BChw.clamp(min=0), unit.conv1.weight, unit.conv1.bias, padding=1)
        expected = x_BChw + F.conv2d(inner.clamp(min=0), unit.conv2.weight, padding=1)
        torch.testing.assert_close(unit(x_BChw), expected)
    assert unit.conv2.bias is None


def test_chained_pooling_adds_each_step_of_the_chain() -> None:
    module = ChainedResidualPooling(1)
    pass_on(module)
    impulse = torch.full((1, 1, 13, 13), -1.0)
    impulse[0, 0, 6, 6] = 1
    # relu leaves the impulse; 5x5 pooling spreads it by 2, a second one on top of it by 4.
    expected = torch.zeros(13, 13)
    for spread in (0, 2, 4):
        expected[6 - spread : 7 + spread, 6 - spread : 7 + spread] += 1
    with torch.inference_mode():
        assert torch.equal(module(impulse)[0, 0], expected)


def test_fusion_sums_the_paths_at_the_finest_size() -> None:
    module = MultiResolutionFusion((2, 3), 1)
    pass_on(module)
    coarse, fine = torch.randn(1, 2, 3, 4), torch.randn(1, 3, 6, 8)
    expected = F.interpolate(coarse[:, :1], scale_factor=2.0, mode="bilinear", align_corners=False) + fine[:, :1]
    with torch.inference_mode():
        torch.testing.assert_close(module((coarse, fine)), expected)


def test_a_block_is_units_fusion_pooling_and_a_unit() -> None:
    torch.manual_seed(0)
    block, alone = RefineBlock((8, 4), 4), RefineBlock((4,), 4)
    coarse, fine = torch.randn(1, 8, 3, 4), torch.randn(1, 4, 6, 8)
    with torch.inference_mode():
        assert block.fuse is not None
        fused = block.fuse([block.adapt[0](coarse), block.adapt[1](fine)])
        torch.testing.assert_close(block(coarse, fine), block.output(block.pool(fused)))
        torch.testing.assert_close(alone(fine), alone.output(alone.pool(alone.adapt[0](fine))))
    assert alone.fuse is None
    units = [sum(isinstance(module, ResidualConvUnit) for module in each.modules()) for each in (block, alone)]
    assert units == [2 + 2 + 1, 2 + 1]


def test_four_blocks_go_from_stride_32_to_4() -> None:
    with torch.device("meta"):
        network = RefineNet(3, 5)
    seen: list[tuple[int, ...]] = []
    for block in network.refine:
        block.register_forward_hook(lambda _module, _args, out: seen.append(tuple(out.shape)))
    assert network(torch.empty(2, 3, 64, 96, device="meta")).shape == (2, 5, 64, 96)
    assert seen == [(2, 512, 2, 3), (2, 256, 4, 6), (2, 256, 8, 12), (2, 256, 16, 24)]


def test_there_is_no_batch_norm_outside_the_encoder() -> None:
    network = RefineNet(3, 2, encoder="resnet18", width=4)
    normed = {name.split(".")[0] for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert normed == {"encoder"}


def test_weights_start_with_the_authors_deviation() -> None:
    torch.manual_seed(0)
    wide, narrow = ResidualConvUnit(256).conv1.weight, ResidualConvUnit(64).conv1.weight
    assert abs(wide.std().item() / 0.01 - 1) < 0.02
    # A quarter of the channels, the same variance of the output.
    assert abs(narrow.std().item() / 0.02 - 1) < 0.02


def test_parameters() -> None:
    def conv(inputs: int, outputs: int) -> int:
        return 9 * inputs * outputs

    def unit(channels: int) -> int:
        return 2 * conv(channels, channels) + channels

    def block(*inputs: int) -> int:
        """Two units a path, a convolution a path if there are several, two of the chained pooling, one unit."""
        out = inputs[-1]
        fusion = sum(conv(channels, out) for channels in inputs) if len(inputs) > 1 else 0
        return sum(2 * unit(channels) for channels in inputs) + fusion + 2 * conv(out, out) + unit(out)

    reduce = conv(2048, 512) + conv(1024, 256) + conv(512, 256) + conv(256, 256)
    blocks = block(512) + block(512, 256) + 2 * block(256, 256)
    classifier = 2 * unit(256) + conv(256, 21) + 21
    with torch.device("meta"):
        networks = build("refinenet", 3, 21), build("refinenet-resnet101", 3, 21)
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert counts == [RESNET50 + reduce + blocks + classifier, RESNET101 + reduce + blocks + classifier]
    assert counts[0] == 90_802_773

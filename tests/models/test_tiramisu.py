"""FC-DenseNet: the paper's layers, maps and parameters, and dense blocks that leave their input out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskwright.errors import ModelError
from maskwright.models import build
from maskwright.models.summary import count_parameters
from maskwright.models.tiramisu import DenseBlock, FCDenseNet, TransitionUp

DEPTHS = {56: (4, 4, 4, 4, 4, 4), 67: (5, 5, 5, 5, 5, 5), 103: (4, 5, 7, 10, 12, 15)}
GROWTH = {56: 12, 67: 16, 103: 16}


def derived_parameters(layers: int, in_channels: int, classes: int) -> int:
    """Section 3 and table 1, added up: a layer is batch norm (two numbers a map) and a convolution with biases."""
    depths, growth = DEPTHS[layers], GROWTH[layers]

    def dense_block(m: int, depth: int) -> int:
        return sum(2 * (m + n * growth) + 9 * (m + n * growth) * growth + growth for n in range(depth))

    total = 9 * in_channels * 48 + 48
    m, skips = 48, []
    for depth in depths[:-1]:
        total += dense_block(m, depth)
        m += depth * growth
        skips.append(m)
        total += 2 * m + m * m + m  # transition down, 1x1
    total += dense_block(m, depths[-1])
    made = depths[-1] * growth
    for depth, skip in zip(reversed(depths[:-1]), reversed(skips), strict=True):
        total += 9 * made * made + made  # transition up, 3x3 transposed
        m = made + skip
        total += dense_block(m, depth)
        made = depth * growth
    return total + (m + made) * classes + classes


@pytest.mark.parametrize(
    ("layers", "expected", "millions"), [(56, 1_376_795, 1.4), (67, 3_463_243, 3.5), (103, 9_322_091, 9.3)]
)
def test_parameters(layers: int, expected: int, millions: float) -> None:
    # The paper's table 3 has 1.5, 3.5 and 9.4 million; its own table 2 and released code add up to these.
    assert derived_parameters(layers, 3, 11) == expected
    assert round(expected / 1e6, 1) == millions
    with torch.device("meta"):
        assert count_parameters(build(f"tiramisu{layers}", 3, 11)) == expected


@pytest.mark.parametrize("layers", [56, 67, 103])
def test_the_name_counts_the_convolutions(layers: int) -> None:
    with torch.device("meta"):
        network = build(f"tiramisu{layers}", 3, 11)
    assert sum(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in network.modules()) == layers


def test_maps_are_those_of_table_2() -> None:
    with torch.device("meta"):
        network = build("tiramisu103", 3, 11)
    assert isinstance(network, FCDenseNet)
    ends: list[int] = []
    for block in (*network.down, network.bottleneck, *network.up):
        # The last layer sees all maps of its block but its own.
        *_, last = (module for module in block.modules() if isinstance(module, nn.Conv2d))
        ends.append(last.in_channels + last.out_channels)
    # The paper prints 578 for the third block up, where 160 + 304 + 7 x 16 make 576.
    assert ends == [112, 192, 304, 464, 656, 896, 1088, 816, 576, 384, 256]
    assert network.output.in_channels == 256


def test_a_block_returns_what_it_made_and_each_layer_sees_all_before() -> None:
    torch.manual_seed(0)
    block = DenseBlock(5, 3, 2, dropout=0.0).eval()
    seen: list[torch.Tensor] = []
    for layer in block.layers:
        layer.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    x_BCHW = torch.randn(1, 5, 4, 4)
    made_BCHW = block(x_BCHW)
    assert made_BCHW.shape == (1, 6, 4, 4), "two layers of three maps, without the five of the input"
    assert torch.equal(seen[0], x_BCHW)
    assert torch.equal(seen[1], torch.cat([x_BCHW, made_BCHW[:, :3]], 1))


def test_on_the_way_up_only_new_maps_are_upsampled_and_on_the_way_down_all_go_on() -> None:
    torch.manual_seed(0)
    network = FCDenseNet(3, 2, depths=(2, 3), growth=4, width=48).eval()
    assert isinstance(network.transition_up[0], TransitionUp)
    assert network.transition_up[0].conv.in_channels == 3 * 4
    assert network.bottleneck.layers[0].get_submodule("2").get_parameter("weight").shape[1] == 48 + 2 * 4
    # The last block's input goes to the classes: 12 upsampled, 56 of the skip, 8 of its own.
    assert network.output.in_channels == 12 + 56 + 8


def test_a_transition_up_doubles_and_puts_the_skip_second() -> None:
    up = TransitionUp(2)
    nn.init.zeros_(up.conv.weight)
    with torch.no_grad():
        up.conv.weight[0, 0, 0, 0] = 1.0  # a pixel goes to the first of its four
    assert up.conv.bias is not None
    nn.init.zeros_(up.conv.bias)
    x_BChw = torch.tensor([[[[1.0, 2.0]], [[9.0, 9.0]]]])
    out = up(x_BChw, torch.full((1, 1, 2, 4), 5.0))
    assert out[0].tolist() == [[[1, 0, 2, 0], [0, 0, 0, 0]], [[0] * 4] * 2, [[5] * 4] * 2]


def test_growth_goes_with_the_width() -> None:
    narrow = FCDenseNet(3, 2, depths=(2, 2), growth=16, width=12)
    assert narrow.first.out_channels == 12
    assert narrow.bottleneck.layers[0].get_submodule("2").get_parameter("weight").shape[0] == 4


def test_an_impossible_dropout_is_refused() -> None:
    with pytest.raises(ModelError, match=r"dropout = 1\.0"):
        build("tiramisu56", 3, 2, {"dropout": 1.0})

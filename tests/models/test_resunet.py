"""ResUNet: the paper's parameters, strided units, and shortcuts that are sums."""

from __future__ import annotations

import torch
from torch import nn

from maskwright.models import build
from maskwright.models.resunet import PreactivatedUnit, ResUNet
from maskwright.models.summary import count_parameters

# (input channels, output channels) of the seven units of table 1, for RGB; doubled maps join those of the encoder.
UNITS = [(3, 64), (64, 128), (128, 256), (256, 512), (512 + 256, 256), (256 + 128, 128), (128 + 64, 64)]


def test_parameters_are_the_paper_s_and_the_shortcuts() -> None:
    table_1 = sum(9 * a * b + 9 * b * b for a, b in UNITS) + 64
    assert round(table_1 / 1e6, 1) == 7.8, "the paper's figure counts these alone"
    biases = sum(2 * b for _, b in UNITS)
    norms = sum(2 * a for a, _ in UNITS[1:]) + sum(2 * b for _, b in UNITS)
    shortcuts = sum(a * b + 2 * b for a, b in UNITS)
    output = 2 * (64 + 1) - 64
    with torch.device("meta"):
        network = build("resunet", 3, 2)
    assert count_parameters(network) == table_1 + biases + norms + shortcuts + output == 8_222_466


def test_a_unit_halves_by_its_stride_and_adds_its_shortcut() -> None:
    torch.manual_seed(0)
    unit = PreactivatedUnit(3, 5, stride=2).eval()
    x_BCHW = torch.randn(1, 3, 8, 6)
    assert unit(x_BCHW).shape == (1, 5, 4, 3)
    nn.init.zeros_(unit.conv2.weight)
    assert unit.conv2.bias is not None
    nn.init.constant_(unit.conv2.bias, 7.0)
    torch.testing.assert_close(unit(x_BCHW), unit.shortcut(x_BCHW) + 7)


def test_a_unit_normalises_and_cuts_before_its_convolution() -> None:
    unit = PreactivatedUnit(1, 1).eval()
    nn.init.ones_(unit.conv1.weight)
    seen: list[torch.Tensor] = []
    unit.conv1.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    x_BCHW = torch.tensor([[[[-2.0, 3.0]]]])
    unit(x_BCHW)
    torch.testing.assert_close(seen[0], torch.tensor([[[[0.0, 3.0]]]]), rtol=1e-4, atol=0)
    assert x_BCHW.tolist() == [[[[-2.0, 3.0]]]], "the shortcut sees the unit's input as it came"


def test_nothing_pools() -> None:
    assert not [module for module in ResUNet(3, 2, widths=(4, 8)).modules() if isinstance(module, nn.MaxPool2d)]

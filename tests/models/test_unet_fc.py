"""U-Net with dense layers: they see the whole map, tell places apart, and take any size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskwright.models import build
from maskwright.models.summary import count_parameters
from maskwright.models.unet_fc import DenseContext, UNetFC


def identity_context(channels: int, grid: int) -> DenseContext:
    """Dense layers and convolutions that change nothing, so that a positive map is added to itself."""
    context = DenseContext(channels, channels, grid).eval()
    for module in context.modules():
        if isinstance(module, nn.Linear):
            nn.init.eye_(module.weight)
        elif isinstance(module, nn.Conv2d):
            nn.init.dirac_(module.weight)
        if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
    return context


def test_cells_keep_their_places() -> None:
    context = identity_context(2, grid=3)
    x_BChw = torch.arange(18.0).reshape(1, 2, 3, 3)
    torch.testing.assert_close(context(x_BChw), 2 * x_BChw)


def test_cells_are_means_and_are_spread_bilinearly() -> None:
    x_BChw = torch.tensor([[[[1.0, 3.0, 5.0, 7.0]] * 4]])
    # Two cells of means 2 and 6; bilinear over four pixels: 2, 3, 5, 6.
    expected = x_BChw + torch.tensor([2.0, 3.0, 5.0, 6.0])
    torch.testing.assert_close(identity_context(1, grid=2)(x_BChw), expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 7), (13, 5)])
def test_any_size(size: tuple[int, int]) -> None:
    x_BChw = torch.full((1, 2, *size), 3.0)
    torch.testing.assert_close(identity_context(2, grid=4)(x_BChw), 2 * x_BChw)


def test_every_place_depends_on_every_other() -> None:
    torch.manual_seed(0)
    context = DenseContext(4, 4, grid=4).eval()
    x_BChw = torch.rand(1, 4, 20, 20, requires_grad=True)
    context(x_BChw)[0, :, 0, 0].sum().backward()
    assert x_BChw.grad is not None
    assert x_BChw.grad[0, :, 16:, 16:].any(), "the opposite corner"


def test_parameters() -> None:
    widths = (64, 128, 256, 512, 1024)

    def pair(before: int, after: int) -> int:
        return 9 * before * after + 9 * after * after + 2 * 2 * after

    down = sum(pair(a, b) for a, b in zip((3, *widths), widths, strict=False))
    up = sum(2 * 2 * 2 * w * w + w + pair(2 * w, w) for w in widths[:-1])
    units = 64 * 4 * 4
    dense = 2 * (units * units + units) + (1024 * 64 + 64) + (64 * 1024 + 1024)
    with torch.device("meta"):
        network = build("unet-fc", 3, 11)
    assert count_parameters(network) == down + up + dense + (64 * 11 + 11) == 33_269_643


def test_a_single_width_is_a_network_without_pooling() -> None:
    network = UNetFC(3, 2, widths=(4,), squeezed=2, grid=2).eval()
    assert network.stride == 1
    assert network(torch.randn(1, 3, 5, 7)).shape == (1, 2, 5, 7)

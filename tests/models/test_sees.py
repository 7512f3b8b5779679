"""Receptive fields and strides of the table, measured: a pixel that is not a number spoils what depends on it."""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch
from tests.models.test_contract import narrow
from torch import nn
from torch.nn import functional as F

from maskwright.models import MODELS, build


def field(network: nn.Module, stride: int, width: int) -> int | None:
    """How many columns of an image (`width` pixels) can change one column of the logits, the most; None: all.

    `stride` images, in each of which one of as many neighbouring columns is spoilt. What a column sees is the same
    `stride` columns further on, so these tell what every column sees.
    """
    middle = width // 2 // stride * stride
    x_BCHW = torch.rand(stride, 3, stride, width)
    x_BCHW[range(stride), :, :, range(middle, middle + stride)] = torch.nan
    with torch.no_grad():
        spoilt_BW = network(x_BCHW).isnan().any(1).any(1)
    if spoilt_BW.all():
        return None
    seen = defaultdict(list)
    for index, column in spoilt_BW.nonzero().tolist():
        seen[column % stride].append(index - column)
    widest: int = max(max(columns) - min(columns) + 1 for columns in seen.values())
    return widest


def coarsest(network: nn.Module, stride: int) -> int:
    """Pixels per side that a place of the coarsest map stands for, of those maps that grow with the image."""
    widths: list[list[int]] = []

    def note(_module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        maps = [one for one in (*inputs, output) if isinstance(one, torch.Tensor) and one.ndim == 4]
        widths[-1].extend(one.shape[3] for one in maps)

    for module in network.modules():
        module.register_forward_hook(note)
    for image in (4 * stride, 8 * stride):
        widths.append([])
        with torch.no_grad():
            network(torch.rand(1, 3, stride, image))
    strides: list[int] = [4 * stride // small for small, large in zip(*widths, strict=True) if large == 2 * small]
    return max(strides)


def alive(network: nn.Module) -> nn.Module:
    """In evaluation, with no weight at 0, which would hide what is seen."""
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return network.eval()


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([nn.Conv2d(3, 1, 3, padding=1)], 3),
        ([nn.Conv2d(3, 1, 3, padding=2, dilation=2), nn.Conv2d(1, 1, 3, padding=4, dilation=4)], 1 + 4 + 8),
        # 3 pixels, then two steps of 2 of them.
        ([nn.Conv2d(3, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, padding=1), nn.Upsample(scale_factor=2)], 3 + 2 * 2),
        # Bilinear: two neighbours of 2 pixels; a 2x2 transposed convolution of stride 2: one; a 4x4 one: two.
        ([nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear")], 4),
        ([nn.MaxPool2d(2), nn.ConvTranspose2d(3, 1, 2, 2)], 2),
        ([nn.MaxPool2d(2), nn.ConvTranspose2d(3, 1, 4, 2, 1)], 4),
        ([nn.AdaptiveAvgPool2d(1), nn.Upsample(scale_factor=64)], None),
    ],
)  # fmt: skip
def test_the_measure_by_hand(layers: list[nn.Module], expected: int | None) -> None:
    assert field(nn.Sequential(*layers).eval(), 2, 64) == expected


def slow(name: str) -> bool:
    """Whether it takes seconds, and has a smaller sister that is built of the same layers."""
    return "resnet101" in name or name in ("tiramisu67", "tiramisu103", "unet-resnet34", "refinenet", "fcn8s-resnet34")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.soak] * slow(name)) for name in MODELS])
def test_what_the_table_says_is_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A value that is put back to where it came from may stand anywhere in its square.
    monkeypatch.setattr(F, "max_unpool2d", lambda x_BCHW, *_: F.interpolate(x_BCHW, scale_factor=2.0))
    torch.manual_seed(0)
    network, row = alive(build(name, 3, 2, narrow(name))), MODELS[name]
    assert row.sees is not None
    stride = int(str(network.stride))
    width = 64 * stride if row.sees[0] is None else (2 * row.sees[0] // stride + 4) * stride
    assert (field(network, stride, width), coarsest(network, stride)) == row.sees

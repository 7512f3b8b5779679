"""Counts against published and hand-made figures."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskwright.errors import ModelError
from maskwright.models import MODELS, build
from maskwright.models.encoders import build_encoder
from maskwright.models.fcn import FlatFCN
from maskwright.models.summary import count_flops, count_parameters, layer_rows, layer_table, overview, summarize


def test_operations_of_a_small_network_by_hand() -> None:
    network = FlatFCN(3, 2, depth=2, width=4)
    # Multiply-adds per pixel: 3x3 from 3 to 4, 3x3 from 4 to 4, 1x1 from 4 to 2; two operations each; 5 x 6 pixels.
    assert count_flops(network, 3, (5, 6)) == 2 * 30 * (9 * 3 * 4 + 9 * 4 * 4 + 4 * 2)
    rows = layer_rows(network, 3, (5, 6))
    assert [(row.name, row.kind, row.shape) for row in rows] == [
        ("convs.0", "Conv2d", (4, 5, 6)),
        ("convs.1", "Conv2d", (4, 5, 6)),
        ("score", "Conv2d", (2, 5, 6)),
    ]
    assert [row.parameters for row in rows] == [27 * 4 + 4, 36 * 4 + 4, 4 * 2 + 2]
    assert rows[1].gflops == pytest.approx(2 * 30 * 9 * 16 / 1e9)


def test_counting_leaves_the_network_and_the_generator_alone() -> None:
    torch.manual_seed(0)
    network = FlatFCN(1, 2, depth=1, width=2).train()
    weight = network.score.weight.clone()
    before = torch.get_rng_state()
    count_flops(network, 1, (4, 4))
    summarize("unet")
    assert torch.equal(torch.get_rng_state(), before)
    assert network.training
    assert torch.equal(network.score.weight, weight)


def test_the_classic_unet() -> None:
    row = summarize("unet", in_channels=1)
    assert row.parameters == 31_031_685
    assert round(row.gflops, 1) == 109.2
    assert row.stride == 16
    assert "1505.04597" in row.paper


@pytest.mark.parametrize(
    ("name", "giga_multiply_adds"), [("resnet18", 1.814), ("resnet34", 3.663), ("resnet50", 4.087)]
)
def test_encoders_cost_what_is_published(name: str, giga_multiply_adds: float) -> None:
    # torchvision's table, at 224 x 224, less the classifier (0.0005 and 0.002).
    with torch.device("meta"):
        encoder = build_encoder(name, 3)
    assert count_flops(encoder, 3, (224, 224)) / 2e9 == pytest.approx(giga_multiply_adds, abs=0.003)


def test_overview_has_every_network() -> None:
    rows = overview()
    assert [row.name for row in rows] == list(MODELS)
    by_name = {row.name: row for row in rows}
    # The encoder, and per class a 1x1 score of 512, 256 and 128 channels with its bias, and two learned 4x4 steps.
    assert by_name["fcn8s"].parameters == 11_176_512 + 2 * (512 + 256 + 128) + 3 * 2 + 2 * (2 * 2 * 16)
    assert by_name["fcn32s-resnet50"].parameters == 23_508_032 + 2 * 2048 + 2
    assert all(row.gflops > 0 for row in rows)
    assert "1411.4038" in by_name["fcn16s"].paper


@pytest.mark.parametrize("name", list(MODELS))
def test_layers_add_up_to_the_network(name: str) -> None:
    row, layers = summarize(name, classes=5), layer_table(name, classes=5)
    assert sum(layer.parameters for layer in layers) == row.parameters
    assert sum(layer.gflops for layer in layers) == pytest.approx(row.gflops)


def test_a_shared_layer_is_listed_twice_and_counted_once() -> None:
    conv = nn.Conv2d(2, 2, 1)
    rows = layer_rows(nn.Sequential(conv, nn.ReLU(), conv), 2, (4, 4))
    assert [row.parameters for row in rows] == [6, 0, 0]
    assert [row.name for row in rows] == ["0", "1", "0"]


def test_frozen_parameters_are_not_counted() -> None:
    conv = nn.Conv2d(2, 3, 1)
    conv.weight.requires_grad_(False)
    assert count_parameters(conv) == 3


def test_a_network_that_cannot_train_at_this_size_is_counted() -> None:
    # Batch norm over a single value per channel raises in training mode.
    assert count_flops(build("fcn8s", 3, 2, {"width": 8}).train(), 3, (32, 32)) > 0


def test_options_and_impossible_sizes() -> None:
    assert summarize("unet", options={"widths": [4, 8]}, size=(6, 10)).stride == 2
    with pytest.raises(ModelError, match="size = 250x256: the network 'unet' takes multiples of 16"):
        summarize("unet", size=(250, 256))
    with pytest.raises(ModelError, match="no network 'unett'"):
        layer_table("unett")

"""Counts against published and hand-made figures."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from maskwright.errors import ModelError
from maskwright.models import MODELS, build, summary
from maskwright.models.encoders import build_encoder
from maskwright.models.fcn import FlatFCN
from maskwright.models.pretrained import LICENCES
from maskwright.models.summary import (
    NetworkSummary,
    Speed,
    count_flops,
    count_parameters,
    facts,
    layer_rows,
    layer_table,
    licence_notes,
    measure,
    overview,
    overview_table,
    summarize,
)


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
    assert (row.stride, row.output_stride) == (16, 16)
    assert "1505.04597" in row.paper
    assert (row.weights, row.licence) == ("", "")


def test_what_a_network_sees() -> None:
    flat = summarize("fcn-flat")
    # Eight 3x3 convolutions, one pixel further to each side each.
    assert (flat.receptive_field, flat.stride, flat.output_stride) == (17, 1, 1)
    # A pyramid with a bin for the whole image, on maps at an eighth.
    pyramid = summarize("pspnet")
    assert (pyramid.receptive_field, pyramid.output_stride) == (None, 8)


def test_heads_that_only_train_are_counted_apart() -> None:
    row = summarize("bisenetv2", classes=19)
    assert row.parameters == 3_358_243
    assert row.training_parameters == 3_358_243 + 287_308


@pytest.mark.parametrize(
    ("name", "weights"),
    [("fcn8s", "resnet18"), ("unet-vgg16", "vgg16"), ("segformer-b1", "segformer-b1"), ("enet", "")],
)
def test_licences_of_published_weights(name: str, weights: str) -> None:
    row = summarize(name)
    assert row.weights == weights
    assert row.licence == (LICENCES[weights] if weights else "")


def test_what_people_are_shown() -> None:
    rows = [summarize("fcn8s"), summarize("segformer-b0")]
    columns, (fcn, segformer) = overview_table(rows)
    assert columns == ("name", "parameters", "GFLOPs", "stride", "field", "weights", "paper")
    assert fcn == ("fcn8s", "11,178,438", "4.7", "32", "499", "resnet18", "Long et al. 2015, arXiv:1411.4038")
    assert segformer[4] == "all"
    columns, (timed, _) = overview_table(rows, {row.name: Speed(train=1.25, predict=3.0) for row in rows})
    assert columns[5:7] == ("train/s", "predict/s")
    assert timed[5:7] == ("1.2", "3.0")
    assert licence_notes([*rows, rows[0]]) == [
        f"Weights of resnet18: {LICENCES['resnet18']}.",
        f"Weights of segformer-b0: {LICENCES['segformer-b0']}.",
    ]


def test_a_network_is_described() -> None:
    assert facts(summarize("fcn-flat")) == [
        ("paper", "the idea before pooling; Long et al. 2015, arXiv:1411.4038, section 3"),
        ("parameters", "260,418"),
        ("GFLOPs", "34.1 at 256 x 256"),
        ("stride", "1; sides are padded to multiples of 1"),
        ("receptive field", "17 pixels"),
    ]
    told = dict(facts(summarize("deeplabv3"), Speed(train=0.5, predict=2.0)))
    assert told["parameters"] == "39,633,730, and 2,360,322 in heads that only train"
    assert told["receptive field"] == "the whole image"
    assert told["published weights"] == f"resnet50 ({LICENCES['resnet50']})"
    assert told["images per second"] == "0.5 training, 2.0 predicting"


@pytest.mark.parametrize("name", ["enet", "bisenetv2"])
def test_speed_is_measured_and_leaves_the_generator_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskwright.models.summary.TIMED_SIZE", 64)
    monkeypatch.setattr("maskwright.models.summary.TIMED_SECONDS", 0.05)
    before = torch.get_rng_state()
    speed = measure(name)
    assert torch.equal(torch.get_rng_state(), before)
    # A step goes forward too, and back.
    assert 0 < speed.train < speed.predict


def test_speed_is_images_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 0.3, 1.0, 1.2, 2.0, 2.75])
    monkeypatch.setattr("maskwright.models.summary.time.perf_counter", lambda: next(seconds))
    calls: list[int] = []
    # The first step takes 0.3 s and is not counted; one takes 0.2, so half a second needs 2; they take 0.75.
    rate = summary._rate(lambda: calls.append(1), torch.device("cpu"))
    assert rate == pytest.approx(2 * 2 / 0.75)
    assert len(calls) == 1 + 1 + 2
    seconds = iter([0.0, 4.0])
    assert summary._rate(lambda: None, torch.device("cpu")) == 2 / 4, "a slow step is counted itself"


@pytest.mark.parametrize(
    ("name", "giga_multiply_adds"), [("resnet18", 1.814), ("resnet34", 3.663), ("resnet50", 4.087)]
)
def test_encoders_cost_what_is_published(name: str, giga_multiply_adds: float) -> None:
    # torchvision's table, at 224 x 224, less the classifier (0.0005 and 0.002).
    with torch.device("meta"):
        encoder = build_encoder(name, 3)
    assert count_flops(encoder, 3, (224, 224)) / 2e9 == pytest.approx(giga_multiply_adds, abs=0.003)


@cache
def every_network() -> tuple[list[NetworkSummary], list[tuple[int, int]]]:
    """The overview, made once, and what it told of its progress."""
    told: list[tuple[int, int]] = []
    return overview(lambda done, total: told.append((done, total))), told


def test_overview_has_every_network() -> None:
    rows, told = every_network()
    assert told == [(place, len(MODELS)) for place in range(1, len(MODELS) + 1)]
    assert [row.name for row in rows] == list(MODELS)
    by_name = {row.name: row for row in rows}
    # The encoder, and per class a 1x1 score of 512, 256 and 128 channels with its bias, and two learned 4x4 steps.
    assert by_name["fcn8s"].parameters == 11_176_512 + 2 * (512 + 256 + 128) + 3 * 2 + 2 * (2 * 2 * 16)
    assert by_name["fcn32s-resnet50"].parameters == 23_508_032 + 2 * 2048 + 2
    assert all(row.gflops > 0 for row in rows)
    assert all(0 < row.parameters <= row.training_parameters for row in rows)
    assert all(row.receptive_field is None or row.receptive_field > row.output_stride for row in rows)
    assert all(row.paper for row in rows)
    assert "1411.4038" in by_name["fcn16s"].paper


@pytest.mark.parametrize("place", range(len(MODELS)), ids=list(MODELS))
def test_layers_add_up_to_the_network(place: int) -> None:
    row = every_network()[0][place]
    layers = layer_table(row.name)
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

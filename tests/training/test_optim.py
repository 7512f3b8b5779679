from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from maskwright.errors import SettingError
from maskwright.training.optim import QUINTICS, Average, Muon, lr_factor, make_optimizer, orthogonal


def test_the_cosine_rate_warms_up_and_reaches_its_end() -> None:
    assert lr_factor(0, 0.1, "cosine") == pytest.approx(1e-3)
    assert lr_factor(0.05, 0.1, "cosine") == pytest.approx(0.5005)
    assert lr_factor(0.1, 0.1, "cosine") == 1
    assert lr_factor(0.55, 0.1, "cosine") == pytest.approx(0.5)
    assert lr_factor(1.0, 0.1, "cosine") == pytest.approx(0)
    assert lr_factor(1.7, 0.1, "cosine") == pytest.approx(0)
    assert lr_factor(0.9, 0.1, "constant") == 1
    assert lr_factor(0, 0, "cosine") == 1


def test_biases_and_norms_are_not_decayed() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    decayed, kept = make_optimizer("adamw", network, 0.1, 0.5).param_groups
    assert [p.ndim for p in decayed["params"]] == [4]
    assert [p.ndim for p in kept["params"]] == [1, 1, 1]
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.5, 0.0)


def test_poly_falls_to_zero() -> None:
    assert lr_factor(0.2, 0.2, "poly") == 1
    assert lr_factor(0.6, 0.2, "poly") == pytest.approx(0.5**0.9)
    assert lr_factor(1, 0.2, "poly") == 0


def test_layers_of_an_encoder_learn_slower_the_farther_they_lie_from_its_end() -> None:
    network = nn.Module()
    network.encoder = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 3))
    network.head = nn.Conv2d(3, 1, 1)
    groups = make_optimizer("sgd", network, 0.1, 0.5, layer_decay=0.5).param_groups
    rates = {parameter: group["lr_scale"] for group in groups for parameter in group["params"]}
    assert rates[network.head.weight] == rates[network.head.bias] == 1
    assert rates[network.encoder[2].weight] == 0.5
    assert rates[network.encoder[0].weight] == rates[network.encoder[0].bias] == 0.25
    assert len(rates) == 6
    # A VGG is one sequence: its poolings divide it.
    first, second = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 3)
    network.encoder = nn.Sequential(nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), second))
    groups = make_optimizer("sgd", network, 0.1, 0.5, layer_decay=0.5).param_groups
    rates = {parameter: group["lr_scale"] for group in groups for parameter in group["params"]}
    assert (rates[second.weight], rates[first.weight]) == (0.5, 0.25)
    with pytest.raises(SettingError, match="has none of its own"):
        make_optimizer("sgd", nn.Linear(1, 1), 0.1, 0.0, layer_decay=0.5)


def test_settings_without_effect_are_refused() -> None:
    with pytest.raises(SettingError, match="has no effect with optimizer = 'adam'"):
        make_optimizer("adam", nn.Linear(1, 1), 0.1, 0.1)
    with pytest.raises(SettingError, match="Expected muon, adamw, adam or sgd"):
        make_optimizer("lion", nn.Linear(1, 1), 0.1, 0.0)


@pytest.mark.parametrize(("rows", "columns"), [(24, 216), (160, 64), (64, 128)])
def test_a_matrix_becomes_orthogonal(rows: int, columns: int) -> None:
    torch.manual_seed(0)
    strengths = torch.logspace(0, -2, columns)
    matrix = torch.randn(rows, columns) * strengths
    u, values, v = torch.linalg.svd(matrix, full_matrices=False)
    assert values[0] / values[-1] > 2
    found = orthogonal(matrix)
    reached = torch.linalg.svdvals(found)
    assert 0.7 < reached.min() < reached.max() < 1.2
    # The same directions: it is near the orthogonal factor of the polar decomposition.
    assert torch.nn.functional.cosine_similarity(found.flatten(), (u @ v).flatten(), dim=0) > 0.98
    assert not orthogonal(torch.zeros(3, 4)).any()


def test_each_published_step_of_the_iteration_brings_small_values_near_one() -> None:
    value = torch.logspace(math.log10(0.005), 0, 200)
    for a, b, c in QUINTICS:
        value = a * value + b * value**3 + c * value**5
    assert 0.7 < value.min() < value.max() < 1.2


def test_muon_steps_every_direction_alike_and_leaves_the_rest_to_adamw() -> None:
    torch.manual_seed(0)
    first, second, head = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 8, 3), nn.Conv2d(8, 12, 1)
    network = nn.Module()
    network.body, network.head = nn.Sequential(first, nn.BatchNorm2d(16), second), head
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer("muon", network, 0.01, 0.5)
    hidden, matrices, vectors = optimizer.param_groups
    assert {p.shape for p in hidden["params"]} == {first.weight.shape, second.weight.shape}
    assert [p.shape for p in matrices["params"]] == [head.weight.shape]
    assert len(vectors["params"]) == 5
    assert (hidden["weight_decay"], matrices["weight_decay"], vectors["weight_decay"]) == (0.5, 0.5, 0.0)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for p in network.parameters():
        p.grad = torch.randn_like(p)
    assert head.weight.grad is not None
    signs = head.weight.grad.sign()
    optimizer.step()
    rate = 0.01 * Muon.KERNEL_RATE
    step = before["body.0.weight"] * (1 - rate * 0.5) - first.weight.detach()
    values = torch.linalg.svdvals(step.reshape(16, -1)) / (rate * 0.2 * math.sqrt(27))
    assert 0.7 < values.min() < values.max() < 1.2
    # AdamW's first step moves every element by the rate, against the gradient's sign.
    moved = head.weight.detach() - before["head.weight"] * (1 - 0.01 * 0.5)
    torch.testing.assert_close(moved, -0.01 * signs, atol=1e-5, rtol=0)
    assert set(optimizer.state_dict()["state"][0]) == {"step", "momentum"}


def test_the_average_follows_by_hand() -> None:
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(0.0)
    average = Average(module, 0.5)
    with torch.no_grad():
        module.weight.fill_(1.0)
    average.update(module, 0)  # decay min(0.5, 1/10)
    assert average.state["weight"].item() == pytest.approx(0.9)
    average.update(module, 1000)  # decay 0.5
    assert average.state["weight"].item() == pytest.approx(0.95)

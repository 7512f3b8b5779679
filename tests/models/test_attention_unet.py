"""Attention U-Net: the gate's equations, where gates stand, and scores of all levels in the output."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from maskwright.errors import ModelError
from maskwright.models import build
from maskwright.models.attention_unet import AttentionGate, AttentionUNet
from maskwright.models.summary import count_parameters

WIDTHS = (64, 128, 256, 512, 1024)


def test_the_gate_is_equations_1_to_3() -> None:
    torch.manual_seed(0)
    gate = AttentionGate(2, 3).eval()
    x_BCHW, g_BChw = torch.randn(1, 2, 2, 2), torch.randn(1, 3, 1, 1)
    # One pixel of g beside four of x: everything is a product of matrices with vectors.
    w_x = gate.w_x.weight.reshape(2, 8) @ x_BCHW.flatten()
    w_g = gate.w_g.weight.reshape(2, 3) @ g_BChw.flatten()
    assert gate.w_g.bias is not None
    assert gate.psi.bias is not None
    q = gate.psi.weight.flatten() @ (w_x + w_g + gate.w_g.bias).clamp_min(0) + gate.psi.bias
    torch.testing.assert_close(gate.weights(x_BCHW, g_BChw), q.sigmoid().expand(1, 1, 2, 2))
    torch.testing.assert_close(gate(x_BCHW, g_BChw), gate.out(x_BCHW * q.sigmoid()))


def test_a_closed_gate_lets_nothing_of_the_skip_through() -> None:
    torch.manual_seed(0)
    gate = AttentionGate(2, 3).eval()
    one, other, g_BChw = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 4, 4), torch.randn(1, 3, 2, 2)
    assert gate.psi.bias is not None
    nn.init.constant_(gate.psi.bias, -200.0)
    assert torch.equal(gate(one, g_BChw), gate(other, g_BChw))
    nn.init.constant_(gate.psi.bias, 200.0)
    torch.testing.assert_close(gate(one, g_BChw), gate.out(one))


def test_the_coefficients_are_resampled_linearly() -> None:
    gate = AttentionGate(1, 1)
    for parameter in gate.parameters():
        nn.init.zeros_(parameter)
    nn.init.ones_(gate.w_g.weight)
    nn.init.ones_(gate.psi.weight)
    alpha_B1HW = gate.weights(torch.zeros(1, 1, 2, 4), torch.tensor([[[[0.0, 4.0]]]]))
    low, high = 0.5, torch.tensor(4.0).sigmoid().item()
    expected = torch.tensor([low, 0.75 * low + 0.25 * high, 0.25 * low + 0.75 * high, high])
    torch.testing.assert_close(alpha_B1HW, expected.expand(1, 1, 2, 4))


def test_all_skips_but_the_finest_are_gated_by_the_next_coarser_map() -> None:
    network = AttentionUNet(3, 2, widths=(4, 8, 12, 16))
    assert [(gate.w_x.in_channels, gate.w_g.in_channels) for gate in _gates(network)] == [(12, 16), (8, 12)]


def test_every_level_s_scores_reach_the_output() -> None:
    torch.manual_seed(0)
    network = AttentionUNet(3, 2, widths=(4, 8, 12, 16)).eval()
    assert network.output.in_channels == 3 * 2
    seen: list[torch.Tensor] = []
    for score in network.scores:
        score.register_forward_hook(lambda _module, _args, output: seen.append(output))
    network.output.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    network(torch.randn(1, 3, 16, 16))
    *scores, joined = seen
    assert [tuple(score.shape[2:]) for score in scores] == [(4, 4), (8, 8), (16, 16)]
    assert torch.equal(joined[:, 4:], scores[-1])


def test_parameters() -> None:
    def pair(before: int, after: int) -> int:
        return 9 * before * after + 9 * after * after + 2 * 2 * after

    steps = list(pairwise(WIDTHS))
    down = pair(3, 64) + sum(pair(a, b) for a, b in steps)
    gating = 1024 * 1024 + 1024 + 2 * 1024
    gates = sum((4 * a * a) + (b * a + a) + (a + 1) + (a * a + a + 2 * a) for a, b in steps[1:])
    up = sum(pair(a + b, a) for a, b in steps)
    scores = sum(a * 11 + 11 for a, _ in steps) + (4 * 11 * 11 + 11)
    with torch.device("meta"):
        network = build("attention-unet", 3, 11)
    assert count_parameters(network) == down + gating + gates + up + scores == 34_860_446


def test_too_few_widths_are_refused() -> None:
    with pytest.raises(ModelError, match=r"widths = \[8, 8\]: expected three"):
        build("attention-unet", 3, 2, {"widths": [8, 8]})


def _gates(network: AttentionUNet) -> list[AttentionGate]:
    return [gate for gate in network.gates if isinstance(gate, AttentionGate)]

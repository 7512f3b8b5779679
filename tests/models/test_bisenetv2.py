"""BiSeNet V2: size and cost, two branches that guide each other, heads that only train."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskwright.models.bisenetv2 import BiSeNetV2, ContextEmbedding, GatherExpansion, GuidedAggregation
from maskwright.models.summary import count_flops


def unit(before: int, after: int, kernel: int = 3, groups: int = 1) -> int:
    """Parameters of a convolution without bias and its batch norm."""
    return before // groups * after * kernel**2 + 2 * after


def gather_expansion(before: int, after: int, stride: int) -> int:
    inner = 6 * before
    count = unit(before, before) + unit(before, inner, groups=before) + unit(inner, after, 1)
    if stride == 2:
        count += unit(inner, inner, groups=inner) + unit(before, before, groups=before) + unit(before, after, 1)
    return count


@pytest.mark.parametrize(("classes", "predicting", "boosters"), [(19, 3_358_243, 287_308), (21, 3_360_293, 288_340)])
def test_parameters(classes: int, predicting: int, boosters: int) -> None:
    detail = unit(3, 64) + 4 * unit(64, 64) + unit(64, 128) + 2 * unit(128, 128)
    stem = unit(3, 16) + unit(16, 8, 1) + unit(8, 16) + unit(32, 16)
    stages = sum(
        gather_expansion(before, 2 * before, 2) + later * gather_expansion(2 * before, 2 * before, 1)
        for before, later in ((16, 1), (32, 1), (64, 3))
    )
    context = (128 * 128 + 128) + unit(128, 128)
    aggregation = 2 * (unit(128, 128, groups=128) + 128 * 128) + 3 * unit(128, 128)
    head = unit(128, 1024) + 1024 * classes + classes
    assert detail + stem + stages + context + aggregation + head == predicting
    assert sum(unit(before, 128) + 128 * classes + classes for before in (16, 32, 64, 128)) == boosters
    with torch.device("meta"):
        network = BiSeNetV2(3, classes)
    assert sum(parameter.numel() for parameter in network.boosters.parameters()) == boosters
    assert sum(parameter.numel() for parameter in network.parameters()) == predicting + boosters


def test_what_it_costs() -> None:
    # The paper says 21.15 billion multiply-adds for Cityscapes at 512 x 1024, and not how wide its head is. At 1024, as
    # others have it, the head's 3x3 alone takes 9.66 of ours.
    with torch.device("meta"):
        network = BiSeNetV2(3, 19)
    assert count_flops(network, 3, (512, 1024)) / 2e9 == pytest.approx(24.60, abs=0.01)


def test_boosters_train_and_do_not_predict() -> None:
    torch.manual_seed(0)
    network = BiSeNetV2(3, 5, width=16)
    outputs = network(torch.rand(2, 3, 64, 96))
    assert isinstance(outputs, tuple)
    assert [tuple(logits.shape) for logits in outputs] == [(2, 5, 64, 96)] * 5
    assert len(outputs) == 1 + len(network.auxiliary)
    network.eval()
    x_BCHW = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = network(x_BCHW)
        for parameter in network.boosters.parameters():
            parameter.add_(1)
        assert torch.equal(network(x_BCHW), before)


def test_context_reaches_every_place() -> None:
    block = ContextEmbedding(4).eval()
    for conv in (block.context, block.fuse[0]):
        assert isinstance(conv, nn.Conv2d)
        nn.init.ones_(conv.weight)
    x_BCHW = torch.rand(1, 4, 9, 9)
    changed_BCHW = x_BCHW.clone()
    changed_BCHW[..., 0, 0] += 50
    with torch.inference_mode():
        difference = (block(changed_BCHW) - block(x_BCHW)).abs().amax(1)
    assert (difference > 0).all()


def test_each_branch_gates_the_other() -> None:
    torch.manual_seed(0)
    layer = GuidedAggregation(4).eval()
    detail_BCHW, semantic_BChw = torch.rand(1, 4, 16, 8), torch.rand(1, 4, 4, 2)

    def closed(branch: str, bias: float) -> None:
        norm = layer.get_submodule(branch)[-1]  # type: ignore[index]
        assert isinstance(norm, nn.BatchNorm2d)
        nn.init.constant_(norm.bias, bias)

    with torch.inference_mode():
        closed("semantic_up", -1000.0)
        shut = layer(detail_BCHW, semantic_BChw)
        for parameter in layer.detail_keep.parameters():
            nn.init.normal_(parameter)
        assert torch.equal(layer(detail_BCHW, semantic_BChw), shut), "a shut gate lets no detail through"
        closed("semantic_up", 0.0)
        assert not torch.equal(layer(detail_BCHW, semantic_BChw), shut)
    assert shut.shape == (1, 4, 16, 8)


def test_gather_and_expansion_is_an_identity_where_its_branch_is_silent() -> None:
    layer = GatherExpansion(4, 4, 1).eval()
    norm = layer.project[1]
    assert isinstance(norm, nn.BatchNorm2d)
    nn.init.zeros_(norm.weight)
    x_BCHW = torch.randn(1, 4, 5, 6)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x_BCHW), x_BCHW.relu())

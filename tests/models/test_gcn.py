"""GCN: a separable kernel that covers 15 x 15, boundary refinement as a residual, scores summed from coarse to fine."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskwright.errors import ModelError
from maskwright.models import build
from maskwright.models.gcn import GCN, BoundaryRefinement, GlobalConvolution

RESNET50 = 25_557_032 - 2_049_000  # torchvision's published count less the 1000-way classifier


def test_a_global_convolution_covers_a_dense_square() -> None:
    module = GlobalConvolution(1, 1, 15)
    for parameter in module.parameters():
        nn.init.ones_(parameter) if parameter.ndim > 1 else nn.init.zeros_(parameter)
    impulse = torch.zeros(1, 1, 21, 21)
    impulse[0, 0, 10, 10] = 1
    expected = torch.zeros(21, 21)
    expected[3:18, 3:18] = 2  # both orders of 15 x 1 and 1 x 15
    with torch.inference_mode():
        assert torch.equal(module(impulse)[0, 0], expected)


def test_the_two_orders_are_separate_and_summed() -> None:
    torch.manual_seed(0)
    module = GlobalConvolution(3, 2, 5)
    shapes = [tuple(parameter.shape[2:]) for parameter in module.parameters() if parameter.ndim > 1]
    assert shapes == [(5, 1), (1, 5), (1, 5), (5, 1)]
    map_BChw = torch.randn(1, 3, 7, 9)
    with torch.inference_mode():
        both = module(map_BChw)
        torch.testing.assert_close(both, module.left(map_BChw) + module.right(map_BChw))
        # Without anything between them, each order is one linear map: doubling the input doubles the change.
        zero, twice = module(torch.zeros_like(map_BChw)), module(2 * map_BChw)
        torch.testing.assert_close(twice - zero, 2 * (both - zero))


def test_boundary_refinement_adds_two_convolutions_with_relu_between() -> None:
    torch.manual_seed(0)
    module = BoundaryRefinement(3)
    first, last = module.residual[0], module.residual[2]
    assert isinstance(first, nn.Conv2d)
    assert isinstance(last, nn.Conv2d)
    score_BKhw = torch.randn(2, 3, 6, 7)
    with torch.inference_mode():
        inner = F.conv2d(score_BKhw, first.weight, first.bias, padding=1).clamp(min=0)
        expected = score_BKhw + F.conv2d(inner, last.weight, last.bias, padding=1)
        torch.testing.assert_close(module(score_BKhw), expected)


def test_scores_are_upsampled_by_two_and_summed_from_stride_32_to_4() -> None:
    torch.manual_seed(0)
    network = GCN(3, 3, encoder="resnet18", kernel=3, width=4).eval()
    for module in network.modules():
        if isinstance(module, BoundaryRefinement):
            for parameter in module.parameters():
                nn.init.zeros_(parameter)
    x_BCHW = torch.randn(1, 3, 64, 96)

    def up(score: torch.Tensor) -> torch.Tensor:
        return F.interpolate(score, scale_factor=2.0, mode="bilinear", align_corners=False)

    with torch.inference_mode():
        _, *maps = network.encoder(x_BCHW)
        s4, s8, s16, s32 = (score(m) for score, m in zip(reversed(network.score), maps, strict=True))
        assert [s.shape[2] for s in (s4, s8, s16, s32)] == [16, 8, 4, 2]
        torch.testing.assert_close(network(x_BCHW), up(up(up(up(up(s32) + s16) + s8) + s4)))


def test_parameters() -> None:
    classes, k = 21, 15
    globals_ = sum(
        2 * (k * channels * classes + classes) + 2 * (k * classes**2 + classes) for channels in (256, 512, 1024, 2048)
    )
    # A refinement for each of four score maps, three sums and two further upsamplings; 4 x 4 transposed convolutions.
    refinements = (4 + 3 + 2) * 2 * (9 * classes**2 + classes)
    upsamplings = 5 * 16 * classes**2
    with torch.device("meta"):
        network = build("gcn", 3, classes)
    counted = sum(parameter.numel() for parameter in network.parameters())
    assert counted == RESNET50 + globals_ + refinements + upsamplings == 26_087_588


def test_an_even_kernel_has_no_centre() -> None:
    with pytest.raises(ModelError, match="kernel = 14: expected an odd size"):
        build("gcn", 3, 2, {"kernel": 14})

"""FCN: bilinear transposed convolutions, scores that start at zero, skips that are sums; and the flat one's view."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskwright.models.fcn import FCN, FlatFCN, Upsampling, bilinear_kernel


def test_the_kernel_of_factor_two() -> None:
    row = [0.25, 0.75, 0.75, 0.25]
    assert bilinear_kernel(2).tolist() == [[a * b for b in row] for a in row]


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_the_kernel_is_the_paper_s(factor: int) -> None:
    # The authors' formula for an even size: centre = half - 0.5, weight = (1 - |y - c| / half)(1 - |x - c| / half).
    size, half = 2 * factor, factor
    centre = half - 0.5
    expected = [[(1 - abs(y - centre) / half) * (1 - abs(x - centre) / half) for x in range(size)] for y in range(size)]
    torch.testing.assert_close(bilinear_kernel(factor), torch.tensor(expected))


@pytest.mark.parametrize("learned", [True, False])
def test_a_ramp_is_upsampled_exactly(learned: bool) -> None:
    up = Upsampling(2, 2, learned=learned)
    ramp = torch.tensor([0.0, 1.0, 2.0, 3.0]).expand(1, 2, 3, 4).clone()
    ramp[:, 1] = 7.0
    out = up(ramp)
    assert out.shape == (1, 2, 6, 8)
    assert out[0, 0, 2].tolist() == [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]
    assert (out[0, 1] == 7.0).all(), "a constant stays constant up to the border, and classes do not mix"


@pytest.mark.parametrize(("factor", "learned"), [(2, True), (8, False), (16, False), (32, False)])
def test_upsampling_starts_as_bilinear_interpolation(factor: int, learned: bool) -> None:
    torch.manual_seed(0)
    score_BKhw = torch.randn(2, 3, 4, 5)
    expected = F.interpolate(score_BKhw, scale_factor=float(factor), mode="bilinear", align_corners=False)
    torch.testing.assert_close(Upsampling(3, factor, learned=learned)(score_BKhw), expected)


def test_only_the_steps_between_are_learned() -> None:
    network = FCN(3, 4, width=8)
    assert {name: tuple(p.shape) for name, p in network.named_parameters() if "up" in name} == {
        "up.16.weight": (4, 4, 4, 4),
        "up.8.weight": (4, 4, 4, 4),
    }
    assert network.upsample.factor == 8
    assert not any(name.startswith("upsample") for name in network.state_dict())


@pytest.mark.parametrize(("skips", "factor"), [((), 32), ((16,), 16), ((16, 8), 8)])
def test_logits_start_at_zero(skips: tuple[int, ...], factor: int) -> None:
    network = FCN(3, 4, skips=skips, width=8).eval()
    assert network.upsample.factor == factor
    assert sorted(network.score) == sorted(str(stride) for stride in (32, *skips))
    assert not network(torch.randn(1, 3, 64, 64)).any()


def test_skips_are_sums_of_scores() -> None:
    torch.manual_seed(0)
    network = FCN(3, 4, width=8).eval()
    x_BCHW = torch.randn(1, 3, 64, 96)
    scores = {stride: nn.Conv2d(channels, 4, 1) for stride, channels in (("32", 64), ("16", 32), ("8", 16))}

    def logits(*strides: str) -> torch.Tensor:
        for stride, score in network.score.items():
            for name, parameter in score.named_parameters():
                value = scores[stride].get_parameter(name)
                parameter.data = value.data if stride in strides else torch.zeros_like(value)
        with torch.inference_mode():
            out: torch.Tensor = network(x_BCHW)
        return out

    alone = [logits("32"), logits("16"), logits("8")]
    torch.testing.assert_close(sum(alone), logits("32", "16", "8"), rtol=1e-4, atol=1e-5)
    # Stride 8 alone is its score, upsampled 8 times: nothing stands between it and the output.
    with torch.inference_mode():
        score_BKhw = scores["8"](network.encoder(x_BCHW)[2])
    expected = F.interpolate(score_BKhw, scale_factor=8.0, mode="bilinear", align_corners=False)
    torch.testing.assert_close(alone[2], expected, rtol=1e-4, atol=1e-5)


def test_a_flat_network_has_no_pooling_and_sees_depth_pixels_around() -> None:
    torch.manual_seed(0)
    network = FlatFCN(1, 2, depth=3, width=16).eval()
    assert {type(module) for module in network.modules()} == {FlatFCN, nn.ModuleList, nn.Conv2d}
    x_BCHW = torch.zeros(1, 1, 15, 15)
    changed = x_BCHW.clone()
    changed[0, 0, 7, 7] = 100.0
    with torch.inference_mode():
        differs = (network(changed) != network(x_BCHW)).any(1)[0]
    expected = torch.zeros(15, 15, dtype=torch.bool)
    expected[4:11, 4:11] = True
    assert torch.equal(differs, expected)


def test_a_flat_network_s_parameters() -> None:
    count = sum(parameter.numel() for parameter in FlatFCN(3, 2).parameters())
    assert count == (27 * 64 + 64) + 7 * (9 * 64 * 64 + 64) + (64 * 2 + 2)

"""FCN: bilinear transposed convolutions, scores that start at zero, skips that are sums; and the flat one's view."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskwright.errors import ModelError
from maskwright.models import build
from maskwright.models.fcn import FCN, EncoderDecoderFCN, FlatFCN, Upsampling, bilinear_kernel
from maskwright.models.summary import count_parameters

VGG_16 = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256)]
VGG_16 += [(256, 512)] + 5 * [(512, 512)]
ALEXNET = [(11, 3, 64), (5, 64, 192), (3, 192, 384), (3, 384, 256), (3, 256, 256)]  # kernel first


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


def test_fcn8s_with_vgg_has_the_paper_s_parameters() -> None:
    convs = sum(9 * a * b + b for a, b in VGG_16)
    fc6, fc7 = 7 * 7 * 512 * 4096 + 4096, 4096 * 4096 + 4096
    scores = sum(21 * channels + 21 for channels in (4096, 512, 256))
    steps = 2 * 4 * 4 * 21 * 21
    with torch.device("meta"):
        count = count_parameters(build("fcn8s-vgg16", 3, 21))
    assert count == convs + fc6 + fc7 + scores + steps == 134_376_863
    # Released as 134.5 million, because there the last step's 16 x 16 kernels between all classes are stored, though
    # they are fixed and zero between different classes.
    assert count + 16 * 16 * 21 * 21 == 134_489_759


def test_fcn32s_with_alexnet_has_the_paper_s_parameters() -> None:
    convs = sum(k * k * a * b + b for k, a, b in ALEXNET)
    fc6, fc7, score = 6 * 6 * 256 * 4096 + 4096, 4096 * 4096 + 4096, 21 * 4096 + 21
    with torch.device("meta"):
        count = count_parameters(build("fcn32s-alexnet", 3, 21))
    assert count == convs + fc6 + fc7 + score == 57_089_877
    assert round(count / 1e6) == 57, "the paper's table 1"


def test_vgg_s_scores_are_of_pool3_pool4_and_fc7() -> None:
    torch.manual_seed(0)
    network = FCN(3, 2, encoder="vgg16", width=2).eval()
    seen: dict[str, torch.Tensor] = {}
    for stride, score in network.score.items():
        score.register_forward_pre_hook(lambda _module, args, stride=stride: seen.update({stride: args[0]}))
    x_BCHW = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        network(x_BCHW)
        features = network.encoder.get_submodule("features")
        assert isinstance(features, nn.Sequential)
        # In torchvision's VGG-16, layers 16 and 23 are the third and the fourth pooling, 30 the last.
        pool3, pool4, pool5 = (features[: last + 1](x_BCHW) for last in (16, 23, 30))
    assert torch.equal(seen["8"], pool3)
    assert torch.equal(seen["16"], pool4)
    assert pool5.shape[2:] == seen["32"].shape[2:] == (2, 3), "fc6 and fc7 keep the map's size"
    assert seen["32"].shape[1] == 64 * 2


@pytest.mark.parametrize("encoder", ["alexnet", "vgg16"])
def test_fc6_and_fc7_are_convolutions_with_dropout(encoder: str) -> None:
    network = FCN(3, 2, encoder=encoder, width=2)
    assert not [module for module in network.modules() if isinstance(module, nn.Linear)]
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.5, 0.5]


def test_without_skips_only_the_coarsest_map_counts() -> None:
    torch.manual_seed(0)
    network = EncoderDecoderFCN(3, 2, width=4, widths=(8, 8, 4, 4, 4)).eval()
    x_BCHW = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = network(x_BCHW)
        network.encoder.register_forward_hook(lambda _module, _args, maps: [*(0 * m for m in maps[:-1]), maps[-1]])
        assert torch.equal(network(x_BCHW), expected)
        network.encoder.register_forward_hook(lambda _module, _args, maps: [*maps[:-1], 0 * maps[-1]])
        assert not torch.equal(network(x_BCHW), expected)


def test_a_learned_step_up_doubles_without_a_checkerboard() -> None:
    step, *_ = EncoderDecoderFCN(3, 2, width=4, widths=(8, 8, 4, 4, 4)).up
    assert isinstance(step, nn.Sequential)
    conv = step[0]
    assert isinstance(conv, nn.ConvTranspose2d)
    std = conv.weight.std().item()
    assert std == pytest.approx((2 / (4 * 32)) ** 0.5, rel=0.05)
    nn.init.ones_(conv.weight)
    out = conv(torch.ones(1, 32, 3, 4))
    assert out.shape == (1, 8, 6, 8)
    assert (out[..., 1:-1, 1:-1] == 4 * 32).all(), "every pixel but those of the border meets four weights a channel"


def test_an_encoder_decoder_s_parameters() -> None:
    encoder = 11_689_512 - (512 * 1000 + 1000)  # torchvision's ResNet-18 without its classifier
    up = sum(4 * 4 * a * b + 2 * b for a, b in ((512, 256), (256, 128), (128, 64), (64, 32), (32, 16)))
    with torch.device("meta"):
        assert count_parameters(build("fcn-encoder-decoder", 3, 11)) == encoder + up + 16 * 11 + 11


def test_the_steps_up_must_lead_to_full_size() -> None:
    with pytest.raises(ModelError, match=r"widths = \[8, 8\]: expected 5 numbers.*'resnet18' ends at 1/32"):
        build("fcn-encoder-decoder", 3, 2, {"widths": [8, 8]})


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

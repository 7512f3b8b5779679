"""DeepLab v1 to v3+: rates by output stride, scores summed or maps concatenated, image pooling, torchvision's names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskwright.errors import ModelError
from maskwright.models import build
from maskwright.models.deeplab import AtrousScore, DeepLab
from maskwright.models.deeplabv3 import ASPP, DeepLabV3, DeepLabV3Plus, conv_norm_relu

# torchvision's published counts less the 1000-way classifier.
VGG16_CONVS = 138_357_544 - 123_642_856
RESNET50 = 25_557_032 - 2_049_000
RESNET101 = 44_549_160 - 2_049_000


def on_meta(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return build(name, 3, 21, options)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def convs(module: nn.Module) -> Iterator[nn.Conv2d]:
    return (m for m in module.modules() if isinstance(m, nn.Conv2d))


def conv(inputs: int, outputs: int, area: int) -> int:
    """Parameters of a convolution with bias, `area` weights per kernel."""
    return inputs * outputs * area + outputs


def normed(inputs: int, outputs: int, area: int) -> int:
    """Parameters of a convolution without bias, and of the batch norm behind it."""
    return inputs * outputs * area + 2 * outputs


def separable(inputs: int, outputs: int) -> int:
    """Parameters of a 3x3 convolution per channel and a 1x1 over channels, each with batch norm."""
    return 9 * inputs + 2 * inputs + normed(inputs, outputs, 1)


@pytest.mark.parametrize("rate", [6, 12])
def test_a_branch_sees_nine_places_its_rate_apart(rate: int) -> None:
    branch = AtrousScore(1, 1, rate)
    nn.init.ones_(next(convs(branch)).weight)
    impulse = torch.zeros(1, 1, 31, 31)
    impulse[0, 0, 15, 15] = 1
    with torch.inference_mode():
        places = branch(impulse)[0, 0].nonzero().tolist()
    axis = (15 - rate, 15, 15 + rate)
    assert places == [[y, x] for y in axis for x in axis]


def test_v1_and_v2_have_the_papers_rates_on_a_dilated_vgg() -> None:
    v1, v2, v2_resnet = on_meta("deeplabv1"), on_meta("deeplabv2"), on_meta("deeplabv2-resnet101")
    for network, rates in ((v1, [12]), (v2, [6, 12, 18, 24]), (v2_resnet, [6, 12, 18, 24])):
        assert isinstance(network, DeepLab)
        assert [next(convs(branch)).dilation for branch in network.branches] == [(rate, rate) for rate in rates]
        assert network.encoder.strides[-1] == network.stride == 8
        sizes = [[c.kernel_size[0] for c in convs(branch)] for branch in network.branches]
        assert sizes == [[3] if network is v2_resnet else [3, 1, 1]] * len(rates)
    assert isinstance(v1, DeepLab)
    assert [c.dilation[0] for c in convs(v1.encoder)] == [1] * 10 + [2] * 3


def test_parameters_of_v1_and_v2() -> None:
    branch = conv(512, 1024, 9) + conv(1024, 1024, 1) + conv(1024, 21, 1)
    assert count(on_meta("deeplabv1")) == VGG16_CONVS + branch == 20_505_429  # the paper's 20.5 M
    assert count(on_meta("deeplabv2")) == VGG16_CONVS + 4 * branch == 37_877_652
    assert count(on_meta("deeplabv2-resnet101")) == RESNET101 + 4 * conv(2048, 21, 9) == 44_048_532


def test_v2_sums_the_branches_scores() -> None:
    torch.manual_seed(0)
    network = DeepLab(3, 4, width=2).eval()
    x_BCHW = torch.randn(1, 3, 32, 40)
    with torch.inference_mode():
        map_BChw = network.encoder(x_BCHW)[-1]
        assert map_BChw.shape[2:] == (4, 5)
        score_BKhw = torch.stack([branch(map_BChw) for branch in network.branches]).sum(0)
        expected = F.interpolate(score_BKhw, scale_factor=8.0, mode="bilinear", align_corners=False)
        torch.testing.assert_close(network(x_BCHW), expected)


@pytest.mark.parametrize("name", ["deeplabv3", "deeplabv3+"])
@pytest.mark.parametrize(("output_stride", "rates"), [(8, [12, 24, 36]), (16, [6, 12, 18])])
def test_rates_of_v3_follow_the_output_stride(name: str, output_stride: int, rates: list[int]) -> None:
    network = on_meta(name, output_stride=output_stride)
    assert isinstance(network, DeepLabV3 | DeepLabV3Plus)
    assert network.stride == network.encoder.strides[-1] == output_stride
    coarsest = network.encoder(torch.empty(1, 3, 64, 96, device="meta"))[-1]
    assert coarsest.shape[2:] == (64 // output_stride, 96 // output_stride)
    aspp = next(module for module in network.modules() if isinstance(module, ASPP))
    first = [next(convs(branch)) for branch in aspp.convs]
    assert [c.kernel_size[0] for c in first] == [1, 3, 3, 3, 1]
    assert [c.dilation[0] for c in first] == [1, *rates, 1]


def test_output_strides_without_published_rates_are_refused() -> None:
    for name in ("deeplabv3", "deeplabv3+"):
        with pytest.raises(ModelError, match="output_stride = 32: expected 8 or 16"):
            build(name, 3, 2, {"output_stride": 32})


def test_the_output_stride_changes_no_weights() -> None:
    shapes = [{n: t.shape for n, t in on_meta("deeplabv3", output_stride=s).state_dict().items()} for s in (8, 16)]
    assert shapes[0] == shapes[1]


def test_aspp_concatenates_its_branches_and_pools_the_image() -> None:
    torch.manual_seed(0)
    aspp = ASPP(6, 4, (1, 2, 3), dropout=0.5).eval()
    map_BChw = torch.randn(2, 6, 5, 7)
    with torch.inference_mode():
        mean_BC = map_BChw.mean((2, 3))
        pooling = next(convs(aspp.convs[-1]))
        assert pooling.bias is not None
        pooled_BC = F.relu(mean_BC @ pooling.weight[:, :, 0, 0].T + pooling.bias)
        branches = [branch(map_BChw) for branch in aspp.convs[:-1]]
        assert [tuple(branch.shape) for branch in branches] == [(2, 4, 5, 7)] * 4
        joined = torch.cat([*branches, pooled_BC[:, :, None, None].expand(2, 4, 5, 7)], 1)
        torch.testing.assert_close(aspp(map_BChw), aspp.project(joined))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in aspp.convs[-1].modules())


def test_parameters_of_v3_are_torchvision_s_less_the_batch_norm_of_image_pooling() -> None:
    aspp = normed(2048, 256, 1) + 3 * normed(2048, 256, 9) + conv(2048, 256, 1) + normed(5 * 256, 256, 1)
    head = normed(256, 256, 9) + conv(256, 21, 1)
    auxiliary = normed(1024, 256, 9) + conv(256, 21, 1)
    # A bias of 256 stands for a batch norm of 2 x 256. The figures are torchvision's, auxiliary head included.
    assert count(on_meta("deeplabv3")) == RESNET50 + aspp + head + auxiliary == 42_004_074 - 256
    assert count(on_meta("deeplabv3-resnet101")) == RESNET101 + aspp + head + auxiliary == 60_996_202 - 256
    assert len(on_meta("deeplabv3").state_dict()) == 370 - 5 + 1  # five tensors of batch norm for a bias


def test_a_torchvision_checkpoint_gives_the_same_image_pooling() -> None:
    torch.manual_seed(0)
    network = DeepLabV3(3, 4, encoder="resnet18", width=4)
    ours = network.state_dict()
    theirs = {name.replace("encoder.", "backbone."): tensor for name, tensor in ours.items()}
    del theirs["classifier.0.convs.4.1.bias"]
    published = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(32, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    for name, tensor in published[2].named_buffers():
        if tensor.is_floating_point():
            published[2].get_buffer(name).copy_(torch.rand(16) + 0.5)
    for parameter in published.parameters():
        nn.init.normal_(parameter)
    theirs |= {f"classifier.0.convs.4.{name}": tensor for name, tensor in published.state_dict().items()}
    assert {
        "backbone.layer4.0.conv1.weight",
        "classifier.0.project.1.running_mean",
        "classifier.4.bias",
    } <= theirs.keys()

    converted = DeepLabV3.convert(theirs)
    assert converted is not None
    network.load_state_dict(converted)
    map_BChw = torch.randn(2, 32, 5, 7)
    aspp = network.classifier[0]
    assert isinstance(aspp, ASPP)
    with torch.inference_mode():
        torch.testing.assert_close(aspp.convs[-1](map_BChw), published.eval()(map_BChw))
    untouched = [name for name in ours if not name.startswith("classifier.0.convs.4")]
    assert all(torch.equal(converted[name], ours[name]) for name in untouched)
    assert DeepLabV3.convert(ours) is None, "our own names need no conversion"


def test_a_separable_convolution_normalises_behind_both_halves() -> None:
    kinds = [type(layer).__name__ for layer in conv_norm_relu(6, 4, 3, 2, separable=True)]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU"] * 2
    depthwise, pointwise = convs(conv_norm_relu(6, 4, 3, 2, separable=True))
    assert (depthwise.groups, depthwise.dilation, depthwise.out_channels) == (6, (2, 2), 6)
    assert (pointwise.groups, pointwise.kernel_size, pointwise.out_channels) == (1, (1, 1), 4)


def test_the_decoder_of_v3_plus_works_at_a_quarter_of_the_size() -> None:
    network = on_meta("deeplabv3+")
    assert isinstance(network, DeepLabV3Plus)
    seen: list[tuple[int, ...]] = []
    network.decoder.register_forward_pre_hook(lambda _module, args: seen.append(tuple(args[0].shape)))
    network.reduce.register_forward_pre_hook(lambda _module, args: seen.append(tuple(args[0].shape)))
    assert network(torch.empty(2, 3, 64, 96, device="meta")).shape == (2, 21, 64, 96)
    # The encoder's map of stride 4 (256 channels), then 48 of it beside 256 of the ASPP (figure 2).
    assert seen == [(2, 256, 16, 24), (2, 256 + 48, 16, 24)]


def test_parameters_of_v3_plus() -> None:
    ends = normed(2048, 256, 1) + conv(2048, 256, 1) + normed(5 * 256, 256, 1)
    rest = normed(256, 48, 1) + conv(256, 21, 1)
    with_separable = 3 * separable(2048, 256) + separable(256 + 48, 256) + separable(256, 256)
    with_plain = 3 * normed(2048, 256, 9) + normed(256 + 48, 256, 9) + normed(256, 256, 9)
    assert count(on_meta("deeplabv3+")) == RESNET50 + ends + rest + with_separable == 26_695_877
    assert count(on_meta("deeplabv3+", separable=False)) == RESNET50 + ends + rest + with_plain == 40_351_925
    assert count(on_meta("deeplabv3+-resnet101")) == RESNET101 + ends + rest + with_separable

"""Dilated8 starts as its front end and its context module sees 67 x 67; the dilated FCN is torchvision's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskwright.models.dilated import ContextModule, Dilated8, DilatedFCN, identity_

# torchvision's published counts less the 1000-way classifier.
VGG16_CONVS = 138_357_544 - 123_642_856
RESNET50 = 25_557_032 - 2_049_000


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def convs(module: nn.Module) -> Iterator[nn.Conv2d]:
    return (m for m in module.modules() if isinstance(m, nn.Conv2d))


def test_the_basic_context_module_starts_as_the_identity() -> None:
    score_BKhw = torch.rand(2, 5, 11, 13)
    with torch.inference_mode():
        assert torch.equal(ContextModule(5, large=False)(score_BKhw), score_BKhw)
        # "Each of these convolutions is followed by a pointwise truncation max(., 0)" (section 3).
        assert torch.equal(ContextModule(5, large=False)(score_BKhw - 0.5), F.relu(score_BKhw - 0.5))


def test_the_large_context_module_starts_as_the_identity_but_for_noise() -> None:
    torch.manual_seed(0)
    score_BKhw = torch.rand(1, 3, 9, 9)
    with torch.inference_mode():
        out_BKhw = ContextModule(3, large=True)(score_BKhw)
    assert not torch.equal(out_BKhw, score_BKhw)
    torch.testing.assert_close(out_BKhw, score_BKhw, rtol=0, atol=0.05)


def test_a_map_s_copies_share_its_weight_and_differ_by_noise() -> None:
    # Equation 5 for C = 2, from 4 maps to 8: outputs 0..3 are the sum of inputs 0 and 1 times 2 / 8.
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, 3)
    identity_(conv, 2)
    centre = conv.weight[:, :, 1, 1]
    assert (centre[:4, :2] == 0.25).all()
    assert (centre[4:, 2:] == 0.25).all()
    noise = torch.cat([centre[:4, 2:].flatten(), centre[4:, :2].flatten(), conv.weight[:, :, 0].flatten()])
    assert 0 < noise.abs().max() < 0.01 * 0.25
    assert not torch.equal(conv.weight[0], conv.weight[1])


def test_every_output_of_the_context_module_sees_67_pixels_a_side() -> None:
    # Table 1: the receptive field grows 3, 5, 9, 17, 33, 65, 67.
    module = ContextModule(1, large=False)
    for parameter in module.parameters():
        nn.init.ones_(parameter) if parameter.ndim > 1 else nn.init.zeros_(parameter)
    impulse = torch.zeros(1, 1, 81, 81)
    impulse[0, 0, 40, 40] = 1
    seen = torch.zeros(81, 81, dtype=torch.bool)
    seen[40 - 33 : 40 + 34, 40 - 33 : 40 + 34] = True
    with torch.inference_mode():
        assert torch.equal(module(impulse)[0, 0] != 0, seen)
    fields = [1]
    for conv in list(convs(module))[:-1]:
        fields.append(fields[-1] + 2 * conv.dilation[0])
    assert fields[1:] == [3, 5, 9, 17, 33, 65, 67]


@pytest.mark.parametrize(
    ("large", "channels"),
    [(False, [21] * 9), (True, [21, 42, 42, 84, 168, 336, 672, 672, 21])],
)
def test_channels_of_the_context_module_are_table_1_s(large: bool, channels: list[int]) -> None:
    with torch.device("meta"):
        layers = list(convs(ContextModule(21, large=large)))
    assert [layers[0].in_channels, *(conv.out_channels for conv in layers)] == channels
    assert [conv.kernel_size for conv in layers] == [(3, 3)] * 7 + [(1, 1)]


def test_the_basic_context_module_has_the_paper_s_weights() -> None:
    # "64 C^2 parameters" (section 3): seven times 9 C^2 and once C^2; the biases come on top.
    assert count(ContextModule(11, large=False)) == 64 * 11**2 + 8 * 11


def test_the_front_end_is_vgg_16_without_pool4_and_pool5() -> None:
    network = Dilated8(3, 4, width=2)
    features = network.encoder.features
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in features) == 3
    assert [conv.dilation[0] for conv in convs(features)] == [1] * 10 + [2] * 3
    fc6, fc7 = convs(network.encoder.get_submodule("classifier"))
    assert (fc6.kernel_size, fc6.dilation, fc7.kernel_size) == ((7, 7), (4, 4), (1, 1))
    # torchvision's places, so that ImageNet's weights fit by name.
    assert {"features.28.weight", "classifier.0.weight", "classifier.3.weight"} <= network.encoder.state_dict().keys()
    assert network.encoder.get_submodule("features.28") is list(convs(features))[-1]


def test_it_starts_as_its_front_end_with_scores_that_pass_the_first_relu() -> None:
    torch.manual_seed(0)
    network = Dilated8(3, 4, width=8).eval()
    x_BCHW = torch.randn(1, 3, 32, 40)
    with torch.inference_mode():
        score_BKhw = network.score(network.encoder(x_BCHW)[-1])
        assert score_BKhw.shape == (1, 4, 4, 5)
        assert (score_BKhw > 0).all()
        expected = F.interpolate(score_BKhw, scale_factor=8.0, mode="bilinear", align_corners=False)
        torch.testing.assert_close(network(x_BCHW), expected)


def test_parameters_of_dilated8() -> None:
    with torch.device("meta"):
        network = Dilated8(3, 21)
    fc6, fc7, score = 7 * 7 * 512 * 4096 + 4096, 4096 * 4096 + 4096, 4096 * 21 + 21
    assert count(network) == VGG16_CONVS + fc6 + fc7 + score + (64 * 21**2 + 8 * 21) == 134_374_973


@pytest.mark.parametrize(
    ("encoder", "parameters", "tensors"), [("resnet50", 35_322_218, 334), ("resnet101", 54_314_346, 640)]
)
def test_the_dilated_fcn_is_torchvision_s(encoder: str, parameters: int, tensors: int) -> None:
    # torchvision's published counts and state dictionaries, auxiliary head included, for 21 classes.
    with torch.device("meta"):
        network = DilatedFCN(3, 21, encoder=encoder)
    assert count(network) == parameters
    assert len(network.state_dict()) == tensors
    if encoder == "resnet50":
        head = 2048 * 512 * 9 + 2 * 512 + (512 * 21 + 21)
        auxiliary = 1024 * 256 * 9 + 2 * 256 + (256 * 21 + 21)
        assert parameters == RESNET50 + head + auxiliary


def test_torchvision_s_names_of_the_dilated_fcn_are_ours_but_for_the_backbone() -> None:
    network, other = (DilatedFCN(3, 4, encoder="resnet18", width=4) for _ in range(2))
    theirs = {name.replace("encoder.", "backbone."): tensor for name, tensor in network.state_dict().items()}
    assert {"backbone.conv1.weight", "classifier.1.running_var", "aux_classifier.4.bias"} <= theirs.keys()
    converted = DilatedFCN.convert(theirs)
    assert converted is not None
    other.load_state_dict(converted)
    x_BCHW = torch.randn(1, 3, 16, 24)
    with torch.inference_mode():
        assert torch.equal(other.eval()(x_BCHW), network.eval()(x_BCHW))
    assert DilatedFCN.convert(network.state_dict()) is None, "our own names need no conversion"


def test_the_dilated_fcn_keeps_an_eighth_of_the_size_and_looks_at_two_stages() -> None:
    torch.manual_seed(0)
    network = DilatedFCN(3, 4, encoder="resnet18", width=4).eval()
    x_BCHW = torch.randn(1, 3, 32, 48)
    with torch.inference_mode():
        *_, before, last = network.encoder(x_BCHW)
        assert before.shape[2:] == last.shape[2:] == (4, 6)
        scores = network.classifier(last), network.aux_classifier(before)
        expected = [F.interpolate(s, scale_factor=8.0, mode="bilinear", align_corners=False) for s in scores]
        torch.testing.assert_close(network(x_BCHW), expected[0])
        for module in network.modules():  # training mode returns both outputs; its dropout and batch norms would differ
            module.training = module is network
        for found, wanted in zip(network(x_BCHW), expected, strict=True):
            torch.testing.assert_close(found, wanted)
    assert network.auxiliary == (0.5,)

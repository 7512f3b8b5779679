"""SegNet: VGG's names and the paper's parameters, and indices that lead back to where a value came from."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.models import build
from maskwright.models.pretrained import load_pretrained
from maskwright.models.segnet import SegNet
from maskwright.models.summary import count_parameters

VGG_16 = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256)]
VGG_16 += [(256, 512)] + 5 * [(512, 512)]


def test_parameters_are_the_paper_s() -> None:
    # The decoder is the encoder backwards; its last convolution gives the classes and has no batch norm.
    decoder = [(b, a) for a, b in reversed(VGG_16[1:])]
    convs = sum(9 * a * b + b for a, b in [*VGG_16, *decoder, (64, 11)])
    norms = sum(2 * b for _, b in [*VGG_16, *decoder])
    assert sum(9 * a * b + b for a, b in VGG_16) == 14_714_688, "VGG-16's convolutions, as torchvision counts them"
    with torch.device("meta"):
        network = build("segnet", 3, 11)
    assert count_parameters(network) == convs + norms == 29_449_355
    assert round(29_449_355 / 1e6, 2) == 29.45, "the paper's figure"


def test_the_encoder_has_the_names_of_vgg16_bn() -> None:
    convs = (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)
    encoder = SegNet(3, 2, width=4).encoder
    names = {f"features.{n}.{kind}" for n in convs for kind in ("weight", "bias")}
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names |= {f"features.{n + 1}.{kind}" for n in convs for kind in norm}
    assert encoder.state_dict().keys() == names
    extra = {"classifier.0.weight": torch.zeros(1), "head.fc.bias": torch.zeros(1)}
    assert encoder.convert({**encoder.state_dict(), **extra}).keys() == names


def test_a_vgg16_bn_checkpoint_is_read_into_the_encoder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, source = SegNet(1, 2, width=4), SegNet(3, 2, width=4).encoder
    decoder = {name: tensor.clone() for name, tensor in network.decoder.state_dict().items()}
    # torchvision's vgg16_bn ends in classifier.0, .3 and .6.
    rest = {f"classifier.{n}.weight": torch.zeros(2, 2) for n in (0, 3, 6)}
    torch.save({**source.state_dict(), **rest}, tmp_path / "vgg16_bn.pth")
    load_pretrained(network, tmp_path / "vgg16_bn.pth")
    for name, tensor in source.state_dict().items():
        expected = tensor.sum(1, keepdim=True) if name == "features.0.weight" else tensor
        assert torch.equal(network.encoder.state_dict()[name], expected), name
    assert all(torch.equal(tensor, decoder[name]) for name, tensor in network.decoder.state_dict().items())


def test_a_pooled_value_is_found_at_its_place() -> None:
    torch.manual_seed(0)
    encoder = SegNet(3, 2, width=2).encoder.eval()
    before: list[torch.Tensor] = []
    for last_of_stage in (5, 12, 22, 32, 42):
        encoder.features[last_of_stage].register_forward_hook(lambda _module, _args, output: before.append(output))
    x_BCHW = torch.randn(1, 3, 64, 32)
    with torch.inference_mode():
        maps, places = encoder.pooled(x_BCHW)
        assert all(torch.equal(a, b) for a, b in zip(encoder(x_BCHW), maps, strict=True))
    assert [tuple(m.shape) for m in maps] == [
        (1, c, 64 // s, 32 // s) for c, s in zip(encoder.channels, encoder.strides, strict=True)
    ]
    for map_BCHW, place_BCHW, finer_BCHW in zip(maps, places, before, strict=False):
        assert torch.equal(finer_BCHW.flatten(2).gather(2, place_BCHW.flatten(2)), map_BCHW.flatten(2))
        assert torch.equal(F.max_pool2d(finer_BCHW, 2), map_BCHW)


def test_the_decoder_puts_values_back_and_zeros_elsewhere() -> None:
    torch.manual_seed(0)
    network = SegNet(3, 2, width=2).eval()
    seen: list[torch.Tensor] = []
    for stage in network.decoder:
        stage.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    x_BCHW = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        network(x_BCHW)
        maps, places = network.encoder.pooled(x_BCHW)
    expected = torch.zeros(1, 16, 16)
    expected.scatter_(2, places[-1].flatten(2), maps[-1].flatten(2))
    assert torch.equal(seen[0].flatten(2), expected)
    for sparse_BCHW, place_BCHW in zip(seen, reversed(places), strict=True):
        empty = sparse_BCHW.flatten(2).clone().scatter_(2, place_BCHW.flatten(2), 0.0)
        assert not empty.any(), "whatever is not at one of this level's places is zero"


def test_the_last_convolution_gives_the_classes() -> None:
    last = list(SegNet(3, 7, width=2).modules())[-1]
    assert isinstance(last, nn.Conv2d)
    assert (last.out_channels, last.kernel_size) == (7, (3, 3))

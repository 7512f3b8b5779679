"""A U-Net around any encoder: which maps it joins, what it costs, and weights read into its contracting path."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from maskwright.errors import ModelError
from maskwright.models import build, encoder_unet
from maskwright.models.blocks import Concatenation
from maskwright.models.encoder_unet import EncoderUNet
from maskwright.models.encoders import Encoder, build_encoder
from maskwright.models.pretrained import load_pretrained
from maskwright.models.summary import count_parameters, layer_table

# Parameters of torchvision's classification networks without their last layers: convolutions, and batch norms if any.
ENCODER_PARAMETERS = {
    "alexnet": 2_469_696,
    "vgg16": 14_714_688,
    "resnet18": 11_689_512 - 513_000,
    "resnet34": 21_797_672 - 513_000,
    "resnet50": 25_557_032 - 2_049_000,
    "resnet101": 44_549_160 - 2_049_000,
}
# Channels joined at 1/16, 1/8, 1/4, 1/2 and 1/1 of the size, and the channels at 1/32.
SKIPS = {
    "alexnet": ((256, 192, 64, 0, 0), 256),
    "vgg16": ((512, 512, 256, 128, 64), 512),
    "resnet18": ((256, 128, 64, 64, 0), 512),
    "resnet34": ((256, 128, 64, 64, 0), 512),
    "resnet50": ((1024, 512, 256, 64, 0), 2048),
    "resnet101": ((1024, 512, 256, 64, 0), 2048),
}
WIDTHS = (256, 128, 64, 32, 16)


@pytest.mark.parametrize("name", SKIPS)
def test_parameters(name: str) -> None:
    skips, deepest = SKIPS[name]
    total = ENCODER_PARAMETERS[name]
    for before, skip, after in zip((deepest, *WIDTHS), skips, WIDTHS, strict=False):
        total += 9 * (before + skip) * after + 9 * after * after + 2 * 2 * after
    with torch.device("meta"):
        assert count_parameters(build(f"unet-{name}", 3, 11)) == total + 16 * 11 + 11


@pytest.mark.parametrize("name", SKIPS)
def test_every_map_of_the_encoder_is_joined_at_its_size(name: str) -> None:
    skips, deepest = SKIPS[name]
    found = [row.shape for row in layer_table(f"unet-{name}", size=(64, 96)) if row.kind == "Concatenation"]
    assert found == [
        (skip + before, 4 * 2**step, 6 * 2**step)
        for step, (skip, before) in enumerate(zip(skips, (deepest, *WIDTHS), strict=False))
        if skip
    ]


class TwoMaps(Encoder):
    """An encoder as timm has them: it starts at a quarter of the size."""

    stride, strides, channels = 8, (4, 8), (3, 5)

    def forward(self, x_BCHW: torch.Tensor) -> list[torch.Tensor]:
        quarter = nn.functional.avg_pool2d(x_BCHW, 4)
        eighth = nn.functional.avg_pool2d(x_BCHW[:, :1], 8)
        return [quarter, eighth.expand(-1, 5, -1, -1)]


def test_any_encoder_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_unet, "build_encoder", lambda *_: TwoMaps())
    network = EncoderUNet(3, 2, encoder="timm:any", widths=(64, 32, 16)).eval()
    assert network.stride == 8
    joined: list[torch.Tensor] = []
    for module in network.modules():
        if isinstance(module, Concatenation):
            module.register_forward_hook(lambda _module, args, _output: joined.extend(args))
    x_BCHW = torch.randn(1, 3, 16, 24)
    assert network(x_BCHW).shape == (1, 2, 16, 24)
    assert len(joined) == 2, "the map at a quarter, and what is upsampled to it"
    assert torch.equal(joined[0], nn.functional.avg_pool2d(x_BCHW, 4)), "the encoder's map comes first"
    # Three steps from 1/8.
    norms = [module for module in network.up.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [norm.num_features for norm in norms] == [64, 64, 32, 32, 16, 16]


@pytest.mark.parametrize("name", SKIPS)
def test_published_weights_are_read_into_the_contracting_path_alone(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = EncoderUNet(3, 2, encoder=name, width=4, widths=(8, 8, 8, 8, 8))
    source = build_encoder(name, 3, 4)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items() if not key.startswith("encoder.")}
    classifier = "fc" if name.startswith("resnet") else "classifier.6"
    torch.save({**source.state_dict(), f"{classifier}.weight": torch.zeros(2, 2)}, tmp_path / "published.pth")
    load_pretrained(network, tmp_path / "published.pth")
    assert all(torch.equal(network.encoder.state_dict()[key], tensor) for key, tensor in source.state_dict().items())
    assert all(torch.equal(network.state_dict()[key], tensor) for key, tensor in before.items())


def test_another_number_of_widths_is_refused() -> None:
    with pytest.raises(ModelError, match=r"widths = \[8, 8\]: expected 5 .*'resnet18' ends at 1/32"):
        build("unet-resnet18", 3, 2, {"widths": [8, 8]})
    with pytest.raises(ModelError, match="expected 5 numbers"):
        build("unet-resnet18", 3, 2, {"widths": [8, 8, 8, 8, 8, 8]})

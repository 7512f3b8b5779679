"""The classic U-Net is the Keras listing: its parameters, its shapes, its order of things."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maskwright.errors import ModelError
from maskwright.models import save_weights, unet
from maskwright.models.summary import count_parameters, layer_table
from maskwright.models.unet import UNet, UpStep

# (kernel, input channels, output channels) of every convolution of the listing, top to bottom.
LISTING = [
    (3, 1, 64), (3, 64, 64),
    (3, 64, 128), (3, 128, 128),
    (3, 128, 256), (3, 256, 256),
    (3, 256, 512), (3, 512, 512),
    (3, 512, 1024), (3, 1024, 1024),
    (2, 1024, 512), (3, 1024, 512), (3, 512, 512),
    (2, 512, 256), (3, 512, 256), (3, 256, 256),
    (2, 256, 128), (3, 256, 128), (3, 128, 128),
    (2, 128, 64), (3, 128, 64), (3, 64, 64),
    (3, 64, 2), (1, 2, 1),
]  # fmt: skip


def test_parameters_are_those_of_the_listing() -> None:
    derived = [kernel * kernel * before * after + after for kernel, before, after in LISTING]
    with torch.device("meta"):
        network = UNet(1, 2)
    assert sum(derived) == 31_031_685
    assert count_parameters(network) == 31_031_685
    assert [row.parameters for row in layer_table("unet", in_channels=1) if row.parameters] == derived


def test_layers_come_in_the_order_and_with_the_shapes_of_the_listing() -> None:
    rows = layer_table("unet", in_channels=1)
    assert [row.shape for row in rows if row.kind == "MaxPool2d"] == [
        (64, 128, 128), (128, 64, 64), (256, 32, 32), (512, 16, 16),
    ]  # fmt: skip
    assert [row.shape for row in rows if row.kind == "Upsample"] == [
        (1024, 32, 32), (512, 64, 64), (256, 128, 128), (128, 256, 256),
    ]  # fmt: skip
    assert [row.shape for row in rows if row.kind == "Concatenation"] == [
        (1024, 32, 32), (512, 64, 64), (256, 128, 128), (128, 256, 256),
    ]  # fmt: skip
    assert [(row.name, row.shape) for row in rows if row.kind == "Dropout"] == [
        ("down.3.dropout", (512, 32, 32)),
        ("down.4.dropout", (1024, 16, 16)),
    ]
    assert [row.shape for row in rows[-2:]] == [(2, 256, 256), (1, 256, 256)]


def test_two_classes_are_one_sigmoid_output_against_zero() -> None:
    torch.manual_seed(0)
    network = UNet(1, 2, widths=(4, 8)).eval()
    z = torch.randn(1, 1, 8, 8)
    network.output.register_forward_hook(lambda *_: z)
    logits_BKHW = network(torch.randn(1, 1, 8, 8))
    assert not logits_BKHW[:, 0].any()
    assert torch.equal(logits_BKHW[:, 1:], z)
    torch.testing.assert_close(logits_BKHW.softmax(1)[:, 1:], z.sigmoid())


def test_more_classes_widen_the_narrow_convolution() -> None:
    network = UNet(3, 5, widths=(4, 8))
    assert network.narrow.weight.shape == (5, 4, 3, 3)
    assert network.output.weight.shape == (5, 5, 1, 1)


def test_the_output_starts_glorot_uniform_and_the_rest_he_normal() -> None:
    torch.manual_seed(0)
    networks = [UNet(1, 2, widths=(4, 8)) for _ in range(60)]
    # fan_in 2, fan_out 1: uniform within sqrt(6 / 3). He normal would reach 2 / 0.8796 * sqrt(2 / 2) = 2.27.
    output = torch.stack([network.output.weight for network in networks])
    assert 1.35 < output.abs().max().item() <= 2**0.5
    # fan_in 4 x 9: deviation sqrt(2 / 36), from 60 x 72 draws.
    narrow = torch.stack([network.narrow.weight for network in networks])
    assert narrow.std().item() == pytest.approx((2 / 36) ** 0.5, rel=0.04)
    assert not any(p.any() for n in networks for name, p in n.named_parameters() if name.endswith("bias"))


def test_upsampling_repeats_pixels() -> None:
    step = UpStep(1, 1)
    up = step.upsample(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    assert up[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]


def test_the_encoder_comes_first_in_the_concatenation() -> None:
    torch.manual_seed(0)
    step = UpStep(8, 4)
    deep = [torch.randn(1, 8, 4, 4) for _ in range(2)]
    skip = [torch.randn(1, 4, 8, 8) for _ in range(2)]
    weight = step.pair.conv1.weight
    assert weight.shape == (4, 8, 3, 3)
    with torch.inference_mode():
        weight[:, 4:] = 0
        out = step(deep[0], skip[0])
        assert torch.equal(step(deep[1], skip[0]), out), "the last four channels are the decoder's"
        assert not torch.equal(step(deep[0], skip[1]), out), "the first four channels are the encoder's"


def test_dropped_activations_go_down_and_across_alike() -> None:
    torch.manual_seed(0)
    network = UNet(1, 2, widths=(4, 4, 4, 4, 4)).train()
    seen: dict[str, torch.Tensor] = {}
    network.pool[3].register_forward_pre_hook(lambda _module, args: seen.update(down=args[0]))
    step = network.up[0]
    assert isinstance(step, UpStep)
    step.concatenate.register_forward_pre_hook(lambda _module, args: seen.update(across=args[0]))
    fourth = network.down[3]
    fourth.register_forward_hook(lambda _module, _args, output: seen.update(fourth=output))
    network(torch.randn(2, 1, 64, 64))
    assert torch.equal(seen["down"], seen["across"])
    assert torch.equal(seen["down"], seen["fourth"])
    # ReLU alone leaves about half of these zero, dropout halves the rest.
    assert 0.6 < (seen["down"] == 0).float().mean().item() < 0.9


def test_the_listing_s_call_makes_the_network(tmp_path: Path) -> None:
    model = unet(pretrained_weights=None, input_size=(256, 256, 1))
    assert isinstance(model, UNet)
    assert count_parameters(model) == 31_031_685
    with torch.inference_mode():
        assert model.eval()(torch.zeros(1, 1, 32, 48)).shape == (1, 2, 32, 48)
    path = tmp_path / "unet.pth"
    torch.save({name: torch.full_like(value, 0.01) for name, value in model.state_dict().items()}, path)
    loaded = unet(str(path))
    path.unlink()  # 124 MB, which pytest would keep
    assert all((value == 0.01).all() for value in loaded.state_dict().values())


def test_the_listing_s_call_refuses_what_does_not_fit(tmp_path: Path) -> None:
    for size in ((250, 256, 1), (256, 256), (256, 256, 0), (0, 256, 1)):
        with pytest.raises(ModelError, match=r"input_size = .*16"):
            unet(input_size=size)
    save_weights(UNet(1, 2, widths=(4, 8)), tmp_path / "narrow.safetensors")
    with pytest.raises(ModelError, match=r"narrow\.safetensors does not fit this UNet"):
        unet(tmp_path / "narrow.safetensors")

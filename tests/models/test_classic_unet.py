"""The classic U-Net is the Keras listing, the original one is the paper's: parameters, shapes, order of things."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from maskwright.errors import ModelError
from maskwright.models import build, save_weights, unet
from maskwright.models.classic_unet import UNet, UNetOriginal, UpConvolutionStep, UpStep
from maskwright.models.summary import count_parameters, layer_table

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


# The paper's: a 2x2 up-convolution at the same place, and 1x1 to the classes at once.
PAPER = [*LISTING[:-2], (1, 64, 2)]


def test_the_original_has_the_paper_s_convolutions() -> None:
    derived = [kernel * kernel * before * after + after for kernel, before, after in PAPER]
    with torch.device("meta"):
        network = build("unet-original", 1, 2)
    assert len(derived) == 23, "'in total the network has 23 convolutional layers'"
    assert count_parameters(network) == sum(derived) == 31_030_658
    assert [row.parameters for row in layer_table("unet-original", in_channels=1) if row.parameters] == derived


def test_the_original_steps_up_by_a_learned_2x2_convolution_and_joins_the_encoder_s_map_first() -> None:
    torch.manual_seed(0)
    step = UpConvolutionStep(2, 1)
    nn.init.zeros_(step.upsample.weight)
    with torch.no_grad():
        step.upsample.weight[0, 0] = torch.tensor([[1.0, 2.0], [-3.0, 4.0]])
    joined: list[torch.Tensor] = []
    step.concatenate.register_forward_hook(lambda _module, _args, output: joined.append(output))
    step(torch.tensor([[[[1.0, 10.0]], [[7.0, 7.0]]]]), torch.full((1, 1, 2, 4), -5.0))
    assert joined[0][0, 0].tolist() == [[-5] * 4] * 2
    assert joined[0][0, 1].tolist() == [[1, 2, 10, 20], [0, 4, 0, 40]], "a pixel becomes four, then ReLU"


def test_the_original_s_weights_start_by_section_3() -> None:
    torch.manual_seed(0)
    network = UNetOriginal(3, 2, widths=(16, 32, 64))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.weight.numel() > 2000:
            inputs = module.in_channels * (9 if isinstance(module, nn.Conv2d) else 1)
            assert module.weight.std().item() == pytest.approx((2 / inputs) ** 0.5, rel=0.06)
    assert not any(p.any() for name, p in network.named_parameters() if name.endswith("bias"))


def test_the_original_drops_at_the_end_of_the_contracting_path() -> None:
    with torch.device("meta"):
        network = build("unet-original", 1, 2)
    assert [(name, m.p) for name, m in network.named_modules() if isinstance(m, nn.Dropout)] == [
        ("down.3.dropout", 0.5),
        ("down.4.dropout", 0.5),
    ]
    with pytest.raises(ModelError, match=r"dropout = -0\.1"):
        build("unet-original", 1, 2, {"dropout": -0.1})


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

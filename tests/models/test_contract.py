"""What every network of the table keeps: sizes, gradients, learning, repeatability, weights on disk.

Networks are narrow here, so that sixty of them take a minute; their full widths are built on the meta device, which
computes shapes and nothing else. Exact parameter counts stand in the tests of each family.
"""

from __future__ import annotations

import copy
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskwright.models import MODELS, Segmenter, build, load_weights, save_weights
from maskwright.models.encoders import ENCODERS

# Options that make a network narrow enough to train here, by its name, or by the start of its name.
NARROW: dict[str, dict[str, Any]] = {
    "compact": {"widths": [8, 8, 8, 16, 16]},
    "deeplab": {"width": 4},
    "dilated8": {"width": 8},
    "fcn": {"width": 8},
    "fcn-dilated": {"width": 4},
    "gcn": {"width": 4},
    "pspnet": {"width": 4},
    "refinenet": {"width": 4},
    "fcn-encoder-decoder": {"width": 8, "widths": [16, 16, 8, 8, 8]},
    "unet": {"widths": [4, 8, 8, 16, 16]},
    "lite": {"width": 8, "widths": [16, 16, 8, 8, 8]},
    **{
        f"unet-{encoder}": {"width": 8, "widths": [16, 16, 8, 8, 8]}
        for encoder in ENCODERS
        if encoder not in ("lite1", "lite2")  # the U-Net around these is built by the option `encoder` only
    },
    "unet-fc": {"widths": [4, 8, 8, 16, 16], "squeezed": 4},
    "resunet": {"widths": [4, 8, 8, 16]},
    "attention-unet": {"widths": [4, 8, 8, 16, 16]},
    "segnet": {"width": 8},
    "tiramisu": {"width": 12},
    "enet": {"width": 8},
    "bisenetv2": {"width": 16},
    "segformer": {"width": 4, "head_width": 16},
}
SIDE = 64
# The two channels of the classic U-Net's last ReLU must be alive at the start; with some seeds the narrow variant is
# dead, and nothing is learned: a weakness of the listing (see classic_unet.py), not of what is tested here.
SEED = 4


def narrow(name: str) -> dict[str, Any]:
    """The row of NARROW whose key is the longest start of the name."""
    keys = [key for key in NARROW if name.startswith(key)]
    assert keys, (
        f"NARROW has no row for {name!r}. Add one: the start of its name, with options that make it tiny, "
        'for example "mynet": {"width": 8}.'
    )
    return NARROW[max(keys, key=len)]


@cache
def shared(name: str, channels: int, classes: int) -> nn.Module:
    torch.manual_seed(SEED)
    return build(name, channels, classes, narrow(name))


def fresh(name: str, channels: int = 3, classes: int = 2) -> Segmenter:
    """A Segmenter around a narrow network as it starts; its own copy, free to be trained."""
    network = copy.deepcopy(shared(name, channels, classes))
    return Segmenter(network, mean=[128.0] * channels, std=[74.0] * channels)


@cache
def lively(name: str, channels: int = 3, classes: int = 2) -> Segmenter:
    """A Segmenter in evaluation in which nothing is zero: scores that start at zero would hide every difference."""
    model = fresh(name, channels, classes).eval()
    torch.manual_seed(SEED)
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return model


def images(batch: int, channels: int, height: int, width: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, channels, height, width), dtype=torch.uint8, generator=generator)


def halves() -> tuple[torch.Tensor, torch.Tensor]:
    """Two noisy images with a bright half, left or upper, and its mask: large enough for every stride to see."""
    target_BHW = torch.zeros(2, SIDE, SIDE, dtype=torch.long)
    target_BHW[0, :, : SIDE // 2] = target_BHW[1, : SIDE // 2] = 1
    return (images(2, 3, SIDE, SIDE) // 4 + 160 * target_BHW[:, None]).to(torch.uint8), target_BHW


def outputs(model: nn.Module, x_BCHW: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The logits and, in training mode, the auxiliary ones after them."""
    out = model(x_BCHW)
    return out if isinstance(out, tuple) else (out,)


def total_loss(model: nn.Module, x_BCHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
    """The sum of the cross-entropies of all outputs, so that every head takes part."""
    return torch.stack([F.cross_entropy(logits, target_BHW) for logits in outputs(model, x_BCHW)]).sum()


@pytest.mark.parametrize("name", MODELS)
def test_any_size_and_channel_count_gives_logits_of_the_image_size(name: str) -> None:
    for channels, height, width in ((1, 1, 1), (3, 17, 31), (5, 64, 64), (3, 97, 130)):
        with torch.inference_mode():
            logits_BKHW = lively(name, channels)(images(1, channels, height, width))
        assert logits_BKHW.shape == (1, 2, height, width)
        assert logits_BKHW.dtype == torch.float32
        assert logits_BKHW.isfinite().all()


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_receives_a_finite_gradient(name: str) -> None:
    # Several steps: where scores start at zero nothing below them has a gradient in the first, and dropout or a ReLU
    # may hide a narrow layer for one.
    model = fresh(name).train()
    torch.manual_seed(SEED)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    silent = dict(model.named_parameters())
    for _ in range(8):
        optimizer.zero_grad()
        total_loss(model, *halves()).backward()  # type: ignore[no-untyped-call]
        for key, parameter in model.named_parameters():
            assert parameter.grad is not None, f"{key} takes no part"
            assert parameter.grad.isfinite().all(), key
            if parameter.grad.any():
                silent.pop(key, None)
        if not silent:
            return
        optimizer.step()
    raise AssertionError(f"no gradient ever reaches {', '.join(silent)}")


@pytest.mark.parametrize("name", MODELS)
def test_a_few_steps_learn_more_than_a_constant(name: str) -> None:
    # Half of the pixels are of each class: whoever does not look at the image cannot get below ln 2 = 0.69.
    model = fresh(name).train()
    torch.manual_seed(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    x_BCHW, target_BHW = halves()
    losses = []
    for _ in range(40):
        first, *auxiliary = (F.cross_entropy(logits, target_BHW) for logits in outputs(model, x_BCHW))
        losses.append(first.item())
        if losses[-1] < min(0.6, losses[0]):
            return
        optimizer.zero_grad()
        torch.stack([first, *auxiliary]).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    raise AssertionError(f"the loss went {losses[0]:.3f} ... {losses[-1]:.3f}, at best {min(losses):.3f}")


@pytest.mark.parametrize("name", MODELS)
def test_evaluation_is_repeatable_and_does_not_look_at_neighbours(name: str) -> None:
    model = lively(name)
    one, two = (image_CHW[None, :, 16:49, 12:52] for image_CHW in halves()[0])
    other = images(1, 3, 33, 40)
    with torch.inference_mode():
        first = model(torch.cat([one, two]))
        again, beside_another, alone = model(torch.cat([one, two])), model(torch.cat([one, other])), model(one)
    # Random weights without trained batch norms can make large logits: rounding is measured against the largest.
    largest = first[0].abs().max()
    assert torch.equal(again, first)
    assert (beside_another[0] - first[0]).abs().max() < 1e-4 * largest
    assert (alone[0] - first[0]).abs().max() < 1e-4 * largest
    assert (first[1] - first[0]).abs().max() > 1e-3 * largest, "the output must depend on the image"


@pytest.mark.parametrize("name", MODELS)
def test_saved_weights_give_the_same_output(name: str, tmp_path: Path) -> None:
    model = lively(name)
    save_weights(model, tmp_path / "model.safetensors")
    torch.manual_seed(99)
    again = Segmenter(build(name, 3, 2, narrow(name)), mean=[0.0] * 3, std=[1.0] * 3).eval()
    x_BCHW = images(1, 3, 20, 30)
    with torch.inference_mode():
        expected = model(x_BCHW)
        assert not torch.allclose(again(x_BCHW), expected)
        load_weights(again, tmp_path / "model.safetensors")
        assert torch.equal(again(x_BCHW), expected)


@pytest.mark.parametrize("name", MODELS)
def test_a_single_image_trains_even_if_it_is_one_pixel(name: str) -> None:
    model = fresh(name).train()
    for side in (1, SIDE):
        total_loss(model, images(1, 3, side, side), torch.zeros(1, side, side, dtype=torch.long)).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_auxiliary_outputs_come_in_training_and_are_announced(name: str) -> None:
    model = fresh(name, classes=5)
    weights = getattr(model.network, "auxiliary", ())
    x_BCHW = images(2, 3, 33, 40)
    with torch.no_grad():
        for logits in model.eval()(x_BCHW), *(found := outputs(model.train(), x_BCHW)):
            assert logits.shape == (2, 5, 33, 40)
    assert len(found) == 1 + len(weights)
    assert all(weight > 0 for weight in weights)
    assert bool(weights) == hasattr(model.network, "auxiliary"), "a network without auxiliary outputs says nothing"


@pytest.mark.parametrize("name", MODELS)
def test_the_full_network_builds_without_values(name: str) -> None:
    with torch.device("meta"):
        network = build(name, 3, 21).eval()
        stride = network.stride
        assert isinstance(stride, int)
        # Without values, nothing in the forward pass can depend on them: what an exported graph needs.
        logits_BKHW = network(torch.empty(1, 3, stride, 2 * stride))
    assert logits_BKHW.shape == (1, 21, stride, 2 * stride)
    assert all(tensor.is_meta for tensor in chain(network.parameters(), network.buffers()))
    # A width of 64 and more at the deepest layers: the smallest published network, ENet, has 0.36 million parameters.
    assert sum(parameter.numel() for parameter in network.parameters()) > 250_000
    assert str(getattr(network, "paper", "")), "a network says where it comes from"


def test_narrow_rows_are_used() -> None:
    used = {max((key for key in NARROW if name.startswith(key)), key=len) for name in MODELS}
    assert used == NARROW.keys(), "a row that no network of the table needs"

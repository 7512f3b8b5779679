"""EfficientNet-Lite answers as the published code does, with the published weights and with drawn ones.

`recorded/efficientnet_lite.json` was written by `benchmarks/peers/efficientnet_lite_side.py`, whose header has the
commands: it runs efficientnet_lite_pytorch 0.1.0 with the weights of the three packages.
"""

from __future__ import annotations

import json
import math
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from maskwright.errors import ModelError
from maskwright.models import build
from maskwright.models.encoders import Encoder, build_encoder
from maskwright.models.encoders.efficientnet_lite import SameConv
from maskwright.models.installed import INSTALLED, load_installed
from maskwright.models.segmenter import Segmenter
from maskwright.models.summary import count_flops, count_parameters, summarize

LITES = ("lite0", "lite1", "lite2")
HEIGHT, WIDTH = 64, 96


@cache
def recorded(name: str) -> dict[str, Any]:
    content = json.loads((Path(__file__).parent / "recorded" / "efficientnet_lite.json").read_text("utf-8"))
    found: dict[str, Any] = content[name]
    return found


def values(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    raw = np.random.PCG64(zlib.crc32(key.encode())).random_raw(math.prod(shape)).reshape(shape)
    return torch.from_numpy((raw >> np.uint64(40)).astype(np.float32) / np.float32(2**24))


def drawn(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The weights of the recording, from a tensor's name and shape."""
    share = values(key, shape)
    if key.endswith("running_var"):
        return share + 0.5
    if len(shape) == 1:
        return share * 0.4 + 0.2 if key.endswith("weight") else share - 0.5
    return (share * 2 - 1) * math.sqrt(6 / math.prod(shape[1:]))


def pixels() -> torch.Tensor:
    return (values("input", (1, 3, HEIGHT, WIDTH)) * 255).round()


def assert_maps(encoder: Encoder, expected: list[list[float]], shapes: list[list[int]]) -> None:
    with torch.inference_mode():
        maps = encoder.eval()((pixels() - 127) / 128)
    assert [list(map_BCHW.shape) for map_BCHW in maps] == shapes
    for map_BCHW, theirs in zip(maps, expected, strict=True):
        ours = map_BCHW.flatten()[np.linspace(0, map_BCHW.numel() - 1, len(theirs)).astype(int)]
        # To 1e-5 of the largest value: float32 itself keeps seven digits.
        assert (ours - torch.tensor(theirs)).abs().max() < 1e-5 * max(1.0, float(map_BCHW.abs().max()))


@pytest.mark.parametrize("name", LITES)
def test_maps_are_the_published_code_s(name: str) -> None:
    encoder = build_encoder(name, 3)
    state = encoder.state_dict()
    encoder.load_state_dict({key: drawn(key, tuple(t.shape)) if t.ndim else t for key, t in state.items()})
    assert_maps(encoder, recorded(name)["formula"], recorded(name)["shapes"])


@pytest.mark.parametrize("name", LITES)
def test_maps_are_the_published_network_s(name: str) -> None:
    encoder = build_encoder(name, 3)
    if load_installed(encoder, name) is None:
        assert name != "lite0", "the weights of lite0 come with the installation"
        return
    assert_maps(encoder, recorded(name)["published"], recorded(name)["shapes"])


@pytest.mark.parametrize("name", LITES)
def test_names_and_shapes_are_the_published_ones(name: str) -> None:
    with torch.device("meta"):
        encoder = build_encoder(name, 3)
        published = {key: torch.empty(shape) for key, shape in recorded(name)["state"].items()}
    ours = {key: tuple(tensor.shape) for key, tensor in encoder.state_dict().items()}
    assert {key: tuple(tensor.shape) for key, tensor in encoder.convert(published).items()} == ours
    # Published counts without the 1280 channels before the classifier, their norm, and the classifier.
    last = encoder.channels[-1]
    assert count_parameters(encoder) == {"lite0": 4_652_008, "lite1": 5_416_680, "lite2": 6_092_072}[name] - (
        last * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    )


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(2, 4), (6, 10), (32, 64)])
def test_a_strided_convolution_pads_as_tensorflow(kernel: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    conv = SameConv(4, 4, kernel, 2, groups=4)
    x_BCHW = torch.randn(2, 4, *size)
    before = (kernel - 2) // 2  # of kernel - 2 missing pixels the smaller half comes first
    padded = F.pad(x_BCHW, (before, kernel - 2 - before) * 2)
    torch.testing.assert_close(conv(x_BCHW), F.conv2d(padded, conv.weight, None, 2, groups=4))


def test_a_strided_3x3_looks_at_its_pixel_and_those_after_it() -> None:
    conv = SameConv(1, 1, 3, 2)
    torch.nn.init.ones_(conv.weight)
    x_BCHW = torch.arange(16.0).reshape(1, 1, 4, 4)
    # Nine pixels from (0, 0); at the right edge six, at the corner four.
    assert conv(x_BCHW).tolist() == [[[[45.0, 39.0], [66.0, 50.0]]]]


def test_a_depthwise_convolution_in_bfloat16_has_the_gradients_of_float32() -> None:
    torch.manual_seed(0)
    conv = SameConv(8, 8, 3, groups=8)
    x_BCHW = torch.randn(2, 8, 16, 16).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = conv(x_BCHW)
    assert found.dtype == torch.bfloat16
    upstream = torch.randn(found.shape).bfloat16()
    (gradient,) = torch.autograd.grad(found, conv.weight, upstream)
    expected = F.conv2d(x_BCHW.float(), conv.weight, padding=1, groups=8)
    (expected_gradient,) = torch.autograd.grad(expected, conv.weight, upstream.float())
    assert torch.equal(found, expected.bfloat16())
    torch.testing.assert_close(gradient, expected_gradient)


def test_a_segmenter_normalises_as_the_weights_expect() -> None:
    weights = INSTALLED["lite0"]
    network = build("lite0-4", 3, 2)
    top = 255.0
    segmenter = Segmenter(network, mean=[top * v for v in weights.mean], std=[top * v for v in weights.std])
    torch.testing.assert_close(segmenter.normalized(pixels()), (pixels() - 127) / 128)


def test_parameters_and_operations() -> None:
    encoder = 4_652_008 - (320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000)
    laterals = [(320, 160), (112, 128), (40, 96), (24, 64)]
    narrow = [(160, 128), (128, 96), (96, 64)]
    up = [128, 96, 64]
    total = encoder + sum(a * b + 2 * b for a, b in laterals + narrow)
    total += 9 * 48 * 64 + 2 * 64  # the image at a quarter, folded into 48 channels
    total += sum(2 * (9 * c * c + 2 * c) for c in up)
    total += 9 * 64 * 11 * 16 + 11 * 16
    maps = [(16, 4096), (24, 4096), (40, 1024), (112, 256), (320, 64)]  # for the linear layer, at 1/4 at the finest
    total += sum(11 * channels + 11 for channels, _ in maps)
    with torch.device("meta"):
        network = build("lite0-4", 3, 11)
    assert count_parameters(network) == total
    row = summarize("lite0-4", classes=11)
    assert row.parameters == total
    assert (row.stride, row.output_stride, row.weights, row.licence) == (32, 32, "lite0", "Apache-2.0")
    # An operation of the decoder is two per weight and place, at 1/32, 1/16, 1/8 and 1/4 of 256 pixels.
    places = [64, 256, 1024, 4096]
    by_hand = sum(a * b * n for (a, b), n in zip(laterals, places, strict=True))
    by_hand += sum(a * b * n for (a, b), n in zip(narrow, places[:3], strict=True))  # narrowed before they are doubled
    by_hand += sum(18 * c * c * n for c, n in zip(up, places[1:], strict=True))
    by_hand += 4096 * (9 * 48 * 64 + 9 * 64 * 11 * 16)
    by_hand += sum(11 * channels * n for channels, n in maps)
    with torch.device("meta"):
        bare = build_encoder("lite0", 3)
    assert count_flops(network, 3) == count_flops(bare, 3) + 2 * by_hand


@pytest.mark.parametrize(
    ("options", "message"),
    [({"widths": [8, 8]}, "widths = .*has 4 levels.*Expected 4 numbers, for 1/32 to 1/4"), ({"width": 0}, "width = 0")],
)
def test_options_that_make_no_decoder_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build("lite0-4", 3, 2, options)


def test_thin_structures_reach_the_output_of_both_resolutions() -> None:
    # A change of one pixel changes logits at once, through the image that is folded into channels.
    torch.manual_seed(0)
    for name in ("lite0-2", "lite0-4"):
        network = build(name, 1, 2, {"width": 8, "widths": [16, 16, 8, 8, 8]}).eval()
        x_BCHW = torch.zeros(1, 1, 64, 64)
        dotted = x_BCHW.clone()
        dotted[..., 21, 22] = 1
        with torch.inference_mode():
            change = (network(dotted) - network(x_BCHW)).abs()
        assert change[..., 16:28, 16:28].max() > 0

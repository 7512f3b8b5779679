"""Receptive fields and output strides: by hand, as published, and as gradients show them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskwright.models import MODELS, build
from maskwright.models.encoders import build_encoder
from maskwright.models.receptive import trace


class Net(nn.Module):
    """Layers of a test as a network."""

    def __init__(self, *layers: nn.Module, stride: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.stride = stride

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        out_BCHW: torch.Tensor = self.layers(x_BCHW)
        return out_BCHW


def view(*layers: nn.Module, stride: int = 1) -> tuple[int | None, int]:
    return trace(Net(*layers, stride=stride).to("meta").eval(), 1)


def conv(kernel: int, **options: int) -> nn.Conv2d:
    return nn.Conv2d(1, 1, kernel, **options)  # type: ignore[arg-type]


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        out_BCHW: torch.Tensor = x_BCHW + self.inner(x_BCHW)
        return out_BCHW


class Cropped(nn.Module):
    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Half a shift: columns 1.. and one of zeros at the end, beside the map itself."""
        return torch.cat([F.pad(x_BCHW[..., 1:], (0, 1)), x_BCHW], 1)


class Attention(nn.Module):
    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        tokens_BNC = x_BCHW.flatten(2).mT
        return F.scaled_dot_product_attention(tokens_BNC, tokens_BNC, tokens_BNC).mT.reshape(x_BCHW.shape)


@pytest.mark.parametrize(
    ("layers", "stride", "field", "output_stride"),
    [
        ([conv(1)], 1, 1, 1),
        ([conv(3, padding=1)] * 4, 1, 9, 1),
        ([conv(3, padding=2, dilation=2), conv(3, padding=4, dilation=4)], 1, 1 + 4 + 8, 1),
        # 3 pixels, then two steps of 2 of them.
        ([conv(3, stride=2, padding=1), conv(3, padding=1), nn.Upsample(scale_factor=2)], 2, 3 + 2 * 2, 2),
        ([nn.MaxPool2d(2), nn.Upsample(scale_factor=2)], 2, 2, 2),
        ([nn.MaxPool2d(3, 2, 1), nn.Upsample(scale_factor=2)], 2, 3, 2),
        ([nn.AvgPool2d(4), nn.Upsample(scale_factor=4)], 4, 4, 4),
        # Bilinear: two neighbours of 2 pixels; a 2x2 transposed convolution of stride 2: one; a 4x4 one: two.
        ([nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear")], 2, 4, 2),
        ([nn.MaxPool2d(2), nn.ConvTranspose2d(1, 1, 2, 2)], 2, 2, 2),
        ([nn.MaxPool2d(2), nn.ConvTranspose2d(1, 1, 4, 2, 1)], 2, 4, 2),
        ([nn.PixelUnshuffle(2), nn.Conv2d(4, 4, 3, padding=1), nn.PixelShuffle(2)], 2, 6, 2),
        ([Residual(conv(5, padding=2)), nn.BatchNorm2d(1), nn.PReLU()], 1, 5, 1),
        ([Cropped()], 1, 2, 1),
        ([nn.ReplicationPad2d(1), conv(3)], 1, 3, 1),
        ([Residual(nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(1)))], 1, None, 1),
        ([nn.MaxPool2d(2), Residual(nn.AdaptiveAvgPool2d(1)), conv(1), nn.Upsample(scale_factor=2)], 2, None, 2),
        ([Attention()], 1, None, 1),
    ],
)  # fmt: skip
def test_by_hand(layers: list[nn.Module], stride: int, field: int | None, output_stride: int) -> None:
    assert view(*layers, stride=stride) == (field, output_stride)


@pytest.mark.parametrize(("depth", "field"), [(1, 3), (8, 17)])
def test_a_flat_network(depth: int, field: int) -> None:
    with torch.device("meta"):
        network = build("fcn-flat", 3, 2, {"depth": depth}).eval()
    assert tuple(trace(network, 3)) == (field, 1)


@pytest.mark.parametrize(
    ("name", "field"),
    # Araujo et al. 2019; ResNets that stride in their 3x3 convolution see less than those that stride in the last 1x1.
    [("resnet18", 435), ("resnet34", 899), ("resnet50", 427), ("resnet101", 971), ("vgg16", 212)],
)
def test_encoders_see_what_is_published(name: str, field: int) -> None:
    class Coarsest(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = build_encoder(name, 3, 8)
            self.stride = 32

        def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
            return self.encoder(x_BCHW)[-1]  # type: ignore[no-any-return]

    with torch.device("meta"):
        network = Coarsest().eval()
    assert tuple(trace(network, 3)) == (field, 32)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("unet", {"widths": [2, 2, 2]}),
        ("compact-2", {"widths": [4, 4, 4]}),
        ("fcn8s", {"width": 4}),
        ("enet", {"width": 8}),
    ],
)
def test_gradients_reach_as_far(name: str, options: dict[str, object]) -> None:
    with torch.device("meta"):
        network = build(name, 1, 2, options).eval()
    traced = trace(network, 1).receptive_field
    assert traced is not None
    torch.manual_seed(0)
    network = build(name, 1, 2, options).eval().double()
    # Positive weights and no negative values, so that ReLU lets everything through and nothing cancels; and average
    # instead of maximum, because a maximum has a gradient at one of its pixels only.
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.5 / max(1, parameter[0].numel()), 1 / max(1, parameter[0].numel()))
    width = -(-2 * traced // network.stride) * network.stride if isinstance(network.stride, int) else 0
    x_BCHW = torch.ones(1, 1, 2 * int(str(network.stride)), width, dtype=torch.double, requires_grad=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "max_pool2d", average)
        patch.setattr(F, "max_unpool2d", lambda x, _indices, _kernel: F.interpolate(x, scale_factor=2.0))
        for module in network.modules():
            if isinstance(module, nn.MaxPool2d):
                module.forward = lambda x, m=module: F.avg_pool2d(x, m.kernel_size, m.stride, m.padding)  # type: ignore[method-assign, misc]
        logits_BKHW = network(x_BCHW)
    fields = []
    for column in range(width // 2, width // 2 + int(str(network.stride))):
        (gradient,) = torch.autograd.grad(logits_BKHW[0, 1, 0, column], x_BCHW, retain_graph=True)
        seen = gradient[0, 0].ne(0).any(0).nonzero()
        fields.append(int(seen.max() - seen.min()) + 1)
    assert max(fields) == traced


def average(x_BCHW: torch.Tensor, kernel: int, return_indices: bool = False) -> object:
    pooled_BCHW = F.avg_pool2d(x_BCHW, kernel)
    return (pooled_BCHW, pooled_BCHW) if return_indices else pooled_BCHW


@pytest.mark.parametrize("name", ["deeplabv3", "pspnet", "unet-fc", "bisenetv2", "segformer-b0"])
def test_pooling_and_attention_see_everything(name: str) -> None:
    assert name in MODELS
    with torch.device("meta"):
        network = build(name, 3, 2).eval()
    assert trace(network, 3).receptive_field is None

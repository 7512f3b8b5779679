"""The cheaper form of upsampling and convolution is the plain one, up to rounding."""

from __future__ import annotations

import sys

import pytest
import torch
from torch.nn import functional as F

from maskwright.models.classic_unet import UNet, UpStep
from maskwright.models.upsampled_conv import upsampled_conv_relu


def plain(s_BCHW: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    up_BCHW = F.interpolate(s_BCHW, scale_factor=2.0, mode="nearest")
    return F.relu(F.conv2d(F.pad(up_BCHW, (0, 1, 0, 1)), weight, bias))


def arguments(*shape: int, outputs: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    sizes = shape, (outputs, shape[1], 2, 2), (outputs,)
    s, weight, bias = (torch.randn(size, dtype=torch.float64, generator=generator) for size in sizes)
    return s.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()


def test_one_pixel_by_hand() -> None:
    weight = torch.tensor([[[[1.0, 10.0], [100.0, 1000.0]]]])
    out = upsampled_conv_relu(torch.tensor([[[[2.0]]]]), weight, torch.tensor([0.5]))
    # The map is 2 2 / 2 2; beyond the right and the bottom edge there are zeros.
    assert out.tolist() == [[[[2222.5, 202.5], [22.5, 2.5]]]]
    assert not upsampled_conv_relu(torch.tensor([[[[2.0]]]]), -weight, torch.tensor([0.5])).any()


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 4, 1, 5), (1, 3, 6, 1), (2, 5, 4, 7)])
def test_values_and_gradients_are_those_of_the_plain_form(shape: tuple[int, ...]) -> None:
    ours, theirs = arguments(*shape), arguments(*shape)
    out, expected = upsampled_conv_relu(*ours), plain(*theirs)
    torch.testing.assert_close(out, expected)
    assert (expected == 0).any()
    assert (expected > 0).any()
    weights = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (out * weights).sum().backward()  # type: ignore[no-untyped-call]
    (expected * weights).sum().backward()  # type: ignore[no-untyped-call]
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_gradients_in_double_precision() -> None:
    assert torch.autograd.gradcheck(upsampled_conv_relu, arguments(1, 2, 3, 2, outputs=2))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layouts_stay_as_they_are(layout: torch.memory_format) -> None:
    s, weight, bias = (x.detach() for x in arguments(2, 4, 3, 5))
    weight = weight.contiguous(memory_format=layout).requires_grad_()
    out = upsampled_conv_relu(s.contiguous(memory_format=layout), weight, bias)
    assert out.is_contiguous(memory_format=torch.channels_last)
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert weight.grad.stride() == weight.stride(), "fused optimisers walk both in step"


def test_the_first_map_needs_no_gradient() -> None:
    s, weight, bias = arguments(1, 2, 3, 3)
    upsampled_conv_relu(s.detach(), weight, bias).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None


def test_a_step_up_trains_with_it_and_predicts_without() -> None:
    torch.manual_seed(0)
    step = UpStep(6, 3)
    plainly: list[str] = []
    step.conv.register_forward_hook(lambda *_: plainly.append("conv"))
    deep, skip = torch.randn(2, 6, 4, 5), torch.randn(2, 3, 8, 10)
    trained = step.train()(deep, skip)
    assert not plainly
    predicted = step.eval()(deep, skip)
    assert plainly == ["conv"]
    torch.testing.assert_close(trained, predicted, rtol=1e-5, atol=1e-6)


def test_the_whole_network_has_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = UNet(1, 2, widths=(6, 8, 10), dropout=0.0).double().train()
    x_BCHW = torch.randn(2, 1, 16, 24, dtype=torch.float64)

    def gradients() -> list[torch.Tensor]:
        network.zero_grad()
        (network(x_BCHW)[:, 1] ** 2).sum().backward()
        return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]

    fast = gradients()
    assert len(fast) == len(list(network.parameters()))
    assert any(gradient.any() for gradient in fast)
    # By the module, because maskwright.models has a function of that name.
    monkeypatch.setattr(sys.modules[UNet.__module__], "upsampled_conv_relu", plain)
    for one, other in zip(fast, gradients(), strict=True):
        torch.testing.assert_close(one, other)

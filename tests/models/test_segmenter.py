"""The segmenter's arithmetic, seen through a network that shows what it was given."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskwright.errors import ModelError
from maskwright.models import Segmenter
from maskwright.models.classic_unet import UNet


class Probe(nn.Module):
    """Keeps its input; its logits are the first channel and twice the first channel."""

    def __init__(self, stride: int = 4) -> None:
        super().__init__()
        self.stride = stride
        self.seen = torch.empty(0)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        self.seen = x_BCHW
        return torch.cat([x_BCHW[:, :1], 2 * x_BCHW[:, :1]], 1)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32, torch.float16, torch.float32, torch.float64])
def test_native_values_are_normalised_per_channel(dtype: torch.dtype) -> None:
    probe = Probe()
    segmenter = Segmenter(probe, mean=[100, 10], std=[20, 5])
    native = torch.tensor([130.0, 5.0]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4).to(dtype)
    logits_BKHW = segmenter(native)
    assert probe.seen.dtype == torch.float32
    assert (probe.seen[0, 0] == 1.5).all()
    assert (probe.seen[0, 1] == -1.0).all()
    assert logits_BKHW.dtype == torch.float32
    assert logits_BKHW[0, :, 0, 0].tolist() == [1.5, 3.0]


def test_sixteen_bits_are_not_squeezed() -> None:
    probe = Probe()
    values = torch.tensor([0, 1, 65534, 65535]).reshape(1, 1, 2, 2).to(torch.uint16)
    Segmenter(probe, mean=[0], std=[1])(values)
    assert probe.seen[0, 0, :2, :2].flatten().tolist() == [0, 1, 65534, 65535]


def test_input_is_left_alone() -> None:
    image = torch.full((1, 1, 4, 4), 7.0)
    Segmenter(Probe(), mean=[1], std=[2])(image)
    assert (image == 7.0).all()


def test_statistics_travel_in_the_state_dictionary() -> None:
    state = Segmenter(Probe(), mean=[1, 2, 3], std=[4, 5, 6]).state_dict()
    assert state["mean"].shape == state["std"].shape == (3, 1, 1)
    assert state["mean"].dtype == torch.float32
    assert state["std"].flatten().tolist() == [4, 5, 6]


def test_padding_repeats_the_edge_and_is_cut_off_again() -> None:
    probe = Probe(stride=4)
    segmenter = Segmenter(probe, mean=[0], std=[1])
    image = torch.arange(15.0).reshape(1, 1, 3, 5)
    logits_BKHW = segmenter(image)
    assert probe.seen.shape == (1, 1, 4, 8)
    assert probe.seen[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 4, 4, 4]
    assert probe.seen[0, 0, 3].tolist() == [10, 11, 12, 13, 14, 14, 14, 14]
    assert torch.equal(logits_BKHW, torch.cat([image, 2 * image], 1))


def test_a_single_pixel_fills_a_whole_stride() -> None:
    probe = Probe(stride=32)
    logits_BKHW = Segmenter(probe, mean=[0], std=[1]).eval()(torch.full((1, 1, 1, 1), 9.0))
    assert probe.seen.shape == (1, 1, 32, 32)
    assert (probe.seen == 9.0).all()
    assert logits_BKHW.flatten().tolist() == [9, 18]


def test_a_size_that_fits_is_not_padded() -> None:
    probe = Probe(stride=4)
    Segmenter(probe, mean=[0], std=[1])(torch.zeros(1, 1, 8, 12))
    assert probe.seen.shape == (1, 1, 8, 12)


def test_per_image_statistics_are_each_channel_s_of_each_image() -> None:
    probe = Probe(stride=1)
    # Channel 0: mean 1, deviation 1. Channel 1: constant. The second image is the first times 10 plus 5.
    image = torch.tensor([[[[0.0, 2.0]], [[0.1, 0.1]]]])
    Segmenter(probe, mean=[50, 50], std=[3, 3], per_image=True)(torch.cat([image, 10 * image + 5]))
    torch.testing.assert_close(probe.seen[:, 0, 0], torch.tensor([[-1.0, 1.0], [-1.0, 1.0]]))
    assert not probe.seen[:, 1].any()


def test_rounding_in_a_constant_channel_is_not_blown_up() -> None:
    probe = Probe(stride=1)
    image = torch.full((1, 1, 8, 8), 0.1)
    image[..., ::2] = torch.nextafter(image[..., ::2], torch.tensor(1.0))
    Segmenter(probe, mean=[0], std=[1], per_image=True)(image)
    assert probe.seen.abs().max() < 0.1


@pytest.mark.parametrize(
    ("scale", "size", "seen"),
    [
        (0.5, (10, 6), (8, 4)),
        (2.0, (10, 6), (20, 12)),
        (0.5, (1, 1), (4, 4)),
        (0.25, (30, 33), (8, 8)),
        (1.5, (3, 5), (8, 8)),
    ],
)
def test_working_scale(scale: float, size: tuple[int, int], seen: tuple[int, int]) -> None:
    # 10 x 6 at 0.5 is 5 x 3, padded to 8 x 4. Halves round up: 30 / 4 = 7.5 -> 8, 3 * 1.5 = 4.5 -> 5, 7.5 -> 8.
    probe = Probe(stride=4)
    logits_BKHW = Segmenter(probe, mean=[0], std=[1], scale=scale).eval()(torch.full((2, 1, *size), 3.0))
    assert probe.seen.shape == (2, 1, *seen)
    assert logits_BKHW.shape == (2, 2, *size)
    torch.testing.assert_close(logits_BKHW[:, 1], torch.full((2, *size), 6.0))


def test_reduced_images_skip_the_shrinking_alone() -> None:
    probe = Probe(stride=4)
    segmenter = Segmenter(probe, mean=[1], std=[2], scale=0.5)
    reduced = segmenter.at_working_scale()
    assert reduced.network is probe
    logits_BKHW = reduced.eval()(torch.full((2, 1, 5, 3), 3.0))
    assert probe.seen.shape == (2, 1, 8, 4)
    assert logits_BKHW.shape == (2, 2, 5, 3)
    torch.testing.assert_close(probe.seen, torch.ones(2, 1, 8, 4))
    assert {parameter.data_ptr() for parameter in reduced.parameters()} == {
        parameter.data_ptr() for parameter in segmenter.parameters()
    }
    larger = Segmenter(probe, mean=[0], std=[1], scale=2.0)
    assert larger.at_working_scale() is larger


def test_shrinking_averages_instead_of_picking() -> None:
    probe = Probe(stride=1)
    stripes = torch.zeros(1, 1, 32, 32)
    stripes[..., ::4] = 1.0
    Segmenter(probe, mean=[0], std=[1], scale=0.25)(stripes)
    # Plain bilinear sampling looks at columns 1 and 2 of every four, and would see nothing.
    torch.testing.assert_close(probe.seen[0, 0, :, 1:-1], torch.full((8, 6), 0.25))


def test_enlarging_and_going_back_keeps_a_ramp() -> None:
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    logits_BKHW = Segmenter(Probe(stride=1), mean=[0], std=[1], scale=2.0)(ramp)
    torch.testing.assert_close(logits_BKHW[0, 0, :, 1:-1], ramp[0, 0, :, 1:-1])


def test_wrong_inputs_are_refused() -> None:
    segmenter = Segmenter(Probe(), mean=[0, 0, 0], std=[1, 1, 1])
    with pytest.raises(ModelError, match="made for 3 channels, got 4"):
        segmenter(torch.zeros(1, 4, 8, 8))
    with pytest.raises(ModelError, match=r"shape \(3, 8, 8\).*batch, 3 channels, height, width"):
        segmenter(torch.zeros(3, 8, 8))
    with pytest.raises(ModelError, match="no pixels: its size is 0x8"):
        segmenter(torch.zeros(1, 3, 0, 8))
    with pytest.raises(ModelError, match=r"made for 1 channel, got 3"):
        Segmenter(Probe(), mean=[0], std=[1])(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("mean", "std", "scale", "message"),
    [
        ([0.0], [1.0, 1.0], 1.0, "mean has 1 and std 2"),
        ([], [], 1.0, "mean has 0 and std 0"),
        ([0.0], [0.0], 1.0, "deviations above 0"),
        ([float("nan")], [1.0], 1.0, "finite"),
        ([0.0], [float("nan")], 1.0, "finite"),
        ([0.0], [1.0], 0.0, r"scale = 0\.0"),
        ([0.0], [1.0], float("inf"), "scale = inf"),
    ],
)
def test_impossible_statistics_are_refused(mean: list[float], std: list[float], scale: float, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Segmenter(Probe(), mean=mean, std=std, scale=scale)


def narrow_unet() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(UNet(3, 4, widths=(4, 8, 8)), mean=[100] * 3, std=[50] * 3).eval()


def test_channels_last_gives_the_same_logits() -> None:
    segmenter = narrow_unet()
    image = torch.randint(0, 256, (2, 3, 30, 41), dtype=torch.uint8)
    with torch.inference_mode():
        expected = segmenter(image)
        segmenter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        logits_BKHW = segmenter(image.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(logits_BKHW, expected, rtol=1e-4, atol=1e-5)


def test_reduced_precision_inside_gives_float32_outside() -> None:
    segmenter = narrow_unet()
    image = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
    with torch.inference_mode():
        expected = segmenter(image)
        with torch.autocast("cpu", torch.bfloat16):
            logits_BKHW = segmenter(image)
    assert logits_BKHW.dtype == torch.float32
    torch.testing.assert_close(logits_BKHW, expected, rtol=0.1, atol=0.1)


def test_the_segmenter_can_be_traced_for_other_sizes() -> None:
    segmenter = narrow_unet()
    k = segmenter.stride
    batch = torch.export.Dim("batch", max=16)
    height, width = (torch.export.Dim(name, min=2, max=64) for name in ("height", "width"))
    example = torch.randint(0, 256, (2, 3, 3 * k, 4 * k), dtype=torch.uint8)
    program = torch.export.export(segmenter, (example,), dynamic_shapes=({0: batch, 2: k * height, 3: k * width},))
    other = torch.randint(0, 256, (1, 3, 7 * k, 2 * k), dtype=torch.uint8)
    torch.testing.assert_close(program.module()(other), segmenter(other))


class Supervised(Probe):
    """In training mode, gives its logits and two auxiliary outputs."""

    auxiliary = (0.4, 0.2)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:  # type: ignore[override]
        logits_BKHW = super().forward(x_BCHW)
        return (logits_BKHW, logits_BKHW + 1, logits_BKHW + 2) if self.training else logits_BKHW


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_auxiliary_outputs_have_the_size_of_the_image(scale: float) -> None:
    segmenter = Segmenter(Supervised(), mean=[0], std=[1], scale=scale)
    image = torch.full((2, 1, 5, 7), 3.0)
    assert segmenter.auxiliary == (0.4, 0.2)
    outputs = segmenter.train()(image)
    assert [output.shape for output in outputs] == 3 * [(2, 2, 5, 7)]
    assert [output[0, 0, 0, 0].item() for output in outputs] == [3, 4, 5]
    assert segmenter.eval()(image).shape == (2, 2, 5, 7)
    assert Segmenter(Probe(), mean=[0], std=[1]).auxiliary == ()


@pytest.mark.parametrize(("size", "seen"), [((1, 1), (4, 8)), ((4, 4), (4, 8)), ((4, 5), (4, 8)), ((5, 4), (8, 4))])
def test_in_training_the_deepest_map_has_two_values_or_more(size: tuple[int, int], seen: tuple[int, int]) -> None:
    probe = Probe()
    segmenter = Segmenter(probe, mean=[0], std=[1])
    assert segmenter.train()(torch.ones(1, 1, *size)).shape == (1, 2, *size)
    assert probe.seen.shape[2:] == seen
    segmenter.eval()(torch.ones(1, 1, 1, 1))
    assert probe.seen.shape[2:] == (4, 4)

"""Frozen features and a linear layer on them: places, tiles, normalisation, and that photographs taught something."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch.nn import functional as F

from maskwright.errors import ModelError
from maskwright.models.encoders import build_encoder
from maskwright.models.encoders.efficientnet_lite import EfficientNetLite
from maskwright.models.pixels import PixelFeatures, at_features, fit_linear, installed_features
from maskwright.synthetic import class_table, scene


@cache
def lite0(channels: int = 3, top: float = 255.0) -> PixelFeatures:
    found = installed_features("lite0", channels=channels, top=top)
    assert found is not None
    return found


def images(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [(1, 1), (33, 70), (64, 96)])
def test_512_numbers_at_a_quarter(size: tuple[int, int]) -> None:
    features_BDhw = lite0()(images(2, 3, *size))
    assert features_BDhw.shape == (2, 512, -(-size[0] // 4), -(-size[1] // 4))
    assert lite0().channels == 512
    assert features_BDhw.dtype == torch.float32
    assert not features_BDhw.requires_grad


def test_maps_are_averaged_or_interpolated_to_a_quarter() -> None:
    x_BCHW = images(1, 3, 64, 64)
    features_BDhw = lite0()(x_BCHW)
    with torch.no_grad():
        half, quarter, _, _, last = lite0().encoder((x_BCHW.float() - 127) / 128)
    torch.testing.assert_close(features_BDhw[:, :16], F.avg_pool2d(half, 2), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(features_BDhw[:, 16:40], quarter, rtol=1e-5, atol=1e-4)
    # Before the centre of the first of two places there is nothing to interpolate with.
    torch.testing.assert_close(features_BDhw[:, -320:, :4, :4], last[:, :, :1, :1].expand(-1, -1, 4, 4))


def test_a_frozen_encoder_stays_frozen() -> None:
    model = lite0().train()
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    before = model.encoder.state_dict()["bn0.running_mean"].clone()
    model(images(1, 3, 32, 32))
    assert torch.equal(model.encoder.state_dict()["bn0.running_mean"], before)


def narrow() -> PixelFeatures:
    """Lite0 with an eighth of its channels, and batch norms that change nothing but size: everything is passed on."""
    torch.manual_seed(0)
    encoder = build_encoder("lite0", 3, 8)
    assert isinstance(encoder, EfficientNetLite)
    return PixelFeatures(encoder, mean=[127.0] * 3, std=[128.0] * 3)


def test_tiles_agree_with_the_whole() -> None:
    model = narrow()
    x_BCHW = images(1, 3, 70, 1430)
    whole_BDhw = model(x_BCHW)
    together_BDhw = torch.full_like(whole_BDhw, torch.nan)
    spans = []
    for rows, columns, features_BDhw in model.tiles(x_BCHW, side=288):
        together_BDhw[..., rows, columns] = features_BDhw
        spans.append((columns.start, columns.stop))
    assert spans == [(0, 72), (72, 144), (144, 216), (216, 288), (288, 358)]
    torch.testing.assert_close(together_BDhw, whole_BDhw, rtol=1e-4, atol=1e-4 * float(whole_BDhw.abs().max()))


def test_the_halo_is_what_the_encoder_sees() -> None:
    model = narrow()
    assert model.halo == 480
    # By hand, from the last block to the stem: 456 pixels after the first of its own 32, 31 of which are its own.
    assert model.encoder.reach == 456 - 31
    x_BCHW = torch.zeros(1, 3, 32, 1024, requires_grad=True)
    model.encoder.requires_grad_(False)
    torch.manual_seed(0)
    noise_BCHW = 100 * torch.randn(1, 3, 32, 1024)
    place = model.encoder(x_BCHW + noise_BCHW)[-1][..., 0, 12]  # the columns from 12 x 32 on
    place.square().sum().backward()
    assert x_BCHW.grad is not None
    seen = x_BCHW.grad.abs().sum((0, 1, 2)).nonzero().flatten()
    assert int(seen.max()) <= 12 * 32 + 456
    assert int(seen.min()) >= max(0, 12 * 32 - 394)


def test_wrong_tiles_and_images_are_refused() -> None:
    with pytest.raises(ModelError, match=r"side = 100.*multiples of 32"):
        next(narrow().tiles(images(1, 3, 64, 64), side=100))
    with pytest.raises(ModelError, match=r"shape \(1, 1, 8, 8\).*3 channels"):
        narrow()(images(1, 1, 8, 8))


def test_native_values_of_every_kind_look_the_same() -> None:
    x_BCHW = images(1, 3, 64, 64)
    expected = lite0()(x_BCHW)
    sixteen, unit = lite0(3, 65535.0), lite0(3, 1.0)
    torch.testing.assert_close(sixteen(x_BCHW.to(torch.int32) * 257), expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(unit(x_BCHW.float() / 255), expected, rtol=1e-3, atol=1e-3)
    grey = x_BCHW[:, :1]
    torch.testing.assert_close(lite0(1)(grey), lite0()(grey.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-3)


def test_a_mask_at_the_places_of_the_features() -> None:
    mask_HW = torch.arange(6 * 9).reshape(6, 9)
    # Pixel 2 of 4 in each direction; where the last place has fewer pixels, the last of them.
    assert at_features(mask_HW).tolist() == [[20, 24, 26], [47, 51, 53]]


def test_a_linear_layer_is_fitted_to_labelled_pixels_only() -> None:
    generator = torch.Generator().manual_seed(0)
    features_ND = 1000 * torch.randn(600, 3, generator=generator) + 5000
    target_N = (features_ND[:, 1] > 5000).long()
    wrong_N = torch.where(torch.arange(600) % 3 == 0, 255, target_N)
    layer, again = (fit_linear(features_ND, wrong_N, 2) for _ in range(2))
    assert torch.equal(layer.score.weight, again.score.weight)
    with torch.inference_mode():
        logits_1KHW = layer(features_ND.T.reshape(1, 3, 20, 30), (80, 119))
        found_N = layer.score(features_ND.T.reshape(1, 3, 20, 30)).argmax(1).flatten()
    assert logits_1KHW.shape == (1, 2, 80, 119)
    assert (found_N == target_N).float().mean() > 0.97
    with pytest.raises(ModelError, match="No pixel is labelled"):
        fit_linear(features_ND, torch.full((600,), 255), 2)


def test_photographs_taught_more_than_colour_tells() -> None:
    drawn = [scene("street", seed) for seed in range(9)]
    x_BCHW = torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image, _ in drawn])
    target_Bhw = at_features(torch.stack([torch.from_numpy(mask) for _, mask in drawn]))
    classes = len(class_table("street"))
    scores = []
    for features_BDhw in (lite0()(x_BCHW), F.avg_pool2d(x_BCHW.float(), 4)):
        train_ND, test_1DNN = features_BDhw[:6].permute(0, 2, 3, 1).flatten(0, 2), features_BDhw[6:]
        layer = fit_linear(train_ND, target_Bhw[:6].flatten(), classes, steps=200)
        with torch.inference_mode():
            right = layer.score(test_1DNN).argmax(1) == target_Bhw[6:]
        scores.append(float(right[target_Bhw[6:] < classes].float().mean()))
    deep, colour = scores
    assert deep > colour + 0.1, f"{deep:.3f} with features, {colour:.3f} with colour"

"""Features: tiles agree with the whole image, and reading pixels with enlarging maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from maskwright.imaging.filters import gaussian, gradient, hessian_eigenvalues, structure_eigenvalues
from maskwright.models.encoders import build_encoder
from maskwright.models.pixels import PixelFeatures
from maskwright.models.segmenter import make_segmenter
from maskwright.pixels import maps
from maskwright.pixels.local import LEVELS, features_per_level
from maskwright.pixels.maps import MARGIN, Map
from maskwright.pixels.model import MapCache
from maskwright.pixels.sources import TILE, Frozen, Local, Network, Range, Source, Trained


@pytest.fixture
def image() -> np.ndarray:
    """Two channels of 16 bits, 300 x 560: two rows of tiles and three columns."""
    return np.random.default_rng(1).integers(0, 4000, (300, 560, 2)).astype(np.uint16)


def test_filters_of_a_parabola_and_a_slope_are_known() -> None:
    y, x = np.mgrid[:41, :41].astype(np.float32) - 20
    across, down = gradient(3 * x - 2 * y)
    assert across[20, 20] == pytest.approx(3)
    assert down[20, 20] == pytest.approx(-2)
    large, small = hessian_eigenvalues(2 * x**2 - 0.5 * y**2)
    assert large[20, 20] == pytest.approx(4)
    assert small[20, 20] == pytest.approx(-1)
    # One direction: the whole strength lies in the larger eigenvalue.
    strong, weak = structure_eigenvalues(across, down, 1.5)
    assert strong[20, 20] == pytest.approx(np.hypot(3, 2), rel=1e-4)
    assert weak[20, 20] == pytest.approx(0, abs=1e-2)


@pytest.mark.parametrize("level", LEVELS, ids=str)
def test_a_coarse_level_is_as_smooth_as_its_scale_says(level: object) -> None:
    # A blob of known variance: a Gaussian of sigma makes its peak v / (v + sigma^2) as high.
    blob = 30.0
    y, x = np.mgrid[:256, :256].astype(np.float32) - 128
    image = np.exp(-(x**2 + y**2) / (2 * blob**2)).astype(np.float32)[..., None]
    found = Local(Range(middle=(0.0,), spread=(1.0,), top=1.0)).maps(image, 0, 0, 256)
    place = LEVELS.index(level)
    stride, values = found[place]
    for number, sigma in enumerate(LEVELS[place].sigmas):
        smooth = values[(stride == 1) + 8 * number].float()
        assert smooth.max().item() == pytest.approx(blob**2 / (blob**2 + sigma**2), abs=0.01)


def test_local_features_of_tiles_are_those_of_the_whole_image(image: np.ndarray) -> None:
    source = Local(Range.of([image]))
    whole = source.maps(image, 0, 0, 768)
    for top, left in ((0, 0), (0, 256), (256, 512)):
        for (stride, tile), (_, all_of_it) in zip(source.maps(image, top, left, TILE), whole, strict=True):
            margin = MARGIN if stride > 1 else 0
            rows, columns = (slice(at // stride, (at + TILE) // stride + 2 * margin) for at in (top, left))
            torch.testing.assert_close(tile, all_of_it[:, rows, columns], rtol=2e-3, atol=2e-4)


def test_every_level_has_its_features_and_what_is_no_number_is_zero() -> None:
    image = np.random.default_rng(0).normal(size=(64, 64, 3)).astype(np.float32)
    holes, zeros = image.copy(), image.copy()
    holes[20:30, 20:30] = np.nan
    zeros[20:30, 20:30] = 0
    source = Local(Range.of([image]))
    found, same = source.maps(holes, 0, 0, TILE), source.maps(zeros, 0, 0, TILE)
    assert [len(one.values_Dhw) for one in found] == features_per_level(3)
    assert all(torch.equal(one.values_Dhw, other.values_Dhw) for one, other in zip(found, same, strict=True))


def frozen(channels: int) -> Frozen:
    """The source with an encoder of random weights, so that a test needs no installed ones."""
    torch.manual_seed(0)
    source = Frozen.__new__(Frozen)
    encoder = build_encoder("lite0", channels)
    source._features = PixelFeatures(encoder, mean=[1000.0] * channels, std=[1000.0] * channels)  # type: ignore[arg-type]
    return source


def test_encoder_features_of_blocks_are_those_of_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(1).integers(0, 4000, (96, 1200, 1)).astype(np.uint16)
    source, cache = frozen(1), MapCache()
    (whole,) = cache.tile("whole", image, [source], 0, 512)
    monkeypatch.setattr("maskwright.pixels.sources.WHOLE", 1000)
    monkeypatch.setattr("maskwright.pixels.sources.BLOCK", 256)
    (tile,) = cache.tile("blocks", image, [source], 0, 512)
    assert source.block((96, 1200)) == 256
    torch.testing.assert_close(tile.values_Dhw, whole.values_Dhw, rtol=2e-2, atol=2e-2)


def test_network_features_of_blocks_are_those_of_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    described = {
        "name": "compact-2", "options": {}, "channels": 2, "classes": 3, "mean": [2000.0] * 2, "std": [1000.0] * 2,
        "per_image": False, "scale": 1.0,
    }  # fmt: skip
    source: Source = Trained(Network(segmenter=make_segmenter(described), description=described))
    image = np.random.default_rng(1).integers(0, 4000, (64, 1300, 2)).astype(np.uint16)
    cache = MapCache()
    whole = cache.tile("whole", image, [source], 0, 512)
    assert [one.stride for one in whole] == [1, 4]
    assert len(whole[0].values_Dhw) == 3
    monkeypatch.setattr("maskwright.pixels.sources.WHOLE", 1000)
    monkeypatch.setattr("maskwright.pixels.sources.BLOCK", 256)
    for one, other in zip(cache.tile("blocks", image, [source], 0, 512), whole, strict=True):
        torch.testing.assert_close(one.values_Dhw, other.values_Dhw, rtol=2e-2, atol=2e-2)


def test_reading_pixels_a_layer_of_maps_and_enlarging_them_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    fine = Map(1, torch.randn(3, 32, 32, generator=generator).half())
    coarse = Map(4, torch.randn(5, 10, 10, generator=generator).half())
    weight, bias = torch.randn(2, 8, generator=generator), torch.randn(2, generator=generator)
    enlarged = F.interpolate(coarse.values_Dhw[None].float(), scale_factor=4, mode="bilinear")[0, :, 4:-4, 4:-4]
    both = torch.cat([fine.values_Dhw.float(), enlarged])
    places = torch.arange(32 * 32)
    read = maps.read((fine, coarse), places // 32, places % 32)
    torch.testing.assert_close(read, both.reshape(8, -1).T, rtol=1e-5, atol=1e-5)
    layer = maps.layer((fine, coarse), weight, bias).reshape(2, -1)
    torch.testing.assert_close(layer, weight @ read.T + bias[:, None], rtol=1e-4, atol=1e-4)


def test_the_range_of_values_leaves_out_what_is_rare_or_no_number() -> None:
    image = np.zeros((100, 100, 2), np.float32)
    image[..., 0] = np.linspace(-1, 1, 100)
    image[0, 0] = np.nan
    image[50, 50, 0] = 1e6
    found = Range.of([image])
    assert found.middle[0] == pytest.approx(0, abs=0.02)
    assert found.spread == pytest.approx((0.98, 1), abs=0.03)
    assert Range.of([np.full((4, 4, 1), 9, np.uint8)]).top == 255


def test_the_cache_keeps_to_its_memory_and_computes_a_block_once(image: np.ndarray) -> None:
    class Counting(Local):
        computed = 0

        def maps(self, image: np.ndarray, top: int, left: int, side: int) -> maps.Maps:
            Counting.computed += 1
            return super().maps(image, top, left, side)

    source = Counting(Range.of([image]))
    one = maps.size(source.maps(image, 0, 0, TILE))
    Counting.computed = 0
    cache = MapCache(memory=2 * one)
    for left in (0, 0, 256, 0, 512, 0, 256):
        cache.tile("image", image, [source], 0, left)
    assert Counting.computed == 4
    assert cache._bytes <= 2 * one


def test_a_gaussian_ends_at_its_radius() -> None:
    point = np.zeros((1, 41), np.float32)
    point[0, 20] = 1
    assert np.flatnonzero(gaussian(point, 2.0)[0]).tolist() == list(range(13, 28))

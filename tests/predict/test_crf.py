"""The dense CRF against mean field over all pairs in float64; and what it is for."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from maskwright.errors import SettingError
from maskwright.predict import crf
from maskwright.predict.crf import CRFSettings, colors, refine
from maskwright.synthetic import scene


def all_pairs(
    probabilities_HWK: np.ndarray, image_HWC: np.ndarray, settings: CRFSettings, valid_HW: np.ndarray | None = None
) -> np.ndarray:
    """Mean field with both kernels as N x N matrices, straight from the paper's equations."""
    height, width, classes = probabilities_HWK.shape
    place_N2 = np.stack(np.meshgrid(range(height), range(width), indexing="ij"), 2).reshape(-1, 2).astype(float)
    color_NC = colors(image_HWC).reshape(height * width, -1).astype(float)
    seen_N = np.ones(height * width) if valid_HW is None else valid_HW.ravel().astype(float)

    def squared(points: np.ndarray) -> np.ndarray:
        norms = (points**2).sum(1)
        return np.asarray(np.maximum(norms[:, None] + norms[None] - 2 * points @ points.T, 0))

    appearance = squared(place_N2) / settings.appearance_pixels**2 + squared(color_NC) / settings.appearance_color**2
    smoothness = squared(place_N2) / settings.smoothness_pixels**2
    kernel_NN = np.zeros((height * width, height * width))
    for weight, exponent in ((settings.appearance_weight, appearance), (settings.smoothness_weight, smoothness)):
        every = np.exp(-exponent / 2) * seen_N
        np.fill_diagonal(every, 1)
        root = np.sqrt(every.sum(1))
        kernel_NN += weight * every / root / root[:, None]
    np.fill_diagonal(kernel_NN, 0)

    log_NK = np.log(np.maximum(probabilities_HWK.reshape(-1, classes).astype(float), crf.CERTAIN))
    marginals_NK = softmax(log_NK)
    for _ in range(settings.iterations):
        marginals_NK = softmax(log_NK + kernel_NN @ marginals_NK)
    return np.asarray(marginals_NK.reshape(height, width, classes))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def network_output(mask_HW: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Probabilities as of a middling network: blurred, and wrong in patches."""
    rng = np.random.default_rng(seed)
    logits = np.zeros((*mask_HW.shape, classes), np.float32)
    for label in range(classes):
        noise = cv2.GaussianBlur(rng.normal(size=mask_HW.shape), (0, 0), 3)
        logits[..., label] = (
            4 * cv2.GaussianBlur((mask_HW == label).astype(float), (0, 0), 2) + 0.8 * noise / noise.std()
        )
    return softmax(logits).astype(np.float32)


@pytest.mark.parametrize("kind", ["street", "cells", "fields"])
def test_it_agrees_with_mean_field_over_all_pairs(kind: str) -> None:
    image, mask = scene(kind, seed=3, size=(64, 64))
    image = image[:48]
    probabilities = network_output(mask[:48], int(mask.max()) + 1, seed=1)
    refined = refine(probabilities, image)
    expected = all_pairs(probabilities, image, crf.DEFAULTS)
    assert refined.shape == probabilities.shape
    assert refined.dtype == np.float32
    np.testing.assert_allclose(refined.sum(2), 1, atol=1e-5)
    # The bars are 0.02 and 99.5 %.
    assert np.abs(refined - expected).mean() < 0.002
    assert (refined.argmax(2) == expected.argmax(2)).mean() >= 0.995
    assert np.abs(refined - probabilities).mean() > 0.02, "it must have changed something"


def test_pixels_without_data_influence_nobody() -> None:
    image, mask = scene("street", seed=4, size=(64, 64))
    image, mask = image[:32, :40], mask[:32, :40]
    probabilities = network_output(mask, 7, seed=2)
    valid = np.ones((32, 40), bool)
    valid[:, 25:] = False
    refined = refine(probabilities, image, valid_HW=valid)
    assert np.abs(refined - all_pairs(probabilities, image, crf.DEFAULTS, valid)).mean() < 0.002
    other_image, other = image.copy(), probabilities.copy()
    other_image[:, 25:], other[:, 25:] = 0, 1 / 7
    np.testing.assert_allclose(refine(other, other_image, valid_HW=valid)[:, :20], refined[:, :20], atol=0.01)


def test_an_edge_that_the_network_missed_is_found() -> None:
    rng = np.random.default_rng(0)
    image: np.ndarray = np.full((40, 60, 3), (90, 120, 60), np.uint8)
    image[:, 30:] = (150, 60, 60)
    image = np.clip(image + rng.normal(0, 1, image.shape), 0, 255).astype(np.uint8)
    truth = np.zeros((40, 60), int)
    truth[:, 30:] = 1
    # The network's edge is blurred and four pixels too far right; and it sees an island where there is none.
    second = 1 / (1 + np.exp(-(np.arange(60) - 34) / 3)) * np.ones((40, 1))
    second[10:13, 8:11] = 0.7
    refined = refine(np.stack([1 - second, second], 2).astype(np.float32), image)
    assert ((second > 0.5) == truth).mean() < 0.95
    assert (refined.argmax(2) == truth).all()


def test_inputs_stay_and_results_repeat() -> None:
    image, mask = scene("cells", seed=0, size=(64, 64))
    probabilities = network_output(mask, 2, seed=0)
    copies = probabilities.copy(), image.copy()
    first = refine(probabilities, image)
    assert np.array_equal(refine(probabilities, image), first)
    assert np.array_equal(probabilities, copies[0])
    assert np.array_equal(image, copies[1])


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (17, 2)])
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_any_size_channels_and_type(shape: tuple[int, int], channels: int, dtype: type) -> None:
    rng = np.random.default_rng(0)
    image: np.ndarray = (rng.random((*shape, channels)) * 200).astype(dtype)
    refined = refine(rng.dirichlet(np.ones(3), shape).astype(np.float32), image)
    assert refined.shape == (*shape, 3)
    assert np.isfinite(refined).all()
    np.testing.assert_allclose(refined.sum(2), 1, atol=1e-5)


def test_a_constant_float_image_and_certain_probabilities() -> None:
    certain = np.zeros((6, 6, 2), np.float32)
    certain[..., 0] = 1
    assert (refine(certain, np.full((6, 6, 1), 0.5, np.float32))[..., 0] > 0.999).all()


def test_many_classes() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(255), (4, 5)).astype(np.float32)
    settings = CRFSettings(smoothness_pixels=1)
    image = rng.integers(0, 256, (4, 5, 3), np.uint8)
    assert np.abs(refine(probabilities, image, settings) - all_pairs(probabilities, image, settings)).mean() < 1e-3


def test_large_images_are_refined_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    image, mask = scene("street", seed=5, size=(64, 96))
    probabilities = network_output(mask, 7, seed=5)
    settings = CRFSettings(appearance_pixels=10)
    whole = refine(probabilities, image, settings)
    monkeypatch.setattr(crf, "TILE", 64)
    monkeypatch.setattr(crf, "OVERLAP", 32)
    tiled = refine(probabilities, image, settings)
    assert not np.array_equal(tiled, whole)
    assert (tiled.argmax(2) == whole.argmax(2)).mean() > 0.98


def test_colors_mean_the_same_whatever_the_channels() -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (8, 9, 1), np.uint8)

    def distances(image: np.ndarray) -> np.ndarray:
        points = colors(image).reshape(72, -1)
        return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=2))

    rgb = np.repeat(grey, 3, 2)
    np.testing.assert_allclose(distances(rgb), distances(grey), rtol=1e-5, atol=1e-3)
    assert colors(rgb)[0, 0].tolist() == rgb[0, 0].tolist()
    # Six channels that are twice three: the components keep every distance, here scaled by the root of 3 / 6.
    color = rng.integers(0, 256, (8, 9, 3), np.uint8)
    np.testing.assert_allclose(distances(np.concatenate([color, color], 2)), distances(color), rtol=1e-3, atol=1e-2)
    # 16 bits of which twelve are used, and floats: the image's own range counts, but for its extremes.
    ramp = np.linspace(1000, 5095, 72).reshape(8, 9, 1)
    as_16_bits, as_float = colors(ramp.astype(np.uint16)), colors((ramp / 5e5).astype(np.float32))
    assert np.ptp(as_16_bits) == pytest.approx(255 * np.sqrt(3) / 0.98, rel=1e-3)
    # The types' rounding apart: a level in 4096 is a tenth of a unit.
    np.testing.assert_allclose(as_float - as_float.min(), as_16_bits - as_16_bits.min(), atol=0.2)


@pytest.mark.parametrize(("name", "value"), [("appearance_color", 0.0), ("iterations", 0), ("smoothness_weight", -1.0)])
def test_settings_are_above_zero(name: str, value: float) -> None:
    with pytest.raises(SettingError, match=rf"crf {name} = {value}: expected a number above 0"):
        CRFSettings(**{name: value})  # type: ignore[arg-type]

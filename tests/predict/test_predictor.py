from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from maskwright import Predictor, runs
from maskwright.config import Augmentation, Settings, Training
from maskwright.datasets.classes import UNLABELLED
from maskwright.datasets.formats import open_dataset
from maskwright.errors import DataError, InputWarning, ModelError, RunError
from maskwright.predict import predictor as module
from maskwright.predict.crf import CRFSettings, refine
from maskwright.predict.predictor import Prediction
from maskwright.training import session

WritePairs = Callable[..., Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, write_pairs: WritePairs) -> Path:
    """A run that has learnt discs, beside its data."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_pairs(folder / "discs", 8)
    training = Training(
        model="compact-2", model_options={"widths": [6, 8]}, crop=(32, 32), batch=4, steps=50, lr=0.01, tta=True
    )
    prepared = session.prepare(data, Settings(training=training, augmentation=Augmentation(flip_horizontal=True)))
    session.start(folder / "run", prepared, started=time.time())
    return folder


@pytest.fixture
def predictor(trained: Path) -> Predictor:
    return Predictor.load(trained / "run", "cpu")


@pytest.fixture
def image(trained: Path) -> np.ndarray:
    dataset = open_dataset(trained / "discs")
    return dataset.read(dataset.samples[0]).image


def test_it_finds_the_disc(trained: Path, predictor: Predictor) -> None:
    dataset = open_dataset(trained / "discs")
    pair = dataset.read(dataset.samples[0])
    prediction = predictor(pair.image)
    assert prediction.mask.dtype == np.uint8
    assert (prediction.mask == pair.mask).mean() > 0.95
    assert prediction.probabilities.shape == (40, 48, 2)
    np.testing.assert_allclose(prediction.probabilities.sum(2), 1, atol=1e-5)
    np.testing.assert_array_equal(prediction.probabilities.argmax(2), prediction.mask)
    assert prediction.overlay().shape == (40, 48, 3)


def test_uncertainty_is_the_entropy_over_its_largest_value(predictor: Predictor, image: np.ndarray) -> None:
    prediction = predictor(image)
    p = prediction.probabilities.astype(np.float64)
    expected = -(p * np.log2(np.maximum(p, 1e-12))).sum(2)  # for two classes, log base 2
    np.testing.assert_allclose(prediction.uncertainty, expected, atol=1e-5)
    assert prediction.uncertainty.max() <= 1


def test_a_moved_run_of_three_files_still_predicts(
    trained: Path, predictor: Predictor, image: np.ndarray, tmp_path: Path
) -> None:
    for name in (runs.RUN, runs.PLAN, runs.WEIGHTS):
        shutil.copy(trained / "run" / name, tmp_path / name)
    np.testing.assert_array_equal(Predictor.load(tmp_path, "cpu")(image).probabilities, predictor(image).probabilities)


def test_mirrored_images_are_averaged(predictor: Predictor, image: np.ndarray) -> None:
    assert predictor.flips == (True, True)
    both = predictor(image).probabilities
    np.testing.assert_allclose(predictor(image[:, ::-1]).probabilities[:, ::-1], both, atol=1e-5)
    np.testing.assert_allclose(predictor(image[::-1]).probabilities[::-1], both, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (3, 70), (41, 33)])
def test_any_size(predictor: Predictor, size: tuple[int, int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        prediction = predictor(np.full((*size, 3), 60, np.uint8))
    assert prediction.mask.shape == size


def test_invalid_pixels_are_255(predictor: Predictor, image: np.ndarray) -> None:
    valid = np.ones((40, 48), bool)
    valid[:5] = False
    mask = predictor(image, valid).mask
    assert (mask[:5] == UNLABELLED).all()
    assert (mask[5:] != UNLABELLED).all()
    with pytest.raises(DataError, match=r"valid mask has shape \(2, 2\). Expected that of the image, \(40, 48\)"):
        predictor(image, valid[:2, :2])


def test_tiles_give_what_the_whole_image_gives(
    predictor: Predictor, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = np.tile(image, (3, 3, 1))
    whole = predictor(large)
    monkeypatch.setattr(module, "WHOLE", 1000)
    monkeypatch.setattr(module, "TILE", 64)
    monkeypatch.setattr(module, "OVERLAP", 32)
    tiled = predictor(large)
    # Only what the tile's edge hides from the network differs.
    assert (tiled.mask == whole.mask).mean() > 0.99
    assert np.abs(tiled.probabilities - whole.probabilities).mean() < 0.02


def test_a_dense_crf_refines_probabilities_and_mask(predictor: Predictor, image: np.ndarray) -> None:
    plain = predictor(image)
    predictor.crf = CRFSettings()
    valid = np.ones((40, 48), bool)
    valid[:5] = False
    refined = predictor(image, valid)
    np.testing.assert_allclose(
        refined.probabilities, refine(plain.probabilities, image, CRFSettings(), valid), atol=1e-6
    )
    np.testing.assert_array_equal(refined.mask[5:], refined.probabilities.argmax(2)[5:])
    assert (refined.mask[:5] == UNLABELLED).all()
    assert np.abs(refined.probabilities - plain.probabilities).max() > 0.01


def test_images_unlike_the_training_data_are_named(predictor: Predictor, image: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"has 1 channel\(s\). Expected 3"):
        predictor(image[:, :, 0])
    with pytest.raises(DataError, match=r"has values of float32. Expected uint8, .* Give the image as it was stored"):
        predictor((image / 255).astype(np.float32))
    with pytest.raises(DataError, match=r"has shape \(4,\). Expected H x W"):
        predictor(np.zeros(4, np.uint8))
    with pytest.warns(InputWarning, match=r"unlike the training data: its values run from 0 to 1"):
        predictor(image // 128)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictor(image)


def test_an_incomplete_run_is_named(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run"):
        Predictor.load(tmp_path)
    shutil.copy(trained / "run" / runs.RUN, tmp_path)
    with pytest.raises(RunError, match=r"has no model.safetensors. Expected the weights"):
        Predictor.load(tmp_path)
    (tmp_path / runs.WEIGHTS).write_bytes(b"not weights")
    with pytest.raises(ModelError, match=r"model.safetensors cannot be read as weights"):
        Predictor.load(tmp_path)


def test_an_overlay_leaves_unlabelled_pixels_alone(predictor: Predictor) -> None:
    rgb = np.full((6, 6, 3), 100, np.uint8)
    mask = np.full((6, 6), 1, np.uint8)
    mask[:, :3] = UNLABELLED
    probabilities = np.zeros((6, 6, 2), np.float32)
    prediction = Prediction(image=rgb, mask=mask, probabilities=probabilities, classes=predictor.classes)
    shown = prediction.overlay(0.5)
    np.testing.assert_array_equal(shown[:, :3], 100)
    np.testing.assert_allclose(shown[0, 5], (100 + predictor.classes.colors[1].astype(float)) / 2, atol=1)
    assert (rgb == 100).all()

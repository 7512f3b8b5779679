from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import maskwright
from maskwright import Predictor, runs
from maskwright.config import Augmentation, Settings, Training
from maskwright.datasets.classes import UNLABELLED
from maskwright.datasets.formats import open_dataset
from maskwright.errors import DataError, InputWarning, ModelError, RunError, SettingError
from maskwright.models.segmenter import Segmenter
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
    session.start(folder / "run", prepared, started=time.monotonic())
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


def test_integers_are_a_valid_mask_and_floats_are_refused(predictor: Predictor, image: np.ndarray) -> None:
    valid = np.ones((40, 48), np.uint8)
    valid[:, :7] = 0
    mask = predictor(image, valid).mask
    assert (mask[:, :7] == UNLABELLED).all()
    assert (mask[:, 7:] != UNLABELLED).all()
    with pytest.raises(DataError, match=r"valid mask has values of float64. Expected bool"):
        predictor(image, valid * 0.5)


def test_what_a_masked_array_hides_is_not_valid(predictor: Predictor, image: np.ndarray) -> None:
    hidden = np.zeros(image.shape, bool)
    hidden[3, 4, 1] = True
    valid = np.ones((40, 48), bool)
    valid[9, 9] = False
    masked = np.ma.masked_array(image, hidden)
    assert np.argwhere(predictor(masked).mask == UNLABELLED).tolist() == [[3, 4]]
    assert np.argwhere(predictor(masked, valid).mask == UNLABELLED).tolist() == [[3, 4], [9, 9]]


def test_a_device_that_is_not_there_is_refused(trained: Path) -> None:
    for device in ("cuda:77", "gpu"):
        with pytest.raises(SettingError, match=rf"device = '{device}': expected one of cpu"):
            Predictor.load(trained / "run", device)


def test_training_mode_changes_no_prediction(predictor: Predictor, image: np.ndarray) -> None:
    before = predictor(image).probabilities
    part = next(iter(predictor.segmenter.network.children()))
    for module_ in (predictor.segmenter, part):
        module_.train()
        np.testing.assert_array_equal(predictor(image).probabilities, before)
        assert module_.training
        predictor.segmenter.eval()
    np.testing.assert_array_equal(predictor(image).probabilities, before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_predicts(trained: Path, tmp_path: Path) -> None:
    program = (
        "import multiprocessing, sys\n"
        "import numpy as np\n"
        "from maskwright import Predictor\n"
        "predictor = Predictor.load(sys.argv[1], 'cpu')\n"
        "def count(_):\n"
        "    return predictor(np.full((300, 300, 3), 60, np.uint8)).mask.size\n"
        "with multiprocessing.get_context('fork').Pool(1) as pool:\n"
        "    print(pool.map_async(count, [0]).get(timeout=30))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(maskwright.__file__).parents[1]), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, trained / "run"],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.stdout == "[90000]\n", done.stderr


def test_statistics_are_the_image_s_and_mirrored_tiles_lie_on_its_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that answers with its normalised input, and one that answers with the place in its grid."""

    class Pattern(nn.Module):
        stride = 8

        def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
            """The input and where on the grid of 8 pixels it is seen: logits of two classes."""
            columns_W = torch.arange(x_BCHW.shape[3]) % 8 / 8
            return torch.cat([x_BCHW, columns_W.expand(x_BCHW.shape)], 1)

    description = {"name": "x", "channels": 1}
    run = {
        "classes": {"class": [{"name": "a", "value": 0}, {"name": "b", "value": 1}]},
        "preparation": {},
        "tta": {"horizontal": True, "vertical": False},
        "input": {"channels": 1, "dtype": "uint8", "low": 0, "middle": 100, "high": 255},
        "network": description,
    }
    weights = nn.Parameter(torch.zeros(1))
    segmenter = Segmenter(Pattern(), mean=[0.0], std=[1.0], per_image=True)
    segmenter.register_parameter("unused", weights)
    predictor = Predictor(segmenter, run, "a test")
    image = np.arange(100 * 100).reshape(100, 100, 1) // 40 % 256
    whole = predictor(image.astype(np.uint8)).probabilities
    monkeypatch.setattr(module, "WHOLE", 1000)
    monkeypatch.setattr(module, "TILE", 48)
    monkeypatch.setattr(module, "OVERLAP", 16)
    np.testing.assert_allclose(predictor(image.astype(np.uint8)).probabilities, whole, atol=1e-5)


def test_what_changes_masks_is_told(predictor: Predictor) -> None:
    assert predictor.refinements == {}
    predictor.crf, predictor.flips = CRFSettings(iterations=3), (False, False)
    assert predictor.refinements["crf"]["iterations"] == 3
    assert predictor.refinements["flips"] == [False, False]

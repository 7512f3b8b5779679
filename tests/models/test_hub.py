"""Weights by their name on the Hugging Face Hub, offline: from a cache laid out as huggingface_hub does it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
import safetensors.torch

from maskwright.errors import ModelError
from maskwright.models import build, load_pretrained
from maskwright.models.encoders import build_encoder
from maskwright.models.hub import fetch, is_hub_name

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The snapshot of org/net in a cache of its own."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    repo = tmp_path / "models--org--net"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    (repo / "snapshots" / COMMIT).mkdir(parents=True)
    return repo / "snapshots" / COMMIT


def test_names() -> None:
    assert is_hub_name("hf://org/net")
    assert is_hub_name(Path("hf://org/net")), "a Path keeps one of the slashes"
    assert not is_hub_name("weights/hf.safetensors")
    assert not is_hub_name(Path("/hf/net.pth"))


def test_the_best_file_is_taken(cached: Path) -> None:
    (cached / "pytorch_model.bin").touch()
    assert fetch("hf://org/net") == cached / "pytorch_model.bin"
    (cached / "net.safetensors").touch()
    assert fetch("hf://org/net") == cached / "net.safetensors"
    (cached / "b.safetensors").touch()
    with pytest.raises(
        ModelError, match=r"2 files of weights: b\.safetensors, net\.safetensors\. .*hf://org/net/b\.saf"
    ):
        fetch("hf://org/net")
    (cached / "model.safetensors").touch()
    assert fetch("hf://org/net") == cached / "model.safetensors"
    assert fetch(Path("hf://org/net")) == cached / "model.safetensors"
    assert fetch("hf://org/net@main/b.safetensors") == cached / "b.safetensors"


def test_weights_and_their_statistics_come_from_the_cache(cached: Path) -> None:
    encoder = build_encoder("resnet18", 3, 4)
    safetensors.torch.save_file(encoder.state_dict(), cached / "model.safetensors")
    settings = {"pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}
    (cached / "config.json").write_text(json.dumps(settings))
    network = build("fcn8s", 3, 2, {"width": 4})
    origin = load_pretrained(network, "hf://org/net")
    assert (origin.kind, origin.mean, origin.std) == ("timm", (0.5,) * 3, (0.25,) * 3)
    assert network.get_parameter("encoder.conv1.weight").equal(encoder.get_parameter("conv1.weight"))


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf://org", "'hf://org' names no weights. Expected hf://ORGANISATION/REPOSITORY"),
        ("hf://org/absent", "hf://org/absent is neither in the cache of huggingface_hub nor could it be downloaded"),
        ("hf://org/net@other", "neither in the cache"),
        ("hf://org/net/a.bin", r"org/net has no file a\.bin"),
        ("hf://org/net", r"has no weights: expected model\.safetensors or pytorch_model\.bin"),
    ],
)
def test_what_is_not_there(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        fetch(name)


def test_without_huggingface_hub_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match=r"hf://org/net needs huggingface_hub.*pip install 'maskwright\[hub\]'"):
        fetch("hf://org/net")

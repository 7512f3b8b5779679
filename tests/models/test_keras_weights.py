"""Keras files of the classic U-Net give Keras's output.

`recorded/unet.*` were written by `benchmarks/peers/keras_side.py` (Keras 3.15) with widths 2, 3, 4 for 16 x 32 pixels.
"""

from __future__ import annotations

import gzip
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from maskwright.errors import ModelError
from maskwright.models import Segmenter, build, load_pretrained, unet
from maskwright.models.keras_weights import read_layers

RECORDED = Path(__file__).parent / "recorded"
WIDTHS = {"widths": (2, 3, 4)}
FORMS = ["model.hdf5", "weights.h5", "new.weights.h5", "model.keras"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the recorded weights in every form."""
    (tmp_path / "model.hdf5").write_bytes(gzip.decompress((RECORDED / "unet.hdf5.gz").read_bytes()))
    new = gzip.decompress((RECORDED / "unet.weights.h5.gz").read_bytes())
    (tmp_path / "new.weights.h5").write_bytes(new)
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("model.weights.h5", new)
    # save_weights of Keras 1 and 2 writes what save writes under model_weights, with names as bytes.
    with h5py.File(tmp_path / "model.hdf5") as model, h5py.File(tmp_path / "weights.h5", "w") as weights:
        group = model["model_weights"]
        weights.attrs["layer_names"] = [name.encode() for name in group.attrs["layer_names"]]
        for name in group:
            group.copy(name, weights)
            weights[name].attrs["weight_names"] = [part.encode() for part in group[name].attrs["weight_names"]]
    return tmp_path


@pytest.mark.parametrize("form", FORMS)
def test_the_output_is_keras_s(files: Path, form: str) -> None:
    network = build("unet", 1, 2, WIDTHS)
    origin = load_pretrained(network, files / form)
    assert (origin.kind, origin.mean, origin.std, origin.native) == ("keras", (0.0,), (1.0,), False)
    assert origin.description == "Keras weights of the classic U-Net, and its scaling of images to 0..1"
    mean, std = origin.statistics(255.0)
    with np.load(RECORDED / "unet.npz") as case:
        image_HWC, expected_HWC = case["input"], case["output"]
    with torch.inference_mode():
        logits_BKHW = Segmenter(network, mean=mean, std=std).eval()(torch.from_numpy(image_HWC).permute(2, 0, 1)[None])
    assert np.ptp(expected_HWC) > 0.1
    np.testing.assert_allclose(logits_BKHW.softmax(1)[0, 1].numpy(), expected_HWC[..., 0], atol=1e-5)


def test_layers_come_in_the_model_s_order(files: Path) -> None:
    # Fourteen layers, numbered from 1 because another came before them. As text, conv2d_10 would come before conv2d_2.
    names = [f"conv2d_{number}" for number in range(1, 15)]
    assert list(read_layers(files / "model.hdf5")) == names
    for form in FORMS:
        layers = read_layers(files / form)
        assert [layer[0].shape for layer in layers.values()] == [
            *((3, 3, 1, 2), (3, 3, 2, 2), (3, 3, 2, 3), (3, 3, 3, 3), (3, 3, 3, 4), (3, 3, 4, 4)),
            *((2, 2, 4, 3), (3, 3, 6, 3), (3, 3, 3, 3), (2, 2, 3, 2), (3, 3, 4, 2), (3, 3, 2, 2)),
            *((3, 3, 2, 2), (1, 1, 2, 1)),
        ]


def test_a_kernel_is_transposed(files: Path) -> None:
    network = build("unet", 1, 2, WIDTHS)
    load_pretrained(network, files / "model.hdf5")
    kernel_HWIO, bias_O = read_layers(files / "model.hdf5")["conv2d_2"]
    conv = network.get_submodule("down.0.conv2")
    assert conv.get_parameter("weight")[1, 0, 2, 1].item() == kernel_HWIO[2, 1, 0, 1]
    assert conv.get_parameter("bias").tolist() == bias_O.tolist()


def test_other_networks_are_refused_and_stay_as_they_were(files: Path) -> None:
    network = build("unet", 1, 2, {"widths": (2, 3, 5)})
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(
        ModelError,
        match=r"14 layers.*14 convolutions.*conv2d_5 has 3x3x3x4 and 4, expected 3x3x3x5 and 5; conv2d_6.*same widths",
    ):
        load_pretrained(network, files / "model.hdf5")
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    with pytest.raises(ModelError, match="has 14 layers with weights, and this U-Net has 24 convolutions"):
        unet(files / "model.hdf5")
    with pytest.raises(ModelError, match=r"Keras file, and the network is FCN\. Keras weights.*`unet`"):
        load_pretrained(build("fcn8s", 3, 2, {"width": 4}), files / "model.hdf5")


def test_files_without_keras_weights_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("hello")
    (tmp_path / "text.keras").write_text("hello")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w"):
        pass
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["numbers"] = [1, 2, 3]
    for name, message in {
        "text.h5": r"text\.h5 cannot be read as Keras weights",
        "text.keras": "cannot be read as Keras weights",
        "empty.keras": "cannot be read as Keras weights",
        "other.h5": "holds no layers with weights",
        "absent.h5": "does not exist",
    }.items():
        with pytest.raises(ModelError, match=message):
            read_layers(tmp_path / name)


def test_without_h5py_the_message_says_what_to_install(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ModelError, match=r"needs h5py.*pip install 'maskwright\[keras\]'"):
        load_pretrained(build("unet", 1, 2, WIDTHS), files / "model.hdf5")

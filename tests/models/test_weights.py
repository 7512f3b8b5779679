"""Weights on disk: the same values back, strictly, and other people's checkpoints into our encoders."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F

from maskwright.errors import ModelError
from maskwright.models import MODELS, Segmenter, build
from maskwright.models.encoders import ENCODERS, Encoder, build_encoder
from maskwright.models.loading import load_weights, read_weights
from maskwright.models.pretrained import LICENCES, Origin, load_encoder, load_pretrained
from maskwright.models.weights import save_weights

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def small(out: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, out, 3), nn.BatchNorm2d(out))


def equal(one: nn.Module, two: nn.Module) -> bool:
    a, b = one.state_dict(), two.state_dict()
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def test_safetensors_hold_exactly_the_state(tmp_path: Path) -> None:
    module, other = small(), small()
    module(torch.randn(2, 3, 8, 8))
    save_weights(module, tmp_path / "new folder" / "model.safetensors")
    assert not equal(module, other)
    load_weights(other, tmp_path / "new folder" / "model.safetensors")
    assert equal(module, other)
    assert other.state_dict()["1.num_batches_tracked"].item() == 1


def test_channels_last_modules_and_shared_memory_are_saved(tmp_path: Path) -> None:
    module = small()
    weight = module.get_parameter("0.weight")
    weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    tied = nn.ModuleList([module, module])
    save_weights(tied, tmp_path / "tied.safetensors")
    other = nn.ModuleList([small(), small()])
    load_weights(other, tmp_path / "tied.safetensors")
    assert equal(other[0], module)
    assert equal(other[1], module)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(small(), path)
    before = path.read_bytes()

    def half_a_file(_state: dict[str, torch.Tensor], target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", half_a_file)
    with pytest.raises(OSError, match="no space"):
        save_weights(small(), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_torch_checkpoints_are_read(tmp_path: Path, key: str | None) -> None:
    module, other = small(), small()
    state = module.state_dict()
    torch.save(state if key is None else {key: state, "epoch": 3}, tmp_path / "model.pth")
    load_weights(other, tmp_path / "model.pth")
    assert equal(module, other)


def test_what_does_not_fit_is_listed_and_nothing_is_loaded(tmp_path: Path) -> None:
    state = small().state_dict()
    state["0.weight"] = state["0.weight"][:2]
    state["2.weight"] = state.pop("0.bias")
    torch.save(state, tmp_path / "other.pth")
    module = small()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        load_weights(module, tmp_path / "other.pth")
    text = str(caught.value)
    assert "other.pth does not fit this Sequential of 7 tensors" in text
    assert "1 missing: 0.bias" in text
    assert "1 unexpected: 2.weight" in text
    assert "1 of another shape: 0.weight (file 2x3x3x3, network 4x3x3x3)" in text
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_long_lists_are_cut(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "empty.pth")
    with pytest.raises(
        ModelError, match=r"7 missing: 0\.weight, 0\.bias, 1\.weight, 1\.bias, 1\.running_mean and 2 more"
    ):
        load_weights(small(), tmp_path / "empty.pth")


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("open('exploded', 'w')",))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Bomb()}, tmp_path / "bomb.pth")
    (tmp_path / "bomb.pt").write_bytes(pickle.dumps(Bomb()))
    for name in ("bomb.pth", "bomb.pt"):
        with pytest.raises(ModelError, match=rf"{name} cannot be read as weights.*state_dict"):
            read_weights(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello, this is no header at all")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "weights.npz").touch()
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    torch.save({"state_dict": {"lr": 0.1}}, tmp_path / "numbers.pth")
    for name, message in {
        "text.pth": "cannot be read as weights",
        "text.safetensors": "cannot be read as weights",
        "empty.pth": "cannot be read as weights",
        "weights.npz": r"suffix '\.npz'.*safetensors",
        "tensor.pth": "holds Tensor, not tensors by name",
        "numbers.pth": "holds dict, not tensors by name",
        "absent.pth": "does not exist",
    }.items():
        with pytest.raises(ModelError, match=message):
            read_weights(tmp_path / name)


def torchvision_checkpoint(path: Path) -> Encoder:
    """A file as torchvision publishes it, classifier included, and the RGB encoder that it holds."""
    torch.manual_seed(0)
    encoder = build_encoder("resnet18", 3, width=8)
    state = dict(encoder.state_dict())
    state |= {"fc.weight": torch.zeros(1000, 64), "fc.bias": torch.zeros(1000)}
    torch.save(state, path)
    return encoder


def test_an_rgb_encoder_takes_a_checkpoint_as_it_is(tmp_path: Path) -> None:
    rgb = torchvision_checkpoint(tmp_path / "resnet18.pth")
    encoder = build_encoder("resnet18", 3, width=8)
    load_encoder(encoder, tmp_path / "resnet18.pth")
    assert equal(encoder, rgb)


def test_one_channel_answers_as_rgb_answers_to_grey(tmp_path: Path) -> None:
    rgb = torchvision_checkpoint(tmp_path / "resnet18.pth")
    encoder = build_encoder("resnet18", 1, width=8)
    load_encoder(encoder, tmp_path / "resnet18.pth")
    grey_B1HW = torch.randn(1, 1, 32, 32)
    with torch.inference_mode():
        expected = rgb.eval()(grey_B1HW.expand(1, 3, 32, 32))
        for mine, theirs in zip(encoder.eval()(grey_B1HW), expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_more_channels_repeat_rgb_and_keep_the_response(tmp_path: Path) -> None:
    weight_O3HW = torchvision_checkpoint(tmp_path / "resnet18.pth").get_parameter("conv1.weight")
    encoder = build_encoder("resnet18", 6, width=8)
    load_encoder(encoder, tmp_path / "resnet18.pth")
    torch.testing.assert_close(encoder.get_parameter("conv1.weight")[:, 4], weight_O3HW[:, 1] / 2)
    x_BCHW = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(
        F.conv2d(torch.cat([x_BCHW, x_BCHW], 1), encoder.get_parameter("conv1.weight")),
        F.conv2d(x_BCHW, weight_O3HW),
        rtol=1e-4,
        atol=1e-4,
    )
    two = build_encoder("resnet18", 2, width=8)
    load_encoder(two, tmp_path / "resnet18.pth")
    torch.testing.assert_close(two.get_parameter("conv1.weight"), weight_O3HW[:, :2] * 1.5)


def test_old_checkpoints_without_counters_are_read_and_other_gaps_are_not(tmp_path: Path) -> None:
    torchvision_checkpoint(tmp_path / "resnet18.pth")
    state = {k: v for k, v in read_weights(tmp_path / "resnet18.pth").items() if "num_batches_tracked" not in k}
    torch.save(state, tmp_path / "old.pth")
    load_encoder(build_encoder("resnet18", 3, width=8), tmp_path / "old.pth")
    del state["layer3.0.bn1.running_mean"]
    torch.save(state, tmp_path / "gap.pth")
    with pytest.raises(ModelError, match=r"1 missing: layer3\.0\.bn1\.running_mean"):
        load_encoder(build_encoder("resnet18", 3, width=8), tmp_path / "gap.pth")


def test_another_encoder_s_checkpoint_is_refused(tmp_path: Path) -> None:
    torchvision_checkpoint(tmp_path / "resnet18.pth")
    with pytest.raises(ModelError, match=r"resnet18\.pth does not fit this ResNet of 216 tensors: 80 missing"):
        load_encoder(build_encoder("resnet34", 3, width=8), tmp_path / "resnet18.pth")


def test_pretrained_weights_are_a_network_s_or_its_encoder_s(tmp_path: Path) -> None:
    trained, encoder = build("fcn8s", 3, 2, {"width": 4}), build_encoder("resnet18", 3, width=4)
    save_weights(trained, tmp_path / "network.safetensors")
    save_weights(encoder, tmp_path / "encoder.safetensors")
    network = build("fcn8s", 3, 2, {"width": 4})
    origin = load_pretrained(network, tmp_path / "network.safetensors")
    assert (origin.kind, origin.mean, origin.std) == ("maskwright", None, None)
    assert equal(network, trained)
    origin = load_pretrained(network, tmp_path / "encoder.safetensors")
    assert (origin.kind, origin.mean, origin.std, origin.native) == ("timm", *IMAGENET, False)
    assert equal(network.get_submodule("encoder"), encoder)
    assert not equal(network.get_submodule("encoder"), trained.get_submodule("encoder"))


def test_a_run_s_weights_bring_its_statistics(tmp_path: Path) -> None:
    trained = Segmenter(build("fcn8s", 2, 2, {"width": 4}), mean=(100.0, 3.5), std=(20.0, 0.25))
    save_weights(trained, tmp_path / "model.safetensors")
    network = build("fcn8s", 2, 2, {"width": 4})
    origin = load_pretrained(network, tmp_path / "model.safetensors")
    assert equal(network, trained.network)
    assert origin == Origin(
        kind="maskwright",
        mean=(100.0, 3.5),
        std=(20.0, 0.25),
        native=True,
        description="weights of an earlier run, and the mean and standard deviation of its images",
    )
    assert origin.statistics(255.0) == ([100.0, 3.5], [20.0, 0.25])
    (tmp_path / "run.json").write_text('{"network": {"per_image": false}}')
    assert load_pretrained(network, tmp_path) == origin, "a run folder stands for its weights"
    (tmp_path / "run.json").write_text('{"network": {"per_image": true}}')
    origin = load_pretrained(network, tmp_path)
    assert (origin.mean, origin.std, origin.description) == (None, None, "weights of an earlier run")


@pytest.mark.parametrize(
    ("channels", "mean", "std"),
    [
        (3, *IMAGENET),
        # Grey sees the sum of the RGB weights, and so their average statistics.
        (1, (0.449,), (0.226,)),
        (2, (0.485, 0.456), (0.229, 0.224)),
        (5, (0.485, 0.456, 0.406, 0.485, 0.456), (0.229, 0.224, 0.225, 0.229, 0.224)),
    ],
)
def test_imagenet_s_statistics_follow_the_channels(
    tmp_path: Path, channels: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    torchvision_checkpoint(tmp_path / "resnet18.pth")
    network = build("fcn8s", channels, 2, {"width": 8})
    origin = load_pretrained(network, tmp_path / "resnet18.pth")
    assert (origin.kind, origin.native) == ("torchvision", False)
    assert origin.description == "ImageNet weights of torchvision for the encoder, and their normalisation"
    assert origin.mean == pytest.approx(mean, abs=1e-9)
    assert origin.std == pytest.approx(std, abs=1e-9)
    native_mean, native_std = origin.statistics(65535.0)
    assert native_mean == pytest.approx([65535 * value for value in mean])
    assert native_std == pytest.approx([65535 * value for value in std])


CLASSIFIERS = {"vgg16": ("classifier.0", "classifier.3", 7), "alexnet": ("classifier.1", "classifier.4", 6)}


def published(name: str) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """An encoder with its fully connected layers, and its weights as torchvision publishes them."""
    torch.manual_seed(1)
    encoder = build_encoder(name, 3, 2, fully_connected=True)
    fc6, fc7, _ = CLASSIFIERS[name]
    state = dict(encoder.state_dict())
    for layer in (fc6, fc7):
        state[f"{layer}.weight"] = state[f"{layer}.weight"].flatten(1)
    return encoder, {**state, "classifier.6.weight": torch.zeros(1000, 128), "classifier.6.bias": torch.zeros(1000)}


@pytest.mark.parametrize("name", list(CLASSIFIERS))
def test_fully_connected_layers_are_reshaped_or_left_out(tmp_path: Path, name: str) -> None:
    source, state = published(name)
    fc6, _, kernel = CLASSIFIERS[name]
    torch.save(state, tmp_path / "published.pth")
    dense, bare = build_encoder(name, 3, 2, fully_connected=True), build_encoder(name, 3, 2)
    load_encoder(dense, tmp_path / "published.pth")
    assert equal(dense, source)
    load_encoder(bare, tmp_path / "published.pth")
    assert torch.equal(bare.state_dict()["features.0.weight"], source.state_dict()["features.0.weight"])
    # A fully connected layer over a k x k map is a convolution over it.
    x_BCkk = torch.randn(1, source.get_parameter(f"{fc6}.weight").shape[1], kernel, kernel)
    theirs = x_BCkk.flatten(1) @ state[f"{fc6}.weight"].T
    torch.testing.assert_close(F.conv2d(x_BCkk, dense.get_parameter(f"{fc6}.weight"))[..., 0, 0], theirs)

    del state["classifier.6.bias"]
    state["classifier.7.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(ModelError, match=r"1 unexpected: classifier\.7\.weight"):
        load_encoder(bare, tmp_path / "other.pth")


def test_timm_s_names_of_fully_connected_layers_are_known(tmp_path: Path) -> None:
    source, state = published("vgg16")
    own = source.state_dict()
    timm_s = {name: tensor for name, tensor in state.items() if name.startswith("features.")}
    for layer, theirs in (("classifier.0", "pre_logits.fc1"), ("classifier.3", "pre_logits.fc2")):
        timm_s |= {f"{theirs}.weight": own[f"{layer}.weight"], f"{theirs}.bias": own[f"{layer}.bias"]}
    timm_s |= {"head.fc.weight": torch.zeros(1000, 128), "head.fc.bias": torch.zeros(1000)}
    safetensors.torch.save_file(timm_s, tmp_path / "vgg16.safetensors")
    torch.save(timm_s, tmp_path / "vgg16.pth")
    for file in ("vgg16.safetensors", "vgg16.pth"):
        network = build("fcn8s-vgg16", 1, 2, {"width": 2})
        assert load_pretrained(network, tmp_path / file).kind == "timm"
        encoder = network.get_submodule("encoder")
        assert torch.equal(encoder.get_parameter("classifier.0.weight"), own["classifier.0.weight"])
        assert torch.equal(encoder.get_parameter("features.0.weight"), own["features.0.weight"].sum(1, keepdim=True))


@pytest.mark.parametrize("name", ["fcn-dilated", "deeplabv3"])
def test_torchvision_s_segmentation_networks_are_read_whole(tmp_path: Path, name: str) -> None:
    source = build(name, 3, 21, {"width": 4})
    state = {name.replace("encoder.", "backbone."): tensor for name, tensor in source.state_dict().items()}
    if name == "deeplabv3":
        # torchvision has batch norm where ours has a bias; this one multiplies by 1 and adds that bias.
        bias = state.pop("classifier.0.convs.4.1.bias")
        var = torch.ones_like(bias) - 1e-5
        state |= {"classifier.0.convs.4.2.weight": torch.ones_like(bias), "classifier.0.convs.4.2.bias": bias}
        state |= {"classifier.0.convs.4.2.running_mean": torch.zeros_like(bias)}
        state |= {"classifier.0.convs.4.2.running_var": var}
    torch.save(state, tmp_path / "coco.pth")
    same = build(name, 3, 21, {"width": 4})
    origin = load_pretrained(same, tmp_path / "coco.pth")
    assert (origin.kind, origin.mean, origin.std) == ("torchvision", *IMAGENET)
    assert origin.description == "weights of torchvision for this network, and their normalisation"
    for mine, theirs in zip(same.state_dict().values(), source.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)

    other = build(name, 1, 2, {"width": 4})
    before = other.get_parameter("classifier.4.weight").clone()
    origin = load_pretrained(other, tmp_path / "coco.pth")
    assert origin.description.endswith("; starting anew: classifier.4, aux_classifier.4")
    assert torch.equal(other.get_parameter("classifier.4.weight"), before)
    assert torch.equal(
        other.get_parameter("encoder.conv1.weight"), source.get_parameter("encoder.conv1.weight").sum(1, keepdim=True)
    )
    with pytest.raises(ModelError, match="of another shape: encoder"):
        load_pretrained(build(name, 3, 21, {"width": 8}), tmp_path / "coco.pth")


def test_settings_beside_a_hub_file_tell_its_statistics(tmp_path: Path) -> None:
    torchvision_checkpoint(tmp_path / "resnet18.pth")
    safetensors.torch.save_file(read_weights(tmp_path / "resnet18.pth"), tmp_path / "model.safetensors")
    network = build("fcn8s", 1, 2, {"width": 8})
    assert load_pretrained(network, tmp_path / "model.safetensors").mean == pytest.approx((0.449,))
    timm_s = {"architecture": "resnet18", "pretrained_cfg": {"mean": [0.5, 0.6, 0.7], "std": [0.1, 0.1, 0.4]}}
    (tmp_path / "config.json").write_text(json.dumps(timm_s))
    origin = load_pretrained(network, tmp_path / "model.safetensors")
    assert origin.mean == pytest.approx((0.6,))
    assert origin.std == pytest.approx((0.2,))
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0, 0.5, 1], "image_std": [1, 1, 1]}')
    origin = load_pretrained(network, tmp_path / "model.safetensors")
    assert (origin.mean, origin.std) == ((0.5,), (1.0,))
    # A file by another name is not the one that the settings speak of.
    assert load_pretrained(network, tmp_path / "resnet18.pth").mean == pytest.approx((0.449,))


def test_licences_are_of_networks_and_encoders() -> None:
    assert set(ENCODERS) <= set(LICENCES)
    assert set(LICENCES) <= {*ENCODERS, *MODELS}


HEAD = {"decode_head.conv_seg.weight": torch.zeros(19, 4, 1, 1)}
PREFIXED: dict[str, Callable[[Any], Any]] = {
    "plain.pth": lambda state: state,
    "dataparallel.pth": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "compiled.ckpt": lambda state: {"state_dict": {f"model._orig_mod.{name}": t for name, t in state.items()}},
    "backbone.pth": lambda state: {
        "meta": {},
        "state_dict": {f"backbone.{name}": t for name, t in state.items()} | HEAD,
    },
    "smp.pth": lambda state: {f"encoder.{name}": t for name, t in state.items()} | HEAD,
    "key.pth": lambda state: {"epoch": 3, "model_state_dict": state},
    "best.pth.tar": lambda state: {"epoch": 3, "state_dict": state},
}


@pytest.mark.parametrize("name", PREFIXED)
def test_prefixes_that_other_tools_add_are_taken_off(tmp_path: Path, name: str) -> None:
    encoder, network = build_encoder("resnet18", 3, width=4), build("fcn8s", 3, 2, {"width": 4})
    torch.save(PREFIXED[name](encoder.state_dict()), tmp_path / name)
    origin = load_pretrained(network, tmp_path / name)
    assert equal(network.get_submodule("encoder"), encoder)
    assert ("every name without" in origin.description) == (name in list(PREFIXED)[1:5])


def test_a_whole_network_s_prefix_is_taken_off(tmp_path: Path) -> None:
    trained, network = build("fcn8s", 3, 2, {"width": 4}), build("fcn8s", 3, 2, {"width": 4})
    torch.save({f"module.{name}": tensor for name, tensor in trained.state_dict().items()}, tmp_path / "whole.pth")
    load_pretrained(network, tmp_path / "whole.pth")
    assert equal(network, trained)


def test_names_of_nothing_known_are_still_listed(tmp_path: Path) -> None:
    torch.save({"module.backbone.odd": torch.zeros(2)}, tmp_path / "odd.pth")
    with pytest.raises(ModelError, match=r"1 unexpected: module.backbone.odd"):
        load_pretrained(build("fcn8s", 3, 2, {"width": 4}), tmp_path / "odd.pth")


def run_of(folder: Path, name: str, classes: Sequence[str], options: dict[str, Any]) -> Segmenter:
    """A run with random weights, as far as loading looks at it."""
    network = {"name": name, "options": options, "channels": 3, "classes": len(classes), "per_image": False}
    segmenter = Segmenter(build(name, 3, len(classes), options), mean=[0.0] * 3, std=[1.0] * 3)
    with torch.no_grad():
        for parameter in segmenter.parameters():
            parameter.uniform_(-0.5, 0.5)
    save_weights(segmenter, folder / "model.safetensors")
    table = [{"name": one, "value": value} for value, one in enumerate(classes)]
    (folder / "run.json").write_text(json.dumps({"network": network, "classes": {"class": table}}))
    return segmenter


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("compact-2", {"widths": [6, 8]}),
        ("fcn8s", {"width": 4}),
        ("unet", {"widths": [4, 8]}),
        ("dilated8", {"width": 1}),
    ],
)
def test_rows_of_classes_go_with_their_names(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    before = run_of(tmp_path, name, ("bg", "car", "tree"), options).eval()
    network = build(name, 3, 4, options).eval()
    origin = load_pretrained(network, tmp_path, ("tree", "new", "bg", "car"))
    assert "kept tree, bg, car; starting anew new" in origin.description
    x_BCHW = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected, found = before.network(x_BCHW), network(x_BCHW)
    if name in ("dilated8", "unet"):
        return  # these mix the classes once more, so a new one changes the answers of the others
    torch.testing.assert_close(found[:, [2, 3, 0]], expected)


def test_classes_in_another_order_answer_the_same(tmp_path: Path) -> None:
    cases: list[tuple[str, dict[str, Any]]] = [
        ("compact-2", {"widths": [6, 8]}),
        ("dilated8", {"width": 1}),
        ("unet", {"widths": [4, 8]}),
    ]
    for name, options in cases:
        before = run_of(tmp_path, name, ("bg", "car", "tree"), options).eval()
        network = build(name, 3, 3, options).eval()
        load_pretrained(network, tmp_path, ("tree", "bg", "car"))
        x_BCHW = torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            torch.testing.assert_close(network(x_BCHW)[:, [1, 2, 0]], before.network(x_BCHW))


def test_weights_that_are_no_numbers_are_neither_kept_nor_read(tmp_path: Path) -> None:
    module = small()
    torch.save({**module.state_dict(), "0.bias": torch.full((4,), torch.nan)}, tmp_path / "bad.pth")
    with pytest.raises(ModelError, match=r"1 tensors with NaN or infinite numbers: 0.bias. Expected finite weights"):
        load_weights(module, tmp_path / "bad.pth")
    with torch.no_grad():
        module.get_parameter("0.weight").fill_(torch.inf)
    with pytest.raises(ModelError, match=r"0.weight"):
        save_weights(module, tmp_path / "worse.safetensors")
    assert not (tmp_path / "worse.safetensors").exists()

"""SegFormer against Hugging Face's: names, shapes and an output; published sizes; attention by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from maskwright.errors import ModelError
from maskwright.models import build
from maskwright.models.pretrained import load_pretrained
from maskwright.models.segformer import Block, EfficientAttention, SegFormer, StochasticDepth
from maskwright.models.summary import count_flops

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded" / "segformer-b0.json").read_text())


def made_up(index: int, name: str, shape: list[int]) -> torch.Tensor:
    """The values that the recorded output was computed with: waves, so that no file of weights is needed."""
    wave = torch.sin(0.7 * torch.arange(math.prod(shape), dtype=torch.float64) + index).reshape(shape)
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if len(shape) > 1:
        wave *= 1.5 / math.sqrt(math.prod(shape[1:]))
    elif ("norm" in name and name.endswith("weight")) or name.endswith("running_var"):
        wave = 1 + 0.3 * wave
    else:
        wave *= 0.2
    return wave.float()


def narrow(classes: int = 3, channels: int = 3) -> SegFormer:
    network = build("segformer-b0", channels, classes, {"width": 4, "head_width": 16})
    assert isinstance(network, SegFormer)
    return network.eval()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file as `save_pretrained` writes it, of the narrow variant with three classes."""
    state = {
        name: made_up(index, name, shape) for index, (name, shape) in enumerate(sorted(RECORDED["narrow"].items()))
    }
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_the_same_weights_give_hugging_face_s_logits(file: Path) -> None:
    network = narrow()
    assert load_pretrained(network, file).kind == "hugging face"
    x_BCHW = torch.sin(0.3 * torch.arange(3 * 32 * 64, dtype=torch.float64)).reshape(1, 3, 32, 64).float()
    with torch.inference_mode():
        logits_BKhw = network.head(network.encoder(x_BCHW))
        logits_BKHW = network(x_BCHW)
    expected_BKhw = torch.tensor(RECORDED["logits"]).reshape(1, 3, 8, 16)
    torch.testing.assert_close(logits_BKhw, expected_BKhw, rtol=0, atol=1e-4)
    # Upsampled four times with pixel corners in place: the mean of a 2x2 around a corner is there.
    assert logits_BKHW.shape == (1, 3, 32, 64)
    middle_BK11 = logits_BKHW[..., 3:5, 3:5].mean((2, 3), keepdim=True)
    torch.testing.assert_close(middle_BK11, logits_BKhw[..., :2, :2].mean((2, 3), keepdim=True), rtol=1e-4, atol=1e-4)


def test_every_tensor_of_b0_has_its_place() -> None:
    with torch.device("meta"):
        network = build("segformer-b0", 3, 21)
        assert isinstance(network, SegFormer)
        converted = network.convert({name: torch.empty(shape) for name, shape in RECORDED["b0"].items()})
    assert converted is not None
    assert {name: tensor.shape for name, tensor in converted.items()} == {
        name: tensor.shape for name, tensor in network.state_dict().items()
    }


@pytest.mark.parametrize(
    ("name", "for_21", "for_150", "published"),
    # Table 6 gives 3.8, 13.7 and 27.5 million for the 150 classes of ADE20K.
    [
        ("segformer-b0", 3_719_541, 3_752_694, 3.8),
        ("segformer-b1", 13_682_645, 13_715_798, 13.7),
        ("segformer-b2", 27_362_773, 27_461_974, 27.5),
    ],
)
def test_parameters(name: str, for_21: int, for_150: int, published: float) -> None:
    def count(classes: int) -> int:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in build(name, 3, classes).parameters())

    assert (count(21), count(150)) == (for_21, for_150)
    assert for_150 / 1e6 == pytest.approx(published, abs=0.05)


@pytest.mark.parametrize(("name", "published"), [("segformer-b0", 8.4), ("segformer-b1", 15.9), ("segformer-b2", 62.4)])
def test_operations(name: str, published: float) -> None:
    # Table 1, for ADE20K at 512 x 512; multiply-adds are counted once there.
    with torch.device("meta"):
        network = build(name, 3, 150)
    assert count_flops(network, 3, (512, 512)) / 2e9 == pytest.approx(published, abs=0.1)


def test_where_the_parameters_of_b0_are() -> None:
    def layer(before: int, after: int) -> int:
        return before * after + after

    def stage(before: int, width: int, kernel: int, reduction: int) -> int:
        reduce = layer(width * reduction**2, width) + 2 * width if reduction > 1 else 0
        ffn = layer(width, 4 * width) + layer(9, 4 * width) + layer(4 * width, width)
        block = 4 * width + 4 * layer(width, width) + reduce + ffn
        return layer(before * kernel**2, width) + 2 * width + 2 * block + 2 * width

    encoder = stage(3, 32, 7, 8) + stage(32, 64, 3, 4) + stage(64, 160, 3, 2) + stage(160, 256, 3, 1)
    head = sum(layer(width, 256) for width in (32, 64, 160, 256)) + 1024 * 256 + 2 * 256 + layer(256, 21)
    assert encoder == 3_319_392
    assert encoder + head == 3_719_541


def test_an_imagenet_file_fills_the_encoder_alone(file: Path, tmp_path: Path) -> None:
    state = safetensors.torch.load_file(file)
    classifier = {name: tensor for name, tensor in state.items() if name.startswith("segformer.")}
    classifier |= {"classifier.weight": torch.zeros(1000, 32), "classifier.bias": torch.zeros(1000)}
    safetensors.torch.save_file(classifier, tmp_path / "mit.safetensors")
    network = narrow(classes=5)
    head = {name: tensor.clone() for name, tensor in network.head.state_dict().items()}
    load_pretrained(network, tmp_path / "mit.safetensors")
    assert all(torch.equal(tensor, head[name]) for name, tensor in network.head.state_dict().items())
    key = "segformer.encoder.block.2.1.mlp.dwconv.dwconv.weight"
    assert torch.equal(network.encoder.get_parameter("stages.2.1.ffn.mix.weight"), state[key])


def test_other_classes_start_the_last_layer_anew(file: Path) -> None:
    state = safetensors.torch.load_file(file)
    network = narrow(classes=5)
    fresh = network.head.score.weight.clone()
    load_pretrained(network, file)
    assert torch.equal(network.head.score.weight, fresh)
    assert torch.equal(network.head.fuse.weight, state["decode_head.linear_fuse.weight"])


def test_grey_images_get_the_sum_over_rgb(file: Path) -> None:
    network = narrow(channels=1)
    load_pretrained(network, file)
    rgb = safetensors.torch.load_file(file)["segformer.encoder.patch_embeddings.0.proj.weight"]
    torch.testing.assert_close(network.encoder.state_dict()["embeddings.0.conv.weight"], rgb.sum(1, keepdim=True))


def test_a_file_of_another_size_is_refused_and_changes_nothing(file: Path, tmp_path: Path) -> None:
    network = build("segformer-b0", 3, 3, {"width": 8, "head_width": 16})
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(ModelError, match=r"of another shape: .*encoder\.embeddings\.0\.conv\.weight \(file 4x3x7x7"):
        load_pretrained(network, file)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    state = safetensors.torch.load_file(file)
    del state["segformer.encoder.layer_norm.3.bias"]
    state["segformer.encoder.block.9.0.layer_norm_1.bias"] = torch.zeros(4)
    safetensors.torch.save_file(state, tmp_path / "damaged.safetensors")
    with pytest.raises(
        ModelError, match=r"1 missing: encoder.norms.3.bias; 1 unexpected: encoder.stages.9.0.norm1.bias"
    ):
        load_pretrained(narrow(), tmp_path / "damaged.safetensors")


def test_other_states_are_none_of_ours() -> None:
    network = narrow()
    assert network.convert(network.state_dict()) is None
    assert network.convert({"conv1.weight": torch.zeros(1)}) is None


def test_attention_by_hand() -> None:
    torch.manual_seed(0)
    attention = EfficientAttention(6, heads=2, reduction=2).eval()
    x_BNC = torch.randn(1, 8, 6)
    with torch.inference_mode():
        out_BNC = attention(x_BNC, (2, 4))
        assert attention.reduce is not None
        assert attention.norm is not None
        reduced_MC = attention.norm(attention.reduce(x_BNC.mT.reshape(1, 6, 2, 4)).flatten(2).mT)[0]
        query_NC, key_MC, value_MC = attention.query(x_BNC)[0], attention.key(reduced_MC), attention.value(reduced_MC)
        heads = []
        for head in (slice(0, 3), slice(3, 6)):
            scores_NM = query_NC[:, head] @ key_MC[:, head].T / math.sqrt(3)
            heads.append(scores_NM.softmax(1) @ value_MC[:, head])
        expected_NC = attention.project(torch.cat(heads, 1))
    assert len(reduced_MC) == 2
    torch.testing.assert_close(out_BNC[0], expected_NC)


def test_stochastic_depth_leaves_images_out_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x_BNC = torch.ones(4000, 2, 3)
    drop = StochasticDepth(0.25)
    out_BNC = drop.train()(x_BNC)
    kept_B = out_BNC[:, 0, 0] != 0
    assert torch.equal(out_BNC, kept_B[:, None, None] * x_BNC / 0.75)
    assert kept_B.float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert torch.equal(drop.eval()(x_BNC), x_BNC)


def test_stochastic_depth_grows_to_a_tenth() -> None:
    with torch.device("meta"):
        network = build("segformer-b2", 3, 2)
    drops = [module.drop.p for module in network.modules() if isinstance(module, Block)]
    assert drops == pytest.approx([0.1 * block / 15 for block in range(3 + 4 + 6 + 3)])


def test_layer_norms_add_what_hugging_face_s_do() -> None:
    assert {module.eps for module in narrow().modules() if isinstance(module, nn.LayerNorm)} == {1e-5}

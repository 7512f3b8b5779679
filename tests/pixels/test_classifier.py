"""Learning from strokes: what is learnt, what is chosen, what contradicts, and how it is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from maskwright.errors import DataError, ModelError, RunError, SettingError
from maskwright.models.segmenter import make_segmenter
from maskwright.pixels import saved
from maskwright.pixels.choice import held_out, softening
from maskwright.pixels.classifier import PixelClassifier
from maskwright.pixels.mlp import PixelMlp
from maskwright.pixels.model import PixelModel, tiles
from maskwright.pixels.sources import TILE, Network
from maskwright.pixels.strokes import MOST, Stroke, chances, folds
from maskwright.predict.pixels import PixelPredictor
from maskwright.predict.predictor import Predictor

Draw = Callable[..., list[Stroke]]
CLASSES = {
    "class": [{"name": "calm", "value": 0, "color": "#204060"}, {"name": "rough", "value": 1, "color": "#ffcc00"}]
}


def stroke(label: int, pixels: int, image: str = "a") -> Stroke:
    return Stroke(image=image, label=label, rows=np.arange(pixels), columns=np.zeros(pixels, np.int64))


def head_of(model: PixelModel) -> PixelMlp:
    assert isinstance(model.head, PixelMlp)
    return model.head


def test_classes_count_alike_and_a_long_stroke_as_the_root_of_its_length() -> None:
    strokes = [stroke(0, 4), stroke(0, 16), stroke(1, 100), stroke(1, 10_000)]
    weight = chances(strokes) * [4, 16, 100, MOST]
    assert weight[:2].sum() == pytest.approx(weight[2:].sum())
    assert weight[1] == pytest.approx(2 * weight[0])
    assert weight[3] == pytest.approx(1.6 * weight[2])


def test_a_long_stroke_is_learnt_from_pixels_all_over_it() -> None:
    rows, columns = stroke(0, 100_000).learnt
    assert len(rows) == len(np.unique(rows)) == len(columns) == MOST
    assert np.diff(rows).max() < 1000


def test_few_strokes_are_left_out_one_by_one_and_many_in_tens_of_each_class() -> None:
    assert sorted(folds([stroke(n % 2, 5) for n in range(7)])) == list(range(7))
    many = [stroke(n % 3, 5, image=f"{n // 3}") for n in range(60)]
    fold = folds(many)
    for label in range(3):
        assert np.bincount(fold[label::3], minlength=10).tolist() == [2] * 10


def test_strokes_become_a_mask_of_images_that_they_are_not_in(
    images: dict[str, np.ndarray], truth: np.ndarray, draw: Draw
) -> None:
    classifier = PixelClassifier(2, images.__getitem__)
    model = classifier.learn([one for one in draw(20) if one.image == "a"])
    found = model.probabilities(images["b"])
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    inner = np.zeros_like(truth, bool)
    for row in range(0, 160, 32):
        for column in range(0, 288, 32):
            inner[row + 6 : row + 26, column + 6 : column + 26] = True
    assert (found.argmax(0) == truth)[inner].mean() > 0.97


def test_painted_tiles_are_those_of_the_whole_image(images: dict[str, np.ndarray], draw: Draw) -> None:
    classifier = PixelClassifier(2, images.__getitem__, features="local+encoder")
    model = classifier.learn(draw(8))
    whole = model.probabilities(images["a"])
    shown = list(classifier.paint_view("a", tiles((160, 288)), workers=2))
    assert [(top, left) for top, left, _ in shown] == [(0, 0), (0, 256)]
    for top, left, tile in shown:
        np.testing.assert_allclose(tile, whole[:, top : top + TILE, left : left + TILE], atol=1e-3)


def test_a_new_stroke_is_learnt_from_where_the_last_ones_led(images: dict[str, np.ndarray], draw: Draw) -> None:
    classifier = PixelClassifier(2, images.__getitem__)
    strokes = draw(9)
    first, second = head_of(classifier.learn(strokes[:8])), head_of(classifier.learn(strokes))
    assert second is not first, "who paints with the first goes on with it"
    moved, anew = (
        (one.weight_XD - first.weight_XD).norm().item()
        for one in (second, head_of(PixelClassifier(2, images.__getitem__, seed=1).learn(strokes)))
    )
    assert 0 < moved < 0.5 * anew


def test_the_same_strokes_and_seed_give_the_same_model(images: dict[str, np.ndarray], draw: Draw) -> None:
    one, other = (head_of(PixelClassifier(2, images.__getitem__).learn(draw(8))) for _ in range(2))
    assert torch.equal(one.weight_XD, other.weight_XD)


def test_features_that_tell_the_classes_apart_are_chosen() -> None:
    rng = np.random.default_rng(0)
    strokes = [stroke(n % 2, 20) for n in range(12)]
    label = np.repeat([one.label for one in strokes], 20)
    telling = torch.from_numpy(np.float32(label[:, None] * 2 + rng.normal(size=(240, 3))))
    # Each stroke is of one tint of its own: what the others say about it is chance.
    tint = torch.from_numpy(np.float32(np.repeat(rng.normal(size=(12, 3)), 20, 0) + 0.01 * rng.normal(size=(240, 3))))
    good, bad = (held_out("x", one, strokes, [20] * 12, 2, seed=0) for one in (telling, tint))
    assert good.score > 0.75 > 0.6 > bad.score
    assert bad.temperature > 2


def test_a_stroke_of_the_wrong_class_is_named(images: dict[str, np.ndarray], draw: Draw) -> None:
    strokes = draw(14)
    wrong = replace(strokes[5], label=1 - strokes[5].label)
    strokes[5] = wrong
    judged = PixelClassifier(2, images.__getitem__).judge(strokes, "local")
    assert [one.stroke for one in judged.contradictions] == [wrong]
    assert judged.contradictions[0].other == 1 - wrong.label
    assert judged.contradictions[0].probability > 0.5


def test_a_class_of_one_stroke_is_not_judged() -> None:
    strokes = [stroke(0, 4), stroke(1, 4)]
    judged = held_out("x", torch.randn(8, 2), strokes, [4, 4], 2, seed=0)
    assert np.isnan(judged.score)
    assert judged.temperature == 1


def test_probabilities_are_softened_as_far_as_they_are_wrong() -> None:
    target = torch.tensor([0] * 75 + [1] * 25)
    sure = torch.tensor([[10.0, 0.0]]).expand(100, -1)
    # Three of four are right, which is a difference of log 3 between the logits.
    assert 10 / softening(sure, target, torch.ones(100)) == pytest.approx(np.log(3), rel=0.1)
    assert softening(0.1 * sure, target, torch.ones(100)) == 1


def test_one_class_is_refused_and_nothing_is_painted_before(images: dict[str, np.ndarray], draw: Draw) -> None:
    classifier = PixelClassifier(2, images.__getitem__)
    with pytest.raises(DataError, match="Nothing was learnt"):
        classifier.paint("a", 0, 0)
    with pytest.raises(DataError, match=r"1 class\(es\)"):
        classifier.learn([one for one in draw(8) if one.label == 0])
    with pytest.raises(SettingError, match="needs a trained network"):
        PixelClassifier(2, images.__getitem__, features="network")


@pytest.fixture
def saved_model(images: dict[str, np.ndarray], draw: Draw, tmp_path: Path) -> Path:
    classifier = PixelClassifier(2, images.__getitem__, features="local+encoder")
    model = classifier.learn(draw(12))
    assert classifier.values is not None
    mark = saved.save(
        tmp_path / "model",
        model,
        values=classifier.values,
        classes=CLASSES,
        images=list(images.values()),
        facts={"seed": 0},
    )
    assert json.loads((tmp_path / "model" / "run.json").read_text())["hash"] == mark
    return tmp_path / "model"


def test_a_saved_model_predicts_the_same(images: dict[str, np.ndarray], draw: Draw, saved_model: Path) -> None:
    predictor = Predictor.load(saved_model)
    assert isinstance(predictor, PixelPredictor)
    model = PixelClassifier(2, images.__getitem__, features="local+encoder").learn(draw(12))
    np.testing.assert_allclose(
        predictor(images["b"]).probabilities.transpose(2, 0, 1), model.probabilities(images["b"]), atol=1e-4
    )
    with pytest.raises(DataError, match="Expected uint8"):
        predictor(images["b"].astype(np.uint16))


def test_a_model_on_a_networks_features_takes_the_network_along(
    images: dict[str, np.ndarray], draw: Draw, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    described = {
        "name": "compact-1", "options": {}, "channels": 1, "classes": 2, "mean": [120.0], "std": [30.0],
        "per_image": False, "scale": 1.0,
    }  # fmt: skip
    network = Network(segmenter=make_segmenter(described), description=described)
    classifier = PixelClassifier(2, images.__getitem__, features="network", network=network)
    model = classifier.learn(draw(8))
    assert classifier.values is not None
    saved.save(
        tmp_path / "model", model, values=classifier.values, classes=CLASSES, images=[images["a"]], facts={},
        network=network,
    )  # fmt: skip
    found = Predictor.load(tmp_path / "model")(images["b"]).probabilities
    np.testing.assert_allclose(found.transpose(2, 0, 1), model.probabilities(images["b"]), atol=1e-4)


def test_a_changed_model_and_another_folder_are_refused(
    images: dict[str, np.ndarray], draw: Draw, saved_model: Path, tmp_path: Path
) -> None:
    run = json.loads((saved_model / "run.json").read_text())
    run["pixels"]["temperature"] = 9.0
    (saved_model / "run.json").write_text(json.dumps(run))
    with pytest.raises(ModelError, match="does not fit the hash"):
        Predictor.load(saved_model)
    run["pixels"]["version"] = 2
    (saved_model / "run.json").write_text(json.dumps(run))
    with pytest.raises(RunError, match="version 2"):
        Predictor.load(saved_model)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="no pixel classifier"):
        saved.require_own(tmp_path / "mine")


def test_a_forest_learns_too_and_runs_without_scikit_learn(
    images: dict[str, np.ndarray], truth: np.ndarray, draw: Draw, tmp_path: Path
) -> None:
    pytest.importorskip("skl2onnx")
    sklearn = pytest.importorskip("sklearn.ensemble")
    pytest.importorskip("onnxruntime")
    classifier = PixelClassifier(3, images.__getitem__, forest=True)
    strokes = draw(8)
    model = classifier.learn(strokes)
    features, target, weight = classifier._pixels(strokes, "local")
    own = sklearn.RandomForestClassifier(100, random_state=0, min_samples_leaf=2)
    own.fit(features.numpy(), target.numpy(), sample_weight=(weight / weight.mean()).numpy())
    known = classifier.model.probabilities(images["a"])[:, strokes[0].rows, strokes[0].columns]  # type: ignore[union-attr]
    np.testing.assert_allclose(known[:2].T, own.predict_proba(features[: len(strokes[0].rows)].numpy()), atol=0.02)
    assert (known[2] == 0).all(), "the class without a stroke"
    assert classifier.values is not None
    three = {"class": [*CLASSES["class"], {"name": "none", "value": 2, "color": "#ffffff"}]}
    saved.save(tmp_path / "f", model, values=classifier.values, classes=three, images=[images["a"]], facts={})
    np.save(tmp_path / "b.npy", images["b"])
    program = (
        "import sys, numpy as np\nfrom maskwright import Predictor\n"
        f"mask = Predictor.load({str(tmp_path / 'f')!r})(np.load({str(tmp_path / 'b.npy')!r})).mask\n"
        f"np.save({str(tmp_path / 'mask.npy')!r}, mask)\n"
        "assert not {'sklearn', 'skl2onnx', 'pickle5'} & set(sys.modules), 'only onnxruntime runs it'"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "mask.npy"), model.probabilities(images["b"]).argmax(0))

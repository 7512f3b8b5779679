from __future__ import annotations

import csv
import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from maskwright import runs
from maskwright.cli.results import _evaluation_folder
from maskwright.datasets.classes import ClassTable, LabelClass
from maskwright.datasets.samples import Dataset, Sample, Source
from maskwright.errors import ClassTableError, EmptyDataError, PairingError, RunError
from maskwright.evaluate.evaluation import Evaluation
from maskwright.evaluate.evaluator import evaluate

Mask = NDArray[np.uint8]

THREE = ClassTable(
    classes=(
        LabelClass(name="sky", color=(0, 0, 255), values=(0,)),
        LabelClass(name="road", color=(90, 90, 90), values=(1,)),
        LabelClass(name="pole", color=(255, 255, 0), values=(2,)),
    )
)
TWO = ClassTable(
    classes=(
        LabelClass(name="wall", color=(0, 0, 0), values=(0,)),
        LabelClass(name="cell", color=(255, 255, 255), values=(1,)),
    )
)


@dataclass
class Said:
    mask: Mask
    probabilities: NDArray[np.float32]


class Parrot:
    """Answers the image whose first value is n with the n-th of its masks; 255 where not valid."""

    def __init__(self, classes: ClassTable, masks: list[Mask], probabilities: list[NDArray[np.float32]] | None = None):
        self.classes, self.masks, self.probabilities = classes, masks, probabilities

    def __call__(self, image: np.ndarray, valid: np.ndarray | None = None) -> Said:
        number = int(image.flat[0])
        mask = self.masks[number].copy()
        if valid is not None:
            mask[~valid] = 255
        if self.probabilities is not None:
            return Said(mask, self.probabilities[number])
        return Said(mask, np.eye(256, len(self.classes), dtype=np.float32)[mask])


def write(
    folder: Path, truths: list[Mask], classes: ClassTable, *, names: str = "abcdefghijklmnop", holes: Mask | None = None
) -> Dataset:
    """A data set of grey images that carry their number as their value; `holes` is 0 where no image is valid."""
    samples = []
    for part in ("images", "masks", "valid"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, truth in enumerate(truths):
        file = f"{names[number]}.png"
        Image.fromarray(np.full(truth.shape, number, np.uint8)).save(folder / "images" / file)
        Image.fromarray(truth).save(folder / "masks" / file)
        if holes is not None:
            Image.fromarray(holes).save(folder / "valid" / file)
        samples.append(
            Sample(
                id=names[number],
                image=Source(path=folder / "images" / file),
                mask=Source(path=folder / "masks" / file),
                valid=None if holes is None else Source(path=folder / "valid" / file),
            )
        )
    return Dataset(root=folder, samples=tuple(samples), classes=classes, notes=("found three classes",))


TRUTHS = [
    np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 255]], np.uint8),
    np.array([[0, 0], [0, 0], [1, 1]], np.uint8),
]
ANSWERS = [
    np.array([[0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1], [1, 1, 1, 0]], np.uint8),
    np.array([[0, 0], [0, 0], [0, 1]], np.uint8),
]


def test_siblings_that_write_the_same_evaluation_are_left_alone(tmp_path: Path) -> None:
    data = write(tmp_path / "test", TRUTHS * 4, THREE)
    pictures = tmp_path / "out" / "pictures"
    pictures.mkdir(parents=True)
    with runs.replacing(pictures / "worst-1-image.jpg") as half:
        evaluate(Parrot(THREE, ANSWERS * 4), data, tmp_path / "out")
        assert half.exists()
    (pictures / "worst-9-image.jpg").write_bytes(b"of an earlier, larger evaluation")
    evaluate(Parrot(THREE, ANSWERS * 4), data, tmp_path / "out")
    assert not (pictures / "worst-9-image.jpg").exists()
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(evaluate, Parrot(THREE, ANSWERS * 4), data, tmp_path / "out") for _ in range(6)]
    assert all(future.result().images == 8 for future in futures)
    shown = {picture.image for picture in Evaluation.load(tmp_path / "out").pictures}
    assert shown <= {path.name for path in pictures.iterdir()}


def test_names_of_evaluations_are_claimed_at_once(tmp_path: Path) -> None:
    places = [tmp_path / name / "cells" for name in "abc"]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda data: _evaluation_folder(tmp_path / "run", data, None), places))
    assert sorted(path.name for path in found) == ["cells", "cells-2", "cells-3"]
    # Each keeps its own, before it has scores.
    assert [_evaluation_folder(tmp_path / "run", data, None) for data in places] == found


def test_two_images_by_hand(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    evaluation = evaluate(
        Parrot(THREE, ANSWERS),
        write(tmp_path / "test", TRUTHS, THREE),
        tmp_path / "out",
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(1, 2), (2, 2)]
    assert evaluation.ids == ("a", "b")
    assert evaluation.sizes_N2.tolist() == [[4, 4], [3, 2]]
    assert evaluation.unlabelled_N.tolist() == [1, 0]
    assert evaluation.confusions_NKK.dtype == np.int64
    assert evaluation.confusions_NKK.tolist() == [
        [[7, 1, 0], [0, 7, 0], [0, 0, 0]],
        [[4, 0, 0], [1, 1, 0], [0, 0, 0]],
    ]
    # Together 11, 1 / 1, 8: IoU 11 / 13 and 8 / 10.
    scores = evaluation.to_json()
    assert scores["images"] == 2
    assert scores["pixels"] == 21
    assert scores["unlabelled_pixels"] == 1
    assert scores["iou"] == {"sky": pytest.approx(11 / 13), "road": pytest.approx(8 / 10), "pole": None}
    assert scores["miou"] == pytest.approx((11 / 13 + 8 / 10) / 2)
    assert scores["dice"] == {"sky": pytest.approx(22 / 24), "road": pytest.approx(16 / 18), "pole": None}
    assert scores["mean_dice"] == pytest.approx((22 / 24 + 16 / 18) / 2)
    assert scores["pixel_accuracy"] == pytest.approx(19 / 21)
    # On images this small every boundary lies within two pixels.
    assert scores["boundary_f1"] == {"sky": 1, "road": 1, "pole": None}
    assert scores["mean_boundary_f1"] == 1
    assert scores["membranes"] is None
    assert scores["notes"] == ["found three classes"]
    low, high = scores["miou_interval"]
    assert low < scores["miou"] < high
    np.testing.assert_allclose(evaluation.image_miou_N, [(7 / 8 + 7 / 8) / 2, (4 / 5 + 1 / 2) / 2])
    np.testing.assert_allclose(evaluation.image_accuracy_N, [14 / 15, 5 / 6])


def test_files_say_the_same_and_are_read_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluation = evaluate(Parrot(THREE, ANSWERS), write(tmp_path / "test", TRUTHS, THREE), out)
    assert json.loads((out / "scores.json").read_text("utf-8")) == evaluation.to_json()
    with np.load(out / "confusions.npz", allow_pickle=False) as file:
        assert file["ids"].tolist() == ["a", "b"]
        assert file["confusions"].dtype == np.int64
        assert file["confusions"].tolist() == evaluation.confusions_NKK.tolist()
    with (out / "images.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["id"] for row in rows] == ["a", "b"]
    assert rows[0]["unlabelled_pixels"] == "1"
    assert float(rows[1]["miou"]) == pytest.approx(0.65)
    assert float(rows[1]["iou road"]) == pytest.approx(0.5)
    assert rows[0]["iou pole"] == ""
    loaded = Evaluation.load(out)
    assert loaded.to_json() == evaluation.to_json()
    assert loaded.pictures == evaluation.pictures
    assert loaded.classes == THREE


def test_invalid_pixels_do_not_count(tmp_path: Path) -> None:
    holes = np.array([[255, 255], [255, 0], [255, 255]], np.uint8)
    dataset = write(tmp_path / "test", [TRUTHS[1]], THREE, holes=holes)
    evaluation = evaluate(Parrot(THREE, [ANSWERS[1]]), dataset, tmp_path / "out")
    assert evaluation.confusion_KK.tolist() == [[3, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert evaluation.unlabelled_N.tolist() == [1]
    assert evaluation.to_json()["miou_interval"] is None


def test_a_stray_class_costs_the_set_but_does_not_rank_the_image(tmp_path: Path) -> None:
    answer = TRUTHS[1].copy()
    answer[0, 0] = 2
    evaluation = evaluate(Parrot(THREE, [answer]), write(tmp_path / "test", [TRUTHS[1]], THREE), tmp_path / "out")
    assert evaluation.to_json()["iou"] == {"sky": 3 / 4, "road": 1, "pole": 0}
    assert evaluation.to_json()["miou"] == pytest.approx((3 / 4 + 1 + 0) / 3)
    assert evaluation.image_miou_N.tolist() == [(3 / 4 + 1) / 2]


def test_nothing_labelled_gives_null_not_nan(tmp_path: Path) -> None:
    empty = np.full((3, 2), 255, np.uint8)
    evaluation = evaluate(Parrot(THREE, [ANSWERS[1]]), write(tmp_path / "t", [empty], THREE), tmp_path / "out")
    scores = json.loads((tmp_path / "out" / "scores.json").read_text("utf-8"))
    assert scores["miou"] is None
    assert scores["pixel_accuracy"] is None
    assert scores["unlabelled_pixels"] == 6
    assert evaluation.pictures == ()
    assert evaluation.tables()[0][2][-1] == ["macro mean", "–", "–", "–", "–", "–", "–"]


def test_tables_have_a_row_for_each_class_and_the_macro_mean(tmp_path: Path) -> None:
    evaluation = evaluate(Parrot(THREE, ANSWERS), write(tmp_path / "test", TRUTHS, THREE), tmp_path / "out")
    (title, heads, (sky, road, pole, macro)), (_, _, whole) = evaluation.tables()
    assert title == f"2 images of {tmp_path / 'test'}"
    assert heads[:4] == ["class", "% of truth", "IoU", "Dice"]
    assert sky[:4] == ["sky", "57.1", "0.846", "0.917"]
    assert road[2] == "0.800"
    assert pole == ["pole", "0.0", "–", "–", "–", "–", "–"]
    assert macro[2] == "0.823"
    assert whole[0][:2] == ["mIoU", "0.823"]
    assert whole[2] == ["pixel accuracy", "0.905", "of 21 pixels; 1 unlabelled left out"]
    assert evaluation.images == 2
    assert evaluation.miou == pytest.approx((11 / 13 + 8 / 10) / 2)


def _graded(count: int) -> tuple[list[Mask], list[Mask]]:
    """Images of 100 pixels of which the n-th has n wrong ones."""
    truths = [np.zeros((10, 10), np.uint8) for _ in range(count)]
    answers = []
    for number, truth in enumerate(truths):
        truth[5:] = 1
        answer = truth.copy()
        answer.flat[:number] = 1
        answers.append(answer)
    return truths, answers


def test_pictures_show_the_worst_and_the_best(tmp_path: Path) -> None:
    truths, answers = _graded(12)
    out = tmp_path / "out"
    evaluation = evaluate(Parrot(THREE, answers), write(tmp_path / "test", truths, THREE), out)
    assert [(p.kind, p.place) for p in evaluation.pictures] == [
        *(("worst", place) for place in (11, 10, 9, 8, 7, 6)),
        *(("best", place) for place in (0, 1, 2)),
    ]
    first = evaluation.pictures[0]
    with Image.open(out / "pictures" / first.truth) as truth, Image.open(out / "pictures" / first.prediction) as shown:
        np.testing.assert_array_equal(np.asarray(truth.convert("RGB")), THREE.rgb(truths[11]))
        np.testing.assert_array_equal(np.asarray(shown.convert("RGB")), THREE.rgb(answers[11]))


@pytest.mark.parametrize(("count", "worst", "best"), [(1, [0], []), (2, [1, 0], []), (4, [3, 2, 1], [0])])
def test_pictures_of_a_small_set_show_each_image_once(
    tmp_path: Path, count: int, worst: list[int], best: list[int]
) -> None:
    truths, answers = _graded(count)
    evaluation = evaluate(Parrot(THREE, answers), write(tmp_path / "test", truths, THREE), tmp_path / "out")
    assert [p.place for p in evaluation.pictures if p.kind == "worst"] == worst
    assert [p.place for p in evaluation.pictures if p.kind == "best"] == best


def test_evaluating_again_replaces_everything(tmp_path: Path) -> None:
    truths, answers = _graded(12)
    dataset = write(tmp_path / "test", truths, THREE)
    out = tmp_path / "out"
    evaluate(Parrot(THREE, answers), dataset, out)
    (out / "pictures" / "mine.txt").write_text("kept")
    smaller = evaluate(Parrot(THREE, answers), dataset.with_samples(dataset.samples[:2]), out)
    assert Evaluation.load(out).ids == ("a", "b")
    found = {path.name for path in (out / "pictures").iterdir()}
    expected = {name for p in smaller.pictures for name in (p.image, p.truth, p.prediction, p.errors)}
    assert found == expected | {"mine.txt"}
    assert len(expected) == 8


def _honeycomb(wall: int = 3) -> Mask:
    inside = (np.arange(64) % 16 >= wall).astype(np.uint8)
    return inside[:, None] & inside[None, :]


def test_membranes_get_the_scores_of_the_challenge(tmp_path: Path) -> None:
    truth = _honeycomb()
    merged = truth.copy()
    merged[16:19, 4:16] = 1
    # Sure of three walls in four everywhere, and 0.25 sure of the hole in the second image.
    sure = [np.stack([0.9 - 0.8 * truth, 0.1 + 0.8 * truth], 2).astype(np.float32) for _ in range(2)]
    sure[1][16:19, 4:16] = (0.25, 0.75)
    dataset = write(tmp_path / "test", [truth, truth], TWO)
    evaluation = evaluate(Parrot(TWO, [truth, merged], sure), dataset, tmp_path / "out")
    assert evaluation.membranes is not None
    scores = evaluation.to_json()["membranes"]
    assert scores["class"] == "wall"
    # At 0.2 the hole is closed and all cells are right; the plain mask merges two of sixteen cells of 13 x 13.
    assert (scores["v_rand"], scores["v_rand_threshold"]) == (pytest.approx(1), 0.2)
    assert (scores["v_info"], scores["v_info_threshold"]) == (pytest.approx(1), 0.2)
    merged_rand = (16 / 256) / (0.5 * (14 + 4) / 256 + 0.5 * 16 / 256)
    assert scores["v_rand_argmax"] == pytest.approx((1 + merged_rand) / 2)
    bits = 14 / 16 * 4 + 2 / 16 * 3
    assert scores["v_info_argmax"] == pytest.approx((1 + 2 * bits / (bits + 4)) / 2)
    assert "wall survives an erosion" in evaluation.to_json()["membrane_rule"]
    loaded = Evaluation.load(tmp_path / "out")
    assert loaded.to_json() == evaluation.to_json()
    assert evaluation.rarer == 0
    v_rand = next(row for row in evaluation.tables()[1][2] if row[0] == "V_rand")
    assert v_rand[:2] == ["V_rand", "1.000"]
    assert "0.2" in v_rand[2]


def test_two_classes_that_are_no_membranes_say_why_not(tmp_path: Path) -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[10:30, 10:30] = 1
    evaluation = evaluate(Parrot(TWO, [truth]), write(tmp_path / "test", [truth], TWO), tmp_path / "out")
    assert evaluation.membranes is None
    assert "judged by 1 of 1 truth masks" in evaluation.to_json()["membrane_rule"]
    assert "wall survives an erosion" in evaluation.to_json()["membrane_rule"]


def test_no_sample_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EmptyDataError, match="no sample to evaluate"):
        evaluate(Parrot(THREE, []), write(tmp_path / "test", [], THREE), tmp_path / "out")


def test_a_sample_without_a_mask_is_an_error_that_names_it(tmp_path: Path) -> None:
    dataset = write(tmp_path / "test", TRUTHS, THREE)
    bare = dataset.with_samples((dataset.samples[0], replace(dataset.samples[1], mask=None)))
    with pytest.raises(PairingError, match=r"1 of 2 images .* have no mask, for example b"):
        evaluate(Parrot(THREE, ANSWERS), bare, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_classes_than_the_models_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClassTableError, match=r"wall, cell.*sky, road, pole"):
        evaluate(Parrot(THREE, ANSWERS), write(tmp_path / "test", TRUTHS[1:], TWO), tmp_path / "out")


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 half a file", b"\x93NUMPY", b"no archive at all"])
def test_an_unreadable_evaluation_is_an_error_with_its_path(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "confusions.npz").write_bytes(content)
    with pytest.raises(RunError, match=r"confusions\.npz"):
        Evaluation.load(tmp_path)


def test_prediction_time_is_kept(tmp_path: Path) -> None:
    evaluation = evaluate(Parrot(THREE, ANSWERS), write(tmp_path / "test", TRUTHS, THREE), tmp_path / "out")
    assert (evaluation.seconds_N >= 0).all()
    assert math.isfinite(evaluation.to_json()["seconds_per_image"])

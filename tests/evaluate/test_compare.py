"""Comparisons: differences and intervals by hand, images paired by name, and a page that stands alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from maskwright import runs
from maskwright.datasets.classes import ClassTable
from maskwright.datasets.formats import open_dataset
from maskwright.errors import RunError
from maskwright.evaluate import compare
from maskwright.evaluate.bootstrap import bootstrap_iou, interval
from maskwright.evaluate.compare import Comparison, Difference, common_evaluations, write_page
from maskwright.evaluate.evaluation import Evaluation
from maskwright.evaluate.evaluator import evaluate
from maskwright.evaluate.metrics import mean_of_present

NAMES = ("ground", "disc")


def evaluation(
    confusions: ArrayLike,
    *,
    ids: Sequence[str] | None = None,
    names: Sequence[str] = NAMES,
    data: str = "/data/cells",
    evaluated: str = "2026-01-01T00:00:00+0000",
    groups: Sequence[str] = (),
    unlabelled: int = 0,
    refinements: Mapping[str, Any] = {},
) -> Evaluation:
    """An evaluation of images of one row, whose pixels are those of the 2 x 2 matrices and the unlabelled ones."""
    matrices = np.array(confusions, np.int64)
    count = len(matrices)
    return Evaluation(
        classes=ClassTable.from_dict({"class": [{"name": name, "value": i} for i, name in enumerate(names)]}, "test"),
        data=data,
        evaluated=evaluated,
        ids=tuple(ids or (f"image{place}" for place in range(count))),
        sizes_N2=np.stack([np.ones(count, np.int64), matrices.sum((1, 2)) + unlabelled], 1),
        confusions_NKK=matrices,
        boundaries_NK4=np.zeros((count, len(names), 4), np.int64),
        unlabelled_N=np.full(count, unlabelled),
        seconds_N=np.ones(count),
        tolerance=2,
        membranes=None,
        membrane_reason="",
        groups=tuple(groups),
        refinements=refinements,
    )


def saved(run: Path, *evaluations: Evaluation) -> Path:
    """A run folder with evaluations in it."""
    runs.write_json(run / runs.RUN, {"schema": runs.SCHEMA, "kind": "run"})
    for place, one in enumerate(evaluations):
        one.save(run / runs.EVALUATIONS / str(place))
    return run


# Of 10 pixels a class, in two images: the first model errs on 2 and 4 pixels of the disc, the second on none and 4.
FIRST = [[[10, 0], [2, 8]], [[10, 0], [4, 6]]]
SECOND = [[[10, 0], [0, 10]], [[10, 0], [4, 6]]]


def test_the_difference_by_hand(tmp_path: Path) -> None:
    one, two = saved(tmp_path / "one", evaluation(FIRST)), saved(tmp_path / "two", evaluation(SECOND))
    comparison = common_evaluations([one, two])
    assert comparison.names == ["one", "two"]
    # IoU of ground: 20/26 and 20/24; of disc: 14/20 and 16/20.
    ground, disc = comparison.iou["two"]
    assert ground.value == pytest.approx(20 / 24 - 20 / 26)
    assert disc.value == pytest.approx(0.1)
    difference = comparison.miou["two"]
    assert difference.value == pytest.approx((ground.value + disc.value) / 2)
    # Two images, drawn twice: the first twice, each once, the second twice. The second changes nothing.
    twice = (20 / 20 - 20 / 24 + 1 - 16 / 20) / 2
    assert (difference.low, difference.high) == pytest.approx((0, twice))
    assert difference.verdict == "no clear difference"
    assert comparison.changed("two") == [0]
    content = comparison.to_json()
    assert content["first"] == "one"
    assert content["models"] == {"one": pytest.approx((20 / 26 + 0.7) / 2), "two": pytest.approx((20 / 24 + 0.8) / 2)}
    assert content["miou_difference"]["two"]["value"] == difference.value
    assert content["iou_difference"]["two"]["disc"]["verdict"] == "no clear difference"
    (_, heads, whole), (_, _, by_class) = comparison.tables()
    assert heads[3] == "95 % paired bootstrap interval over images"
    assert whole[1] == ["two", "0.817", "+0.082", f"+0.000 to +{twice:.3f}", "no clear difference"]
    assert by_class[1][:5] == ["two", "disc", "0.700", "0.800", "+0.100"]


def correlated(images: int) -> tuple[np.ndarray, np.ndarray]:
    """Images from easy to hard, on all of which the second model errs on two pixels of a hundred less."""
    wrong_N = np.linspace(4, 60, images).astype(np.int64)
    zero_N, hundred_N = np.zeros_like(wrong_N), np.full_like(wrong_N, 100)
    first, second = (
        np.stack([np.stack([hundred_N, zero_N], 1), np.stack([wrong, 100 - wrong], 1)], 1)
        for wrong in (wrong_N, wrong_N - 2)
    )
    return first, second


def test_pairing_tells_what_separate_intervals_do_not() -> None:
    first, second = correlated(20)
    comparison = Comparison({"a": evaluation(first), "b": evaluation(second)})
    difference = comparison.miou["b"]
    assert difference.verdict == "better"
    paired = difference.high - difference.low
    drawn = [mean_of_present(bootstrap_iou([one], seed=seed)[0]) for seed, one in enumerate((first, second))]
    low, high = interval(drawn[1] - drawn[0])
    assert low < 0 < high, "drawn apart, the models cannot be told from each other"
    assert paired < 0.1 * (high - low)
    assert all(one.verdict == "better" for one in comparison.iou["b"])
    back = Comparison({"b": evaluation(second), "a": evaluation(first)}).miou["a"]
    assert back.verdict == "worse"
    assert (back.value, back.low, back.high) == pytest.approx((-difference.value, -difference.high, -difference.low))


def test_a_model_does_not_differ_from_itself() -> None:
    comparison = Comparison({"a": evaluation(FIRST), "b": evaluation(FIRST)})
    assert comparison.miou["b"] == Difference(value=0, low=0, high=0)
    assert comparison.miou["b"].verdict == "no clear difference"
    assert comparison.changed("b") == []


def test_groups_are_drawn_whole() -> None:
    groups = ["left", "left", "left", "right"]
    first, second = correlated(4)
    comparison = Comparison({"a": evaluation(first, groups=groups), "b": evaluation(second, groups=groups)})
    left, right = (slice(0, 3), slice(3, 4))

    def miou(matrices: np.ndarray) -> float:
        return evaluation(matrices).miou

    # Two groups drawn twice: left, left; left, right; right, right. The 95 % interval spans all three.
    differences = [miou(second[rows]) - miou(first[rows]) for rows in (left, right, slice(0, 4))]
    difference = comparison.miou["b"]
    assert (difference.low, difference.high) == pytest.approx((min(differences), max(differences)))
    assert comparison.to_json()["interval_over"] == "2 groups"


def test_images_in_another_order_are_paired_by_name(tmp_path: Path) -> None:
    first, second = correlated(5)
    ids = list("abcde")
    one = saved(tmp_path / "one", evaluation(first, ids=ids))
    order = [3, 0, 4, 1, 2]
    two = saved(tmp_path / "two", evaluation(second[order], ids=[ids[place] for place in order]))
    comparison = common_evaluations([one, two])
    assert comparison.evaluations["two"].ids == tuple(ids)
    np.testing.assert_array_equal(comparison.evaluations["two"].confusions_NKK, second)
    straight = Comparison({"one": evaluation(first), "two": evaluation(second)})
    assert comparison.miou["two"] == straight.miou["two"]


def test_the_newest_data_that_all_have_are_compared(tmp_path: Path) -> None:
    old = [evaluation(FIRST, data="/data/old", evaluated=f"2026-01-0{day}T00:00:00+0000") for day in (1, 9)]
    new = [evaluation(SECOND, data="/data/new", evaluated=f"2026-01-0{day}T00:00:00+0000") for day in (2, 3)]
    other = evaluation(FIRST, data="/data/other", evaluated="2026-02-01T00:00:00+0000")
    one, two = saved(tmp_path / "one", old[0], new[0], other), saved(tmp_path / "two", old[1], new[1])
    assert common_evaluations([one, two]).first.data == "/data/new"
    assert common_evaluations([one, two], "/data/old").first.data == "/data/old"
    with pytest.raises(RunError, match=r"not all evaluated on /data/other. Found evaluations of:\n.*one: /data/old"):
        common_evaluations([one, two], "/data/other")


def test_what_was_asked_of_the_models_tells_evaluations_apart(tmp_path: Path) -> None:
    crf = {"crf": {"iterations": 10}}
    refined = evaluation(SECOND, evaluated="2026-02-01T00:00:00+0000", refinements=crf)
    one, two = saved(tmp_path / "one", evaluation(FIRST)), saved(tmp_path / "two", evaluation(FIRST), refined)
    assert common_evaluations([one, two]).miou["two"].value == 0
    both = common_evaluations([two, saved(tmp_path / "three", refined)])
    assert "(with crf)" in both.tables()[0][0]
    assert both.to_json()["refinements"] == crf
    with pytest.raises(RunError, match=r"only: /data/cells \(with crf\)\n.*with the same DATA and options"):
        common_evaluations([one, saved(tmp_path / "only", refined)])


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    one, two = (saved(tmp_path / day / "cells", evaluation(FIRST)) for day in ("monday", "tuesday"))
    assert common_evaluations([one, two]).names == ["monday/cells", "tuesday/cells"]
    assert common_evaluations([one, one]).names == ["cells (1)", "cells (2)"]


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    one = saved(tmp_path / "one", evaluation(FIRST))
    with pytest.raises(RunError, match=r"not all evaluated on the same data.*\n.*one: /data/cells\n.*none: none\n"):
        common_evaluations([one, saved(tmp_path / "none")])
    with pytest.raises(RunError, match="is not a run"):
        common_evaluations([one, tmp_path / "nowhere"])
    renamed = saved(tmp_path / "renamed", evaluation(FIRST, names=("ground", "cell")))
    with pytest.raises(RunError, match=r"one has the classes ground, disc, and renamed has ground, cell"):
        common_evaluations([one, renamed])
    fewer = saved(tmp_path / "fewer", evaluation(FIRST[:1]))
    with pytest.raises(RunError, match=r"on 2 images of /data/cells, and fewer on 1, not the same"):
        common_evaluations([one, fewer])
    others = saved(tmp_path / "others", evaluation(FIRST, ids=["image0", "image7"]))
    with pytest.raises(RunError, match=r"on 2 images of /data/cells, and others on 2, not the same"):
        common_evaluations([one, others])


@pytest.mark.parametrize(
    "changed",
    [
        evaluation([[[10, 0], [2, 9]], FIRST[1]]),  # another size
        evaluation([[[9, 0], [3, 8]], FIRST[1]]),  # as many pixels, of which another is disc
        evaluation([[[10, 0], [1, 8]], [[10, 0], [3, 6]]], unlabelled=1),  # a pixel was unlabelled
    ],
)
def test_data_that_changed_in_between_are_refused(tmp_path: Path, changed: Evaluation) -> None:
    one, two = saved(tmp_path / "one", evaluation(FIRST)), saved(tmp_path / "two", changed)
    with pytest.raises(RunError, match=r"of /data/cells changed between the two evaluations. Evaluate both again"):
        common_evaluations([one, two])


class Guess:
    """Answers with the truth, shifted."""

    def __init__(self, data: Path, shift: int) -> None:
        dataset = open_dataset(data)
        self.classes = dataset.classes
        self._masks = {dataset.read(one).image.tobytes(): dataset.read(one).mask for one in dataset.samples}
        self._shift = shift

    def __call__(self, image: np.ndarray, valid: np.ndarray | None = None) -> Guess:
        self.mask = np.roll(self._masks[image.tobytes()], self._shift, 1)
        self.probabilities = np.stack([self.mask == 0, self.mask == 1], 2).astype(np.float32)
        return self


def test_the_page_stands_alone_and_shows_what_changed(
    tmp_path: Path, write_pairs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_pairs(tmp_path / "<discs> & more", 4)
    guesses = {name: Guess(data, shift) for name, shift in (("near", 1), ("far", 6))}
    for name, guess in guesses.items():
        saved(tmp_path / name)
        evaluate(guess, open_dataset(data), tmp_path / name / runs.EVALUATIONS / "discs")

    def answer(guess: Guess, sample: str) -> Guess:
        return guess

    comparison = common_evaluations([tmp_path / "near", tmp_path / "far"])
    monkeypatch.setattr(compare, "SHOWN", 3)
    write_page(
        comparison, tmp_path / "page.html", open_dataset(data),
        {name: partial(answer, guess) for name, guess in guesses.items()},
    )  # fmt: skip
    page = (tmp_path / "page.html").read_text()
    assert page.count('<section class="card shot">') == 3
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 18
    assert all(re.match(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]{100,}$", source) for source in sources)
    assert len(set(sources)) == 18, "six different pictures of each image"
    assert not re.search(r"https?://|<script|<link|url\(", page)
    assert "&lt;discs&gt; &amp; more" in page
    assert "<discs>" not in page
    difference = comparison.miou["far"]
    assert difference.verdict == "worse"
    assert '<td class="worse">worse</td>' in page
    assert f"{difference.value:+.3f}" in page.replace("&#43;", "+")
    shown = [comparison.first.ids[place] for place in comparison.changed("far")]
    assert re.findall(r'<p class="about"><b>(\w+)</b>', page) == shown
    # Without the data, the tables remain.
    write_page(comparison, tmp_path / "bare.html", None, {})
    bare = (tmp_path / "bare.html").read_text()
    assert "<img" not in bare
    assert "Images that changed most" not in bare
    assert f"{difference.value:+.3f}" in bare

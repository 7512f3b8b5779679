"""Combining votes: majority, Dawid-Skene against crowd-kit, superpixels, and what stays unlabelled."""

from __future__ import annotations

import numpy as np

from maskwright.label import votes

N = 255
TABLE = """
.0.0 2112 0000 0010 0..0 11.. 1.11 1112 010. 2222 2.22 .0.. 0... 111. 2111 1111 .0.. 0010 22.2 2222
0000 00.. 1110 ..00 111. 1111 .002 2.22 0202 1111 110. 1.00 .10. 22.2 1... 1112 0100 2222 .220 0.01
..10 22.2 01.0 .110 1110 0002 1..1 0001 .001 .222 0000 1110 .002 1011 1111 0000 002. .112 1.10 .000
"""
"""Votes of four voters on 60 tasks, three classes; a point abstains."""


def table() -> np.ndarray:
    return np.array([[N if letter == "." else int(letter) for letter in row] for row in TABLE.split()], np.uint8)


def test_majority_counts_votes_and_knows_nothing_without_any() -> None:
    found = votes.majority(np.array([[0, 0, 1], [N, 1, N], [N, N, N], [0, 1, N]], np.uint8), 2)
    np.testing.assert_allclose(found, np.array([[2 / 3, 1 / 3], [0, 1], [0.5, 0.5], [0.5, 0.5]]))


def test_dawid_skene_gives_what_crowd_kit_gives() -> None:
    """Expected values: crowd-kit 1.4.2 (numpy 2.4.6, pandas 3.1.1), in an environment of its own.

    rows = [(t, w, int(v)) for t, row in enumerate(TABLE.split()) for w, v in enumerate(row) if v != "."]
    d = DawidSkene(n_iter=100, tol=1e-5).fit(pd.DataFrame(rows, columns=["task", "worker", "label"]))
    d.priors_, d.errors_.sort_index(), d.probas_.sort_index(), len(d.loss_history_)
    """
    patterns, places = votes.patterns_of(table().T[:, None])
    found = votes.dawid_skene(patterns, np.bincount(places.ravel()), 3)
    assert found.rounds == 19
    np.testing.assert_allclose(found.priors_K, [0.434849, 0.399245, 0.165906], atol=2e-6)
    expected: list[list[list[float]]] = [
        [[0.974931, 0, 0], [0.025069, 0.902737, 0], [0, 0.097263, 1]],
        [[0.777644, 0.066076, 0], [0.173897, 0.933924, 0], [0.048459, 0, 1]],
        [[0.825133, 0.102453, 0], [0.120492, 0.897547, 0], [0.054374, 0, 1]],
        [[0.640995, 0.352388, 0.096032], [0.153799, 0.431907, 0], [0.205206, 0.215705, 0.903968]],
    ]
    np.testing.assert_allclose(found.confusion_JRK, expected, atol=2e-6)
    first = [[0.958954, 0.041046, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [0.00571, 0.99429, 0]]
    np.testing.assert_allclose(found.posterior_PK[places[0, :6]], np.array(first), atol=2e-6)
    np.testing.assert_allclose(votes.posterior(found, patterns), found.posterior_PK, atol=0.01)  # one E step more


def test_abstentions_that_inform_tell_how_good_one_sided_functions_are() -> None:
    rng = np.random.default_rng(3)
    truth = rng.random(20_000) < 0.3
    chances = ((0.9, 0.02), (0.6, 0.10), (0.7, 0.05), (0.1, 0.8))  # of voting, if true and if not
    given = np.stack([rng.random(truth.size) < np.where(truth, yes, no) for yes, no in chances])
    given_JP = np.where(given, np.array([1, 1, 1, 0], np.uint8)[:, None], np.uint8(N)).astype(np.uint8)
    patterns, places = votes.patterns_of(given_JP[:, None])
    found = votes.dawid_skene(patterns, np.bincount(places.ravel()), 2, abstentions_inform=True)
    some = (given_JP != N).any(0)  # only of these anything can be said
    expected = [[given[voter, some & (truth == yes)].mean() for yes in (True, False)] for voter in range(3)]
    estimated = np.stack([found.confusion_JRK[:3, 1, 1], found.confusion_JRK[:3, 1, 0]], 1)
    np.testing.assert_allclose(estimated, expected, atol=0.06)
    np.testing.assert_allclose(found.priors_K[1], truth[some].mean(), atol=0.03)
    best = found.posterior_PK[places[0]].argmax(1)
    assert (best == truth)[some].mean() > 0.96
    missing = votes.dawid_skene(patterns, np.bincount(places.ravel()), 2)
    np.testing.assert_allclose(missing.confusion_JRK[:3, 1], 1, atol=1e-6)  # nothing was learnt of them


def test_patterns_are_those_that_occur() -> None:
    given = np.random.default_rng(0).integers(0, 3, (5, 20, 30)).astype(np.uint8)
    patterns, places = votes.patterns_of(given)
    assert (np.moveaxis(patterns[places], 2, 0) == given).all()
    assert len(np.unique(patterns, axis=0)) == len(patterns) == len(np.unique(places))


def test_a_superpixel_votes_by_more_than_half_of_its_pixels() -> None:
    given = np.array([[[0, 0, 1, 1, 1, N]]], np.uint8)
    regions = np.array([[0, 0, 0, 1, 1, 1]])
    assert votes.per_region(given, regions, 2).tolist() == [[0, 1]]
    assert votes.per_region(given, np.array([[0, 1, 1, 2, 3, 3]]), 2).tolist() == [[0, N, 1, N]]


def test_a_pixel_follows_its_superpixel_and_stays_open_where_it_contradicts() -> None:
    pixel = np.array([[0.5, 0.5], [0.1, 0.9], [0.9, 0.1]])
    region = np.array([[0.1, 0.9]] * 3)
    labels, sure = votes.decide(votes.refined(pixel, region), 0.7)
    assert labels.tolist() == [1, 1, N]
    np.testing.assert_allclose(sure, [0.75, 0.9, 0.5])


def test_ties_and_doubts_stay_unlabelled() -> None:
    labels, _ = votes.decide(np.array([[0.5, 0.5], [0.6, 0.4], [0.3, 0.7]]), 0.5)
    assert labels.tolist() == [N, 0, 1]
    assert votes.decide(np.array([[0.6, 0.4]]), 0.7)[0].tolist() == [N]

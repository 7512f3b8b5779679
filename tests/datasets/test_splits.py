"""Validation samples: the right number, neighbours together, the same whatever the order."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.datasets.folds import folds
from maskwright.datasets.samples import Sample, Source
from maskwright.datasets.sources import natural
from maskwright.datasets.splits import hold_out, keep_every_class
from maskwright.errors import SettingError


def samples(*names: str, group: str | None = None) -> list[Sample]:
    return [Sample(id=name, image=Source(path=Path(f"{name}.png")), group=group) for name in names]


def ids(chosen: tuple[Sample, ...]) -> list[str]:
    return [sample.id for sample in chosen]


def test_a_stack_gives_one_block_from_an_end() -> None:
    names = [f"{i:02}" for i in range(20)]
    ends = set()
    for seed in range(20):
        kept, held, how = hold_out(samples(*names), 0.15, seed)
        assert ids(held) in (names[:3], names[-3:])
        assert ids(kept) == [name for name in names if name not in ids(held)]
        assert how == (
            f"3 of 20 samples are held out for validation (seed {seed}): a block of neighbours, "
            f"{held[0].id} to {held[-1].id} (3 of 20)"
        )
        ends.add(held[0].id)
    assert ends == {"00", "17"}


def test_numbers_are_ordered_as_numbers() -> None:
    names = [f"slice{i}" for i in range(1, 13)]
    _, held, _ = hold_out(samples(*names), 0.25, 0)
    assert ids(held) in (["slice1", "slice2", "slice3"], ["slice10", "slice11", "slice12"])


def test_each_long_sequence_gives_a_block_in_proportion() -> None:
    # CamVid's training frames: 62, 101 and 204 of three drives.
    drives = {"0001TP_": 62, "0006R0_f": 101, "0016E5_": 204}
    names = [f"{drive}{frame * 30:05}" for drive, count in drives.items() for frame in range(count)]
    _, held, how = hold_out(samples(*names), 0.15, 0)
    assert len(held) == 55
    for drive, expected in (("0001TP_", 9), ("0006R0_f", 15), ("0016E5_", 31)):
        frames = [int(name.removeprefix(drive)) // 30 for name in ids(held) if name.startswith(drive)]
        assert frames in (list(range(expected)), list(range(drives[drive] - expected, drives[drive])))
    assert "blocks of neighbours" in how
    assert "(31 of 204)" in how


def test_many_short_sequences_are_held_out_whole() -> None:
    names = [f"patient{p}_slice{s:02}" for p in range(30) for s in range(10)]
    _, held, how = hold_out(samples(*names), 0.2, 3)
    assert len(held) == 60
    by_patient = [name.split("_")[0] for name in ids(held)]
    assert sorted(by_patient.count(patient) for patient in set(by_patient)) == [10] * 6
    assert "6 whole sequences" in how
    assert "and 2 more" in how


def test_the_number_is_met_by_a_block_of_one_more_short_sequence() -> None:
    names = [f"p{p}s{s}" for p in range(12) for s in range(10)]
    _, held, _ = hold_out(samples(*names), 0.15, 0)
    counts = sorted(ids(held).count(name) and name.split("s")[0] for name in ids(held))
    assert len(held) == 18
    assert sorted(counts.count(patient) for patient in set(counts)) == [8, 10]


def test_numbers_after_the_one_that_counts_do_not_hide_a_sequence() -> None:
    names = [f"frame_{i:04}_leftImg8bit" for i in range(10)]
    _, held, how = hold_out(samples(*names), 0.3, 0)
    assert ids(held) in (names[:3], names[-3:])
    assert "a block of neighbours" in how


def test_names_without_a_sequence_are_drawn_at_random() -> None:
    # Hashes: some end in digits, no three differ in the last number only.
    rng = random.Random(0)
    names = [f"{rng.getrandbits(256):064x}" for _ in range(200)]
    _, held, how = hold_out(samples(*names), 0.15, 0)
    assert how == "30 of 200 samples are held out for validation (seed 0): 30 drawn at random"
    places = [sorted(names).index(name) for name in ids(held)]
    assert max(places) - min(places) > 100
    _, other, _ = hold_out(samples(*names), 0.15, 1)
    assert set(ids(held)) != set(ids(other))


def test_two_names_are_no_sequence() -> None:
    _, held, how = hold_out(samples("a1", "a2", "b1", "b2", "c", "d"), 0.5, 0)
    assert len(held) == 3
    assert "3 drawn at random" in how


def test_groups_are_never_divided() -> None:
    mixed = [sample for g in range(8) for sample in samples(*[f"{g}x{i}" for i in range(g + 1)], group=f"slide{g}")]
    for seed in range(10):
        kept, held, how = hold_out(mixed, 0.3, seed)
        assert not {sample.group for sample in kept} & {sample.group for sample in held}
        assert 6 <= len(held) <= 16  # 11 are wanted
        assert "whole groups, slide" in how


def test_large_groups_give_the_smallest_one() -> None:
    mixed = samples("a1", "a2", "a3", "a4", group="a") + samples("b1", "b2", "b3", group="b")
    _, held, how = hold_out(mixed, 0.15, 0)
    assert ids(held) == ["b1", "b2", "b3"]
    assert how.startswith("3 of 7 samples")


def test_a_single_group_has_to_be_divided_and_that_is_said() -> None:
    _, held, how = hold_out(samples(*[f"x{i}" for i in range(10)], group="slide"), 0.2, 0)
    assert ids(held) in (["x0", "x1"], ["x8", "x9"])
    assert "all are of the group 'slide'" in how


@pytest.mark.parametrize(("count", "share"), [(0, 0.2), (1, 0.2), (5, 0.0)])
def test_nothing_to_hold_out(count: int, share: float) -> None:
    kept, held, how = hold_out(samples(*[f"x{i}" for i in range(count)]), share, 0)
    assert len(kept) == count
    assert held == ()
    assert "no sample is held out" in how


def test_one_at_least_and_never_all() -> None:
    assert len(hold_out(samples("a", "b"), 0.01, 0)[1]) == 1
    assert len(hold_out(samples("a", "b"), 0.9, 0)[1]) == 1
    assert len(hold_out(samples("a1", "a2", "a3"), 0.9, 0)[1]) == 2


NAMES = st.lists(
    st.one_of(
        st.builds("{}{}".format, st.sampled_from(["a", "b_", "train/c", ""]), st.integers(0, 60)),
        st.text("xyz", min_size=1, max_size=4),
    ),
    min_size=2,
    max_size=60,
    unique=True,
)


@given(NAMES, st.floats(0.01, 0.9), st.integers(0, 5), st.randoms(use_true_random=False))
def test_a_partition_of_the_wanted_size_in_blocks_whatever_the_order(
    names: list[str], share: float, seed: int, shuffler: random.Random
) -> None:
    kept, held, how = hold_out(samples(*names), share, seed)
    assert sorted(ids(kept) + ids(held)) == sorted(names)
    assert len(held) == min(max(1, round(share * len(names))), len(names) - 1)
    assert how.startswith(f"{len(held)} of {len(names)} ")
    shuffled = names.copy()
    shuffler.shuffle(shuffled)
    assert hold_out(samples(*shuffled), share, seed) == (kept, held, how)
    for prefix in ("a", "b_", "train/c", ""):
        sequence = sorted((n for n in names if n.removeprefix(prefix).isdigit() and n.startswith(prefix)), key=natural)
        if len(sequence) >= 3:
            inside = [name in ids(held) for name in sequence]
            changes = sum(one != next_one for one, next_one in pairwise(inside))
            assert changes <= 1  # one seam at most


def test_folds_hold_every_sample_out_once_in_blocks_of_neighbours() -> None:
    names = [f"{i:02}" for i in range(10)]
    parts, how = folds(samples(*names), 3, 0)
    assert sorted(sample.id for part in parts for sample in part) == names
    # Ten in three blocks: 0..2, 3..6, 7..9, in a turn of their own.
    assert sorted(map(ids, parts)) == [names[0:3], names[3:7], names[7:10]]
    assert how == "3 folds of 3 to 4 samples (seed 0): 1 sequence cut into blocks of neighbours"


def test_folds_keep_groups_whole_and_balance_them() -> None:
    patients = [sample for group, count in zip("abcd", (4, 3, 2, 1), strict=True) for sample in
                samples(*(f"{group}{i}" for i in range(count)), group=group)]  # fmt: skip
    parts, how = folds(patients, 2, 0)
    assert sorted({sample.group for sample in part} for part in parts) in (
        [{"a", "d"}, {"b", "c"}],
        [{"b", "c"}, {"a", "d"}],
    )
    assert [len(part) for part in parts] == [5, 5]
    assert "4 groups kept whole" in how
    with pytest.raises(SettingError, match=r"10 sample\(s\) in 4 groups or sequences, too few for 5"):
        folds(patients, 5, 0)


def test_folds_of_single_samples_do_not_depend_on_their_order() -> None:
    names = ["ant", "bee", "cat", "dog", "elk", "fox", "gnu"]
    parts, _ = folds(samples(*names), 3, 4)
    assert sorted(map(len, parts)) == [2, 2, 3]
    assert folds(samples(*reversed(names)), 3, 4)[0] == parts
    assert folds(samples(*names), 3, 5)[0] != parts


def test_what_only_held_out_samples_show_goes_back_to_training() -> None:
    kept, held = (
        [Sample(id=name, image=Source(path=Path(name))) for name in "abc"],
        [Sample(id=name, image=Source(path=Path(name))) for name in "de"],
    )
    present = {"a": frozenset({0}), "b": frozenset({0, 1}), "c": frozenset[int](), "d": frozenset({0, 2})}
    train, validate, how = keep_every_class(kept, held, present | {"e": frozenset({1})})
    assert [sample.id for sample in train] == ["a", "b", "c", "d"]
    assert [sample.id for sample in validate] == ["e"]
    assert "d back in training" in how
    assert keep_every_class(kept, held, dict.fromkeys("abcde", frozenset({0})))[2] == ""
    # The only labelled sample trains, and nothing validates.
    alone = keep_every_class(kept, held[:1], {"d": frozenset({0, 1})})
    assert (len(alone[0]), alone[1]) == (4, ())
    assert "nothing is left to validate on" in alone[2]

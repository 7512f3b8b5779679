from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskwright.augment.store import Store
from maskwright.config import Preparation
from maskwright.datasets.formats import open_dataset
from maskwright.datasets.samples import Dataset, Pair, Sample, Window
from maskwright.errors import DataError

WINDOW = Window(5, 7, 20, 16)
PAIR_BYTES = 40 * 48 * 4


@dataclass(frozen=True, kw_only=True)
class Counted(Dataset):
    """Counts what is read: (id, whether a window)."""

    def read(self, sample: Sample) -> Pair:
        READS[sample.id, sample.image.window is not None] += 1
        return super().read(sample)


READS: Counter[tuple[str, bool]] = Counter()


def make_store(folder: Path, budget: float, **preparation: Any) -> Store:
    READS.clear()
    found = open_dataset(folder)
    dataset = Counted(root=found.root, samples=found.samples, classes=found.classes)
    return Store(dataset, Preparation(**preparation), budget)


def test_images_are_read_once_within_the_budget(discs: Path) -> None:
    store = make_store(discs, 1e9)
    for _ in range(2):
        for sample in store.dataset.samples:
            store.get(sample)
    assert set(READS.values()) == {1}
    assert store.bytes == 8 * PAIR_BYTES
    store = make_store(discs, 3.5 * PAIR_BYTES)
    for _ in range(2):
        for sample in store.dataset.samples:
            store.get(sample)
    assert len(store.kept) == 3
    assert sum(READS.values()) == 8 + 5


def test_beyond_the_budget_a_window_is_read_and_nothing_else(discs: Path) -> None:
    store = make_store(discs, 1.5 * PAIR_BYTES)
    kept, other = store.dataset.samples[:2]
    store.get(kept)
    READS.clear()
    for sample, reads in ((kept, {}), (other, {(other.id, True): 1})):
        image, mask = store.part(sample, WINDOW)
        assert dict(READS) == reads
        whole = store.dataset.read(sample)
        np.testing.assert_array_equal(image, whole.image[5:25, 7:23])
        np.testing.assert_array_equal(mask, whole.mask[5:25, 7:23])
        READS.clear()


def test_with_room_left_all_of_it_is_read_and_kept(discs: Path) -> None:
    store = make_store(discs, 1e9)
    sample = store.dataset.samples[0]
    for _ in range(3):
        store.part(sample, WINDOW)
    assert dict(READS) == {(sample.id, False): 1}


@pytest.mark.parametrize(
    ("preparation", "windowed"),
    [({"bands": (2, 0)}, True), ({"clip": (1.0, 99.0)}, False), ({"resize": (30, 30)}, False), ({"clahe": 2.0}, False)],
)
def test_what_depends_on_all_pixels_is_prepared_whole(discs: Path, preparation: dict[str, Any], windowed: bool) -> None:
    store = make_store(discs, 0, **preparation)
    sample = store.dataset.samples[0]
    expected = store.get(sample)
    READS.clear()
    image, mask = store.part(sample, WINDOW)
    np.testing.assert_array_equal(image, expected.image[5:25, 7:23])
    np.testing.assert_array_equal(mask, expected.mask[5:25, 7:23])
    assert dict(READS) == {(sample.id, windowed): 1}


def test_sizes_are_known_without_reading(discs: Path) -> None:
    assert make_store(discs, 0).shape(open_dataset(discs).samples[0]) == (40, 48)
    assert make_store(discs, 0, resize=(9, 8)).shape(open_dataset(discs).samples[0]) == (9, 8)
    assert not READS


def test_locations_are_pixels_of_their_class(discs: Path) -> None:
    store = make_store(discs, 1e9)
    sample = store.dataset.samples[0]
    mask = store.get(sample).mask
    locations = store.locations(sample)
    assert set(locations) == {0, 1}
    for index, points in locations.items():
        assert len(points) == len({tuple(p) for p in points.tolist()}) > 100
        assert (mask[points[:, 1], points[:, 0]] == index).all()


def test_threads_share_what_one_of_them_read(discs: Path) -> None:
    store = make_store(discs, 1e9)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store.get, store.dataset.samples * 6))
    assert set(READS.values()) == {1}
    assert store.bytes == 8 * PAIR_BYTES


def test_images_of_another_kind_are_refused(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    rgb, grey = write_pairs(tmp_path / "rgb", 1), write_pairs(tmp_path / "grey", 1, channels=1)
    like = make_store(rgb, 1e9)
    like.get(like.dataset.samples[0])
    other = open_dataset(grey)
    with pytest.raises(DataError, match=r"has 1 channel\(s\) of uint8, but 'photo00' has 3 of uint8"):
        Store(other, Preparation(), 1e9, like).get(replace(other.samples[0], id="grey"))

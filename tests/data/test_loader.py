from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from maskwright.config import Augmentation, Preparation
from maskwright.data.formats import open_dataset
from maskwright.data.loader import Loader, Store

VIEWS = Augmentation(
    zoom=(0.7, 1.4), rotation=20.0, flip_horizontal=True, brightness=0.3, contrast=0.2, border="reflect"
)


def make_loader(
    folder: Path, augmentation: Augmentation = VIEWS, budget: float = 1e9, class_share: float = 0.5, seed: int = 5
) -> Loader:
    dataset = open_dataset(folder)
    return Loader(
        Store(dataset, Preparation(), budget),
        dataset.samples,
        augmentation=augmentation,
        crop=(24, 32),
        batch=3,
        class_share=class_share,
        seed=seed,
        mean=100.0,
        std=50.0,
    )


def test_a_step_can_be_made_again_alone(discs: Path) -> None:
    with make_loader(discs).ahead(0) as batches:
        first_five = list(islice(batches, 5))
    again = make_loader(discs, budget=0).batch(4)
    assert torch.equal(first_five[4].image_BCHW, again.image_BCHW)
    assert torch.equal(first_five[4].target_BHW, again.target_BHW)
    assert first_five[4].ids == again.ids


def test_another_step_slot_or_seed_draws_something_else(discs: Path) -> None:
    one = make_loader(discs).batch(0)
    assert not torch.equal(one.image_BCHW, make_loader(discs).batch(1).image_BCHW)
    assert not torch.equal(one.image_BCHW, make_loader(discs, seed=6).batch(0).image_BCHW)
    assert not torch.equal(one.image_BCHW[0], one.image_BCHW[1])


def test_every_sample_is_shown_once_a_pass(discs: Path) -> None:
    loader = make_loader(discs)
    shown = [loader.sample_at(step, slot).id for step in range(8) for slot in range(3)]
    for turn in range(3):
        assert sorted(shown[8 * turn : 8 * turn + 8]) == [sample.id for sample in loader.samples]
    assert shown[:8] != shown[8:16]


def test_without_ranges_a_view_is_a_crop_in_native_values(discs: Path) -> None:
    loader = make_loader(discs, Augmentation())
    batch = loader.batch(0)
    assert batch.image_BCHW.shape == (3, 3, 24, 32)
    assert batch.image_BCHW.dtype == torch.float32
    assert batch.image_BCHW.is_contiguous(memory_format=torch.channels_last)
    image, mask = loader.store.get(loader.sample_at(0, 0))
    windows = np.lib.stride_tricks.sliding_window_view(image, (24, 32), (0, 1))
    crop = batch.image_BCHW[0].numpy()
    places = np.argwhere((windows == crop).all((2, 3, 4)))
    assert len(places) == 1
    y, x = places[0]
    np.testing.assert_array_equal(batch.target_BHW[0].numpy(), mask[y : y + 24, x : x + 32])


def test_class_centred_views_show_the_rare_class_more(discs: Path) -> None:
    def shares(class_share: float) -> float:
        loader = make_loader(discs, Augmentation(zoom=(4.0, 4.0)), class_share=class_share)
        return float(np.mean([(loader.view(step, 0).mask == 1).mean() for step in range(60)]))

    assert shares(1.0) > 1.3 * shares(0.0)


def test_locations_are_pixels_of_their_class(discs: Path) -> None:
    store = make_loader(discs).store
    sample = store.dataset.samples[0]
    mask = store.get(sample).mask
    locations = store.locations(sample)
    assert set(locations) == {0, 1}
    for index, points in locations.items():
        assert len(points) == len({tuple(p) for p in points.tolist()}) > 100
        assert (mask[points[:, 1], points[:, 0]] == index).all()


def test_images_are_read_once_within_the_budget(discs: Path) -> None:
    reads: Counter[str] = Counter()
    one_pair = 40 * 48 * 4

    def counted(budget: float) -> Store:
        store = Store(open_dataset(discs), Preparation(), budget)
        original = store.dataset.read

        class Counting:
            samples = store.dataset.samples

            def read(self, sample: object) -> object:
                reads[str(budget)] += 1
                return original(sample)  # type: ignore[arg-type]

        store.dataset = Counting()  # type: ignore[assignment]
        for _ in range(2):
            for sample in store.dataset.samples:
                store.get(sample)
        return store

    assert len(counted(1e9).kept) == 8
    assert len(counted(3.5 * one_pair).kept) == 3
    assert reads == {"1000000000.0": 8, str(3.5 * one_pair): 8 + 5}


def test_tone_is_applied_to_the_image_alone(discs: Path) -> None:
    plain = make_loader(discs, Augmentation()).batch(0)
    toned = make_loader(discs, Augmentation(brightness=0.5, contrast=0.3)).batch(0)
    assert torch.equal(plain.target_BHW, toned.target_BHW)
    a, b = plain.image_BCHW[0].flatten(), toned.image_BCHW[0].flatten()
    gain, offset = np.polyfit(a, b, 1)
    assert 0.7 <= gain <= 1.3
    assert abs(gain * 100 + offset - 100) <= 25
    torch.testing.assert_close(b, a * float(gain) + float(offset), atol=1e-2, rtol=0)

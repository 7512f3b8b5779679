from __future__ import annotations

import hashlib
import multiprocessing
import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from maskwright.augment.loader import Batch, Loader, Store, default_workers
from maskwright.config import Augmentation, Preparation
from maskwright.datasets.formats import open_dataset
from maskwright.errors import DataError, SettingError, UnreadableFileError

VIEWS = Augmentation(
    zoom=(0.7, 1.4), rotation=20.0, flip_horizontal=True, brightness=0.3, contrast=0.2, border="reflect"
)
EVERYTHING = Augmentation(
    zoom=(0.7, 1.4), rotation=20.0, shift=0.1, shear=5.0, flip_horizontal=True, flip_vertical=True, quarter_turns=True,
    brightness=0.3, contrast=0.2, border="constant", perspective=0.1, elastic=0.9, elastic_grid=4, saturation=0.3,
    hue=20.0, gamma=(0.7, 1.5), channel_noise=0.2, noise=0.2, blur=1.0, low_resolution=0.5, jpeg=40, cut_out=0.4,
    degraded=0.5, class_mix=0.5, copy_paste=0.5,
)  # fmt: skip


def make_loader(
    folder: Path,
    augmentation: Augmentation = VIEWS,
    budget: float = 1e9,
    class_fraction: float = 0.5,
    seed: int = 5,
    **options: Any,
) -> Loader:
    dataset = open_dataset(folder)
    given: dict[str, Any] = {"crop": (24, 32), "batch": 3, "mean": 100.0, "std": 50.0} | options
    store = Store(dataset, Preparation(), budget)
    return Loader(store, dataset.samples, augmentation=augmentation, class_fraction=class_fraction, seed=seed, **given)


def digest(batch: Batch) -> str:
    content = hashlib.sha256(np.ascontiguousarray(batch.image_BCHW.permute(0, 2, 3, 1).numpy()).tobytes())
    content.update(batch.target_BHW.numpy().tobytes())
    content.update(repr(batch.ids).encode())
    return content.hexdigest()


def _digest_elsewhere(folder: Path, step: int, answers: multiprocessing.Queue[str]) -> None:
    answers.put(digest(make_loader(folder, EVERYTHING, budget=0).batch(step)))


def test_a_step_can_be_made_again_alone(discs: Path) -> None:
    with make_loader(discs).ahead(0) as batches:
        first_five = list(islice(batches, 5))
    again = make_loader(discs, budget=0).batch(4)
    assert torch.equal(first_five[4].image_BCHW, again.image_BCHW)
    assert torch.equal(first_five[4].target_BHW, again.target_BHW)
    assert first_five[4].ids == again.ids


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_and_another_process_make_the_same_batches(discs: Path, workers: int) -> None:
    with make_loader(discs, EVERYTHING, workers=workers).ahead(2) as batches:
        made = [digest(batch) for batch in islice(batches, 5)]
    again = make_loader(discs, EVERYTHING, budget=2e4)
    assert made == [digest(again.batch(step)) for step in range(2, 7)]
    assert len(set(made)) == 5
    if workers == 1:
        return
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_digest_elsewhere, args=(discs, 4, answers))
    process.start()
    assert answers.get(timeout=120) == made[2]
    process.join()


def test_processes_that_share_a_batch_make_its_parts(discs: Path) -> None:
    whole = make_loader(discs, EVERYTHING, batch=4).batch(3)
    parts = [make_loader(discs, EVERYTHING, batch=4, slots=range(first, 4, 2)).batch(3) for first in range(2)]
    for first, part in enumerate(parts):
        assert torch.equal(part.image_BCHW, whole.image_BCHW[first::2])
        assert torch.equal(part.target_BHW, whole.target_BHW[first::2])
        assert part.ids == whole.ids[first::2]


def test_another_step_slot_or_seed_draws_something_else(discs: Path) -> None:
    one = make_loader(discs).batch(0)
    assert not torch.equal(one.image_BCHW, make_loader(discs).batch(1).image_BCHW)
    assert not torch.equal(one.image_BCHW, make_loader(discs, seed=6).batch(0).image_BCHW)
    loader = make_loader(discs)
    views = [loader.view(0, slot, loader.samples[0]) for slot in range(2)]
    assert not np.array_equal(views[0].image, views[1].image)


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
    def shares(class_fraction: float) -> float:
        loader = make_loader(discs, Augmentation(zoom=(4.0, 4.0)), class_fraction=class_fraction)
        return float(np.mean([(loader.view(step, 0).mask == 1).mean() for step in range(60)]))

    assert shares(1.0) > 1.3 * shares(0.0)


def test_tone_is_applied_to_the_image_alone(discs: Path) -> None:
    plain = make_loader(discs, Augmentation()).batch(0)
    changed = make_loader(discs, Augmentation(brightness=0.5, contrast=0.3)).batch(0)
    assert torch.equal(plain.target_BHW, changed.target_BHW)
    a, b = plain.image_BCHW[0].flatten(), changed.image_BCHW[0].flatten()
    gain, offset = np.polyfit(a, b, 1)
    assert 0.7 <= gain <= 1.3
    assert abs(gain * 100 + offset - 100) <= 25
    torch.testing.assert_close(b, a * float(gain) + float(offset), atol=1e-2, rtol=0)


def test_integers_keep_their_range_and_settings_of_no_effect_cost_nothing(discs: Path) -> None:
    batch = make_loader(discs, Augmentation(brightness=10.0)).batch(0)
    assert batch.image_BCHW.min() >= 0
    assert batch.image_BCHW.max() <= 255
    off = Augmentation(
        brightness=10.0, perspective=0.0, elastic=0.0, hue=0.0, gamma=(1.0, 1.0), noise=0.0, jpeg=0, class_mix=0.0
    )
    assert digest(make_loader(discs, off).batch(0)) == digest(batch)


def test_new_draws_leave_views_where_they_were(discs: Path) -> None:
    plain = make_loader(discs, VIEWS).batch(1)
    asked: dict[str, Any] = {**vars(VIEWS), "noise": 0.5, "hue": 30.0, "degraded": 1.0}
    more = make_loader(discs, Augmentation(**asked)).batch(1)
    assert torch.equal(plain.target_BHW, more.target_BHW)
    assert not torch.equal(plain.image_BCHW, more.image_BCHW)


@pytest.fixture
def painted(tmp_path: Path) -> Path:
    """Images whose pixels are 10 times the class, classes 0 to 5 in blocks of their own arrangement."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / "painted" / name).mkdir(parents=True)
    for index in range(5):
        mask = np.kron(rng.integers(0, 6, (4, 5)), np.ones((10, 10), int)).astype(np.uint8)
        Image.fromarray(mask * 10).save(tmp_path / "painted" / "images" / f"p{index}.png")
        Image.fromarray(mask).save(tmp_path / "painted" / "masks" / f"p{index}.png")
    return tmp_path / "painted"


@pytest.mark.parametrize("class_mix", [0.0, 1.0])
def test_mixing_keeps_pixels_and_labels_together(painted: Path, class_mix: float) -> None:
    mixed = make_loader(painted, Augmentation(class_mix=class_mix, copy_paste=1.0 - class_mix))
    plain = make_loader(painted, Augmentation())
    changed = 0
    for step in range(10):
        one, other = mixed.batch(step), plain.batch(step)
        torch.testing.assert_close(one.image_BCHW[:, 0], one.target_BHW * 10.0)
        changed += int((one.target_BHW != other.target_BHW).any(2).any(1).sum())
        for slot in range(3):
            # What is new came from the same place of another view of the step.
            new = one.target_BHW[slot] != other.target_BHW[slot]
            others = [other.target_BHW[k] for k in range(3) if k != slot]
            assert any(torch.equal(one.target_BHW[slot][new], source[new]) for source in others)
    assert changed > 25


def test_a_batch_of_one_is_mixed_too(painted: Path) -> None:
    mixed, plain = (make_loader(painted, asked, batch=1) for asked in (Augmentation(class_mix=1.0), Augmentation()))
    assert any(digest(mixed.batch(step)) != digest(plain.batch(step)) for step in range(3))


def test_whole_images_are_shown_whole(painted: Path) -> None:
    loader = make_loader(painted, Augmentation(whole_image=True), crop=(20, 30), class_fraction=1.0)
    for step in range(5):
        view = loader.view(step, 0)
        # 40 x 50 pixels fit into 20 x 30 at half their size, beside unlabelled columns.
        shown = view.mask[:, (view.mask != 255).any(0)]
        assert shown.shape == (20, 25)
        truth = loader.store.get(loader.sample_at(step, 0)).mask
        np.testing.assert_array_equal(shown, truth[1::2, 1::2])


def test_at_a_working_scale_a_view_is_the_same_one_reduced(painted: Path) -> None:
    ranges = Augmentation(
        zoom=(0.7, 1.4), rotation=20.0, flip_horizontal=True, quarter_turns=True, border="reflect", perspective=0.1,
        elastic=3.0, elastic_grid=3,
    )  # fmt: skip
    whole = make_loader(painted, ranges, crop=(80, 96))
    half = make_loader(painted, ranges, crop=(80, 96), scale=0.5)
    assert half.batch(0).image_BCHW.shape[2:] == half.batch(0).target_BHW.shape[1:] == (40, 48)
    alike = []
    for step, slot in [(0, 0), (0, 1), (1, 2), (7, 0)]:
        view, small = whole.view(step, slot), half.view(step, slot)
        reduced = cv2.resize(view.image, (48, 40), interpolation=cv2.INTER_AREA).reshape(small.image.shape)
        assert float(np.abs(reduced.astype(float) - small.image).mean()) < 8
        alike.append(float((view.mask[1::2, 1::2] == small.mask).mean()))
    assert min(alike) > 0.9


def test_above_1_the_network_enlarges_views_itself(discs: Path) -> None:
    assert digest(make_loader(discs, scale=2.0).batch(3)) == digest(make_loader(discs).batch(3))


def test_beyond_a_constant_border_lies_the_mean_of_each_channel(discs: Path) -> None:
    loader = make_loader(discs, Augmentation(border="constant"), crop=(64, 64), mean=[1.0, 2.0, 3.0], std=[1.0] * 3)
    batch = loader.batch(0)
    outside = batch.target_BHW == 255
    assert outside.sum() == 3 * (64 * 64 - 40 * 48)
    for channel in range(3):
        assert (batch.image_BCHW[:, channel][outside] == channel + 1).all()


def test_a_transform_of_ones_own_acts_on_native_views(discs: Path) -> None:
    def inverted(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert image.dtype == np.uint8
        return 255 - image, mask

    plain, other = (make_loader(discs, Augmentation(), transform=f).batch(1) for f in (None, inverted))
    assert torch.equal(plain.image_BCHW, 255 - other.image_BCHW)
    assert torch.equal(plain.target_BHW, other.target_BHW)
    again = make_loader(discs, Augmentation()).batch(1)
    assert torch.equal(plain.image_BCHW, again.image_BCHW), "the images in memory are as they were"


def test_a_transforms_chance_is_the_places_own(discs: Path) -> None:
    def noisy(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return image + np.random.randint(0, 100, image.shape).astype(np.uint8), mask  # noqa: NPY002

    with make_loader(discs, transform=noisy, workers=3).ahead(0) as batches:
        made = [digest(batch) for batch in islice(batches, 4)]
    assert made == [digest(make_loader(discs, transform=noisy).batch(step)) for step in range(4)]


@pytest.mark.parametrize("workers", [1, 4])
def test_a_failing_worker_is_reported_with_its_sample(discs: Path, workers: int) -> None:
    loader = make_loader(discs, budget=0, class_fraction=0.0, workers=workers)
    broken = loader.samples[3]
    broken.image.path.write_bytes(broken.image.path.read_bytes()[:200])
    with loader.ahead(0) as batches:
        for step in range(3):
            if any(loader.sample_at(step, slot) is broken for slot in range(3)):
                with pytest.raises(UnreadableFileError, match=r"photo03\.png cannot be read") as caught:
                    next(batches)
                assert caught.value.file == broken.image.path
                return
            assert broken.id not in next(batches).ids
    pytest.fail("a pass of eight samples shows each of them")


def test_whatever_fails_names_the_sample_and_its_file(discs: Path) -> None:
    def bad(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise IndexError("no such thing")

    with pytest.raises(
        DataError, match=r"'photo0\d' \(.*photo0\d.png\) cannot be shown in step 2: IndexError: no such"
    ) as caught:
        make_loader(discs, transform=bad).batch(2)
    first = make_loader(discs).sample_at(2, 0)
    assert caught.value.file == first.image.path
    with pytest.raises(
        DataError, match=r"photo0\d.png\) cannot be shown in step 0: The transform returned a mask with 7"
    ) as caught:
        make_loader(discs, transform=lambda image, mask: (image, np.full_like(mask, 7))).batch(0)
    error = caught.value
    assert error.file is not None
    assert error.expected.startswith("Expected class indices 0 to ")
    assert error.remedy.startswith("Resample masks by nearest neighbour")
    assert error.remedy.endswith("Look at this file, or leave the sample out.")


def test_leaving_early_ends_the_threads_and_gives_opencv_back_its_own(discs: Path) -> None:
    before = cv2.getNumThreads()
    with make_loader(discs, workers=2).ahead(0) as batches:
        next(batches)
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_settings_that_images_cannot_have_are_refused_at_once(
    tmp_path: Path, write_pairs: Callable[..., Path], discs: Path
) -> None:
    grey = write_pairs(tmp_path / "grey", 2, channels=1)
    with pytest.raises(SettingError, match="hue = 10 is for RGB"):
        make_loader(grey, Augmentation(hue=10.0))
    with pytest.raises(SettingError, match=r"elastic = 5 folds views of 24 x 32 .* 3 grid points .* at most 1.2"):
        make_loader(discs, Augmentation(elastic=5.0))


def test_one_thread_beside_a_cpu_and_several_beside_a_gpu() -> None:
    assert default_workers("cpu") == 1
    assert 1 <= default_workers("cuda") <= 8

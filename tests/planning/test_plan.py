from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from maskwright.augment.loader import Store
from maskwright.config import Augmentation, Preparation, Settings, Training
from maskwright.datasets.formats import open_dataset
from maskwright.errors import RunError, SettingError
from maskwright.planning.decisions import Budget, HeadStart, ResolvedTraining, Weights
from maskwright.planning.fingerprint import Fingerprint, take_fingerprint
from maskwright.planning.plan import Plan
from maskwright.planning.rules import make_plan
from maskwright.training.machine import step_seconds

FINGERPRINT = Fingerprint(
    images=20, channels=1, dtype="uint8", height=(512, 512, 512), width=(512, 512, 512),
    mean=(120.0,), std=(40.0,), class_fraction=(0.2, 0.8), thick_fraction=(0.3, 0.9),
    upside_down=0.02, left_right=0.02,
)  # fmt: skip

COARSE = replace(FINGERPRINT, thick_fraction=(0.8, 0.9))


OFF = {
    "whole_image", "perspective", "elastic", "elastic_grid", "saturation", "hue", "gamma", "channel_noise", "noise",
    "blur", "low_resolution", "jpeg", "cut_out", "degraded", "class_mix", "copy_paste",
}  # fmt: skip
"""Augmentations that are off unless asked for."""


def test_every_open_setting_is_decided_with_a_reason() -> None:
    plan = make_plan(Settings(), FINGERPRINT)
    for section in ("training", "augmentation"):
        decided = {
            field.name for field in fields(getattr(plan.settings, section))
            if getattr(getattr(plan.settings, section), field.name) not in (None, {})
        }  # fmt: skip
        undecided = {field.name for field in fields(getattr(plan.settings, section))} - decided
        assert undecided <= {"steps", "validate_every", "model_options", "folds", "sources"} | OFF
    assert all(reason and source for _, _, reason, source in plan.rows())


def test_what_is_given_stands() -> None:
    plan = make_plan(
        Settings(training=Training(steps=5, lr=0.5), augmentation=Augmentation(rotation=90.0)), FINGERPRINT
    )
    assert plan.settings.training.lr == 0.5
    assert plan.settings.training.minutes is None
    assert plan.decisions["training"]["lr"].source == "given"
    assert plan.settings.augmentation.rotation == 90


def test_upright_scenes_are_not_turned() -> None:
    level = make_plan(Settings(), FINGERPRINT).settings.augmentation
    assert level.flip_vertical
    assert level.quarter_turns
    upright = make_plan(Settings(), replace(FINGERPRINT, upside_down=0.6)).settings.augmentation
    assert not upright.flip_vertical
    assert not upright.quarter_turns
    assert upright.flip_horizontal


def test_a_class_that_is_never_upside_down_tells_what_is_up() -> None:
    plan = make_plan(Settings(), replace(FINGERPRINT, upright=(0.05, 0.4)))
    assert not plan.settings.augmentation.flip_vertical
    assert not plan.settings.augmentation.quarter_turns
    assert plan.settings.augmentation.flip_horizontal
    reason = plan.decisions["augmentation"]["flip_vertical"].reason
    assert reason == "class 1 lies differently in images turned upside down (0.40), more than by chance"
    assert make_plan(Settings(), replace(FINGERPRINT, upright=(0.1, 0.1))).settings.augmentation.flip_vertical


def test_left_and_right_classes_are_not_mirrored() -> None:
    plan = make_plan(Settings(), replace(FINGERPRINT, mirror_image=(1, 0)))
    assert not plan.settings.augmentation.flip_horizontal
    assert not plan.settings.augmentation.flip_vertical, "a flip is a mirror image, a turn is not"
    assert plan.settings.augmentation.quarter_turns
    assert not plan.settings.training.tta
    assert "classes 0 and 1 are each other's mirror image" in plan.decisions["augmentation"]["flip_vertical"].reason
    mirrored = Settings(augmentation=Augmentation(flip_horizontal=True))
    assert make_plan(mirrored, replace(FINGERPRINT, mirror_image=(1, 0))).settings.augmentation.flip_horizontal


def test_large_images_of_coarse_classes_are_seen_smaller() -> None:
    def planned(side: int, *iou: float) -> Training:
        sides = (side, side, side)
        fingerprint = replace(FINGERPRINT, height=sides, width=sides, shrunk_iou=iou)
        return make_plan(Settings(), fingerprint).settings.training

    assert (planned(1000, 0.98, 0.96).scale, planned(1000, 0.98, 0.96).crop) == (0.5, (512, 512))
    assert (planned(2000, 0.99, 0.98).scale, planned(2000, 0.99, 0.98).crop) == (0.25, (1024, 1024))
    assert planned(1000, 0.99, 0.98).scale == 0.5, "a quarter would leave 250 pixels"
    assert (planned(1000, 0.96, 0.9).scale, planned(1000, 0.96, 0.9).crop) == (1.0, (256, 256))
    assert planned(600, 1.0, 1.0).scale == 1.0


def test_without_time_to_see_large_images_they_are_reduced() -> None:
    photos = replace(COARSE, images=400, height=(827, 827, 827), width=(550, 550, 550), shrunk_iou=(0.93, 0.85))
    hour = make_plan(Settings(training=Training(minutes=60)), photos, step_seconds=lambda training: 0.15)
    assert (hour.settings.training.scale, hour.settings.training.crop) == (1.0, (256, 256))
    rushed = make_plan(Settings(training=Training(minutes=2)), photos, step_seconds=lambda training: 0.15)
    assert (rushed.settings.training.scale, rushed.settings.training.crop) == (0.5, (512, 512))
    decision = rushed.decisions["training"]["scale"]
    assert "there is time to see images 2.0 times at their own size; reduced to 0.5" in decision.reason
    assert decision.source == "machine"

    def scale(fingerprint: Fingerprint, given: float | None = None) -> float | None:
        return make_plan(Settings(training=Training(steps=100, scale=given)), fingerprint).settings.training.scale

    assert scale(photos) == 0.5, "a budget of steps counts alike, whatever the machine"
    assert scale(photos, 1.0) == 1.0, "what is given stands"
    views = Training(steps=100, crop=(256, 256))
    assert make_plan(Settings(training=views), photos).settings.training.scale == 1.0, "these views are meant so"
    assert scale(replace(photos, shrunk_iou=(0.89, 0.8))) == 1.0, "the masks would lose too much"
    assert scale(replace(photos, thick_fraction=(0.95, 0.5))) == 1.0, "a class is fine"
    assert scale(replace(photos, width=(470, 470, 470))) == 1.0, "little would be left of them"
    assert scale(replace(photos, images=4)) == 1.0


def test_fine_classes_get_half_of_the_resolution_where_there_is_time() -> None:
    fine = replace(FINGERPRINT, thick_fraction=(0.95, 0.5))

    def planned(seconds: float) -> Plan:
        return make_plan(Settings(training=Training(minutes=10)), fine, step_seconds=lambda training: seconds)

    assert planned(1.0).settings.training.model == "compact-2"
    assert planned(1.0).settings.training.progressive == 0.4
    assert planned(1.1).settings.training.model == "compact-4", "463 steps are too few"
    decision = planned(1.1).decisions["training"]["model"]
    assert decision.source == "machine"
    assert (
        "50% of the pixels of class 1 lie 3 pixels inside, but there is no time for the 4,000 views of it"
        in decision.reason
    )
    assert make_plan(Settings(training=Training(steps=500)), fine).settings.training.model == "compact-2"
    assert make_plan(Settings(training=Training(steps=499)), fine).settings.training.model == "compact-4"
    assert make_plan(Settings(training=Training(steps=250, batch=16)), fine).settings.training.model == "compact-2"
    rare = replace(fine, image_fraction=(1.0, 0.1))
    assert make_plan(Settings(training=Training(steps=4999)), rare).settings.training.model == "compact-4"
    assert make_plan(Settings(training=Training(steps=5000)), rare).settings.training.model == "compact-2"
    given = Settings(training=Training(steps=10, model="compact-2"))
    assert make_plan(given, fine).settings.training.model == "compact-2"
    absent = replace(fine, thick_fraction=(0.95, 0.8, 0.0), class_fraction=(0.2, 0.8, 0.0))
    assert make_plan(Settings(), absent).settings.training.model == "compact-4", "what does not occur is not fine"


def test_views_are_not_much_larger_than_the_images() -> None:
    def zoom(side: int) -> tuple[float, float] | None:
        sides = (side, side, side)
        return make_plan(Settings(), replace(FINGERPRINT, height=sides, width=sides)).settings.augmentation.zoom

    assert zoom(512) == (0.66, 1.5)
    assert zoom(320) == (0.8, 1.5)
    assert zoom(256) == zoom(64) == (0.9, 1.5)


def test_predictions_are_averaged_where_mirrored_images_are_plausible_both_ways() -> None:
    assert make_plan(Settings(), FINGERPRINT).settings.training.tta
    assert not make_plan(Settings(), replace(FINGERPRINT, upside_down=0.6)).settings.training.tta
    assert not make_plan(Settings(), replace(FINGERPRINT, left_right=0.6)).settings.training.tta


def test_the_fingerprint_tells_what_smaller_masks_keep(tmp_path: Path) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 1
    lines = np.zeros((64, 64), np.uint8)
    lines[1::2] = 1
    for name, one in (("square", mask), ("lines", lines)):
        images, masks = tmp_path / name / "images", tmp_path / name / "labels"
        images.mkdir(parents=True)
        masks.mkdir()
        cv2.imwrite(str(images / "a.png"), one * 100 + 50)
        cv2.imwrite(str(masks / "a.png"), one)
    fingerprint = {}
    for name in ("square", "lines"):
        dataset = open_dataset(tmp_path / name)
        store = Store(dataset, Preparation(), 10**8)
        fingerprint[name] = take_fingerprint(store, dataset.samples, dataset.classes, "cpu")
    assert fingerprint["square"].shrunk_iou == (1.0, 1.0)
    assert fingerprint["lines"].shrunk_iou[0] <= 0.5


def test_validation_images_that_repeat_training_images_are_counted_and_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    scenes = {
        name: cv2.GaussianBlur(rng.integers(0, 256, (64, 64)).astype(np.float32), (0, 0), 1.5) * 4 - 380
        for name in ("barn", "cliff", "dune", "elm")
    }
    dimmed = scenes["cliff"][:, ::-1] * 0.8 + 20
    for side, images in (("train", scenes), ("held", {"copy": dimmed, "fjord": scenes["dune"].T[::-1, ::-1] ** 2})):
        for folder in ("images", "labels"):
            (tmp_path / side / folder).mkdir(parents=True)
        for name, picture in images.items():
            image = np.clip(picture, 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / side / "images" / f"{name}.png"), image)
            cv2.imwrite(str(tmp_path / side / "labels" / f"{name}.png"), (image > 128).astype(np.uint8))
    training, held = open_dataset(tmp_path / "train"), open_dataset(tmp_path / "held")
    store, said = Store(training, Preparation(), 10**8), list[str]()
    validation = Store(held, Preparation(), 10**8, like=store), held.samples
    take_fingerprint(store, training.samples, training.classes, "cpu", validation, said.append)
    assert len(said) == 1
    assert "1 of 2 validation images nearly repeat a training image: copy (cliff)." in said[0]
    take_fingerprint(store, training.samples, training.classes, "cpu", None, said.append)
    assert len(said) == 1


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    plan = make_plan(Settings(training=Training(minutes=3)), FINGERPRINT, step_seconds=lambda training: 0.5)
    plan.save(tmp_path)
    again = Plan.load(tmp_path)
    assert again.time_estimate == plan.time_estimate
    assert again.settings == plan.settings
    assert again.rows() == plan.rows()
    assert Fingerprint.from_dict(again.fingerprint) == FINGERPRINT


def test_a_missing_plan_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"plan.toml cannot be read"):
        Plan.load(tmp_path)


def test_imagenet_statistics_need_three_channels() -> None:
    with pytest.raises(SettingError, match=r"is for 3 channels, and the images have 1"):
        make_plan(Settings(training=Training(normalization="imagenet")), FINGERPRINT)


def test_without_a_budget_a_length_is_proposed_from_the_time_of_a_step() -> None:
    plan = make_plan(Settings(), FINGERPRINT, step_seconds=lambda training: 0.165)
    assert plan.settings.training.minutes == 10  # 3,000 steps of 0.165 s in 85 % of the time
    assert plan.decisions["training"]["minutes"].source == "machine"
    assert plan.time_estimate is not None
    assert plan.time_estimate.steps == 3090
    assert make_plan(Settings(), FINGERPRINT, step_seconds=lambda training: 0.001).settings.training.minutes == 2
    assert make_plan(Settings(), FINGERPRINT, step_seconds=lambda training: 100.0).settings.training.minutes == 60


def test_a_budget_too_short_for_the_machine_is_said() -> None:
    given = Settings(training=Training(minutes=1))
    short = make_plan(given, FINGERPRINT, step_seconds=lambda training: 2.0).time_estimate
    assert short is not None
    assert short.steps == 25
    assert "1 minute are about 25 steps. That is short: expect rough masks" in short.text
    long = make_plan(given, FINGERPRINT, step_seconds=lambda training: 0.1).time_estimate
    assert long is not None
    assert "about 510 steps." in long.text
    assert "short" not in long.text


def test_a_fast_machine_gets_a_wider_network() -> None:
    def seconds(training: ResolvedTraining) -> float:
        widths = training.model_options.get("widths", [24])
        assert isinstance(widths, list)
        return 0.001 * float(widths[0] / 24) ** 2

    minutes = Settings(training=Training(minutes=10))
    wide = make_plan(minutes, FINGERPRINT, step_seconds=seconds)
    assert wide.settings.training.model_options == {"widths": [72, 144, 288, 480, 672]}
    assert wide.time_estimate is not None
    assert wide.time_estimate.step_seconds == pytest.approx(0.009)
    assert not make_plan(minutes, FINGERPRINT, step_seconds=lambda training: 0.2).settings.training.model_options
    # What the user chose stands, and a budget of steps must not depend on the clock.
    chosen = Settings(training=Training(minutes=10, model_options={"widths": [8, 8, 8, 8, 8]}))
    assert make_plan(chosen, FINGERPRINT, step_seconds=seconds).settings.training.model_options == {"widths": [8] * 5}
    steps = make_plan(Settings(training=Training(steps=10)), FINGERPRINT, step_seconds=seconds)
    assert not steps.settings.training.model_options
    assert steps.time_estimate is not None
    assert steps.time_estimate.minutes == pytest.approx(10 * 0.001 / 60 / 0.85)


def test_a_plan_like_another_decides_as_it_did() -> None:
    first = make_plan(Settings(training=Training(steps=10)), FINGERPRINT)
    other = replace(FINGERPRINT, thick_fraction=(0.9, 0.9), upside_down=0.5)
    given = Settings(training=Training(steps=20))
    assert make_plan(given, other).settings.training.model == "compact-4"
    plan = make_plan(given, other, like=first)
    assert plan.settings.training.model == "compact-2"
    assert plan.settings.training.tta
    assert plan.settings.training.steps == 20
    assert plan.decisions["augmentation"] == first.decisions["augmentation"]
    assert plan.fingerprint == other.to_dict()


def test_views_are_halved_first_where_that_was_measured_to_gain() -> None:
    def progressive(*, weights: Weights | None = None, fingerprint: Fingerprint = COARSE, **given: Any) -> float | None:
        training = Training(steps=10, **given)
        return make_plan(Settings(training=training), fingerprint, weights=weights).settings.training.progressive

    assert progressive(crop=(256, 256)) == 0.4
    assert progressive(crop=(256, 256), fingerprint=FINGERPRINT) == 0
    assert progressive(crop=(96, 256)) == 0
    assert progressive(crop=(256, 256), model="fcn8s") == 0
    assert progressive(crop=(256, 256), weights=Weights(normalized=False, encoder=False)) == 0
    assert progressive(crop=(256, 256), progressive=0.2) == 0.2


def test_installed_weights_are_used_where_they_know_the_classes() -> None:
    def plan(features: float, local: float, unfit: str = "", **given: Any) -> Plan:
        known = HeadStart(encoder="lite0", unfit=unfit, features=features, local=local)
        return make_plan(Settings(training=Training(steps=10, **given)), COARSE, head_start=known)

    known = plan(0.6, 0.3)
    assert known.training.model == "lite0-4"
    assert not known.training.from_scratch
    assert known.training.frozen_norms
    assert known.training.encoder_rate < 1
    assert known.training.normalization == "weights"
    reason = known.decisions["training"]["from_scratch"].reason
    assert "explains 60% of the classes, one on colour and texture 30%" in reason
    for other in (plan(0.31, 0.3), plan(0.6, 0.3, unfit="they are not installed"), plan(0.6, 0.3, from_scratch=True)):
        assert other.training.model == "compact-4"
        assert other.training.from_scratch
        assert other.training.encoder_rate == 1
    assert plan(0.3, 0.3, model="unet-lite0").training.from_scratch is False


def test_halved_views_make_steps_faster_and_more() -> None:
    def seconds(training: ResolvedTraining) -> float:
        return 1.0 if training.crop == (256, 256) else 0.25

    given = Training(minutes=10, crop=(256, 256))
    whole = make_plan(Settings(training=replace(given, progressive=0.0)), FINGERPRINT, step_seconds=seconds)
    halved = make_plan(Settings(training=replace(given, progressive=0.4)), FINGERPRINT, step_seconds=seconds)
    assert whole.time_estimate is not None
    assert halved.time_estimate is not None
    assert whole.time_estimate.steps == 510
    assert halved.time_estimate.steps == 1122  # 204 s of steps of 1/4 s, 306 s of 1 s
    given = Training(steps=1000, crop=(256, 256), progressive=0.4)
    steps = make_plan(Settings(training=given), FINGERPRINT, step_seconds=seconds).time_estimate
    assert steps is not None
    assert steps.minutes == pytest.approx((400 / 4 + 600) / 60 / 0.85)


def test_bfloat16_is_for_machines_that_have_it() -> None:
    for has, precision in ((True, "bf16"), (False, "fp32")):
        plan = make_plan(Settings(training=Training(steps=1)), replace(FINGERPRINT, bfloat16=has))
        assert plan.settings.training.precision == precision
        assert plan.decisions["training"]["precision"].source == "machine"


def test_the_time_of_a_step_is_measured_without_touching_chance() -> None:
    training = make_plan(Settings(training=Training(crop=(64, 64), steps=1)), FINGERPRINT).training
    state = torch.get_rng_state()
    small = step_seconds(training, 1, 2, torch.device("cpu"))
    larger = step_seconds(replace(training, crop=(384, 384)), 1, 2, torch.device("cpu"))
    reduced = step_seconds(replace(training, crop=(384, 384), scale=0.125), 1, 2, torch.device("cpu"))
    assert 0 < small < larger
    assert 0 < reduced < larger
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("model", "lr"), [("unet", 1e-4), ("fcn8s", 1e-3), ("fcn-flat", 1e-3), ("compact-2", 3e-3)])
def test_the_rate_fits_the_network(model: str, lr: float) -> None:
    assert make_plan(Settings(training=Training(model=model)), FINGERPRINT).settings.training.lr == lr


def test_the_resolved_training_leaves_nothing_open(tmp_path: Path) -> None:
    plan = make_plan(Settings(training=Training(steps=5, loss="dice", seed=7)), FINGERPRINT)
    assert all(getattr(plan.training, one.name) is not None for one in fields(ResolvedTraining))
    assert plan.training.label_smoothing == 0, "dice has none"
    assert (plan.training.seed, plan.training.crop, plan.budget) == (7, (256, 256), Budget(steps=5))
    assert make_plan(Settings(), FINGERPRINT).budget == Budget(minutes=10)
    plan.save(tmp_path)
    assert (Plan.load(tmp_path).training, Plan.load(tmp_path).budget) == (plan.training, plan.budget)


def test_a_plan_that_leaves_something_open_is_refused() -> None:
    with pytest.raises(RunError, match=r"The plan does not say lr, ema\."):
        ResolvedTraining.of(replace(make_plan(Settings(), FINGERPRINT).settings.training, lr=None, ema=None))

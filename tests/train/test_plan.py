from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from maskwright.config import Augmentation, Settings, Training
from maskwright.errors import RunError, SettingError
from maskwright.train.facts import Facts
from maskwright.train.plan import Plan, make_plan

FACTS = Facts(
    images=20, looked_at=20, channels=1, dtype="uint8", height=(512, 512, 512), width=(512, 512, 512),
    mean=(120.0,), std=(40.0,), class_share=(0.2, 0.8), unlabelled=0.0, thick_share=(0.3, 0.9),
    upside_down=0.02, left_right=0.02, device="cpu", cores=2,
)  # fmt: skip


OFF = {
    "whole_image", "perspective", "elastic", "elastic_grid", "saturation", "hue", "gamma", "channel_noise", "noise",
    "blur", "low_resolution", "jpeg", "cut_out", "degraded", "class_mix", "copy_paste",
}  # fmt: skip
"""Augmentations that are off unless asked for."""


def test_every_open_setting_is_decided_with_a_reason() -> None:
    plan = make_plan(Settings(), FACTS)
    for section in ("training", "augmentation"):
        decided = {
            field.name for field in dataclasses.fields(getattr(plan.settings, section))
            if getattr(getattr(plan.settings, section), field.name) not in (None, {})
        }  # fmt: skip
        undecided = {field.name for field in dataclasses.fields(getattr(plan.settings, section))} - decided
        assert undecided <= {"steps", "validate_every", "model_options", "folds"} | OFF
    assert all(reason and source for _, _, reason, source in plan.rows())


def test_what_is_given_stands() -> None:
    plan = make_plan(Settings(training=Training(steps=5, lr=0.5), augmentation=Augmentation(rotation=90.0)), FACTS)
    assert plan.settings.training.lr == 0.5
    assert plan.settings.training.minutes is None
    assert plan.decisions["training"]["lr"].source == "given"
    assert plan.settings.augmentation.rotation == 90


def test_upright_scenes_are_not_turned() -> None:
    level = make_plan(Settings(), FACTS).settings.augmentation
    assert level.flip_vertical
    assert level.quarter_turns
    upright = make_plan(Settings(), dataclasses.replace(FACTS, upside_down=0.6)).settings.augmentation
    assert not upright.flip_vertical
    assert not upright.quarter_turns
    assert upright.flip_horizontal


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    plan = make_plan(Settings(training=Training(minutes=3)), FACTS)
    plan.save(tmp_path)
    again = Plan.load(tmp_path)
    assert again.settings == plan.settings
    assert again.rows() == plan.rows()
    assert Facts.from_dict(again.facts) == FACTS


def test_a_missing_plan_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"plan.toml cannot be read"):
        Plan.load(tmp_path)


def test_imagenet_statistics_need_three_channels() -> None:
    with pytest.raises(SettingError, match=r"is for 3 channels, and the images have 1"):
        make_plan(Settings(training=Training(normalization="imagenet")), FACTS)


@pytest.mark.parametrize(("model", "lr"), [("unet", 1e-4), ("fcn8s", 1e-3), ("fcn-flat", 1e-3), ("compact-2", 3e-3)])
def test_the_rate_fits_the_network(model: str, lr: float) -> None:
    assert make_plan(Settings(training=Training(model=model)), FACTS).settings.training.lr == lr

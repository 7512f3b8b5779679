from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest

from maskwright.config import Augmentation, Preparation, Settings, Training, load_recipe, recipe_names
from maskwright.errors import InputWarning, SettingError


def test_settings_survive_a_dictionary() -> None:
    settings = Settings(
        training=Training(lr=0.1, crop=(32, 64), model_options={"depth": 3}),
        augmentation=Augmentation(zoom=(0.5, 2.0), flip_vertical=False),
        preparation=Preparation(bands=(2, 0), clip=(1.0, 99.0)),
    )
    content = settings.to_dict()
    assert content["training"] == {"lr": 0.1, "crop": [32, 64], "model_options": {"depth": 3}}
    assert content["augmentation"] == {"zoom": [0.5, 2.0], "flip_vertical": False}
    assert Settings.from_dict(content, "here") == settings


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"trainning": {}}, r"r.toml: section 'trainning' is unknown. Known: augmentation, preparation, training"),
        ({"training": {"learning_rate": 1}}, r"setting in \[training\] 'learning_rate' is unknown. Known: .*\blr\b"),
        ({"training": {"lr": "fast"}}, r"r.toml: lr = 'fast' has the wrong type. Expected float"),
        ({"training": {"crop": [256]}}, r"crop = \[256\] has the wrong type. Expected tuple\[int, int\]"),
        ({"training": {"steps": True}}, r"steps = True has the wrong type. Expected int"),
        ({"training": {"schedule": "steep"}}, r"schedule = 'steep' has the wrong type. Expected .*'poly'"),
        ({"training": 3}, r"\[training\] is 3. Expected a section"),
        ({"training": {"lr": -1.0}}, r"lr = -1.0: expected a number from 1e-09 to 10"),
        ({"training": {"minutes": 3, "steps": 4}}, r"minutes = 3 and steps = 4 contradict each other"),
        ({"augmentation": {"zoom": [2, 1]}}, r"zoom = \(2.0, 1.0\): expected two factors"),
        ({"augmentation": {"gamma": [0.05, 1]}}, r"gamma = \(0.05, 1.0\): expected two factors, 0.1 <= smallest"),
        ({"augmentation": {"perspective": 0.3}}, r"perspective = 0.3: expected a number from 0 to 0.2"),
        ({"augmentation": {"jpeg": 96}}, r"jpeg = 96: expected a number from 0 to 95"),
        ({"preparation": {"clip": [50, 10]}}, r"clip = \(50.0, 10.0\): expected two percentiles"),
        ({"preparation": {"bands": []}}, r"bands = \(\): expected channel numbers from 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(content: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Settings.from_dict(content, "r.toml")


def test_the_command_line_goes_over_a_recipe_and_a_budget_replaces_a_budget() -> None:
    recipe = Settings(training=Training(minutes=5.0, lr=0.1), augmentation=Augmentation(rotation=3.0))
    merged = Settings(training=Training(steps=7)).over(recipe)
    assert merged.training == Training(steps=7, lr=0.1)
    assert merged.augmentation.rotation == 3.0


def test_every_recipe_of_ours_parses() -> None:
    assert "unet-classic" in recipe_names()
    for name in recipe_names():
        assert load_recipe(name).training.model


def test_the_classic_recipe_is_the_listing() -> None:
    training = load_recipe("unet-classic").training
    assert (training.optimizer, training.lr, training.batch, training.steps) == ("adam", 1e-4, 2, 5 * 300)


def test_a_missing_or_broken_recipe_names_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"no recipe 'unet-modern'. Expected .* unet-classic"):
        load_recipe("unet-modern")
    (tmp_path / "mine.toml").write_text("[training\n")
    with pytest.raises(SettingError, match=r"mine.toml cannot be read as TOML"):
        load_recipe(str(tmp_path / "mine.toml"))


def test_every_setting_is_explained() -> None:
    for section in (Training, Augmentation, Preparation):
        source = inspect.getsource(section)
        for field in dataclasses.fields(section):
            following = source.split(f"    {field.name}:", 1)[1].splitlines()[1]
            assert following.strip().startswith('"""'), f"{section.__name__}.{field.name}"


def test_a_recipe_may_use_former_names_for_one_version(tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text("[training]\nval_share = 0.2\nclass_share = 0.5\n")
    with pytest.warns(InputWarning, match="is now called") as told:
        settings = load_recipe(str(path))
    assert settings.training == Training(val_fraction=0.2, class_fraction=0.5)
    assert len(told) == 2
    path.write_text("[training]\nval_share = 0.2\nval_fraction = 0.3\n")
    with pytest.warns(InputWarning), pytest.raises(SettingError, match="expected val_fraction alone"):
        load_recipe(str(path))

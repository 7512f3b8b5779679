from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage
from scipy.spatial import cKDTree

from maskwright.datasets.classes import ClassTable
from maskwright.datasets.formats import open_dataset
from maskwright.datasets.splits import hold_out
from maskwright.errors import SettingError
from maskwright.imaging.images import read_image
from maskwright.synthetic import KINDS, class_table, scene, write_dataset
from maskwright.synthetic.noise import fractal, labels_at_half_size, vignette
from maskwright.synthetic.view import CAR, Camera, Canvas, Light

LAYOUTS = {
    "street": ((192, 256, 3), np.uint8),
    "cells": ((256, 256, 1), np.uint8),
    "fields": ((256, 256, 4), np.uint16),
}
NAMES = {
    "street": ["sky", "building", "road", "tree", "car", "person", "sign"],
    "cells": ["membrane", "cell"],
    "fields": ["grass", "crop", "trees", "road", "roof", "water"],
}


def nearest_colors_miou(kind: str) -> float:
    """mIoU on 8 unseen scenes of the commonest class among the 15 nearest of 24,000 pixels' colours of 16 scenes."""
    rng = np.random.default_rng(0)
    classes = len(NAMES[kind])

    def pixels(seeds: range) -> tuple[np.ndarray, np.ndarray]:
        colors, labels = [], []
        for seed in seeds:
            image, mask = scene(kind, seed)
            chosen = rng.choice(mask.size, 1500, replace=False)
            colors.append(image.reshape(mask.size, -1)[chosen].astype(np.float64))
            labels.append(mask.ravel()[chosen])
        return np.concatenate(colors), np.concatenate(labels)

    known, known_labels = pixels(range(16))
    unseen, truth = pixels(range(100, 108))
    # Grey levels tie in their hundreds; less than half a level apart, the 15 nearest are a fair draw of them.
    _, nearest = cKDTree(known + rng.uniform(-0.4, 0.4, known.shape)).query(unseen, 15)
    votes = (known_labels[nearest][..., None] == np.arange(classes)).sum(axis=1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (truth, votes.argmax(axis=1)), 1)
    hits = np.diag(confusion)
    return float(np.mean(hits / (confusion.sum(0) + confusion.sum(1) - hits)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_scene_is_an_image_and_a_fully_labelled_mask_of_the_stated_layout(kind: str) -> None:
    image, mask = scene(kind, 5)
    shape, dtype = LAYOUTS[kind]
    assert image.shape == shape
    assert image.dtype == dtype
    assert mask.shape == shape[:2]
    assert mask.dtype == np.uint8
    assert int(mask.max()) < len(NAMES[kind])
    assert image.flags.c_contiguous
    assert mask.flags.c_contiguous


@pytest.mark.parametrize("kind", KINDS)
def test_kind_seed_and_size_decide_the_scene(kind: str) -> None:
    image, mask = scene(kind, 3, (96, 128))
    again, mask_again = scene(kind, 3, (96, 128))
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(mask, mask_again)
    other, other_mask = scene(kind, 4, (96, 128))
    assert (image != other).mean() > 0.5
    assert (mask != other_mask).mean() > 0.05


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(64, 64), (65, 131), (160, 64), (64, 320)])
def test_scenes_have_any_size_from_64_pixels(kind: str, size: tuple[int, int]) -> None:
    for seed in range(3):
        image, mask = scene(kind, seed, size)
        assert image.shape == (*size, LAYOUTS[kind][0][2])
        assert mask.shape == size
        assert int(mask.max()) < len(NAMES[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_scenes_have_every_class_in_plenty(kind: str) -> None:
    counts = np.array([np.bincount(scene(kind, seed)[1].ravel(), minlength=len(NAMES[kind])) for seed in range(8)])
    share = counts.sum(axis=0) / counts.sum()
    assert share.min() > 0.015, dict(zip(NAMES[kind], share, strict=True))
    assert share.max() < 0.85
    assert ((counts > 0).sum(axis=0) >= 6).all(), "every class is in most scenes"


@pytest.mark.parametrize("kind", KINDS)
def test_color_alone_does_not_tell_the_classes_apart(kind: str) -> None:
    miou = nearest_colors_miou(kind)
    assert 0.1 < miou < 0.6


def test_membranes_are_the_dark_lines_of_a_micrograph() -> None:
    for seed in range(4):
        image, mask = scene("cells", seed)
        assert np.median(image[mask == 0]) < np.median(image[mask == 1]) - 15
        assert 0.1 < (mask == 0).mean() < 0.4


def test_plants_are_bright_and_water_is_dark_in_the_near_infrared() -> None:
    bands: dict[str, list[np.ndarray]] = {name: [] for name in NAMES["fields"]}
    for seed in range(4):
        image, mask = scene("fields", seed)
        assert 200 < np.median(image) < 5000, "reflectance x 10,000"
        for index, name in enumerate(NAMES["fields"]):
            bands[name].append(image[mask == index].astype(np.float64))
    found = {name: np.concatenate(values) for name, values in bands.items()}
    ndvi = {name: float(np.median((v[:, 3] - v[:, 0]) / (v[:, 3] + v[:, 0]))) for name, v in found.items()}
    assert ndvi["trees"] > 0.4
    assert ndvi["grass"] > 0.2
    assert ndvi["water"] < 0
    assert np.median(found["water"][:, 3]) < 0.4 * np.median(found["road"][:, 3])


@pytest.mark.parametrize("kind", KINDS)
def test_the_class_table_names_the_classes_in_index_order(kind: str) -> None:
    table = class_table(kind)
    assert table.names == NAMES[kind]
    assert [item.values for item in table.classes] == [(index,) for index in range(len(table))]
    assert len(np.unique(table.colors, axis=0)) == len(table)


@pytest.mark.parametrize("kind", KINDS)
def test_a_written_data_set_reads_back_as_it_was_drawn(kind: str, tmp_path: Path) -> None:
    reports: list[tuple[int, int]] = []
    write_dataset(
        tmp_path / "data",
        kind,
        {"train": 3, "test": 1},
        seed=7,
        size=(64, 96),
        progress=lambda done, total: reports.append((done, total)),
    )
    assert reports == [(1, 4), (2, 4), (3, 4), (4, 4)]
    dataset = open_dataset(tmp_path / "data")
    assert dataset.classes == class_table(kind) == ClassTable.load(tmp_path / "data" / "classes.toml")
    assert dataset.splits == {"train", "test"}
    assert len(dataset.split("train").samples) == 3
    shape, dtype = LAYOUTS[kind]
    pixels = []
    for sample in dataset.samples:
        pair = dataset.read(sample)
        assert pair.image.shape == (64, 96, shape[2])
        assert pair.image.dtype == dtype
        assert pair.valid is None
        assert int(pair.mask.max()) < len(dataset.classes)
        pixels.append(pair.image.tobytes())
    assert len(set(pixels)) == 4, "no scene twice, neither within a split nor across"
    with PillowImage.open(next((tmp_path / "data" / "test" / "masks").iterdir())) as mask:
        assert mask.mode == "P"


def test_more_training_scenes_leave_the_others_as_they_are(tmp_path: Path) -> None:
    write_dataset(tmp_path / "small", "cells", {"train": 1, "test": 1}, seed=1, size=(64, 64))
    write_dataset(tmp_path / "large", "cells", {"train": 3, "test": 1}, seed=1, size=(64, 64))
    for path in sorted((tmp_path / "small").rglob("*.png")):
        assert path.read_bytes() == (tmp_path / "large" / path.relative_to(tmp_path / "small")).read_bytes()


def test_fields_are_four_band_16_bit_tiffs(tmp_path: Path) -> None:
    write_dataset(tmp_path, "fields", {"train": 1}, seed=2, size=(64, 80))
    (path,) = (tmp_path / "train" / "images").iterdir()
    assert path.suffix == ".tif"
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        assert (page.imagelength, page.imagewidth, page.samplesperpixel, page.bitspersample) == (64, 80, 4, 16)
        np.testing.assert_array_equal(page.asarray(), read_image(path).pixels)


def test_generated_scenes_are_not_taken_for_a_sequence(tmp_path: Path) -> None:
    write_dataset(tmp_path, "street", {"train": 6}, size=(64, 64))
    train, validation, how = hold_out(open_dataset(tmp_path).samples, 0.34, seed=0)
    assert (len(train), len(validation)) == (4, 2)
    assert "sequence" not in how


def test_writing_again_completes_a_data_set(tmp_path: Path) -> None:
    write_dataset(tmp_path, "cells", {"train": 2}, size=(64, 64))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    next((tmp_path / "train" / "images").iterdir()).unlink()
    (tmp_path / "train" / "images" / ".half-written.png").write_bytes(b"left by a killed process")
    write_dataset(tmp_path, "cells", {"train": 2}, size=(64, 64))
    assert all(path.read_bytes() == content for path, content in before.items())


def test_scenes_do_not_mix_with_other_data(tmp_path: Path) -> None:
    write_dataset(tmp_path, "cells", {"train": 2}, size=(64, 64))
    with pytest.raises(SettingError, match=r"classes\.toml declares other classes"):
        write_dataset(tmp_path, "street", {"train": 2}, size=(64, 64))
    with pytest.raises(SettingError, match="cells-aaab"):
        write_dataset(tmp_path, "cells", {"train": 1}, size=(64, 64))


def test_unknown_kinds_are_refused_with_a_suggestion(tmp_path: Path) -> None:
    expected = "Expected one of: street, cells, fields. Did you mean 'street'?"
    for refused in (
        lambda: scene("streets", 0),
        lambda: class_table("streets"),
        lambda: write_dataset(tmp_path, "streets", {"train": 1}),
    ):
        with pytest.raises(SettingError, match=re.escape(expected)):
            refused()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"size": (63, 200)}, "size = 63 200"),
        ({"seed": -1}, "seed = -1"),
        ({"counts": {"train": -2}}, "train = -2"),
        ({"counts": {"training": 2}}, "training = 2"),
        ({"counts": {"train": 26**4 + 1}}, "train = 456977"),
        ({"counts": {}}, "No scenes"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is(
    tmp_path: Path, arguments: dict[str, object], found: str
) -> None:
    given: dict[str, object] = {"counts": {"train": 1}} | arguments
    with pytest.raises(SettingError, match=found):
        write_dataset(tmp_path, "street", **given)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_scene_refuses_a_negative_seed_and_a_small_size() -> None:
    with pytest.raises(SettingError, match="seed = -1"):
        scene("cells", -1)
    with pytest.raises(SettingError, match="64 pixels or more"):
        scene("cells", 0, (64, 32))


def test_a_shrunken_mask_takes_the_commonest_class_of_each_block() -> None:
    blocks = [
        ([[0, 0], [0, 0]], 0),
        ([[5, 5], [5, 2]], 5),
        ([[1, 1], [1, 9]], 1),
        ([[3, 1], [3, 7]], 3),
        ([[1, 8], [8, 4]], 8),
        ([[0, 0], [4, 6]], 0),
        ([[4, 2], [2, 4]], 2),
        ([[9, 3], [5, 7]], 3),
    ]
    for block, expected in blocks:
        for turned in (np.array(block), np.array(block).T, np.array(block)[::-1], np.array(block)[:, ::-1]):
            assert labels_at_half_size(turned.astype(np.uint8)).tolist() == [[expected]]
    row = np.concatenate([np.array(block, np.uint8) for block, _ in blocks], axis=1)
    assert labels_at_half_size(row).tolist() == [[expected for _, expected in blocks]]


def test_fractal_noise_has_unit_deviation_and_features_of_its_cell() -> None:
    noise = fractal(np.random.default_rng(0), (512, 512), 16, 3)
    assert noise.dtype == np.float32
    assert abs(float(noise.mean())) < 0.1
    assert float(noise.std()) == pytest.approx(1, abs=0.15)
    near = np.corrcoef(noise[:, :-2].ravel(), noise[:, 2:].ravel())[0, 1]
    far = np.corrcoef(noise[:, :-64].ravel(), noise[:, 64:].ravel())[0, 1]
    assert near > 0.8
    assert abs(far) < 0.15


def test_vignette_darkens_the_corners_only() -> None:
    light = vignette((3, 5), 0.4)
    assert light[1, 2] == 1
    np.testing.assert_allclose(light[[0, 0, 2, 2], [0, 4, 0, 4]], 0.6, rtol=1e-6)
    np.testing.assert_allclose(light[0, 2], 0.8, rtol=1e-6)


def test_the_camera_sees_near_things_large_and_low() -> None:
    camera = Camera(focal=100, center=200, horizon=80, height=2, bend=0.01)
    points = camera.project([(0, 0, 10), (3, 2, 10), (0, 0, 1e9)])
    np.testing.assert_allclose(points[0], [210, 100])  # 2 m below the eye at 10 m: 20 rows; bent by 1 m: 10 columns
    np.testing.assert_allclose(points[1], [240, 80])  # as high as the eye: on the horizon
    assert points[2, 1] == pytest.approx(80)
    assert camera.column_to_x(240, 10) == pytest.approx(3)
    assert camera.scale(4) == 25


def test_light_follows_lamberts_law_and_fades_into_haze() -> None:
    light = Light(
        sun=np.array([0.5, 0.5, 0.5]),
        ambient=np.array([0.2, 0.2, 0.2]),
        toward_sun=np.array([0.0, 0.6, -0.8]),
        haze=np.array([100.0, 150.0, 200.0]),
        visibility=1e12,
        shadow=0.5,
        night=False,
    )
    np.testing.assert_allclose(light.on((1, 0.5, 0), 5, (0, 1, 0)), [127.5, 63.75, 0], atol=1e-6)  # 0.2 + 0.5 * 0.6
    np.testing.assert_allclose(light.on((1, 1, 1), 5, (0, 0, 1)), [51, 51, 51])  # turned away: sky light only
    np.testing.assert_allclose(light.on((1, 1, 1), 1e15), [100, 150, 200])


def test_color_and_class_are_drawn_together() -> None:
    canvas = Canvas((20, 30))
    canvas.polygon(np.array([(4, 3), (9, 3), (9, 7), (4, 7)]), (10, 20, 30), CAR)
    drawn = canvas.pixels[..., 3] == CAR
    assert drawn[3:8, 4:10].all()
    assert drawn.sum() == 5 * 6
    assert (canvas.pixels[drawn][:, :3] == (10, 20, 30)).all()
    assert (canvas.pixels[~drawn] == 0).all()
    texture = np.full((4, 4, 3), 77, np.uint8)
    canvas.picture(texture, np.array([(-50.0, 10), (12, 10), (12, 14), (-50, 14)]), 2)
    inside = canvas.pixels[..., 3] == 2
    assert inside.sum() == 5 * 13
    assert (canvas.pixels[inside][:, :3] == 77).all()

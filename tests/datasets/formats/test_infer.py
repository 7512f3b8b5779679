"""Images and masks found from names and contents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from scipy.io import savemat

from maskwright.datasets.adopt import adopt
from maskwright.datasets.formats import find_layout, naming, open_dataset
from maskwright.datasets.formats.infer import readings
from maskwright.datasets.formats.reading import Reading, pattern
from maskwright.datasets.problems import Problem
from maskwright.errors import DataError, EmptyDataError, PairingError, SizeMismatchError, UnreadableFileError


def scene(seed: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture of rectangles, and its mask."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((32, 40), np.uint8)
    for value in range(1, classes):
        top, left = rng.integers(1, 14), 1 + 13 * (value - 1)
        mask[top : top + 15, left : left + 12] = value
    image = mask[..., None] * 60 + rng.integers(0, 60, (32, 40, 3))
    return image.astype(np.uint8), mask


def put(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, pixels)
    else:
        PillowImage.fromarray(pixels).save(path)


def pairs(root: Path, image: str, mask: str, count: int = 5, classes: int = 2, scale: int = 255) -> None:
    """`count` images and masks; {} is the number."""
    for index in range(count):
        pixels, truth = scene(index, classes)
        put(root / image.format(index), pixels)
        put(root / mask.format(index), truth * np.uint8(scale if classes == 2 else 1))


def told(root: Path) -> set[tuple[str, str]]:
    found = [sample for sample in find_layout(root).samples if sample.mask is not None]
    return {
        (sample.image.path.relative_to(root).as_posix(), sample.mask.path.relative_to(root).as_posix())
        for sample in found
        if sample.mask is not None
    }


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("Train_RGB/{}.bmp", "Train_Labels/{}.bmp"),
        ("images_prepped_train/x_{}.png", "annotations_prepped_train/x_{}.png"),
        ("images/{}.png", "av-labels/{}--av.png"),
        ("pictures/train-volume{:02}.png", "truth/train-labels{:02}.png"),
        ("a/s1_camera_front_{:04}.png", "b/s1_label_front_{:04}.png"),
        ("Original/{}.png", "Ground Truth/{}.png"),
        ("area {}/photo.png", "area {}/photo_seg.png"),
        ("Dataset 1/{:03}.bmp", "Dataset 1/{:03}.png"),
        ("x/{:04}.npy", "y/{:04}.npy"),
        ("2_Ortho/top_2_1{}_RGB.png", "5_Labels/top_2_1{}_label.png"),
        ("train/c_{:02}.png", "train_masks/c_{:02}_mask.gif"),
    ],
)
def test_a_rule_without_exceptions_is_used_and_announced(image: str, mask: str, tmp_path: Path) -> None:
    pairs(tmp_path, image, mask)
    assert told(tmp_path) == {(image.format(index), mask.format(index)) for index in range(5)}
    data = open_dataset(tmp_path)
    assert len(data.classes) == 2
    for sample in data.samples:
        assert sample.mask is not None
        number = int("".join(filter(str.isdigit, sample.image.path.stem)) or sample.image.path.parent.name[-1]) % 10
        assert (data.read(sample).mask == scene(number)[1]).all()


def test_splits_and_groups_are_words_of_folders(tmp_path: Path) -> None:
    pairs(tmp_path, "Train/north/images_png/{}.png", "Train/north/masks_png/{}.png", 3)
    pairs(tmp_path, "Train/south/images_png/{}.png", "Train/south/masks_png/{}.png", 3)
    pairs(tmp_path, "Val/south/images_png/{}.png", "Val/south/masks_png/{}.png", 2)
    samples = find_layout(tmp_path).samples
    assert sorted({(sample.split or "", sample.group or "") for sample in samples}) == [
        ("train", "north"), ("train", "south"), ("val", "south"),
    ]  # fmt: skip
    assert len({sample.id for sample in samples}) == 8


def test_two_observers_are_a_question_with_a_way_out(tmp_path: Path) -> None:
    pairs(tmp_path, "Image_{:02}.png", "Image_{:02}_1stHO.png")
    for index in range(5):
        put(tmp_path / f"Image_{index:02}_2ndHO.png", np.roll(scene(index)[1], 1, 0) * np.uint8(255))
    with pytest.raises(EmptyDataError) as error:
        open_dataset(tmp_path)
    for part in (
        "Image_*_1stHO.png",
        "Image_*_2ndHO.png",
        f"maskwright adopt {tmp_path} --as 2",
        "5 images with masks",
    ):
        assert part in str(error.value)
    done = adopt(tmp_path, 2)
    assert [path.name for path in done.files] == ["manifest.csv", "classes.toml"]
    data = open_dataset(tmp_path)
    assert (data.read(data.samples[3]).mask == np.roll(scene(3)[1], 1, 0)).all()
    with pytest.raises(DataError, match="exists already"):
        adopt(tmp_path, 1)


def test_masks_of_one_class_each_are_layers(tmp_path: Path) -> None:
    for index in range(4):
        image, mask = scene(index, 4)
        put(tmp_path / f"{index:03}/x_RAW.png", image)
        for value, name in ((1, "CRACK"), (2, "LANE"), (3, "POTHOLE")):
            put(tmp_path / f"{index:03}/x_{name}.png", (mask == value).astype(np.uint8) * 255)
    data = open_dataset(tmp_path)
    assert data.classes.names == ["background", "crack", "lane", "pothole"]
    assert any("on top" in note for note in data.notes)
    for index, sample in enumerate(data.samples):
        assert (data.read(sample).mask == scene(index, 4)[1]).all()
    adopt(tmp_path, 1, out := tmp_path / "elsewhere")
    assert (out / "manifest.csv").read_text().splitlines()[0].split(",") == [
        "image",
        "mask:crack",
        "mask:lane",
        "mask:pothole",
    ]
    again = open_dataset(out)
    assert (again.read(again.samples[2]).mask == scene(2, 4)[1]).all()


def test_a_field_of_view_is_no_truth(tmp_path: Path) -> None:
    pairs(tmp_path, "images/{}_training.png", "1st_manual/{}_manual1.png")
    view = np.zeros((32, 40), np.uint8)
    view[2:-2, 2:-2] = 255
    for index in range(5):
        put(tmp_path / f"mask/{index}_training_mask.png", view)
    assert told(tmp_path) == {(f"images/{i}_training.png", f"1st_manual/{i}_manual1.png") for i in range(5)}
    assert any("mask/*_training_mask.png" in note for note in find_layout(tmp_path).notes)


def test_a_picture_beside_data_folders_is_no_data_set(tmp_path: Path) -> None:
    for kind in ("crack", "fray"):
        pairs(tmp_path, kind + "/Imgs/{}.jpg", kind + "/Imgs/{}.png", 4)
    pairs(tmp_path, "example{}.jpg", "example{}.png", 1)
    layout = find_layout(tmp_path)
    assert len(layout.samples) == 8
    assert any("example0.jpg" in note for note in layout.notes)


def test_names_that_only_share_numbers_are_asked(tmp_path: Path) -> None:
    pairs(tmp_path, "images/photo{:02}.png", "masks/drawing{:02}.png", 4)
    with pytest.raises(PairingError, match=r"adopt .* --as 1"):
        find_layout(tmp_path)
    problems: list[Problem] = []
    assert find_layout(tmp_path, problems=problems).samples == ()
    assert len(problems) == 8


def test_exceptions_are_listed_not_left_out(tmp_path: Path) -> None:
    pairs(tmp_path, "Original/{}.png", "Ground Truth/{}.png")
    (tmp_path / "Ground Truth/3.png").unlink()
    with pytest.raises(DataError) as error:
        find_layout(tmp_path)
    assert "without a partner, left out: 1 (Original/3.png)" in str(error.value)
    assert adopt(tmp_path, 1).samples == 4
    assert len(open_dataset(tmp_path).samples) == 4


def test_matlab_files_are_masks(tmp_path: Path) -> None:
    for index in range(4):
        image, mask = scene(index)
        put(tmp_path / f"image/{index:03}.jpg", image)
        (tmp_path / "groundTruth").mkdir(exist_ok=True)
        truth = {"Segmentation": mask.astype(np.uint16) + 1, "Boundaries": mask > 0}
        savemat(tmp_path / f"groundTruth/{index:03}.mat", {"groundTruth": truth})
    assert len(find_layout(tmp_path).samples) == 4
    adopt(tmp_path, 1)
    data = open_dataset(tmp_path)
    assert [(data.read(s).mask == scene(i)[1]).all() for i, s in enumerate(data.samples)] == [True] * 4


def test_nothing_to_find_tells_how_a_manifest_is_written(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/readme.txt").write_text("nothing")
    with pytest.raises(EmptyDataError, match=r"manifest\.csv"):
        find_layout(tmp_path)
    with pytest.raises(DataError, match="no reading"):
        adopt(tmp_path, 1)


def test_names_are_words_and_numbers(tmp_path: Path) -> None:
    for index in range(4):
        put(tmp_path / f"Set_2/im{index:03}_left.png", scene(index)[0])
    (series,) = naming.series_of(naming.listing(tmp_path))
    assert (series.folders, series.name) == ((("set", "*"),), ("im", "*", "left"))
    assert list(series.numbers or {}) == [("0",), ("1",), ("2",), ("3",)]
    assert pattern(tmp_path, series) == "Set_2/im*_left.png"


def test_a_listing_of_many_files_is_quick(tmp_path: Path) -> None:
    import time

    files = [
        naming.Named(tmp_path / f"{kind}/{i:06}.png", ".png", ((kind,),), (f"{i:06}",))
        for kind in ("images", "masks")
        for i in range(50_000)
    ]
    start = time.perf_counter()
    assert [len(one.files) for one in naming.series_of(files)] == [50_000, 50_000]
    assert time.perf_counter() - start < 5


def test_many_files_are_paired_quickly(tmp_path: Path) -> None:
    """As many files each second as 100,000 in five, with room for a slow machine."""
    import os
    import time

    image, mask = scene(0)
    put(tmp_path / "i.png", image)
    put(tmp_path / "m.png", mask * np.uint8(255))
    put(tmp_path / "n.png", np.roll(mask, 3, 0) * np.uint8(255))
    for place in range(5):
        for kind in ("camera", "label"):
            (tmp_path / f"set/scene_{place}/{kind}").mkdir(parents=True)
        for index in range(500):
            os.link(tmp_path / "i.png", tmp_path / f"set/scene_{place}/camera/s_camera_{index:04}.png")
            truth = tmp_path / ("m.png" if index % 2 else "n.png")
            os.link(truth, tmp_path / f"set/scene_{place}/label/s_label_{index:04}.png")
    start = time.process_time()
    found = only_reading(tmp_path / "set")
    assert time.process_time() - start < 1.5
    assert len(found.samples) == 2500
    assert len({sample.group for sample in found.samples}) == 5


def put_binary(path: Path, mask: np.ndarray, value: int = 1) -> None:
    put(path, (mask == value) * np.uint8(255))


def only_reading(root: Path) -> Reading:
    (found,) = readings(root)
    return found


def test_masks_may_be_smaller_by_one_factor(tmp_path: Path) -> None:
    for index in range(4):
        image, mask = scene(index)
        put(tmp_path / f"photo/{index}.png", np.repeat(np.repeat(image, 2, 0), 2, 1))
        put(tmp_path / f"truth/{index}.png", mask * np.uint8(255))
    assert len(only_reading(tmp_path).samples) == 4
    with pytest.raises(SizeMismatchError, match=r"is 80 x 64 .* is 40 x 32(?s:.*)maskwright check \S+ --fix \S+-fixed"):
        open_dataset(tmp_path)


def test_a_part_lies_over_its_whole(tmp_path: Path) -> None:
    """The pupil within the iris: the inner class is on top, whatever the names' order."""
    for index in range(4):
        image, _ = scene(index)
        whole, part = np.zeros((32, 40), np.uint8), np.zeros((32, 40), np.uint8)
        whole[4 : 20 + index, 4:30] = 1
        part[8:12, 8 : 14 + index] = 1
        put(tmp_path / f"e{index}.png", image)
        put_binary(tmp_path / f"e{index}_pupil.png", part)
        put_binary(tmp_path / f"e{index}_wiris.png", whole)
    data = open_dataset(tmp_path)
    assert list(data.classes.names) == ["background", "wiris", "pupil"]
    mask = data.read(data.samples[0]).mask
    assert mask[9, 9] == 2
    assert mask[5, 5] == 1


def test_words_that_images_and_masks_share_are_no_rules(tmp_path: Path) -> None:
    """Persons, places: one rule for all of them, although some have one mask only."""
    for name, count in (("Ann_Bo", 4), ("Cid_Dee", 4), ("Eve_Fox", 4)):
        for index in range(count):
            image, mask = scene(index)
            put(tmp_path / f"photos/{name}/{name}_{index:04}.png", image)
            if name == "Ann_Bo" or index == 0:
                put(tmp_path / f"parts_gt/{name}_{index:04}.png", mask * np.uint8(255))
    found = only_reading(tmp_path)
    assert len(found.samples) == 6
    assert len(found.alone) == 6


def test_words_begin_with_capitals(tmp_path: Path) -> None:
    """labelIds before instanceIds, which number objects."""
    for index in range(4):
        image, mask = scene(index, 3)
        put(tmp_path / f"pic/a{index}_photo.png", image)
        put(tmp_path / f"truth/a{index}_instanceIds.png", mask * np.uint8(9))
        put(tmp_path / f"truth/a{index}_labelIds.png", mask)
    assert "labelIds" in only_reading(tmp_path).what


def test_masks_of_further_objects_are_merged(tmp_path: Path) -> None:
    """b (2)_mask_1.png beside b (2)_mask.png: nothing of an image is lost."""
    for index in range(4):
        image, mask = scene(index)
        put(tmp_path / f"set/b ({index}).png", image)
        put_binary(tmp_path / f"set/b ({index})_mask.png", mask)
    second = np.zeros((32, 40), np.uint8)
    second[:3, 30:] = 1
    put_binary(tmp_path / "set/b (2)_mask_1.png", second)
    data = open_dataset(tmp_path)
    assert len(data.samples) == 4
    assert (data.read(data.samples[2]).mask == (scene(2)[1] | second)).all()


def test_lists_of_names_are_splits(tmp_path: Path) -> None:
    pairs(tmp_path, "home/pic/a{}.png", "home/gt_pixels/a{}.png")
    (tmp_path / "home/train.txt").write_text("a0\na1\na2\n")
    (tmp_path / "home/val_ids.txt").write_text("pic/a3.png\npic/a4.png\n")
    found = only_reading(tmp_path)
    assert [sample.split for sample in found.samples] == ["train"] * 3 + ["val"] * 2
    (tmp_path / "home/val_ids.txt").write_text("a3\n")
    found = only_reading(tmp_path)
    assert {sample.split for sample in found.samples} == {None}
    assert "name 4 of 5 images" in " ".join(found.left_out)


def test_an_archive_unpacks_into_a_folder_of_its_own(tmp_path: Path) -> None:
    pairs(tmp_path, "Task01/imagesTr/c_{:03}_0000.png", "Task01/labelsTr/c_{:03}.png", scale=1)
    (tmp_path / "Task01/dataset.json").write_text('{"channel_names": {"0": "R"}, "labels": {"a": 0, "b": 1}}')
    layout = find_layout(tmp_path)
    assert (layout.format, len(layout.samples)) == ("nnU-Net", 5)
    assert layout.table_place == tmp_path / "Task01/classes.toml"


def test_images_at_the_top_that_lie_in_splits_too_are_read_once(tmp_path: Path) -> None:
    for home, numbers in (("", range(5)), ("train/", range(3)), ("test/", range(3, 5))):
        for index in numbers:
            image, mask = scene(index)
            put(tmp_path / f"{home}images/{index}.png", image)
            put(tmp_path / f"{home}masks/{index}.png", mask * np.uint8(255))
    assert {(s.id, s.split) for s in find_layout(tmp_path).samples} == {
        *((f"train/{i}", "train") for i in range(3)), *((f"test/{i}", "test") for i in (3, 4)),
    }  # fmt: skip


def test_image_and_mask_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "slices").mkdir()
    for index in range(3):
        image, mask = scene(index)
        np.savez(tmp_path / f"slices/case_{index}.npz", image=image, label=mask)
    data = open_dataset(tmp_path)
    pair = data.read(data.samples[1])
    assert (pair.image == scene(1)[0]).all()
    assert (pair.mask == scene(1)[1]).all()


def test_the_other_observer_is_kept(tmp_path: Path) -> None:
    for index in range(5):
        image, mask = scene(index)
        put(tmp_path / f"I_{index}.png", image)
        put_binary(tmp_path / f"I_{index}_1stHO.png", mask)
        put_binary(tmp_path / f"I_{index}_2ndHO.png", np.roll(mask, 1, 0))
    adopt(tmp_path, 2)
    layout = find_layout(tmp_path)
    sample = layout.samples[0]
    assert sample.mask is not None
    assert sample.mask.path.name == "I_0_2ndHO.png"
    ((name, other),) = layout.raters[sample.id]
    assert (name, other.path.name) == ("1stHO", "I_0_1stHO.png")


def test_bands_in_folders_of_their_own_are_channels(tmp_path: Path) -> None:
    """38-Cloud: the bands of a patch in train_red, train_green, ...; also as a manifest writes them."""
    for index in range(4):
        image, mask = scene(index)
        for band, name in enumerate(("red", "green", "nir")):
            put(tmp_path / f"set/train_{name}/{name}_patch_{index}.tif", image[..., band])
        put_binary(tmp_path / f"set/train_gt/gt_patch_{index}.tif", mask)
    data = open_dataset(tmp_path)
    assert (data.read(data.samples[2]).image == scene(2)[0]).all()
    adopt(tmp_path, 1, tmp_path / "adopted")
    again = open_dataset(tmp_path / "adopted")
    assert (again.read(again.samples[2]).image == scene(2)[0]).all()


def test_the_full_ade20k_has_classes_in_two_bands(tmp_path: Path) -> None:
    home = tmp_path / "images/training/a/abbey"
    for index in range(2):
        image, mask = scene(index, 3)
        number = np.array([0, 447, 2978])[mask]
        instance = np.random.default_rng(index).integers(0, 9, mask.shape)
        put(home / f"ADE_train_{index:08}.jpg", image)
        put(
            home / f"ADE_train_{index:08}_seg.png",
            np.stack([number // 256 * 10, number % 256, instance], 2).astype(np.uint8),
        )
        (home / f"ADE_train_{index:08}_atr.txt").write_text("001 # 0 # 0 # wall # wall # \n")
    layout = find_layout(tmp_path)
    assert layout.format == "ADE20K (full)"
    assert layout.samples[0].mask is not None
    assert set(np.unique(layout.samples[0].mask.read_mask())) == {0, 447, 2978}


def test_packed_pictures_are_read(tmp_path: Path) -> None:
    import gzip
    import io

    for index in range(3):
        for name, pixels in zip(("pic/im{}", "labels-ah/im{}.ah"), scene(index), strict=True):
            path, content = tmp_path / f"{name.format(index)}.ppm.gz", io.BytesIO()
            path.parent.mkdir(exist_ok=True)
            whole = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None] * np.uint8(255), 3, 2)
            PillowImage.fromarray(whole).save(content, "PPM")
            path.write_bytes(gzip.compress(content.getvalue()))
    data = open_dataset(tmp_path)
    assert (data.read(data.samples[1]).mask == scene(1)[1]).all()
    first = data.samples[0].image.path
    first.write_bytes(first.read_bytes()[:-20])
    with pytest.raises(UnreadableFileError, match=r"im0.ppm.gz cannot be read"):
        data.samples[0].image.read_image()

"""What is right for each script of `cases/data`: what files hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from benchmarks.expectations.trial import Trial, holds, pixels

PLAN = ("--steps", "2")


def _written(trial: Trial) -> list[Path]:
    """The masks that `predict` wrote, without the record of its outputs."""
    return [path for path in (trial.work / "out/masks").iterdir() if not path.name.startswith(".")]


def counts(mask: np.ndarray) -> dict[int, int]:
    """Pixels of each class."""
    return {int(value): int(count) for value, count in zip(*np.unique(mask, return_counts=True), strict=True)}


def boxes_beside_masks(trial: Trial) -> None:
    """The masks are read."""
    trial.run("plan", trial.folder, *PLAN).exits(0)
    masks = trial.masks()
    holds(len(masks) == 4, f"{len(masks)} samples")
    holds(bool((masks["a0"] == pixels(trial.folder / "mask/a0.png")).all()), "pixels of a0")


def class_names_in_csv(trial: Trial) -> None:
    """The names beside the masks are the classes' names."""
    trial.run("plan", trial.folder / "roboflow", *PLAN).exits(0)
    holds(
        tuple(map(str.lower, trial.names("roboflow"))) == ("background", "leaf", "stem"), f"{trial.names('roboflow')}"
    )
    trial.run("plan", trial.folder / "camvid", *PLAN).exits(0)
    holds(set(trial.names("camvid")) == {"Sky", "Road", "Car"}, f"{trial.names('camvid')}")
    holds(trial.splits("roboflow") == {"train": 4, "val": 4, "test": 4}, f"{trial.splits('roboflow')}")


def coco_key_order(trial: Trial) -> None:
    """400 pixels of leaf in each."""
    trial.run("plan", trial.folder, *PLAN).exits(0)
    for name, mask in trial.masks().items():
        holds(counts(mask).get(1) == 400, f"{name}: {counts(mask)}")


def coco_one_degenerate_part(trial: Trial) -> None:
    """The good parts stay, the bad are counted."""
    trial.run("plan", trial.folder, *PLAN).exits(0).says(r"\b4\b.{0,80}(part|ring|polygon)").never(
        "without annotations"
    )
    for name, mask in trial.masks().items():
        holds(counts(mask).get(1) == 625, f"{name}: {counts(mask)}")


def colours_slightly_off(trial: Trial) -> None:
    """A few levels off: --fix takes the nearest."""
    trial.run("check", trial.folder, "--fix", trial.work / "fixed").exits(0, 1).never("slip of the pen")
    from maskwright import open_dataset

    data = open_dataset(trial.work / "fixed")
    holds(len(data.samples) == 6, f"{len(data.samples)} of 6 pairs in the corrected copy")
    for sample in data.samples:
        raw = pixels(trial.folder / "masks" / f"{sample.id.split('/')[-1]}.png").astype(int)
        palette = np.array([[255, 255, 255], [0, 0, 255], [0, 255, 255], [0, 255, 0], [255, 255, 0], [255, 0, 0]])
        nearest = np.abs(raw[:, :, None] - palette).sum(3).argmin(2)
        holds(bool((data.read(sample).mask == nearest).all()), f"pixels of {sample.id}")


def float_mask_with_nan(trial: Trial) -> None:
    """NaN is unlabelled."""
    trial.run("plan", trial.folder, *PLAN).exits(0)
    trial.run("check", trial.folder).exits(0, 1)
    for name, mask in trial.masks().items():
        holds(bool((mask[:, :10] == 255).all() and (mask[:, 10:] != 255).all()), f"{name}: {counts(mask)}")


def fov_mask_as_truth(trial: Trial) -> None:
    """The field of view is not the truth without a word."""
    check = trial.run("check", trial.folder).exits(1, 0)
    check.says("1st_manual", "same|alike|equal|field of view|ambiguous|which")
    if check.code == 0:  # then it is the vessels that are read
        mask = next(mask for name, mask in trial.masks().items() if name.endswith("21_training"))
        truth = pixels(trial.folder / "1st_manual/21_manual1.png") > 0
        holds(bool(((mask == 1) == truth).all()), "the field of view is trained on")


def geojson_names_are_ids(trial: Trial) -> None:
    """An id is no class."""
    answer = trial.run("plan", trial.folder, *PLAN)
    if answer.code:
        answer.exits(2).says("name", "differ|each|every")
    else:
        holds(len(trial.names()) == 2, f"{len(trial.names())} classes")
        answer.says("name|propert")
        holds(counts(trial.masks()["s0"]).get(1) == 400, f"{counts(trial.masks()['s0'])}")


def geojson_one_unclassified(trial: Trial) -> None:
    """Two classes; the shape without one is left out and counted."""
    answer = trial.run("plan", trial.folder, *PLAN)
    answer.says("s1")
    if answer.code == 0:
        names = trial.names()
        holds({"Stroma", "Tumor"} <= set(names), f"classes {names}")
        mask = trial.masks()["s1"]
        holds(int((mask == names.index("Tumor")).sum()) == 300, f"{counts(mask)}")
        holds(int((mask == names.index("Stroma")).sum()) == 100, f"{counts(mask)}")


def geotiff_internal_mask(trial: Trial) -> None:
    """The first 20 columns have no data."""
    trial.run("plan", trial.folder, *PLAN).exits(0)
    for name, mask in trial.masks().items():
        holds(mask.shape == (64, 80), f"{name}: {mask.shape}")
        holds(bool((mask[:, :20] == 255).all() and (mask[:, 20:] != 255).all()), f"{name}: {counts(mask)}")


def gif_masks(trial: Trial) -> None:
    """GIF is read."""
    trial.run("plan", trial.folder, *PLAN).exits(0)
    masks = trial.masks()
    holds(len(masks) == 4, f"{len(masks)} samples")
    for name, mask in masks.items():
        raw = pixels(trial.folder / "train_masks" / f"{name.split('/')[-1]}_mask.gif")
        holds(int((mask == 1).sum()) == int((raw == raw.max()).sum()) and set(counts(mask)) == {0, 1}, f"{name}")


def grey_among_rgb(trial: Trial) -> None:
    """Trained and predicted, with a note that names the grey one."""
    run = trial.work / "run"
    trial.run("train", trial.folder, "--steps", "4", "--out", run).exits(0).says("v0")
    trial.run("predict", run, trial.folder / "images", "--out", trial.work / "out").exits(0)
    holds(len(_written(trial)) == 6, "six masks")


def instance_ids_as_classes(trial: Trial) -> None:
    """The values number objects."""
    for verb in ("check", "plan"):
        trial.run(verb, trial.folder, *(PLAN if verb == "plan" else ())).says("object|instance")


def jpeg_masks_few_values(trial: Trial) -> None:
    """Two classes, and --fix."""
    trial.run("plan", trial.folder, *PLAN).exits(2).says("JPEG", "--fix").never("class 5")
    trial.run("check", trial.folder, "--fix", trial.work / "fixed").exits(0, 1)
    from maskwright import open_dataset

    data = open_dataset(trial.work / "fixed")
    holds(len(data.samples) == 6 and len(data.classes) == 2, f"{len(data.samples)}, {data.classes.names}")
    for sample in data.samples:
        raw = pixels(trial.folder / "masks" / f"{sample.id.split('/')[-1]}.jpg")
        holds(float((data.read(sample).mask == (raw > 127)).mean()) == 1.0, f"pixels of {sample.id}")


def jpeg_with_junk_bytes(trial: Trial) -> None:
    """Read."""
    trial.run("plan", trial.folder, *PLAN).exits(0)
    holds(len(trial.masks()) == 4, "four samples")


def mask_declares_nodata(trial: Trial) -> None:
    """Declared nodata is unlabelled."""
    trial.run("plan", trial.folder, *PLAN).exits(0).says("no ?data")
    for name, mask in trial.masks().items():
        holds(bool((mask[:, :12] == 255).all() and set(counts(mask[:, 12:])) == {0, 1}), f"{name}: {counts(mask)}")


def mixed_01_and_0255(trial: Trial) -> None:
    """An error that names the odd masks, in all three; --fix unites them."""
    for words in (("check", trial.folder), ("plan", trial.folder, *PLAN), ("train", trial.folder, "--steps", "4")):
        answer = trial.run(*words)
        answer.exits(1 if words[0] == "check" else 2).says("0.{1,10}255", r"a[135]\.png|a[024]\.png")
    trial.run("check", trial.folder, "--fix", trial.work / "fixed").exits(0, 1)
    from maskwright import open_dataset

    data = open_dataset(trial.work / "fixed")
    holds(len(data.samples) == 6, f"{len(data.samples)} of 6")
    for sample in data.samples:
        raw = pixels(trial.folder / "masks" / f"{sample.id.split('/')[-1]}.png")
        holds(bool((data.read(sample).mask == (raw > 0)).all()), f"pixels of {sample.id}")


def mmseg_layout(trial: Trial) -> None:
    """Four in train, four in val."""
    trial.run("plan", trial.folder, *PLAN).exits(0)
    holds(trial.splits() == {"train": 4, "val": 4}, f"{trial.splits()}")


def ninety_clean_classes(trial: Trial) -> None:
    """All ninety, or asked with all ninety."""
    answer = trial.run("plan", trial.folder, *PLAN).never("smooth", "export the masks again")
    if answer.code:
        holds(len(re.findall(r"\[\[class\]\]", answer.exits(2).text)) == 90, "a proposal of all ninety")
    else:
        holds(len(trial.names()) == 90, f"{len(trial.names())} classes")


def nnunet_layout(trial: Trial) -> None:
    """Four images with the classes of dataset.json; channels are one image."""
    for name, channels in (("rgb", 3), ("two", 2)):
        trial.run("plan", trial.folder / name, *PLAN).exits(0)
        holds(trial.names(name) == ("background", "road"), f"{name}: {trial.names(name)}")
        from maskwright import open_dataset

        data = open_dataset(trial.folder / name)
        holds(len(data.samples) == 4, f"{name}: {len(data.samples)} samples")
        holds(data.read(data.samples[0]).image.shape[2] == channels, f"{name}: channels")


def ome_tif_names(trial: Trial) -> None:
    """.ome.tif is one suffix."""
    trial.run("plan", trial.folder, *PLAN).exits(0)
    holds(len(trial.masks()) == 4, "four samples")


def only_sample_of_a_class_held_out(trial: Trial) -> None:
    """The hold-out knows classes."""
    run = trial.train(trial.folder / "labelled_once", "--steps", "4")
    holds("a5" in json.loads((run / "run.json").read_text())["data"]["training"], "a5 is trained on")
    plan = trial.run("plan", trial.folder / "rare", *PLAN).exits(0)
    rare = trial.train(trial.folder / "rare", "--steps", "2", out="rare")
    held = json.loads((rare / "run.json").read_text())["data"]["validation"]
    if "a5" in held:
        plan.says("class 2")


def per_image_normalization_in_tiles(trial: Trial) -> None:
    """The same mask in tiles and in one piece but for a few pixels."""
    run = trial.train(trial.folder / "small", "--normalization", "image", "--steps", "60")
    answer = trial.python(trial.folder / "try.py", run).exits(0)
    found = re.search(r"differ ([\d.e-]+)", answer.text)
    holds(found is not None and float(found[1]) < 1e-4, f"{answer.out.strip()}")


def predict_keeps_georeference(trial: Trial) -> None:
    """The mask lies where its image does."""
    import rasterio

    run = trial.train(trial.folder, "--steps", "4")
    trial.run("predict", run, trial.folder / "images", "--out", trial.work / "out").exits(0)
    for path in sorted((trial.folder / "images").iterdir()):
        mask = next(
            file for file in (trial.work / "out/masks").glob(f"{path.stem}.*") if file.suffix in (".tif", ".png")
        )
        with rasterio.open(path) as image, rasterio.open(mask) as label:
            holds(image.transform.almost_equals(label.transform), f"{mask.name}: {label.transform}")
            holds(image.crs == label.crs, f"{mask.name}: {label.crs}")


def predict_masks_beside_images(trial: Trial) -> None:
    """Four masks, and a note."""
    run = trial.train(trial.folder, "--steps", "4")
    trial.run("predict", run, trial.folder, "--out", trial.work / "out").exits(0).says("mask")
    names = sorted(path.stem for path in _written(trial))
    holds(names == ["c0", "c1", "c2", "c3"], f"{names}")


def predict_pattern_with_brackets(trial: Trial) -> None:
    """Four masks."""
    folder = trial.folder / "odd [v1]"
    run = trial.train(folder, "--steps", "4")
    trial.run("predict", run, f"{folder}/images/*.png", "--out", trial.work / "out").exits(0)
    holds(len(_written(trial)) == 4, "four masks")


def predict_tiff_stack(trial: Trial) -> None:
    """Three masks, or a stack of three pages."""
    import tifffile

    run = trial.train(trial.folder, "--steps", "4")
    trial.run("predict", run, trial.folder / "test-volume.tif", "--out", trial.work / "out").exits(0)
    files = _written(trial)
    found = len(tifffile.TiffFile(files[0]).pages) if len(files) == 1 else len(files)
    holds(found == 3, f"{found} masks of 3")


def qupath_geojson_beside_png(trial: Trial) -> None:
    """300 pixels of Tumor in each."""
    trial.run("plan", trial.folder, *PLAN).exits(0)
    index = trial.names().index("Tumor")
    for name, mask in trial.masks().items():
        holds(counts(mask).get(index) == 300, f"{name}: {counts(mask)}")


def rgbn_uint8_geotiff(trial: Trial) -> None:
    """The fourth band is a band; class 1 keeps its pixels."""
    trial.run("plan", trial.folder, *PLAN).exits(0)
    from maskwright import open_dataset

    data = open_dataset(trial.folder)
    pair = data.read(data.samples[0])
    holds(pair.image.shape[2] == 4, f"{pair.image.shape[2]} channels")
    raw = pixels(trial.folder / "masks/a0.png")
    holds(int((pair.mask == 1).sum()) == int((raw == 1).sum()), "class 1 keeps its pixels")


def rle_relative(trial: Trial) -> None:
    """Read as relative, or refused for starts that do not ascend."""
    answer = trial.run("plan", trial.folder, *PLAN)
    if answer.code:
        answer.exits(2).says("ascend|overlap|relative", r"train-rle\.csv")
    else:
        answer.says("relative")
        mask = next(mask for name, mask in trial.masks().items() if name.endswith("1.2.276.0"))
        holds(counts(mask).get(1) == 374, f"{counts(mask)}")


def rle_short_row(trial: Trial) -> None:
    """Without objects, or named with its line."""
    answer = trial.run("plan", trial.folder, *PLAN).exits(0, 2)
    if answer.code:
        answer.says(r"train\.csv", r"line 2|:2\b|row 2")


def rle_tgs_layout(trial: Trial) -> None:
    """The images below train/images are found."""
    answer = trial.run("plan", trial.folder, *PLAN).exits(0, 2).never("no image of that name below")
    if answer.code:
        answer.says("adopt|which")
    else:
        holds(len(trial.masks()) == 6, f"{len(trial.masks())} samples")


def scenes_in_subfolders(trial: Trial) -> None:
    """Paired by the path below the folders."""
    for name, count in (("scenes", 6), ("pets", 5), ("loveda", 6)):
        answer = trial.run("plan", trial.folder / name, *PLAN).exits(0, 2)
        if answer.code:
            answer.says("adopt").never("directly in it")
            found = re.search(r"maskwright adopt (\S+) --as (\d+)", answer.text)
            holds(found is not None, f"{name}: no way out")
            assert found is not None
            trial.run("adopt", found[1], "--as", found[2]).exits(0)
        masks = trial.masks(name)
        holds(len(masks) == count, f"{name}: {len(masks)} samples of {count}")
    from maskwright import open_dataset

    groups = {sample.group for sample in open_dataset(trial.folder / "scenes").samples}
    holds(len(groups) == 2, f"groups {groups}")


def undeclared_minus_9999(trial: Trial) -> None:
    """Check that `check` warns of the sentinel."""
    trial.run("check", trial.folder).exits(0, 1).says("-9999")


def valid_mask_uint8(trial: Trial) -> None:
    """0 and not 0, or a DataError."""
    answer = trial.python(trial.folder / "try.py")
    if answer.code:
        answer.says("DataError", "bool").never("IndexError")
    else:
        answer.says("255 where not valid: 12000 of 12000; elsewhere: 0")


def voc_background_not_first(trial: Trial) -> None:
    """Black is background everywhere."""
    trial.run("check", trial.folder).exits(0, 1)
    names = trial.names()
    index = names.index("background")
    masks = trial.masks()
    for name in ("im_1", "im_4"):
        mask = next(mask for key, mask in masks.items() if key.endswith(name))
        holds(set(counts(mask)) == {index}, f"{name}: {counts(mask)} with {names}")

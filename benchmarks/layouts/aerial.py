"""Land and streets from the air."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from benchmarks.layouts.drawing import (
    GREYS,
    Truth,
    binary,
    colours,
    grey,
    numbered,
    put,
    rgb,
    scene,
    scenes,
    split_of,
    text,
)
from PIL import Image


def potsdam(root: Path) -> Truth:
    """ISPRS Potsdam: 2_Ortho_RGB/top_potsdam_2_10_RGB.tif with 5_Labels_all/..._label.tif, a DSM beside."""
    pairs = scenes(4, 4)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"2_Ortho_RGB/top_potsdam_2_{10 + index}_RGB.tif", image)
        put(
            root / f"5_Labels_all/top_potsdam_2_{10 + index}_label.tif",
            colours(mask, "#ffffff", "#0000ff", "#00ff00", "#ffff00"),
        )
        put(root / f"1_DSM/dsm_potsdam_02_{10 + index}.tif", grey(image))
    return Truth(pairs)


def inria(root: Path) -> Truth:
    """Inria Aerial: train/images/austin1.tif, train/gt/austin1.tif, test/images without truth."""
    pairs = scenes(5)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"train/images/austin{index + 1}.tif", image)
        put(root / f"train/gt/austin{index + 1}.tif", mask * 255)
    for index, (image, _) in enumerate(scenes(2, first=50)):
        put(root / f"test/images/bellingham{index + 1}.tif", image)
    return Truth(pairs)


def massachusetts(root: Path) -> Truth:
    """Massachusetts roads: tiff/train/x.tiff with tiff/train_labels/x.tif, and val, test."""
    pairs = scenes(8)
    splits = ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    for index, ((image, mask), split) in enumerate(zip(pairs, splits, strict=True)):
        put(root / f"tiff/{split}/1022{index}_15.tiff", image)
        put(root / f"tiff/{split}_labels/1022{index}_15.tif", np.repeat(mask[..., None] * 255, 3, 2))
    return Truth(pairs, splits={"train": 4, "val": 2, "test": 2})


def deepglobe(root: Path) -> Truth:
    """DeepGlobe land cover: train/119_sat.jpg with train/119_mask.png in colours, class_dict.csv."""
    pairs = scenes(5, 3)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"train/{119 + index}_sat.jpg", image)
        put(root / f"train/{119 + index}_mask.png", colours(mask, "#00ffff", "#ffff00", "#00ff00"))
    (root / "class_dict.csv").write_text(
        "name,r,g,b\nurban_land,0,255,255\nagriculture_land,255,255,0\nforest_land,0,255,0\n"
    )
    return Truth(pairs)


def loveda(root: Path) -> Truth:
    """LoveDA: Train/Urban/images_png, Train/Urban/masks_png, Rural, Val."""
    pairs = scenes(8, 3)
    for index, (image, mask) in enumerate(pairs):
        home = root / ("Train" if index < 6 else "Val") / ("Urban" if index % 2 else "Rural")
        put(home / f"images_png/{1366 + index}.png", image)
        put(home / f"masks_png/{1366 + index}.png", mask)
    return Truth(pairs, splits={"train": 6, "val": 2})


def salt(root: Path) -> Truth:
    """TGS salt: train/images, train/masks of 0 and 65535, run lengths and depths in CSV beside."""
    pairs = scenes(5)
    rows, depths = ["id,rle_mask"], ["id,z"]
    for index, (image, mask) in enumerate(pairs):
        put(root / f"train/images/a{index}f.png", image)
        put(root / f"train/masks/a{index}f.png", mask.astype(np.uint16) * 65535)
        flat = np.concatenate([[0], mask.T.reshape(-1).astype(int), [0]])
        edges = np.flatnonzero(np.diff(flat))
        runs = " ".join(f"{a + 1} {b - a}" for a, b in zip(edges[::2], edges[1::2], strict=True))
        rows.append(f"a{index}f,{runs}")
        depths.append(f"a{index}f,{index}")
    (root / "train.csv").write_text("\n".join(rows) + "\n")
    (root / "depths.csv").write_text("\n".join(depths) + "\n")
    return Truth(pairs)


def deepglobe_roads(root: Path) -> Truth:
    """DeepGlobe roads: train/x_sat.jpg and x_mask.png, valid and test with images only, metadata.csv."""
    pairs = scenes(6)
    rows = ["image_id,split,sat_image_path,mask_path"]
    for index, (image, mask) in enumerate(pairs):
        put(root / f"train/{100034 + 7 * index}_sat.jpg", image)
        put(root / f"train/{100034 + 7 * index}_mask.png", rgb(mask * np.uint8(255)))
        put(root / f"valid/{200034 + 7 * index}_sat.jpg", scene(50 + index)[0])
        put(root / f"test/{300034 + 7 * index}_sat.jpg", scene(70 + index)[0])
        stem = f"{100034 + 7 * index}"
        rows += [
            f"{stem},train,train/{stem}_sat.jpg,train/{stem}_mask.png",
            f"{200034 + 7 * index},valid,valid/{200034 + 7 * index}_sat.jpg,",
        ]
    text(root / "metadata.csv", "\n".join(rows) + "\n")
    text(root / "class_dict.csv", "name,r,g,b\nroad,255,255,255\nbackground,0,0,0\n")
    return Truth(pairs)


def drone(root: Path) -> Truth:
    """Semantic Drone: dataset/semantic_drone_dataset/original_images/000.jpg, label_images_semantic, colours beside."""
    pairs = scenes(5, 3)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"dataset/semantic_drone_dataset/original_images/{index * 3:03}.jpg", image)
        put(root / f"dataset/semantic_drone_dataset/label_images_semantic/{index * 3:03}.png", mask)
        put(
            root / f"RGB_color_image_masks/RGB_color_image_masks/{index * 3:03}.png",
            colours(mask, "#000000", "#804080", "#824c00"),
        )
    text(root / "class_dict_seg.csv", "name, r, g, b\nunlabeled, 0, 0, 0\npaved-area, 128, 64, 128\ndirt, 130, 76, 0\n")
    return Truth(pairs)


def drone_original(root: Path) -> Truth:
    """ICG drone: training_set/images/000.jpg, training_set/gt/semantic/label_images in colours, boxes beside."""
    pairs = scenes(5, 3)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"training_set/images/{index * 3:03}.jpg", image)
        put(
            root / f"training_set/gt/semantic/label_images/{index * 3:03}.png",
            colours(mask, "#000000", "#804080", "#824c00"),
        )
        text(root / f"training_set/gt/bounding_box/label_me_xml/{index * 3:03}.xml", "<annotation/>")
    text(
        root / "training_set/gt/semantic/class_dict.csv",
        "name, r, g, b\nunlabeled, 0, 0, 0\npaved-area, 128, 64, 128\ndirt, 130, 76, 0\n",
    )
    return Truth([(image, np.where(mask == 0, 255, mask).astype(np.uint8)) for image, mask in pairs])


def floodnet(root: Path) -> Truth:
    """FloodNet: train/train-org-img/6279.jpg, train/train-label-img/6279_lab.png, val, test, coloured copies."""
    pairs = scenes(8, 3)
    for index, (image, mask) in enumerate(pairs):
        split = split_of(index, train=4, val=2, test=2)
        put(root / f"FloodNet-Supervised_v1.0/{split}/{split}-org-img/{6279 + index}.jpg", image)
        put(root / f"FloodNet-Supervised_v1.0/{split}/{split}-label-img/{6279 + index}_lab.png", mask)
        put(
            root / f"ColorMasks-FloodNetv1.0/ColorMasks-{split.title()}Set/{6279 + index}_lab.png",
            colours(mask, "#000000", "#ff0000", "#b47878"),
        )
    return Truth(pairs, splits={"train": 4, "val": 2, "test": 2})


def isaid(root: Path) -> Truth:
    """iSAID: train/images/images/P0000.png, train/Semantic_masks/images/P0000_instance_color_RGB.png, instances."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        home = root / split_of(index, train=4, val=2)
        put(home / f"images/images/P{index:04}.png", image)
        put(
            home / f"Semantic_masks/images/P{index:04}_instance_color_RGB.png",
            colours(mask, "#000000", "#00003f", "#003f3f"),
        )
        put(
            home / f"Instance_masks/images/P{index:04}_instance_id_RGB.png",
            np.dstack([numbered(mask).astype(np.uint8) * 5, mask * 7, mask * 0]),
        )
    return Truth(pairs, splits={"train": 4, "val": 2})


def vaihingen(root: Path) -> Truth:
    """ISPRS Vaihingen: top/top_mosaic_09cm_area1.tif, gts_for_participants/... for some, eroded copies, dsm."""
    pairs = []
    for index, (image, mask) in enumerate(scenes(6, 3)):
        stem = f"top_mosaic_09cm_area{index * 2 + 1}"
        put(root / f"top/{stem}.tif", image)
        put(root / f"dsm/dsm_09cm_matching_area{index * 2 + 1}.tif", grey(image))
        if index == 3:
            continue
        put(root / f"gts_for_participants/{stem}.tif", colours(mask, "#ffffff", "#0000ff", "#00ff00"))
        eroded = np.where(np.roll(mask, 1, 0) != mask, 3, mask)
        put(
            root / f"gts_eroded_for_participants/{stem}_noBoundary.tif",
            colours(eroded, "#ffffff", "#0000ff", "#00ff00", "#000000"),
        )
        pairs.append((image, mask))
    return Truth(pairs)


def buildings(root: Path) -> Truth:
    """AIRS: train/image/christchurch_0.tif, train/label/christchurch_0.tif and christchurch_0_vis.tif, lists."""
    pairs = scenes(6)
    for index, (image, mask) in enumerate(pairs):
        home = root / split_of(index, train=4, val=2)
        put(home / f"image/christchurch_{index}.tif", image)
        put(home / f"label/christchurch_{index}.tif", mask)
        put(home / f"label/christchurch_{index}_vis.tif", mask * 255)
    for split, numbers in (("train", range(4)), ("val", range(4, 6))):
        text(root / f"{split}.txt", "".join(f"christchurch_{i}.tif\n" for i in numbers))
    return Truth(pairs, splits={"train": 4, "val": 2})


def damage(root: Path) -> Truth:
    """xBD: train/images/x_post_disaster.png, train/targets/x_post_disaster_target.png, outlines in labels/*.json."""
    pairs = []
    for index, (image, mask) in enumerate(scenes(4, 3)):
        for when in ("pre", "post"):
            stem = f"guatemala-volcano_{index:08}_{when}_disaster"
            picture = image if when == "pre" else np.roll(image, 1, 2)
            put(root / f"train/images/{stem}.png", picture)
            own = mask if when == "post" else (mask > 0).astype(np.uint8)
            put(root / f"train/targets/{stem}_target.png", own)
            text(root / f"train/labels/{stem}.json", {"features": {"lng_lat": [], "xy": []}, "metadata": {"id": index}})
            pairs.append((picture, own))
    return Truth(pairs)


def open_earth(root: Path) -> Truth:
    """OpenEarthMap: aachen/images/aachen_1.tif, aachen/labels/aachen_1.tif by city, train.txt and val.txt."""
    pairs = scenes(6, 4)
    names = []
    for index, (image, mask) in enumerate(pairs):
        city = ("aachen", "tokyo", "lima")[index // 2]
        put(root / f"OpenEarthMap_wo_xBD/{city}/images/{city}_{index % 2 + 1}.tif", image)
        put(root / f"OpenEarthMap_wo_xBD/{city}/labels/{city}_{index % 2 + 1}.tif", mask)
        names.append(f"{city}_{index % 2 + 1}.tif\n")
    text(root / "OpenEarthMap_wo_xBD/train.txt", "".join(names[:4]))
    text(root / "OpenEarthMap_wo_xBD/val.txt", "".join(names[4:]))
    return Truth(pairs)


def satellite_soft(root: Path) -> Truth:
    """EPFL roads: training/images/satImage_001.png, training/groundtruth/... with soft edges, test_set_images."""
    from PIL import ImageFilter

    pairs = []
    for index in range(6):
        image, mask = scene(index, size=(120, 120))
        rows, columns = np.mgrid[:120, :120]
        mask[:] = np.abs(columns - 40 - 5 * index - 0.3 * rows) < 9 + 2 * index
        image = np.clip(GREYS[mask] + np.random.default_rng(index).normal(0, 6, (120, 120, 3)), 0, 255).astype(np.uint8)
        put(root / f"training/images/satImage_{index + 1:03}.png", image)
        soft = Image.fromarray(mask * 237).filter(ImageFilter.GaussianBlur(0.6))
        put(root / f"training/groundtruth/satImage_{index + 1:03}.png", np.asarray(soft))
        put(root / f"test_set_images/test_{index + 1}/test_{index + 1}.png", scene(50 + index)[0])
        pairs.append((image, mask))
    return Truth(pairs)


def clouds(root: Path) -> Truth:
    """38-Cloud: train_red/red_patch_1.TIF, train_green, train_blue, train_nir, train_gt/gt_patch_1.TIF."""
    pairs = []
    for index, (image, mask) in enumerate(scenes(5)):
        bands = np.dstack([image, grey(image)]).astype(np.uint16) * 100
        place = f"patch_{index + 1}_{index}_by_1_LC08_L1TP_00205{index}_20160520"
        for band, name in enumerate(("red", "green", "blue", "nir")):
            put(root / f"38-Cloud_training/train_{name}/{name}_{place}.TIF", bands[..., band])
        put(root / f"38-Cloud_training/train_gt/gt_{place}.TIF", mask * 255)
        pairs.append((bands, mask))
    text(root / "38-Cloud_training/training_patches_38-Cloud.csv", "name\npatch_1\n")
    return Truth(pairs)


def farmland(root: Path) -> Truth:
    """Agriculture-Vision: train/images/rgb and nir, train/labels/water/x.png for each class, boundaries, masks."""
    pairs = []
    for index, (image, mask) in enumerate(scenes(6, 3)):
        home, stem = (
            root / f"Agriculture-Vision-2021/{split_of(index, train=4, val=2)}",
            f"1{index}AE7BI3_{index * 100}-0-512-512",
        )
        put(home / f"images/rgb/{stem}.jpg", image)
        put(home / f"images/nir/{stem}.jpg", grey(np.roll(image, 1, 0)))
        for value, name in ((1, "double_plant"), (2, "water")):
            put(home / f"labels/{name}/{stem}.png", binary(mask, value))
        for folder in ("boundaries", "masks"):
            put(home / f"{folder}/{stem}.png", np.full(mask.shape, 255, np.uint8))
        pairs.append((image, mask))
    return Truth(pairs, splits={"train": 4, "val": 2})


def ortho_labels(root: Path) -> Truth:
    """DroneDeploy: images/x-ortho.tif, labels/x-label.png in colours, elevations/x-elev.tif, index.csv."""
    pairs = scenes(5, 3)
    for index, (image, mask) in enumerate(pairs):
        stem = f"1d4fbe33f3_F1BE1D41{index}OPENPIPELINE"
        put(root / f"dataset-medium/images/{stem}-ortho.tif", image)
        put(root / f"dataset-medium/labels/{stem}-label.png", colours(mask, "#4b19e6", "#b41e91", "#3cb44b"))
        put(root / f"dataset-medium/elevations/{stem}-elev.tif", grey(image))
    text(root / "dataset-medium/index.csv", "ortho,label,elevation\na,b,c\n")
    return Truth(pairs)

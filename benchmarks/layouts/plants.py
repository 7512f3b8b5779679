"""Crops, weeds and leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from benchmarks.layouts.drawing import (
    Truth,
    cells,
    colours,
    grey,
    numbered,
    put,
    scene,
    scenes,
    split_of,
    text,
)


def cwfid(root: Path) -> Truth:
    """CWFID: images/001_image.png, annotations/001_annotation.png in colours, masks/001_mask.png of plants."""
    pairs = scenes(5, 3)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"images/{index + 1:03}_image.png", image)
        put(root / f"annotations/{index + 1:03}_annotation.png", colours(mask, "#000000", "#00ff00", "#ff0000"))
        put(root / f"masks/{index + 1:03}_mask.png", (mask > 0) * np.uint8(255))
    return Truth(pairs)


def sugar_beets(root: Path) -> Truth:
    """Sugar Beets 2016: images/rgb and nir, annotations/dlp/colorCleaned and iMapCleaned, a YAML for each picture."""
    pairs = scenes(5, 3)
    for index, (image, mask) in enumerate(pairs):
        home, stem = root / "CKA_160523", f"bonirob_2016-05-23-10-42-16_{index}_frame{20 + index}"
        put(home / f"images/rgb/{stem}.png", image)
        put(home / f"images/nir/{stem}.png", grey(image))
        put(home / f"annotations/dlp/colorCleaned/{stem}.png", colours(mask, "#000000", "#00ff00", "#ff0000"))
        put(home / f"annotations/dlp/iMapCleaned/{stem}.png", np.array([0, 2, 10], np.uint8)[mask])
        text(home / f"annotations/YAML/{stem}.yaml", "annotation:\n  - type: SugarBeets\n")
    return Truth(pairs)


def crop_and_weed(root: Path) -> Truth:
    """CropAndWeed: images/x.jpg, labelIds/CropAndWeed/x.png, labelIds/Fine24/x.png, boxes as CSV."""
    pairs = scenes(5, 4)
    for index, (image, mask) in enumerate(pairs):
        stem = f"ave-0{35 + index:03}-000{index}"
        put(root / f"images/{stem}.jpg", image)
        put(root / f"labelIds/CropAndWeed/{stem}.png", np.array([255, 0, 1, 1], np.uint8)[mask])
        put(root / f"labelIds/Fine24/{stem}.png", np.array([255, 4, 9, 17], np.uint8)[mask])
        text(root / f"bboxes/CropAndWeed/{stem}.csv", "3,3,20,20,0,8,8\n")
        text(root / f"params/{stem}.csv", "1,0,1,1\n")
    return Truth(pairs)


def phenobench(root: Path) -> Truth:
    """PhenoBench: train/{images,semantics,leaf_instances,plant_instances,leaf_visibility}, test/images only."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        home, stem = root / f"PhenoBench/{split_of(index, train=4, val=2)}", f"05-15_0{index}028_P0030{950 + index}.png"
        put(home / f"images/{stem}", image)
        put(home / f"semantics/{stem}", mask.astype(np.uint16))
        for folder in ("plant_instances", "leaf_instances"):
            put(home / f"{folder}/{stem}", numbered(mask == (1 if folder[0] == "p" else 2)))
        put(home / f"leaf_visibility/{stem}", numbered(mask) * 3)
        put(root / f"PhenoBench/test/images/06-{stem}", scene(50 + index)[0])
    return Truth(pairs, splits={"train": 4, "val": 2})


def leaf_counting(root: Path) -> Truth:
    """CVPPP leaves: A1/plant001_rgb.png, _label.png with a number for each leaf, _fg.png, _centers.png."""
    pairs = [cells(index) for index in range(6)]
    for index, (image, mask) in enumerate(pairs):
        home = root / f"CVPPP2017_LSC_training/training/A{index // 3 + 1}"
        put(home / f"plant{index + 1:03}_rgb.png", image)
        put(home / f"plant{index + 1:03}_label.png", numbered(mask).astype(np.uint8))
        put(home / f"plant{index + 1:03}_fg.png", mask * 255)
        put(home / f"plant{index + 1:03}_centers.png", np.eye(56, 72, dtype=np.uint8) * 255)
    return Truth(pairs)


def rose(root: Path) -> Truth:
    """ROSE / ACRE challenge: Training/Bipbip/Haricot/Images/x.jpg, Masks/x.png in colours, four teams, two crops."""
    pairs = scenes(8, 3)
    for index, (image, mask) in enumerate(pairs):
        home = (
            root
            / f"Development_Dataset/Training/{('Bipbip', 'Pead')[index // 4]}/{('Haricot', 'Mais')[index // 2 % 2]}"
        )
        put(home / f"Images/{home.parent.name}_{home.name.lower()}_im_0{index}61.jpg", image)
        put(
            home / f"Masks/{home.parent.name}_{home.name.lower()}_im_0{index}61.png",
            colours(mask, "#fe7c12", "#ffffff", "#d84382"),
        )
    return Truth(pairs)


def we3ds(root: Path) -> Truth:
    """WE3DS: images/img_00001.png, annotations/segmentation/SegmentationLabel/img_00001.png, depth, lists."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"images/img_{index + 1:05}.png", image)
        put(root / f"annotations/segmentation/SegmentationLabel/img_{index + 1:05}.png", mask)
        put(root / f"depth/img_{index + 1:05}.png", np.arange(56 * 72, dtype=np.uint16).reshape(56, 72))
    text(root / "train.txt", "".join(f"img_{i:05}\n" for i in range(1, 5)))
    text(root / "test.txt", "img_00005\nimg_00006\n")
    return Truth(pairs, splits={"train": 4, "test": 2})


def leaf_disease(root: Path) -> Truth:
    """Leaf disease: data/data/images, data/data/masks, and an augmented copy in aug_data/aug_data."""
    pairs = scenes(10)
    for index, (image, mask) in enumerate(pairs):
        home = root / ("data/data" if index < 4 else "aug_data/aug_data")
        put(home / f"images/{index:05}.jpg", image)
        put(home / f"masks/{index:05}.png", mask * 38)
    return Truth(pairs)

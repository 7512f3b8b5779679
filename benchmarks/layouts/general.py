"""Everyday pictures, and layouts that tools prescribe."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from benchmarks.layouts.drawing import (
    Truth,
    colours,
    grey,
    numbered,
    put,
    scene,
    scenes,
    split_of,
    text,
)
from PIL import Image
from scipy.io import savemat


def mmseg(root: Path) -> Truth:
    """MMSegmentation's own: img_dir/train, ann_dir/train."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        split = "train" if index < 4 else "val"
        put(root / f"img_dir/{split}/{split}{index}.jpg", image)
        put(root / f"ann_dir/{split}/{split}{index}.png", mask)
    return Truth(pairs, splits={"train": 4, "val": 2})


def nnunet(root: Path) -> Truth:
    """nnU-Net v2: imagesTr/case_000_0000.png, labelsTr/case_000.png, dataset.json."""
    pairs = scenes(4)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"imagesTr/case_{index:03}_0000.png", image)
        put(root / f"labelsTr/case_{index:03}.png", mask)
    content = {"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "road": 1}}
    (root / "dataset.json").write_text(json.dumps(content | {"numTraining": 4, "file_ending": ".png"}))
    return Truth(pairs)


def roboflow(root: Path) -> Truth:
    """Roboflow semantic masks: train/x.jpg, train/x_mask.png, _classes.csv."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        split = "train" if index < 4 else "valid"
        put(root / f"{split}/a{index}_jpg.rf.0a1b{index}.jpg", image)
        put(root / f"{split}/a{index}_jpg.rf.0a1b{index}_mask.png", mask)
    for split in ("train", "valid"):
        (root / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, leaf\n2, stem\n")
    return Truth(pairs, splits={"train": 4, "val": 2})


def npy(root: Path) -> Truth:
    """Arrays: x/0001.npy with y/0001.npy."""
    pairs = scenes(4, 3)
    for folder in ("x", "y"):
        (root / folder).mkdir(parents=True)
    for index, (image, mask) in enumerate(pairs):
        np.save(root / f"x/{index:04}.npy", image)
        np.save(root / f"y/{index:04}.npy", mask)
    return Truth(pairs)


def pets(root: Path) -> Truth:
    """Oxford-IIIT pets: images, annotations/trimaps with 1 to 3, boxes in annotations/xmls, lists."""
    pairs = scenes(5, 3)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"images/Abyssinian_{index + 1}.jpg", image)
        put(root / f"annotations/trimaps/Abyssinian_{index + 1}.png", mask + 1)
    (root / "annotations/xmls").mkdir()
    (root / "annotations/xmls/Abyssinian_1.xml").write_text(
        "<annotation><object><name>cat</name></object></annotation>"
    )
    (root / "annotations/list.txt").write_text("#Image CLASS-ID SPECIES BREED ID\nAbyssinian_1 1 1 1\n")
    return Truth(pairs)


def suim(root: Path) -> Truth:
    """SUIM: train_val/images/x.jpg, train_val/masks/x.bmp in colours, TEST/ the same."""
    pairs = scenes(6, 4)
    for index, (image, mask) in enumerate(pairs):
        home = "train_val" if index < 4 else "TEST"
        put(root / f"{home}/images/d_r_{index + 1}_.jpg", image)
        put(root / f"{home}/masks/d_r_{index + 1}_.bmp", colours(mask, "#000000", "#0000ff", "#00ff00", "#ff00ff"))
    return Truth(pairs)


def voc(root: Path) -> Truth:
    """Pascal VOC 2012: VOCdevkit/VOC2012 with palette masks for some images, borders of 255, lists."""
    pairs = []
    home = root / "VOCdevkit/VOC2012"
    for index, (image, mask) in enumerate(scenes(6, 3)):
        stem = f"2007_{32 + index:06}"
        mask[20:22] = 255
        put(home / f"JPEGImages/{stem}.jpg", image)
        put(home / f"JPEGImages/2008_{index:06}.jpg", scene(50 + index)[0])
        for folder, pixels in (("SegmentationClass", mask), ("SegmentationObject", mask)):
            palette = Image.fromarray(pixels)
            palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [224, 224, 192] * 253)
            (home / folder).mkdir(parents=True, exist_ok=True)
            palette.save(home / f"{folder}/{stem}.png")
        text(home / f"Annotations/{stem}.xml", "<annotation><segmented>1</segmented></annotation>")
        pairs.append((image, mask))
    text(home / "ImageSets/Segmentation/train.txt", "".join(f"2007_{32 + i:06}\n" for i in range(4)))
    text(home / "ImageSets/Segmentation/val.txt", "".join(f"2007_{32 + i:06}\n" for i in (4, 5)))
    return Truth(pairs, splits={"train": 4, "val": 2})


def sbd(root: Path) -> Truth:
    """SBD: dataset/img/x.jpg, dataset/cls/x.mat (GTcls with Segmentation and Boundaries), dataset/inst, lists."""
    pairs = scenes(6, 3)
    home = root / "benchmark_RELEASE/dataset"
    for folder in ("cls", "inst"):
        (home / folder).mkdir(parents=True)
    for index, (image, mask) in enumerate(pairs):
        stem = f"2008_{index + 2:06}"
        put(home / f"img/{stem}.jpg", image)
        edges = np.empty((20, 1), object)
        edges[:] = [[np.zeros((2, 2), np.uint8)]] * 20
        for name, pixels in (("cls", mask), ("inst", numbered(mask).astype(np.uint8))):
            fields = {"Segmentation": pixels, "Boundaries": edges, "CategoriesPresent": np.array([[1], [2]], np.uint8)}
            savemat(home / f"{name}/{stem}.mat", {f"GT{name}": fields}, do_compression=True)
    text(home / "train.txt", "".join(f"2008_{i:06}\n" for i in range(2, 6)))
    text(home / "val.txt", "2008_000006\n2008_000007\n")
    return Truth(pairs, splits={"train": 4, "val": 2})


def pascal_context(root: Path) -> Truth:
    """PASCAL-Context: JPEGImages/x.jpg, SegmentationClassContext/x.png, ImageSets/SegmentationContext."""
    pairs = scenes(6, 3)
    home = root / "VOC2010"
    for index, (image, mask) in enumerate(pairs):
        put(home / f"JPEGImages/2008_{index + 2:06}.jpg", image)
        put(home / f"JPEGImages/2009_{index + 2:06}.jpg", scene(50 + index)[0])
        put(home / f"SegmentationClassContext/2008_{index + 2:06}.png", mask)
    for split, numbers in (("train", range(2, 6)), ("val", range(6, 8))):
        text(home / f"ImageSets/SegmentationContext/{split}.txt", "".join(f"2008_{i:06}\n" for i in numbers))
    return Truth(pairs, splits={"train": 4, "val": 2})


def coco_stuff(root: Path) -> Truth:
    """COCO-Stuff 10k: images/x.jpg, annotations/x.mat (S, captions, names), imageLists, a README."""
    pairs = scenes(5, 3)
    (root / "annotations").mkdir(parents=True)
    for index, (image, mask) in enumerate(pairs):
        stem = f"COCO_train2014_{index * 97 + 77:012}"
        put(root / f"images/{stem}.jpg", image)
        content = {"S": mask.astype(np.uint16), "captions": np.array(["a"], object), "names": np.zeros((183, 1))}
        savemat(root / f"annotations/{stem}.mat", content | {"regionLabelsStuff": np.arange(92.0)[:, None]})
    text(root / "imageLists/all.txt", "".join(f"COCO_train2014_{i * 97 + 77:012}\n" for i in range(5)))
    text(root / "README.md", "# COCO-Stuff 10k\n")
    return Truth(pairs)


def coco_pixelmaps(root: Path) -> Truth:
    """COCO-Stuff 164k: images/train2017/x.jpg, annotations/train2017/x.png, 255 unlabelled."""
    pairs = []
    for index, (image, mask) in enumerate(scenes(6, 3)):
        split, stem = split_of(index, train2017=4, val2017=2), f"{index * 97 + 77:012}"
        mask[:4] = 255
        put(root / f"images/{split}/{stem}.jpg", image)
        put(root / f"annotations/{split}/{stem}.png", mask)
        pairs.append((image, mask))
    return Truth(pairs, splits={"train": 4, "val": 2})


def ade_challenge(root: Path) -> Truth:
    """ADE20K for scene parsing: ADEChallengeData2016 with 0 for other, objectInfo150.txt."""
    pairs = []
    home = root / "ADEChallengeData2016"
    for index, (image, mask) in enumerate(scenes(6, 3)):
        split = split_of(index, training=4, validation=2)
        stem = f"ADE_{'train' if index < 4 else 'val'}_{index + 1:08}"
        put(home / f"images/{split}/{stem}.jpg", image)
        put(home / f"annotations/{split}/{stem}.png", mask)
        pairs.append((image, np.where(mask == 0, 255, mask).astype(np.uint8)))
    text(
        home / "objectInfo150.txt",
        "Idx\tRatio\tTrain\tVal\tName\n1\t0.1576\t11664\t1172\twall\n2\t0.1072\t6046\t612\tbuilding, edifice\n",
    )
    text(home / "sceneCategories.txt", "ADE_train_00000001 airport_terminal\n")
    return Truth(pairs, splits={"train": 4, "val": 2})


def ade_full(root: Path) -> Truth:
    """ADE20K, full: x.jpg, x_seg.png (R / 10 * 256 + G is the class, B the instance), parts and attributes."""
    pairs = scenes(5, 3)
    for index, (image, mask) in enumerate(pairs):
        home, stem = (
            root / f"images/training/{'ab'[index // 3]}/{('abbey', 'bar')[index // 3]}",
            f"ADE_train_{970 + index:08}",
        )
        put(home / f"{stem}.jpg", image)
        number = np.array([0, 447, 2978])[mask]
        put(home / f"{stem}_seg.png", np.stack([number // 256 * 10, number % 256, numbered(mask)], 2).astype(np.uint8))
        put(home / f"{stem}_parts_1.png", colours(mask, "#000000", "#000000", "#0a1403"))
        text(home / f"{stem}_atr.txt", '001 # 0 # 0 # wall # wall # ""\n')
    return Truth(pairs)


def davis(root: Path) -> Truth:
    """DAVIS: JPEGImages/480p/bear/00000.jpg, Annotations/480p/bear/00000.png, lists of sequences."""
    pairs = scenes(6)
    for index, (image, mask) in enumerate(pairs):
        place = f"480p/{('bear', 'camel')[index // 3]}/{index % 3:05}"
        put(root / f"DAVIS/JPEGImages/{place}.jpg", image)
        put(root / f"DAVIS/Annotations/{place}.png", mask * 255)
    text(root / "DAVIS/ImageSets/2016/train.txt", "bear\n")
    text(root / "DAVIS/ImageSets/2016/val.txt", "camel\n")
    return Truth(pairs, groups=2)


def duts(root: Path) -> Truth:
    """DUTS: DUTS-TR/DUTS-TR-Image/x.jpg, DUTS-TR/DUTS-TR-Mask/x.png, DUTS-TE the same."""
    pairs = scenes(7)
    for index, (image, mask) in enumerate(pairs):
        home = "DUTS-TR" if index < 5 else "DUTS-TE"
        put(root / f"{home}/{home}-Image/n0{1440 + index}_1{index}.jpg", image)
        put(root / f"{home}/{home}-Mask/n0{1440 + index}_1{index}.png", mask * 255)
    return Truth(pairs)


def cod10k(root: Path) -> Truth:
    """COD10K: Train/Image/x.jpg, Train/GT_Object/x.png, GT_Edge and GT_Instance beside, Test the same."""
    pairs = scenes(7)
    for index, (image, mask) in enumerate(pairs):
        home, stem = root / split_of(index, Train=5, Test=2), f"COD10K-CAM-1-Aquatic-{index + 1}-BatFish-{index + 1}"
        put(home / f"Image/{stem}.jpg", image)
        put(home / f"GT_Object/{stem}.png", mask * 255)
        put(home / f"GT_Edge/{stem}.png", (np.roll(mask, 1, 1) != mask) * np.uint8(255))
        put(home / f"GT_Instance/{stem}.png", colours(mask, "#000000", "#e00040"))
    return Truth(pairs, splits={"train": 5, "test": 2})


def msrc(root: Path) -> Truth:
    """MSRC-21: Images/1_10_s.bmp, GroundTruth/1_10_s_GT.bmp in colours, black void."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"Images/{index // 3 + 1}_{index + 8}_s.bmp", image)
        put(root / f"GroundTruth/{index // 3 + 1}_{index + 8}_s_GT.bmp", colours(mask, "#000000", "#800000", "#008000"))
    return Truth(pairs)


def horses(root: Path) -> Truth:
    """Weizmann horses: rgb/horse001.jpg, figure_ground/horse001.jpg (masks as JPEG), gray/horse001.jpg."""
    pairs = scenes(6)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"weizmann_horse_db/rgb/horse{index + 1:03}.jpg", image)
        put(root / f"weizmann_horse_db/figure_ground/horse{index + 1:03}.jpg", mask * 255)
        put(root / f"weizmann_horse_db/gray/horse{index + 1:03}.jpg", grey(image))
    return Truth(pairs)


def supervisely(root: Path) -> Truth:
    """Supervisely: meta.json, ds1/img/x.png, ds1/ann/x.png.json with polygons."""
    pairs = []
    text(root / "meta.json", {"classes": [{"title": "person", "shape": "polygon", "color": "#F50404"}], "tags": []})
    for index in range(4):
        image, mask = scene(index)
        mask[:] = 0
        mask[10:30, 12:40] = 1
        put(root / f"ds1/img/pexels-{index}.png", image)
        corners = [[12, 10], [39, 10], [39, 29], [12, 29]]
        shape = {"classTitle": "person", "geometryType": "polygon", "tags": [], "description": ""}
        shape["points"] = {"exterior": corners, "interior": []}  # type: ignore[assignment]
        text(
            root / f"ds1/ann/pexels-{index}.png.json",
            {"size": {"height": 56, "width": 72}, "objects": [shape], "tags": []},
        )
        pairs.append((image, mask))
    return Truth(pairs)


def image_and_mask_in_npz(root: Path) -> Truth:
    """Synapse of TransUNet: train_npz/case0005_slice000.npz with image and label in one file, lists."""
    pairs = scenes(5, 3)
    (root / "train_npz").mkdir(parents=True)
    for index, (image, mask) in enumerate(pairs):
        np.savez(root / f"train_npz/case0005_slice{index:03}.npz", image=grey(image), label=mask)
    text(root / "lists/lists_Synapse/train.txt", "".join(f"case0005_slice{i:03}\n" for i in range(5)))
    return Truth(pairs, grey=True)

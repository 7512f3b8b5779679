"""Cracks, steel, tiles and other surfaces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from benchmarks.layouts.drawing import (
    Truth,
    cells,
    colours,
    grey,
    junk,
    numbered,
    put,
    runs,
    scene,
    scenes,
    split_of,
    text,
)
from scipy.io import savemat


def deepcrack(root: Path) -> Truth:
    """DeepCrack: train_img, train_lab, test_img, test_lab."""
    pairs = scenes(7)
    for index, (image, mask) in enumerate(pairs):
        split = "train" if index < 5 else "test"
        put(root / f"{split}_img/{7 + index}-1.jpg", image)
        put(root / f"{split}_lab/{7 + index}-1.png", mask * 255)
    return Truth(pairs, splits={"train": 5, "test": 2})


def crackforest(root: Path) -> Truth:
    """CrackForest: image/001.jpg, groundTruth/001.mat with a struct, seg/001.seg."""
    pairs = scenes(4)
    (root / "groundTruth").mkdir(parents=True)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"image/{index + 1:03}.jpg", image)
        content = {"groundTruth": {"Segmentation": mask.astype(np.uint16) + 1, "Boundaries": mask > 0}}
        savemat(root / f"groundTruth/{index + 1:03}.mat", content)
    return Truth(pairs)


def crack500(root: Path) -> Truth:
    """CRACK500: traincrop/x.jpg with x.png beside it, valcrop, and lists of pairs."""
    pairs = scenes(6)
    lists: dict[str, list[str]] = {"train": [], "val": []}
    for index, (image, mask) in enumerate(pairs):
        split = "train" if index < 4 else "val"
        stem = f"{split}crop/20160222_{81011 + index}_1_361"
        put(root / f"{stem}.jpg", image)
        put(root / f"{stem}.png", mask * 255)
        lists[split].append(f"{stem}.jpg {stem}.png")
    for split, lines in lists.items():
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return Truth(pairs, splits={"train": 4, "val": 2})


def neu(root: Path) -> Truth:
    """NEU-Seg: images/training, annotations/training, test, classes of its own."""
    pairs = scenes(7, 4)
    for index, (image, mask) in enumerate(pairs):
        split = "training" if index < 5 else "test"
        put(root / f"images/{split}/{index:06}.jpg", grey(image))
        put(root / f"annotations/{split}/{index:06}.png", mask)
    return Truth(pairs, grey=True, splits={"train": 5, "test": 2})


def magnetic_tiles(root: Path) -> Truth:
    """Magnetic tiles: a folder for each defect, Imgs/x.jpg beside Imgs/x.png, an overview picture at the top."""
    pairs = scenes(6)
    for index, (image, mask) in enumerate(pairs):
        home = root / ("MT_Blowhole" if index < 3 else "MT_Crack") / "Imgs"
        put(home / f"exp1_num_{index}.jpg", grey(image))
        put(home / f"exp1_num_{index}.png", mask * 255)
    overview, truth = scene(90)
    put(root / "dataset.jpg", overview)
    put(root / "dataset.png", truth * 255)
    return Truth(pairs, grey=True)


def one_per_class(root: Path) -> Truth:
    """Cracks and potholes: a folder for each image, a mask for each class."""
    pairs = scenes(4, 4)
    for index, (image, mask) in enumerate(pairs):
        home = root / f"Dataset/100{index}_RS_386"
        put(home / f"{home.name}_RAW.jpg", image)
        for value, name in ((1, "CRACK"), (2, "LANE"), (3, "POTHOLE")):
            put(home / f"{home.name}_{name}.png", np.repeat((mask == value)[..., None].astype(np.uint8) * 255, 3, 2))
    return Truth(pairs)


def carvana(root: Path) -> Truth:
    """Carvana: train/ID.jpg with train_masks/ID_mask.gif."""
    pairs = scenes(5)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"train/00087a6bd4dc_{index:02}.jpg", image)
        put(root / f"train_masks/00087a6bd4dc_{index:02}_mask.gif", mask * 255)
    return Truth(pairs)


def severstal(root: Path) -> Truth:
    """Severstal steel: train.csv (ImageId,ClassId,EncodedPixels), train_images; images without a row are left out."""
    pairs, rows = [], ["ImageId,ClassId,EncodedPixels"]
    for index, (image, mask) in enumerate(scenes(6, 3)):
        put(root / f"train_images/0002cc93{index}.jpg", image)
        put(root / f"test_images/1002cc93{index}.jpg", scene(50 + index)[0])
        if index == 3:
            continue
        rows += [f"0002cc93{index}.jpg,{value},{runs(mask == value)}" for value in (1, 2) if (mask == value).any()]
        pairs.append((image, mask))
    text(root / "train.csv", "\n".join(rows) + "\n")
    text(root / "sample_submission.csv", "ImageId,EncodedPixels,ClassId\n10.jpg,1 1,1\n")
    return Truth(pairs)


def kolektor(root: Path) -> Truth:
    """KolektorSDD: kos01/Part0.jpg with kos01/Part0_label.bmp."""
    pairs = scenes(6)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"KolektorSDD/kos{index // 3 + 1:02}/Part{index % 3}.jpg", grey(image))
        put(root / f"KolektorSDD/kos{index // 3 + 1:02}/Part{index % 3}_label.bmp", mask * 255)
    return Truth(pairs, grey=True)


def kolektor2(root: Path) -> Truth:
    """KolektorSDD2: train/10000.png with train/10000_GT.png, test the same; many masks are empty."""
    pairs = []
    for index, (image, mask) in enumerate(scenes(8)):
        if index % 3 == 0:
            mask[:] = 0
        home, number = root / split_of(index, train=5, test=3), 10000 + index if index < 5 else 20000 + index
        put(home / f"{number}.png", image)
        put(home / f"{number}_GT.png", mask * 255)
        pairs.append((image, mask))
    return Truth(pairs, splits={"train": 5, "test": 3})


def mvtec(root: Path) -> Truth:
    """MVTec AD: bottle/test/broken_large/000.png, bottle/ground_truth/broken_large/000_mask.png, good without."""
    pairs = scenes(8)
    for index, (image, mask) in enumerate(pairs):
        thing, defect = ("bottle", "cable")[index // 4], ("broken_large", "contamination")[index // 2 % 2]
        put(root / f"{thing}/test/{defect}/{index % 2:03}.png", image)
        put(root / f"{thing}/ground_truth/{defect}/{index % 2:03}_mask.png", mask * 255)
        put(root / f"{thing}/test/good/{index % 4:03}.png", scene(40 + index)[0])
        put(root / f"{thing}/train/good/{index % 4:03}.png", scene(60 + index)[0])
    for thing in ("bottle", "cable"):
        text(root / f"{thing}/readme.txt", "MVTec AD\n")
        text(root / f"{thing}/license.txt", "CC BY-NC-SA 4.0\n")
    return Truth(pairs)


def dagm(root: Path) -> Truth:
    """DAGM 2007: Class1/Train/0576.PNG, Class1/Train/Label/0576_label.PNG for those with a defect, Labels.txt."""
    pairs = []
    for index, (image, mask) in enumerate(scenes(12)):
        home = root / f"Class{index // 6 + 1}/{('Train', 'Test')[index % 6 // 3]}"
        put(home / f"{570 + index:04}.PNG", grey(image))
        if index % 3 != 2:
            put(home / f"Label/{570 + index:04}_label.PNG", mask * 255)
            pairs.append((image, mask))
        text(home / "Label/Labels.txt", "1\n1\t1\t0576.PNG\t1\t0576_label.PNG\n")
    return Truth(pairs, grey=True, splits={"train": 4, "test": 4})


def crack_collection(root: Path) -> Truth:
    """A crack collection: images and masks at the top, and the same again in train and test."""
    pairs = scenes(7)
    for index, (image, mask) in enumerate(pairs):
        stem = f"CFD_{index + 1:03}.jpg" if index < 5 else f"CRACK500_2016022{index}_081011.jpg"
        for home in (root, root / split_of(index, train=5, test=2)):
            put(home / f"images/{stem}", image)
            put(home / f"masks/{stem}", mask * 255)
    return Truth(pairs, splits={"train": 5, "test": 2})


def pothole600(root: Path) -> Truth:
    """Pothole-600: training/rgb/0001.png, training/label/0001.png, disparities in training/disp and tdisp."""
    pairs = scenes(8)
    for index, (image, mask) in enumerate(pairs):
        home = root / f"pothole600/{split_of(index, training=4, validation=2, testing=2)}"
        put(home / f"rgb/{index + 1:04}.png", image)
        put(home / f"label/{index + 1:04}.png", mask * 255)
        for folder in ("disp", "tdisp"):
            put(home / f"{folder}/{index + 1:04}.png", grey(np.roll(image, 1, 1)))
    return Truth(pairs, splits={"train": 4, "val": 2, "test": 2})


def concrete(root: Path) -> Truth:
    """Concrete cracks: rgb/001.jpg with BW/001.JPG, masks as JPEG."""
    pairs = scenes(6)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"concreteCrackSegmentationDataset/rgb/{index + 1:03}.jpg", image)
        put(root / f"concreteCrackSegmentationDataset/BW/{index + 1:03}.JPG", mask * 255)
    return Truth(pairs)


def rails(root: Path) -> Truth:
    """RSDDs rails: "Type-I RSDDs dataset/Rail surface images/rail_1.jpg", GroundTruth/rail_1.jpg, two types."""
    pairs = scenes(7)
    for index, (image, mask) in enumerate(pairs):
        home = root / f"RSDDs dataset/Type-{'I' if index < 4 else 'II'} RSDDs dataset"
        put(home / f"Rail surface images/rail_{index % 4 + 1}.jpg", grey(image))
        put(home / f"GroundTruth/rail_{index % 4 + 1}.jpg", mask * 255)
    return Truth(pairs, grey=True)


def saliency900(root: Path) -> Truth:
    """SD-saliency-900: "Source Images/In_1.bmp", "Ground truth/In_1.png" for three kinds of defects."""
    pairs = scenes(6)
    for index, (image, mask) in enumerate(pairs):
        stem = f"{('In', 'Pa', 'Sc')[index // 2]}_{index % 2 + 1}"
        put(root / f"SD-saliency-900/Source Images/{stem}.bmp", grey(image))
        put(root / f"SD-saliency-900/Ground truth/{stem}.png", mask * 255)
    return Truth(pairs, grey=True)


def crack_tree(root: Path) -> Truth:
    """CrackTree260: image/6192.jpg with gt/6192.bmp, thin lines."""
    pairs = scenes(5)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"CrackTree260/{6192 + 3 * index}.jpg", image)
        put(root / f"CrackTree260_gt/gt/{6192 + 3 * index}.bmp", mask * 255)
    junk(root)
    return Truth(pairs)


def instruments(root: Path) -> Truth:
    """EndoVis 2018: seq_1/left_frames/frame000.png, seq_1/labels/frame000.png in colours, right frames, labels.json."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        home = root / f"miccai_challenge_2018_release_1/seq_{index // 3 + 1}"
        put(home / f"left_frames/frame{index % 3:03}.png", image)
        put(home / f"right_frames/frame{index % 3:03}.png", np.roll(image, 3, 1))
        put(home / f"labels/frame{index % 3:03}.png", colours(mask, "#000000", "#00ff00", "#00ffff"))
        text(home / "camera_calibration.txt", "Width: 72\n")
    names = [("background-tissue", [0, 0, 0]), ("instrument-shaft", [0, 255, 0]), ("instrument-clasper", [0, 255, 255])]
    text(
        root / "miccai_challenge_2018_release_1/labels.json",
        [{"name": n, "color": c, "classid": i} for i, (n, c) in enumerate(names)],
    )
    return Truth(pairs, groups=2)


def bins(root: Path) -> Truth:
    """WISDOM for robots: color_ims/image_000000.png, depth_ims, modal_segmasks with a number for each object."""
    pairs = [cells(index) for index in range(6)]
    for index, (image, mask) in enumerate(pairs):
        home = root / "wisdom/wisdom-real/high-res"
        put(home / f"color_ims/image_{index:06}.png", image)
        put(home / f"depth_ims/image_{index:06}.png", grey(np.roll(image, 2, 0)))
        put(home / f"modal_segmasks/image_{index:06}.png", numbered(mask).astype(np.uint8))
    np.save(root / "wisdom/wisdom-real/high-res/train_indices.npy", np.arange(4))
    return Truth(pairs)

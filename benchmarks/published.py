"""Layouts in the manner of published data sets, each tried as a newcomer would: what is read, after how many commands.

    python benchmarks/published.py [--only NAME ...] [--keep FOLDER] [--json FILE]

Each function below writes tiny pictures of our own into the folders, names and file types that a published set has (its
name stands in the docstring), and returns the truth. Then the folder is opened. Where Maskwright refuses it, the
command that its message proposes first (`maskwright adopt ...` or `maskwright check ... --fix ...`) is run once as it
stands there, and nothing else. All images must be there, with their pixels and the right class in every pixel; class
indices may be in any one order. A row a layout; exit status 1 if any is not read, or read wrong.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

UNLABELLED = 255
Pair = tuple[np.ndarray, np.ndarray]
"""An image (H x W x 3, uint8) and its class indices (H x W, uint8, 255 unlabelled)."""
Writer = Callable[[Path], "Truth"]

GREYS = np.array([[40, 60, 50], [200, 90, 60], [70, 180, 200], [230, 220, 80], [120, 60, 200], [240, 240, 240]])


class Truth:
    """What a layout holds: pairs that must be found, and whether the images are grey."""

    def __init__(
        self, pairs: Sequence[Pair], *, grey: bool = False, splits: dict[str | None, int] | None = None
    ) -> None:
        self.pairs = [(image.mean(2).astype(np.uint8)[..., None] if grey else image, mask) for image, mask in pairs]
        self.splits = splits


def scene(seed: int, classes: int = 2, size: tuple[int, int] = (56, 72)) -> Pair:
    """A picture of discs of each class on a ground, with a little noise."""
    rng = np.random.default_rng(seed)
    height, width = size
    mask = np.zeros(size, np.uint8)
    y, x = np.mgrid[:height, :width]
    for index in range(1, classes):
        for _ in range(2):
            cy, cx, radius = rng.integers(8, height - 8), rng.integers(8, width - 8), rng.integers(5, 12)
            mask[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = index
    image = GREYS[mask] + rng.normal(0, 6, (height, width, 3)) + 3 * (seed % 7)
    return np.clip(image, 0, 255).astype(np.uint8), mask


def scenes(count: int, classes: int = 2, first: int = 0) -> list[Pair]:
    """Several of them."""
    return [scene(first + index, classes) for index in range(count)]


def put(path: Path, pixels: np.ndarray, **options: Any) -> None:
    """Write a picture; JPEG in good quality."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        options = {"quality": 95} | options
    picture.save(path, **options)


def colours(mask: np.ndarray, *codes: str) -> np.ndarray:
    """Class indices as the colours `#rrggbb`."""
    table = np.array([[int(code[i : i + 2], 16) for i in (1, 3, 5)] for code in codes], np.uint8)
    painted: np.ndarray = table[mask]
    return painted


def grey(image: np.ndarray) -> np.ndarray:
    """The mean of the bands."""
    flat: np.ndarray = image.mean(2).astype(np.uint8)
    return flat


def carvana(root: Path) -> Truth:
    """Carvana: train/ID.jpg with train_masks/ID_mask.gif."""
    pairs = scenes(5)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"train/00087a6bd4dc_{index:02}.jpg", image)
        put(root / f"train_masks/00087a6bd4dc_{index:02}_mask.gif", mask * 255)
    return Truth(pairs)


def drive(root: Path) -> Truth:
    """DRIVE: training/{images,1st_manual,mask}; mask/ is the field of view."""
    pairs = scenes(5)
    for index, (image, mask) in enumerate(pairs):
        view = np.zeros_like(mask)
        view[3:-3, 3:-3] = 255
        put(root / f"training/images/{21 + index}_training.tif", image)
        put(root / f"training/1st_manual/{21 + index}_manual1.gif", mask * 255)
        put(root / f"training/mask/{21 + index}_training_mask.gif", view)
    return Truth(pairs)


def chase(root: Path) -> Truth:
    """CHASE_DB1: two observers beside each image; the first is taken."""
    pairs = scenes(6)
    for index, (image, mask) in enumerate(pairs):
        stem = f"Image_{index // 2 + 1:02}{'LR'[index % 2]}"
        put(root / f"{stem}.jpg", image)
        Image.fromarray(mask * 255).convert("1").save(root / f"{stem}_1stHO.png")
        Image.fromarray(np.roll(mask, 1, 0) * 255).convert("1").save(root / f"{stem}_2ndHO.png")
    return Truth(pairs)


def stare(root: Path) -> Truth:
    """STARE: PPM images, two observers in folders of their own."""
    pairs = scenes(5)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"stare-images/im{index + 1:04}.ppm", image)
        put(root / f"labels-ah/im{index + 1:04}.ah.ppm", np.repeat(mask[..., None] * 255, 3, 2))
        put(root / f"labels-vk/im{index + 1:04}.vk.ppm", np.repeat(np.roll(mask, 1, 1)[..., None] * 255, 3, 2))
    return Truth(pairs)


def hrf(root: Path) -> Truth:
    """HRF: images/01_dr.JPG, manual1/01_dr.tif, mask/01_dr_mask.tif."""
    pairs = scenes(6)
    for index, (image, mask) in enumerate(pairs):
        stem = f"{index // 3 + 1:02}_{('dr', 'g', 'h')[index % 3]}"
        view = np.full_like(mask, 255)
        view[:3] = 0
        put(root / f"images/{stem}.JPG", image)
        put(root / f"manual1/{stem}.tif", mask * 255)
        put(root / f"mask/{stem}_mask.tif", view)
    return Truth(pairs)


def isbi_png(root: Path) -> Truth:
    """The ISBI 2012 copy of the well-known Keras listing: train/image, train/label, 0 and 255."""
    pairs = scenes(6)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"train/image/{index}.png", grey(image))
        put(root / f"train/label/{index}.png", mask * 255)
    return Truth(pairs, grey=True)


def isbi_named(root: Path) -> Truth:
    """ISBI 2012 as single files: train-volume00.tif with train-labels00.tif."""
    pairs = scenes(6)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"train-volume/train-volume{index:02}.tif", grey(image))
        put(root / f"train-labels/train-labels{index:02}.tif", mask * 255)
    return Truth(pairs, grey=True)


def camvid_colours(root: Path) -> Truth:
    """CamVid, original: 701_StillsRaw_full, LabeledApproved_full with _L, label_colors.txt."""
    pairs = scenes(5, 3)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"701_StillsRaw_full/0001TP_{6690 + 30 * index:06}.png", image)
        put(
            root / f"LabeledApproved_full/0001TP_{6690 + 30 * index:06}_L.png",
            colours(mask, "#808080", "#804080", "#400080"),
        )
    (root / "label_colors.txt").write_text("128 128 128\tSky\n128 64 128\tRoad\n64 0 128\tCar\n")
    return Truth(pairs)


def class_dict(root: Path) -> Truth:
    """CamVid of SemanticSegmentation suites: train, train_labels, class_dict.csv."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        split = "train" if index < 4 else "val"
        put(root / f"{split}/f_{index}.png", image)
        put(root / f"{split}_labels/f_{index}_L.png", colours(mask, "#808080", "#804080", "#400080"))
    (root / "class_dict.csv").write_text("name,r,g,b\nSky,128,128,128\nRoad,128,64,128\nCar,64,0,128\n")
    return Truth(pairs, splits={"train": 4, "val": 2})


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


def clothing(root: Path) -> Truth:
    """Clothing Co-Parsing: photos/0001.jpg, annotations/pixel-level/0001.mat, image-level tags beside."""
    pairs = scenes(4, 3)
    for folder in ("annotations/pixel-level", "annotations/image-level"):
        (root / folder).mkdir(parents=True)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"photos/{index + 1:04}.jpg", image)
        savemat(root / f"annotations/pixel-level/{index + 1:04}.mat", {"groundtruth": mask})
        savemat(root / f"annotations/image-level/{index + 5:04}.mat", {"tags": np.array([1, 2])})
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


def kvasir(root: Path) -> Truth:
    """Kvasir-SEG: masks are JPEG, boxes in a JSON beside them."""
    pairs = scenes(5)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"images/cju0qkwl35piu{index}.jpg", image)
        put(root / f"masks/cju0qkwl35piu{index}.jpg", np.repeat(mask[..., None] * 255, 3, 2))
    boxes = {
        f"cju0qkwl35piu{i}": {"height": 56, "width": 72, "bbox": [{"label": "polyp", "xmin": 3}]} for i in range(5)
    }
    (root / "kavsir_bboxes.json").write_text(json.dumps(boxes))
    return Truth(pairs)


def clinicdb(root: Path) -> Truth:
    """CVC-ClinicDB: Original/1.png, "Ground Truth"/1.png."""
    pairs = scenes(6)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"Original/{index + 1}.png", image)
        put(root / f"Ground Truth/{index + 1}.png", mask * 255)
    return Truth(pairs)


def isic(root: Path) -> Truth:
    """ISIC 2017: ISIC-2017_Training_Data with ISIC-2017_Training_Part1_GroundTruth, superpixels among the images."""
    pairs = scenes(5)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"ISIC-2017_Training_Data/ISIC_{index:07}.jpg", image)
        put(root / f"ISIC-2017_Training_Part1_GroundTruth/ISIC_{index:07}_segmentation.png", mask * 255)
    return Truth(pairs)


def glas(root: Path) -> Truth:
    """GlaS: train_1.bmp with train_1_anno.bmp, testA_1.bmp with testA_1_anno.bmp, all in one folder, and a table."""
    pairs = scenes(6)
    for index, (image, mask) in enumerate(pairs):
        stem = f"train_{index + 1}" if index < 4 else f"testA_{index - 3}"
        put(root / f"{stem}.bmp", image)
        put(root / f"{stem}_anno.bmp", mask)
    (root / "Grade.csv").write_text("name,patient ID,grade\n" + "".join(f"train_{i},{i},benign\n" for i in range(1, 5)))
    return Truth(pairs)


def cwfid(root: Path) -> Truth:
    """CWFID: images/001_image.png, annotations/001_annotation.png in colours, masks/001_mask.png of plants."""
    pairs = scenes(5, 3)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"images/{index + 1:03}_image.png", image)
        put(root / f"annotations/{index + 1:03}_annotation.png", colours(mask, "#000000", "#00ff00", "#ff0000"))
        put(root / f"masks/{index + 1:03}_mask.png", (mask > 0) * np.uint8(255))
    return Truth(pairs)


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


def celeba(root: Path) -> Truth:
    """CelebAMask-HQ: CelebA-HQ-img/0.jpg, CelebAMask-HQ-mask-anno/0/00000_hair.png for each part."""
    pairs = scenes(4, 3)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"CelebA-HQ-img/{index}.jpg", image)
        for value, name in ((1, "hair"), (2, "skin")):
            put(
                root / f"CelebAMask-HQ-mask-anno/0/{index:05}_{name}.png",
                np.repeat((mask == value)[..., None].astype(np.uint8) * 255, 3, 2),
            )
    return Truth(pairs)


def lip(root: Path) -> Truth:
    """LIP: train_images with train_segmentations, val_images, and lists of ids."""
    pairs = scenes(6, 4)
    for index, (image, mask) in enumerate(pairs):
        split = "train" if index < 4 else "val"
        put(root / f"{split}_images/{77 + index}_{471474 + index}.jpg", image)
        put(root / f"{split}_segmentations/{77 + index}_{471474 + index}.png", mask)
    for split, numbers in (("train", range(4)), ("val", range(4, 6))):
        (root / f"{split}_id.txt").write_text("".join(f"{77 + i}_{471474 + i}\n" for i in numbers))
    return Truth(pairs, splits={"train": 4, "val": 2})


def suim(root: Path) -> Truth:
    """SUIM: train_val/images/x.jpg, train_val/masks/x.bmp in colours, TEST/ the same."""
    pairs = scenes(6, 4)
    for index, (image, mask) in enumerate(pairs):
        home = "train_val" if index < 4 else "TEST"
        put(root / f"{home}/images/d_r_{index + 1}_.jpg", image)
        put(root / f"{home}/masks/d_r_{index + 1}_.bmp", colours(mask, "#000000", "#0000ff", "#00ff00", "#ff00ff"))
    return Truth(pairs)


def uavid(root: Path) -> Truth:
    """UAVid: uavid_train/seq1/Images/000000.png with Labels/000000.png in colours."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        home = root / f"uavid_{'train' if index < 4 else 'val'}/seq{index // 2 + 1}"
        put(home / f"Images/{index % 2:06}.png", image)
        put(home / f"Labels/{index % 2:06}.png", colours(mask, "#800000", "#804080", "#008000"))
    return Truth(pairs)


def freiburg(root: Path) -> Truth:
    """Freiburg Forest: train/rgb/x_Clipped.jpg, train/GT_color/x_mask.png, depth and infrared beside."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        home = root / ("train" if index < 4 else "test")
        put(home / f"rgb/b1-{9517 + index}_Clipped.jpg", image)
        put(home / f"GT_color/b1-{9517 + index}_mask.png", colours(mask, "#aaaaaa", "#00ff00", "#0078ff"))
        put(home / f"nir_gray/b1-{9517 + index}.png", grey(image))
    return Truth(pairs, splits={"train": 4, "test": 2})


def kitti(root: Path) -> Truth:
    """KITTI semantics: training/image_2/000000_10.png, training/semantic, semantic_rgb and instance beside."""
    pairs = scenes(5, 3)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"training/image_2/{index:06}_10.png", image)
        put(root / f"training/semantic/{index:06}_10.png", mask)
        put(root / f"training/semantic_rgb/{index:06}_10.png", colours(mask, "#804080", "#000046", "#6b8e23"))
        put(root / f"training/instance/{index:06}_10.png", (mask.astype(np.uint16) * 256).astype(np.uint16))
    return Truth(pairs)


def bdd(root: Path) -> Truth:
    """BDD100K: images/10k/train/x.jpg, labels/sem_seg/masks/train/x.png, colormaps beside."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        split = "train" if index < 4 else "val"
        put(root / f"images/10k/{split}/0004a4c0-d4dff0{index}.jpg", image)
        put(root / f"labels/sem_seg/masks/{split}/0004a4c0-d4dff0{index}.png", mask)
    return Truth(pairs, splits={"train": 4, "val": 2})


def blood_cells(root: Path) -> Truth:
    """White blood cells: Dataset 1/001.bmp with 001.png of 0, 128 and 255."""
    pairs = scenes(5, 3)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"Dataset 1/{index + 1:03}.bmp", image)
        put(root / f"Dataset 1/{index + 1:03}.png", np.array([0, 128, 255], np.uint8)[mask])
    (root / "README.md").write_text("Segmentation of white blood cells\n")
    return Truth(pairs)


def bids(root: Path) -> Truth:
    """BIDS microscopy: sub-x/micr, derivatives/labels/sub-x/micr/..._seg-axonmyelin-manual.png and its parts."""
    pairs = scenes(4, 3)
    (root).mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text('{"Name": "nerves", "BIDSVersion": "1.7.0"}')
    for index, (image, mask) in enumerate(pairs):
        truth = root / f"derivatives/labels/sub-r{index}/micr/sub-r{index}_SEM_seg-"
        put(root / f"sub-r{index}/micr/sub-r{index}_SEM.png", grey(image))
        put(Path(f"{truth}axonmyelin-manual.png"), np.array([0, 127, 255], np.uint8)[mask])
        put(Path(f"{truth}axon-manual.png"), (mask == 2) * np.uint8(255))
        put(Path(f"{truth}myelin-manual.png"), (mask == 1) * np.uint8(255))
    return Truth(pairs, grey=True)


def nnunet(root: Path) -> Truth:
    """nnU-Net v2: imagesTr/case_000_0000.png, labelsTr/case_000.png, dataset.json."""
    pairs = scenes(4)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"imagesTr/case_{index:03}_0000.png", image)
        put(root / f"labelsTr/case_{index:03}.png", mask)
    content = {"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "road": 1}}
    (root / "dataset.json").write_text(json.dumps(content | {"numTraining": 4, "file_ending": ".png"}))
    return Truth(pairs)


def mmseg(root: Path) -> Truth:
    """MMSegmentation's own: img_dir/train, ann_dir/train."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        split = "train" if index < 4 else "val"
        put(root / f"img_dir/{split}/{split}{index}.jpg", image)
        put(root / f"ann_dir/{split}/{split}{index}.png", mask)
    return Truth(pairs, splits={"train": 4, "val": 2})


def loveda(root: Path) -> Truth:
    """LoveDA: Train/Urban/images_png, Train/Urban/masks_png, Rural, Val."""
    pairs = scenes(8, 3)
    for index, (image, mask) in enumerate(pairs):
        home = root / ("Train" if index < 6 else "Val") / ("Urban" if index % 2 else "Rural")
        put(home / f"images_png/{1366 + index}.png", image)
        put(home / f"masks_png/{1366 + index}.png", mask)
    return Truth(pairs, splits={"train": 6, "val": 2})


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


def fassg(root: Path) -> Truth:
    """FASSEG: Train_RGB/1.bmp with Train_Labels/1.bmp in colours, Test_RGB, Test_Labels."""
    pairs = scenes(7, 3)
    for index, (image, mask) in enumerate(pairs):
        split = "Train" if index < 5 else "Test"
        put(root / f"V1/{split}_RGB/{index + 1}.bmp", image)
        put(root / f"V1/{split}_Labels/{index + 1}.bmp", colours(mask, "#ff0000", "#ffff00", "#00ff00"))
    return Truth(pairs, splits={"train": 5, "test": 2})


def a2d2(root: Path) -> Truth:
    """A2D2: camera/cam_front_center/2018_camera_frontcenter_000000091.png, label/... with label in the name."""
    pairs = scenes(5, 3)
    for index, (image, mask) in enumerate(pairs):
        stem = f"frontcenter_{91 + index:09}.png"
        put(root / f"20180807_145028/camera/cam_front_center/20180807145028_camera_{stem}", image)
        put(
            root / f"20180807_145028/label/cam_front_center/20180807145028_label_{stem}",
            colours(mask, "#ff0000", "#b432b4", "#ffff00"),
        )
    return Truth(pairs)


def prepped(root: Path) -> Truth:
    """The example set of a Keras collection: images_prepped_train with annotations_prepped_train."""
    pairs = scenes(7, 3)
    for index, (image, mask) in enumerate(pairs):
        split = "train" if index < 5 else "test"
        put(root / f"dataset1/images_prepped_{split}/0016E5_{index:05}.png", image)
        put(root / f"dataset1/annotations_prepped_{split}/0016E5_{index:05}.png", mask)
    return Truth(pairs, splits={"train": 5, "test": 2})


def npy(root: Path) -> Truth:
    """Arrays: x/0001.npy with y/0001.npy."""
    pairs = scenes(4, 3)
    for folder in ("x", "y"):
        (root / folder).mkdir(parents=True)
    for index, (image, mask) in enumerate(pairs):
        np.save(root / f"x/{index:04}.npy", image)
        np.save(root / f"y/{index:04}.npy", mask)
    return Truth(pairs)


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


LAYOUTS: tuple[Writer, ...] = (
    carvana, drive, chase, stare, hrf, isbi_png, isbi_named, camvid_colours, class_dict, potsdam, inria, massachusetts,
    deepglobe, deepcrack, crackforest, clothing, crack500, kvasir, clinicdb, isic, glas, cwfid, neu, magnetic_tiles,
    one_per_class, celeba, lip, suim, uavid, freiburg, kitti, bdd, blood_cells, bids, nnunet, mmseg, loveda, pets,
    roboflow, fassg, a2d2, prepped, npy, salt,
)  # fmt: skip


def judged(root: Path, truth: Truth) -> str:
    """Nothing if the folder reads as the truth says, else what is wrong."""
    from maskwright import open_dataset

    dataset = open_dataset(root)
    if len(dataset.samples) != len(truth.pairs):
        return f"{len(dataset.samples)} samples of {len(truth.pairs)}"
    if truth.splits is not None:
        found = {name: sum(sample.split == name for sample in dataset.samples) for name in truth.splits}
        if found != truth.splits:
            return f"splits {found}, expected {truth.splits}"
    left = list(range(len(truth.pairs)))
    meaning: dict[int, int] = {}
    for sample in dataset.samples:
        pair = dataset.read(sample)
        apart = [
            float(np.abs(pair.image.astype(float) - truth.pairs[index][0]).mean())
            if pair.image.shape == truth.pairs[index][0].shape
            else np.inf
            for index in left
        ]
        best = int(np.argmin(apart))
        if apart[best] > 15:
            return f"{sample.id} is none of the images (shape {pair.image.shape})"
        mask = truth.pairs[left.pop(best)][1]
        for value in np.unique(mask):
            index, counts = np.unique(pair.mask[mask == value], return_counts=True)
            if len(index) > 1:
                return f"{sample.id}: pixels of class {value} are of {len(index)} classes ({counts.tolist()})"
            if meaning.setdefault(int(value), int(index[0])) != int(index[0]):
                return f"{sample.id}: class {value} is index {index[0]} here and {meaning[int(value)]} elsewhere"
    if len(set(meaning.values())) < len(meaning) or UNLABELLED in meaning.values():
        return f"classes fall together or are unlabelled: {meaning}"
    return ""


def proposed(message: str, root: Path) -> list[str] | None:
    """The first command that a message proposes, as it stands there."""
    for line in re.findall(r"maskwright ((?:adopt|check) .*)", message):
        words = shlex.split(line.split("`")[0].strip().rstrip("."))
        if "--as" in words or "--fix" in words:
            return words
    return None


def tried(write: Writer, home: Path) -> tuple[str, str]:
    """How a layout was read (at once, after one command, not), and what is wrong."""
    from maskwright import MaskwrightError

    root = home / write.__name__
    truth = write(root)
    try:
        return "at once", judged(root, truth)
    except MaskwrightError as error:
        message = str(error)
    command = proposed(message, root)
    if command is None:
        return "not", f"no command is proposed: {' '.join(message.split())[:300]}"
    done = subprocess.run(
        [sys.executable, "-m", "maskwright", *command], cwd=home, capture_output=True, text=True, check=False
    )
    read = Path(command[command.index("--fix") + 1]) if "--fix" in command else root
    shown = " ".join(command).replace(str(home), "...")
    if done.returncode > ("--fix" in command):
        return "not", f"`{shown}` fails: {' '.join(done.stderr.split())[-300:]}"
    try:
        return f"after {shown}", judged(home / read, truth)
    except MaskwrightError as error:
        return "not", f"after `{shown}`: {' '.join(str(error).split())[:300]}"


def main() -> int:
    """Try all layouts, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="names of layouts")
    parser.add_argument("--keep", type=Path, help="write the layouts here, and keep them")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory() as place:
        home = options.keep or Path(place)
        for write in LAYOUTS:
            if options.only and write.__name__ not in options.only:
                continue
            how, wrong = tried(write, home)
            rows.append({"layout": write.__name__, "read": how, "wrong": wrong})
            print(f"{'WRONG' if wrong else 'right'}  {write.__name__:16} {how:32} {wrong}", flush=True)
    right = sum(not row["wrong"] for row in rows)
    at_once = sum(not row["wrong"] and row["read"] == "at once" for row in rows)
    print(f"{right} of {len(rows)} read right, {at_once} of them at once")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(right < len(rows))


if __name__ == "__main__":
    sys.exit(main())

"""Retinas, polyps, skin, organs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.layouts.drawing import (
    Truth,
    binary,
    colours,
    grey,
    junk,
    put,
    rgb,
    runs,
    scene,
    scenes,
    split_of,
    text,
)
from PIL import Image


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


def drive_full(root: Path) -> Truth:
    """DRIVE with its test: a second observer in test only, field of view in mask/."""
    pairs = scenes(8)
    for index, (image, mask) in enumerate(pairs):
        split = split_of(index, training=4, test=4)
        stem = f"{index + 1 if split == 'test' else index + 21:02}"
        view = np.zeros_like(mask)
        view[3:-3, 3:-3] = 255
        put(root / f"{split}/images/{stem}_{split}.tif", image)
        put(root / f"{split}/1st_manual/{stem}_manual1.gif", mask * 255)
        put(root / f"{split}/mask/{stem}_{split}_mask.gif", view)
        if split == "test":
            put(root / f"{split}/2nd_manual/{stem}_manual2.gif", np.roll(mask, 1, 1) * 255)
    return Truth(pairs, splits={"train": 4, "test": 4})


def stare_packed(root: Path) -> Truth:
    """STARE as it unpacks: im0001.ppm.gz, labels-ah/im0001.ah.ppm.gz, labels for some of the images only."""
    import gzip
    import io

    pairs = scenes(5)

    def packed(path: Path, pixels: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PPM")
        path.write_bytes(gzip.compress(content.getvalue()))

    for index, (image, mask) in enumerate(pairs):
        packed(root / f"stare-images/im{index + 1:04}.ppm.gz", image)
        packed(root / f"labels-ah/im{index + 1:04}.ah.ppm.gz", rgb(mask * np.uint8(255)))
    return Truth(pairs)


def idrid(root: Path) -> Truth:
    """IDRiD: a folder for each lesion, named with numbers; not every image has every lesion."""
    pairs = []
    parts = (("1. Microaneurysms", "MA"), ("2. Haemorrhages", "HE"), ("3. Hard Exudates", "EX"))
    for index, (image, mask) in enumerate(scenes(8, 4)):
        split = ("a. Training Set", "b. Testing Set")[index // 5]
        if index == 2:
            mask[mask == 2] = 0
        put(root / f"A. Segmentation/1. Original Images/{split}/IDRiD_{index + 1:02}.jpg", image)
        for value, (folder, ending) in enumerate(parts, 1):
            if index == 2 and value == 2:
                continue
            path = (
                root
                / f"A. Segmentation/2. All Segmentation Groundtruths/{split}/{folder}/IDRiD_{index + 1:02}_{ending}.tif"
            )
            put(path, colours((mask == value).astype(np.uint8), "#000000", "#ff0000"))
        pairs.append((image, mask))
    text(root / "A. Segmentation/LICENSE.txt", "CC BY 4.0\n")
    return Truth(pairs, splits={"train": 5, "test": 3})


def refuge(root: Path) -> Truth:
    """REFUGE: Training400/Glaucoma/g0001.jpg, Annotation-.../Disc_Cup_Masks/Glaucoma/g0001.bmp of 0, 128, 255."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        kind = ("Glaucoma", "Non-Glaucoma")[index // 2 > 0]
        stem = f"{kind}/{kind[0].lower()}{index % 2 + index // 4 * 2 + 1:04}"
        put(root / f"REFUGE-Training400/Training400/{stem}.jpg", image)
        put(
            root / f"Annotation-Training400/Annotation-Training400/Disc_Cup_Masks/{stem}.bmp",
            np.array([255, 128, 0], np.uint8)[mask],
        )
    return Truth(pairs)


def montgomery(root: Path) -> Truth:
    """Montgomery chest X-rays: CXR_png/x.png, ManualMask/leftMask/x.png and rightMask/x.png, readings as text."""
    pairs = scenes(5, 3)
    home = root / "MontgomerySet"
    for index, (image, mask) in enumerate(pairs):
        stem = f"MCUCXR_{index + 1:04}_{index % 2}"
        put(home / f"CXR_png/{stem}.png", grey(image))
        put(home / f"ManualMask/leftMask/{stem}.png", binary(mask, 1))
        put(home / f"ManualMask/rightMask/{stem}.png", binary(mask, 2))
        text(home / f"ClinicalReadings/{stem}.txt", "Patient's Sex: F\nnormal\n")
    junk(home)
    return Truth(pairs, grey=True)


def shenzhen(root: Path) -> Truth:
    """Shenzhen chest X-rays: CXR_png/x.png, mask/x_mask.png; a few images have no mask."""
    pairs = scenes(7)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"CXR_png/CHNCXR_{index + 1:04}_0.png", grey(image))
        if index != 3:
            put(root / f"mask/CHNCXR_{index + 1:04}_0_mask.png", mask * 255)
    return Truth([pair for index, pair in enumerate(pairs) if index != 3], grey=True)


def covid_radiography(root: Path) -> Truth:
    """COVID-19 Radiography: COVID/images/COVID-1.png of 299 x 299, COVID/masks of 256 x 256; a table for each."""
    from benchmarks.layouts.drawing import scene as drawn

    pairs = []
    for index in range(6):
        kind = ("COVID", "Viral Pneumonia")[index // 3]
        _, mask = drawn(index, size=(64, 64))
        near = ((np.arange(75) + 0.5) * 64 / 75).astype(int)
        wide = mask[near[:, None], near]
        image = np.clip(np.array([50, 190])[wide] + np.random.default_rng(index).normal(0, 5, wide.shape), 0, 255)
        image = rgb((image + 3 * index).astype(np.uint8))
        put(root / f"{kind}/images/{kind}-{index % 3 + 1}.png", image)
        put(root / f"{kind}/masks/{kind}-{index % 3 + 1}.png", rgb(mask * np.uint8(255)))
        pairs.append((image, wide))
    for kind in ("COVID", "Viral Pneumonia"):
        (root / f"{kind}.metadata.xlsx").write_bytes(b"PK\3\4")
    text(root / "README.md.txt", "COVID-19 CHEST X-RAY DATABASE\n")
    return Truth(pairs)


def isic_attributes(root: Path) -> Truth:
    """ISIC 2018: Task1 outlines, and Task2 with five attributes for each image; ATTRIBUTION.txt among the images."""
    pairs = scenes(5)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"ISIC2018_Task1-2_Training_Input/ISIC_{index:07}.jpg", image)
        put(root / f"ISIC2018_Task1_Training_GroundTruth/ISIC_{index:07}_segmentation.png", mask * 255)
        rng = np.random.default_rng(index)
        for name in ("globules", "milia_like_cyst", "negative_network", "pigment_network", "streaks"):
            spots = np.zeros_like(mask)
            if name in ("globules", "pigment_network"):
                spots[rng.integers(0, 50) :, rng.integers(0, 60) :] = 255
                spots *= mask
            put(root / f"ISIC2018_Task2_Training_GroundTruth_v3/ISIC_{index:07}_attribute_{name}.png", spots)
    for folder in [path for path in root.iterdir() if path.is_dir()]:
        text(folder / "ATTRIBUTION.txt", "CC0\n")
        text(folder / "LICENSE.txt", "CC0\n")
    return Truth(pairs)


def ph2(root: Path) -> Truth:
    """PH2: a folder for each image with a folder for picture, lesion and regions; the table as text."""
    pairs = scenes(5)
    for index, (image, mask) in enumerate(pairs):
        name = f"IMD{index * 7 + 2:03}"
        home = root / f"PH2 Dataset images/{name}"
        put(home / f"{name}_Dermoscopic_Image/{name}.bmp", image)
        Image.fromarray(mask * 255).convert("1")
        put(home / f"{name}_lesion/{name}_lesion.bmp", mask * 255)
        if index % 2:
            put(home / f"{name}_roi/{name}_R1_Label4.bmp", np.roll(mask, 5, 0) * 255)
    text(root / "PH2_dataset.txt", "|| Name || Histological Diagnosis ||\n|| IMD002 || ||\n")
    return Truth(pairs)


def breast_ultrasound(root: Path) -> Truth:
    """BUSI: "benign/benign (1).png" with "benign (1)_mask.png", a second mask "_mask_1" for some; normal has none."""
    pairs = []
    for index, (image, mask) in enumerate(scenes(9)):
        kind = ("benign", "malignant", "normal")[index // 3]
        home = root / f"Dataset_BUSI_with_GT/{kind}"
        if kind == "normal":
            mask[:] = 0
        put(home / f"{kind} ({index % 3 + 1}).png", image)
        if index == 1:
            second = mask.copy()
            second[:, :36] = 0
            put(home / f"{kind} ({index % 3 + 1})_mask.png", (mask - second) * 255)
            put(home / f"{kind} ({index % 3 + 1})_mask_1.png", second * 255)
        else:
            put(home / f"{kind} ({index % 3 + 1})_mask.png", mask * 255)
        pairs.append((image, mask))
    return Truth(pairs)


def ultrasound_nerve(root: Path) -> Truth:
    """Kaggle ultrasound nerve: train/1_1.tif with train/1_1_mask.tif, train_masks.csv, test/1.tif."""
    pairs = scenes(6)
    rows = ["subject,img,pixels"]
    for index, (image, mask) in enumerate(pairs):
        put(root / f"train/{index // 3 + 1}_{index % 3 + 1}.tif", grey(image))
        put(root / f"train/{index // 3 + 1}_{index % 3 + 1}_mask.tif", mask * 255)
        rows.append(f"{index // 3 + 1},{index % 3 + 1},{runs(mask)}")
        put(root / f"test/{index + 1}.tif", grey(scene(50 + index)[0]))
    text(root / "train_masks.csv", "\n".join(rows) + "\n")
    text(root / "sample_submission.csv", "img,pixels\n1,1 1\n2,1 1\n")
    return Truth(pairs, grey=True)


def volume(path: Path, slices: np.ndarray, dtype: type = np.int16) -> None:
    """Write a NIfTI volume whose slices (N x H x W) are seen upright."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    content: Any = np.ascontiguousarray(slices.transpose(2, 1, 0).astype(dtype))
    make: Any = nibabel.Nifti1Image
    nibabel.save(make(content, np.diag([0.8, 0.8, 2.5, 1])), path)


def decathlon(root: Path) -> Truth:
    """Medical Decathlon: imagesTr/spleen_10.nii.gz, labelsTr, imagesTs, dataset.json, files of macOS beside."""
    pairs = scenes(6)
    home = root / "Task09_Spleen"
    for case in range(2):
        own = pairs[3 * case : 3 * case + 3]
        volume(home / f"imagesTr/spleen_{10 + case}.nii.gz", np.stack([grey(image) for image, _ in own]))
        volume(home / f"labelsTr/spleen_{10 + case}.nii.gz", np.stack([mask for _, mask in own]), np.uint8)
        volume(home / f"imagesTs/spleen_{30 + case}.nii.gz", np.stack([grey(image) for image, _ in own]))
        for folder in ("imagesTr", "labelsTr"):
            (home / f"{folder}/._spleen_{10 + case}.nii.gz").write_bytes(b"\0\5\x16\7" * 20)
    training = [{"image": f"./imagesTr/spleen_{i}.nii.gz", "label": f"./labelsTr/spleen_{i}.nii.gz"} for i in (10, 11)]
    content = {"name": "Spleen", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "spleen"}}
    text(
        home / "dataset.json",
        content | {"numTraining": 2, "training": training, "test": ["./imagesTs/spleen_30.nii.gz"]},
    )
    return Truth([(np.asarray(image, np.uint8), mask) for image, mask in pairs], grey=True)


def cardiac(root: Path) -> Truth:
    """ACDC hearts: training/patient001/patient001_frame01.nii.gz, ..._frame01_gt.nii.gz, ..._4d.nii.gz, Info.cfg."""
    pairs = scenes(8, 4)
    for patient in range(2):
        home = root / f"database/training/patient{patient + 1:03}"
        for frame in range(2):
            own = pairs[4 * patient + 2 * frame : 4 * patient + 2 * frame + 2]
            stem = f"patient{patient + 1:03}_frame{1 + 11 * frame:02}"
            volume(home / f"{stem}.nii.gz", np.stack([grey(image) for image, _ in own]))
            volume(home / f"{stem}_gt.nii.gz", np.stack([mask for _, mask in own]), np.uint8)
        volume(home / f"patient{patient + 1:03}_4d.nii.gz", np.stack([grey(image) for image, _ in pairs[:3]]))
        text(home / "Info.cfg", "ED: 1\nES: 12\n")
    return Truth(pairs, grey=True, groups=2)


def spine_bids(root: Path) -> Truth:
    """Spinal cords in BIDS: sub-x/anat/sub-x_T2w.nii.gz, derivatives/labels/.../sub-x_T2w_seg-manual.nii.gz, JSON."""
    pairs = scenes(6)
    for index in range(3):
        own = pairs[2 * index : 2 * index + 2]
        name = f"sub-unf0{index + 1}"
        volume(root / f"{name}/anat/{name}_T2w.nii.gz", np.stack([grey(image) for image, _ in own]))
        volume(
            root / f"derivatives/labels/{name}/anat/{name}_T2w_seg-manual.nii.gz",
            np.stack([mask for _, mask in own]), np.uint8,
        )  # fmt: skip
        text(root / f"{name}/anat/{name}_T2w.json", {"EchoTime": 0.1})
        text(root / f"derivatives/labels/{name}/anat/{name}_T2w_seg-manual.json", {"Author": "a person"})
    text(root / "dataset_description.json", {"Name": "spines", "BIDSVersion": "1.6.0"})
    text(root / "participants.tsv", "participant_id\tsex\nsub-unf01\tM\nsub-unf02\tF\n")
    return Truth(pairs, grey=True, groups=3)

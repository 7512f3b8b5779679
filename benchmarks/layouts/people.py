"""People, faces, eyes and clothes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from benchmarks.layouts.drawing import (
    GREYS,
    Truth,
    colours,
    grey,
    put,
    rgb,
    scene,
    scenes,
    split_of,
    text,
)
from scipy.io import savemat


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


def fassg(root: Path) -> Truth:
    """FASSEG: Train_RGB/1.bmp with Train_Labels/1.bmp in colours, Test_RGB, Test_Labels."""
    pairs = scenes(7, 3)
    for index, (image, mask) in enumerate(pairs):
        split = "Train" if index < 5 else "Test"
        put(root / f"V1/{split}_RGB/{index + 1}.bmp", image)
        put(root / f"V1/{split}_Labels/{index + 1}.bmp", colours(mask, "#ff0000", "#ffff00", "#00ff00"))
    return Truth(pairs, splits={"train": 5, "test": 2})


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


def celeba_whole(root: Path) -> Truth:
    """CelebAMask-HQ as it is: masks of half the size, eyes that lie in the skin, parts missing, two folders."""
    pairs = []
    for index in range(6):
        _, half = scene(index, size=(32, 40))
        half[:] = 0
        half[4:28, 6 + index : 30 + index] = 1  # skin
        half[: 5 + index % 3, 4:36] = 2  # hair
        half[12:15, 14 + index : 18 + index] = 3  # an eye
        image = (
            np.repeat(np.repeat(GREYS[half], 2, 0), 2, 1)
            + np.random.default_rng(index).normal(0, 5, (64, 80, 3))
            + 6 * index
        )
        image = np.clip(image, 0, 255).astype(np.uint8)
        put(root / f"CelebA-HQ-img/{index}.jpg", image)
        inside = (half == 1) | (half == 3)
        for name, where in (("skin", inside), ("hair", half == 2), ("l_eye", half == 3)):
            if not (name == "l_eye" and index == 2):
                put(root / f"CelebAMask-HQ-mask-anno/{index // 3}/{index:05}_{name}.png", rgb(where * np.uint8(255)))
        if index == 2:
            half[half == 3] = 1
        pairs.append((image, np.repeat(np.repeat(half, 2, 0), 2, 1)))
    text(root / "CelebA-HQ-to-CelebA-mapping.txt", "idx orig_idx orig_file\n0 119613 119614.jpg\n")
    text(root / "README.txt", "CelebAMask-HQ\n")
    return Truth(pairs)


def lfw_parts(root: Path) -> Truth:
    """LFW parts: lfw_funneled/NAME/NAME_0001.jpg, parts_lfw_funneled_gt_images/NAME_0001.ppm for some of them."""
    pairs = []
    for index, (image, mask) in enumerate(scenes(8, 3)):
        name = ("Aaron_Eckhart", "Abba_Eban", "Abdel_Aziz", "Adam_Rich")[index // 2]
        put(root / f"lfw_funneled/{name}/{name}_{index % 2 + 1:04}.jpg", image)
        if index % 4 != 3:
            put(
                root / f"parts_lfw_funneled_gt_images/{name}_{index % 2 + 1:04}.ppm",
                colours(mask, "#0000ff", "#ff0000", "#00ff00"),
            )
            pairs.append((image, mask))
    text(root / "parts_train_val.txt", "Aaron_Eckhart 1\n")
    return Truth(pairs)


def portraits(root: Path) -> Truth:
    """Baidu people: images/x.jpg with profiles/x-profile.jpg, masks as JPEG."""
    pairs = scenes(6)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"clean_images/images/1{index}-{index + 3}.jpg", image)
        put(root / f"clean_images/profiles/1{index}-{index + 3}-profile.jpg", rgb(mask * np.uint8(255)))
    return Truth(pairs)


def clothing_kaggle(root: Path) -> Truth:
    """Clothing on Kaggle: png_images/IMAGES/img_0001.png, png_masks/MASKS/seg_0001.png, and the same as JPEG."""
    pairs = scenes(5, 3)
    for index, (image, mask) in enumerate(pairs):
        for kind, ending in (("png", "png"), ("jpeg", "jpeg")):
            put(root / f"{kind}_images/IMAGES/img_{index + 1:04}.{ending}", image)
            put(root / f"{kind}_masks/MASKS/seg_{index + 1:04}.{ending}", mask * 20)
    text(root / "labels.csv", ",label_list\n0,null\n20,accessories\n40,bag\n")
    return Truth(pairs)


def open_eds(root: Path) -> Truth:
    """OpenEDS: train/images/000000336521.png, train/labels/000000336521.npy, validation the same, test without."""
    pairs = scenes(6, 4)
    for index, (image, mask) in enumerate(pairs):
        home, stem = root / f"openEDS/{split_of(index, train=4, validation=2)}", f"{336521 + 11 * index:012}"
        put(home / f"images/{stem}.png", grey(image))
        (home / "labels").mkdir(exist_ok=True)
        np.save(home / f"labels/{stem}.npy", mask)
        put(root / f"openEDS/test/images/9{stem[1:]}.png", grey(scene(50 + index)[0]))
    return Truth(pairs, grey=True, splits={"train": 4, "val": 2})


def eyes_parts(root: Path) -> Truth:
    """SBVPI: 1/1L_l_1.jpg with 1L_l_1_sclera.png, _iris.png, _pupil.png; the pupil lies in the iris."""
    pairs = []
    for index in range(6):
        image, mask = scene(index, 2)
        mask[:] = 0
        mask[10:50, 6 + index : 60] = 1
        mask[20:40, 25 + index : 45 + index] = 2
        mask[26:34, 31 + index : 39 + index] = 3
        image = np.clip(
            GREYS[mask] + np.random.default_rng(index).normal(0, 5, (56, 72, 3)) + 5 * index, 0, 255
        ).astype(np.uint8)
        home, stem = root / f"SBVPI/{index // 2 + 1}", f"{index // 2 + 1}L_{'ls'[index % 2]}_1"
        put(home / f"{stem}.jpg", image)
        for name, where in (("sclera", mask == 1), ("iris", mask >= 2), ("pupil", mask == 3)):
            put(home / f"{stem}_{name}.png", where * np.uint8(255))
        pairs.append((image, mask))
    return Truth(pairs)


def people_kaggle(root: Path) -> Truth:
    """People: images/ds1_pexels-photo-1.png, masks/ds1_pexels-photo-1.png of 0 and 1, collage/ of both, df.csv."""
    pairs = scenes(5)
    rows = [",images,masks,collages"]
    for index, (image, mask) in enumerate(pairs):
        stem = f"ds1_pexels-photo-{index + 1}"
        put(root / f"people_segmentation/images/{stem}.jpg", image)
        put(root / f"people_segmentation/masks/{stem}.png", mask)
        put(root / f"people_segmentation/collage/{stem}.jpg", np.concatenate([image, rgb(mask * np.uint8(255))], 1))
        rows.append(f"{index},images/{stem}.jpg,masks/{stem}.png,collage/{stem}.jpg")
    text(root / "people_segmentation/df.csv", "\n".join(rows) + "\n")
    text(root / "people_segmentation/segmentation/train.txt", "".join(f"ds1_pexels-photo-{i}\n" for i in (1, 2, 3)))
    text(root / "people_segmentation/segmentation/val.txt", "ds1_pexels-photo-4\nds1_pexels-photo-5\n")
    return Truth(pairs)

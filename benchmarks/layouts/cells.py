"""Cells, nuclei and nerves under the microscope."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from benchmarks.layouts.drawing import (
    Truth,
    binary,
    cells,
    colours,
    grey,
    junk,
    numbered,
    put,
    scene,
    scenes,
    split_of,
    text,
)
from scipy.io import savemat


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


def glas(root: Path) -> Truth:
    """GlaS: train_1.bmp with train_1_anno.bmp, testA_1.bmp with testA_1_anno.bmp, all in one folder, and a table."""
    pairs = scenes(6)
    for index, (image, mask) in enumerate(pairs):
        stem = f"train_{index + 1}" if index < 4 else f"testA_{index - 3}"
        put(root / f"{stem}.bmp", image)
        put(root / f"{stem}_anno.bmp", mask)
    (root / "Grade.csv").write_text("name,patient ID,grade\n" + "".join(f"train_{i},{i},benign\n" for i in range(1, 5)))
    return Truth(pairs)


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


def science_bowl(root: Path) -> Truth:
    """Data Science Bowl 2018: stage1_train/ID/images/ID.png, a mask for each nucleus, run lengths, stage1_test."""
    pairs = [cells(index) for index in range(4)]
    for index, (image, mask) in enumerate(pairs):
        name = f"00071198d059ba7f5914a526d124d28e6d010c92466da21d4a04cd541336255{index}"
        home = root / f"stage1_train/{name}"
        put(home / f"images/{name}.png", np.dstack([image, np.full(mask.shape, 255, np.uint8)]))
        numbers = numbered(mask)
        for number in range(1, int(numbers.max()) + 1):
            put(home / f"masks/{number:02}c{index}ab.png", binary(numbers, number))
        put(root / f"stage1_test/1{name[1:]}/images/1{name[1:]}.png", scene(50 + index)[0])
    text(root / "stage1_train_labels.csv", "ImageId,EncodedPixels\n")
    return Truth(pairs)


def bbbc005(root: Path) -> Truth:
    """BBBC005: BBBC005_v1_images/x.TIF, BBBC005_v1_ground_truth/x.TIF for some of them, files of macOS."""
    pairs = scenes(6)
    for index, (image, mask) in enumerate(pairs):
        stem = f"SIMCEPImages_A0{index + 1}_C{index * 4 + 1}_F1_s{index:02}_w1"
        put(root / f"BBBC005_v1_images/{stem}.TIF", grey(image))
        if index != 4:
            put(root / f"BBBC005_v1_ground_truth/{stem}.TIF", mask * 255)
    text(root / "BBBC005_v1_images/.htaccess", "deny\n")
    junk(root)
    return Truth([pair for index, pair in enumerate(pairs) if index != 4], grey=True)


def bbbc039(root: Path) -> Truth:
    """BBBC039: images/x_s1_w1051DAA7C.tif (16 bit), masks/x.png with objects in bands, metadata/training.txt."""
    pairs = []
    for index, (image, mask) in enumerate([cells(index) for index in range(6)]):
        stem = f"IXMtest_A02_s{index + 1}_w1051DAA7C-7042-435F-99F0-1E847D9B42C{index}"
        flat = image.mean(2).astype(np.uint16) * 16
        put(root / f"images/{stem}.tif", flat)
        put(
            root / f"masks/{stem}.png", np.dstack([numbered(mask).astype(np.uint8), mask * 0, mask * 0, mask * 0 + 255])
        )
        pairs.append((flat[..., None], mask))
    text(
        root / "metadata/training.txt",
        "".join(f"IXMtest_A02_s{i + 1}_w1051DAA7C-7042-435F-99F0-1E847D9B42C{i}.png\n" for i in range(4)),
    )
    text(
        root / "metadata/validation.txt",
        "".join(f"IXMtest_A02_s{i + 1}_w1051DAA7C-7042-435F-99F0-1E847D9B42C{i}.png\n" for i in (4, 5)),
    )
    return Truth(pairs, splits={"train": 4, "val": 2})


def bccd_masks(root: Path) -> Truth:
    """Blood cells with masks: train/original/x.png, train/mask/x.png, test the same."""
    pairs = scenes(7)
    for index, (image, mask) in enumerate(pairs):
        home, stem = root / f"BCCD Dataset with mask/{split_of(index, train=5, test=2)}", f"0{index}a1b2-{index}.png"
        put(home / f"original/{stem}", image)
        put(home / f"mask/{stem}", mask * 255)
    return Truth(pairs, splits={"train": 5, "test": 2})


def nuclei_tnbc(root: Path) -> Truth:
    """TNBC nuclei: Slide_01/01_1.png with GT_01/01_1.png, a folder for each patient."""
    pairs = scenes(7)
    for index, (image, mask) in enumerate(pairs):
        patient, number = divmod(index, 3)
        put(root / f"TNBC_NucleiSegmentation/Slide_{patient + 1:02}/{patient + 1:02}_{number + 1}.png", image)
        put(root / f"TNBC_NucleiSegmentation/GT_{patient + 1:02}/{patient + 1:02}_{number + 1}.png", mask * 255)
    return Truth(pairs)


def consep(root: Path) -> Truth:
    """CoNSeP: Train/Images/train_1.png, Train/Labels/train_1.mat (inst_map, type_map, ...), Overlay."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        home = root / ("Train" if index < 4 else "Test")
        stem = f"{home.name.lower()}_{index % 4 + 1}"
        put(home / f"Images/{stem}.png", image)
        painted = image.copy()
        painted[np.roll(mask, 1, 0) != mask] = (255, 255, 0)
        put(home / f"Overlay/{stem}.png", painted)
        (home / "Labels").mkdir(exist_ok=True)
        content = {"inst_map": numbered(mask).astype(float), "type_map": mask.astype(float)}
        content |= {"inst_type": np.array([[1.0], [2.0]]), "inst_centroid": np.array([[3.0, 4.0], [5.0, 6.0]])}
        savemat(home / f"Labels/{stem}.mat", content)
    return Truth(pairs, splits={"train": 4, "test": 2})


def cell_tracking(root: Path) -> Truth:
    """Cell Tracking Challenge: 01/t000.tif, 01_GT/SEG/man_seg000.tif for some frames, 01_GT/TRA, 02 the same."""
    pairs = []
    for index, (image, mask) in enumerate([cells(index) for index in range(8)]):
        video, frame = f"0{index // 4 + 1}", index % 4
        put(root / f"DIC-C2DH-HeLa/{video}/t{frame:03}.tif", grey(image))
        put(root / f"DIC-C2DH-HeLa/{video}_GT/TRA/man_track{frame:03}.tif", numbered(np.roll(mask, 3, 0)))
        if frame != 2:
            put(root / f"DIC-C2DH-HeLa/{video}_GT/SEG/man_seg{frame:03}.tif", numbered(mask))
            pairs.append((image, mask))
        text(root / f"DIC-C2DH-HeLa/{video}_GT/TRA/man_track.txt", "1 0 3 0\n")
    return Truth(pairs, grey=True)


def herlev(root: Path) -> Truth:
    """Herlev smears: carcinoma_in_situ/149143370-149143378-001.BMP with ...-001-d.bmp in colours."""
    pairs = scenes(6, 3)
    for index, (image, mask) in enumerate(pairs):
        home, stem = (
            root / f"New database pictures/{('carcinoma_in_situ', 'normal_columnar')[index // 3]}",
            f"1491{index}3370-149143378-00{index + 1}",
        )
        put(home / f"{stem}.BMP", image)
        put(home / f"{stem}-d.bmp", colours(mask, "#800000", "#0000ff", "#000080"))
    return Truth(pairs)


def mitochondria(root: Path) -> Truth:
    """EPFL mitochondria: training.tif, training_groundtruth.tif, testing.tif, testing_groundtruth.tif as stacks."""
    import tifffile

    pairs = scenes(6)
    root.mkdir(parents=True)
    for split, own in (("training", pairs[:4]), ("testing", pairs[4:])):
        tifffile.imwrite(root / f"{split}.tif", np.stack([grey(image) for image, _ in own]), photometric="minisblack")
        tifffile.imwrite(
            root / f"{split}_groundtruth.tif", np.stack([mask * 255 for _, mask in own]), photometric="minisblack"
        )
    return Truth(pairs, grey=True, splits={"train": 4, "test": 2})


def monuseg(root: Path) -> Truth:
    """MoNuSeg: "Tissue Images/x.tif", Annotations/x.xml of Aperio ImageScope with a region for each nucleus."""
    pairs = []
    for index in range(4):
        image, mask = scene(index)
        mask[:] = 0
        mask[10:30, 12:40] = 1
        mask[10:20, 12:20] = 0
        stem = f"TCGA-{('18', '21', '38', '49')[index]}-5592-01Z-00-DX1"
        put(root / f"MoNuSeg 2018 Training Data/Tissue Images/{stem}.tif", image)
        corners = "".join(
            f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in ((20, 10), (40, 10), (40, 30), (12, 30), (12, 20), (20, 20))
        )
        content = (
            '<?xml version="1.0"?><Annotations MicronsPerPixel="0.252"><Annotation Id="1" Name="" ReadOnly="0" '
            'Type="4" LineColor="255"><Attributes><Attribute Name="Description" Id="0" Value=""/></Attributes>'
            '<Regions><RegionAttributeHeaders/><Region Id="1" Type="0" Zoom="1" Selected="0"><Attributes/>'
            f"<Vertices>{corners}</Vertices></Region></Regions><Plots/></Annotation></Annotations>"
        )
        text(root / f"MoNuSeg 2018 Training Data/Annotations/{stem}.xml", content)
        pairs.append((image, mask))
    return Truth(pairs)

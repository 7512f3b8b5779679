"""The other side of `readers.py`: masks drawn by the field's own libraries, each in an environment of its own.

    PEER/bin/python benchmarks/peers/readers_side.py PEER FORMAT FOLDER

Knows nothing of Maskwright. Reads the data set in FOLDER as its library does, and writes FOLDER.PEER.npz with one
array for each image, 0 for background; or, where the peer writes the files (GeoTIFF, NIfTI), FOLDER itself and what it
reads from it. Of objects that overlap, larger ones (COCO, YOLO) or earlier ones (the others) lie below.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HEIGHT, WIDTH = 24, 32
Masks = dict[str, np.ndarray]


def coco(folder: Path) -> Masks:
    """pycocotools: `annToMask`."""
    from pycocotools.coco import COCO

    data = COCO(str(folder / "annotations.json"))
    masks = {}
    for image in data.dataset["images"]:
        mask = np.zeros((image["height"], image["width"]), np.int32)
        annotations = data.loadAnns(data.getAnnIds(image["id"]))
        for annotation in sorted(annotations, key=lambda item: -item["area"]):
            mask[data.annToMask(annotation) > 0] = annotation["category_id"]
        masks[image["file_name"][:-4]] = mask
    return masks


def datumaro(folder: Path, name: str) -> Masks:
    """Datumaro's importers, its masks as they are and its polygons through pycocotools, as its own transform does."""
    import datumaro as dm
    from pycocotools import mask as tools

    data = dm.Dataset.import_from(str(folder), {"cvat": "cvat", "voc": "voc_segmentation"}[name])
    masks = {}
    for item in data:
        mask = np.zeros((HEIGHT, WIDTH), np.int32)
        for shape in sorted(item.annotations, key=lambda shape: getattr(shape, "z_order", 0)):
            inside: np.ndarray
            if shape.type == dm.AnnotationType.mask:
                inside = shape.image > 0
            elif shape.type == dm.AnnotationType.polygon:
                inside = tools.decode(tools.frPyObjects([list(shape.points)], HEIGHT, WIDTH))[..., 0] > 0
            elif shape.type == dm.AnnotationType.bbox:
                x, y, right, bottom = shape.points
                inside = tools.decode(tools.frPyObjects([[x, y, right, y, right, bottom, x, bottom]], HEIGHT, WIDTH))[
                    ..., 0
                ].astype(bool)
            else:
                continue
            mask[inside] = shape.label + (0 if name == "voc" else 1)
        masks[item.id] = mask
    return masks


def labelme(folder: Path) -> Masks:
    """Labelme's published rule (`labelme.utils.shape_to_mask`): Pillow's polygons, outlines included."""
    from PIL import Image, ImageDraw

    masks = {}
    names = ["a", "b", "c"]
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        mask = np.zeros((content["imageHeight"], content["imageWidth"]), np.int32)
        for shape in content["shapes"]:
            picture = Image.new("1", mask.shape[::-1])
            corners = [tuple(point) for point in shape["points"]]
            draw = ImageDraw.Draw(picture)
            if shape["shape_type"] == "rectangle":
                draw.rectangle([min(corners), max(corners)], outline=1, fill=1)
            elif shape["shape_type"] == "circle":
                (x, y), (u, v) = corners
                radius = ((x - u) ** 2 + (y - v) ** 2) ** 0.5
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=1, fill=1)
            else:
                draw.polygon(corners, outline=1, fill=1)
            mask[np.array(picture)] = names.index(shape["label"]) + 1
        masks[path.stem] = mask
    return masks


def yolo(folder: Path) -> Masks:
    """Ultralytics' published rule (`ops.polygons2masks_overlap`): OpenCV's `fillPoly` of whole numbers."""
    import cv2

    masks = {}
    for path in sorted((folder / "labels").glob("*.txt")):
        mask = np.zeros((HEIGHT, WIDTH), np.int32)
        layers = []
        for line in path.read_text().splitlines():
            number, *places = line.split()
            corners = np.array(places, np.float32).reshape(-1, 2) * (WIDTH, HEIGHT)
            inside = np.zeros((HEIGHT, WIDTH), np.uint8)
            cv2.fillPoly(inside, [corners.astype(np.int32)], color=1)
            layers.append((int(inside.sum()), int(number) + 1, inside > 0))
        for _, value, where in sorted(layers, key=lambda layer: -layer[0]):
            mask[where] = value
        masks[path.stem] = mask
    return masks


def labelstudio(folder: Path) -> Masks:
    """label-studio-sdk: `converter.brush.decode_rle`."""
    from label_studio_sdk.converter.brush import decode_rle

    masks = {}
    for task in json.loads((folder / "export.json").read_text()):
        mask = np.zeros((HEIGHT, WIDTH), np.int32)
        for region in task["annotations"][0]["result"]:
            opacity = decode_rle(region["value"]["rle"]).reshape(HEIGHT, WIDTH, 4)[..., 3]
            mask[opacity > 0] = "abc".index(region["value"]["brushlabels"][0]) + 1
        masks[Path(task["data"]["image"]).stem] = mask
    return masks


def labelstudio_write(folder: Path) -> Masks:
    """Brush masks as label-studio-sdk encodes them (`mask2rle`), of the masks in FOLDER/masks.npz."""
    from label_studio_sdk.converter.brush import mask2rle

    tasks: list[dict[str, Any]] = []
    masks: Masks = dict(np.load(folder / "masks.npz"))
    for name, mask in masks.items():
        result = [
            {
                "id": f"{name}-{value}",
                "type": "brushlabels",
                "original_width": WIDTH,
                "original_height": HEIGHT,
                "value": {
                    "format": "rle",
                    "rle": mask2rle(np.uint8(mask == value) * 255),
                    "brushlabels": ["abc"[value - 1]],
                },
            }
            for value in (1, 2, 3)
            if (mask == value).any()
        ]
        tasks.append(
            {"id": len(tasks), "data": {"image": f"/data/upload/1/{name}.png"}, "annotations": [{"result": result}]}
        )
    (folder / "export.json").write_text(json.dumps(tasks))
    return labelstudio(folder)


def geojson(folder: Path) -> Masks:
    """rasterio: `features.rasterize`."""
    from rasterio.features import rasterize

    masks = {}
    for path in sorted((folder / "labels").glob("*.geojson")):
        features = json.loads(path.read_text())["features"]
        pairs = [(item["geometry"], "abc".index(item["properties"]["class"]) + 1) for item in features]
        drawn = rasterize(pairs, out_shape=(HEIGHT, WIDTH)) if pairs else np.zeros((HEIGHT, WIDTH))
        masks[path.stem] = drawn.astype(np.int32)
    return masks


def geotiff(folder: Path) -> Masks:
    """Rasterio writes the masks of FOLDER/masks.npz in many ways, and reads them; -1 where it says "no data"."""
    import rasterio
    from rasterio.transform import from_origin

    kinds: list[dict[str, Any]] = [
        {"dtype": "uint8"},
        {"dtype": "uint8", "compress": "lzw", "tiled": True, "blockxsize": 16, "blockysize": 16},
        {"dtype": "uint16", "compress": "deflate", "predictor": 2},
        {"dtype": "int16", "nodata": -9999, "compress": "packbits"},
        {"dtype": "int32", "compress": "zstd", "nodata": -1},
        {"dtype": "float32", "compress": "deflate", "predictor": 3, "nodata": float("nan")},
        {"dtype": "uint8", "nbits": 2},
        {"dtype": "uint8", "nodata": 255, "interleave": "pixel", "bigtiff": "YES"},
    ]
    masks: Masks = {}
    (folder / "masks").mkdir(exist_ok=True)
    for place, (name, mask) in enumerate(np.load(folder / "masks.npz").items()):
        options = kinds[place % len(kinds)]
        values = mask.astype(options["dtype"])
        hole = np.zeros(mask.shape, bool)
        if "nodata" in options:
            hole[3:7, 5:9] = True
            values[hole] = options["nodata"]
        path = folder / "masks" / f"{name}.tif"
        shape = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 1}
        place_on_map = {"crs": "EPSG:32632", "transform": from_origin(5e5, 5e6, 2, 2)}
        with rasterio.open(path, "w", **shape, **place_on_map, **options) as file:
            file.write(values, 1)
        with rasterio.open(path) as file:
            read = file.read(1)
            there = file.read_masks(1) > 0
        masks[name] = np.where(there, np.nan_to_num(read), -1).astype(np.int32)
    return masks


def nifti(folder: Path, name: str) -> Masks:
    """Nibabel or SimpleITK write volumes of the masks in FOLDER/masks.npz, eight slices each, and read them again."""
    slices = list(np.load(folder / "masks.npz").values())
    masks: Masks = {}
    (folder / "masks").mkdir(exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    types = ["uint8", "int16", "uint16", "int32", "float32", "float64"]
    for place in range(len(slices) // 8):
        volume = np.stack(slices[place * 8 : place * 8 + 8]).astype(types[place % len(types)])
        for where, values in (("masks", volume), ("images", (volume * 7 + place).astype(np.int16))):
            path = folder / where / f"v{place:02}{'.nii' if place % 2 else '.nii.gz'}"
            if name == "nibabel":
                nibabel: Any = importlib.import_module("nibabel")
                turned = np.diag([-1.0, -1.0, 2.0, 1.0]) if place % 3 else np.eye(4)
                nibabel.save(nibabel.Nifti1Image(values.transpose(2, 1, 0), turned, dtype=values.dtype), path)
                read = np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0)
            else:
                import SimpleITK

                image = SimpleITK.GetImageFromArray(values)
                image.SetSpacing((0.5, 0.5, 2.0))
                SimpleITK.WriteImage(image, str(path))
                read = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
            if where == "masks":
                masks |= {f"v{place:02}-{page:03}": part.astype(np.int32) for page, part in enumerate(read)}
    return masks


PEERS: dict[tuple[str, str], Callable[[Path], Masks]] = {
    ("pycocotools", "coco"): coco,
    ("datumaro", "cvat"): lambda folder: datumaro(folder, "cvat"),
    ("datumaro", "voc"): lambda folder: datumaro(folder, "voc"),
    ("labelme", "labelme"): labelme,
    ("ultralytics", "yolo"): yolo,
    ("label-studio-sdk", "labelstudio"): labelstudio_write,
    ("rasterio", "geojson"): geojson,
    ("rasterio", "geotiff"): geotiff,
    ("nibabel", "nifti"): lambda folder: nifti(folder, "nibabel"),
    ("SimpleITK", "nifti"): lambda folder: nifti(folder, "SimpleITK"),
}

if __name__ == "__main__":
    peer, kind, place = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    drawn: dict[str, Any] = PEERS[peer, kind](place)
    np.savez(f"{place}.{peer}.npz", **drawn)

"""Small files that stand for far more than a memory holds: each is to be refused, quickly and cheaply.

    python benchmarks/bombs.py [--only NAME ...] [--json FILE] [--gib 0.5]

An image of 60,000 x 60,000 pixels in 3 MB, and its kin in every format that is read: headers that lie, tiles and frames
whose own headers say otherwise, archives and streams that yield thousands of times their length, shapes and masks
larger than any image. Each is read in a process of its own, in which one picture may take `--gib` of memory (see
`MASKWRIGHT_MAX_IMAGE_GIB` in docs/data.md), so that the table does not depend on the machine's. A row a bomb:
what it was answered with, seconds from the call to the answer (libraries are imported before), and the memory above
what the program itself has. Exit status 1 if one is not refused by an explained error within `SECONDS` and `MIB`.
"""

# ruff: noqa: D103 - the names of bombs say what they are

from __future__ import annotations

import argparse
import base64
import gzip
import io
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

SIDE = 60_000
SECONDS, MIB = 2.0, 300
SMALL = np.arange(64, dtype=np.uint8).reshape(8, 8)

READ = """
import json, resource, sys, time
from pathlib import Path
from maskwright import open_dataset
from maskwright.errors import MaskwrightError
from maskwright.imaging.images import read_image, read_mask, read_shape
import h5py, imagecodecs, nibabel, nrrd, pydicom, rasterio.features, scipy.io, yaml
import maskwright.imaging.tiffs, maskwright.datasets.formats

path = Path(sys.argv[1])

def everything():
    if path.is_dir():
        data = open_dataset(path)
        for sample in data.samples:
            data.read(sample)
    else:
        read_shape(path)
        read_mask(path)

def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) / 1024

before, start, answer = peak(), time.perf_counter(), "read"
try:
    everything()
except MaskwrightError as error:
    answer = f"{type(error).__name__}: {error}"
print(json.dumps({"answer": answer, "seconds": time.perf_counter() - start, "mib": peak() - before}))
"""

BOMBS: dict[str, Callable[[Path], Path]] = {}
Writer = Callable[[Path], Path]


def bomb(suffix: str) -> Callable[[Callable[[], bytes]], Writer]:
    """Note a function that makes a file's content, under its name."""

    def note(make: Callable[[], bytes]) -> Writer:
        def write(folder: Path) -> Path:
            path = folder / f"a{suffix}"
            path.write_bytes(make())
            return path

        BOMBS[make.__name__] = write
        return write

    return note


def bombs(folder_writer: Writer) -> Writer:
    """Note a function that writes a file or a data set into a folder."""
    BOMBS[folder_writer.__name__] = folder_writer
    return folder_writer


def zeros(count: int, wbits: int = zlib.MAX_WBITS) -> bytes:
    """What zlib makes of so many zeros, without making them: one block stands for all."""
    block = 2**20
    packer = zlib.compressobj(9, wbits=-15)
    first = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    rest = zlib.compressobj(9, wbits=-15)
    body = first * (count // block) + rest.compress(bytes(count % block)) + rest.flush()
    if wbits < 0:
        return body
    if wbits > zlib.MAX_WBITS:
        return b"\x1f\x8b\x08" + bytes(6) + b"\x03" + body + struct.pack("<II", 0, count % 2**32)
    return b"\x78\xda" + body + struct.pack(">I", (count % 65521) << 16 | 1)


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of(side: int, depth: int = 8, color: int = 0, *between: bytes) -> bytes:
    """A whole PNG of black pixels."""
    header = struct.pack(">IIBBBBB", side, side, depth, color, 0, 0, 0)
    row = 1 + (side * depth * (3 if color == 2 else 1) + 7) // 8
    parts = [chunk(b"IHDR", header), *between, chunk(b"IDAT", zeros(side * row)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(kind: str, array: np.ndarray = SMALL, **options: Any) -> bytes:
    """A small picture as Pillow writes it."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def jpeg_of(side: int, **options: Any) -> bytes:
    """A JPEG whose header says that it is so large."""
    content = saved("JPEG", **options)
    place = content.index(struct.pack(">BHH", 8, 8, 8))
    return content[:place] + struct.pack(">BHH", 8, side, side) + content[place + 5 :]


def jp2_of(side: int, form: str = "jp2") -> bytes:
    """A JPEG 2000 file whose headers say that it is so large."""
    content = bytes(imagecodecs.jpeg2k_encode(SMALL, codecformat=form))
    return content.replace(struct.pack(">II", 8, 8), struct.pack(">II", side, side))


@bomb(".png")
def png() -> bytes:
    return png_of(SIDE)


@bomb(".png")
def png_of_bits() -> bytes:
    return png_of(SIDE, 1)


@bomb(".png")
def png_of_a_palette() -> bytes:
    return png_of(SIDE, 8, 3, chunk(b"PLTE", bytes(6)))


@bomb(".png")
def png_of_16_bits() -> bytes:
    return png_of(SIDE, 16)


@bomb(".jpg")
def jpeg() -> bytes:
    return jpeg_of(SIDE)


@bomb(".jpg")
def jpeg_progressive() -> bytes:
    return jpeg_of(SIDE, progressive=True)


@bomb(".bmp")
def bmp() -> bytes:
    content = bytearray(saved("BMP"))
    content[18:26] = struct.pack("<ii", SIDE, SIDE)
    return bytes(content)


@bomb(".gif")
def gif() -> bytes:
    content = bytearray(saved("GIF"))
    content[6:10] = struct.pack("<HH", SIDE, SIDE)
    return bytes(content)


@bomb(".gif")
def gif_of_a_large_frame() -> bytes:
    content = saved("GIF")
    return content.replace(struct.pack("<BHHHH", 0x2C, 0, 0, 8, 8), struct.pack("<BHHHH", 0x2C, 0, 0, SIDE, SIDE))


@bomb(".webp")
def webp() -> bytes:
    content = bytearray(saved("WEBP", lossless=True))
    content[21:25] = struct.pack("<I", 16382 | 16382 << 14)  # VP8L has 14 bits for a side
    return bytes(content)


@bomb(".pgm")
def pgm() -> bytes:
    return b"P5 %d %d 255\n" % (SIDE, SIDE) + bytes(1000)


@bomb(".ppm")
def ppm_as_text() -> bytes:
    return b"P3 %d %d 255\n" % (SIDE, SIDE) + b"0 " * 1000


@bomb(".pbm")
def pbm() -> bytes:
    return b"P4 %d %d\n" % (SIDE, SIDE) + bytes(1000)


@bomb(".jp2")
def jpeg2000() -> bytes:
    return jp2_of(SIDE)


@bomb(".j2k")
def jpeg2000_codestream() -> bytes:
    return jp2_of(SIDE, "j2k")


@bomb(".jp2")
def jpeg2000_whose_box_lies() -> bytes:
    content = jp2_of(SIDE)
    return content.replace(b"ihdr" + struct.pack(">II", SIDE, SIDE), b"ihdr" + struct.pack(">II", 8, 8))


def tiff_of(tile: bytes, tags: str, *, side: int, edge: int, **options: Any) -> bytes:
    """A TIFF of equal tiles; `tags` are set afterwards: "compression=7"."""
    file = io.BytesIO()
    count = math.ceil(side / edge) ** 2
    tifffile.imwrite(
        file, iter([tile] * count), shape=(side, side), dtype=np.uint8, tile=(edge, edge), compression="zlib",
        photometric="minisblack", **options,
    )  # fmt: skip
    content = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(content)) as tif:
        places = {tag.name: (tag.valueoffset, {3: "<H", 4: "<I"}[tag.dtype]) for tag in tif.pages.first.tags.values()
                  if tag.dtype in (3, 4)}  # fmt: skip
    for name, value in (tag.split("=") for tag in tags.split()):
        place, kind = places[name]
        struct.pack_into(kind, content, place, int(value))
    return bytes(content)


@bomb(".tif")
def tiff_of_tiles() -> bytes:
    return tiff_of(zeros(4096 * 4096), "", side=SIDE, edge=4096)


@bomb(".tif")
def tiff_of_one_strip() -> bytes:
    file = io.BytesIO()
    strip = zeros(SIDE * SIDE)
    tifffile.imwrite(
        file, iter([strip]), shape=(SIDE, SIDE), dtype=np.uint8, rowsperstrip=SIDE, compression="zlib",
        photometric="minisblack",
    )  # fmt: skip
    return file.getvalue()


@bomb(".tif")
def tiff_of_a_large_tile() -> bytes:
    return tiff_of(zeros(SIDE * SIDE), f"TileWidth={SIDE - SIDE % 16} TileLength={SIDE - SIDE % 16}", side=16, edge=16)


@bomb(".tif")
def tiff_whose_tile_yields_more() -> bytes:
    return tiff_of(zeros(SIDE * SIDE), "", side=16, edge=16)


@bomb(".tif")
def tiff_of_a_jpeg() -> bytes:
    return tiff_of(jpeg_of(SIDE), "Compression=7", side=16, edge=16)


@bomb(".tif")
def tiff_of_a_jpeg2000() -> bytes:
    return tiff_of(jp2_of(SIDE), "Compression=34712", side=16, edge=16)


@bomb(".tif")
def tiff_of_a_png() -> bytes:
    return tiff_of(png_of(SIDE), "Compression=34933", side=16, edge=16)


@bomb(".tif")
def tiff_of_a_jpeg_xl() -> bytes:
    bits = 0 | 3 << 1 | (SIDE - 1) << 3 | 1 << 33  # a side of 30 bits; the width is as large
    return tiff_of(b"\xff\x0a" + bits.to_bytes(8, "little") + bytes(50), "Compression=50002", side=16, edge=16)


@bombs
def tiff_read_by_windows(folder: Path) -> Path:
    for room in ("images", "masks"):
        (folder / room).mkdir()
        (folder / room / "a.tif").write_bytes(tiff_of_one_strip_content())
    return folder


def tiff_of_one_strip_content() -> bytes:
    """As `tiff_of_one_strip`."""
    with tempfile.TemporaryDirectory() as place:
        return tiff_of_one_strip(Path(place)).read_bytes()


def dicom_of(*, side: int = 8, deflated: bytes | None = None, frame: bytes | None = None, syntax: str = "") -> bytes:
    """A DICOM file: plain, deflated, or with a frame that is compressed."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax or pydicom.uid.ExplicitVRLittleEndian)
    meta.MediaStorageSOPClassUID = pydicom.uid.UID("1.2.840.10008.5.1.4.1.1.7")
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID("1.2.3")
    data = FileDataset("a", {}, file_meta=meta, preamble=bytes(128))
    data.Rows = data.Columns = side
    data.SamplesPerPixel, data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 1, 8, 8, 7, 0
    data.PhotometricInterpretation = "MONOCHROME2"
    data.PixelData = bytes(64) if frame is None else encapsulate([frame])
    if frame is not None:
        data["PixelData"].VR = "OB"
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    content = file.getvalue()
    if deflated is None:
        return content
    start = 144 + struct.unpack_from("<I", content, 140)[0]  # the first element says how long its group is
    return content[:start] + deflated


@bomb(".dcm")
def dicom() -> bytes:
    return dicom_of(side=SIDE)


@bomb(".dcm")
def dicom_deflated() -> bytes:
    return dicom_of(deflated=zeros(SIDE * SIDE, -15), syntax="1.2.840.10008.1.2.1.99")


@bomb(".dcm")
def dicom_of_a_jpeg() -> bytes:
    return dicom_of(frame=jpeg_of(SIDE), syntax="1.2.840.10008.1.2.4.50")


@bomb(".dcm")
def dicom_of_a_jpeg2000() -> bytes:
    return dicom_of(frame=jp2_of(SIDE, "j2k"), syntax="1.2.840.10008.1.2.4.90")


@bombs
def npy(folder: Path) -> Path:
    with (folder / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (SIDE, SIDE)})
        file.truncate(file.tell() + SIDE * SIDE)  # a sparse file
    return folder / "a.npy"


def npz_of(header: bytes, yields: int) -> bytes:
    """An archive of one array, which begins with a header, and zeros."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w", force_zip64=True) as member,
    ):
        member.write(header)
        for _ in range(yields // 2**24):
            member.write(bytes(2**24))
    return file.getvalue()


def npy_header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    """The header of an array."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


@bomb(".npz")
def npz() -> bytes:
    return npz_of(npy_header((SIDE, SIDE)), SIDE * SIDE // 4)


@bomb(".npz")
def npz_of_a_long_header() -> bytes:
    return npz_of(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31), 2**30)


@bomb(".npz")
def npz_of_large_values() -> bytes:
    return npz_of(npy_header((8, 8), f"|V{2**26}"), 2**28)


@bomb(".mat")
def matlab() -> bytes:
    dims = struct.pack("<IIii", 5, 8, SIDE, SIDE)
    inner = (
        struct.pack("<IIII", 6, 8, 9, 0) + dims + struct.pack("<HH4s", 1, 1, b"a") + struct.pack("<II", 2, SIDE * SIDE)
    )
    packer = zlib.compressobj(9, wbits=-15)
    start = packer.compress(struct.pack("<II", 14, SIDE * SIDE + 48) + inner) + packer.flush(zlib.Z_FULL_FLUSH)
    body = b"\x78\xda" + start + zeros(SIDE * SIDE, -15) + bytes(4)
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(body)) + body


@bombs
def hdf5(folder: Path) -> Path:
    import h5py

    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("image", (SIDE, SIDE), np.uint8, chunks=(1024, 1024), compression="gzip")
    return folder / "a.h5"


def nifti_of(side: int, offset: float = 352) -> bytes:
    """A NIfTI header: int16 dimensions, float32 offset of the pixels."""
    header = bytearray(352)
    header[:4] = struct.pack("<i", 348)
    header[40:56] = struct.pack("<8h", 2, side, side, 1, 1, 1, 1, 1)
    header[70:74] = struct.pack("<hh", 2, 8)
    header[76:108] = struct.pack("<8f", *[1] * 8)
    header[108:112] = struct.pack("<f", offset)
    header[344:348] = b"n+1\0"
    return bytes(header)


@bomb(".nii")
def nifti() -> bytes:
    return nifti_of(32_000)


@bomb(".nii.gz")
def nifti_packed() -> bytes:
    return gzip.compress(nifti_of(32_000)) + zeros(SIDE * SIDE, 31)


@bomb(".nii.gz")
def nifti_of_a_long_header() -> bytes:
    start = nifti_of(8, 2.0**31)[:348] + b"\1\0\0\0" + struct.pack("<ii", 2**31 - 16, 6)
    return gzip.compress(start) + zeros(2**31, 31)


@bomb(".nrrd")
def nrrd() -> bytes:
    return b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: %d %d\nencoding: gzip\n\n" % (SIDE, SIDE) + zeros(
        SIDE * SIDE, 31
    )


@bomb(".nrrd")
def nrrd_that_yields_more() -> bytes:
    return b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 8 8\nencoding: gzip\n\n" + zeros(SIDE * SIDE, 31)


def folder_of(folder: Path, annotations: dict[str, Any], *, name: str = "a.png") -> Path:
    """A small image beside files of annotations."""
    image = folder / name
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(saved("PNG", np.zeros((8, 8, 3), np.uint8)))
    for path, content in annotations.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def coco_of(segmentation: Any, side: int = SIDE, categories: int = 1) -> dict[str, Any]:
    """COCO's annotations of one image."""
    return {
        "images": [{"id": 1, "file_name": "a.png", "height": side, "width": side}],
        "categories": [{"id": k + 1, "name": f"c{k}"} for k in range(categories)],
        "annotations": [{"image_id": 1, "category_id": 1, "segmentation": segmentation}],
    }


@bombs
def coco_of_a_large_image(folder: Path) -> Path:
    (folder / "a.json").write_text(json.dumps(coco_of([[0, 0, SIDE, 0, SIDE, SIDE]])))
    (folder / "a.png").write_bytes(png_of(SIDE))
    return folder


@bombs
def coco_of_run_lengths(folder: Path) -> Path:
    (folder / "a.png").write_bytes(png_of(SIDE))
    content = coco_of({"size": [SIDE, SIDE], "counts": [0, SIDE * SIDE]})
    (folder / "a.json").write_text(json.dumps(content))
    return folder


@bombs
def coco_of_many_crossings(folder: Path) -> Path:
    side = 4000
    ring = [value for k in range(100_000) for value in (k % 40 * 100, side * (k % 2))]
    (folder / "a.json").write_text(json.dumps(coco_of([ring], side)))
    (folder / "a.png").write_bytes(png_of(side))
    return folder


@bombs
def coco_of_many_classes(folder: Path) -> Path:
    return folder_of(folder, {"a.json": coco_of([[0, 0, 4, 0, 4, 4]], 8, 100_000)})


def labelme_of(shape: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A Labelme file of one shape."""
    return {"shapes": [{"label": "a"} | shape], "imagePath": "a.png", "imageHeight": 8, "imageWidth": 8} | more


@bombs
def labelme_of_a_mask(folder: Path) -> Path:
    mask = base64.b64encode(png_of(SIDE)).decode()
    return folder_of(folder, {"a.json": labelme_of({"shape_type": "mask", "points": [[0, 0], [7, 7]], "mask": mask})})


@bombs
def labelme_of_a_picture(folder: Path) -> Path:
    shape = {"shape_type": "polygon", "points": [[0, 0], [4, 0], [4, 4]]}
    data = base64.b64encode(png_of(SIDE)).decode()
    content = labelme_of(shape, imageData=data, imagePath="b.png", imageHeight=SIDE, imageWidth=SIDE)
    (folder / "a.json").write_text(json.dumps(content))
    return folder


def supervisely_of(folder: Path, entry: dict[str, Any]) -> Path:
    """A Supervisely project of one object."""
    meta = {"classes": [{"title": "a", "shape": "any", "color": "#ff0000"}]}
    content = {"size": {"height": 8, "width": 8}, "objects": [{"classTitle": "a"} | entry]}
    return folder_of(folder, {"meta.json": meta, "d/ann/a.png.json": content}, name="d/img/a.png")


@bombs
def supervisely_of_a_bitmap(folder: Path) -> Path:
    data = base64.b64encode(zeros(2**32)).decode()
    return supervisely_of(folder, {"geometryType": "bitmap", "bitmap": {"origin": [0, 0], "data": data}})


@bombs
def supervisely_of_a_picture(folder: Path) -> Path:
    data = base64.b64encode(zlib.compress(png_of(SIDE))).decode()
    return supervisely_of(folder, {"geometryType": "bitmap", "bitmap": {"origin": [0, 0], "data": data}})


@bombs
def supervisely_of_a_large_polygon(folder: Path) -> Path:
    ring = [[0, 0], [SIDE, 0], [SIDE, SIDE]]
    return supervisely_of(folder, {"geometryType": "polygon", "points": {"exterior": ring, "interior": []}})


@bombs
def cvat_of_run_lengths(folder: Path) -> Path:
    mask = f'<mask label="a" rle="0, {SIDE * SIDE}" left="0" top="0" width="{SIDE}" height="{SIDE}"/>'
    labels = "<meta><task><labels><label><name>a</name></label></labels></task></meta>"
    image = f'<image id="0" name="a.png" width="8" height="8">{mask}</image>'
    text = f"<annotations><version>1.1</version>{labels}{image}</annotations>"
    return folder_of(folder, {"annotations.xml": text})


@bombs
def cvat_of_entities(folder: Path) -> Path:
    entities = "".join(f'<!ENTITY e{k} "{f"&e{k - 1};" * 10 if k else "lol" * 1000}">' for k in range(10))
    text = f"<?xml version='1.0'?><!DOCTYPE annotations [{entities}]><annotations><version>&e9;</version></annotations>"
    return folder_of(folder, {"annotations.xml": text})


@bombs
def yolo_of_aliases(folder: Path) -> Path:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 12)]
    text = "\n".join([*lines, "train: images/train", "names: *a11", ""])
    files = {"data.yaml": text, "labels/train/a.txt": "0 0.1 0.1 0.5 0.1 0.5 0.5\n"}
    return folder_of(folder, files, name="images/train/a.png")


@bombs
def run_lengths_of_a_large_image(folder: Path) -> Path:
    (folder / "train").mkdir()
    (folder / "train" / "a.png").write_bytes(png_of(SIDE))
    (folder / "train.csv").write_text(f"ImageId,EncodedPixels\na.png,1 {SIDE * SIDE}\n")
    return folder


@bombs
def class_table_of_many_classes(folder: Path) -> Path:
    for room in ("images", "masks"):
        (folder / room).mkdir()
        (folder / room / "a.png").write_bytes(saved("PNG"))
    table = "".join(f'[[class]]\nname = "c{k}"\nvalue = {k}\n' for k in range(20_000))
    (folder / "classes.toml").write_text(table)
    return folder


def answered(name: str, gib: float) -> dict[str, Any]:
    """What a process of its own answers to a bomb."""
    with tempfile.TemporaryDirectory(prefix="bomb-") as place:
        path = BOMBS[name](Path(place))
        size = sum(file.stat().st_blocks * 512 for file in Path(place).rglob("*") if file.is_file())
        environment = os.environ | {"MASKWRIGHT_MAX_IMAGE_GIB": str(gib)}
        command = [sys.executable, "-c", READ, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
        last = done.stdout.strip().splitlines()
        if done.returncode or not last:
            found = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
            return {"bomb": name, "file_mb": size / 1e6, "answer": found, "seconds": 0.0, "mib": 0.0, "right": False}
        row: dict[str, Any] = {"bomb": name, "file_mb": size / 1e6} | json.loads(last[-1])
        row["answer"] = row["answer"].replace(place, "")
        row["right"] = row["answer"] != "read" and row["seconds"] <= SECONDS and row["mib"] <= MIB
        return row


def main() -> int:
    """Try all bombs, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="names of bombs")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--gib", type=float, default=0.5, help="memory that one picture may take")
    options = parser.parse_args()
    rows = []
    for name in options.only or BOMBS:
        row = answered(name, options.gib)
        rows.append(row)
        sign = "ok " if row["right"] else "NOT"
        print(
            f"{sign} {name:32} {row['file_mb']:6.2f} MB {row['seconds']:6.2f} s {row['mib']:6.0f} MiB  "
            f"{row['answer'][:120]}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{sum(row['right'] for row in rows)} of {len(rows)} refused as they should be")
    return int(not all(row["right"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())

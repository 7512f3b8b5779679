"""Does `maskwright check` find every mistake, name the right file, and stay silent about sound data? How fast is it?

    python benchmarks/audit.py                         # damage generated data in many ways, one at a time
    python benchmarks/audit.py DATA...                 # what it says about these data sets
    python benchmarks/audit.py --time 10000            # 10,000 pairs of 512 x 512 (about 10 GB in --folder)

Each damage is done to a copy of a clean data set. The check has to report it as what it is, for the damaged file, and
nothing else; and nothing at all about the clean sets.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

from maskwright import console
from maskwright.check.audit import Audit, audit, check
from maskwright.datasets.classes import CLASSES_FILE, ClassTable, LabelClass
from maskwright.imaging.writing import write_mask
from maskwright.synthetic import KINDS, class_table, scene, write_dataset

Damage = Callable[[Path, np.random.Generator], list[Path]]
"""Damages a copy of a data set and returns the files that have to be named."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A damage, the data set that suffers it, and the kind of finding that has to come of it."""

    base: str
    kind: str
    do: Damage
    says: str = ""
    """Words that the finding has to contain."""
    also: frozenset[str] = frozenset()
    """Kinds that are true of the damaged files too."""


def images(folder: Path, split: str = "train") -> list[Path]:
    """The images of a split, in order."""
    return sorted((folder / split / "images").iterdir())


def mask_of(image: Path) -> Path:
    """The mask of an image."""
    return image.parent.parent / "masks" / f"{image.stem}.png"


def masks(folder: Path, split: str = "train") -> list[Path]:
    """The masks of a split, in order."""
    return [mask_of(image) for image in images(folder, split)]


def values(mask: Path) -> np.ndarray:
    """The values of a mask file."""
    return np.asarray(Image.open(mask)).copy()


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write pixels as the suffix says."""
    if path.suffix in (".tif", ".tiff"):
        tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig", metadata=None)
    else:
        Image.fromarray(pixels).save(path)
    return path


def pixels_of(image: Path) -> np.ndarray:
    """The pixels of an image file."""
    return tifffile.imread(image) if image.suffix == ".tif" else np.asarray(Image.open(image)).copy()


def change_mask(change: Callable[[np.ndarray], np.ndarray], which: int = 3) -> Damage:
    """Change the values of one mask."""

    def do(folder: Path, rng: np.random.Generator) -> list[Path]:
        path = masks(folder)[which]
        return [save(path, np.ascontiguousarray(change(values(path))))]

    return do


def change_masks(change: Callable[[np.ndarray], np.ndarray], splits: tuple[str, ...] = ("train", "test")) -> Damage:
    """Change the values of all masks."""

    def do(folder: Path, rng: np.random.Generator) -> list[Path]:
        changed = [path for split in splits for path in masks(folder, split)]
        for path in changed:
            save(path, np.ascontiguousarray(change(values(path))))
        return changed

    return do


def change_image(change: Callable[[np.ndarray], np.ndarray], which: int = 4) -> Damage:
    """Change the pixels of one image."""

    def do(folder: Path, rng: np.random.Generator) -> list[Path]:
        path = images(folder)[which]
        return [save(path, np.ascontiguousarray(change(pixels_of(path))))]

    return do


def change_images(change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """Change the pixels of all images."""

    def do(folder: Path, rng: np.random.Generator) -> list[Path]:
        changed = [path for split in ("train", "test") for path in images(folder, split)]
        for path in changed:
            save(path, np.ascontiguousarray(change(pixels_of(path))))
        return changed

    return do


def broken_table(folder: Path, rng: np.random.Generator) -> list[Path]:
    """A class table that is no TOML."""
    path = folder / "classes.toml"
    path.write_text("[[class]\nname =")
    return [path]


def garbage(folder: Path, rng: np.random.Generator) -> list[Path]:
    """An image that is none."""
    path = images(folder)[2]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + rng.bytes(300))
    return [path]


def truncated(path: Path) -> list[Path]:
    """A file of which the second half is missing."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return [path]


def exif(folder: Path, rng: np.random.Generator) -> list[Path]:
    """A photograph that the camera stored on its side, and a mask drawn on it as stored."""
    path = images(folder)[2]
    note = Image.Exif()
    note[0x0112] = 6
    Image.fromarray(pixels_of(path)).save(path.with_suffix(".jpg"), exif=note, quality=95)
    path.unlink()
    return [mask_of(path)]


def color_mask(folder: Path, rng: np.random.Generator) -> list[Path]:
    """A mask of class colours among masks of class indices."""
    path = masks(folder)[3]
    table = ClassTable.load(folder / CLASSES_FILE)
    return [save(path, table.colors[values(path)])]


def jpeg_mask(quality: int, which: int = 3) -> Damage:
    """A mask stored as JPEG under the name of a PNG."""

    def do(folder: Path, rng: np.random.Generator) -> list[Path]:
        path = masks(folder)[which]
        Image.fromarray(values(path)).convert("L").save(path, "JPEG", quality=quality)
        return [path]

    return do


def blocky_jpeg(folder: Path, rng: np.random.Generator) -> list[Path]:
    """A JPEG mask whose edges lie on the blocks of the compression, so that its values survive."""
    path = masks(folder)[3]
    save(path, np.kron(values(path)[4::8, 4::8], np.ones((8, 8), np.uint8)))
    return jpeg_mask(100)(folder, rng)


def through_jpeg(mask: np.ndarray) -> np.ndarray:
    """What a mask becomes that was a JPEG once."""
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


def resized(mask: np.ndarray) -> np.ndarray:
    """What a mask becomes that was reduced and enlarged with smoothing."""
    height, width = mask.shape
    small = cv2.resize(mask, (width * 3 // 4, height * 3 // 4), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def with_a_square(mask: np.ndarray) -> np.ndarray:
    """A mask in which someone drew a value of his own."""
    height, width = mask.shape
    mask[height // 4 : height // 2, width // 4 : width // 2] = 128
    return mask


def unpaired_image(folder: Path, rng: np.random.Generator) -> list[Path]:
    """An image whose mask is missing."""
    path = images(folder)[1]
    mask_of(path).unlink()
    return [path]


def unpaired_mask(folder: Path, rng: np.random.Generator) -> list[Path]:
    """A mask whose image is missing."""
    path = images(folder)[1]
    path.unlink()
    return [mask_of(path)]


def two_files(folder: Path, rng: np.random.Generator) -> list[Path]:
    """A second image of the same stem."""
    path = images(folder)[1]
    return [save(path.with_suffix(".bmp"), pixels_of(path))]


def same_image(folder: Path, rng: np.random.Generator) -> list[Path]:
    """A training image in the test set too, under another name and in another file format."""
    path = images(folder)[5]
    target = folder / "test" / "images" / "another.bmp"
    shutil.copy(mask_of(path), mask_of(target))
    return [path, save(target, pixels_of(path))]


def repeated_image(folder: Path, rng: np.random.Generator) -> list[Path]:
    """A training image twice, the second time in another file format."""
    path = images(folder)[5]
    copy = save(path.with_name("again.bmp"), pixels_of(path))
    shutil.copy(mask_of(path), mask_of(copy))
    return [path, copy]


def near_duplicate(change: Callable[[np.ndarray], np.ndarray], on_mask: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """A changed copy of a training image in the test set."""

    def do(folder: Path, rng: np.random.Generator) -> list[Path]:
        path = images(folder)[5]
        target = folder / "test" / "images" / "another.jpg"
        save(mask_of(target), np.ascontiguousarray(on_mask(values(mask_of(path)))))
        return [path, save(target, np.ascontiguousarray(change(pixels_of(path))))]

    return do


def same_group(folder: Path, rng: np.random.Generator) -> list[Path]:
    """A manifest that puts one patient on both sides of the split."""
    lines, named = ["image,mask,split,group"], []
    for split in ("train", "test"):
        for place, path in enumerate(images(folder, split)):
            group = "patient-x" if place == 1 else f"{split}-{place}"
            named += [path] if place == 1 else []
            mask = mask_of(path).relative_to(folder)
            lines.append(f"{path.relative_to(folder)},{mask},{split},{group}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return named


def everywhere(value: int) -> Callable[[np.ndarray], np.ndarray]:
    """A mask of one value."""
    return lambda mask: np.full_like(mask, value)


def never_labelled(folder: Path, rng: np.random.Generator) -> list[Path]:
    """A class in the table that nobody drew."""
    table = ClassTable.load(folder / CLASSES_FILE)
    extra = LabelClass(name="tram", color=(1, 2, 3), values=(len(table),))
    ClassTable(classes=(*table.classes, extra)).save(folder / CLASSES_FILE)
    return [folder / CLASSES_FILE]


def test_only(folder: Path, rng: np.random.Generator) -> list[Path]:
    """A class that is drawn in the test set only."""
    for path in masks(folder):
        mask = values(path)
        mask[mask == 4] = 2
        save(path, mask)
    return [path for path in masks(folder, "test") if (values(path) == 4).any()]


def rare_class(folder: Path, rng: np.random.Generator) -> list[Path]:
    """A class of a few pixels in one mask."""
    never_labelled(folder, rng)
    path = masks(folder)[2]
    mask = values(path)
    mask[10:13, 10:14] = 7
    return [save(path, mask)]


def swapped(folder: Path, rng: np.random.Generator) -> list[Path]:
    """Two masks exchanged."""
    first, second = masks(folder)[2:4]
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    return [first, second]


def larger(folder: Path, rng: np.random.Generator) -> list[Path]:
    """A pair three times the size of the others."""
    path = images(folder)[4]
    save(mask_of(path), np.kron(values(mask_of(path)), np.ones((3, 3), np.uint8)))
    return [save(path, np.kron(pixels_of(path), np.ones((3, 3, 1), np.uint8)))]


def spotted(share: float, value: int | None) -> Callable[[np.ndarray], np.ndarray]:
    """Scatter single pixels of a value, or of any class, over a mask."""

    def change(mask: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(0)
        where = rng.random(mask.shape) < share
        mask[where] = rng.choice(np.unique(mask), int(where.sum())) if value is None else value
        return mask

    return change


def nan_channel(folder: Path, rng: np.random.Generator) -> list[Path]:
    """A set of floats, and an image whose third channel is NaN."""
    change_images(lambda pixels: pixels.astype(np.float32) / 10000)(folder, rng)
    path = images(folder)[4]
    pixels = pixels_of(path)
    pixels[..., 2] = np.nan
    return [save(path, pixels)]


def sentinels(folder: Path, rng: np.random.Generator) -> list[Path]:
    """A set of floats, several of which hold -9999 at their edge."""
    change_images(lambda pixels: pixels.astype(np.float32) / 10000)(folder, rng)
    damaged = []
    for path in images(folder)[:12]:
        pixels = pixels_of(path)
        pixels[:, :3] = -9999
        damaged.append(save(path, pixels))
    return damaged


def constant_channel(pixels: np.ndarray) -> np.ndarray:
    """A channel of a defective camera."""
    pixels[..., 1] = 17
    return pixels


def shifted(mask: np.ndarray) -> np.ndarray:
    """A mask that lies five rows and eight columns off."""
    return np.pad(mask, ((5, 0), (8, 0)), mode="edge")[:-5, :-8]


def without_table(change: Damage) -> Damage:
    """The same where no class table is declared."""

    def do(folder: Path, rng: np.random.Generator) -> list[Path]:
        (folder / CLASSES_FILE).unlink()
        return change(folder, rng)

    return do


def spaced_values(folder: Path, rng: np.random.Generator) -> list[Path]:
    """Masks of the values 0, 10, 20, ..., and nothing that says what they stand for."""
    change_masks(lambda mask: mask * np.uint8(10))(folder, rng)
    (folder / CLASSES_FILE).unlink()
    return [folder / "train" / "masks"]


def class_255_in_labels(folder: Path, rng: np.random.Generator) -> list[Path]:
    """A class table with a class at 255, beside folders named `label`, where 255 is always unlabelled."""
    table = ClassTable.load(folder / CLASSES_FILE)
    last = replace(table.classes[-1], values=(255,))
    ClassTable(classes=(*table.classes[:-1], last)).save(folder / CLASSES_FILE)
    change_masks(lambda mask: np.where(mask == len(table) - 1, np.uint8(255), mask))(folder, rng)
    for split in ("train", "test"):
        (folder / split / "masks").rename(folder / split / "label")
    return [folder / CLASSES_FILE]


MISPLACED = frozenset({"shifted-mask", "turned-mask", "unrelated-mask", "shifted-masks"})
"""True of masks that are drawn anew, wherever objects lie."""


def two_encodings(folder: Path, rng: np.random.Generator) -> list[Path]:
    """Half of the masks hold 0 and 255 instead of 0 and 1, without a class table."""
    (folder / CLASSES_FILE).unlink()
    for split in ("train", "test"):
        for index, path in enumerate(masks(folder, split)):
            mask = (np.asarray(Image.open(path)) > 0).astype(np.uint8)
            Image.fromarray(mask * np.uint8(255 if index % 2 else 1)).save(path)
    return [folder / "train" / "masks"]


def numbered(folder: Path, rng: np.random.Generator) -> list[Path]:
    """Masks number the objects of each image, without a class table."""
    (folder / CLASSES_FILE).unlink()
    for split in ("train", "test"):
        for index, path in enumerate(masks(folder, split)):
            mask = np.zeros(np.asarray(Image.open(path)).shape[:2], np.uint16)
            for number in range(9 + index % 3):
                y, x = divmod(number, 4)
                mask[8 + 24 * y : 20 + 24 * y, 8 + 24 * x : 20 + 24 * x] = number + 1
            Image.fromarray(mask).save(path)
    return [folder / "train" / "masks"]


def as_labelme(boxes: bool) -> Damage:
    """The masks as Labelme files, of boxes, or with an object that has no area."""

    def damage(folder: Path, rng: np.random.Generator) -> list[Path]:
        for index, image in enumerate(images(folder)):
            height, width = np.asarray(Image.open(image)).shape[:2]
            box = [[2, 2], [width // 2, height // 2]]
            corners = [[2, 2], [width // 2, 3], [width // 3, height // 2]]
            shapes = [{"label": "cell", "points": box if boxes else corners,
                       "shape_type": "rectangle" if boxes else "polygon"}]  # fmt: skip
            if not boxes and index == 1:
                shapes.append({"label": "cell", "points": [[1, 1], [5, 5]], "shape_type": "polygon"})
            text = {"shapes": shapes, "imagePath": image.name, "imageHeight": height, "imageWidth": width}
            image.with_suffix(".json").write_text(json.dumps(text))
        for path in (folder / "train" / "images").iterdir():
            path.rename(folder / path.name)
        for name in ("train", "test", CLASSES_FILE):
            place = folder / name
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        return [folder]

    return damage


def half(pixels: np.ndarray) -> np.ndarray:
    """Every second row and column."""
    return pixels[::2, ::2]


def counted_from_one(folder: Path, rng: np.random.Generator) -> list[Path]:
    """Masks that count classes from 1, without a class table."""
    change_masks(lambda mask: mask + 1)(folder, rng)
    (folder / CLASSES_FILE).unlink()
    return [folder / "train" / "masks"]


CASES: dict[str, Case] = {
    "a broken class table": Case(base="street", kind="unopened", do=broken_table),
    "an image that is none": Case(base="street", kind="unreadable", do=garbage),
    "a truncated image": Case(base="street", kind="unreadable", do=lambda f, _: truncated(images(f)[2])),
    "a truncated TIFF": Case(base="fields", kind="unreadable", do=lambda f, _: truncated(images(f)[2])),
    "a truncated mask": Case(base="street", kind="unreadable", do=lambda f, _: truncated(masks(f)[2])),
    "a mask of half the size": Case(base="street", kind="size-mismatch", do=change_mask(half), says="times 0.5"),
    "a mask with its sides swapped": Case(
        base="street", kind="size-mismatch", do=change_mask(lambda mask: mask.T), says="swapped"
    ),
    "a mask of a photograph on its side": Case(base="street", kind="exif-mismatch", do=exif, says="orientation"),
    "a colour mask": Case(base="street", kind="undeclared-values", do=color_mask, says="colour mask"),
    "a mask off by one": Case(
        base="street", kind="undeclared-values", do=change_mask(lambda mask: mask + 1), says="off by one"
    ),
    "all masks off by one": Case(base="street", kind="off-by-one", do=counted_from_one, says="counted from 1"),
    "an interpolated mask": Case(
        base="binary", kind="undeclared-values", do=change_mask(resized), says="interpolated"
    ),
    "a mask interpolated between classes": Case(
        base="street", kind="interpolated-mask", do=change_mask(resized), says="interpolated"
    ),
    "0/255 with other values": Case(
        base="binary", kind="undeclared-values", do=change_mask(with_a_square), says="0/255 with other values"
    ),
    "0/1 among 0/255": Case(
        base="binary", kind="undeclared-values", do=change_mask(lambda mask: mask // 255), says="0 and 1"
    ),
    "0/255 among 0/1": Case(
        base="cells", kind="undeclared-values", do=change_mask(lambda mask: mask * np.uint8(255)), says="0 and 255"
    ),
    "a JPEG mask": Case(base="binary", kind="undeclared-values", do=jpeg_mask(75), says="JPEG"),
    "a JPEG mask saved as PNG": Case(
        base="binary", kind="undeclared-values", do=change_mask(through_jpeg), says="lossy compression"
    ),
    "a JPEG mask with sound values": Case(base="street", kind="jpeg-mask", do=blocky_jpeg, says="JPEG"),
    "values that could mean anything": Case(
        base="street", kind="undecided-classes", do=spaced_values, says="no classes.toml says what they stand for"
    ),
    "a class at 255 in a label folder": Case(
        base="cells", kind="class-table", do=class_255_in_labels, says="always means unlabelled",
        also=frozenset({"everything-unlabelled", "never-labelled", "one-class-mask"}),
    ),
    "two encodings": Case(base="cells", kind="two-encodings", do=two_encodings, says="0 and 255",
        also=frozenset({"undeclared-values"}),
    ),
    "numbers of objects": Case(
        base="cells", kind="numbered-objects", do=numbered, says="number the objects", also=MISPLACED
    ),
    "boxes": Case(base="cells", kind="boxes", do=as_labelme(boxes=True), says="rectangles", also=MISPLACED),
    "an object without area": Case(
        base="cells", kind="lost-objects", do=as_labelme(boxes=False), says="1 object of", also=MISPLACED
    ),
    "an image without a mask": Case(base="street", kind="unpaired", do=unpaired_image),
    "a mask without an image": Case(base="street", kind="unpaired", do=unpaired_mask),
    "two images of one stem": Case(base="street", kind="duplicate-stem", do=two_files),
    "everything unlabelled": Case(
        base="street", kind="everything-unlabelled", do=change_masks(everywhere(255), ("train",))
    ),
    "the same image in train and test": Case(base="street", kind="same-image", do=same_image),
    "the same image twice in train": Case(base="street", kind="repeated-image", do=repeated_image),
    "the same group in train and test": Case(base="street", kind="same-group", do=same_group, says="patient-x"),
    "a smaller, darker copy in test": Case(
        base="street",
        kind="near-duplicate",
        do=near_duplicate(lambda p: (cv2.resize(p, None, fx=0.9, fy=0.9) * 0.8).astype(np.uint8), lambda m: cv2.resize(
            m, None, fx=0.9, fy=0.9, interpolation=cv2.INTER_NEAREST)),
    ),
    "a mirrored copy in test": Case(
        base="street", kind="near-duplicate", do=near_duplicate(lambda p: p[:, ::-1], lambda m: m[:, ::-1])
    ),
    "a class never labelled": Case(base="street", kind="never-labelled", do=never_labelled, says="tram"),
    "a class in test only": Case(base="street", kind="test-only-class", do=test_only, says="car"),
    "a rare class": Case(base="street", kind="rare-class", do=rare_class, says="tram"),
    "an unlabelled mask": Case(base="street", kind="unlabelled-mask", do=change_mask(everywhere(255))),
    "a mask of one class": Case(base="street", kind="one-class-mask", do=change_mask(everywhere(1)), says="building"),
    "a shifted mask": Case(base="street", kind="shifted-mask", do=change_mask(shifted), says="5 pixels up and 8"),
    "all masks shifted": Case(base="cells", kind="shifted-masks", do=change_masks(shifted), says="5 pixels up and 8"),
    "a mirrored mask": Case(
        base="street", kind="turned-mask", do=change_mask(lambda mask: mask[:, ::-1]), says="left to right"
    ),
    "a turned mask": Case(base="cells", kind="turned-mask", do=change_mask(np.rot90), says="90 degrees to the right"),
    "two masks exchanged": Case(base="cells", kind="unrelated-mask", do=swapped),
    "a pair of another size": Case(base="street", kind="far-size", do=larger),
    "an overexposed image": Case(
        base="street", kind="far-brightness", do=change_image(lambda p: 255 - (255 - p) // 12)
    ),
    "a grey image among colours": Case(base="street", kind="far-channels", do=change_image(lambda p: p[..., 1])),
    "an image of three bands": Case(
        base="fields", kind="mixed-channels", do=change_image(lambda p: p[..., :3]), says="3 channel(s) of uint16"
    ),
    "specks": Case(base="street", kind="speckle", do=change_mask(spotted(0.02, None))),
    "holes": Case(base="binary", kind="holes", do=change_mask(spotted(0.02, 0))),
    "a constant channel": Case(base="fields", kind="constant-channel", do=change_image(constant_channel)),
    "undeclared no data": Case(
        base="fields", kind="sentinel", do=sentinels, says="-9999",
        also=MISPLACED | {"far-brightness", "unused-bits"},
    ),
    "a channel of NaN": Case(
        base="fields", kind="nan-channel", do=nan_channel, says="channel 3", also=frozenset({"unlabelled-mask"})
    ),
    "one 16-bit image of 8 bits": Case(
        base="fields",
        kind="unused-bits",
        do=change_image(lambda p: (p >> 8).astype(np.uint16)),
        says="8 bits",
        also=frozenset({"far-brightness"}),
    ),
    "16-bit images of 12 bits": Case(
        base="fields", kind="unused-bits", do=change_images(lambda p: (p >> 3).astype(np.uint16)), says="12 bits"
    ),
}  # fmt: skip
"""Every line of what the check promises, at least once."""


def write_bases(folder: Path, counts: dict[str, int], sizes: dict[str, tuple[int, int] | None], seed: int = 1) -> None:
    """The clean data sets: all generated kinds, and `binary`, cells with masks of 0 and 255 and no class table."""
    for kind in KINDS:
        write_dataset(folder / kind, kind, counts, seed=seed, size=sizes.get(kind))
    shutil.copytree(folder / "cells", folder / "binary")
    (folder / "binary" / CLASSES_FILE).unlink()
    change_masks(lambda mask: mask * np.uint8(255))(folder / "binary", np.random.default_rng(0))


def damage(case: Case, base: Path, copy: Path) -> set[Path]:
    """Damage a copy of a clean set, and return the files that have to be named."""
    shutil.copytree(base, copy)
    return {path.resolve() for path in case.do(copy, np.random.default_rng(0))}


def judge(case: Case, base: Path, copy: Path) -> list[str]:
    """Damage a copy of a clean set, check it, and list what the check did wrong; the copy is left."""
    named = damage(case, base, copy)
    found = audit(copy, workers=1)
    wrong = []
    right = [problem for problem in found.problems if problem.kind == case.kind]
    if not right:
        wrong.append(f"no {case.kind} was found")
    if not all(any(path.resolve() in named for path in problem.files[:2]) for problem in right):
        wrong.append("it names another file")
    if case.says and not any(case.says in problem.what for problem in right):
        wrong.append(f"it does not say {case.says!r}, but: {' | '.join(problem.what for problem in right)}")
    wrong += [
        f"also {problem.kind}: {problem.what}"
        for problem in found.problems
        if problem.kind != case.kind and problem.kind not in case.also
    ]
    return wrong


def prove() -> bool:
    """Check the clean sets, and every damage; print a table."""
    rows, sound = [], True
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_bases(folder, {"train": 30, "test": 10}, {})
        for base in (*KINDS, "binary"):
            found = audit(folder / base)
            sound &= not found.problems
            rows.append((f"clean {base}", "", "silent" if not found.problems else found.problems[0].what))
        for place, (name, case) in enumerate(CASES.items()):
            copy = folder / f"damaged-{place}"
            wrong = judge(case, folder / case.base, copy)
            sound &= not wrong
            rows.append((name, case.kind, "found" if not wrong else "; ".join(wrong)))
            shutil.rmtree(copy)
    console.print_table(f"{len(CASES)} damages, one at a time", ("damage", "finding", "result"), rows)
    return sound


def report(folder: str) -> None:
    """Print what the check says about a data set."""
    with console.counting(f"checking {folder}") as progress:
        found: Audit = audit(folder, progress=progress)
    rows = [(level, kind, files, what) for level, kind, files, what in found.rows()]
    console.print_table(f"{folder}: {found.errors} errors, {found.warnings} warnings", COLUMNS, rows)


COLUMNS = ("level", "kind", "files", "what")


def measure(count: int, folder: Path) -> None:
    """Write `count` pairs of 512 x 512, no two the same, and time the whole check of them, page included."""
    table = class_table("street")
    scenes = {
        split: [scene("street", seed, (600, 600)) for seed in seeds]
        for split, seeds in (("train", range(28)), ("test", range(28, 36)))
    }
    for split, number in (("train", count - count // 5), ("test", count // 5)):
        for place in range(number):
            stem = f"{split}-{place:06}"
            path = folder / split / "images" / f"{stem}.png"
            if path.exists():
                continue
            # Each scene is cut, turned, brightened and made noisy anew.
            rng = np.random.default_rng([place, len(split)])
            image, mask = scenes[split][rng.integers(len(scenes[split]))]
            top, left = rng.integers(0, 88, 2)
            turn = int(rng.integers(4))
            image = np.rot90(image[top : top + 512, left : left + 512], turn)
            mask = np.rot90(mask[top : top + 512, left : left + 512], turn)
            noisy = image * rng.uniform(0.8, 1.1) + rng.normal(0, 4, (512, 512, 1))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_mask(folder / split / "masks" / f"{stem}.png", np.ascontiguousarray(mask), table.palette())
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, compress_level=1)
    table.save(folder / CLASSES_FILE)
    out = folder.parent / f"{folder.name}-check"
    shutil.rmtree(out, ignore_errors=True)
    start = time.monotonic()
    with console.counting("checking") as progress:
        found = check(folder, out, progress=progress)
    seconds = time.monotonic() - start
    start = time.monotonic()
    check(folder, out)
    again = time.monotonic() - start
    console.print_table(
        "Time of a check",
        ("pairs", "seconds", "ms a pair", "again, from the cache", "findings"),
        [(f"{count}", f"{seconds:.1f}", f"{1000 * seconds / count:.1f}", f"{again:.1f}", str(len(found.problems)))],
    )


def main() -> None:
    """Prove, report, or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", metavar="DATA")
    parser.add_argument("--time", type=int, metavar="N")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "maskwright-audit")
    options = parser.parse_args()
    for folder in options.data:
        report(folder)
    if options.time is not None:
        measure(options.time, options.folder)
    if not options.data and options.time is None and not prove():
        sys.exit(1)


if __name__ == "__main__":
    main()

"""Pascal VOC: `JPEGImages/`, `SegmentationClass/` (palette PNG of class indices, 255 unlabelled), `ImageSets/`.

Programs for VOC open `JPEGImages/NAME.jpg` by that name, so every image becomes a JPEG; those that are JPEG already are
copied. `labelmap.txt` has names and colours, as CVAT and Datumaro write it for classes other than VOC's twenty.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from maskwright.convert.writing import Writing
from maskwright.datasets.classes import ClassTable
from maskwright.datasets.formats.voc import BORDER, colormap
from maskwright.datasets.samples import Sample
from maskwright.datasets.writing import indexed, is_whole_file
from maskwright.imaging.decoders import sniff
from maskwright.imaging.images import display
from maskwright.imaging.writing import write_mask
from maskwright.runs import replacing, write_bytes, write_text

_QUALITY = 95


def write(writing: Writing) -> None:
    """Write all samples."""
    names = writing.names(apart=False, spaces=False)
    classes = writing.dataset.classes
    writing.written_classes = indexed(classes)

    def one(sample: Sample) -> None:
        name = names[sample.id]
        mask = writing.read_mask(sample)
        _put_jpeg(writing, sample, writing.out / "JPEGImages" / f"{name}.jpg")
        write_mask(writing.out / "SegmentationClass" / f"{name}.png", mask, classes.palette())

    for _ in writing.each(one):
        pass
    lists = writing.out / "ImageSets" / "Segmentation"
    for part, samples in writing.parts.items():
        listed = "".join(f"{names[sample.id]}\n" for sample in samples)
        write_text(lists / f"{part or 'trainval'}.txt", listed)
    write_text(writing.out / "labelmap.txt", _labelmap(writing, classes))
    writing.say_groups()


def _put_jpeg(writing: Writing, sample: Sample, path: Path) -> None:
    source = sample.image
    if is_whole_file(source) and source.header().orientation == 1:
        with source.path.open("rb") as file:
            if sniff(file.read(16)) == "jpeg":
                file.seek(0)
                with replacing(path) as temporary, temporary.open("wb") as target:
                    shutil.copyfileobj(file, target)
                return
    pixels = source.read_image().pixels
    writing.lost(f"{{}} images that were no upright JPEG: encoded as JPEG (quality {_QUALITY}), so their values change")
    if pixels.dtype != np.uint8:
        writing.lost("{} images of more than 8 bits: the range between their percentiles 0.5 and 99.5 became 0 to 255")
    if pixels.shape[2] not in (1, 3):
        writing.lost("{} images of two, or more than three, channels: shown as RGB")
    shown = pixels[..., 0] if pixels.shape[2] == 1 and pixels.dtype == np.uint8 else display(pixels)
    file_content = io.BytesIO()
    PillowImage.fromarray(np.ascontiguousarray(shown)).save(file_content, "JPEG", quality=_QUALITY, subsampling=0)
    write_bytes(path, file_content.getvalue())


def _labelmap(writing: Writing, classes: ClassTable) -> str:
    colors = [item.color for item in classes.classes]
    border = tuple(int(BORDER[place : place + 2], 16) for place in (1, 3, 5))
    if len(set(colors)) < len(colors) or border in colors:
        colors = [colormap(index) for index in range(len(classes))]
        writing.lost("class colours that two classes share, or that VOC uses for borders: labelmap.txt has VOC's own")
    if any(":" in name or name.startswith("#") for name in classes.names):
        writing.lost("':' and '#' in class names of labelmap.txt")
    names = [name.replace(":", "-").replace("#", "-") for name in classes.names]
    lines = [f"{name}:{','.join(map(str, color))}::" for name, color in zip(names, colors, strict=True)]
    return "# label:color_rgb:parts:actions\n" + "\n".join(lines) + "\n"

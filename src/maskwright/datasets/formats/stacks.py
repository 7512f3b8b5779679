"""TIFF stacks beside each other, as the ISBI 2012 challenge publishes them (Arganda-Carreras et al., 2015).

    DATA/train-volume.tif               30 slices of 512 x 512 pixels, electron microscopy
    DATA/train-labels.tif               30 slices: 0 membrane, 255 cell
    DATA/test-volume.tif                without published labels: left out where masks are needed

Other names: NAME.tif or NAME-volume.tif with NAME-labels.tif, NAME_groundtruth.tif and the like (training.tif and
training_groundtruth.tif of EPFL). One stack may be given in place of DATA. Each page is a sample, and a stack is a
group (`formats.parts`). Stacks in folders images/ and masks/ are of `formats.folder`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from maskwright.datasets.classes import ClassTable, LabelClass
from maskwright.datasets.formats.layout import Layout, counted, found, split_named, table_in
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import Sample, Source
from maskwright.datasets.sources import natural
from maskwright.errors import listed
from maskwright.imaging.colors import default_color
from maskwright.imaging.tiffs import count_pages, first_page

_TRUTH = re.compile(r"(.+?)[_\-. ](?:labels?|masks?|groundtruth|ground[_\-]truth|gt|seg|segmentation)", re.IGNORECASE)
_VOLUME = re.compile(r"(.+?)[_\-. ](?:volume|stack|images?|raw)", re.IGNORECASE)


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read stacks that lie beside their labels; see `layout.Reader`."""
    home = root if root.is_dir() else root.parent
    if (root.is_file() and root.suffix.lower() not in (".tif", ".tiff")) or not home.is_dir():
        return None
    files = [path for path in home.iterdir() if path.suffix.lower() in (".tif", ".tiff") and path.name[0] != "."]
    files.sort(key=lambda path: natural(path.name))
    truth = {match[1].lower(): path for path in files if (match := _TRUTH.fullmatch(path.stem))}
    volumes = {_key(path): path for path in files if path not in truth.values()}
    if root.is_file():
        volumes = {key: path for key, path in volumes.items() if path == root}
    paired = {key: path for key, path in volumes.items() if key in truth and _is_stack(path)}
    if not paired:
        return None
    samples = []
    for key, path in paired.items() if masks else volumes.items():
        split = split_named(key)
        mask = Source(path=truth[key]) if masks else None
        samples.append(Sample(id=path.stem, image=Source(path=path), mask=mask, split=split))
    if {sample.split for sample in samples} == {"train"}:  # one stack for training is all there is to divide
        samples = [replace(sample, split=None) for sample in samples]
    left = [path.name for key, path in volumes.items() if key not in truth] if masks and root.is_dir() else []
    notes = [f"{counted(len(left), 'file')} without labels left out: {listed(left)}"] if left else []
    return Layout(
        format="TIFF stacks",
        samples=tuple(samples),
        masks_folder=home,
        home=home,
        table=table_in(home),
        classes=_isbi(home) if list(paired) == ["train"] else None,
        notes=(found(root, f"TIFF stacks {listed([p.name for p in paired.values()])}", samples, masks=masks), *notes),
    )


def _key(path: Path) -> str:
    match = _VOLUME.fullmatch(path.stem)
    return (match[1] if match else path.stem).lower()


def _is_stack(path: Path) -> bool:
    first = first_page(path)
    if first is None or first.alone:
        return False
    try:
        return count_pages(path) > 1
    except Exception:  # damaged: whoever reads it says so
        return False


def _isbi(home: Path) -> ClassTable | None:
    """The challenge's classes, where the files are the challenge's."""
    volume = home / "train-volume.tif"
    if not volume.is_file() or not (home / "train-labels.tif").is_file():
        return None
    first = first_page(volume)
    if first is None or (first.height, first.width) != (512, 512) or count_pages(volume) != 30:
        return None
    return ClassTable(
        classes=(
            LabelClass(name="membrane", color=default_color(0), values=(0,)),
            LabelClass(name="cell", color=default_color(1), values=(255,)),
        )
    )

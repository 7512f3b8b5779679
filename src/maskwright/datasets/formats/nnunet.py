"""nnU-Net v2: imagesTr, labelsTr and dataset.json, with channels as files.

    DATA/dataset.json                      channel_names, labels, file_ending
    DATA/imagesTr/CASE_0000.png            channel 0 of a case (RGB files have all three), CASE_0001.png channel 1, ...
    DATA/labelsTr/CASE.png                 class values
    DATA/imagesTs/CASE_0000.png            test images; with labelsTs/CASE.png beside them, the split "test"

`labels` names the values (Isensee et al., Nature Methods 2021; documentation/dataset_format.md of nnU-Net). A value
given as a list is a region of several, which one mask cannot hold: such labels are refused. "ignore" is unlabelled.
The Medical Segmentation Decathlon is read as well: `modality` for channel names, and CASE.nii.gz for an image.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from maskwright.datasets.classes import ClassTable, LabelClass
from maskwright.datasets.formats.bands import Bands
from maskwright.datasets.formats.layout import Layout, found, table_in
from maskwright.datasets.formats.pairing import is_image
from maskwright.datasets.problems import Problem, report
from maskwright.datasets.samples import Sample
from maskwright.datasets.sources import Source, natural
from maskwright.errors import ClassTableError, DataError, PairingError, listed
from maskwright.imaging.colors import default_color
from maskwright.imaging.images import split_suffix

_CASE = re.compile(r"(.+)_(\d{4})")


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read a data set of nnU-Net; see `layout.Reader`.

    Raises
    ------
    PairingError
        A case has no label, or lacks a channel (noted in `problems`, if it is a list).
    ClassTableError
        dataset.json does not say what the values stand for, or names regions.
    """
    if not (root / "imagesTr").is_dir() or not (root / "dataset.json").is_file():
        return None
    content = _content(root / "dataset.json")
    samples: list[Sample] = []
    for ending, split in (("Tr", "train"), ("Ts", "test")):
        home, truth = root / f"images{ending}", root / f"labels{ending}"
        if home.is_dir() and (truth.is_dir() or not masks):
            samples += _samples(home, truth, split, content, masks=masks, problems=problems)
    splits = {sample.split for sample in samples}
    if len(splits) == 1:
        samples = [Sample(id=s.id.split("/", 1)[1], image=s.image, mask=s.mask) for s in samples]
    return Layout(
        format="nnU-Net",
        samples=tuple(samples),
        masks_folder=root / "labelsTr",
        home=root,
        table=table_in(root),
        classes=_classes(content, root / "dataset.json"),
        notes=(found(root, "nnU-Net", samples, masks=masks),),
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}.", remedy="Write it anew.", file=path) from None
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no object.", expected="Expected keys such as labels.", file=path)
    return content


def _samples(
    home: Path, truth: Path, split: str, content: dict[str, Any], *, masks: bool, problems: list[Problem] | None
) -> list[Sample]:
    cases: defaultdict[str, dict[int, Path]] = defaultdict(dict)
    for path in sorted((path for path in home.iterdir() if is_image(path)), key=lambda path: natural(path.name)):
        match = _CASE.fullmatch(split_suffix(path.name)[0])
        if match is not None:
            cases[match[1]][int(match[2])] = path
        elif "modality" in content:  # Medical Segmentation Decathlon, which nnU-Net's own layout comes from
            cases[split_suffix(path.name)[0]][0] = path
    labels = {split_suffix(path.name)[0]: path for path in truth.iterdir() if is_image(path)} if masks else {}
    channels = max((len(files) for files in cases.values()), default=0)
    samples = []
    for case, files in cases.items():
        problem = None
        if sorted(files) != list(range(channels)):
            missing = [f"{case}_{number:04}" for number in range(channels) if number not in files]
            problem = _problem(home, f"lacks {listed(missing)}", case, f"Add it: {channels} channels make an image.")
        elif masks and case not in labels:
            problem = _problem(truth, f"has no label {case}", case, "Add it, or remove the case.")
        if problem is not None:
            report(problems, problem, PairingError)
            continue
        paths = tuple(files[number] for number in range(channels))
        image = Source(path=paths[0]) if channels == 1 else Bands(path=paths[0], bands=paths)
        mask = Source(path=labels[case]) if masks else None
        samples.append(Sample(id=f"{split}/{case}", image=image, mask=mask, split=split))
    for case in labels.keys() - cases.keys():
        report(problems, _problem(home, f"has no image of the case {case}", case, "Add it."), PairingError)
    return samples


def _problem(folder: Path, what: str, case: str, remedy: str) -> Problem:
    return Problem(
        level="error", kind="unpaired", files=(folder,), sample=case, what=f"{folder} {what}.", remedy=remedy
    )


def _classes(content: dict[str, Any], path: Path) -> ClassTable:
    labels = content.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise ClassTableError(
            f"{path} has no labels.", expected='Expected for example "labels": {"background": 0, "road": 1}.', file=path
        )
    if all(isinstance(value, str) and str(key).isdigit() for key, value in labels.items()):  # nnU-Net v1
        labels = {value: int(key) for key, value in labels.items()}
    values: dict[str, int] = {}
    for name, value in labels.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise ClassTableError(
                f"{path}: the label {name!r} stands for {value!r}, a region of several values.",
                expected="Expected one value for each label: a mask gives each pixel one class.",
                remedy="Write classes.toml with the values as they lie in the masks.",
                file=path,
            )
        values[name] = value
    ignored = tuple(value for name, value in values.items() if name == "ignore")
    kept = sorted((item for item in values.items() if item[0] != "ignore"), key=lambda item: item[1])
    classes = tuple(
        LabelClass(name=name, color=default_color(index, name), values=(value,))
        for index, (name, value) in enumerate(kept)
    )
    return ClassTable(classes=classes, unlabelled=ignored)

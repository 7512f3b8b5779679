"""What is right for each script of `cases/layout`: how published data sets lie on disk."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from benchmarks.expectations.trial import Answer, Trial, Wrong, holds, pixels


def adopted(trial: Trial, folder: Path, number: int | None = None) -> Path:
    """Take the way out that a refusal proposes, as it stands there; returns the folder to read then."""
    refusal = trial.run("plan", folder, "--steps", "2").exits(2)
    found = re.search(r"maskwright adopt (\S+) --as (\d+)", refusal.text)
    if not found:
        raise Wrong(f"the refusal names no way out: {refusal.text[:400]}")
    trial.run("adopt", found[1], "--as", str(number or found[2])).exits(0)
    return folder


def read(trial: Trial, folder: str, count: int) -> Answer:
    """`plan` reads so many images with masks at once."""
    answer = trial.run("plan", trial.folder / folder, "--steps", "2").exits(0)
    holds(len(trial.masks(folder)) == count, f"{len(trial.masks(folder))} samples in {folder}, expected {count}")
    return answer


def same_as(trial: Trial, folder: str, sample: str, mask: Path, values: list[int]) -> None:
    """A sample's class indices stand for the raw values of a file, in this order."""
    masks = trial.masks(folder)
    key = next((key for key in masks if key.endswith(sample)), None)
    holds(key is not None, f"no sample {sample!r} among {sorted(masks)[:8]}")
    raw = pixels(mask)
    raw = raw[..., 0] if raw.ndim == 3 else raw
    expected = np.searchsorted(values, raw)
    holds(bool((masks[str(key)] == expected).all()), f"{sample}: the pixels are not those of {mask.name}")


def bids_derivatives(trial: Trial) -> None:
    """Recognised, subjects as groups, and the question which of the three is meant."""
    trial.run("plan", trial.folder, "--steps", "2").exits(2).says("axonmyelin", "axon", "myelin", "adopt").never(
        "holds no images with masks"
    )
    adopted(trial, trial.folder)
    holds(len(trial.masks()) == 4, "four samples after adopting")


def boxes_as_masks(trial: Trial) -> None:
    """Boxes are said to be boxes."""
    for verb in ("plan", "check"):
        trial.run(verb, trial.folder, *(["--steps", "2"] if verb == "plan" else [])).says("rectangle|box")


def check_names_wrong_place(trial: Trial) -> None:
    """Both name DIR/classes.toml."""
    place = re.escape(str(trial.folder / "classes.toml"))
    wrong = re.escape(str(trial.folder / "annotations" / "classes.toml"))
    trial.run("check", trial.folder).never(wrong)
    plan = trial.run("plan", trial.folder, "--steps", "2").never(wrong)
    (plan.says(place) if plan.code else plan).never(wrong)


def figure_beside_folders(trial: Trial) -> None:
    """Nothing is trained on the figure without a word on the folders."""
    for verb in ("plan", "check"):
        answer = trial.run(verb, trial.folder, *(["--steps", "2"] if verb == "plan" else []))
        answer.says("crack", "fray")
        if answer.code == 0:
            answer.never(r"\b1 image with masks")


def folder_names(trial: Trial) -> None:
    """Two read with their splits, two read, one asked for."""
    for name in ("faces", "prepped"):
        read(trial, name, 10)
        holds(trial.splits(name) == {"train": 5, "test": 5}, f"{name}: splits {trial.splits(name)}")
    read(trial, "people", 5)
    read(trial, "vessels", 5)
    same_as(trial, "people", "0", trial.folder / "people/Ground_Truth/0.png", [0, 1, 2])
    same_as(trial, "vessels", "0", trial.folder / "vessels/av-labels/0--av.png", [0, 1, 2])
    trial.run("plan", trial.folder / "weeds", "--steps", "2").exits(2).says(
        "Weed_Plant_Masks", "Vegetation_Masks", "adopt"
    )
    adopted(trial, trial.folder / "weeds")
    holds(len(trial.masks("weeds")) == 5, "five weeds after adopting")


def _pasted(trial: Trial) -> Answer:
    """Paste the class table that a refusal proposes, and plan again."""
    first = trial.run("plan", trial.folder, "--steps", "2")
    if first.code == 0:
        return first
    text = first.exits(2).text
    table = re.search(r"((?:unlabelled = \[[^\]]*\] )?\[\[class\]\].*)", text)
    if not table:
        raise Wrong(f"no table is proposed: {text[:300]}")
    lines = re.sub(r" (?=\[\[class\]\]|name =|value =|color =)", "\n", table[1])
    kept = [line for line in lines.splitlines() if re.match(r"(unlabelled|name|value|color) =|\[\[class\]\]", line)]
    kept = [re.sub(r'(value = (?:\[[^\]]*\]|"[^"]*"|\S+)|color = "[^"]*").*', r"\1", line) for line in kept]
    (trial.folder / "classes.toml").write_text("\n".join(kept) + "\n")
    return trial.run("plan", trial.folder, "--steps", "2")


def label_folder_0_255(trial: Trial) -> None:
    """What is proposed works; check says what plan says."""
    answer = _pasted(trial)
    if answer.code:
        answer.exits(2).says("masks")  # only the new folder name is proposed
        (trial.folder / "classes.toml").unlink(missing_ok=True)
        (trial.folder / "label").rename(trial.folder / "masks")
        trial.run("plan", trial.folder, "--steps", "2").exits(0)
        (trial.folder / "masks").rename(trial.folder / "label")
        trial.run("check", trial.folder).exits(1)
    else:
        trial.run("check", trial.folder).exits(0)
        holds({1} <= set(np.unique(trial.masks()["0"])), "the foreground is a class")


def mat_masks(trial: Trial) -> None:
    """MATLAB files are read."""
    for name, count in (("struct", 4), ("matrix", 4)):
        answer = trial.run("plan", trial.folder / name, "--steps", "2")
        if answer.code:
            answer.says("adopt|.mat").never("has images and no masks")
            adopted(trial, trial.folder / name)
        masks = trial.masks(name)
        holds(len(masks) == count, f"{len(masks)} samples in {name}")
        present = set(np.unique(next(iter(masks.values()))))
        holds(present <= ({0, 1} if name == "struct" else {0, 1, 2}) and len(present) > 1, f"{name}: classes {present}")


def nifti_pairs(trial: Trial) -> None:
    """Read, or the extra that reads them is named."""
    answer = trial.run("plan", trial.folder, "--steps", "2")
    if answer.code:
        answer.exits(2).says("nibabel|NIfTI").never("has no images")
    else:
        holds(len(trial.masks()) == 4, "four slices")


def nothing_pairs_check(trial: Trial) -> None:
    """A page and eight findings, or the pairs by number with a question."""
    answer = trial.run("check", trial.folder)
    if answer.code != 0:
        answer.exits(1).says("without a partner", "8")


def one_mask_for_each_class(trial: Trial) -> None:
    """Four classes, at once or as proposed."""
    answer = trial.run("plan", trial.folder, "--steps", "2")
    if answer.code:
        answer.says("CRACK", "LANE", "POTHOLE", "adopt")
        adopted(trial, trial.folder)
    names = [name.lower() for name in trial.names()]
    holds({"crack", "lane", "pothole"} <= set(names) and len(names) == 4, f"classes {names}")
    masks = trial.masks()
    holds(len(masks) == 5, f"{len(masks)} samples")
    key, mask = next(iter(masks.items()))
    home = next(home for home in trial.folder.iterdir() if home.name in key or key in home.name)
    for name in ("LANE", "POTHOLE", "CRACK"):
        truth = pixels(home / f"{home.name}_{name}.png")[..., 0] > 127
        holds(bool(((mask == names.index(name.lower())) == truth).all()), f"{name} of {key} differs")


def proposal_drops_255(trial: Trial) -> None:
    """No value disappears."""
    answer = _pasted(trial).exits(0)
    holds(len(trial.names()) == 3, f"classes {trial.names()} [{answer.command}]")
    mask = trial.masks()["c0"]
    raw = pixels(trial.folder / "masks/c0.png")
    holds(int((mask == 2).sum()) == int((raw == 255).sum()) > 0, "the pixels of 255 are class 2")
    trial.run("check", trial.folder).exits(0)


def soft_masks_peak_237(trial: Trial) -> None:
    """Two classes, and --fix writes them."""
    trial.run("plan", trial.folder, "--steps", "2").exits(2).says("--fix", "237").never("class 7")
    fixed = trial.work / "fixed"
    trial.run("check", trial.folder, "--fix", fixed).exits(0, 1)
    trial.run("plan", fixed, "--steps", "2").exits(0)
    from maskwright import open_dataset

    data = open_dataset(fixed)
    holds(len(data.classes) == 2 and len(data.samples) == 6, f"{len(data.samples)} of 6, classes {data.classes.names}")
    raw = pixels(trial.folder / "groundtruth/s0.png")
    mask = data.read(data.samples[0]).mask
    sure = (raw < 60) | (raw > 180)
    holds(bool((mask[sure] == (raw[sure] > 118)).all()), "the fixed pixels are those of the nearest class")


def thin_masks_seem_shifted(trial: Trial) -> None:
    """No finding."""
    trial.run("check", trial.folder).exits(0).never("shifted|moved by|turned|flipped", "fit its image better")


def two_raters(trial: Trial) -> None:
    """Both are named, one can be chosen."""
    answer = trial.run("plan", trial.folder, "--steps", "2").says("1stHO", "2ndHO").never("holds no images with masks")
    if answer.code:
        adopted(trial, trial.folder)
    holds(len(trial.masks()) == 10, "ten samples")
    mask = next(iter(trial.masks().items()))
    truth = pixels(trial.folder / f"{Path(mask[0]).name}_1stHO.png")
    holds(bool(((mask[1] == 1) == (truth > 0)).all()), "the first rater's pixels")


def word_inside_names(trial: Trial) -> None:
    """Six pairs each, and the words that were exchanged."""
    for name, words in (("inside", ("camera", "label")), ("glued", ("volume", "labels"))):
        answer = trial.run("plan", trial.folder / name, "--steps", "2").says(*words).never("Add what is missing")
        if answer.code:
            adopted(trial, trial.folder / name)
        masks = trial.masks(name)
        holds(len(masks) == 6, f"{len(masks)} pairs in {name}")
    for index in range(6):
        one = pixels(trial.folder / f"glued/masks/train-labels{index:02}.png")
        key = next(key for key in trial.masks("glued") if key.endswith(f"{index:02}"))
        holds(bool((trial.masks("glued")[key] == one).all()), f"pixels of {key}")

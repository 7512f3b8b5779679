"""What is right for each script of `cases/runs`: training, weights, prediction, platforms."""

from __future__ import annotations

import json
import re

from benchmarks.expectations.trial import Trial, holds


def brackets_in_titles(trial: Trial) -> None:
    """Names are shown as they are."""
    trial.shell(trial.folder / "try.sh").exits(0).says(
        r"test\[red\]", r"difference from run\[red\]|from .{0,40}run\[red\]"
    )


def clock_jumps(trial: Trial) -> None:
    """24 s of training either way."""
    for jump in ("-3600", "3600"):
        out = f"run{jump}"
        trial.python(
            trial.folder / "try.py", "6", jump, "train", trial.folder / "data", "--minutes", "0.3", "--out", out
        ).exits(0)
        seconds = json.loads((trial.work / out / "run.json").read_text())["seconds"]
        holds(10 <= seconds <= 30, f"clock set by {jump} s: {seconds} s of 18 s")


def compare_crf_with_plain(trial: Trial) -> None:
    """Equal weights do not differ, or the CRF is named."""
    answer = trial.shell(trial.folder / "try.sh")
    if "crf" not in answer.text.lower().split("compare")[-1]:
        answer.says(r"two .{0,200}\+0\.000")
    answer.never(r"\+0\.[0-9]*[1-9][0-9]*, \+.{0,40}better")


def crop_beyond_memory(trial: Trial) -> None:
    """Refused."""
    trial.run("train", trial.folder, "--steps", "2", "--crop", "100000", "100000", "--out", "run").exits(2).says(
        "100,?000", "memory|images"
    )


def lxcfs_uptime(trial: Trial) -> None:
    """It ends in its own time."""
    trial.python(trial.folder / "try.py", "train", trial.folder / "data", "--minutes", "0.2", "--out", "run").exits(0)
    seconds = json.loads((trial.work / "run/run.json").read_text())["seconds"]
    holds(seconds <= 25, f"{seconds} s of 12 s")


def no_flock(trial: Trial) -> None:
    """Trained with a warning, or said what it is."""
    answer = trial.python(trial.folder / "try.py", "train", trial.folder / "data", "--steps", "2", "--out", "run")
    answer.exits(0, 2).says("lock").never("in use by another process")


def no_sched_getaffinity(trial: Trial) -> None:
    """A number for each device."""
    script = trial.folder / "try.py"
    # Written for 06ef253, before the loader moved.
    script.write_text(script.read_text().replace("maskwright.data.loader", "maskwright.augment.loader"))
    trial.python(script).exits(0).says(r"cpu \d+", r"mps \d+", r"cuda \d+")


def output_errors(trial: Trial) -> None:
    """A sentence for each."""
    answer = trial.shell(trial.folder / "try.sh")
    answer.never("Traceback", "SafetensorError").says("predict: 2", "afile")
    if "mount" not in answer.text and "unshare" not in answer.text:
        answer.says("train: 2", "space")


def predict_broken_symlink(trial: Trial) -> None:
    """The link is named."""
    trial.shell(trial.folder / "try.sh").says(r"zz\.png", r"\b[12]$|\b[12] ?")
    answer = trial.run("predict", trial.folder / "run", trial.folder / "new", "--out", "again")
    answer.exits(1, 2).says(r"zz\.png")


def predictor_device(trial: Trial) -> None:
    """Explained errors."""
    run = trial.train(trial.folder / "train", "--steps", "5")
    answer = trial.python(trial.folder / "try.py", run, trial.folder / "train/images/ax.png").exits(0)
    holds(len(re.findall("MaskwrightError", answer.out)) == 2, answer.out)


def predictor_in_forked_pool(trial: Trial) -> None:
    """A number, or refused with the remedy."""
    run = trial.train(trial.folder / "train", "--steps", "5")
    answer = trial.python(trial.folder / "try.py", run, trial.folder / "train/images/ax.png").never("hangs")
    if answer.code:
        answer.says("fork", "spawn|load")
    else:
        answer.says(r"\[\d+\]")


def predictor_left_in_train_mode(trial: Trial) -> None:
    """Nought and nought."""
    run = trial.train(trial.folder / "train", "--steps", "5")
    answer = trial.python(trial.folder / "try.py", run, trial.folder / "train/images/ax.png").exits(0)
    answer.says(r"apart by 0\.0 and back again by 0\.0")


def predictor_masked_array(trial: Trial) -> None:
    """255 where a channel is masked, or asked for `valid`."""
    run = trial.train(trial.folder / "train", "--steps", "5")
    answer = trial.python(trial.folder / "try.py", run, trial.folder / "train/images/ax.png")
    if answer.code:
        answer.says("DataError", "valid")
    else:
        answer.says(r"values under the mask: \[255\]")


def pretrained_classes_in_other_order(trial: Trial) -> None:
    """The same score for both."""
    answer = trial.shell(trial.folder / "try.sh").exits(0)
    scores = [float(value) for value in re.findall(r"validation mIoU ([\d.]+) at step", answer.text)]
    holds(len(scores) == 3, f"scores {scores}")
    holds(abs(scores[1] - scores[2]) < 0.05, f"validation mIoU {scores[1:]}")


def pretrained_other_class_count(trial: Trial) -> None:
    """Loaded but for the last layer, and said."""
    run = trial.train(trial.folder / "three", "--model", "compact-2", "--steps", "2")
    trial.run(
        "train", trial.folder / "four", "--model", "compact-2", "--pretrained", run, "--steps", "2", "--out", "four"
    ).exits(0).says("head|last layer")


def pretrained_prefixes(trial: Trial) -> None:
    """All exactly."""
    answer = trial.python(trial.folder / "try.py").exits(0).never("WRONGLY")
    holds(len(re.findall("loaded exactly", answer.out)) == 8, answer.out)


def readonly_run(trial: Trial) -> None:
    """Scores are printed; predict says where to write."""
    answer = trial.shell(trial.folder / "try.sh").never("Traceback")
    if "mount" in answer.text and "permission" in answer.text.lower():
        return  # needs root for the mount
    answer.says("evaluate: 0", "mIoU", "predict: 2", "--out", "predict --out: 0")


def stdout_not_utf8(trial: Trial) -> None:
    """The table, in whatever the terminal can show."""
    answer = trial.shell(trial.folder / "try.sh").never("UnicodeEncodeError", "Traceback")
    answer.says("cp932: 0", "latin-1: 0", "ascii: 0")


def tiles_off_the_grid(trial: Trial) -> None:
    """About the same small difference for both sizes."""
    run = trial.train(trial.folder / "small", "--steps", "10")
    answer = trial.python(trial.folder / "try.py", run).exits(0)
    apart = [float(value) for value in re.findall(r"masks differ in ([\d.e-]+)", answer.text)]
    holds(len(apart) == 2 and max(apart) < 1e-3, f"masks differ in {apart}")


def val_all_unlabelled(trial: Trial) -> None:
    """Refused before training, or trained without validation and said."""
    answer = trial.run("train", trial.folder, "--steps", "6", "--out", "run").exits(0, 2)
    answer.says("validation", "labelled|unlabelled")

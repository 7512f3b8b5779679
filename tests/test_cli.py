"""The command line as a user meets it: whole verbs in a process of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import maskwright
from maskwright import cli, runs

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(maskwright.__file__).parents[1])}
TINY = [
    "--model-options.widths",
    "6",
    "--model-options.widths",
    "8",
    "--crop",
    "32",
    "32",
    "--batch",
    "4",
    "--lr",
    "0.01",
]


def run(*arguments: str | Path, code: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "maskwright", *map(str, arguments)],
        env=ENVIRONMENT, cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def end_of_page(*arguments: str | Path) -> None:
    """Open a page and end it as Ctrl-C does."""
    words = [sys.executable, "-m", "maskwright", *map(str, arguments)]
    with subprocess.Popen(words, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as program:
        assert program.stderr is not None
        assert "/?token=" in program.stderr.readline()
        program.stderr.readline()
        program.send_signal(signal.SIGINT)
        assert program.stderr.read() == "Ended; everything is saved.\n"
    assert program.returncode == 130


def test_train_evaluate_predict(discs: Path, write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    unseen = write_pairs(tmp_path / "unseen", 4, seed=1)
    folder = tmp_path / "run"
    trained = run("train", discs, "--out", folder, "--steps", "50", "--json", *TINY)
    assert json.loads(trained.stdout)["finished"] is True
    assert f"Next: maskwright evaluate {folder} DATA" in trained.stderr

    scores = json.loads(run("evaluate", folder, unseen, "--json").stdout)
    assert scores["miou"] > 0.85
    assert scores["images"] == 4
    assert set(scores["iou"]) == {"ground", "disc"}
    assert {"dice", "pixel_accuracy", "boundary_f1"} <= scores.keys()
    assert scores["miou"] == pytest.approx(np.mean(list(scores["iou"].values())), abs=1e-6)
    page = (folder / "report.html").read_text()
    assert f"{scores['miou']:.3f}"[:5] in page
    assert "disc" in run("evaluate", folder, unseen).stdout

    originals = {path: path.read_bytes() for path in (unseen / "images").iterdir()}
    out = tmp_path / "predicted"
    written = json.loads(
        run(
            "predict", folder, unseen / "images" / "*.png", "--out", out, "--probabilities", "--uncertainty", "--json"
        ).stdout
    )
    assert len(written) == 4
    assert {path: path.read_bytes() for path in (unseen / "images").iterdir()} == originals
    with Image.open(out / "masks" / "photo00.png") as mask:
        assert mask.mode == "P"
        assert mask.size == (48, 40)
        assert set(np.unique(np.asarray(mask))) == {0, 1}
        assert mask.getpalette()[:6] == [0x20, 0x40, 0x60, 0xFF, 0xCC, 0x00]  # type: ignore[index]
        truth = np.asarray(Image.open(unseen / "masks" / "photo00.png")) == 7
        assert ((np.asarray(mask) == 1) == truth).mean() > 0.95
    assert (out / "overlays" / "photo00.png").exists()
    with np.load(out / "probabilities" / "photo00.npz") as archive:
        assert archive["probabilities"].shape == (2, 40, 48)
        assert archive["classes"].tolist() == ["ground", "disc"]
    with Image.open(out / "uncertainty" / "photo00.png") as entropy:
        assert entropy.mode.startswith("I")


def test_evaluations_of_two_folders_of_one_name_do_not_meet(
    discs: Path, write_pairs: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    run("train", discs, "--out", folder, "--steps", "2", *TINY)
    for name in ("a", "b"):
        write_pairs(tmp_path / name / "deep" / "test", 2)
        run("evaluate", folder, tmp_path / name / "deep" / "test")
    run("evaluate", folder, tmp_path / "a" / "deep" / "test")
    assert sorted(path.name for path in (folder / "evaluations").iterdir()) == ["deep-test", "deep-test-2"]


def test_a_failed_start_does_not_block_the_next(discs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    wrong = run("train", discs, "--out", folder, "--steps", "2", "--pretrained", discs / "classes.toml", *TINY, code=2)
    assert "classes.toml" in wrong.stderr
    assert not folder.exists()
    run("train", discs, "--out", folder, "--steps", "2", *TINY)


def test_a_plan_is_shown_without_training(discs: Path, tmp_path: Path) -> None:
    shown = run("plan", discs, "--minutes", "3", cwd=tmp_path)
    assert "compact" in shown.stdout
    content = json.loads(run("plan", discs, "--minutes", "3", "--json", cwd=tmp_path).stdout)
    assert content["decisions"]["training"]["minutes"] == {"value": 3.0, "reason": "you said so", "source": "given"}
    assert content["fingerprint"]["channels"] == 3
    assert content["facts"]["class_share"] == content["fingerprint"]["class_fraction"]
    assert content["decisions"]["training"]["val_share"] == content["decisions"]["training"]["val_fraction"]
    assert content["outlook"] == content["time_estimate"]
    assert [path.name for path in tmp_path.iterdir()] == ["discs"]


def test_former_names_of_options_are_accepted_with_a_warning(discs: Path, tmp_path: Path) -> None:
    shown = run("plan", discs, "--steps", "3", "--json", "--val-share", "0.3", "--class-share=0.5", cwd=tmp_path)
    training = json.loads(shown.stdout)["decisions"]["training"]
    assert (training["val_fraction"]["value"], training["class_fraction"]["value"]) == (0.3, 0.5)
    assert "warning: --val-share is now called --val-fraction" in shown.stderr


def test_the_classic_recipe_runs_and_is_remembered(discs: Path, tmp_path: Path) -> None:
    run(
        "train", discs, "--recipe", "unet-classic", "--steps", "1", "--out", tmp_path / "run",
        *[part for width in (4, 4, 8, 8, 8) for part in ("--model-options.widths", str(width))],
    )  # fmt: skip
    content = json.loads((tmp_path / "run" / "run.json").read_text())
    assert content["network"]["name"] == "unet"
    assert content["network"]["std"] == [255.0] * 3
    assert content["settings"]["training"]["optimizer"] == "adam"
    assert content["preparation"] == {"resize": [256, 256]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere"], "nowhere"),
        (["train"], "train needs a folder"),
        (["train", "discs", "--minutes", "1", "--steps", "3"], "contradict each other"),
        (["train", "discs", "--model", "unett"], "unett"),
        (["train", "discs", "--recipe", "best"], "There is no recipe 'best'"),
        (["train", "discs", "--out", "discs"], "exists and is not empty"),
        (["train", "--resume", "discs", "--lr", "0.1"], "other settings have no effect"),
        (["train", "--resume", "discs"], "is not a run"),
        (["evaluate", "discs", "discs"], "is not a run"),
        (["predict", "nowhere", "discs"], "nowhere is not a run"),
        (["models", "unett"], "unet"),
        (["train", "discs", "--steps", "1.5"], "--steps 1.5: 1.5 is no whole number"),
        (["plan", "discs", "--batch=2.0", "--lr", "0.5"], "--batch 2.0: 2.0 is no whole number"),
        (["preview", "discs", "--crop", "32", "32.5"], "--crop 32.5: 32.5 is no whole number"),
        (["weak", "a.py", "discs", "--workers", ".5"], "--workers .5: .5 is no whole number"),
    ],
)
def test_mistakes_are_explained_and_exit_2(discs: Path, arguments: list[str], message: str) -> None:
    done = run(*arguments, code=2, cwd=discs.parent)
    assert message in done.stderr
    assert done.stdout == ""


def test_a_wrong_option_is_explained(discs: Path) -> None:
    done = run("train", discs, "--batchsize", "4", code=2)
    assert "--batchsize" in done.stdout + done.stderr


def test_models_are_listed_and_shown() -> None:
    listed = {row["name"]: row for row in json.loads(run("models", "--json").stdout)}
    assert listed["unet"]["parameters"] > 31_000_000
    assert {"fcn-flat", "fcn32s", "fcn16s", "fcn8s", "compact-2"} <= listed.keys()
    assert "31,03" in run("models").stdout
    assert "conv" in run("models", "unet").stdout


def test_the_demo_writes_images_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    refused = run("demo", "--out", tmp_path / "mine", code=2)
    assert "Choose a new folder" in refused.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


EVERY_VERB = [
    *cli.VERBS, *(f"labels {verb}" for verb in cli.LABELS), *(f"scribbles {verb}" for verb in cli.SCRIBBLES)
]  # fmt: skip


@pytest.mark.parametrize("verb", EVERY_VERB)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    shown = run(*verb.split(), "--help").stdout
    assert "Example:" in shown
    assert f"maskwright {verb}" in shown


@pytest.mark.parametrize(("place", "summary"), [*cli.VERBS.values(), *cli.LABELS.values(), *cli.SCRIBBLES.values()])
def test_the_list_of_verbs_says_what_each_says_of_itself(place: str, summary: str) -> None:
    file, name = place.split(":")
    function = getattr(import_module(f"maskwright.cli.{file}"), name)
    assert (function.__doc__ or "").split("\n")[0] == summary


def test_every_verb_runs(discs: Path, write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    """Once each, on the same data (the demo is above); what each does is tested where it is done."""
    unseen, project, script = write_pairs(tmp_path / "unseen", 2, seed=1), tmp_path / "project", tmp_path / "script.py"
    write_pairs(project, 2, seed=2)
    shutil.rmtree(project / "masks")
    first, second = tmp_path / "first", tmp_path / "second"
    commands: list[tuple[str | Path, ...]] = [
        ("check", discs, "--out", tmp_path / "checked"),
        ("preview", discs, "--out", tmp_path / "preview.png", "--rows", "1", "--views", "1"),
        ("convert", discs, tmp_path / "coco", "--to", "coco"),
        ("plan", discs, *TINY),
        ("train", discs, "--out", first, "--steps", "2", *TINY),
        ("train", discs, "--out", second, "--steps", "3", *TINY),
        ("evaluate", first, unseen),
        ("evaluate", second, unseen),
        ("compare", first, second),
        ("predict", first, unseen / "images", "--out", tmp_path / "predicted"),
        ("models", "fcn-flat"),
        ("weak", script, "--new"),
        ("label", project, "--classes", "ground", "disc", "--no-browser"),
        ("labels", "import", project, discs),
        ("labels", "export", project, tmp_path / "exported", "--to", "folder"),
        ("labels", "import", unseen, unseen),
        ("scribbles", "train", unseen, "--out", tmp_path / "strokes"),
    ]
    for command in commands:
        if command[0] == "label":
            end_of_page(*command)
        else:
            run(*command)
    # Two readings of two folders of masks: refused, until one is adopted.
    ambiguous = write_pairs(tmp_path / "ambiguous", 4)
    (ambiguous / "classes.toml").unlink()
    shutil.copytree(ambiguous / "masks", ambiguous / "nuclei")
    (ambiguous / "masks").rename(ambiguous / "cells")
    run("plan", ambiguous, code=2)
    run("adopt", ambiguous, "--as", "1")
    ran = {
        " ".join(map(str, command[:2])) if command[0] in ("labels", "scribbles") else command[0] for command in commands
    }
    assert ran | {"adopt", "demo"} == set(EVERY_VERB)


def test_errors_of_the_disk_are_explained(discs: Path, tmp_path: Path) -> None:
    folder, afile = tmp_path / "run", tmp_path / "afile"
    afile.write_text("")
    run("train", discs, "--out", folder, "--steps", "2", *TINY)
    commands: list[list[str | Path]] = [
        ["predict", folder, discs, "--out", afile],
        ["predict", folder, discs, "--out", afile / "below"],
        ["evaluate", folder, discs, "--out", afile],
        ["check", discs, "--out", afile],
        ["convert", discs, afile / "below", "--to", "coco"],
        ["preview", discs, "--out", afile / "a.png"],
        ["compare", folder, folder, "--out", afile / "a.html"],
    ]
    for words in commands:
        told = run(*words, code=2).stderr
        assert "afile" in told or "compare" in words, told

    # A link whose target is gone is named, and the others are predicted.
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "zz.png").symlink_to(tmp_path / "gone.png")
    shutil.copy(next((discs / "images").iterdir()), tmp_path / "new" / "a.png")
    assert "zz.png" in run("predict", folder, tmp_path / "new", "--out", tmp_path / "out", code=1).stderr
    assert (tmp_path / "out/masks/a.png").exists()


def test_a_full_disk_is_explained(discs: Path, tmp_path: Path) -> None:
    # A limit on the size of files stands for a disk that is full.
    program = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)\n"
        "from maskwright.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "6000", "train", discs, "--out", tmp_path / "run", "--steps", "2", *TINY],
        env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert any(name in done.stderr for name in ("model.safetensors", "plan.toml", "state-00000000.safetensors"))
    assert not [path for path in (tmp_path / "run").rglob(".*") if path.name != runs.LOCK]


def test_no_verb_writes_over_a_user_s_file(discs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run("train", discs, "--out", folder, "--steps", "2", *TINY)
    run("evaluate", folder, discs)
    image = sorted((discs / "images").iterdir())[0]
    before = {path: path.read_bytes() for path in discs.rglob("*") if path.is_file()}
    page, scores = tmp_path / "page/check.html", tmp_path / "scores/scores.json"
    for path in (page, scores):
        path.parent.mkdir()
        path.write_text("mine")
    refused: list[list[str | Path]] = [
        ["predict", folder, discs, "--out", discs],
        ["predict", folder, discs / "images" / "*.png", "--out", "."],
        ["preview", discs, "--out", image],
        ["check", discs, "--out", page.parent],
        ["evaluate", folder, discs, "--out", scores.parent],
        ["compare", folder, folder, "--out", image],
    ]
    for words in refused:
        assert "was not written by Maskwright" in run(*words, code=2, cwd=discs).stderr
    assert {path: path.read_bytes() for path in before} == before
    assert page.read_text() == scores.read_text() == "mine"

    # What it wrote, it may write again; what it wrote is no input.
    for _ in range(2):
        run("predict", folder, discs, "--out", discs / "seen")
    told = run("predict", folder, discs / "seen" / "overlays", "--out", tmp_path / "all", code=2).stderr
    assert "Passed over, as Maskwright wrote them" in told
    mask = next((discs / "seen/masks").glob("*.png"))
    mask.write_bytes(image.read_bytes())
    assert "was changed since" in run("predict", folder, discs, "--out", discs / "seen", code=2).stderr
    run("predict", folder, discs, "--out", discs / "seen", "--overwrite")

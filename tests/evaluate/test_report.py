from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskwright import runs
from maskwright.datasets.classes import ClassTable, LabelClass
from maskwright.errors import RunError
from maskwright.evaluate.evaluation import PICTURES, Evaluation, Picture
from maskwright.evaluate.pictures import render
from maskwright.evaluate.regions import THRESHOLDS, Membranes
from maskwright.evaluate.report import write_report

EVIL = '<script>alert("1")</script><img src="https://evil.example/x.png">'


def _classes(*names: str) -> ClassTable:
    colors = ((70, 130, 180), (128, 64, 128), (220, 220, 0))
    return ClassTable(
        classes=tuple(LabelClass(name=name, color=colors[k], values=(k,)) for k, name in enumerate(names))
    )


def _evaluation(classes: ClassTable, **changes: Any) -> Evaluation:
    """Two images; the whole set is [[11, 1, 0], [1, 8, 0], [0, 0, 0]]."""
    content: dict[str, Any] = {
        "classes": classes,
        "data": "/data/street/val",
        "evaluated": "2026-11-22T22:00:00+0000",
        "ids": ("first", "second"),
        "sizes_N2": np.array([[4, 4], [3, 2]]),
        "confusions_NKK": np.array([[[7, 1, 0], [0, 7, 0], [0, 0, 0]], [[4, 0, 0], [1, 1, 0], [0, 0, 0]]]),
        "boundaries_NK4": np.array([[[3, 4, 3, 3], [2, 2, 2, 4], [0, 0, 0, 0]]] * 2),
        "unlabelled_N": np.array([1, 0]),
        "seconds_N": np.array([0.25, 0.75]),
        "tolerance": 2,
        "membranes": None,
        "membrane_reason": "3 classes; membranes need two",
        "notes": ("val has one video",),
    }
    return Evaluation(**(content | changes))


def _run(folder: Path, classes: ClassTable, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "schema": runs.SCHEMA,
        "kind": "run",
        "created": "2026-11-22T21:50:00+0000",
        "classes": classes.to_dict(),
        "network": {"name": "compact", "options": {}},
        "data": {"path": "/data/street/train", "val": None, "how": "one block of each video held out",
                 "training": ["a", "b", "c"], "validation": ["d"]},
        "settings": {"training": {"steps": 40, "crop": [32, 48], "tta": False, "lr": 0.003}},
        "device": "cpu, 2 threads",
        "software": {"torch": "9.8.7", "python": "3.11"},
        "seed": 5,
        "scores": {"validation_miou": 0.4321, "steps": 40},
        "seconds": 598.3,
    }  # fmt: skip
    runs.write_json(folder / runs.RUN, content | changes)
    return folder


PLAN = """
[training.steps]
value = 40
reason = "as asked"
source = "given"

[training.crop]
value = [32, 48]
reason = "images are 40 x 60"
source = "given"

[training.tta]
value = false
reason = "mirror images are not plausible"
source = "given"

[training.lr]
value = 0.003
reason = "peak rate of compact"
source = "default"

[facts]
images = 3
"""


def _with_everything(folder: Path) -> Path:
    classes = _classes("sky", "road", "pole")
    run = _run(folder, classes)
    runs.write_text(run / runs.PLAN, PLAN)
    lines = [
        {"kind": "step", "step": step, "seconds": step / 2, "loss": 2 / step, "lr": 0.001} for step in range(1, 41)
    ]
    lines += [
        {"kind": "validation", "step": step, "miou": step / 100, "iou": [0.5, step / 80, None]} for step in (20, 40)
    ]
    lines += [{"kind": "clock", "step": 3}]
    runs.write_text(run / runs.LOG, "".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "step", "st')
    out = run / runs.EVALUATIONS / "val"
    truth = np.array([[0, 0, 1], [1, 255, 1]], np.uint8)
    names = {}
    for part, content in render(np.zeros((2, 3, 3), np.uint8), truth, truth * 0, classes, None).items():
        names[part] = f"worst-1-{part}.{'jpg' if part in ('image', 'errors') else 'png'}"
        runs.write_bytes(out / PICTURES / names[part], content)
    _evaluation(classes, pictures=(Picture(kind="worst", place=1, **names),)).save(out)
    return run


class Outline(HTMLParser):
    """Text of a page, and its tags, which must close each other."""

    OPEN_ENDED = frozenset({"meta", "img", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(page)
        assert self.stack == []

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        if tag not in self.OPEN_ENDED:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag
        self.text += "" if tag in ("b", "i", "small", "span", "a", "code") else " "

    def handle_data(self, data: str) -> None:
        self.text += data if not self.stack or self.stack[-1] != "style" else ""


def _read(run: Path) -> tuple[str, Outline]:
    path = write_report(run)
    assert path == run / "report.html"
    page = path.read_text("utf-8")
    return page, Outline(page)


def test_page_shows_the_numbers(tmp_path: Path) -> None:
    page, outline = _read(_with_everything(tmp_path / "street"))
    text = outline.words
    miou = (11 / 13 + 8 / 10) / 2
    assert f"mIoU, 2 images of val {miou:.3f}" in text
    assert "sky 57.1 % 0.846 0.917 0.917 0.917" in text
    assert "pixel accuracy 0.905" in text
    assert "In neither truth nor prediction, and so in no mean: pole." in text
    assert "road taken for sky" in text
    assert "11.1 % of road, 50 % of all wrong pixels" in text
    assert "21 pixels were counted; 1 (4.5 %) were unlabelled" in text
    assert "classes present in truth or prediction of the whole set" in text
    assert "within 2 pixels" in text
    assert "val has one video" in text
    assert "second mIoU 0.650 pixel accuracy 0.833 lowest: road 0.50, sky 0.80" in text
    for fact in ("compact", "street/train", "3 for training, 1 for validation", "9 min 58 s", "cpu, 2 threads"):
        assert fact in text
    assert "one block of each video held out" in text
    assert "best: 0.400 at step 40" in text
    assert "torch 9.8.7" in text
    assert page.count('class="value') == 6  # two rows of three; the class without a pixel has none


def test_page_gives_the_plan_with_reasons_and_the_commands(tmp_path: Path) -> None:
    _, outline = _read(_with_everything(tmp_path / "street"))
    text = outline.words
    assert "lr 0.003 peak rate of compact default" in text
    assert "crop 32 × 48 images are 40 x 60 given" in text
    assert "tta off" in text
    assert "maskwright train /data/street/train --steps 40 --crop 32 48 --no-tta" in text
    assert f"maskwright evaluate {tmp_path / 'street'} /data/street/val" in text


def test_page_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    page, outline = _read(_with_everything(tmp_path / "street"))
    assert "script" not in outline.tags
    assert "link" not in outline.tags
    assert not re.search(r"https?://|url\(|@import", page)
    pictures = [address for address in outline.addresses if not address.startswith("#")]
    assert len(pictures) == 4
    assert all(re.match(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/]+=*$", address) for address in pictures)
    anchors = {address[1:] for address in outline.addresses if address.startswith("#")}
    assert anchors <= set(re.findall(r'id="([^"]+)"', page))
    assert outline.tags.count("img") == len(re.findall(r'<img[^>]* alt="[^"]+"', page)) == 4


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    classes = _classes(EVIL, "road", "pole")
    run = _run(tmp_path / "run", classes, device=EVIL, software={EVIL: EVIL}, data={"path": EVIL, "how": EVIL})
    runs.write_text(
        run / runs.PLAN, f"[training.x]\nvalue = '''{EVIL}'''\nreason = '''{EVIL}'''\nsource = '''{EVIL}'''\n"
    )
    runs.write_text(run / runs.LOG, "".join(
        json.dumps({"kind": "validation", "step": step, "miou": 0.5, "iou": {EVIL: 0.5}}) + "\n" for step in (1, 2)
    ))  # fmt: skip
    _evaluation(classes, ids=(EVIL, "b"), notes=(EVIL,), data=EVIL).save(run / runs.EVALUATIONS / "a'b & c")
    page, outline = _read(run)
    assert "<script" not in page
    assert "img" not in outline.tags
    assert outline.text.count('<script>alert("1")</script>') > 8


def test_a_run_without_evaluation_shows_its_validation(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", _classes("sky", "road"))
    _, outline = _read(run)
    text = outline.words
    assert "mIoU, best validation 0.432" in text
    assert "sky" in text
    assert "Learning curves" not in text


def test_an_interrupted_run_takes_its_facts_from_the_log(tmp_path: Path) -> None:
    run = tmp_path / "run"
    runs.write_json(run / runs.RUN, {"schema": runs.SCHEMA})
    lines = [
        {"kind": "validation", "step": step, "seconds": 30 * step, "miou": miou} for step, miou in ((1, 0.6), (2, 0.5))
    ]
    runs.write_text(run / runs.LOG, "[1]\n" + "".join(json.dumps(line) + "\n" for line in lines))
    _, outline = _read(run)
    text = outline.words
    assert "best validation 0.600" in text
    assert "Duration 1 min 0 s" in text


def test_the_latest_of_several_evaluations_leads(tmp_path: Path) -> None:
    classes = _classes("sky", "road", "pole")
    run = _run(tmp_path / "run", classes)
    _evaluation(classes).save(run / runs.EVALUATIONS / "val")
    perfect = np.array([[[5, 0, 0], [0, 5, 0], [0, 0, 5]]])
    later = {
        "ids": ("one",), "sizes_N2": np.array([[3, 5]]), "confusions_NKK": perfect,
        "boundaries_NK4": np.array([[[1, 1, 1, 1]] * 3]), "unlabelled_N": np.array([0]), "seconds_N": np.array([0.1]),
        "evaluated": "2026-11-23T09:00:00+0000",
    }  # fmt: skip
    _evaluation(classes, **later).save(run / runs.EVALUATIONS / "test")
    _, outline = _read(run)
    text = outline.words
    assert "mIoU, 1 image of test 1.000" in text
    assert text.index("Scores on test 1 image") < text.index("Scores on val 2 images")
    assert "No pixel was wrong." in text


def test_membranes_are_scored_in_words(tmp_path: Path) -> None:
    classes = _classes("wall", "cell")
    scores = np.full((2, len(THRESHOLDS), 2), 0.5)
    scores[:, 3] = (0.91, 0.5)
    scores[:, 6] = (0.5, 0.95)
    evaluation = _evaluation(
        classes,
        confusions_NKK=np.array([[[7, 1], [0, 7]], [[4, 0], [1, 1]]]),
        boundaries_NK4=np.zeros((2, 2, 4), np.int64),
        membranes=Membranes(index=0, thresholds=THRESHOLDS, scores_NT2=scores, argmax_N2=np.full((2, 2), 0.75)),
        membrane_reason="judged by 2 of 2 truth masks: 9% of wall survives",
    )
    run = _run(tmp_path / "run", classes)
    evaluation.save(run / runs.EVALUATIONS / "test")
    _, outline = _read(run)
    text = outline.words
    assert "V_rand 0.910 at membrane probability 0.4 (0.750 for the plain mask)" in text
    assert "V_info 0.950 at membrane probability 0.7 (0.750 for the plain mask)" in text
    assert "A set of membranes, judged by 2 of 2 truth masks: 9% of wall survives" in text
    assert "mean boundary F1 – V_rand 0.910 V_info 0.950" in text


def test_writing_again_replaces_the_page(tmp_path: Path) -> None:
    run = _with_everything(tmp_path / "street")
    write_report(run)
    (run / runs.PLAN).unlink()
    page, _ = _read(run)
    assert "peak rate of compact" not in page
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []


def test_a_folder_that_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("way", ["absolute", "upward", "link", "text"])
def test_a_report_embeds_no_file_from_elsewhere(tmp_path: Path, way: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    run = _with_everything(tmp_path / "run")
    folder = run / runs.EVALUATIONS / "val"
    name = {"absolute": str(secret), "upward": "../../../../secret.txt"}.get(way, "worst-1-image.jpg")
    evaluation = Evaluation.load(folder)
    replace(evaluation, pictures=(replace(evaluation.pictures[0], image=name),)).save(folder)
    if way in ("link", "text"):
        picture = folder / PICTURES / name
        picture.unlink()
        picture.symlink_to(secret) if way == "link" else picture.write_text("the secret")
    with pytest.raises(RunError, match=r"elsewhere|no picture"):
        write_report(run)
    assert not (run / runs.REPORT).exists()


def test_control_characters_in_names_are_shown_escaped(tmp_path: Path) -> None:
    run = _with_everything(tmp_path / "run")
    folder = run / runs.EVALUATIONS / "val"
    replace(Evaluation.load(folder), ids=("a\x1b[31m\u202e", "b\udcff\x9b"), notes=("c\x07",)).save(folder)
    page = write_report(run).read_text("utf-8")
    assert all(text in page for text in ("a\\x1b[31m\\u202e", "b\\udcff\\x9b", "c\\x07"))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", page)
    names = json.loads((folder / "scores.json").read_text("utf-8"))["notes"]
    assert names == ["c\x07"]

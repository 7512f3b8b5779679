"""The whole check: its files, its page, what `train` asks of it, and rules on hand-made sets."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.check import precheck as precheck_module
from maskwright.check.audit import RULES, TITLES, Audit, audit, check
from maskwright.check.leaks import groups_in_two_splits
from maskwright.check.precheck import precheck, refuse_errors
from maskwright.datasets.classes import NO_CLASSES
from maskwright.datasets.formats import open_dataset
from maskwright.errors import DataError, RunError
from maskwright.runs import locked


@pytest.fixture
def split(tmp_path: Path, write_pairs: Callable[..., Path]) -> Path:
    """Eight training and four test pairs."""
    write_pairs(tmp_path / "data" / "train", 8)
    write_pairs(tmp_path / "data" / "test", 4, seed=1)
    return tmp_path / "data"


def kinds(found: Audit) -> set[tuple[str, str]]:
    return {(problem.level, problem.kind) for problem in found.problems}


def test_a_check_writes_a_page_a_result_and_a_cache(split: Path, tmp_path: Path) -> None:
    (split / "train" / "masks" / "photo03.png").unlink()
    Image.fromarray(np.full((40, 48), 3, np.uint8)).save(split / "train" / "masks" / "photo05.png")
    out = tmp_path / "out"
    found = check(split, out)
    assert found.errors == 2
    assert kinds(found) == {("error", "unpaired"), ("error", "undeclared-values")}
    result = json.loads((out / "check.json").read_text())
    assert result["samples"] == 11
    assert [item["kind"] for item in result["problems"]] == ["unpaired", "undeclared-values"]
    assert result["problems"][1]["files"] == [str(split / "train" / "masks" / "photo05.png")]
    assert {item["name"]: item["images"] for item in result["classes"]} == {"ground": 10, "disc": 10}
    assert (out / ".measured.jsonl").is_file()
    rows = found.rows()
    assert rows[0][:3] == ("error", "Files without a partner", "photo03.png")
    page = (out / "check.html").read_text()
    assert "photo03.png" in page
    assert "3 (1920 pixels)" in page
    assert page.count("data:image/jpeg") >= 12  # the montage
    assert "<script" not in page
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)


def test_a_clean_set(split: Path, tmp_path: Path) -> None:
    found = check(split, tmp_path / "out")
    assert (found.errors, found.warnings, found.rows()) == (0, 0, [])
    assert "Nothing wrong was found." in (tmp_path / "out" / "check.html").read_text()


def test_the_page_escapes_names(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    folder = write_pairs(tmp_path / "data", 6)
    name = "<img src=x onerror=alert(1)>.png"
    for part in ("images", "masks"):
        (folder / part / "photo02.png").rename(folder / part / name)
    (folder / "masks" / name).write_bytes(b"broken")
    check(folder, tmp_path / "out")
    page = (tmp_path / "out" / "check.html").read_text()
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def test_many_findings_of_a_kind_are_counted_not_shown(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    folder = write_pairs(tmp_path / "data", 20)
    for path in sorted((folder / "masks").iterdir())[:15]:
        Image.fromarray(np.full((40, 48), 3, np.uint8)).save(path)
    found = check(folder, tmp_path / "out")
    page = (tmp_path / "out" / "check.html").read_text()
    assert page.count('<article class="finding') == 8
    assert "and 7 more" in page
    assert found.rows()[0][:3] == (
        "15 errors",
        TITLES["undeclared-values"],
        "photo00.png, photo01.png, photo02.png and 12 more",
    )


def test_two_checks_do_not_write_in_one_folder(split: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "out"), pytest.raises(RunError, match="in use"):
        check(split, tmp_path / "out")


def test_no_data_at_all_is_an_error_not_a_finding(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        audit(tmp_path / "nothing")


def test_the_same_image_twice_in_one_split_is_a_warning(split: Path) -> None:
    train = split / "train"
    shutil.copy(train / "images" / "photo02.png", train / "images" / "copy.png")
    Image.fromarray(np.full((40, 48), 7, np.uint8)).save(train / "masks" / "copy.png")
    (problem,) = (p for p in audit(split).problems if p.kind == "repeated-image")
    assert problem.level == "warning"
    assert {path.name for path in problem.files} == {"photo02.png", "copy.png"}
    assert "with different masks" in problem.what


def test_groups_may_share_a_split_but_not_two(split: Path) -> None:
    dataset = open_dataset(split)
    groups = ["a", "a", "b", "b", "c", None, None, None, "d", "b", "d", None]
    samples = tuple(replace(s, group=group) for s, group in zip(dataset.samples, groups, strict=True))
    (problem,) = groups_in_two_splits(samples)
    assert problem.level == "error"
    assert "'b' is in more than one split: 2 images in train, 1 images in test" in problem.what
    assert problem.files[0] == samples[9].image.path


def test_precheck_finds_the_same_files_and_the_same_groups(split: Path) -> None:
    assert precheck(open_dataset(split)) == ()
    for part in ("images", "masks"):
        shutil.copy(split / "train" / part / "photo02.png", split / "test" / part / "photo01.png")
    dataset = open_dataset(split)
    grouped = dataset.with_samples(tuple(replace(s, group="all") for s in dataset.samples))
    found = precheck(grouped)
    assert [(p.level, p.kind) for p in found] == [("error", "same-image"), ("error", "same-group")]
    assert {path.parent.parent.name for path in found[0].files} == {"train", "test"}


def test_precheck_finds_undeclared_values_and_damage(split: Path) -> None:
    dataset = open_dataset(split)
    Image.fromarray(np.full((40, 48), 3, np.uint8)).save(split / "train" / "masks" / "photo05.png")
    (split / "test" / "images" / "photo00.png").write_bytes(b"no image")
    assert [p.kind for p in precheck(dataset)] == ["unreadable", "undeclared-values"]


def test_precheck_reads_few_large_pairs(split: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(split)
    monkeypatch.setattr(precheck_module, "_PIXELS", 5 * 40 * 48)
    assert len(precheck_module._spread(dataset.samples)) == 5
    assert precheck_module._spread(()) == ()
    assert precheck(dataset.with_samples(())) == ()
    assert NO_CLASSES.names == []


def test_every_kind_has_a_title() -> None:
    source = Path(audit.__code__.co_filename).parent
    named = set()
    for path in source.glob("*.py"):
        named |= set(re.findall(r'kind="([a-z0-9-]+)"', path.read_text("utf-8")))
    assert named - {"stable"} <= set(TITLES)


def test_no_kind_belongs_to_two_rules() -> None:
    assert len(TITLES) == sum(len(rule.titles) for rule in RULES)


def test_every_title_has_a_row_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "check.md").read_text("utf-8")
    rows = re.findall(r"^\| ([^|]+) \| (?:error|warning) \|", text, re.MULTILINE)
    assert sorted(name for row in rows for name in row.split(" · ")) == sorted(TITLES.values())


def test_the_precheck_refuses_errors_and_says_warnings(split: Path) -> None:
    dataset = open_dataset(split)
    said: list[str] = []
    refuse_errors(dataset, "data", said.append)
    assert said == []
    path = split / "train" / "masks" / "photo04.png"
    Image.fromarray(np.full((40, 48), 7, np.uint8)).save(path, "JPEG")
    refuse_errors(dataset, "data", said.append)
    assert len(said) == 1
    assert said[0].startswith("warning: photo04.png is a JPEG")
    broken = split / "train" / "masks" / "photo05.png"
    Image.fromarray(np.full((40, 48), 3, np.uint8)).save(broken)
    with pytest.raises(DataError, match=r"data has errors:\nphoto05\.png holds 1 value that no class") as refused:
        refuse_errors(dataset, "data", said.append)
    assert refused.value.file == broken
    assert "maskwright check DATA" in refused.value.remedy

"""How well observers agree, and where masks of classes overlap; whose report a folder holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.check.audit import audit, check
from maskwright.check.fixing import fix
from maskwright.check.place import report_folder
from maskwright.errors import OutputError


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels.astype(np.uint8)).save(path)


def picture(seed: int, shape: tuple[int, int] = (8, 10)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*shape, 3))


def square(top: int, left: int) -> np.ndarray:
    mask = np.zeros((8, 10), np.uint8)
    mask[top : top + 4, left : left + 4] = 255
    return mask


def test_the_agreement_of_two_observers_is_their_iou(tmp_path: Path) -> None:
    rows = ["image,mask,rater:Second"]
    for index in range(2):
        save(tmp_path / f"{index}.png", picture(index))
        save(tmp_path / f"{index}_a.png", square(2, 2))
        save(tmp_path / f"{index}_b.png", square(2, 3))
        rows.append(f"{index}.png,{index}_a.png,{index}_b.png")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    found = audit(tmp_path, workers=1)
    (one,) = found.agreements
    # Squares of 16 pixels have 12 in common and 20 together; of 80 pixels, 60 of 68 are background to both.
    assert (one.rater, one.images) == ("Second", 2)
    assert dict(one.iou) == {"background": 60 / 68, "foreground": 12 / 20}
    assert found.to_json()["raters"] == [
        {"rater": "Second", "images": 2, "miou": pytest.approx((60 / 68 + 0.6) / 2), "iou": dict(one.iou)}
    ]
    assert any("Second agrees" in note and "0.600" in note for note in found.notes)
    check(tmp_path, tmp_path.parent / "report", workers=1)
    page = (tmp_path.parent / "report/check.html").read_text()
    assert "Agreement of observers" in page
    assert "0.600" in page


def test_overlaps_of_classes_are_counted_and_the_order_is_said(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture(0))
    save(tmp_path / "crack.png", square(2, 2))
    save(tmp_path / "lane.png", square(2, 4))
    (tmp_path / "manifest.csv").write_text("image,mask:crack,mask:lane\na.png,crack.png,lane.png\n")
    found = audit(tmp_path, workers=1)
    assert found.overlaps is not None
    assert (found.overlaps.pixels, found.overlaps.images) == (8, 1)
    assert found.overlaps.most == (("lane", "crack", 8),)
    assert any("lane over crack (8)" in note for note in found.notes)
    assert found.to_json()["overlaps"]["fraction"] == 8 / 80


def test_reports_of_two_data_sets_never_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for home in ("one/train", "two/train"):
        save(tmp_path / home / "images/a.png", picture(0))
        save(tmp_path / home / "masks/a.png", square(2, 2))
    folders = []
    for home in ("one/train", "two/train", "one/train"):
        folder = report_folder(Path(home), "train")
        check(home, folder, workers=1)
        folders.append(folder.as_posix())
    assert folders == ["checks/train", "checks/train-2", "checks/train"]
    with pytest.raises(OutputError, match="holds the report of"):
        check("two/train", Path("checks/train"), workers=1)
    check("two/train", Path("checks/train"), workers=1, overwrite=True)


def test_a_file_that_changed_is_read_again_under_a_guard(tmp_path: Path) -> None:
    """The cache is rewritten although no record of outputs lists it."""
    from maskwright.outputs import guarded

    data, out = tmp_path / "data", tmp_path / "report"
    save(data / "images/a.png", picture(0))
    save(data / "masks/a.png", square(2, 2))
    for top in (2, 3, 4):
        save(data / "masks/a.png", square(top, 2))
        with guarded(out, asked={"verb": "check"}):
            found = check(data, out, workers=1)
        assert found.errors == 0


def test_smaller_masks_are_enlarged_by_fix(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for index in range(2):
        save(data / f"images/{index}.png", picture(index, (16, 20)))
        save(data / f"masks/{index}.png", square(2, 1 + index))
    found = audit(data, workers=1)
    assert {problem.kind for problem in found.problems if problem.level == "error"} == {"size-mismatch"}
    assert all("check --fix enlarges" in problem.remedy for problem in found.problems if problem.level == "error")
    fixed = fix(found, tmp_path / "fixed")
    assert fixed.written == 2
    assert all("2 times (nearest neighbour)" in line for line in fixed.corrected)
    mask = np.asarray(PillowImage.open(tmp_path / "fixed/masks/0.png"))
    assert (mask == np.kron(square(2, 1) > 0, np.ones((2, 2)))).all()


def test_sizes_that_no_factor_explains_are_left_out(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for index, shape in enumerate(((16, 20), (16, 16))):
        save(data / f"images/{index}.png", picture(index, shape))
        save(data / f"masks/{index}.png", square(2, 1))
    fixed = fix(audit(data, workers=1), tmp_path / "fixed")
    assert fixed.written == 1
    assert any("another size" in line for line in fixed.left_out)

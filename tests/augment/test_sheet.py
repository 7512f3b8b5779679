from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.augment import sheet as module
from maskwright.augment.loader import Loader, Store
from maskwright.augment.sheet import CELL, GAP, MARGIN, sheet
from maskwright.config import Augmentation, Preparation
from maskwright.datasets.formats import open_dataset
from maskwright.imaging import lettering

CLASSES = """
unlabelled = [9]
[[class]]
name = "left"
value = 0
color = "#ff0000"
[[class]]
name = "right"
value = 1
color = "#00ff00"
"""

LONG: dict[str, Any] = {
    "zoom": (0.7, 1.4), "rotation": 5.0, "flip_horizontal": True, "brightness": 0.3, "contrast": 0.2, "noise": 0.2,
    "blur": 1.0, "low_resolution": 0.5, "cut_out": 0.3, "border": "reflect",
}  # fmt: skip


@pytest.fixture
def halves(tmp_path: Path) -> Path:
    """Five grey images of 40 x 60: the left third is one class, the right third the other, between is unlabelled."""
    folder = tmp_path / "halves"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    (folder / "classes.toml").write_text(CLASSES)
    mask = np.repeat(np.repeat(np.array([[0, 9, 1]], np.uint8), 20, 1), 40, 0)
    for index in range(5):
        Image.fromarray(np.full((40, 60), 40 * index, np.uint8)).save(folder / "images" / f"h{index}.png")
        Image.fromarray(mask).save(folder / "masks" / f"h{index}.png")
    return folder


def make_loader(folder: Path, augmentation: Augmentation) -> Loader:
    dataset = open_dataset(folder)
    return Loader(
        Store(dataset, Preparation(), 1e9), dataset.samples, augmentation=augmentation, crop=(40, 40), batch=2,
        class_fraction=0.0, seed=0, mean=0.0, std=1.0,
    )  # fmt: skip


def test_the_sheet_shows_samples_spread_evenly_and_tells_their_classes(halves: Path) -> None:
    loader = make_loader(halves, Augmentation())
    picture, listing = sheet(loader, open_dataset(halves).classes, rows=3, views=2)
    assert picture.dtype == np.uint8
    assert [entry["id"] for entry in listing] == ["h0", "h2", "h4"]
    entry = listing[1]
    assert (entry["height"], entry["width"], entry["channels"], entry["dtype"]) == (40, 60, 1, "uint8")
    assert entry["file"].endswith("h2.png")
    assert entry["shares"] == pytest.approx({"left": 1 / 3, "right": 1 / 3, "unlabelled": 1 / 3}, abs=1e-6)
    assert len(entry["views"]) == 2
    for view in entry["views"]:
        assert sum(view.values()) == pytest.approx(1)
        assert view["unlabelled"] == pytest.approx(0.5)  # a crop of 40 columns shows all 20 of them


def test_cells_show_image_mask_and_what_is_unlabelled(halves: Path) -> None:
    loader = make_loader(halves, Augmentation())
    picture, _ = sheet(loader, open_dataset(halves).classes, rows=5, views=1)
    # The first sample is black; its cell is found by its size, and the mask's lies below.
    black = (picture == 0).all(2)
    y, x = np.argwhere(black)[0]
    assert x == MARGIN
    width = round(CELL * 60 / 40)
    assert black[y : y + CELL, x : x + width].all()
    below = picture[y + CELL + GAP : y + 2 * CELL + GAP, x : x + width]
    third = width // 3
    np.testing.assert_array_equal(below[80, third // 2], [128, 0, 0])
    np.testing.assert_array_equal(below[80, -third // 2], [0, 128, 0])
    between = below[10:-10, third + 4 : 2 * third - 4].reshape(-1, 3)
    assert {tuple(color) for color in np.unique(between, axis=0).tolist()} == {(168, 168, 168), (226, 226, 226)}
    # The other column starts after the widest cell of the first.
    assert black[y : y + CELL, x + width + GAP : x + width + GAP + CELL].all()


def test_views_are_shown_on_the_samples_own_scale(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    ramp = np.tile(np.linspace(1000, 3000, 40).astype(np.uint16), (40, 1))
    tifffile.imwrite(tmp_path / "images" / "a.tif", ramp)
    Image.fromarray((ramp > 2000).astype(np.uint8)).save(tmp_path / "masks" / "a.png")
    dataset = open_dataset(tmp_path)

    def middle(brightness: float) -> float:
        loader = make_loader(tmp_path, Augmentation(brightness=brightness))
        loader.std = 500.0
        picture, _ = sheet(loader, dataset.classes, rows=1, views=1)
        top, column = _first_photo_row(picture), MARGIN + CELL + GAP + CELL // 2
        return float(picture[top + CELL // 2, column].mean())

    assert abs(middle(0.0) - 127) < 8
    assert abs(middle(3.0) - 127) > 20


def _first_photo_row(picture: np.ndarray) -> int:
    """The first row where the left edge of the first cell is not paper."""
    return int(np.argwhere((picture[60:, MARGIN : MARGIN + 4] < 250).all((1, 2)))[0][0]) + 60


def test_more_rows_than_samples_and_no_views_are_fine(halves: Path) -> None:
    loader = make_loader(halves, Augmentation())
    classes = open_dataset(halves).classes
    picture, listing = sheet(loader, classes, rows=50, views=0, title="All", notes=["one", "two"])
    assert len(listing) == 5
    assert picture.shape[1] >= 640
    plain, _ = sheet(loader, classes, rows=50, views=0)
    assert picture.shape[0] == plain.shape[0] + 34 + 40
    noted, _ = sheet(loader, classes, rows=1, views=1)
    longer, _ = sheet(make_loader(halves, Augmentation(**LONG)), classes, rows=1, views=1)
    assert longer.shape[0] == noted.shape[0] + 20  # the settings take two lines


def test_class_names_in_any_script_are_written_or_numbered_with_a_word(
    halves: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    draw = lettering.writable

    def remember(text: str, size: int) -> tuple[str, Any]:
        written.append(draw(text, size)[0])
        return draw(text, size)

    monkeypatch.setattr(module, "writable", remember)
    monkeypatch.setattr(lettering, "_folders", lambda: ())
    table = halves / "classes.toml"
    table.write_text(CLASSES.replace('"left"', '"κύτταρο"').replace('"right"', '"ядро"'), "utf-8")
    sheet(make_loader(halves, Augmentation()), open_dataset(halves).classes, rows=1, views=0)
    assert {"κύτταρο", "ядро"} <= set(written)
    assert not any("No font" in line for line in written)
    table.write_text(CLASSES.replace('"left"', '"κύτταρο"').replace('"right"', '"植物"'), "utf-8")
    written.clear()
    classes = open_dataset(halves).classes
    sheet(make_loader(halves, Augmentation()), classes, rows=1, views=0)
    assert {"κύτταρο", "class 1"} <= set(written)
    assert any("No font on this machine has the letters for the name of class 1" in line for line in written)
    assert module.unwritten_names(classes).startswith(
        "No font on this machine has the letters for the name of class 1:"
    )

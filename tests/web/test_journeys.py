"""Journeys through the labelling page in a real browser; what ends up on disk is compared pixel for pixel."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.imaging.images import read_mask
from maskwright.label.store import Project
from maskwright.web.regions import divided

Tab = Any
"""See `conftest.Tab`."""
Labelling = Callable[..., AbstractContextManager[tuple[Project, str]]]
HEIGHT, WIDTH = 120, 160
GROUND, CELL, SKY = 0, 1, 2


def scene() -> np.ndarray:
    """Grey, with a red disc and a blue corner: flat colours, so that fills have a known answer."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    image[(y - 60) ** 2 + (x - 110) ** 2 <= 400] = (200, 40, 40)
    image[:30, :50] = (60, 90, 210)
    return image


def capsule(start: tuple[int, int], end: tuple[int, int], radius: float) -> np.ndarray:
    """Where pixels are within a radius of a segment between two of them, by the distance of every single one."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    (x0, y0), (x1, y1) = start, end
    length = (x1 - x0) ** 2 + (y1 - y0) ** 2
    t = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / max(length, 1e-9), 0, 1)
    return np.asarray((x - x0 - t * (x1 - x0)) ** 2 + (y - y0 - t * (y1 - y0)) ** 2 <= radius**2 + 1e-6)


def add_image(folder: Path, name: str, image: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        add_image(tmp_path / "scenes" / "images", name, scene())
    return tmp_path / "scenes"


def on_disk(project: Project, name: str = "a") -> np.ndarray:
    project.save()
    return read_mask(project.folder / "labels" / f"{name}.png")


def test_a_scene_is_labelled_and_on_disk_pixel_for_pixel(
    folder: Path, tab: Callable[..., Tab], labelling: Labelling
) -> None:
    expected = np.full((HEIGHT, WIDTH), 255, np.uint8)
    with labelling(folder) as (project, address):
        page = tab(address)
        page.press("b", "2")
        page.ask("app.set({ size: 11 })")
        page.drag((30, 50), (70, 80), (70, 100))
        expected[capsule((30, 50), (70, 80), 5.5) | capsule((70, 80), (70, 100), 5.5)] = CELL
        page.saved()
        assert (on_disk(project) == expected).all()

        page.press("p", "3")
        for corner in ((5, 5), (45, 5), (45, 25), (5, 25)):
            page.click(*corner)
        page.press("Enter")  # the cursor is on the last corner: it closes
        expected[5:25, 5:45] = SKY
        page.saved()
        assert (on_disk(project) == expected).all()

        page.press("f", "2")
        page.click(110, 60)
        page.wait_for("app.editor.revision === 3")
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        expected[(y - 60) ** 2 + (x - 110) ** 2 <= 400] = CELL
        assert (on_disk(project) == expected).all()

        page.press("s", "1")
        page.wait_for("app.editor.regions.window(0, 0)")
        regions = divided(scene(), 200)
        page.drag((20, 110), (20, 110))
        expected[regions == regions[110, 20]] = GROUND
        page.saved()
        assert (on_disk(project) == expected).all()

        page.press("e")
        page.ask("app.set({ size: 9 })")
        page.drag((110, 60), (120, 60))
        before = expected.copy()
        expected[capsule((110, 60), (120, 60), 4.5)] = 255
        page.saved()
        assert (on_disk(project) == expected).all()

        page.press("Control+z")
        page.saved()
        assert (on_disk(project) == before).all()
        page.press("Control+Shift+z")
        page.saved()
        assert (on_disk(project) == expected).all()
        assert (page.labels() == expected).all()

        page.press("g", "1")
        page.click(150, 5)
        ground = expected == 255
        ground[capsule((110, 60), (120, 60), 4.5)] = False  # enclosed by the disc: not connected
        expected[ground] = GROUND
        page.saved()
        assert (on_disk(project) == expected).all()
        assert project.image("a").revision == 8


def test_undo_reaches_behind_a_reload(folder: Path, tab: Callable[..., Tab], labelling: Labelling) -> None:
    with labelling(folder) as (project, address):
        page = tab(address)
        page.press("2")
        page.drag((20, 60), (60, 60))
        page.drag((20, 90), (60, 90))
        page.saved()
        both = on_disk(project)
        page.page.reload()
        page.wait_for("app.editor.image")
        assert (page.labels() == both).all()
        page.press("Control+z")
        page.wait_for("app.editor.revision === 3")
        page.press("Control+z")
        page.wait_for("app.editor.revision === 4")
        assert (page.labels() == 255).all()
        assert (on_disk(project) == 255).all()
        page.press("Control+y")
        page.wait_for("app.editor.revision === 5")
        page.press("Control+y")
        page.wait_for("app.editor.revision === 6")
        assert (on_disk(project) == both).all()
        assert (page.labels() == both).all()


def test_locks_and_only_unlabelled(folder: Path, tab: Callable[..., Tab], labelling: Labelling) -> None:
    with labelling(folder) as (project, address):
        page = tab(address)
        page.ask("app.set({ size: 21 })")
        page.press("2")
        page.drag((40, 60), (40, 60))
        page.press("3", "u")
        page.drag((50, 60), (50, 60))
        first, second = capsule((40, 60), (40, 60), 10.5), capsule((50, 60), (50, 60), 10.5)
        expected = np.full((HEIGHT, WIDTH), 255, np.uint8)
        expected[second] = SKY
        expected[first] = CELL
        page.saved()
        assert (on_disk(project) == expected).all()
        page.press("u", "e")
        page.ask("app.set({ locked: [1] })")
        page.drag((45, 60), (45, 60))
        expected[capsule((45, 60), (45, 60), 10.5) & ~first] = 255
        page.saved()
        assert (on_disk(project) == expected).all()


def test_two_tabs_are_told_and_nothing_is_overwritten(
    folder: Path, tab: Callable[..., Tab], labelling: Labelling
) -> None:
    with labelling(folder) as (project, address):
        one = tab(address)
        two = tab(address)
        one.press("2")
        one.drag((20, 60), (40, 60))
        one.saved()
        two.wait_for("app.editor.revision === 1")  # it follows by itself
        assert (two.labels() == one.labels()).all()
        two.page.get_by_text("Also open: ada").wait_for()

        two.page.context.set_offline(True)  # so that it paints on what it does not know to be old
        two.press("3")
        two.drag((100, 100), (120, 100))
        one.drag((20, 90), (40, 90))
        one.saved()
        kept = on_disk(project)
        two.page.context.set_offline(False)
        two.page.get_by_text("was changed elsewhere").wait_for()
        assert (on_disk(project) == kept).all()
        two.button("Put mine on top")
        two.saved()
        mine = capsule((100, 100), (120, 100), 12)
        expected = np.where(mine, SKY, kept)
        assert (on_disk(project) == expected).all()
        assert (two.labels() == expected).all()
        one.wait_for("app.editor.revision === 3")
        assert (one.labels() == expected).all()


def test_offline_strokes_arrive_later_even_after_a_reload(
    folder: Path, tab: Callable[..., Tab], labelling: Labelling
) -> None:
    with labelling(folder) as (project, address):
        page = tab(address)
        page.page.context.set_offline(True)
        page.press("2")
        page.drag((20, 60), (40, 60))
        page.drag((20, 90), (40, 90))
        page.press("Control+z")
        page.page.get_by_text("Offline, 3 waiting").wait_for()
        expected = np.where(capsule((20, 60), (40, 60), 12), CELL, 255)
        assert (page.labels() == expected).all()
        assert project.image("a").revision == 0
        context, url = page.page.context, page.page.url
        page.page.evaluate("window.onbeforeunload = null")
        page.page.close(run_before_unload=False)
        context.set_offline(False)
        again = tab(url, context=context)
        again.saved()
        assert (on_disk(project) == expected).all()
        assert project.image("a").revision == 3
        assert (again.labels() == expected).all()


PROGRAM = """
import sys
from pathlib import Path
from maskwright.label.store import Project
from maskwright.web.labelling import labelling_page
from maskwright.web.serving import place_for, serve
folder = Path(sys.argv[1])
with Project(folder, classes=("ground", "cell", "sky") if sys.argv[3] == "new" else None) as project:
    place = place_for(str(folder), ["ada"], port=int(sys.argv[2]))
    page = labelling_page(project, place.door)
    serve(page, place, ready=lambda: print(place.addresses["ada"], flush=True))
"""


def test_a_killed_server_costs_no_stroke(folder: Path, tab: Callable[..., Tab]) -> None:
    def start(port: int, age: str) -> tuple[subprocess.Popen[str], str]:
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), str(port), age], stdout=subprocess.PIPE, text=True
        )
        assert program.stdout is not None
        return program, program.stdout.readline().strip()

    program, address = start(0, "new")
    with program:
        page = tab(address)
        port = urlsplit(address).port
        assert port is not None
        page.press("2")
        page.drag((20, 60), (40, 60))
        page.saved()
        page.move(20, 90)
        page.page.mouse.down()
        program.kill()
        program.wait(10)
    page.move(40, 90)
    page.page.mouse.up()
    page.drag((100, 20), (140, 20))
    page.page.get_by_text("Offline, 2 waiting").wait_for()
    program, _ = start(port, "old")
    with program:
        page.saved()
        page.page.get_by_text("Saved, revision 3").wait_for()
        program.terminate()
        program.wait(20)
    drawn = [((20, 60), (40, 60)), ((20, 90), (40, 90)), ((100, 20), (140, 20))]
    expected = np.where(np.any([capsule(*stroke, 12) for stroke in drawn], axis=0), CELL, 255)
    assert (read_mask(folder / "labels" / "a.png") == expected).all()


def test_sixteen_bits_are_shown_by_their_range(tmp_path: Path, tab: Callable[..., Tab], labelling: Labelling) -> None:
    ramp = np.linspace(1000, 3000, WIDTH).astype(np.uint16)
    (tmp_path / "deep").mkdir()
    tifffile.imwrite(tmp_path / "deep" / "a.tif", np.tile(ramp, (HEIGHT, 1)))
    with labelling(tmp_path / "deep") as (project, address):
        page = tab(address)
        look = (
            "((context, p) => context.getImageData(Math.round(p.x), Math.round(p.y), 1, 1).data[0])"
            "(app.screen.image, app.editor.view.toScreen({x} + 0.5, 60))"
        )
        dark, bright = page.ask(look.replace("{x}", "2")), page.ask(look.replace("{x}", "157"))
        assert dark < 10
        assert bright > 245
        page.ask("app.editor.tiles.show({ ...app.editor.tiles.shown, low: [1500], high: [1600] })")
        page.wait_for("!app.editor.tiles.loading")
        page.page.wait_for_timeout(100)
        assert page.ask(look.replace("{x}", "20")) == 0
        assert page.ask(look.replace("{x}", "80")) == 255
        page.press("2")
        page.drag((20, 60), (40, 60))
        page.saved()
        assert (on_disk(project) == np.where(capsule((20, 60), (40, 60), 12), CELL, 255)).all()


def test_pages_of_a_stack_are_labelled_one_by_one(
    tmp_path: Path, tab: Callable[..., Tab], labelling: Labelling
) -> None:
    (tmp_path / "stack").mkdir()
    tifffile.imwrite(tmp_path / "stack" / "a.tif", np.full((3, HEIGHT, WIDTH), 100, np.uint8), photometric="minisblack")
    with labelling(tmp_path / "stack") as (project, address):
        page = tab(address)
        page.press("2", "PageDown")
        page.wait_for("app.editor.image.page === 1 && !app.editor.tiles.loading")
        page.drag((20, 60), (40, 60))
        page.button("Copy labels to the next page")
        page.wait_for("app.editor.image.page === 2 && app.editor.revision === 1")
        page.saved()
        project.save()
        labels = tifffile.imread(tmp_path / "stack" / "labels" / "a.tif")
    expected = np.full((3, HEIGHT, WIDTH), 255, np.uint8)
    expected[1:, capsule((20, 60), (40, 60), 12)] = CELL
    assert (labels == expected).all()


@pytest.mark.parametrize("ratio", [1, 2, 1.5])
def test_labels_are_drawn_where_they_are_at_any_resolution(
    folder: Path, tab: Callable[..., Tab], ratio: float, labelling: Labelling
) -> None:
    with labelling(folder) as (_, address):
        page = tab(address, device_scale_factor=ratio)
        assert page.ask("app.screen.overlay.canvas.width") == round(page.ask("app.screen.stage.clientWidth") * ratio)
        page.press("2")
        page.ask("app.set({ opacity: 1, outlines: false, size: 21 })")
        page.drag((40, 60), (40, 60))
        page.saved()
        page.page.wait_for_timeout(100)
        drawn = page.ask(
            "[[40, 60], [30, 60], [29, 60], [50, 60], [51, 60], [100, 100]].map(([x, y]) => {"
            "const p = app.editor.view.toScreen(x + 0.5, y + 0.5);"
            "return Array.from(app.screen.overlay.getImageData(Math.floor(p.x), Math.floor(p.y), 1, 1).data); })"
        )
        orange = [230, 159, 0, 255]
        assert drawn == [orange, orange, [0] * 4, orange, [0] * 4, [0] * 4]


def test_everything_by_keyboard(folder: Path, tab: Callable[..., Tab], labelling: Labelling) -> None:
    with labelling(folder) as (project, address):
        page = tab(address)
        page.page.locator("#stage").focus()
        page.press("b", "2", "ArrowRight")
        page.ask("app.set({ size: 7 })")
        x, y = page.ask("[app.tools.hover.x, app.tools.hover.y]")
        page.press("Enter", "Shift+ArrowRight", "Shift+ArrowRight", "ArrowDown", "Enter")
        page.saved()
        strokes = [((x, y), (x + 10, y)), ((x + 10, y), (x + 20, y)), ((x + 20, y), (x + 20, y + 1))]
        expected = np.where(np.any([capsule(*stroke, 3.5) for stroke in strokes], axis=0), CELL, 255)
        assert (on_disk(project) == expected).all()
        page.press("Control+z")
        page.saved()
        assert (on_disk(project) == 255).all()
        page.press("?")
        page.page.get_by_role("heading", name="Keys").wait_for()
        page.press("Escape")
        page.press("d")
        page.wait_for("app.editor.image.name === 'b'")
        assert project.image("a").status == "done"
        page.press("n")
        page.wait_for("app.editor.image.name === 'c'")


def test_classes_are_added_renamed_and_merged(folder: Path, tab: Callable[..., Tab], labelling: Labelling) -> None:
    with labelling(folder) as (project, address):
        page = tab(address)
        page.press("3")
        page.drag((20, 60), (40, 60))
        page.button("Add a class")
        page.page.get_by_label("Name").last.fill("tree")
        page.button("Add")
        page.wait_for("app.classes.length === 4")
        assert project.classes.names == ["ground", "cell", "sky", "tree"]
        page.page.get_by_title("sky (3)").dblclick()
        page.page.get_by_label("Merge into").select_option("cell")
        page.button("Save")
        page.wait_for("app.classes.length === 3")
        assert (on_disk(project) == np.where(capsule((20, 60), (40, 60), 12), CELL, 255)).all()
        page.wait_for("app.editor.map.at(30, 60) === 1")


class Halves:
    """Proposes one class on the left and another on the right."""

    name, model = "halves", "5eed"

    def values(self, state: Any) -> np.ndarray:
        proposed = np.full(state.shape, GROUND, np.uint8)
        proposed[:, WIDTH // 2 :] = CELL
        return proposed


def test_suggestions_are_taken_over_as_the_models(folder: Path, tab: Callable[..., Tab], labelling: Labelling) -> None:
    with labelling(folder, suggester=Halves()) as (project, address):
        page = tab(address)
        page.wait_for("app.editor.suggestion")
        page.press("3")
        page.drag((80, 20), (80, 20))
        human = capsule((80, 20), (80, 20), 12)
        page.press("a")
        page.ask("app.set({ size: 15 })")
        page.drag((70, 90), (90, 90))
        accepted = capsule((70, 90), (90, 90), 7.5)
        proposed = Halves().values(project.image("a"))
        page.saved()
        expected = np.where(human, SKY, np.where(accepted, proposed, 255))
        assert (on_disk(project) == expected).all()
        origins = project.read("a").origins
        assert (origins == np.where(human, 1, np.where(accepted, 3, 0))).all()
        page.button("Accept all")
        page.saved()
        assert (on_disk(project) == np.where(human, SKY, proposed)).all()
        assert (project.read("a").origins == np.where(human, 1, 3)).all()


def test_a_large_image_comes_in_tiles(tmp_path: Path, tab: Callable[..., Tab], labelling: Labelling) -> None:
    (tmp_path / "map").mkdir()
    rows = (np.tile(np.arange(12_000, dtype=np.uint32) >> 6, (512, 1)).astype(np.uint8) for _ in range(18))
    tiles = (band[:, left : left + 512] for band in rows for left in range(0, 12_000, 512))
    padded = (np.pad(tile, ((0, 0), (0, 512 - tile.shape[1]))) for tile in tiles)
    tifffile.imwrite(tmp_path / "map" / "a.tif", padded, shape=(9000, 12_000), dtype=np.uint8, tile=(512, 512))
    with labelling(tmp_path / "map") as (project, address):
        start = time.monotonic()
        page = tab(address)
        opened = time.monotonic() - start
        page.ask("app.look(() => { app.editor.view.scale = 4; app.editor.view.centre(11000, 8000); })")
        page.press("2")
        page.drag((10_990, 8000), (11_010, 8000))
        page.saved()
        window = project.read("a").values[7980:8021, 10_970:11_031]
    y, x = np.mgrid[-20:21, -30:31]
    outside = np.maximum(np.abs(x) - 10, 0)
    assert (window == np.where(outside**2 + y**2 <= 144, CELL, 255)).all()
    assert opened < 30

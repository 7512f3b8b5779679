"""What the labelling page answers: pictures, labels, patches, and refusals."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.errors import SettingError
from maskwright.imaging.decoders import Window
from maskwright.label.patches import KEEP, decode, encode
from maskwright.label.store import Project
from maskwright.web.app import Door
from maskwright.web.labelling import first_classes, labelling_page
from maskwright.web.pictures import Picture, Shown, levels
from maskwright.web.regions import alike, divided, window_around

Client = Any
Served = Callable[..., AbstractContextManager[Client]]
HEIGHT, WIDTH = 40, 60


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    folder = tmp_path / "my cells" / "images"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)).save(folder / f"{name}.png")
    with Project(folder.parent, classes=("ground", "cell"), pause=None) as opened:
        yield opened


@pytest.fixture
def client(project: Project, served: Served) -> Iterator[Client]:
    def make(door: Door) -> Any:
        return labelling_page(project, door)

    with served(make) as stranger:
        yield stranger.sign_in()


def runs(answer: Any, shape: tuple[int, int]) -> np.ndarray:
    assert answer.status == 200, answer.body
    return decode(gzip.decompress(answer.body), Window(0, 0, *shape))


def paint(client: Client, values: np.ndarray, base: int, key: str, *, image: int = 1, **query: Any) -> Any:
    asked = {"base": base, "key": key, "seconds": 1.5, "box": f"2,3,{values.shape[0]},{values.shape[1]}", **query}
    words = "&".join(f"{name}={value}" for name, value in asked.items())
    return client.post(f"/api/images/{image}/patches?{words}", encode(values.astype(np.uint16)))


def test_the_page_knows_images_and_classes(client: Client) -> None:
    found = client.get("/api/project").json()
    assert (found["name"], found["person"], found["suggester"]) == ("my cells", "ada", None)
    assert [one["name"] for one in found["classes"]] == ["ground", "cell"]
    assert [one["value"] for one in found["classes"]] == [0, 1]
    assert [(one["name"], one["width"], one["height"]) for one in found["images"]] == [("a", 60, 40), ("b", 60, 40)]


def test_a_patch_is_acknowledged_with_its_revision_and_author(client: Client, project: Project) -> None:
    cells = np.array([[1, KEEP], [0, 255]])
    assert paint(client, cells, 0, "k1").json() == {"revision": 1}
    expected = np.full((HEIGHT, WIDTH), 255)
    expected[2, 3], expected[3, 3] = 1, 0
    answer = client.get("/api/images/1/labels")
    assert (runs(answer, (HEIGHT, WIDTH)) == expected).all()
    assert answer.headers["x-revision"] == "1"
    assert (runs(client.get("/api/images/1/labels?box=2,3,2,2"), (2, 2)) == expected[2:4, 3:5]).all()
    assert project.journal.rows("SELECT author, seconds, key FROM entry") == [("ada", 1.5, "k1")]


def test_a_patch_whose_answer_was_lost_is_applied_once(client: Client, project: Project) -> None:
    cells = np.ones((2, 2))
    for _ in range(3):
        assert paint(client, cells, 0, "k1").json() == {"revision": 1}
    assert paint(client, cells * 0, 1, "k2").json() == {"revision": 2}
    assert paint(client, cells, 0, "k1").json() == {"revision": 1}
    for _ in range(2):
        answer = client.post("/api/images/1/undo", {"base": 2, "key": "k3"})
        assert answer.json() == {"revision": 3, "box": [2, 3, 2, 2]}
    assert project.image("a").revision == 3
    assert (project.read("a").values[2:4, 3:5] == 1).all()


def test_a_stale_patch_is_refused_with_409(client: Client, project: Project) -> None:
    assert paint(client, np.ones((2, 2)), 0, "k1").status == 200
    answer = paint(client, np.zeros((2, 2)), 0, "k2")
    assert answer.status == 409
    assert answer.json()["kind"] == "StaleRevisionError"
    assert client.post("/api/images/1/undo", {"base": 0, "key": "k3"}).status == 409
    assert (project.read("a").values[2:4, 3:5] == 1).all()


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ({"box": "0,0,2,2"}, b"short"),
        ({"box": "39,59,2,2"}, encode(np.ones((2, 2), np.uint16))),
        ({"box": "-1,0,2,2"}, encode(np.ones((2, 2), np.uint16))),
        ({"box": "0,0,1000000,1000000"}, encode(np.ones((2, 2), np.uint16))),
        ({"box": "0,0,2"}, encode(np.ones((2, 2), np.uint16))),
        ({"box": "0,0,x,2"}, encode(np.ones((2, 2), np.uint16))),
        ({"box": "0,0,2,2"}, encode(np.full((2, 2), 77, np.uint16))),
        ({"box": "0,0,2,2", "model": "5eed"}, encode(np.ones((2, 2), np.uint16))),
        ({"box": "0,0,2,2", "base": "x"}, b""),
        ({"box": "0,0,2,2", "seconds": "nan"}, b""),
        ({"box": "nan,0,2,2"}, b""),
        ({"box": "1e400,0,2,2"}, b""),
    ],
)
def test_a_malformed_patch_changes_nothing(
    client: Client, project: Project, query: dict[str, str], body: bytes
) -> None:
    asked = {"base": "0", "key": "k", "seconds": "1", **query}
    words = "&".join(f"{name}={value}" for name, value in asked.items())
    answer = client.post(f"/api/images/1/patches?{words}", body)
    assert answer.status == 400, answer.body
    assert b"my cells" not in answer.body
    assert project.image("a").revision == 0


def test_what_is_not_there_is_told_without_paths(client: Client, tmp_path: Path) -> None:
    for path in ("/api/images/9", "/api/images/9/labels", "/api/images/9/thumbnail", "/api/images/1/suggestion"):
        answer = client.get(path)
        assert answer.status == 400
        assert str(tmp_path).encode() not in answer.body
    (tmp_path / "my cells" / "images" / "b.png").write_bytes(b"broken")
    answer = client.get("/api/images/2")
    assert answer.status == 400
    assert answer.json()["what"].startswith("images/b.png cannot be read")


def test_status_notes_and_their_rules(client: Client, project: Project) -> None:
    assert client.post("/api/images/1/status", {"status": "done"}).json()["status"] == "done"
    assert client.post("/api/images/1/status", {"status": "flagged"}).status == 400
    assert client.post("/api/images/1/status", {"status": "flagged", "note": "blurred"}).status == 200
    assert (project.image("a").status, project.image("a").note) == ("flagged", "blurred")
    for body in (b"{", b"[]", b"", b"\xff", b"[" * 100_000):
        assert client.post("/api/images/1/status", body).status == 400


def test_a_second_tab_is_told(client: Client) -> None:
    def others(tab: str, image: int) -> Any:
        return client.get(f"/api/state?tab={tab}&image={image}").json()["others"]

    assert others("one", 1) == []
    assert others("two", 1) == ["ada"]
    assert others("one", 1) == ["ada"]
    assert others("two", 2) == []
    assert others("one", 1) == []


def test_classes_change_and_pixels_follow(client: Client, project: Project) -> None:
    paint(client, np.ones((2, 2)), 0, "k1")
    added = client.post("/api/classes", {"action": "add", "name": "sky", "color": "#112233"}).json()["classes"]
    assert added[2] == {"value": 2, "name": "sky", "color": "#112233"}
    assert client.get("/api/counts").json() == {"1": {"1": 4}, "2": {}}
    assert client.post("/api/classes", {"action": "merge", "name": "cell", "into": "sky"}).status == 200
    assert client.get("/api/counts").json() == {"1": {"2": 4}, "2": {}}
    assert client.post("/api/classes", {"action": "rename", "name": "sky", "new": "ground"}).status == 400
    assert client.post("/api/classes", {"action": "burn", "name": "sky"}).status == 400
    assert client.post("/api/classes", {"action": "recolor", "name": "sky", "color": "red; x"}).status == 400
    assert client.post("/api/classes", {"action": "add", "name": "  "}).status == 400
    assert project.classes.names == ["ground", "sky"]


def test_tiles_are_the_image_and_thumbnails_are_small(client: Client, project: Project) -> None:
    words = "channels=0,1,2&low=0,0,0&high=255,255,255"
    answer = client.get(f"/api/images/1/tiles/0/0/0?{words}")
    assert answer.headers["content-type"] == "image/png"
    picture = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
    original = np.asarray(Image.open(project.folder / "images" / "a.png"))
    assert picture is not None
    assert (picture[..., ::-1] == original).all()
    for path in ("1/0/0", "0/1/0", "0/0/-1", "0/-1/0", "-1/0/0", "60/0/0"):
        assert client.get(f"/api/images/1/tiles/{path}?{words}").status == 400
    for wrong in (
        "channels=3&low=0&high=1",
        "channels=-1&low=0&high=1",
        "channels=0&low=nan&high=1",
        "channels=0,1&low=0,0&high=1,1",
        "channels=0&low=0&high=1&gamma=0",
        "channels=x&low=0&high=1",
        "channels=nan&low=0&high=1",
    ):
        assert client.get(f"/api/images/1/tiles/0/0/0?{wrong}").status == 400, wrong
    thumbnail = client.get("/api/images/1/thumbnail")
    assert thumbnail.headers["content-type"] == "image/jpeg"


def test_superpixels_and_fills_are_those_of_the_image(client: Client, project: Project) -> None:
    original = np.asarray(Image.open(project.folder / "images" / "a.png"))
    answer = client.get("/api/images/1/superpixels/0/0?area=50")
    found = np.frombuffer(gzip.decompress(answer.body), "<u2").reshape(HEIGHT, WIDTH)
    assert (found == divided(original, 50)).all()
    assert client.get("/api/images/1/superpixels/0/1").status == 400
    body = {"row": 5, "column": 6, "tolerance": 0.3, "connected": False}
    near = (np.abs(original.astype(int) - original[5, 6].astype(int)) <= round(0.3 * 255)).all(2)
    assert (runs(client.post("/api/images/1/regions/alike", body), (HEIGHT, WIDTH)) == near).all()
    for wrong in ({"row": 40}, {"row": -1}, {"row": "5"}, {"tolerance": "wide"}, {"tolerance": None}):
        assert client.post("/api/images/1/regions/alike", {**body, **wrong}).status == 400, wrong


def test_a_fill_stops_at_colours_and_goes_by_edges() -> None:
    image = np.full((5, 5, 1), 100, np.uint8)
    image[2, :] = image[:, 2] = 180
    assert alike(image, 0, 0, 0.1, connected=True).sum() == 4
    assert alike(image, 0, 0, 0.1, connected=False).sum() == 16
    assert alike(image, 0, 0, 0.5, connected=True).all()


def test_a_fill_of_a_map_stays_near_the_click() -> None:
    window = window_around((9000, 12_000), 8990, 20)
    assert window.top + window.height == 9000
    assert window.left == 0
    assert window.height * window.width <= 32_000_000


def test_sixteen_bits_keep_their_steps_until_they_are_shown() -> None:
    values = np.array([[[1000], [1001], [2000], [65535]]], np.uint16)
    shown = Shown(channels=(0,), low=(1000,), high=(1010,))(values)
    assert shown.tolist() == [[0, 26, 255, 255]]
    bands = np.dstack([np.full((1, 1), value, np.float32) for value in (0.0, 0.5, 1.0, 2.0)])
    assert Shown(channels=(3, 1, 0), low=(0, 0, 0), high=(2, 1, 1))(bands).tolist() == [[[255, 128, 0]]]
    assert Shown(channels=(1,), low=(0,), high=(1,), gamma=2.0)(bands).tolist() == [[round(0.5**0.5 * 255)]]
    with pytest.raises(SettingError):
        Shown(channels=(0, 1), low=(0, 0), high=(1, 1))


def test_a_tiled_map_is_read_in_windows_and_reduced_by_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    whole = rng.integers(0, 60_000, (1300, 2100, 2), np.uint16)
    tifffile.imwrite(
        tmp_path / "map.tif",
        whole,
        tile=(256, 256),
        photometric="minisblack",
        planarconfig="contig",
        compression="zlib",
    )
    monkeypatch.setattr("maskwright.web.pictures._LARGE", 1000)
    monkeypatch.setattr("maskwright.web.pictures._OVERVIEW", 256)
    windows, plain = Picture(tmp_path / "map.tif", None, (1300, 2100)), None
    monkeypatch.setattr("maskwright.web.pictures._LARGE", 10**9)
    plain = Picture(tmp_path / "map.tif", None, (1300, 2100))
    assert levels((1300, 2100)) == 3
    assert windows.bytes < plain.bytes / 10
    shown = Shown(channels=(1,), low=(0,), high=(60_000,))
    for level, row, column in ((0, 0, 0), (0, 2, 4), (1, 1, 2), (2, 0, 1), (3, 0, 0)):
        tiles = [picture.tile(level, row, column, shown) for picture in (windows, plain)]
        one, other = (cv2.imdecode(np.frombuffer(t, np.uint8), cv2.IMREAD_GRAYSCALE).astype(int) for t in tiles)  # type: ignore[union-attr]
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= 1
    exact = cv2.imdecode(np.frombuffer(plain.tile(0, 1, 2, shown), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert exact is not None
    part = whole[512:1024, 1024:1536, 1]
    assert (exact == np.rint(part / np.float32(60_000) * 255).astype(np.uint8)).all()


def test_first_classes(tmp_path: Path) -> None:
    assert first_classes(tmp_path, None) == ("background", "object")
    (tmp_path / "classes.toml").write_text("")
    assert first_classes(tmp_path, None) is None
    run = tmp_path / "run"
    run.mkdir()
    table = {"class": [{"name": "sea", "value": 0}, {"name": "land", "value": 1}]}
    (run / "run.json").write_text(json.dumps({"schema": 1, "classes": table}))
    (tmp_path / "new").mkdir()
    assert first_classes(tmp_path / "new", run) == ("sea", "land")

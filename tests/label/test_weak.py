"""Labels by script: what is labelled, what stays, what fails, and what is kept of it."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.cli import app
from maskwright.datasets.formats import open_dataset
from maskwright.errors import ClassTableError, DataError, SettingError, UnreadableFileError
from maskwright.imaging.images import read_image, read_mask
from maskwright.label import weak, weak_page
from maskwright.label.sheets import parameter_sheet, vote_sheet
from maskwright.label.store import Origin, Patch, Project
from maskwright.label.voters import Script, read_script

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "weak").glob("*.py"))
N = 255

SIMPLE = """
import numpy as np
CLASSES = ["ground", "cell"]
threshold = 100

def label(image):
    gray = image[..., 0]
    return np.where(gray > threshold, 1, np.where(gray < 20, 0, 255))
"""

VOTING = """
from maskwright.label.voters import votes
CLASSES = ["ground", "cell"]
SUPERPIXEL = 0
CONFIDENCE = 0.7
threshold = 100

@votes("cell", otherwise="ground")
def first(image):
    return image[..., 0] > threshold

@votes("cell", otherwise="ground")
def second(image):
    return image[..., 0] > 90

@votes("cell", otherwise="ground")
def third(image):
    return image[..., 0] > 140

@votes("ground")
def left(image):
    import numpy as np
    return np.arange(image.shape[1])[None] + np.zeros((image.shape[0], 1)) < 4
"""


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Two images of 24 x 32: ground of 10, a blurred edge of 50, a cell of 200."""
    for place, name in enumerate("ab"):
        pixels = np.full((24, 32), 10, np.uint8)
        pixels[6:18, 8 + place : 24] = 50
        pixels[8:16, 10 + place : 22] = 200
        path = tmp_path / "cells" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "cells"


def script(tmp_path: Path, text: str, name: str = "script.py") -> Script:
    path = tmp_path / name
    path.write_text(textwrap.dedent(text))
    return read_script(path)


def run(folder: Path, read: Script, **options: object) -> weak.Outcome:
    with weak.begin(folder, read) as project:
        done = weak.label_by_script(project, read, workers=1, **options)  # type: ignore[arg-type]
        weak_page.write_page(project, read, done)
    return done


def test_the_simple_form_labels_and_leaves_the_rest_unlabelled(cells: Path, tmp_path: Path) -> None:
    done = run(cells, script(tmp_path, SIMPLE))
    expected = np.zeros((24, 32), int)
    expected[6:18, 8:24] = N
    expected[8:16, 10:22] = 1
    assert (read_mask(cells / "labels" / "a.png") == expected).all()
    origins = read_mask(cells / "labels" / "sources" / "a.png")
    assert (origins == np.where(expected == N, Origin.UNLABELLED, Origin.SCRIPT)).all()
    assert [image.name for image in done.images] == ["a", "b"]
    assert done.images[0].labelled == pytest.approx((expected != N).mean())
    data = open_dataset(cells)
    assert data.classes.names == ["ground", "cell"]
    assert len(data.samples) == 2


def test_running_again_changes_nothing_and_another_parameter_does(cells: Path, tmp_path: Path) -> None:
    assert run(cells, script(tmp_path, VOTING)).changed == 2
    first = read_mask(cells / "labels" / "a.png")
    assert run(cells, script(tmp_path, VOTING)).changed == 0
    changes = {"threshold": "40"}
    read = read_script(tmp_path / "script.py", changes)
    assert read.parameters == {"threshold": 40}
    done = run(cells, read, changes=changes)
    assert done.voters[0].conflict > 0
    kept = json.loads((done.folder / "weak.json").read_text())
    assert kept["parameters"] == {"threshold": 40}
    assert (done.folder / "script.py").read_text() == (tmp_path / "script.py").read_text()
    assert read.mark != read_script(tmp_path / "script.py").mark
    with Project(cells, pause=None) as project:
        authors = [row[0] for row in project.journal.rows("SELECT DISTINCT author FROM entry")]
    assert authors[0] == f"script.py {read_script(tmp_path / 'script.py').mark}"
    assert (first[10, 12], first[0, 0]) == (1, 0)


def test_several_processes_give_the_same_labels(cells: Path, tmp_path: Path) -> None:
    read = script(tmp_path, VOTING)
    one = run(cells, read)
    before = read_mask(cells / "labels" / "b.png")
    with weak.begin(cells, read) as project:
        steps: list[tuple[int, int]] = []
        two = weak.label_by_script(project, read, workers=2, progress=lambda done, total: steps.append((done, total)))
    assert two.changed == 0
    assert (one.voters, one.images, one.priors) == (two.voters, two.images, two.priors)
    assert (read_mask(cells / "labels" / "b.png") == before).all()
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_majority_leaves_ties_and_reliability_settles_conflicts(cells: Path, tmp_path: Path) -> None:
    text = VOTING.replace("def left", "def right").replace("< 4", ">= 11")  # "ground" for most of the cell
    done = run(cells, script(tmp_path, text), method="majority")
    labels = read_mask(cells / "labels" / "a.png")
    assert (labels[10, 10], labels[10, 12], labels[0, 0]) == (1, 1, 0)  # 3 of 3, 3 of 4
    assert done.priors is None
    confidence = read_image(done.folder / "confidence" / "a.png").pixels[..., 0]
    assert (confidence[10, 10], confidence[10, 12]) == (255, round(0.75 * 255))
    tied = text.replace('@votes("cell", otherwise="ground")\ndef third', '@votes("ground")\ndef third').replace(
        "> 140", "> 0"
    )
    run(cells, script(tmp_path, tied), method="majority")
    assert read_mask(cells / "labels" / "a.png")[10, 12] == N


def test_human_and_accepted_pixels_stay(cells: Path, tmp_path: Path, paint: Callable[..., Patch]) -> None:
    from dataclasses import replace

    read = script(tmp_path, SIMPLE)
    with weak.begin(cells, read) as project:
        project.apply(paint(np.zeros((3, 3), int), 0, top=9, left=11))
        accepted = paint(np.zeros((2, 2), int), 1, top=13, left=14, origin=Origin.MODEL_ACCEPTED)
        project.apply(replace(accepted, model="5eed"))
    done = run(cells, read)
    labels, origins = (read_mask(cells / "labels" / place / "a.png") for place in (".", "sources"))
    assert (labels[9:12, 11:14] == 0).all()
    assert (origins[9:12, 11:14] == Origin.HUMAN).all()
    assert (labels[13:15, 14:16] == 0).all()
    assert labels[9, 14] == 1
    assert done.true == 0  # the human called cell what the script calls cell: none of nine agree
    assert done.voters[0].true == 0


def test_images_of_the_validation_set_are_left_out(cells: Path, tmp_path: Path) -> None:
    read = script(tmp_path, SIMPLE)
    with weak.begin(cells, read) as project:
        project.freeze_validation(["b"], "ada")
    done = run(cells, read)
    assert done.left_out == ("b",)
    assert not (cells / "labels" / "b.png").exists()


def test_figures_of_votes(cells: Path, tmp_path: Path) -> None:
    done = run(cells, script(tmp_path, VOTING.replace("> 140", "> 40")))
    first, _, third, left = done.voters
    edge = np.mean([(12 * 16 - 8 * 12) / 768, (12 * 15 - 8 * 11) / 768])
    assert (first.coverage, first.overlap) == (1, 1)
    assert first.conflict == pytest.approx(edge)
    assert third.conflict == pytest.approx(edge)
    assert left.coverage == left.overlap == pytest.approx(4 / 32)
    assert left.conflict == 0
    assert left.estimated == pytest.approx(1, abs=1e-3)
    assert first.estimated is not None
    assert third.estimated is not None
    assert first.estimated > third.estimated
    page = (done.folder / "report.html").read_text()
    assert "Most conflicting images" in page
    assert page.count("data:image/jpeg") == 2


def test_a_failing_function_is_named_and_the_others_go_on(cells: Path, tmp_path: Path) -> None:
    text = VOTING.replace("import numpy as np\n", "x = 1 / (image.name != 'b')\n    import numpy as np\n")
    done = run(cells, script(tmp_path, text))
    (failure,) = done.failures
    assert (failure.voter, failure.image) == ("left", "b")
    line = text.splitlines().index("    x = 1 / (image.name != 'b')") + 1
    assert failure.line == line
    assert str(failure) == f"left, line {line}, on b: ZeroDivisionError: division by zero"
    assert [voter.failed for voter in done.voters] == [0, 0, 0, 1]
    assert (read_mask(cells / "labels" / "b.png") != N).any()


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("image[:3, :, 0] > 5", "shape"),
        ("image[..., 0] * 1", "uint8"),
        ("image.gray * 7", "outside 0 to 1"),
    ],
)
def test_what_is_no_vote_is_told(cells: Path, tmp_path: Path, result: str, said: str) -> None:
    done = run(cells, script(tmp_path, VOTING.replace("image[..., 0] > 90", result)))
    assert said in done.failures[0].what
    assert {failure.voter for failure in done.failures} == {"second"}


def test_undeclared_values_and_complete_failure_are_refused(cells: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"failed on every image.*it gave the value 7; expected 0, 1, 255"):
        run(cells, script(tmp_path, SIMPLE.replace("threshold, 1", "threshold, 7")))
    assert not (cells / "labels" / "a.png").exists()


def test_soft_votes_abstain_where_nobody_knows(cells: Path, tmp_path: Path) -> None:
    read = script(
        tmp_path,
        """
        import numpy as np
        from maskwright.label.voters import votes
        CLASSES = ["ground", "cell"]
        @votes("cell", otherwise="ground")
        def soft(image):
            gray = image[..., 0]
            return np.where(gray == 50, np.nan, np.where(gray == 10, 0.2, 0.8))
        @votes("cell")
        def never(image):
            return None if soft(image).shape == image.shape[:2] else 1 / 0
        """,
    )
    assert not run(cells, read).failures
    labels = read_mask(cells / "labels" / "a.png")
    assert (labels[0, 0], labels[10, 12]) == (0, 1)
    assert mostly_unlabelled(labels[6:8, 8:24])


def mostly_unlabelled(part: np.ndarray) -> bool:
    """At least most of it: superpixels may reach a pixel or two into the rim."""
    return bool((part == N).mean() > 0.5)


def test_a_script_that_cannot_be_read_says_where(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"script\.py, line 2: ZeroDivisionError"):
        script(tmp_path, "\nx = 1 / 0\n")
    with pytest.raises(UnreadableFileError, match=r"line 1: SyntaxError"):
        script(tmp_path, "def label(image:\n")
    with pytest.raises(SettingError, match="no function that labels"):
        script(tmp_path, "CLASSES = ['a', 'b']\n")
    with pytest.raises(SettingError, match="'rock', which is not in CLASSES"):
        script(tmp_path, VOTING.replace('@votes("ground")', '@votes("rock")'))
    path = script(tmp_path, SIMPLE).path
    with pytest.raises(SettingError, match="no parameter 'thresold'"):
        read_script(path, {"thresold": "3"})
    with pytest.raises(SettingError, match="expected a number"):
        read_script(path, {"threshold": "high"})


def test_classes_must_be_those_of_the_project(cells: Path, tmp_path: Path) -> None:
    with pytest.raises(ClassTableError):
        run(cells, script(tmp_path, SIMPLE.replace("CLASSES", "OTHER")))
    (cells / "classes.toml").write_text('[[class]]\nname = "cell"\nvalue = 0\n[[class]]\nname = "rock"\nvalue = 1\n')
    with pytest.raises(DataError, match="labels the class 'ground', and the project has cell, rock"):
        run(cells, script(tmp_path, SIMPLE))


def test_names_of_classes_decide_not_their_order(cells: Path, tmp_path: Path) -> None:
    names = ("rock", "cell", "ground")
    table = "".join(f'[[class]]\nname = "{name}"\nvalue = {value}\n' for value, name in enumerate(names))
    (cells / "classes.toml").write_text(table)
    run(cells, script(tmp_path, VOTING))
    labels = read_mask(cells / "labels" / "a.png")
    assert (labels[0, 0], labels[10, 12]) == (2, 1)
    run(cells, script(tmp_path, SIMPLE, "simple.py"))  # its values are places in its own CLASSES
    labels = read_mask(cells / "labels" / "a.png")
    assert (labels[0, 0], labels[10, 12]) == (2, 1)


def test_companions_are_no_images(cells: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((24, 32), 5, np.uint8)).save(cells / "a_dapi.png")
    done = run(cells, script(tmp_path, SIMPLE + "\nCOMPANIONS = ['dapi']\n"))
    assert [image.name for image in done.images] == ["a", "b"]


def test_pages_of_a_stack_have_their_own_labels_and_companions(tmp_path: Path) -> None:
    import tifffile

    stack = np.zeros((3, 20, 24), np.uint8)
    stain = np.stack([np.full((20, 24), value, np.uint8) for value in (0, 50, 200)])
    for place, pixels in (("images", stack), ("stain", stain)):
        (tmp_path / "s" / place).mkdir(parents=True)
        tifffile.imwrite(tmp_path / "s" / place / "a.tif", pixels, photometric="minisblack")
    (tmp_path / "s" / "dose.csv").write_text("image,dose\na.tif,3\n")
    text = """
    CLASSES = ["dark", "bright"]
    def label(image):
        stain = image.companion("stain")
        return (stain > 100) * 1 if image.values["dose"] == 3 else None
    """
    read = script(tmp_path, text)
    done = run(tmp_path / "s", read)
    assert [image.name for image in done.images] == ["a-000", "a-001", "a-002"]
    pages = [read_mask(tmp_path / "s" / "labels" / "a.tif", page) for page in range(3)]
    assert [set(np.unique(page).tolist()) for page in pages] == [{0}, {0}, {1}]
    assert vote_sheet(read, tmp_path / "s").images == ("a",)


def test_a_trained_run_votes(cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from maskwright.datasets.classes import ClassTable, LabelClass
    from maskwright.predict.predictor import Predictor

    table = ClassTable(
        classes=tuple(LabelClass(name=n, color=(v, v, v), values=(v,)) for v, n in enumerate(("cell", "ground")))
    )
    asked: list[Path] = []

    class Sure:
        classes = table

        def __call__(self, image: np.ndarray, valid: np.ndarray, *, name: str) -> object:
            cell = image[..., 0] > 100
            chance = np.where(cell, 0.95, np.where(image[..., 0] < 20, 0.03, 0.6))
            return SimpleNamespace(probabilities=np.stack([chance, 1 - chance], 2), mask=np.zeros(cell.shape, np.uint8))

    def load(path: Path) -> Sure:
        asked.append(path)
        return Sure()

    monkeypatch.setattr(Predictor, "load", load)
    text = """
    from maskwright.label.voters import trained
    CLASSES = ["ground", "cell"]
    network = trained("runs/first", at_least=0.9)
    """
    done = run(cells, script(tmp_path, text))
    labels = read_mask(cells / "labels" / "a.png")
    assert (labels[0, 0], labels[10, 12], labels[6, 8]) == (0, 1, N)
    assert set(asked) == {tmp_path / "runs" / "first"}
    assert done.voters[0].name == "run first"


def test_sheets_show_votes_and_parameters(cells: Path, tmp_path: Path) -> None:
    read = script(tmp_path, VOTING)
    sheet = vote_sheet(read, cells, 2)
    assert sheet.images == ("a", "b")
    assert sheet.picture.shape[1] > 6 * 32
    compared = parameter_sheet(read.path, cells, "threshold", ["30", "100"], {}, 1)
    assert compared.images == ("a",)
    assert sorted(path.name for path in cells.iterdir()) == ["a.png", "b.png"], "nothing is written"


def test_the_verb(cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*words: object) -> str:
        app([str(word) for word in words], result_action="return_value")
        out = capsys.readouterr()
        return out.out + out.err

    own = tmp_path / "own.py"
    assert "--preview" in call("weak", "--new", own)
    with pytest.raises(SettingError, match="exists"):
        call("weak", "--new", own)
    (tmp_path / "classes.toml").write_text(
        '[[class]]\nname = "soil"\nvalue = 0\n[[class]]\nname = "object"\nvalue = 1\n'
    )
    call("weak", "--new", tmp_path / "soil.py", tmp_path)
    assert read_script(tmp_path / "soil.py").classes == ("soil", "object")
    assert {voter.of for voter in read_script(tmp_path / "soil.py").voters} == {"soil", "object"}
    picture = tmp_path / "preview.png"
    assert "2 image(s)" in call("weak", own, cells, "--preview", "--out", picture)
    assert read_image(picture).pixels.shape[2] == 3
    call("weak", own, cells, "--set", "margin=0.01,0.1", "--out", picture)
    with pytest.raises(SettingError, match="several values to margin and x"):
        call("weak", own, cells, "--set", "margin=0.01,0.1", "--set", "x=1,2")
    said = call("weak", own, cells, "--set", "margin=0.02")
    assert re.search(r"brighter_than_otsu +object or background", said)
    assert "2 changed" in said
    result = json.loads(call("weak", own, cells, "--method", "majority", "--json").split("Labelled")[0])
    assert result["parameters"] == {"margin": 0.05}
    assert {voter["name"] for voter in result["voters"]} == {
        "brighter_than_otsu",
        "brighter_than_around",
        "flat_and_dark",
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_label_pictures_of_their_kind(path: Path, tmp_path: Path) -> None:
    """Scenes drawn here: two or three in four pixels at least are labelled, and nearly all of these are right."""
    image, truth = scene(path.stem)
    home = tmp_path / "scene"
    for place, pixels in (("images", image), ("dapi", (truth * 180).astype(np.uint8))):
        (home / place).mkdir(parents=True)
        Image.fromarray(pixels).save(home / place / "a.png")
    done = run(home, read_script(path))
    assert not done.failures
    labels = read_mask(home / "labels" / "a.png")
    told = labels != N
    assert told.mean() > 0.7
    assert (labels == truth)[told].mean() > 0.93
    for index in (0, 1):
        assert ((labels == index) & (truth == index)).sum() > 0.5 * (truth == index).sum()


def scene(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """An image as a script expects it, and its classes."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:192, :192]
    noise = rng.normal(0, 4, (192, 192, 1))
    if kind == "membranes":
        truth = ~((x % 48 < 5) | (y % 48 < 5))
        image = np.where(truth, 170, 70)[..., None] + noise
    elif kind == "vessels":
        truth = (np.hypot(x - 96, y - 96) < 80) & (
            (np.abs(x - y) < 4) | (np.abs(x + y - 192) < 3) | (np.abs(y - 130) < 3)
        )
        lit = np.hypot(x - 96, y - 96) < 90
        image = np.where(lit, 1.0, 0.02)[..., None] * (np.array([200, 120, 60]) - 60 * truth[..., None] + noise)
    elif kind == "vegetation":
        truth = np.hypot(x % 64 - 32, y % 64 - 32) < 18
        image = np.where(truth[..., None], [70, 150, 50], [130, 100, 70]) + noise
    else:
        truth = np.hypot(x % 64 - 32, y % 64 - 32) < 20
        image = np.where(truth, 190, 15)[..., None] + noise
        image = np.repeat(image, 3, 2) if kind == "nuclei" else image
    image = np.clip(image, 0, 255).astype(np.uint8)
    return image.squeeze(), truth.astype(np.uint8)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.datasets.classes import ClassTable, LabelClass
from maskwright.datasets.sources import Source
from maskwright.errors import DataError, EmptyDataError, PairingError
from maskwright.imaging.images import read_image
from maskwright.predict.files import Image as Found
from maskwright.predict.files import find_images, predict_files
from maskwright.predict.predictor import Prediction, Predictor

CLASSES = ClassTable(
    classes=(
        LabelClass(name="dark", color=(0, 0, 200), values=(0,)),
        LabelClass(name="bright", color=(250, 250, 0), values=(1,)),
    )
)


class Threshold:
    """Stands for a predictor: bright where grey is above 99; refuses colour."""

    classes = CLASSES
    channels = 1

    def __call__(self, image: np.ndarray, valid: np.ndarray | None = None, *, name: str = "") -> Prediction:
        if image.shape[2] != 1:
            raise DataError(f"{name} has {image.shape[2]} channel(s). Expected 1.")
        mask = (image[:, :, 0] > 99).astype(np.uint8)
        probabilities = np.stack([1.0 - mask, mask], 2).astype(np.float32)
        return Prediction(image=image, mask=mask, probabilities=probabilities, classes=CLASSES)


@pytest.fixture
def predictor() -> Predictor:
    return Threshold()  # type: ignore[return-value]


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def grey(*values: int) -> np.ndarray:
    return np.array([values], np.uint8)


def paths(*patterns: str) -> list[Path]:
    return [found.source.path for found in find_images(*patterns)]


def given(*files: Path) -> list[Found]:
    return [Found(name=file.stem, source=Source(path=file)) for file in files]


def test_files_folders_and_patterns_are_found_in_order(tmp_path: Path) -> None:
    b, a = save(tmp_path / "set" / "images" / "b.png", grey(1)), save(tmp_path / "set" / "images" / "a.tif", grey(1))
    (tmp_path / "set" / "images" / "notes.txt").write_text("no image")
    (tmp_path / "set" / "images" / ".hidden.png").write_text("no image")
    assert paths(str(b)) == [b]
    assert paths(str(tmp_path / "set")) == [a, b]
    assert paths(str(tmp_path / "set" / "images")) == [a, b]
    assert paths(str(tmp_path / "*" / "images" / "*")) == [a, b]
    assert paths(str(tmp_path / "**" / "b.*")) == [b]
    assert paths(str(b), str(a), str(tmp_path / "set")) == [a, b]


def test_nothing_found_and_two_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EmptyDataError, match=r"no image for '.*nowhere/\*.png'. Expected a file, a folder or a quoted"):
        find_images(str(tmp_path / "nowhere" / "*.png"))
    save(tmp_path / "a.png", grey(1))
    save(tmp_path / "a.tif", grey(1))
    with pytest.raises(PairingError, match=r"two files for one name: a.png and a.tif"):
        find_images(str(tmp_path))


def test_outputs_are_named_and_counted(predictor: Predictor, tmp_path: Path) -> None:
    image = save(tmp_path / "in" / "cell.png", grey(0, 120, 200, 255))
    (written,) = predict_files(predictor, given(image), tmp_path / "out", probabilities=True, uncertainty=True)
    assert written.shares == {"dark": 0.25, "bright": 0.75}
    assert written.uncertainty == 0
    assert np.asarray(Image.open(tmp_path / "out" / "masks" / "cell.png")).tolist() == [[0, 1, 1, 1]]
    assert np.asarray(Image.open(tmp_path / "out" / "uncertainty" / "cell.png")).tolist() == [[0, 0, 0, 0]]
    with np.load(tmp_path / "out" / "probabilities" / "cell.npz") as archive:
        assert archive["probabilities"].dtype == np.float16
        assert archive["probabilities"][:, 0].tolist() == [[1, 0, 0, 0], [0, 1, 1, 1]]
    assert read_image(tmp_path / "out" / "overlays" / "cell.png").pixels.shape == (1, 4, 3)


def test_inputs_are_never_written_over(predictor: Predictor, tmp_path: Path) -> None:
    image = save(tmp_path / "masks" / "cell.png", grey(0, 120))
    before = image.read_bytes()
    with pytest.raises(PairingError, match=r"would overwrite an input. Choose another folder with --out"):
        predict_files(predictor, given(image), tmp_path)
    assert image.read_bytes() == before


def test_a_bad_image_does_not_stop_the_others_and_is_named(predictor: Predictor, tmp_path: Path) -> None:
    images = [save(tmp_path / "in" / f"{name}.png", grey(7, 200)) for name in ("a", "c", "d")]
    images.insert(1, save(tmp_path / "in" / "b.png", np.zeros((2, 2, 3), np.uint8)))
    images[2].write_bytes(images[2].read_bytes()[:20])
    with pytest.raises(DataError) as caught:
        predict_files(predictor, given(*images), tmp_path / "out")
    text = str(caught.value)
    assert "2 of 4 image(s) could not be predicted" in text
    assert f"{images[1]} has 3 channel(s). Expected 1" in text
    assert str(images[2]) in text
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["a.png", "d.png"]

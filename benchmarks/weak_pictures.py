"""The pictures of docs/weak.md: each example script on an image that anybody can make, and how right its labels are.

    python benchmarks/weak_pictures.py docs

Images are generated, so that their classes are known, or photographs that come with scikit-image: `coins`, and `retina`
at half size, of which the truth is not known.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import tifffile
from skimage import data

from maskwright import console
from maskwright.datasets.classes import UNLABELLED
from maskwright.imaging.images import display, read_mask
from maskwright.imaging.writing import write_picture
from maskwright.label.sheets import colored, draw, table_of
from maskwright.label.views import View
from maskwright.label.voters import read_script
from maskwright.label.weak import begin, label_by_script
from maskwright.synthetic import scene

SCRIPTS = Path(__file__).parents[1] / "examples" / "weak"
EDGE = 256


def nuclei(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Blurred ellipses of different brightness on a dark ground (uint8), and where they are."""
    rng = np.random.default_rng(seed)
    truth, bright = np.zeros((EDGE, EDGE), np.uint8), np.zeros((EDGE, EDGE), np.float32)
    for _ in range(34):
        x, y = rng.integers(0, EDGE, 2).tolist()
        axes, turn = rng.integers(7, 15, 2).tolist(), float(rng.uniform(0, 180))
        cv2.ellipse(truth, (x, y), axes, turn, 0, 360, 1, -1)
        cv2.ellipse(bright, (x, y), axes, turn, 0, 360, float(rng.uniform(50, 200)), -1)
    image = cv2.GaussianBlur(bright, (0, 0), 1.5) + 12 + rng.normal(0, 4, truth.shape)
    return np.clip(image, 0, 255).astype(np.uint8)[..., None], truth


def plants(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rosettes of leaves in light and shade on clods of soil (uint8 RGB), and where they are."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((EDGE, EDGE), np.uint8)
    clods = cv2.GaussianBlur(rng.normal(0, 60, truth.shape), (0, 0), 2.5) + rng.normal(0, 7, truth.shape)
    image = np.array([124, 96, 70]) + clods[..., None]
    for _ in range(22):
        (x, y), leaves = rng.integers(10, EDGE - 10, 2).tolist(), int(rng.integers(4, 8))
        green = np.array([62, 128, 44]) * float(rng.uniform(0.6, 1.3))
        for leaf in range(leaves):
            angle = 360 * leaf / leaves + float(rng.uniform(-15, 15))
            at = (round(x + 9 * np.cos(np.radians(angle))), round(y + 9 * np.sin(np.radians(angle))))
            shape = np.zeros_like(truth)
            cv2.ellipse(shape, at, (10, 4), angle, 0, 360, 1, -1)
            truth |= shape
            image = np.where(shape[..., None] == 1, green * float(rng.uniform(0.8, 1.2)) + clods[..., None] / 3, image)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 0.7), 0, 255).astype(np.uint8), truth


def example(name: str) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """An image for a script, its classes where they are known, and a companion where the script needs one."""
    if name == "coins":
        return np.asarray(data.coins())[..., None], None, None  # type: ignore[no-untyped-call]
    if name == "vessels":
        retina = np.asarray(data.retina())  # type: ignore[no-untyped-call]
        return cv2.resize(retina, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), None, None
    if name == "membranes":
        return *scene("cells", 3), None
    if name == "vegetation":
        return *plants(6), None
    image, truth = nuclei(4)
    if name == "nuclei":
        return image, truth, None
    rng = np.random.default_rng(5)
    phase = (
        128
        + 14 * cv2.GaussianBlur(rng.normal(0, 5, truth.shape), (0, 0), 2)
        - 12 * cv2.Laplacian(cv2.GaussianBlur(truth.astype(np.float64), (0, 0), 2), cv2.CV_64F, ksize=5)
    )
    return np.clip(phase, 0, 255).astype(np.uint8)[..., None], truth, image[..., 0]


def main() -> None:
    """Write the pictures, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    rows = []
    for path in sorted(SCRIPTS.glob("*.py")):
        image, truth, companion = example(path.stem)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            (folder / "images").mkdir()
            tifffile.imwrite(
                folder / "images" / "a.tif", image, photometric="minisblack" if image.shape[2] != 3 else "rgb"
            )
            if companion is not None:
                (folder / "dapi").mkdir()
                tifffile.imwrite(folder / "dapi" / "a.tif", companion)
            script = read_script(path)
            with begin(folder, script) as project:
                done = label_by_script(project, script, workers=1)
            labels, table = read_mask(folder / "labels" / "a.png"), table_of(script, folder)
        right = "–"
        if truth is not None:
            told = labels != UNLABELLED
            right = f"{(labels == truth)[told].mean():.3f}"
        rows.append((path.stem, f"{done.labelled:.1%}", right))
        shown = View(image)
        cells = [display(image), colored(shown, labels, table)]
        titles = ["image", "labels"]
        if companion is not None:
            cells.insert(1, np.repeat(companion[..., None], 3, 2))
            titles.insert(1, "dapi")
        write_picture(options.out / f"weak-{path.stem}.jpg", draw(titles, [(path.name, cells)]))
    console.print_table("Labels by the example scripts", ("script", "labelled", "right where labelled"), rows)


if __name__ == "__main__":
    main()

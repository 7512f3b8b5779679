"""Sets that need a check most: it never fails, writes a page, and refuses what training refuses, by the same rules."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.check.audit import CACHE, PAGE, RESULT, check
from maskwright.check.place import OWNER
from maskwright.config import Settings, Training
from maskwright.errors import MaskwrightError
from maskwright.training import session

Damage = Callable[[Path, np.random.Generator], None]
SHAPE = (40, 48)


def each(part: str, change: Callable[[Path, np.random.Generator], None], count: int = 8) -> Damage:
    """Do something to the first files of a folder."""

    def do(root: Path, rng: np.random.Generator) -> None:
        for path in sorted((root / part).iterdir())[:count]:
            change(path, rng)

    return do


def content(write: Callable[[np.random.Generator], bytes]) -> Callable[[Path, np.random.Generator], None]:
    def change(path: Path, rng: np.random.Generator) -> None:
        path.write_bytes(write(rng))

    return change


def tiff(draw: Callable[[np.random.Generator], np.ndarray]) -> Callable[[Path, np.random.Generator], None]:
    def change(path: Path, rng: np.random.Generator) -> None:
        path.unlink()
        pixels = draw(rng)
        kind = "rgb" if pixels.ndim == 3 and pixels.shape[2] == 3 else "minisblack"
        tifffile.imwrite(path.with_suffix(".tif"), pixels, photometric=kind, planarconfig="contig")

    return change


def png(draw: Callable[[np.random.Generator], np.ndarray]) -> Callable[[Path, np.random.Generator], None]:
    return lambda path, rng: Image.fromarray(draw(rng)).save(path)


def renamed(path: Path, rng: np.random.Generator) -> None:
    path.rename(path.with_name(f"drawing{3 * int(path.stem[-2:]) + 40}.png"))


def as_folder(path: Path, rng: np.random.Generator) -> None:
    path.unlink()
    path.mkdir()


def linked_to_nothing(path: Path, rng: np.random.Generator) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all.png")


def halved(path: Path, rng: np.random.Generator) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def file(name: str, text: str, without: str = "") -> Damage:
    def do(root: Path, rng: np.random.Generator) -> None:
        if without:
            shutil.rmtree(root / without)
        (root / name).write_text(text)

    return do


def both(first: Damage, second: Damage) -> Damage:
    def do(root: Path, rng: np.random.Generator) -> None:
        first(root, rng)
        second(root, rng)

    return do


def no_table(root: Path, rng: np.random.Generator) -> None:
    (root / "classes.toml").unlink()


def floats(value: float) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: np.full(SHAPE, value, np.float32)


REFUSED: dict[str, Damage] = {
    "nothing pairs": each("masks", renamed),
    "masks are junk": each("masks", content(lambda rng: rng.bytes(200))),
    "masks are noise": both(no_table, each("masks", png(lambda rng: rng.integers(0, 256, SHAPE, np.uint8)))),
    "masks are 16-bit noise": both(
        no_table, each("masks", tiff(lambda rng: rng.integers(0, 65536, SHAPE, np.uint16)))
    ),
    "masks are photographs": both(
        no_table, each("masks", png(lambda rng: rng.integers(0, 256, (*SHAPE, 3), np.uint8)))
    ),
    "masks are floats": each("masks", tiff(lambda rng: rng.random(SHAPE, np.float32))),
    "masks are NaN": each("masks", tiff(floats(np.nan))),
    "masks are unlabelled": each("masks", png(lambda rng: np.full(SHAPE, 255, np.uint8))),
    "one mask of TIFFs is an empty file": both(
        no_table,
        both(
            each("masks", tiff(lambda rng: rng.integers(0, 2, SHAPE, np.uint8))),
            each("masks", content(lambda rng: b""), 1),
        ),
    ),
    "masks are of another size": each("masks", png(lambda rng: np.zeros((5, 7), np.uint8))),
    "masks are links to nothing": each("masks", linked_to_nothing),
    "masks are folders": each("masks", as_folder),
    "images are junk": each("images", content(lambda rng: b"\x89PNG\r\n\x1a\n" + rng.bytes(100))),
    "images are empty files": each("images", content(lambda rng: b"")),
    "images are folders": each("images", as_folder),
    "images are cut in half": each("images", halved),
    "images are NaN": each("images", tiff(floats(np.nan))),
    "images are infinite": each("images", tiff(floats(np.inf))),
    "images have five bands among RGB": each(
        "images", tiff(lambda rng: rng.integers(0, 256, (*SHAPE, 5), np.uint8)), 3
    ),
    "images have 16 bits among 8": each(
        "images", tiff(lambda rng: rng.integers(0, 65536, (*SHAPE, 3), np.uint16)), 3
    ),
    "a manifest of wrong paths": file("manifest.csv", "image,mask\n" + "".join(f"i/{i},m/{i}\n" for i in range(6))),
    "a manifest of folders": file("manifest.csv", "image,mask\nimages,masks\nimages,masks\n"),
    "a class table that is no TOML": file("classes.toml", "[[class]\nname="),
    "a class table of other values": file(
        "classes.toml", '[[class]]\nname = "a"\nvalue = 9\n[[class]]\nname = "b"\nvalue = 8\n'
    ),
    "annotations of nothing": file("annotations.json", '{"images": [], "annotations": null, "categories": 3}', "masks"),
    "annotations of other images": file(
        "annotations.json",
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "x.png", "width": 4, "height": 4}],
                "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 1, 1, 0, 1]]}],
                "categories": [{"id": 1, "name": "a"}],
            }
        ),
        "masks",
    ),
}  # fmt: skip
TAKEN: dict[str, Damage] = {
    "grey images among RGB": each("images", png(lambda rng: rng.integers(0, 256, SHAPE, np.uint8)), 3),
    "one value of 3e38": each(
        "images",
        tiff(lambda rng: np.where(np.arange(1920).reshape(SHAPE), rng.random(SHAPE, np.float32), np.float32(3e38))),
    ),
    "a mask of one class": each("masks", png(lambda rng: np.zeros(SHAPE, np.uint8)), 1),
}  # fmt: skip
TINY = Training(model="compact-2", model_options={"widths": [4, 4]}, crop=(32, 32), batch=2, steps=2, val_fraction=0.25)


@pytest.mark.parametrize("name", [*REFUSED, *TAKEN])
def test_check_and_plan_go_by_the_same_rules(discs: Path, tmp_path: Path, name: str) -> None:
    (REFUSED | TAKEN)[name](discs, np.random.default_rng(0))
    for _ in range(2):  # the second time with what the first has kept
        found = check(discs, tmp_path / "out", workers=1)
        assert (found.errors > 0) == (name in REFUSED), [problem.what for problem in found.problems]
        result = json.loads((tmp_path / "out" / RESULT).read_text())
        assert result["errors"] == found.errors
        assert all(problem.what and problem.remedy for problem in found.problems)
        assert "<html" in (tmp_path / "out" / PAGE).read_text()
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {PAGE, RESULT, CACHE, OWNER, ".lock"}
    if name in REFUSED:
        with pytest.raises(MaskwrightError):
            session.prepare(discs, Settings(training=TINY))
    else:
        session.prepare(discs, Settings(training=TINY))

"""Pictures for docs/label.md: `MASKWRIGHT_PICTURES=docs pytest tests/web/test_pictures.py` makes them anew."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskwright.imaging.decoders import Window
from maskwright.label.patches import KEEP, encode
from maskwright.label.store import Patch, Project
from maskwright.synthetic import class_table, scene

Labelling = Callable[..., AbstractContextManager[tuple[Project, str]]]
SIZE = (384, 512)


def keep(page: Any, name: str, tmp_path: Path) -> np.ndarray:
    """A picture of the window, kept where the environment says; as pixels."""
    content = page.page.screenshot()
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    picture.save(Path(os.environ.get("MASKWRIGHT_PICTURES", tmp_path)) / name, quality=82)
    return np.asarray(picture)


def test_pictures_of_the_page(tmp_path: Path, tab: Callable[..., Any], labelling: Labelling) -> None:
    folder = tmp_path / "street"
    (folder / "images").mkdir(parents=True)
    scenes = [scene("street", seed, SIZE) for seed in range(12)]
    for number, (image, _) in enumerate(scenes):
        Image.fromarray(image).save(folder / "images" / f"street-{number:02}.jpg", quality=92)
    names = class_table("street").names
    with labelling(folder, classes=tuple(names)) as (project, address):
        shown = ("road", "building", "sky", "person")
        for number, (_, mask) in enumerate(scenes[:3]):
            part = np.isin(mask, [names.index(name) for name in shown]) if number == 2 else np.ones(SIZE, bool)
            payload = encode(np.where(part, mask, KEEP).astype(np.uint16))
            name = f"street-{number:02}"
            project.apply(Patch(image=name, base=0, author="ada", seconds=60, box=Window(0, 0, *SIZE), payload=payload))
            project.set_status(name, "done" if number < 2 else "open")
        project.set_status("street-06", "flagged", "The camera was wet.")
        project.save()

        page = tab(address)
        page.ask(f"app.set({{ value: {names.index('tree')}, size: 40 }})")
        page.move(40, 30)
        page.page.wait_for_timeout(600)
        dark = keep(page, "label.jpg", tmp_path)
        assert page.ask("document.documentElement.scrollWidth <= innerWidth")
        assert dark.mean() < 128

        page.page.get_by_role("button", name="Dark or light").click()
        page.press("s")
        page.wait_for("app.editor.regions.window(0, 0)")
        page.press("PageDown")
        page.wait_for("app.editor.image.name === 'street-03' && !app.editor.tiles.loading")
        page.wait_for("app.editor.regions.window(0, 0)")
        page.move(256, 100)
        page.page.wait_for_timeout(600)
        bright = keep(page, "label-superpixels.jpg", tmp_path)
        assert bright[:40].mean() > 200, "the page is bright"

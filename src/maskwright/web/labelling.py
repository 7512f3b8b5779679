"""The labelling page: what its browser side asks for, answered from a project.

Images go by their number in the project, never by a path. Labels travel as runs (`label.patches`): the whole map of an
image once, then each stroke as a patch that is answered after it is on disk. A patch has a key, so that a stroke whose
answer was lost is sent again without harm; one that was drawn on an older revision is refused with status 409, and the
page asks its user.

    GET  /api/project                                  images, classes, who asks
    GET  /api/state?tab=&image=                        what changed elsewhere, asked every second or two
    GET  /api/images/ID                                size, channels, revision
    GET  /api/images/ID/thumbnail                      JPEG
    GET  /api/images/ID/tiles/LEVEL/ROW/COLUMN         PNG; ?channels=0,1,2&low=..&high=..&gamma=1
    GET  /api/images/ID/labels                         runs of values; ?box=TOP,LEFT,HEIGHT,WIDTH
    GET  /api/images/ID/superpixels/ROW/COLUMN         uint16 of a window of 1024 x 1024; ?area=
    GET  /api/images/ID/suggestion                     runs of values
    POST /api/images/ID/patches                        ?base=&key=&seconds=&box=&model=; the body is runs
    POST /api/images/ID/undo, redo                     {base, key}
    POST /api/images/ID/status                         {status, note}
    POST /api/images/ID/regions/alike                    {row, column, tolerance, connected}: runs of 0 and 1
    POST /api/classes                                  {action, name, ...}
    GET  /api/training                                 the round that goes on, and all before
    POST /api/training                                 {minutes}: begins a round; {stop: true} ends it
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import FastAPI, Response

from maskwright.datasets.classes import CLASSES_FILE, ClassTable
from maskwright.datasets.formats.project import DATABASE, LABELS
from maskwright.errors import ProjectError
from maskwright.imaging.colors import color_codes, color_name
from maskwright.imaging.decoders import Window
from maskwright.label import classes
from maskwright.label.journal import bands
from maskwright.label.patches import Origin, encode
from maskwright.label.store import ImageState, Patch, Project
from maskwright.runs import read_run
from maskwright.web.app import Body, Door, Person, loads, make_app, without_paths
from maskwright.web.fields import box_of, class_name, color, integer, numbers
from maskwright.web.pictures import Pictures, Shown
from maskwright.web.regions import EDGE, alike, divided, window_around
from maskwright.web.rounds import Rounds
from maskwright.web.tallies import Counts, Tabs

if TYPE_CHECKING:
    from maskwright.web.suggestions import Suggester

FILES = Path(__file__).parent / "static"
_SMALLEST_AREA, _LARGEST_AREA = 25, 10_000
_ACTIONS = ("add", "rename", "recolor", "merge", "delete")


def labelling_page(project: Project, door: Door, suggester: Suggester | None = None) -> FastAPI:
    """The page of a project, open and locked; whoever opened it closes it.

    Parameters
    ----------
    project
        The project.
    door
        Who may come in; the names of people are the authors of what they label.
    suggester
        What proposes labels, shown to be accepted.
    """
    pictures, tabs, counts = Pictures(), Tabs(), Counts(project)
    proposed = [suggester]  # the last is the one that is asked

    def trained(run: Path) -> None:
        from maskwright.web.suggestions import Trained  # with torch, which nothing else here needs

        proposed.append(Trained(run, project))

    rounds = Rounds(project, trained)

    @asynccontextmanager
    async def living() -> AsyncIterator[None]:
        yield
        rounds.close()

    app = make_app(door, files=FILES, page="label.html", roots=[project.folder], living=living)

    def state_of(number: int) -> ImageState:
        found = project.journal.rows("SELECT name FROM image WHERE id = ?", number)
        if not found:
            raise ProjectError(f"There is no image {number}.", remedy="Load the page again.")
        return project.image(found[0][0])

    def picture_of(state: ImageState) -> Any:
        return pictures.open(project.folder / state.file, state.page, state.shape)

    @app.get("/api/project")
    def whole(person: Person) -> dict[str, Any]:
        return {
            "name": project.folder.resolve().name,
            "id": hashlib.blake2b(str(project.folder.resolve()).encode(), digest_size=8).hexdigest(),
            "person": person,
            "classes": _classes(project),
            "images": [_listed(state) for state in project.images()],
            "suggester": _name_of(proposed[-1]),
        }

    @app.get("/api/state")
    def state(person: Person, tab: str, image: int | None = None) -> dict[str, Any]:
        others = tabs.see(tab[:64], image, person)
        found = None if image is None else _listed(state_of(image))
        failure = project.failure
        return {
            "image": found,
            "classes": _classes(project),
            "others": others,
            "failure": None if failure is None else without_paths(f"{failure}", [project.folder]),
            "suggester": _name_of(proposed[-1]),
            "training": rounds.running,
        }

    @app.get("/api/images/{number}")
    def image(number: int) -> dict[str, Any]:
        found = state_of(number)
        return {**_listed(found), **picture_of(found).facts()}

    @app.get("/api/images/{number}/thumbnail")
    def thumbnail(number: int) -> Response:
        content = picture_of(state_of(number)).thumbnail()
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"})

    @app.get("/api/images/{number}/tiles/{level}/{row}/{column}")
    def tile(
        number: int, level: int, row: int, column: int, channels: str, low: str, high: str, gamma: float = 1
    ) -> Response:
        chosen = tuple(int(one) for one in channels.split(",") if one.isdecimal())
        shown = Shown(channels=chosen, low=numbers(low), high=numbers(high), gamma=gamma)
        content = picture_of(state_of(number)).tile(level, row, column, shown)
        return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=600"})

    @app.get("/api/images/{number}/labels")
    def labels(number: int, box: str | None = None) -> Response:
        found = state_of(number)
        window = Window(0, 0, *found.shape) if box is None else box_of(box)
        with project.journal.lock:  # all bands of one revision
            parts = [
                encode(project.read(found.name, band._replace(left=window.left, width=window.width)).values)
                for band in (one._replace(top=one.top + window.top) for one in bands((window.height, window.width)))
            ]
            revision = project.image(found.name).revision
        return _runs(b"".join(parts), revision=revision)

    @app.get("/api/images/{number}/superpixels/{row}/{column}")
    def superpixels_(number: int, row: int, column: int, area: int = 200) -> Response:
        found = state_of(number)
        top, left = row * EDGE, column * EDGE
        if not (0 <= top < found.height and 0 <= left < found.width):
            raise ProjectError(f"{found.name} has no window {row}, {column}.")
        window = Window(top, left, min(EDGE, found.height - top), min(EDGE, found.width - left))
        regions = divided(picture_of(found).pixels(window), min(max(area, _SMALLEST_AREA), _LARGEST_AREA))
        return _packed(regions.astype("<u2").tobytes(), {"Cache-Control": "private, max-age=600"})

    @app.get("/api/images/{number}/suggestion")
    def suggestion(number: int) -> Response:
        asked = proposed[-1]
        if asked is None:
            raise ProjectError("No model makes suggestions.", remedy="Train one, or start the page with --run RUN.")
        return _runs(encode(asked.values(state_of(number)).astype(np.uint16)), model=asked.model)

    @app.post("/api/images/{number}/patches")
    def patches(
        number: int, body: Body, person: Person, base: int, key: str, seconds: float, box: str, model: str | None = None
    ) -> dict[str, int]:
        known = {one.model for one in proposed if one is not None}
        if model is not None and model not in known:
            raise ProjectError("These suggestions are of a model that is no longer there.", remedy="Accept new ones.")
        patch = Patch(
            image=state_of(number).name,
            base=base,
            author=person,
            seconds=min(max(seconds, 0.0), 86_400.0),
            box=box_of(box),
            payload=body,
            origin=Origin.HUMAN if model is None else Origin.MODEL_ACCEPTED,
            model=model,
            key=key[:64],
        )
        return {"revision": project.apply(patch)}

    @app.post("/api/images/{number}/{direction}")
    def turn(number: int, direction: str, body: Body, person: Person) -> dict[str, Any]:
        name, content = state_of(number).name, loads(body)
        if direction == "status":
            project.set_status(name, str(content.get("status")), str(content.get("note", ""))[:2000])
            return _listed(project.image(name))
        if direction not in ("undo", "redo"):
            raise ProjectError(f"There is no {direction!r}.")
        do = project.undo if direction == "undo" else project.redo
        done = do(name, integer(content, "base"), person, str(content.get("key"))[:64])
        revision = project.image(name).revision
        return {"revision": done[0] if done else revision, "box": list(done[1]) if done else None}

    @app.post("/api/images/{number}/regions/alike")
    def same(number: int, body: Body) -> Response:
        content, found = loads(body), state_of(number)
        row, column = integer(content, "row"), integer(content, "column")
        if not (0 <= row < found.height and 0 <= column < found.width):
            raise ProjectError(f"{found.name} has no pixel ({column}, {row}).")
        window = window_around(found.shape, row, column)
        pixels = picture_of(found).pixels(window)
        tolerance = content.get("tolerance")
        if not isinstance(tolerance, float | int) or not 0 <= tolerance <= 1:
            raise ProjectError("Expected a tolerance from 0 to 1.")
        connected = bool(content.get("connected", True))
        region = alike(pixels, row - window.top, column - window.left, tolerance, connected=connected)
        return _runs(encode(region.astype(np.uint16)), box=",".join(map(str, window)))

    @app.get("/api/counts")
    def counted() -> dict[str, Any]:
        return counts()

    @app.get("/api/training")
    def training() -> dict[str, Any]:
        told = rounds.told()
        return {**told, "message": without_paths(told["message"], [project.folder])}

    @app.post("/api/training")
    def train(body: Body) -> dict[str, Any]:
        content = loads(body)
        if content.get("stop"):
            rounds.stop()
        else:
            minutes = content.get("minutes")
            if not isinstance(minutes, float | int):
                raise ProjectError("Expected minutes.")
            rounds.start(minutes)
        return rounds.told()

    @app.post("/api/classes")
    def change_classes(body: Body, person: Person) -> dict[str, Any]:
        content = loads(body)
        action, name = content.get("action"), str(content.get("name", "")).strip()
        if action not in _ACTIONS:
            raise ProjectError(f"There is no {action!r}.", expected=f"Expected one of {', '.join(_ACTIONS)}.")
        if action == "add":
            classes.add(project, class_name(name), person, color(content) if "color" in content else None)
        elif action == "rename":
            classes.rename(project, name, class_name(str(content.get("new", ""))), person)
        elif action == "recolor":
            classes.recolor(project, name, color(content), person)
        elif action == "merge":
            classes.merge(project, name, str(content.get("into")), person)
        else:
            classes.delete(project, name, person)
        return {"classes": _classes(project)}

    return app


def first_classes(folder: Path, run: Path | None) -> tuple[str, ...] | None:
    """Names of classes for a folder that has none yet: those of the run, or two to begin with; None if it has some."""
    if (folder / DATABASE).exists() or (folder / CLASSES_FILE).exists() or any((folder / LABELS).glob("*.*")):
        return None
    if run is None:
        return ("background", "object")
    return tuple(ClassTable.from_dict(read_run(run)["classes"], str(run)).names)


def _classes(project: Project) -> list[dict[str, Any]]:
    table = project.classes
    return [
        {"value": value, "name": name, "color": color_name(int(color_codes(color)))}
        for value, name, color in zip(classes.values_of(table), table.names, table.colors, strict=True)
    ]


def _listed(state: ImageState) -> dict[str, Any]:
    return {
        "id": state.id,
        "name": state.name,
        "stack": state.file if state.page is not None else None,
        "page": state.page,
        "width": state.width,
        "height": state.height,
        "status": state.status,
        "note": state.note,
        "revision": state.revision,
        "labelled": state.labelled / (state.height * state.width),
        "validation": state.validation,
    }


def _name_of(suggester: Suggester | None) -> str | None:
    return None if suggester is None else suggester.name


def _runs(content: bytes, **facts: object) -> Response:
    """Runs, with facts about them as headers."""
    return _packed(content, {f"X-{name.capitalize()}": str(value) for name, value in facts.items()})


def _packed(content: bytes, headers: dict[str, str]) -> Response:
    packed = gzip.compress(content, 1)
    return Response(packed, media_type="application/octet-stream", headers={"Content-Encoding": "gzip", **headers})

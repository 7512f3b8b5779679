from __future__ import annotations

import http.client
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from fastapi import FastAPI

from maskwright.label.store import Project
from maskwright.web.app import Door
from maskwright.web.labelling import labelling_page
from maskwright.web.serving import make_server, place_for

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Sends requests to a page as they are written, right or wrong."""

    port: int
    token: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def sign_in(self) -> Client:
        cookie = self.get(f"/?token={self.token}").headers["set-cookie"].partition(";")[0]
        return Client(self.port, self.token, {"Cookie": cookie})

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str | None] | None = None) -> Answer:
        """Send a request; a header that is None is left out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        asked = {"Host": self.host, **self.headers, **(headers or {})}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if content is not None:
            asked.setdefault("Content-Length", str(len(content)))
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in asked.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders()
        if content is not None:
            connection.send(content)
        found = connection.getresponse()
        answer = Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())
        connection.close()
        return answer

    def get(self, path: str, headers: dict[str, str | None] | None = None) -> Answer:
        return self.ask("GET", path, None, headers)

    def post(self, path: str, body: Any = b"", headers: dict[str, str | None] | None = None) -> Answer:
        return self.ask("POST", path, body, headers)


@contextmanager
def running(make: Callable[[Door], FastAPI], name: str = "test") -> Iterator[Client]:
    """A page that answers at a port of its own, in a thread."""
    place = place_for(name, ["ada"], port=0)
    started = threading.Event()
    server = make_server(make(place.door), place, started.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place.listening]}, daemon=True)
    thread.start()
    assert started.wait(20)
    first = urlsplit(place.addresses["ada"])
    assert first.port is not None
    try:
        yield Client(first.port, first.query.removeprefix("token="))
    finally:
        server.should_exit = True
        thread.join(20)
        place.listening.close()
        assert not thread.is_alive(), "the page did not end"


@pytest.fixture
def served() -> Callable[..., Any]:
    """`with served(make) as client:` is a page that answers, for whoever is not signed in yet."""
    return running


@pytest.fixture
def labelling() -> Callable[..., Any]:
    """`with labelling(folder, **options) as (project, address):` is a project with its page."""

    @contextmanager
    def opened(
        folder: Path, *, classes: tuple[str, ...] = ("ground", "cell", "sky"), **options: Any
    ) -> Iterator[tuple[Project, str]]:
        with (
            Project(folder, classes=classes, pause=0.1) as project,
            running(lambda door: labelling_page(project, door, **options), name=str(folder)) as client,
        ):
            yield project, f"http://{client.host}/?token={client.token}"

    return opened


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the key of cookies out of the home of whoever runs the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("LOCALAPPDATA", raising=False)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, started once; tests that need it are skipped where there is none."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no {' or '.join(CHROMIUM)} here: install Chromium to test the page")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Callable[..., Tab]]:
    """`tab(address, **options)` opens a labelling page in a window of its own; errors of the page fail the test."""
    contexts: list[Any] = []
    errors: list[Any] = []

    def opened(address: str, *, context: Any = None, **options: Any) -> Tab:
        if context is None:
            context = browser.new_context(
                **{"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark", **options}
            )
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(45_000)
        page.on("pageerror", lambda error: errors.append(error))
        page.on("console", lambda said: errors.append(said.text) if "Content Security" in said.text else None)
        page.goto(address)
        found = Tab(page)
        found.wait_for("app.editor.image && app.editor.tiles && !app.editor.tiles.loading && !app.screen.waiting")
        return found

    yield opened
    for context in contexts:
        context.close()
    assert not errors, errors


class Tab:
    """A labelling page in the browser, by what a person does: places are pixels of the image."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def ask(self, what: str) -> Any:
        """The value of an expression about the page's `app`."""
        return self.page.evaluate(
            f"async () => {{ const {{ app }} = await import('/static/main.js'); return {what}; }}"
        )

    def wait_for(self, what: str, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while not self.ask(f"Boolean({what})"):
            assert time.monotonic() < until, f"the page does not come to: {what}"
            self.page.wait_for_timeout(20)

    def saved(self) -> None:
        """Wait until the server has everything."""
        self.wait_for("app.outbox.waiting.length === 0")

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the image is in the window."""
        found = self.ask(
            "((p, ratio, box) => [box.left + p.x / ratio, box.top + p.y / ratio])"
            f"(app.editor.view.toScreen({x} + 0.5, {y} + 0.5), app.screen.ratio, "
            "app.screen.stage.getBoundingClientRect())"
        )
        return found[0], found[1]

    def move(self, x: float, y: float) -> None:
        self.page.mouse.move(*self.place(x, y))

    def drag(self, *points: tuple[float, float]) -> None:
        self.move(*points[0])
        self.page.mouse.down()
        for point in points[1:]:
            self.move(*point)
        self.page.mouse.up()

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.place(x, y))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def button(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def labels(self) -> np.ndarray:
        """The label map as the page has it."""
        width, height = self.ask("[app.editor.map.width, app.editor.map.height]")
        return np.array(self.ask("Array.from(app.editor.map.values)"), np.uint8).reshape(height, width)

"""Attacks on the base of all pages: each is refused, and nothing of the server is told."""

from __future__ import annotations

import re
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from maskwright.errors import ProjectError, SettingError, StaleRevisionError
from maskwright.web.app import MOST_BYTES, Body, Door, Person, make_app, without_paths
from maskwright.web.serving import place_for

Client = Any
"""See `conftest.Client`."""
Served = Callable[..., AbstractContextManager[Client]]
ROOT = Path("/data/secret place/cells")


def page_with(files: Path) -> Callable[[Door], FastAPI]:
    def make(door: Door) -> FastAPI:
        app = make_app(door, files=files, page="page.html", roots=[ROOT])

        @app.get("/api/me")
        def me(person: Person) -> dict[str, str]:
            return {"person": person}

        @app.post("/api/length")
        def length(body: Body) -> dict[str, int]:
            return {"bytes": len(body)}

        @app.get("/api/number/{number}")
        def number(number: int) -> int:
            return number

        @app.get("/api/refused")
        def refused() -> None:
            raise ProjectError(f"{ROOT / 'images' / 'a.png'} is odd.", remedy=f"Look into {ROOT}.", file=ROOT)

        @app.get("/api/stale")
        def stale() -> None:
            raise StaleRevisionError("a is at revision 3.")

        @app.get("/api/bug")
        def bug() -> None:
            raise RuntimeError(f"{ROOT} broke")

        return app

    return make


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "static"
    folder.mkdir()
    (folder / "page.html").write_text("<!doctype html><title>A page</title>")
    (folder / "page.js").write_text("export const answer = 42;")
    (folder / "notes.txt").write_text("not of the page")
    (tmp_path / "outside.js").write_text("not of the page")
    return folder


@pytest.fixture
def stranger(files: Path, served: Served) -> Iterator[Client]:
    """Whoever reaches the page without its address."""
    with served(page_with(files)) as client:
        yield client


@pytest.fixture
def client(stranger: Client) -> Client:
    return stranger.sign_in()


def test_a_token_becomes_a_cookie_that_scripts_and_other_sites_cannot_use(stranger: Client) -> None:
    answer = stranger.get(f"/?token={stranger.token}")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert re.fullmatch(rf"maskwright-{stranger.port}=[0-9a-f]{{64}}; Path=/; HttpOnly; SameSite=Strict", cookie)
    assert stranger.token not in cookie
    assert stranger.sign_in().get("/api/me").json() == {"person": "ada"}


def test_each_person_has_a_token_of_their_own(files: Path) -> None:
    place = place_for("cells", ["ada", "grace"], port=0)
    place.listening.close()
    tokens = {person: token for token, person in place.door.tokens.items()}
    assert place.addresses["grace"].endswith(tokens["grace"])
    assert place.door.exchange(tokens["ada"]) != place.door.exchange(tokens["grace"])


@pytest.mark.parametrize("path", ["/api/me", "/api/none", "/api/number/1", "/api/refused"])
@pytest.mark.parametrize(
    "cookie",
    [None, "maskwright-{port}=", "maskwright-{port}=" + "0" * 64, "maskwright-{port}=ünknown", "other={token}"],
)
def test_no_api_path_answers_without_the_cookie(stranger: Client, path: str, cookie: str | None) -> None:
    sent = cookie and cookie.format(port=stranger.port, token=stranger.token)
    answer = stranger.get(path, {"Cookie": sent})
    assert answer.status == 401
    assert stranger.post(path, b"{}", {"Cookie": sent}).status == 401


@pytest.mark.parametrize("token", ["", "0", "%FF%00", "a" * 10_000])
def test_a_wrong_token_opens_nothing(stranger: Client, token: str) -> None:
    answer = stranger.get(f"/?token={token}")
    assert answer.status == (200 if token == "" else 401)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", None, ""]
)
def test_a_host_that_is_not_the_pages_own_is_refused(client: Client, host: str | None) -> None:
    sent = host and host.format(port=client.port)
    answer = client.get("/api/me", {"Host": sent})
    assert answer.status in (400, 421)
    assert b"ada" not in answer.body


def test_the_pages_own_names_are_accepted(client: Client) -> None:
    for name in ("localhost", "LocalHost", "[::1]"):
        assert client.get("/api/me", {"Host": f"{name}:{client.port}"}).status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://{host}", "http://localhost:1", "file://"])
def test_requests_from_other_sites_are_refused(client: Client, origin: str) -> None:
    sent = origin.format(host=client.host)
    assert client.get("/api/me", {"Origin": sent}).status == 403
    assert client.post("/api/length", b"1", {"Origin": sent}).status == 403
    assert client.post("/api/length", b"1", {"Origin": f"http://{client.host}"}).json() == {"bytes": 1}


def test_a_form_of_another_site_that_hides_its_origin_is_refused(client: Client) -> None:
    for site in ("cross-site", "same-site", "none"):
        assert client.post("/api/length", b"1", {"Sec-Fetch-Site": site}).status == 403
    assert client.post("/api/length", b"1", {"Sec-Fetch-Site": "same-origin"}).status == 200


def test_a_large_body_is_refused_before_it_is_read(client: Client) -> None:
    for length in (str(MOST_BYTES + 1), "9" * 40):
        with socket.create_connection(("127.0.0.1", client.port)) as raw:
            raw.sendall(
                f"POST /api/length HTTP/1.1\r\nHost: {client.host}\r\nCookie: {client.headers['Cookie']}\r\n"
                f"Content-Length: {length}\r\n\r\n".encode()
            )
            assert raw.recv(12) in (b"HTTP/1.1 413", b"HTTP/1.1 400")


def test_a_large_body_of_undeclared_length_is_cut_off(client: Client) -> None:
    chunk = b"%x\r\n" % (1 << 20) + bytes(1 << 20) + b"\r\n"
    with socket.create_connection(("127.0.0.1", client.port)) as raw:
        raw.settimeout(20)
        raw.sendall(
            f"POST /api/length HTTP/1.1\r\nHost: {client.host}\r\nCookie: {client.headers['Cookie']}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        try:
            for _ in range((MOST_BYTES >> 20) + 1):
                raw.sendall(chunk)
            raw.sendall(b"0\r\n\r\n")
        except OSError:
            pass  # the page does not listen any more
        assert raw.recv(12) == b"HTTP/1.1 413"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../outside.js",
        "/static/..%2Foutside.js",
        "/static/%2e%2e/outside.js",
        "/static/..%5Coutside.js",
        "/static//etc/passwd",
        "/static/%00",
        "/static/notes.txt",
        "/static/",
        "/outside.js",
        "/etc/passwd",
        "//etc/passwd",
        "/docs",
        "/openapi.json",
    ],
)
def test_only_the_pages_files_are_served(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status == 404
    assert b"not of the page" not in answer.body


def test_files_say_what_they_are_and_may_load_nothing_else(client: Client) -> None:
    for path, kind in (("/", "text/html"), ("/static/page.js", "text/javascript")):
        answer = client.get(path)
        assert answer.status == 200
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
    for path in ("/", "/static/page.js", "/static/none", "/api/me", "/api/bug", "/api/refused"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


def test_errors_are_told_without_paths_of_the_server(client: Client) -> None:
    refused = client.get("/api/refused")
    assert refused.status == 400
    assert refused.json() == {
        "kind": "ProjectError",
        "what": "images/a.png is odd.",
        "expected": "",
        "remedy": "Look into cells.",
    }
    assert client.get("/api/stale").status == 409
    bug = client.get("/api/bug")
    assert bug.status == 500
    assert b"secret" not in bug.body
    assert b"Traceback" not in bug.body
    for path in ("/api/number/x", "/api/number/9" + "9" * 5000):
        assert client.get(path).status in (200, 400)
    assert client.get("/api/none").json()["what"] == "There is nothing here."


def test_paths_are_taken_out_of_any_text() -> None:
    root = Path("/data/my cells")
    assert without_paths("/data/my cells/images/a b.png is odd.", [root]) == "images/a b.png is odd."
    assert without_paths("/data/my cells is locked.", [root]) == "my cells is locked."
    assert without_paths("/home/ada/runs/one/run.json is gone.", [root]) == "run.json is gone."
    assert without_paths(r"C:\Users\ada\run.json is gone.", [root]) == "run.json is gone."
    assert without_paths("Expected 3/4 of it, and/or more.", [root]) == "Expected 3/4 of it, and/or more."


def test_web_sockets_are_refused(client: Client) -> None:
    answer = client.get(
        "/api/me",
        {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "a" * 24},
    )
    assert answer.status != 101


def test_the_cookie_outlives_the_page_and_the_token_does_not(files: Path, served: Served) -> None:
    with served(page_with(files)) as first:
        signed_in = first.sign_in()
    with served(page_with(files)) as second:
        name = f"maskwright-{second.port}"
        content = signed_in.headers["Cookie"].partition("=")[2]
        again = replace(second, headers={"Cookie": f"{name}={content}"})
        assert again.get("/api/me").status == 200
        assert second.get(f"/?token={first.token}").status == 401


def test_the_key_is_the_users_alone(tmp_path: Path) -> None:
    place_for("cells", ["ada"], port=0).listening.close()
    key = tmp_path / "state" / "maskwright" / "key"
    assert len(key.read_bytes()) == 32
    if sys.platform != "win32":
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_taken_port_and_a_strange_host_are_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SettingError, match="Nothing can listen"):
        place_for("cells", ["ada"], port=taken.getsockname()[1])
    with pytest.raises(SettingError, match="no name or address"):
        place_for("cells", ["ada"], host="no.such.host.invalid")


PROGRAM = """
import sys, time
from pathlib import Path
from maskwright.web.app import make_app
from maskwright.web.serving import place_for, serve
place = place_for("test", ["ada"], port=0)
app = make_app(place.door, files=Path(sys.argv[1]), page="page.html")
@app.get("/api/slow")
def slow():
    print("asked", flush=True)
    time.sleep(1)
    return "done"
try:
    serve(app, place, ready=lambda: print(place.addresses["ada"], flush=True))
finally:
    print("ended well", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that a process may handle")
def test_a_signal_lets_answers_finish(files: Path, stranger: Client) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(files)], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        port, token = re.findall(r":(\d+)/\?token=(\S+)", program.stdout.readline())[0]
        client = replace(stranger, port=int(port), token=token).sign_in()
        with socket.create_connection(("127.0.0.1", client.port)) as raw:
            raw.settimeout(20)
            raw.sendall(
                f"GET /api/slow HTTP/1.1\r\nHost: {client.host}\r\nCookie: {client.headers['Cookie']}\r\n\r\n".encode()
            )
            assert program.stdout.readline() == "asked\n"
            start = time.monotonic()
            program.terminate()
            received = b""
            while part := raw.recv(4096):
                received += part
            assert received.endswith(b'"done"')
        assert program.stdout.readline() == "ended well\n"
        assert program.wait(20) == 143
        assert time.monotonic() - start < 5

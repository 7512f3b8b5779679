"""The base of every page that Maskwright serves: who may ask, how much may come in, and what never goes out.

A page runs on the user's machine, beside a browser that is full of other sites. What holds for all of them:

- A request names the page's own host (against DNS rebinding) and, where the browser says who asks, the page's own
  origin (against requests from other sites).
- Whoever opens the page has a token in its address. It is exchanged for a cookie that scripts cannot read and other
  sites cannot send; without it everything below `/api/` answers 401.
- The body of a request has a limit, which is kept whether or not its length is declared. Pixels have theirs where they
  are decoded (`imaging.memory`).
- The page may load nothing but its own files (Content-Security-Policy). They are found in a list that is made at
  start, never by a path that a request gives.
- Errors are told as a JSON object with the fields of a `MaskwrightError`; no path of the server is in them.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskwright.errors import MaskwrightError, StaleRevisionError

MOST_BYTES = 64 << 20
"""Of a request's body: a stroke over a whole map of 12,000 x 9,000 pixels is less."""

CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What a file of the page is, by its suffix; others are not served."""

_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[/\\][^\s/\\:*?\"<>|']+)+[/\\](?=[^\s/\\])")


@dataclass(frozen=True, kw_only=True)
class Door:
    """Who may come in.

    Parameters
    ----------
    hosts
        What the Host header may be: names with port.
    tokens
        Each person by the token in the address that they were given.
    cookies
        Each person by the content of the cookie that their token is exchanged for.
    cookie
        The cookie's name; browsers keep cookies by host, not by port, so that it has to tell the pages apart.
    """

    hosts: frozenset[str]
    tokens: Mapping[str, str]
    cookies: Mapping[str, str]
    cookie: str

    def person(self, headers: Headers) -> str | None:
        """Who sent a request, by its cookie."""
        for part in ";".join(headers.getlist("cookie")).split(";"):
            name, _, content = part.strip().partition("=")
            if name == self.cookie and (found := _known(self.cookies, content)):
                return found
        return None

    def exchange(self, token: str) -> str | None:
        """The cookie for a token; None if nobody has that token."""
        person = _known(self.tokens, token)
        content = next((content for content, owner in self.cookies.items() if owner == person), None)
        return content and f"{self.cookie}={content}; Path=/; HttpOnly; SameSite=Strict"


class Guard:
    """Lets requests through to a page that may come in, and gives every answer the headers of `HEADERS`."""

    def __init__(self, app: ASGIApp, door: Door, most_bytes: int = MOST_BYTES) -> None:
        self._app, self._door, self._most = app, door, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request (ASGI)."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no page talks by web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = MutableHeaders(scope=message)
                for name, content in HEADERS.items():
                    own[name] = content
                own.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, answer)
            return
        scope["person"] = self._door.person(headers)
        if scope["path"].startswith("/api/") and scope["person"] is None:
            text = "This page is not signed in: open it with the address that the terminal shows."
            await _told(401, text)(scope, receive, answer)
            return
        await self._app(scope, _limited(receive, self._most), answer)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """Why a request may not come in, as an answer."""
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0].lower() not in self._door.hosts:
            return _told(421, "This address is not the page's own.")
        if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
            return _told(403, "The request comes from another site.")
        changes = scope["method"] not in ("GET", "HEAD")
        if changes and headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return _told(403, "The request comes from another site.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._most:
            return _told(413, f"The request is larger than {self._most >> 20} MiB.")
        return None


def make_app(
    door: Door,
    *,
    files: Path,
    page: str,
    roots: Sequence[Path] = (),
    living: Callable[[], AbstractAsyncContextManager[None]] | None = None,
) -> FastAPI:
    """Make a page, to which its own `/api/` paths are added; `serving.serve` puts a `Guard` before it.

    Parameters
    ----------
    door
        Who may come in.
    files
        The folder of the page's files; those directly in it, of `KINDS`, are served as `/static/NAME`.
    page
        The file that `/` shows.
    roots
        Folders that the page works in: errors name files from there.
    living
        Runs around the page's life, for what it starts and has to end.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        if living is None:
            yield
            return
        async with living():
            yield

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    served = {path.name: path for path in files.iterdir() if path.suffix in KINDS and path.is_file()}
    assert page in served, "the page's file is there"

    @app.get("/")
    def first(request: Request) -> Response:
        tokens = parse_qs(request.url.query).get("token")
        if tokens is None:
            return _file(served[page])
        cookie = door.exchange(tokens[0])
        if cookie is None:
            return _told(401, "The address is not, or no longer, valid: open the one that the terminal shows.")
        # The token leaves the address bar, and is not kept in the history.
        return Response(status_code=303, headers={"Location": "/", "Set-Cookie": cookie})

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in served:
            raise HTTPException(404)
        return _file(served[name])

    def told(_: Request, error: Exception) -> Response:
        assert isinstance(error, MaskwrightError)
        parts = {"what": error.what, "expected": error.expected, "remedy": error.remedy}
        content = {name: without_paths(text, roots) for name, text in parts.items()}
        status = 409 if isinstance(error, StaleRevisionError) else 400
        return JSONResponse({"kind": type(error).__name__, **content}, status)

    def malformed(_: Request, __: Exception) -> Response:
        return _told(400, "The request is malformed.")

    def answered(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _told(error.status_code, "There is nothing here." if error.status_code == 404 else error.detail)

    def failed(_: Request, __: Exception) -> Response:
        return _told(500, "The page failed; the terminal shows why. Nothing that was saved is lost.")

    app.add_exception_handler(MaskwrightError, told)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, answered)
    app.add_exception_handler(Exception, failed)
    return app


async def _body(request: Request) -> bytes:
    return await request.body()


def _person(request: Request) -> str:
    return str(request.scope["person"])


Body = Annotated[bytes, Depends(_body)]
"""A parameter of a path: the request's body as it came."""
Person = Annotated[str, Depends(_person)]
"""A parameter of a path: who asks."""


def without_paths(text: str, roots: Sequence[Path]) -> str:
    """A message without the server's folders: files in `roots` are named from there, others by their names."""
    for root in roots:
        for form in dict.fromkeys((str(root.resolve()), str(root.absolute()), str(root))):
            if len(form) > 1:
                text = text.replace(form + "/", "").replace(form + "\\", "")
                text = re.sub(rf"{re.escape(form)}(?![\w-])", root.resolve().name.replace("\\", r"\\"), text)
    return _PATH.sub("", text)


def _file(path: Path) -> Response:
    return Response(path.read_bytes(), media_type=KINDS[path.suffix], headers={"Cache-Control": "no-cache"})


def _told(status: int, text: str) -> Response:
    return JSONResponse({"kind": "Refused", "what": text, "expected": "", "remedy": ""}, status)


def _known(people: Mapping[str, str], secret: str) -> str | None:
    """Whose secret it is; every one is compared, in a time that tells nothing."""
    found = None
    for own, person in people.items():
        if hmac.compare_digest(own.encode(), secret.encode("utf-8", "replace")):
            found = person
    return found


def _limited(receive: Receive, most: int) -> Callable[[], Awaitable[Message]]:
    """A request's body, cut off with an error where it grows beyond a limit."""
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise HTTPException(413, f"The request is larger than {most >> 20} MiB.")
        return message

    return limited


def loads(body: bytes) -> dict[str, Any]:
    """A body that is a JSON object; raises HTTPException if it is none."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise HTTPException(400, "The request is malformed.")
    return content

"""Serving a page from this machine: its address, its secrets, and an end that finishes what was begun."""

from __future__ import annotations

import errno
import hashlib
import hmac
import ipaddress
import os
import secrets
import signal
import socket
import sys
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvicorn
from fastapi import FastAPI

from maskwright.errors import SettingError
from maskwright.web.app import Door, Guard

PORT = 8610
"""The port that is asked for first: a page that is started again is found where it was."""
_TRIED = 20
_LONGEST_END = 5
"""Seconds that requests have to finish once the page is to end."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a page is served, before it is."""

    listening: socket.socket
    door: Door
    addresses: dict[str, str]
    """What each person opens; the token is in it."""


def place_for(name: str, people: Sequence[str], *, host: str = "127.0.0.1", port: int | None = None) -> Place:
    """Take a port, and make the secrets of a page.

    Parameters
    ----------
    name
        Tells the page from others: the cookie of one opens no other. A page of the same name that is started again
        knows the cookies that it gave, so that open tabs go on.
    people
        Who gets a token.
    host
        The name or address to listen at; only this machine can reach the default.
    port
        The port; the first free one from `PORT` on if None.

    Raises
    ------
    SettingError
        The port is taken, or the host is none of this machine's.
    """
    listening = _listening(host, port)
    number = int(listening.getsockname()[1])
    tokens = {secrets.token_urlsafe(24): person for person in people}
    key = _own_key()
    cookies = {hmac.new(key, f"{name}\0{person}".encode(), hashlib.sha256).hexdigest(): person for person in people}
    hosts = frozenset(f"{_bracketed(known)}:{number}".lower() for known in _names(host))
    door = Door(hosts=hosts, tokens=tokens, cookies=cookies, cookie=f"maskwright-{number}")
    shown = _bracketed(_shown(host))
    addresses = {person: f"http://{shown}:{number}/?token={token}" for token, person in tokens.items()}
    return Place(listening=listening, door=door, addresses=addresses)


def serve(app: FastAPI, place: Place, *, ready: Callable[[], None] = lambda: None) -> None:
    """Serve a page until Ctrl-C or a signal to end; requests that are being answered finish first.

    `ready` is called once it answers. Ends with KeyboardInterrupt or SystemExit, as the signal asks.
    """
    # Uvicorn ends well on its own, then lets the signal do what it did before: the caller has to end well too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    make_server(app, place, ready).run(sockets=[place.listening])


def make_server(app: FastAPI, place: Place, ready: Callable[[], None] = lambda: None) -> uvicorn.Server:
    """A server for a page, with its guard; it runs on the place's socket."""
    config = uvicorn.Config(
        Guard(app, place.door),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_LONGEST_END,
    )
    return _Server(config, ready)


def open_in_browser(address: str) -> None:
    """Show an address in the user's browser, where there is one."""
    with suppress(webbrowser.Error):
        webbrowser.open(address)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def _listening(host: str, port: int | None) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][0]
    except (OSError, UnicodeError):
        raise _no_host(host) from None
    for number in [port] if port is not None else [*range(PORT, PORT + _TRIED), 0]:
        try:
            return socket.create_server((host, number), family=family)
        except (OSError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
                raise _no_host(host) from None
            if port is not None:
                raise SettingError(
                    f"Nothing can listen at {host}, port {port}: {error}.",
                    remedy="Choose another port, or leave it out.",
                ) from None
    raise SettingError(f"No port is free at {host}.", remedy="Give one: --port NUMBER")


def _no_host(host: str) -> SettingError:
    return SettingError(
        f"host = {host!r} is no name or address of this machine.",
        expected="Expected 127.0.0.1 for this machine alone, or 0.0.0.0 for its network.",
    )


def _names(host: str) -> set[str]:
    """What a page that listens at `host` may be called."""
    if _is_loopback(host):
        return {"127.0.0.1", "localhost", "::1", host}
    if host not in ("0.0.0.0", "::"):
        return {host}
    own = {address.address.partition("%")[0] for each in psutil.net_if_addrs().values() for address in each}
    return {"localhost", socket.gethostname(), *(name for name in own if _is_address(name))}


def _shown(host: str) -> str:
    return socket.gethostname() if host in ("0.0.0.0", "::") else host


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(text: str) -> bool:
    with suppress(ValueError):
        ipaddress.ip_address(text)
        return True
    return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _own_key() -> bytes:
    """A secret of this user on this machine, made once; one for this time only where no file can be kept."""
    home = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_STATE_HOME")
    path = (Path(home) if home else Path.home() / ".local" / "state") / "maskwright" / "key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (
            suppress(FileExistsError),
            os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file,
        ):
            file.write(secrets.token_bytes(32))
        key = path.read_bytes()
    except (OSError, RuntimeError):
        key = b""
    return key if len(key) == 32 else secrets.token_bytes(32)

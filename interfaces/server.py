"""Serving an ASGI application on a socket, and giving the socket up in good order."""

from __future__ import annotations

import asyncio
import contextlib
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.server import ServerState

from interfaces.protocol import BoundedHttp

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from litestar import Litestar


class _State(ServerState):
    """Dates each answer by the second in which it is asked for: uvicorn's own ticks ten times a second."""

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self._headers = headers
        self._dated = (-1, headers)
        super().__init__()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """What every answer carries."""
        now = int(time.time())
        if self._dated[0] != now:
            self._dated = (now, [(b"date", formatdate(now, usegmt=True).encode()), *self._headers])
        return self._dated[1]

    @default_headers.setter
    def default_headers(self, _: list[tuple[bytes, bytes]]) -> None:
        """They follow from the configuration and the time."""


class Server(uvicorn.Server):
    """Leaves signals to the process that it runs in, and sleeps while nobody asks for anything."""

    def __init__(self, config: uvicorn.Config) -> None:
        self._leaving = asyncio.Event()
        super().__init__(config)

    @property
    def should_exit(self) -> bool:
        """Whether it has been told to finish; to be set on its event loop."""
        return self._leaving.is_set()

    @should_exit.setter
    def should_exit(self, leaving: bool) -> None:
        if leaving:
            self._leaving.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server`; its configuration is loaded by now."""
        self.server_state = _State(self.config.encoded_headers)
        await super().startup(sockets)

    async def main_loop(self) -> None:
        """Until told to finish."""
        await self._leaving.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing to capture."""
        yield


def server(app: Litestar, grace_seconds: float) -> Server:
    """A server for `serve(sockets=[...])`; set `should_exit` to have it finish within the grace."""
    config = uvicorn.Config(
        app,
        loop="none",
        http=BoundedHttp,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=max(1, int(grace_seconds)),
    )
    return Server(config)

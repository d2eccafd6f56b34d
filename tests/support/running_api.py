"""The API as it runs: the roles api and projector of the composition root, on a socket, in a thread."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from interfaces import bootstrap
from interfaces.server import address, listen, serve

DEADLINE_SECONDS = 60.0


@contextlib.contextmanager
def running_api(dsn: str, folder: Path, **variables: str) -> Iterator[str]:
    """The URL of a service on a migrated database; `variables` are its environment."""
    environ = {"DATABASE_URL": dsn, "LOG_DIR": str(folder), "DATA_DIR": str(folder)} | variables
    settings = bootstrap.load(environ)
    listening = listen("127.0.0.1", 0)
    service = _Service(settings, listening)
    service.start()
    try:
        _await_read_models(address(listening))
        yield address(listening)
    finally:
        service.end()


@contextlib.contextmanager
def client_of(dsn: str, folder: Path) -> Iterator[httpx.Client]:
    """A client of such a service, its paths those behind `/api/v1`."""
    with running_api(dsn, folder) as url, httpx.Client(base_url=f"{url}/api/v1", timeout=120) as client:
        yield client


def _await_read_models(url: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    with httpx.Client(timeout=DEADLINE_SECONDS, verify=False) as client:
        while client.get(f"{url}/api/v1/tasks").status_code != 200:
            assert time.monotonic() < deadline, "the projector did not make the read models"
            time.sleep(0.02)


class _Service(threading.Thread):
    """Ends with an error of its own when the roles do not start or stop in time."""

    def __init__(self, settings: bootstrap.Settings, listening: socket.socket) -> None:
        super().__init__(name="running-api")
        self._settings = settings
        self._listening = listening
        self._started = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: BaseException | None = None

    def start(self) -> None:
        super().start()
        assert self._started.wait(DEADLINE_SECONDS), "the service did not start"
        if self._error:
            raise self._error

    def end(self) -> None:
        assert self._loop
        assert self._stop
        self._loop.call_soon_threadsafe(self._stop.set)
        self.join(DEADLINE_SECONDS)
        assert not self.is_alive(), "the service did not stop"
        if self._error:
            raise self._error

    def run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._error = error
            self._started.set()

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with (
            bootstrap.projector(self._settings) as (project, _),
            bootstrap.background(project()),
            bootstrap.api(self._settings) as app,
        ):
            self._started.set()
            await serve(app, self._listening, self._stop, grace_seconds=1)

"""A proxy before the database that a test, which has no event loop, can cut off and bring back."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STARTED_SECONDS = 30


class Outage:
    """`dsn` leads through the proxy."""

    def __init__(self, proxy: Proxy, loop: asyncio.AbstractEventLoop) -> None:
        self.dsn = proxy.dsn
        self._proxy = proxy
        self._loop = loop

    def refuse(self) -> None:
        """Lose every connection, and refuse new ones, until `accept`."""
        self._loop.call_soon_threadsafe(self._proxy.refuse)

    def accept(self) -> None:
        """Take connections again."""
        self._loop.call_soon_threadsafe(self._proxy.accept)

    def cut(self) -> None:
        """Lose every connection; new ones are taken."""
        self._loop.call_soon_threadsafe(self._proxy.cut)

    def freeze(self) -> None:
        """Keep the connections and pass nothing on until `thaw`."""
        self._loop.call_soon_threadsafe(self._proxy.freeze)

    def thaw(self) -> None:
        """Pass on what was held back."""
        self._loop.call_soon_threadsafe(self._proxy.thaw)


@contextlib.contextmanager
def proxied(dsn: str) -> Iterator[Outage]:
    """A proxy before a database."""
    started: Future[tuple[Outage, Callable[[], object]]] = Future()

    async def serve() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        async with Proxy(dsn) as proxy:
            started.set_result((Outage(proxy, loop), partial(loop.call_soon_threadsafe, stop.set)))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    outage, end = started.result(STARTED_SECONDS)
    try:
        yield outage
    finally:
        end()
        thread.join()

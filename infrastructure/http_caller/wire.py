"""One request on the wire: httpx's transport outside, connections of our own inside (ADR 5)."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import httpx

from infrastructure.http_caller.outgoing import outgoing
from infrastructure.http_caller.progress import progress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from infrastructure.http_caller.connection import Connection
    from infrastructure.http_caller.pool import Pool


class Wire(httpx.AsyncBaseTransport):
    """`httpx.AsyncBaseTransport` that sends each request once; opens its pool on first use."""

    def __init__(self, pool: Callable[[], Pool]) -> None:
        self._new_pool = pool
        self._pool: Pool | None = None

    async def aclose(self) -> None:
        """Close every connection; calls under way fail, and so do those that come."""
        if self._pool is not None:
            await self._pool.aclose()

    def take_idle(self, site: str) -> Connection | None:
        """See `Pool.take_idle`."""
        return None if self._pool is None else self._pool.take_idle(site)

    def give_back(self, site: str, connection: Connection) -> None:
        """See `Pool.give_back`."""
        assert self._pool is not None
        self._pool.give_back(site, connection)

    async def answer(self, request: httpx.Request, connection: Connection) -> Incoming:
        """The answer to a request that was begun on an idle connection. Raises as `handle_async_request`."""
        return await self._answer(request, outgoing(request).site, connection, connection.head())

    async def handle_async_request(self, request: httpx.Request) -> Incoming:
        """Send the request.

        Raises `Severed`, `Improper`, `NotConnected`, `aiohttp.ClientError`, `OSError` and `ValueError`.
        """
        if self._pool is None:
            self._pool = self._new_pool()
        pool, sent = self._pool, outgoing(request)
        connection = await pool.take(sent.site, progress.get())
        asking = connection.ask(sent.head + sent.content, of_head=sent.method == "HEAD")
        return await self._answer(request, sent.site, connection, asking)

    async def _answer(
        self, request: httpx.Request, site: str, connection: Connection, asking: Awaitable[None]
    ) -> Incoming:
        try:
            await asking
        except BaseException:
            self.give_back(site, connection)
            raise
        return Incoming(request, site, connection, self)


class Incoming(httpx.Response):
    """An `httpx.Response` whose headers httpx takes apart only for those who look at them."""

    def __init__(self, request: httpx.Request, site: str, connection: Connection, wire: Wire) -> None:
        """The answer on a connection that was asked."""
        self.status_code = connection.status
        self.request = request
        self.raw_headers = connection.fields
        self._site = site
        self._connection = connection
        self._wire = wire

    @cached_property
    def headers(self) -> httpx.Headers:  # type: ignore[override]  # httpx assigns it when a response is made
        """See `httpx.Response.headers`."""
        return httpx.Headers(self.raw_headers)

    async def bounded(self) -> bytes:
        """The body, or one byte more of it than the bound. Raises `CutShort`."""
        return await self._connection.body()

    async def aclose(self) -> None:
        """Give the connection back; it is closed when there is more on it, from either side."""
        self._wire.give_back(self._site, self._connection)

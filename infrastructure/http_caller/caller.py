"""The caller: one attempt, one request, one answer or one sentence saying why there is none."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Self

from infrastructure.http_caller.deadlines import Deadlines
from infrastructure.http_caller.detour import Detour
from infrastructure.http_caller.exchange import HttpExchange, Tools
from infrastructure.http_caller.request import RequestFactory
from infrastructure.http_caller.transport import aiohttp_wire, trusted_certificates

if TYPE_CHECKING:
    import httpx

    from application.ports import Call, Clock


class AiohttpCaller:
    """`application.ports.HttpCaller` over aiohttp, as httpx sees it.

    At most `max_concurrency` calls are on the wire, and `max_per_host` to one host and port, so that one slow
    host leaves room for others; a call that waits for its turn does so within its own timeout.
    `transport` takes the place of the network, in tests.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        max_concurrency: int = 300,
        max_per_host: int = 100,
        max_body_bytes: int = 65_536,
        max_header_bytes: int = 32_768,
        user_agent: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        wire = None
        if transport is None:
            transport = wire = aiohttp_wire(
                trusted_certificates(),
                max_concurrency=max_concurrency,
                max_per_host=max_per_host,
                max_body_bytes=max_body_bytes,
                max_header_bytes=max_header_bytes,
            )
        self._transport = transport
        self._deadlines = Deadlines()
        self._tools = Tools(
            clock,
            RequestFactory(user_agent or f"chronoledger/{version('chronoledger')}"),
            self._deadlines,
            wire,
            Detour(
                transport,
                wire,
                self._deadlines,
                max_body_bytes=max_body_bytes,
                max_header_bytes=max_header_bytes,
            ),
            max_body_bytes,
            max_header_bytes,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection; calls under way fail."""
        await self._transport.aclose()
        self._deadlines.close()

    def exchange(self, call: Call) -> HttpExchange:
        """See `application.ports.HttpCaller.exchange`."""
        return HttpExchange(self._tools, call)

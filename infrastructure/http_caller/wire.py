"""One request on the wire: httpx's transport outside, aiohttp's connections and parser inside.

aiohttp's session would add cookies, proxies, redirects, repetition and traces, which a caller must not have,
and costs as much as all the rest: ADR 5 has the figures.
"""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import TimerNoop
from multidict import CIMultiDict

from infrastructure.http_caller.outgoing import HEADER_ENCODING, TARGET, Outgoing, address_of
from infrastructure.http_caller.progress import Severed
from infrastructure.http_caller.verbatim import VerbatimRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from aiohttp.client_reqrep import ClientResponse
    from aiohttp.connector import Connection

NO_TIMEOUT = aiohttp.ClientTimeout()
NO_TIMER = TimerNoop()
# All others are set, or for the user to set.
NOT_BY_ITSELF = ("Content-Type",)


class Listening(ResponseHandler):
    """aiohttp's end of a connection, which notes whether the server has said anything to a request."""

    heard = False

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol.data_received`."""
        self.heard = True
        super().data_received(data)


class Wire(httpx.AsyncBaseTransport):
    """`httpx.AsyncBaseTransport` that sends each request once; opens its connector on first use."""

    def __init__(self, connector: Callable[[], aiohttp.BaseConnector], limits: Mapping[str, int]) -> None:
        """The connector's connections are `Listening`; `limits` are those of aiohttp's parser of answers."""
        self._open = connector
        self._limits = dict(limits)
        self._connector: aiohttp.BaseConnector | None = None

    async def aclose(self) -> None:
        """Close every connection; calls under way fail."""
        connector, self._connector = self._connector, None
        if connector is not None:
            await connector.close()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request. Raises `Severed`, `aiohttp.ClientError`, `OSError` and `ValueError`."""
        if self._connector is None:
            self._connector = self._open()
        outgoing = _of_aiohttp(request)
        connection = await self._connector.connect(outgoing, traces=[], timeout=NO_TIMEOUT)
        end = connection.protocol
        assert isinstance(end, Listening)
        end.heard = False
        try:
            return Incoming(await self._exchange(outgoing, connection, end), request)
        except BaseException as error:
            connection.close()
            if _tells_of_a_break(error):
                raise Severed(answer_began=end.heard) from error
            raise

    async def _exchange(
        self, outgoing: VerbatimRequest, connection: Connection, end: Listening
    ) -> ClientResponse:
        end.set_response_params(
            timer=NO_TIMER,
            skip_payload=outgoing.method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            **self._limits,
        )
        response = await outgoing.send(connection)
        try:
            return await response.start(connection)
        except BaseException:
            response.close()
            raise


class Incoming(httpx.Response):
    """An `httpx.Response` whose headers httpx takes apart only for those who look at them."""

    def __init__(self, response: ClientResponse, request: httpx.Request) -> None:
        self.status_code = response.status
        self.request = request
        self.raw_headers = response.raw_headers
        self._response = response

    @cached_property
    def headers(self) -> httpx.Headers:  # type: ignore[override]  # httpx assigns it when a response is made
        """See `httpx.Response.headers`."""
        return httpx.Headers(self.raw_headers)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        content = self._response.content
        while not content.at_eof():
            yield await content.readany()

    async def aclose(self) -> None:
        """Give the connection back; close it when there is more on it."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


def _of_aiohttp(request: httpx.Request) -> VerbatimRequest:
    if isinstance(request, Outgoing):
        address, fields = request.address, request.fields
    else:
        site = f"{request.url.scheme}://{request.url.netloc.decode()}"
        address = address_of(site, request.extensions[TARGET].decode())
        fields = CIMultiDict(
            (name.decode(), value.decode(HEADER_ENCODING)) for name, value in request.headers.raw
        )
    return VerbatimRequest(
        request.method,
        address,
        headers=fields,
        skip_auto_headers=NOT_BY_ITSELF,
        data=request.content or None,
        loop=asyncio.get_running_loop(),
        timer=NO_TIMER,
    )


def _tells_of_a_break(error: BaseException) -> bool:
    """Whether a connection that was there broke."""
    if isinstance(error, TimeoutError):  # which is an OSError, too
        return False
    return isinstance(error, aiohttp.ServerDisconnectedError | OSError)

"""One request on the wire: httpx's transport outside, aiohttp's connections and parser inside.

aiohttp's session, requests and responses would cost twice what the exchange itself does, and do things that a
caller must not: ADR 5 has the figures.
"""

from __future__ import annotations

import asyncio
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import TimerNoop
from yarl import URL

from infrastructure.http_caller.outgoing import outgoing
from infrastructure.http_caller.progress import Severed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.http_parser import RawResponseMessage
    from aiohttp.streams import StreamReader

    from infrastructure.http_caller.outgoing import Outgoing

NO_TIMEOUT = aiohttp.ClientTimeout()
NO_TIMER = TimerNoop()
# On a connection that was idle the system takes this little at once.
LITTLE = 16 * 1024
INFORMATIONAL = frozenset(range(100, 200)) - {101}


class Site(aiohttp.ClientRequest):
    """Where to connect to, as aiohttp wants to be told: one for all requests to it. It sends none itself."""

    @cached_property
    def connection_key(self) -> ConnectionKey:
        """What tells connections to this site from others; made once."""
        return super().connection_key


class Listening(ResponseHandler):
    """aiohttp's end of a connection, which notes whether the server has said anything since it was asked."""

    heard = False
    _sent_much = False

    def send(self, data: bytes) -> None:
        """Write a request."""
        assert self.transport is not None
        self._sent_much = len(data) > LITTLE
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol.data_received`."""
        self.heard = True
        super().data_received(data)

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's signature
        """Read on, if reading was paused: aiohttp asks for it at the end of every body."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def is_sending(self) -> bool:
        """Whether the server may have yet to take something of what it was sent: TLS does not tell."""
        if not self._sent_much or self.transport is None:
            return False
        encrypted = self.transport.get_extra_info("sslcontext") is not None
        return encrypted or self.transport.get_write_buffer_size() > 0


class Wire(httpx.AsyncBaseTransport):
    """`httpx.AsyncBaseTransport` that sends each request once; opens its connector on first use."""

    def __init__(self, connector: Callable[[], aiohttp.BaseConnector], limits: Mapping[str, int]) -> None:
        """The connector's connections are `Listening`; `limits` are those of aiohttp's parser of answers."""
        self._open = connector
        self._limits = dict(limits)
        self._connector: aiohttp.BaseConnector | None = None
        self._site = lru_cache(maxsize=1024)(_site)

    async def aclose(self) -> None:
        """Close every connection; calls under way fail."""
        connector, self._connector = self._connector, None
        if connector is not None:
            await connector.close()

    async def handle_async_request(self, request: httpx.Request) -> Incoming:
        """Send the request.

        Raises `Severed`, `aiohttp.ClientError`, aiohttp's `HttpProcessingError`, `OSError` and `ValueError`.
        """
        if self._connector is None:
            self._connector = self._open()
        sent = outgoing(request)
        connection = await self._connector.connect(self._site(sent.site), [], NO_TIMEOUT)
        end = connection.protocol
        assert isinstance(end, Listening)
        end.heard = False
        try:
            return Incoming(*await self._exchange(sent, end), connection, request)
        except BaseException as error:
            connection.close()
            if _tells_of_a_break(error):
                raise Severed(answer_began=end.heard) from error
            raise

    async def _exchange(self, request: Outgoing, end: Listening) -> tuple[RawResponseMessage, StreamReader]:
        """Send the request and take the head of its answer; what is only informational is passed over."""
        end.set_response_params(
            timer=NO_TIMER,
            skip_payload=request.method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            **self._limits,
        )
        if end.transport is None or end.transport.is_closing():
            raise aiohttp.ClientConnectionResetError("the connection is closing")
        end.send(request.head + request.content)
        while True:
            message, payload = await end.read()
            if message.code not in INFORMATIONAL:
                return message, payload


class Incoming(httpx.Response):
    """An `httpx.Response` whose headers httpx takes apart only for those who look at them."""

    def __init__(
        self,
        message: RawResponseMessage,
        payload: StreamReader,
        connection: Connection,
        request: httpx.Request,
    ) -> None:
        self.status_code = message.code
        self.request = request
        self.raw_headers = message.raw_headers
        self._payload = payload
        self._connection = connection

    @cached_property
    def headers(self) -> httpx.Headers:  # type: ignore[override]  # httpx assigns it when a response is made
        """See `httpx.Response.headers`."""
        return httpx.Headers(self.raw_headers)

    def whole(self) -> bytes | None:
        """The body, if all of it is there."""
        return self._payload.read_nowait() if self._payload.is_eof() else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        while not self._payload.at_eof():
            yield await self._payload.readany()

    async def aclose(self) -> None:
        """Give the connection back; close it when there is more on it, from either side."""
        end = self._connection.protocol
        if not self._payload.is_eof() or not isinstance(end, Listening) or end.is_sending():
            self._connection.close()
        else:
            end.heard = False
            self._connection.release()


def _site(site: str) -> Site:
    return Site("GET", URL(site, encoded=True), loop=asyncio.get_running_loop())


def _tells_of_a_break(error: BaseException) -> bool:
    """Whether a connection that was there broke."""
    if isinstance(error, TimeoutError):  # which is an OSError, too
        return False
    return isinstance(error, aiohttp.ServerDisconnectedError | OSError)

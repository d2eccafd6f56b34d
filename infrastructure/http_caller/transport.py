"""The connections under the wire: aiohttp's, made to tell how far a request came."""

from __future__ import annotations

import asyncio
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx

from infrastructure.http_caller.progress import NotConnected, Stage, progress
from infrastructure.http_caller.wire import Listening, Wire

if TYPE_CHECKING:
    import ssl

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest, ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

# Below the 5 s after which uvicorn, Node and Apache close an idle connection: reuse seldom meets a dying one.
KEEPALIVE_SECONDS = 4.0
READ_BUFFER_BYTES = 65_536
STATUS_LINE_BYTES = 8_190
HEADER_LINES = 128
# What the peer has not taken by then is given up, so that closing never waits for one that reads nothing.
UNSENT_GIVEN_UP_SECONDS = 120


class ReportingConnector(aiohttp.TCPConnector):
    """Notes in `progress` how far a request came, and gives it the connection that it asks for there."""

    def __init__(self, **options: Any) -> None:
        """`options` are those of aiohttp's connector."""
        super().__init__(**options)
        end: type[ResponseHandler] = Listening
        self._factory = partial(end, loop=self._loop)

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> Connection:
        """A connection for the request; waits for its turn while the limits are reached."""
        state = progress.get()
        state.stage, state.reused = Stage.SLOT, True
        # An idle one is the common case: asked for directly, it costs half.
        connection = await self._get(req.connection_key, traces) or await super().connect(
            req, traces, timeout
        )
        while state.reused and spoke_unasked(connection):
            connection.close()
            connection = await super().connect(req, traces, timeout)
        if state.fresh and connection.protocol is not None:
            connection.protocol.force_close()  # else each of many would lie idle for a while
        state.stage, state.sent = Stage.ANSWER, True
        return connection

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        return None if progress.get().fresh else await super()._get(key, traces)

    async def _create_connection(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> ResponseHandler:
        state = progress.get()
        state.stage, state.reused = Stage.CONNECTION, False
        deadline = asyncio.timeout(state.connect_timeout_seconds)
        try:
            async with deadline:
                return await super()._create_connection(req, traces, timeout)
        except TimeoutError:
            if state.connect_timeout_seconds is None or not deadline.expired():
                raise
            raise NotConnected(state.connect_timeout_seconds) from None


def spoke_unasked(connection: Connection) -> bool:
    """Whether an idle connection has received something: it would be taken for the next request's answer."""
    end = connection.protocol
    return not isinstance(end, Listening) or end.heard


def patient_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that outlives its closing by `UNSENT_GIVEN_UP_SECONDS` at most."""
    family, kind, protocol, _, _ = address
    sock = socket.socket(family, kind, protocol)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNSENT_GIVEN_UP_SECONDS * 1000)
    return sock


def trusted_certificates() -> ssl.SSLContext:
    """SSL_CERT_FILE or SSL_CERT_DIR alone where set; else certifi's certificates and the system's."""
    context = httpx.create_ssl_context()
    if not (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")):
        context.load_default_certs()
    return context


def aiohttp_transport(
    tls: ssl.SSLContext, *, max_concurrency: int, max_per_host: int, max_header_bytes: int
) -> Wire:
    """A transport without cookies, proxies, redirects, decompression or repetition; opens on first use."""

    def connector() -> ReportingConnector:
        return ReportingConnector(
            ssl=tls,
            limit=max_concurrency,
            limit_per_host=max_per_host,
            socket_factory=patient_socket,
            keepalive_timeout=KEEPALIVE_SECONDS,
        )

    limits = {
        "read_bufsize": READ_BUFFER_BYTES,
        "max_line_size": STATUS_LINE_BYTES,
        "max_field_size": max_header_bytes,
        "max_headers": HEADER_LINES,
    }
    return Wire(connector, limits)

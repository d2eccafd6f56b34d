"""httpx's transport over aiohttp, made to send a request once and to tell how far it came."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import aiohttp
import httpx

from infrastructure.http_caller.progress import Severed, Stage, progress
from infrastructure.http_caller.verbatim import VerbatimRequest, VerbatimTransport

if TYPE_CHECKING:
    import ssl

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest, ClientResponse
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
    """Notes in `progress` what a request waits for, and whether it got a used connection."""

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> Connection:
        """A connection for the request; waits for its turn while the limits are reached."""
        state = progress.get()
        state.stage, state.reused = Stage.SLOT, True
        connection = await super().connect(req, traces, timeout)
        while state.reused and spoke_unasked(connection):
            connection.close()
            connection = await super().connect(req, traces, timeout)
        state.stage = Stage.ANSWER
        return connection

    async def _create_connection(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> ResponseHandler:
        state = progress.get()
        state.stage, state.reused = Stage.CONNECTION, False
        return await super()._create_connection(req, traces, timeout)


def spoke_unasked(connection: Connection) -> bool:
    """Whether an idle connection has received something: it would be taken for the next request's answer."""
    return connection.protocol is None or connection.protocol.should_close


async def send_once(request: ClientRequest, handler: aiohttp.ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from repeating a request by itself: on these errors it does, for idempotent methods."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ClientConnectionResetError) as error:
        raise Severed(answer_began=False) from error
    except aiohttp.ServerDisconnectedError as error:
        raise Severed(answer_began=not isinstance(error.message, str)) from error


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
    tls: ssl.SSLContext, *, max_concurrency: int, max_per_host: int, max_header_bytes: int, reuse: bool
) -> VerbatimTransport:
    """A transport without cookies, proxies, redirects, decompression or repetition; opens on first use.

    `reuse` False: every request gets a connection of its own.
    """

    def session() -> aiohttp.ClientSession:
        connector = ReportingConnector(
            ssl=tls,
            limit=max_concurrency,
            limit_per_host=max_per_host,
            socket_factory=patient_socket,
            **({"keepalive_timeout": KEEPALIVE_SECONDS} if reuse else {"force_close": True}),
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(send_once,),
            trust_env=False,
            timeout=aiohttp.ClientTimeout(),
            auto_decompress=False,
            request_class=VerbatimRequest,
            skip_auto_headers=("Content-Type",),
            read_bufsize=READ_BUFFER_BYTES,
            max_line_size=STATUS_LINE_BYTES,
            max_field_size=max_header_bytes,
            max_headers=HEADER_LINES,
        )

    return VerbatimTransport(verify=tls, client=session)

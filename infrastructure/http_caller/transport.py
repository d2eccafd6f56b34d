"""Where connections come from: aiohttp's connector looks names up, dials and makes TLS of it."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import httpx
from yarl import URL

from infrastructure.http_caller.bounds import Bounds
from infrastructure.http_caller.connection import Connection
from infrastructure.http_caller.pool import Pool
from infrastructure.http_caller.wire import Wire

if TYPE_CHECKING:
    import ssl

# What the peer has not taken by then is given up, so that closing never waits for one that reads nothing.
UNSENT_GIVEN_UP_SECONDS = 120
NO_TIMEOUT = aiohttp.ClientTimeout()
# A body may come a byte at a time, each with the frame of its chunk.
FRAMES = 8
MIB = 1024 * 1024


class AiohttpDialler(aiohttp.TCPConnector):
    """`Dialler` that keeps none of its connections: a pool does."""

    def __init__(self, tls: ssl.SSLContext, bounds: Bounds) -> None:
        super().__init__(ssl=tls, socket_factory=patient_socket)
        end: Any = partial(Connection, bounds)
        self._factory = end  # instead of aiohttp's own

    async def dial(self, site: str) -> Connection:
        """See `Dialler.dial`."""
        where = aiohttp.ClientRequest("GET", URL(site, encoded=True), loop=self._loop)
        return cast("Connection", await self._create_connection(where, [], NO_TIMEOUT))


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


def aiohttp_wire(
    tls: ssl.SSLContext,
    *,
    max_concurrency: int,
    max_per_host: int,
    max_body_bytes: int,
    max_header_bytes: int,
) -> Wire:
    """A transport without cookies, proxies, redirects, decompression or repetition; opens on first use."""
    beside_body = MIB + FRAMES * max_body_bytes
    bounds = Bounds(body=max_body_bytes, field=max_header_bytes, beside_body=beside_body)

    def pool() -> Pool:
        return Pool(AiohttpDialler(tls, bounds), max_calls=max_concurrency, max_per_host=max_per_host)

    return Wire(pool)

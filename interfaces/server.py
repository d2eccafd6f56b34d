"""Serving an ASGI application with uvicorn on a socket, and giving the socket up in good order."""

import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litestar.types import ASGIApp

BACKLOG = 2_048


class AddressUnusable(Exception):
    """The service cannot listen where it was told to."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        advice = (
            "stop what listens there, or set PORT to another one"
            if error.errno == errno.EADDRINUSE
            else "set HOST and PORT to an address of this machine that you may use"
        )
        super().__init__(f"Cannot listen on {host}:{port} ({_reason(error)}); {advice}.")


def _reason(error: OSError) -> str:
    # A resolver's error has a number of its own, which the system's table would misread.
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno).lower()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one. Raises `AddressUnusable`."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # `::` is every address of the machine, those of IPv4 included, wherever one socket can be both.
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        raise AddressUnusable(host, port, error) from error


def address(listening: socket.socket) -> str:
    """The URL of what a socket serves."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def serve(app: "ASGIApp", listening: socket.socket, stop: asyncio.Event, grace_seconds: float) -> None:
    """Serve until told to stop, then let requests under way finish within the grace; the socket is closed.

    uvicorn's own loop would take the signals of the process, and wake up ten times a second to date answers.
    """
    import uvicorn  # noqa: PLC0415 - a process without pages does not pay for it

    from interfaces.protocol import BoundedHttp  # noqa: PLC0415 - nor for the web framework

    config = uvicorn.Config(
        app,
        loop="none",
        http=BoundedHttp,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=max(1, int(grace_seconds)),
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup([listening])
    try:
        await stop.wait()
    finally:
        await server.shutdown([listening])

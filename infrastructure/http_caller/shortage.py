"""What this machine has run out of, when it could not open a connection: the target has no part in that."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

import aiohttp
from yarl import URL

# Closing idle connections makes room.
FREED_BY_CLOSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


async def shortage(error: Exception, site: str) -> int | None:
    """The error number of what is lacking; None: that is not why there is no connection."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return _lacking()  # the resolver does not tell that it could not open a file
    if not isinstance(cause, OSError):
        return None
    if cause.errno == errno.EADDRNOTAVAIL:
        return errno.EADDRNOTAVAIL if await _is_reachable_otherwise(site) else None
    return cause.errno if cause.errno in FREED_BY_CLOSING else None


def _lacking() -> int | None:
    try:
        os.close(os.dup(0))
    except OSError as error:
        return error.errno if error.errno in FREED_BY_CLOSING else None
    return None


async def _is_reachable_otherwise(site: str) -> bool:
    """Whether this machine has an address to call from, so that only its ports to that site are used up.

    A datagram socket has ports of its own. It sends nothing when it is connected.
    """
    url = URL(site, encoded=True)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            url.host, url.port, type=socket.SOCK_DGRAM, proto=socket.IPPROTO_UDP
        )
    except OSError:
        return False
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.connect(address)
        except OSError:
            continue
        return True
    return False

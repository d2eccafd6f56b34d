"""Connections that wait for the next request to their host, and how many calls a host may have."""

from __future__ import annotations

import asyncio
import errno
import math
import os
from collections import deque
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

import aiohttp

from application.ports import ResourcesExhausted
from infrastructure.http_caller.progress import NotConnected, Progress, Stage
from infrastructure.http_caller.shortage import FREED_BY_CLOSING, shortage

if TYPE_CHECKING:
    from infrastructure.http_caller.connection import Connection


# Below the 5 s after which uvicorn, Node and Apache close an idle connection: reuse seldom meets a dying one.
KEEPALIVE_SECONDS = 4.0
# Until what was closed is closed, and until a call that has been sent in part is tried again.
ROOM_PAUSE_SECONDS = 0.05


class Dialler(Protocol):
    """Opens connections."""

    async def dial(self, site: str) -> Connection:
        """A new connection to a scheme, host and port. Raises `aiohttp.ClientError` and `OSError`."""
        ...

    async def close(self) -> None:
        """Dial no more."""
        ...


class Host:
    """A scheme, host and port: `room` for so many calls more, and `calls`, those that wait included.

    `idle`: connections that wait for a call, the latest used last.
    """

    __slots__ = ("calls", "idle", "room")

    def __init__(self, room: int) -> None:
        self.room = room
        self.calls = 0
        self.idle: list[Connection] = []


class Pool:
    """Hands out connections, idle ones first; in the order of asking where the limits are reached."""

    def __init__(self, dialler: Dialler, *, max_calls: int, max_per_host: int) -> None:
        self._dialler = dialler
        self._room = max_calls
        self._max_per_host = max_per_host
        self._hosts: dict[str, Host] = {}
        self._waiting: deque[tuple[Host, asyncio.Future[None]]] = deque()
        self._open: WeakSet[Connection] = WeakSet()
        self._cleaning: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def hosts(self) -> int:
        """How many of them something is known of."""
        return len(self._hosts)

    async def take(self, site: str, state: Progress) -> Connection:
        """A connection for one call, to be given back; waits for room, and notes in `state` how far it came.

        Raises `ResourcesExhausted`, `NotConnected`, `aiohttp.ClientError` and `OSError`; this one as well
        when the pool is closed.
        """
        state.stage, state.reused = Stage.SLOT, True
        self._check_open()
        host = self._hosts.get(site) or self._hosts.setdefault(site, Host(self._max_per_host))
        host.calls += 1
        if self._room and host.room:
            self._room -= 1
            host.room -= 1
        else:
            await self._turn(site, host)
        try:
            connection = None if state.fresh else self._idle(host)
            if connection is None:
                connection = await self._connect(site, state)
        except BaseException:
            self._leave(site, host)
            raise
        connection.for_one_request = state.fresh
        state.stage, state.sent = Stage.ANSWER, True
        return connection

    def take_idle(self, site: str) -> Connection | None:
        """An idle connection for one call, to be given back; None: one has to wait for it, or for room."""
        host = self._hosts.get(site)
        if host is None or not (self._room and host.room) or self._closed:
            return None
        connection = self._idle(host)
        if connection is not None:
            self._room -= 1
            host.room -= 1
            host.calls += 1
        return connection

    def give_back(self, site: str, connection: Connection) -> None:
        """The call has ended: another may have its connection, unless something is left on it."""
        host = self._hosts[site]
        if connection.reusable and not self._closed:
            connection.idle_since = asyncio.get_running_loop().time()
            host.idle.append(connection)
            if self._cleaning is None:
                self._clean_after(KEEPALIVE_SECONDS)
        else:
            connection.close()
        self._leave(site, host)

    async def aclose(self) -> None:
        """Close every connection; calls under way fail."""
        self._closed = True
        if self._cleaning is not None:
            self._cleaning.cancel()
        for _, turn in self._waiting:
            if not turn.done():
                turn.set_exception(closed())
        await self._dialler.close()
        await asyncio.gather(*[connection.abort() for connection in self._open])

    def _idle(self, host: Host) -> Connection | None:
        """The connection that was used last: so the others become old, and are closed."""
        oldest = asyncio.get_running_loop().time() - KEEPALIVE_SECONDS
        while host.idle:
            connection = host.idle.pop()
            if connection.reusable and connection.idle_since >= oldest:
                return connection
            connection.close()
        return None

    async def _connect(self, site: str, state: Progress) -> Connection:
        state.stage, state.reused = Stage.CONNECTION, False
        deadline = asyncio.timeout(state.connect_timeout_seconds)
        try:
            async with deadline:
                connection = await self._dial(site, state)
        except TimeoutError:
            if state.connect_timeout_seconds is None or not deadline.expired():
                raise
            raise NotConnected(state.connect_timeout_seconds) from None
        self._open.add(connection)
        if self._closed:
            connection.close()
            self._check_open()
        return connection

    async def _dial(self, site: str, state: Progress) -> Connection:
        """Dial, if need be once idle connections have made room.

        Raises `ResourcesExhausted`, unless something of the call was sent, as where it was redirected: it
        then waits for room within its timeout.
        """
        while True:
            try:
                return await self._dialler.dial(site)
            except (aiohttp.ClientError, OSError) as error:
                lacking = await shortage(error, site)
                if lacking is None:
                    raise
                made_room = lacking in FREED_BY_CLOSING and self._close_idle()
                if not (made_room or state.sent):
                    raise ResourcesExhausted(lacking) from error
            await asyncio.sleep(ROOM_PAUSE_SECONDS)

    def _close_idle(self) -> bool:
        """Close all idle connections; whether there were any."""
        idle = [connection for host in self._hosts.values() for connection in host.idle]
        for host in self._hosts.values():
            host.idle.clear()
        for connection in idle:
            connection.close()
        return bool(idle)

    def _check_open(self) -> None:
        if self._closed:
            raise closed()

    async def _turn(self, site: str, host: Host) -> None:
        """Wait until there is room; who leaves makes it over to the first in the line who can have it."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((host, turn))
        try:
            await turn
        except BaseException:
            if (host, turn) in self._waiting:
                self._waiting.remove((host, turn))
                self._forget(site, host)
            else:
                self._leave(site, host)  # it has been admitted, and does not know yet
            raise

    def _leave(self, site: str, host: Host) -> None:
        self._room += 1
        host.room += 1
        if self._waiting:
            self._admit()
        self._forget(site, host)

    def _admit(self) -> None:
        """Let those in who have room, in the order in which they asked."""
        for host, turn in [*self._waiting]:
            if not self._room:
                return
            if host.room and not turn.done():
                self._waiting.remove((host, turn))
                self._room -= 1
                host.room -= 1
                turn.set_result(None)

    def _forget(self, site: str, host: Host) -> None:
        """A call to the host is over."""
        host.calls -= 1
        if not (host.calls or host.idle):
            del self._hosts[site]

    def _clean_after(self, seconds: float) -> None:
        self._cleaning = asyncio.get_running_loop().call_later(seconds, self._clean)

    def _clean(self) -> None:
        """Close what has been idle for too long, and forget hosts that nobody calls."""
        now = asyncio.get_running_loop().time()
        self._cleaning, next_in = None, math.inf
        for site, host in [*self._hosts.items()]:
            old = [one for one in host.idle if one.lost or one.idle_since + KEEPALIVE_SECONDS <= now]
            for connection in old:
                host.idle.remove(connection)
                connection.close()
            if host.idle:
                next_in = min(next_in, host.idle[0].idle_since + KEEPALIVE_SECONDS - now)
            elif not host.calls:
                del self._hosts[site]
        if next_in < math.inf:
            self._clean_after(next_in)


def closed() -> ConnectionAbortedError:
    """Why there is no connection any more."""
    return ConnectionAbortedError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED))

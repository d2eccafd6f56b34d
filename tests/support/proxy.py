"""A TCP proxy in front of Postgres that loses connections at the moment a test chooses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from psycopg.conninfo import conninfo_to_dict, make_conninfo

if TYPE_CHECKING:
    from types import TracebackType

# The message ReadyForQuery outside of a transaction: the server has committed and said so.
COMMITTED = b"Z\x00\x00\x00\x05I"
CHUNK = 65_536

type Writers = tuple[asyncio.StreamWriter, asyncio.StreamWriter]


@dataclass(eq=False)
class Trap:
    """Catches one connection once its client has sent `text`; `sprung` tells that it happened."""

    text: str
    moment: Literal["hold", "before", "after"]
    sprung: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Let go what is held."""
        self.released.set()

    def is_in(self, sent: bytes) -> bool:
        """Whether the text was sent, as it is or as the hexadecimal digits of a text-format bytea."""
        plain = self.text.encode()
        return plain in sent or plain.hex().encode() in sent


class Proxy:
    """Passes everything on to the server of `dsn`, until told otherwise; reach it by its own `dsn`."""

    def __init__(self, dsn: str) -> None:
        self._target = conninfo_to_dict(dsn)
        self._traps: list[Trap] = []
        self._open: set[Writers] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusing = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self.refused = 0
        self.dsn = ""

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        given = {key: value for key, value in self._target.items() if key != "hostaddr"}
        self.dsn = make_conninfo(
            "", **given | {"host": "127.0.0.1", "port": port, "sslmode": "disable", "gssencmode": "disable"}
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Lose every connection, without a word to either side."""
        for writers in list(self._open):
            self._abort(writers)

    def refuse(self) -> None:
        """Lose every connection and every new one, until `accept`."""
        self._refusing = True
        self.cut()

    def accept(self) -> None:
        """Take connections again."""
        self._refusing = False

    def freeze(self) -> None:
        """Keep the connections and pass nothing on, as a machine that hangs would, until `thaw`."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Pass on what was held back."""
        self._flowing.set()

    def cut_before_server_hears(self, text: str) -> asyncio.Event:
        """Lose the next connection that sends `text`, before the server has the whole of that message."""
        return self._set(Trap(text, "before")).sprung

    def cut_after_commit(self, text: str) -> asyncio.Event:
        """Lose the next connection that sends `text`, when the server has committed and before it says so."""
        return self._set(Trap(text, "after")).sprung

    def hold(self, text: str) -> Trap:
        """Keep the next message with `text` from the server until it is released."""
        return self._set(Trap(text, "hold"))

    def _set(self, trap: Trap) -> Trap:
        self._traps.append(trap)
        return trap

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            self.refused += 1
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await self._dial()
        except OSError:
            writer.transport.abort()
            return
        writers = (writer, server_writer)
        self._open.add(writers)
        conversation = _Conversation(self._traps, self._flowing, lambda: self._abort(writers))
        for direction in (
            conversation.to_server(reader, server_writer),
            conversation.to_client(server_reader, writer),
        ):
            task = asyncio.ensure_future(self._pump(direction, writers))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, direction: Awaitable[None], writers: Writers) -> None:
        with contextlib.suppress(OSError):
            await direction
        self._abort(writers)

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = str(self._target.get("host", "127.0.0.1")), int(self._target.get("port") or 5432)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    def _abort(self, writers: Writers) -> None:
        self._open.discard(writers)
        for writer in writers:
            writer.transport.abort()


class _Conversation:
    """One connection's bytes in both directions, watched for what the traps wait for."""

    def __init__(self, traps: list[Trap], flowing: asyncio.Event, abort: Callable[[], None]) -> None:
        self._traps = traps
        self._flowing = flowing
        self._abort = abort
        self._caught: Trap | None = None

    async def to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held = b""
        while data := await reader.read(CHUNK):
            await self._flowing.wait()
            held += data
            trap = next((trap for trap in self._traps if trap.is_in(held)), None)
            if trap is not None:
                self._traps.remove(trap)
                if trap.moment == "before":
                    self._spring(trap)
                    return
                if trap.moment == "hold":
                    trap.sprung.set()
                    await trap.released.wait()
                else:
                    self._caught = trap
            writer.write(data)
            held = held[-CHUNK:]
            await writer.drain()

    async def to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = b""
        while data := await reader.read(CHUNK):
            await self._flowing.wait()
            if self._caught is None:
                writer.write(data)
                await writer.drain()
                continue
            answer += data
            if answer.endswith(COMMITTED):
                self._spring(self._caught)
                return

    def _spring(self, trap: Trap) -> None:
        self._abort()
        trap.sprung.set()

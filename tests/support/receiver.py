"""A local HTTP server that records every request and answers as badly as its path asks.

In a test: `async with Receiver() as receiver: … receiver.url("/status/503") …`. As a process of its own, for
tests that kill the service: `python -m tests.support.receiver --port 0 --log FILE` prints its port, then
appends one JSON line a request to FILE, flushed before the answer is sent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import time
from collections import Counter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self
from urllib.parse import urlsplit

import msgspec

from tests.support.misbehaviour import SCRIPTS, Call, Exchange, Script

if TYPE_CHECKING:
    import ssl


class Receiver:
    """The server. `scripts` adds or replaces behaviours; `log` takes one JSON line a request."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        scripts: dict[str, Script] | None = None,
        log: Path | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.calls: list[Call] = []
        self.connections = 0
        self.failures: Counter[str] = Counter()
        self.doomed: set[int] = set()
        self.port = port
        self._host = host
        self._scripts = SCRIPTS | (scripts or {})
        self._log_path = log
        self._log: IO[bytes] | None = None
        self._tls = tls
        self._serving: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> Self:
        if self._log_path is not None:
            self._log = self._log_path.open("ab")
        self._server = await asyncio.start_server(
            self._connected, self._host, self.port, ssl=self._tls, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        if self._log is not None:
            self._log.close()

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._serving)

    def url(self, path: str) -> str:
        """The address of a path, such as `/status/503?task=7`."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{self._host}:{self.port}{path}"

    def calls_to(self, path: str) -> list[Call]:
        """The recorded requests for exactly this path and query."""
        return [call for call in self.calls if call.path == path]

    async def wait_for(self, count: int, *, deadline_seconds: float = 60) -> list[Call]:
        """The recorded requests once there are `count`; raises TimeoutError when they do not come."""
        async with asyncio.timeout(deadline_seconds), self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls) >= count)
        return self.calls

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(self.connections, reader, writer)
        finally:
            self._serving.discard(task)
            writer.close()

    async def _serve(
        self, connection: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        keep = True
        while keep:
            head = await reader.readuntil(b"\r\n\r\n")
            if connection in self.doomed:
                return
            call = await self._read(head, connection, reader)
            await self._record(call)
            name, _, argument = urlsplit(call.path).path.lstrip("/").partition("/")
            script = self._scripts.get(name, SCRIPTS["status"])
            keep = bool(await script(Exchange(call, argument or "404", self, reader, writer)))

    async def _read(self, head: bytes, connection: int, reader: asyncio.StreamReader) -> Call:
        request_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        method, path, _ = request_line.split(" ", 2)
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            key, text = name.lower(), value.strip()
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        text = body.decode("utf-8", "replace")
        return Call(
            method=method, path=path, headers=headers, body=text, at=time.time(), connection=connection
        )

    async def _record(self, call: Call) -> None:
        self.calls.append(call)
        if self._log is not None:
            self._log.write(msgspec.json.encode(call) + b"\n")
            self._log.flush()
        async with self._arrived:
            self._arrived.notify_all()


async def serve(port: int, log: Path | None) -> None:
    """Print the port and answer until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    async with Receiver(port=port, log=log) as receiver:
        print(receiver.port, flush=True)
        await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.support.receiver")
    parser.add_argument("--port", type=int, default=0, help="0 (the default): any free port")
    parser.add_argument("--log", type=Path, help="append one JSON line a request to this file")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.log))

"""A server on a free port, and connections to it over which a test sends what it likes."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from litestar import Litestar, Request, get, post

from interfaces.server import listen, serve

DEADLINE_SECONDS = 60
MIB = 1024 * 1024


@get("/", sync_to_thread=False)
def hello(request: Request[Any, Any, Any]) -> dict[str, str]:
    return dict(request.headers)


@post("/echo", status_code=200)
async def echo(request: Request[Any, Any, Any]) -> dict[str, str]:
    return {"body": (await request.body()).decode(), **request.headers}


class Service:
    """A server on a free port; `gate` keeps `/slow` from answering."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()

        @get("/slow")
        async def slow() -> str:
            self.asked.set()
            await self.gate.wait()
            return "at last"

        self.app = Litestar([hello, echo, slow], openapi_config=None)
        self.listening = listen("127.0.0.1", 0)
        self.port: int = self.listening.getsockname()[1]

    async def connect(self) -> "Connection":
        return Connection(*await asyncio.open_connection("127.0.0.1", self.port, limit=MIB))


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: str | bytes) -> None:
        self._writer.write(data.encode("latin-1") if isinstance(data, str) else data)
        await self._writer.drain()

    async def send_on(self) -> None:
        """Send more and more, until the connection breaks."""
        while True:
            await self.send("more of it\r\n")
            await asyncio.sleep(0.01)

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body of the next answer."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        line, *fields = head.split("\r\n")[:-2]
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        body = (await self._reader.readexactly(int(headers["content-length"]))).decode()
        is_json = headers["content-type"].endswith("json")
        return int(line.split(" ")[1]), headers, json.loads(body) if is_json else body

    async def problem(self) -> dict[str, Any]:
        """The next answer, which is a problem and the connection's last."""
        status, headers, problem = await self.answer()
        assert headers["content-type"] == "application/problem+json"
        assert headers["connection"] == "close"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-request-id"] == problem["request_id"]
        assert problem["status"] == status
        assert await self.ended()
        return dict(problem)

    async def ended(self) -> bool:
        return await self._reader.read() == b""

    def close(self) -> None:
        self._writer.close()


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Service]:
    service = Service()
    stop = asyncio.Event()
    running = asyncio.create_task(serve(service.app, service.listening, stop, grace_seconds=1))
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            yield service
    finally:
        service.gate.set()
        stop.set()
        await running

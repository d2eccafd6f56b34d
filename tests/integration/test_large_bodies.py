"""A body that is too large is answered so that its sender reads why, also while it is still sending."""

import asyncio
import contextlib
import http.client
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import uvloop

from interfaces.http import app
from interfaces.server import address, listen, serve
from tests.support.http_service import http_service

SIZE = 20_000_000
LIMIT = 1_000_000
JSON = {"Content-Type": "application/json"}
DEADLINE_SECONDS = 60


def pieces() -> Iterator[bytes]:
    for _ in range(SIZE // 100_000):
        yield b" " * 100_000


def by_urllib(url: str, body: object) -> bytes:
    request = urllib.request.Request(url, body, JSON)  # type: ignore[arg-type]
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=DEADLINE_SECONDS)
    return refusal.value.read()


def by_http_client(url: str, body: object) -> bytes:
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=DEADLINE_SECONDS)
    connection.request("POST", "/" + url.split("/", 3)[3], body, JSON)  # type: ignore[arg-type]
    answer = connection.getresponse()
    assert answer.getheader("connection") == "close"
    return answer.read()


def by_curl(url: str, body: object) -> bytes:
    if not (curl := shutil.which("curl")):
        pytest.skip("curl is not installed")
    chunked = [] if isinstance(body, bytes) else ["-H", "Transfer-Encoding: chunked"]
    command = [curl, "-sS", "-H", f"Content-Type: {JSON['Content-Type']}", "-H", "Expect:", *chunked]
    answer = subprocess.run(
        [*command, "--data-binary", "@-", url],
        check=False,
        input=b" " * SIZE,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
    )
    assert (answer.returncode, answer.stderr) == (0, b"")
    return answer.stdout


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[str]:
    async with http_service(max_body_bytes=LIMIT) as service:
        listening = listen("127.0.0.1", 0)
        stop = asyncio.Event()
        running = asyncio.create_task(serve(service.app, listening, stop, grace_seconds=1))
        try:
            yield address(listening)
        finally:
            stop.set()
            await running


@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "chunked"])
@pytest.mark.parametrize("post", [by_urllib, by_http_client, by_curl])
def test_the_answer_to_20_mb_is_read_by(post: Callable[[str, object], bytes], *, chunked: bool) -> None:
    async def ask() -> list[bytes]:
        async with serving() as url:
            return [
                await asyncio.to_thread(post, f"{url}/api/v1/tasks", pieces() if chunked else b" " * SIZE)
                for _ in range(3)
            ]

    for answer in uvloop.run(ask()):
        assert json.loads(answer)["type"] == "/problems/body-too-large"


def test_any_early_refusal_of_a_large_body_is_read() -> None:
    async def ask() -> bytes:
        async with serving() as url:
            return await asyncio.to_thread(by_urllib, f"{url}/nowhere", b" " * SIZE)

    assert json.loads(uvloop.run(ask()))["type"] == "/problems/not-found"


@pytest.mark.parametrize(("bound", "value"), [("DRAINED_BYTES", 5_000_000), ("DRAINED_SECONDS", 0.2)])
def test_who_never_stops_sending_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, bound: str, value: float
) -> None:
    monkeypatch.setattr(app, bound, value)

    async def ask() -> bytes:
        async with serving() as url, asyncio.timeout(DEADLINE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            head = "POST /api/v1/tasks HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: 999999999999\r\n\r\n".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                while not reader.at_eof():
                    writer.write(b" " * 100_000)
                    await writer.drain()
                    await asyncio.sleep(0)
            writer.close()
            return answer

    assert b" 413 " in uvloop.run(ask()).splitlines()[0]

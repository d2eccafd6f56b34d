"""What the server does with bytes that are no proper request, told over a socket."""

import tracemalloc
from collections.abc import AsyncIterator
from importlib.metadata import version

import httpx
import pytest
import structlog
import uvloop

from interfaces.http.problems import MOST_HEAD_BYTES
from tests.support.raw_http import MIB, Connection, Service, serving

UPGRADE = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as running:
        yield running


@pytest.fixture
async def connection(service: Service) -> AsyncIterator[Connection]:
    opened = await service.connect()
    yield opened
    opened.close()


def test_the_version_of_uvicorn_is_the_one_that_the_adapter_was_read_against() -> None:
    """Before raising it: read httptools_impl.py for what `BoundedHttp` overrides, and Server.startup."""
    assert version("uvicorn").startswith("0.54.")


async def test_a_head_of_64_kib_is_served(connection: Connection) -> None:
    value = "x" * (MOST_HEAD_BYTES - len("/Host: a\r\nX-Large: \r\n"))
    await connection.send(f"GET / HTTP/1.1\r\nHost: a\r\nX-Large: {value}\r\n\r\n")
    status, _, headers = await connection.answer()
    assert status == 200
    assert headers["x-large"] == value


@pytest.mark.parametrize(
    "head",
    [
        f"GET / HTTP/1.1\r\nHost: a\r\nX-Large: {'x' * MOST_HEAD_BYTES}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\nX-Endless: {'x' * 2 * MOST_HEAD_BYTES}",
        "GET / HTTP/1.1\r\nHost: a\r\n" + "X-Many: xxxxx\r\n" * (MOST_HEAD_BYTES // 15 + 1) + "\r\n",
        f"GET /?{'x' * MOST_HEAD_BYTES} HTTP/1.1\r\nHost: a\r\n\r\n",
        f"POST / HTTP/1.1\r\n{UPGRADE}\r\nX-Large: {'x' * MOST_HEAD_BYTES}\r\n\r\n",
    ],
    ids=["one header", "one without end", "many headers", "a query", "one that asks to upgrade"],
)
async def test_a_larger_head_is_refused_with_a_problem(connection: Connection, head: str) -> None:
    await connection.send(head)
    problem = await connection.problem()
    assert (problem["status"], problem["type"]) == (431, "/problems/head-too-large")
    assert "65,536 bytes" in problem["detail"]
    assert problem["instance"] == "/"


async def test_the_path_is_told_where_it_was_read(connection: Connection) -> None:
    await connection.send(f"GET /a%20b?c HTTP/1.1\r\nHost: a\r\nX-Large: {'x' * MOST_HEAD_BYTES}\r\n\r\n")
    assert (await connection.problem())["instance"] == "/a%20b"


async def flood(service: Service, start: bytes, size: int) -> tuple[int, int]:
    """The status of the answer to a start and `size` more bytes, and the most memory held meanwhile."""
    connection = await service.connect()
    piece = b"x" * 65_536
    await connection.send(start)
    tracemalloc.start()
    try:
        for _ in range(size // len(piece)):
            await connection.send(piece)
        status, _, _ = await connection.answer()
        return status, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        connection.close()


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\nX-Endless: ",
        b"GET /",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;extension=",
    ],
    ids=["header", "target", "trailer", "chunk extension"],
)
def test_what_never_ends_is_not_kept_and_its_sender_reads_why(start: bytes) -> None:
    async def refused() -> tuple[int, int]:
        async with serving() as service:
            return await flood(service, start, 32 * MIB)

    status, most = uvloop.run(refused())
    assert status == 431
    assert most < 8 * MIB


async def test_a_large_body_is_none_of_its_business(service: Service) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{service.port}") as client:
        answer = await client.post("/echo", content=b"x" * MIB)
        assert len(answer.json()["body"]) == MIB
        chunked = await client.post("/echo", content=pieces(64, b"y" * 16_384))
        assert len(chunked.json()["body"]) == MIB


async def pieces(count: int, piece: bytes) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield piece


async def test_trailers_are_dropped(connection: Connection) -> None:
    body = "2\r\nok\r\n0\r\nX-Late: too late\r\n\r\n"
    await connection.send(f"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
    _, _, echoed = await connection.answer()
    assert echoed["body"] == "ok"
    assert "x-late" not in echoed


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ("\x16\x03\x01\x02\x00\x01", "invalid method"),
        ("nonsense\r\n\r\n", "invalid method"),
        ("GET /\x80 HTTP/1.1\r\n\r\n", "invalid char in url path"),
        ("GET / HTTP/9.9\r\n\r\n", "invalid http version"),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "invalid url"),
        ("GET / HTTP/1.1\r\nX-A\x00: b\r\n\r\n", "invalid header token"),
        ("GET / HTTP/1.1\r\nX-A: b\x00c\r\n\r\n", "invalid header value char"),
        ("POST /echo HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\n", "content-length"),
    ],
)
async def test_what_is_no_http_is_refused_with_a_problem(
    connection: Connection, data: str, complaint: str
) -> None:
    await connection.send(data)
    problem = await connection.problem()
    assert (problem["status"], problem["type"]) == (400, "/problems/bad-request")
    assert complaint in problem["detail"]


async def test_a_tunnel_is_not_made(connection: Connection) -> None:
    for _ in range(2):
        await connection.send("CONNECT /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await connection.answer())[0] == 404


async def test_a_body_that_breaks_off_into_nonsense_is_refused(connection: Connection) -> None:
    await connection.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
    await connection.send("no size\r\n")
    assert "invalid character in chunk size" in (await connection.problem())["detail"]


async def test_a_request_that_was_answered_early_gets_no_second_answer(connection: Connection) -> None:
    await connection.send("POST /nowhere HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert (await connection.answer())[0] == 404
    await connection.send("no size\r\n")
    assert await connection.ended()


async def test_an_answer_under_way_is_not_spoilt_by_what_follows_its_request(
    service: Service, connection: Connection
) -> None:
    await connection.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n")
    await service.asked.wait()
    service.gate.set()
    status, _, body = await connection.answer()
    assert (status, body) == (200, "at last")
    assert await connection.ended()


async def test_a_connection_that_was_refused_is_closed_though_its_client_stays(
    connection: Connection,
) -> None:
    await connection.send("nonsense\r\n\r\n")
    await connection.problem()
    with pytest.raises(ConnectionError):
        await connection.send_on()


@pytest.mark.parametrize("body", ["", "twenty letters in all"])
async def test_an_offer_to_upgrade_is_declined_in_silence(connection: Connection, body: str) -> None:
    size = f"Content-Length: {len(body)}" if body else "Transfer-Encoding: chunked"
    sent = body or "3\r\nabc\r\n0\r\n\r\n"
    head = f"POST /echo HTTP/1.1\r\nHost: a\r\n{UPGRADE}\r\n{size}\r\n\r\n"
    with structlog.testing.capture_logs() as entries:
        for _ in range(2):
            await connection.send(head)
            await connection.send(sent)
            status, _, echoed = await connection.answer()
            assert (status, echoed["body"]) == (200, body or "abc")
            assert "upgrade" not in echoed
        await connection.send(
            f"GET / HTTP/1.1\r\nHost: a\r\n{UPGRADE}\r\n\r\nGET / HTTP/1.1\r\nX-B: c\r\n\r\n"
        )
        assert (await connection.answer())[0] == 200
        assert (await connection.answer())[2]["x-b"] == "c"
    assert entries == []


async def test_an_offer_of_a_websocket_writes_no_advice_into_the_log(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await connection.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert (await connection.answer())[0] == 200
    assert caplog.text == ""

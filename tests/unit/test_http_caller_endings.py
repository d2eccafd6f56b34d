"""How a connection ends, and what that makes of the answer under way."""

from __future__ import annotations

import asyncio

import pytest

from infrastructure.http_caller.progress import CutShort, Severed
from tests.support.sockets import OK, WHOLE, asked, fed


@pytest.mark.parametrize("error", [None, ConnectionResetError(104, "reset")])
@pytest.mark.parametrize("data", [b"", b"H", b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 200 OK\r\n"])
async def test_an_end_before_the_head_tells_whether_an_answer_had_begun(
    data: bytes, error: Exception | None
) -> None:
    connection, _, head = await asked()
    await fed(connection, *([data] if data else []))
    connection.connection_lost(error)
    with pytest.raises(Severed) as caught:
        await head
    assert caught.value.answer_began == bool(data)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("fields", "ends"),
    [
        (b"", True),
        (b"Transfer-Encoding: gzip\r\n", True),
        (b"Transfer-Encoding: gzip, Chunked\r\n", False),
        (b"Content-Length: 10\r\n", False),
    ],
)
async def test_only_a_body_without_an_end_of_its_own_ends_with_the_connection(
    fields: bytes, *, ends: bool
) -> None:
    for error in (None, ConnectionResetError(104, "reset")):
        connection, _, head = await asked()
        await fed(connection, b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
        await head
        body = asyncio.create_task(connection.body())
        await asyncio.sleep(0)
        connection.connection_lost(error)
        if ends and error is None:
            assert await body == b""
            assert connection.whole
        else:
            with pytest.raises(CutShort):
                await body
        assert not connection.reusable


@pytest.mark.parametrize(
    ("fields", "body", "ends"),
    [
        (b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", b"5\r\nhel", False),
        (b"Transfer-Encoding : chunked\r\n", b"5\r\nhel", False),
        (b"Content-Length : 5\r\n", b"hel", False),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", b"hel", True),
        (b"Transfer-Encoding: gzip,\r\n chunked\r\n", b"hel", True),
        (b"Transfer-Encoding: chunked\t\r\n", b"hel", True),
    ],
)
async def test_a_body_ends_with_the_connection_where_the_parser_reads_to_its_end(
    fields: bytes, body: bytes, *, ends: bool
) -> None:
    connection, _, head = await asked()
    await fed(connection, OK + fields + b"\r\n" + body)
    await head
    connection.connection_lost(None)
    if ends:
        assert await connection.body() == b"hel"
    else:
        with pytest.raises(CutShort, match="in the middle of the body"):
            await connection.body()


async def test_a_server_that_was_silent_for_long_is_not_taken_for_one_that_is_gone() -> None:
    connection, _, head = await asked()
    connection.connection_lost(TimeoutError(110, "Connection timed out"))
    with pytest.raises(TimeoutError):
        await head


async def test_a_connection_that_is_gone_was_asked_for_nothing() -> None:
    connection, socket, head = await asked()
    await fed(connection, WHOLE["length"])
    await head
    socket.close()
    sent = socket.sent
    with pytest.raises(Severed) as caught:
        await connection.ask(b"GET / HTTP/1.1\r\n\r\n", of_head=False)
    assert not caught.value.answer_began
    assert socket.sent == sent


async def test_a_cancelled_call_takes_no_answer_any_more() -> None:
    connection, socket, head = await asked()
    head.cancel()
    await asyncio.gather(head, return_exceptions=True)
    connection.close()
    await fed(connection, WHOLE["length"])
    assert socket.closed
    assert not connection.whole

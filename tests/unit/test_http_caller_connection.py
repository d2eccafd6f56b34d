"""What is taken for an answer, however its bytes arrive, and what is left on the connection."""

from __future__ import annotations

import weakref

import pytest

from infrastructure.http_caller.bounds import Bounds
from infrastructure.http_caller.connection import Connection
from infrastructure.http_caller.progress import CutShort, Improper, Severed
from tests.support.sockets import OK, WHOLE, Socket, again, asked, fed


@pytest.mark.parametrize("kind", WHOLE)
async def test_an_answer_is_the_same_wherever_its_bytes_are_cut(kind: str) -> None:
    data = WHOLE[kind]
    for cut in range(1, len(data)):
        connection, _, head = await asked()
        await fed(connection, data[:cut], data[cut:])
        await head
        assert (connection.status, await connection.body()) == (
            (204, b"") if kind == "no body" else (200, b"hello")
        )
        assert connection.reusable


@pytest.mark.parametrize("kind", WHOLE)
async def test_an_answer_may_come_byte_by_byte(kind: str) -> None:
    connection, _, head = await asked()
    await fed(connection, *[bytes([one]) for one in WHOLE[kind]])
    await head
    assert connection.whole
    assert connection.fields == [
        field
        for field in [
            (b"Transfer-Encoding", b"chunked"),
            (b"Content-Length", b"5"),
            (b"X-Empty", b""),
        ]
        if field[0] in WHOLE[kind]
    ]


async def test_one_answer_after_the_other_comes_on_one_connection() -> None:
    connection, socket, head = await asked()
    for kind in (*WHOLE, *WHOLE):
        await fed(connection, WHOLE[kind])
        await head
        assert connection.reusable
        head = await again(connection)
    assert socket.sent.count(b"GET") == 1 + 2 * len(WHOLE)
    head.cancel()


@pytest.mark.parametrize("fields", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_the_answer_to_a_head_has_no_body(fields: bytes) -> None:
    connection, _, head = await asked(of_head=True)
    await fed(connection, b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
    await head
    assert await connection.body() == b""
    assert connection.reusable
    head = await again(connection)
    await fed(connection, WHOLE["length"])
    await head
    assert await connection.body() == b"hello"


@pytest.mark.parametrize("rest", [b"hello", b"?", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
async def test_a_body_after_the_answer_to_a_head_is_left_on_the_connection(rest: bytes) -> None:
    connection, _, head = await asked(of_head=True)
    await fed(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + rest)
    await head
    assert (connection.status, connection.reusable) == (200, False)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("kind", ["length", "chunks", "no body"])
@pytest.mark.parametrize(
    "more", [b"?", b"H", b"HTTP/1.1 103 Early Hints\r\n\r\n", WHOLE["length"], b"HTTP/1.1 1000 No\r\n\r\n"]
)
async def test_what_follows_an_answer_changes_nothing_but_that_no_other_request_is_made(
    more: bytes, kind: str, *, together: bool
) -> None:
    connection, _, head = await asked()
    await fed(connection, *([WHOLE[kind] + more] if together else [WHOLE[kind], more]))
    await head
    assert await connection.body() == (b"" if kind == "no body" else b"hello")
    assert len(connection.fields) == WHOLE[kind].partition(b"\r\n\r\n")[0].count(b"\r\n")
    assert not connection.reusable


@pytest.mark.parametrize("fields", [b"", b"Upgrade: x\r\nConnection: upgrade\r\n"])
async def test_a_switched_connection_serves_no_other_request(fields: bytes) -> None:
    connection, _, head = await asked()
    await fed(connection, b"HTTP/1.1 101 Switching\r\n" + fields + b"\r\n")
    await head
    assert (connection.status, connection.whole, connection.reusable) == (101, True, False)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
    ],
)
async def test_a_connection_that_the_server_will_close_serves_no_other_request(head: bytes) -> None:
    connection, _, answer = await asked()
    await fed(connection, head + b"hello")
    await answer
    assert (connection.whole, connection.reusable) == (True, False)


@pytest.mark.parametrize("size", [10, 11, 12, 1000])
async def test_a_body_is_read_to_one_byte_more_than_its_bound(size: int) -> None:
    connection, _, head = await asked()
    await fed(connection, f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode(), b"b" * size)
    await head
    assert len(await connection.body()) == min(size, 11)
    assert connection.reusable == (size == 10)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5, "it has too many headers"),
        (
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100 + b"\r\nX: y\r\n",
            "its status line or one of its headers is too long",
        ),
        (b"HTTP/1.1 200 " + b"O" * 1000, "there is too much of it beside its body"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20, "there is too much of it beside its body"),
        (b"nothing", "bad status line"),
        (b"HTTP/1.1 2000 OK\r\n", "bad status line"),
        (b"HTTP/1.1 200 OK\r\nno field\r\n", "invalid header token"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n", "invalid character in content-length"),
    ],
)
async def test_what_is_no_answer_ends_the_connection_and_says_why(data: bytes, complaint: str) -> None:
    bounds = Bounds(body=10, field=50, fields=3, head=200, beside_body=200)
    connection, socket, head = await asked(bounds=bounds)
    await fed(connection, data)
    with pytest.raises(Improper, match=complaint):
        await head
    assert socket.closed


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"2\r\nhe\r\nzz", "invalid character in chunk size"),
        (b"0\r\n" + b"X: y\r\n" * 5, "it has too many headers"),
        (b"0\r\nX: " + b"y" * 1000, "there is too much of it beside its body"),
        (b"1;" + b"x" * 1000, "there is too much of it beside its body"),
    ],
)
@pytest.mark.parametrize("together", [True, False])
async def test_a_body_that_is_none_ends_the_connection_and_says_why(
    data: bytes, complaint: str, *, together: bool
) -> None:
    connection, socket, head = await asked(
        bounds=Bounds(body=10, field=50, fields=3, head=200, beside_body=200)
    )
    begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    await fed(connection, *([begun + data] if together else [begun, data]))
    await head
    assert connection.status == 200
    with pytest.raises(CutShort, match=complaint):
        await connection.body()
    assert socket.closed


async def test_blanks_around_a_value_are_none_of_it() -> None:
    connection, _, head = await asked()
    await fed(connection, OK + b"Location: \t /b \t\r\nContent-Length: 0 \r\n\r\n")
    await head
    assert connection.fields == [(b"Location", b"/b"), (b"Content-Length", b"0")]


@pytest.mark.parametrize("trailer", [b"Connection: close", b"Transfer-Encoding: gzip"])
async def test_a_trailer_may_end_the_connection_as_well(trailer: bytes) -> None:
    connection, _, head = await asked()
    await fed(connection, OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + trailer + b"\r\n\r\n")
    await head
    assert (connection.whole, connection.reusable) == (True, False)


@pytest.mark.parametrize("closed", [True, False])
async def test_an_answer_may_come_before_the_first_request(*, closed: bool) -> None:
    connection, socket = Connection(Bounds(body=10)), Socket()
    connection.connection_made(socket)
    await fed(connection, WHOLE["length"][:20], WHOLE["length"][20:])
    if closed:
        connection.connection_lost(None)
    await connection.ask(b"GET / HTTP/1.1\r\n\r\n", of_head=False)
    assert await connection.body() == b"hello"
    assert connection.reusable != closed


@pytest.mark.parametrize("early", [b"HTTP/1.1 200 OK\r\nContent-", b"?"])
async def test_half_an_answer_before_the_first_request_is_none(early: bytes) -> None:
    connection = Connection(Bounds(body=10))
    connection.connection_made(Socket())
    await fed(connection, early)
    connection.connection_lost(None)
    with pytest.raises((Severed, Improper)):
        await connection.ask(b"GET / HTTP/1.1\r\n\r\n", of_head=False)


async def test_of_what_comes_before_the_first_request_little_is_kept() -> None:
    connection = Connection(Bounds(body=10))
    connection.connection_made(Socket())
    await fed(connection, *[b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000] * 100)
    with pytest.raises(Improper):
        await connection.ask(b"GET / HTTP/1.1\r\n\r\n", of_head=False)


async def test_a_field_that_goes_on_line_after_line_is_given_up_soon() -> None:
    bounds = Bounds(body=10)
    connection, socket, head = await asked(bounds=bounds)
    rest, fed_bytes = b"\n " * 1_000_000, 0
    await fed(connection, OK + b"X: a")
    while not socket.closed:
        await fed(connection, rest[: 64 * 1024])
        fed_bytes += 64 * 1024
    with pytest.raises(Improper, match="too long"):
        await head
    assert fed_bytes == 64 * 1024


async def test_who_is_told_of_an_answer_may_send_the_next_request_at_once() -> None:
    connection, socket, head = await asked()
    await fed(connection, WHOLE["length"])
    await head
    seen: list[tuple[bytes, bool]] = []

    def told() -> None:
        seen.append((connection.content(), connection.reusable))
        if len(seen) < 3:
            connection.begin(b"GET / HTTP/1.1\r\n\r\n", told, of_head=False)

    connection.begin(b"GET / HTTP/1.1\r\n\r\n", told, of_head=False)
    for _ in range(3):
        connection.data_received(WHOLE["length"])
    assert seen == [(b"hello", True)] * 3
    assert socket.sent.count(b"GET") == 4


async def test_an_idle_connection_keeps_nobody_who_was_told() -> None:
    class Asking:
        """Who asks."""

        def told(self) -> None:
            pass

    connection, _, head = await asked()
    await fed(connection, WHOLE["length"])
    await head
    asking = Asking()
    connection.begin(b"GET / HTTP/1.1\r\n\r\n", asking.told, of_head=False)
    connection.data_received(WHOLE["length"])
    gone = weakref.ref(asking)
    del asking
    assert gone() is None


async def test_who_is_told_of_an_answer_knows_what_came_along_with_it() -> None:
    connection, _, head = await asked()
    await fed(connection, WHOLE["length"])
    await head
    seen: list[tuple[bool, bool]] = []
    connection.begin(
        b"GET / HTTP/1.1\r\n\r\n", lambda: seen.append((connection.whole, connection.reusable)), of_head=False
    )
    connection.data_received(WHOLE["length"] + b"?")
    connection.data_received(b"more")
    assert seen == [(True, False)]

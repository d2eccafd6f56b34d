"""What servers can do to a caller: it stays bounded in time and memory, and says what happened."""

from __future__ import annotations

import asyncio
import tracemalloc
from random import Random
from typing import TYPE_CHECKING

import pytest
import uvloop

from domain.facts import Answered, Unanswered
from infrastructure.http_caller.caller import AiohttpCaller
from tests.support.attempts import StoppedClock, failure, outcome, until
from tests.support.misbehaviour import Exchange
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from application.ports import HttpCaller
    from domain.facts import Answer

MIB = 1024 * 1024


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        yield server


@pytest.fixture
async def caller() -> AsyncIterator[HttpCaller]:
    async with AiohttpCaller(clock=StoppedClock()) as http_caller:
        yield http_caller


@pytest.mark.parametrize("path", ["/big/104857600", "/endless"])
async def test_a_huge_body_is_cut_at_the_cap_without_memory_growth(
    caller: AiohttpCaller, receiver: Receiver, path: str
) -> None:
    await outcome(caller, receiver.url("/ok"))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(10):
            answer = await outcome(caller, receiver.url(path))
            assert isinstance(answer, Answered)
            assert (answer.truncated, len(answer.body)) == (True, 65_536)
            await until(lambda: receiver.open_connections == 0)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 8 * MIB
    assert after - before < MIB


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/header-bomb", "did not answer in proper HTTP: it has too many headers"),
        (
            "/header-line-bomb",
            "did not answer in proper HTTP: its status line or one of its headers is too long",
        ),
        (
            "/long-header",
            "did not answer in proper HTTP: its status line or one of its headers is too long",
        ),
        ("/informational-bomb", "did not answer in proper HTTP: there is too much of it beside its body"),
        ("/trailer-bomb", "broke off after status 200: it has too many headers"),
        ("/garbage", "did not answer in proper HTTP: bad status line"),
        ("/two-lengths", "did not answer in proper HTTP: transfer-encoding can't be present with content"),
        ("/chunked-bad", "broke off after status 200: invalid character in chunk size"),
        (
            "/trailer-line-bomb",
            "broke off after status 200: its status line or one of its headers is too long",
        ),
        ("/half-close", "broke off after status 200: the connection closed in the middle of the body"),
        ("/body-reset", "broke off after status 200: connection reset by peer"),
        ("/unframed-reset", "broke off after status 200: connection reset by peer"),
        ("/close", "closed the connection before it answered"),
        ("/torn", "closed the connection before it answered"),
        ("/reset", "broke while waiting for the answer: connection reset by peer"),
        ("/status/0", "did not answer in proper HTTP"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure_that_says_why(
    caller: AiohttpCaller, receiver: Receiver, path: str, words: str
) -> None:
    error = (await failure(caller, receiver.url(path))).error
    assert words in error
    assert f"127.0.0.1:{receiver.port}" in error
    await until(lambda: receiver.open_connections == 0)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/hang", "no complete answer within 0.3 s (waiting for the answer)"),
        ("/stall", "no complete answer within 0.3 s (status 200 came, waiting for the rest of the body)"),
    ],
)
async def test_the_timeout_bounds_everything_and_closes_the_connection(
    caller: AiohttpCaller, receiver: Receiver, path: str, words: str
) -> None:
    assert (await failure(caller, receiver.url(path), timeout=0.3)).error == words
    await until(lambda: receiver.open_connections == 0)


async def test_the_end_of_the_connection_ends_a_body_that_nothing_else_ends(
    caller: AiohttpCaller, receiver: Receiver
) -> None:
    answer = await outcome(caller, receiver.url("/unframed"))
    assert isinstance(answer, Answered)
    assert answer.body == "all of it"


async def test_cancellation_propagates_and_closes_the_connection(
    caller: AiohttpCaller, receiver: Receiver
) -> None:
    call = asyncio.create_task(outcome(caller, receiver.url("/hang")))
    await receiver.wait_for(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: receiver.open_connections == 0)


ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 301 Moved\r\nLocation: /ok\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
)


def mangled(chance: Random) -> bytes:
    """One of the answers, or two, with some of their bytes changed, repeated, lost or cut off."""
    data = bytearray(b"".join(chance.choices(ANSWERS, k=chance.choice((1, 1, 2)))))
    for _ in range(chance.randrange(4)):
        start = chance.randrange(len(data))
        end = start + chance.randrange(1, 8)
        data[start:end] = chance.choice((chance.randbytes(2), data[start:end] * 2, b"", b"\r\n", b"0"))
    return bytes(data[: chance.choice((len(data), chance.randrange(len(data) + 1)))])


@pytest.mark.parametrize("seed", range(20))
async def test_no_answer_however_mangled_is_our_mistake_or_another_requests_answer(
    caller: AiohttpCaller, seed: int
) -> None:
    chance = Random(seed)

    async def mangle(exchange: Exchange) -> None:
        await exchange.send(mangled(chance))

    async with Receiver(scripts={"mangle": mangle}) as receiver:
        for number in range(25):
            failed = await outcome(caller, receiver.url("/mangle"), max_redirects=number % 2)
            assert "internal error" not in str(failed)
            answer = await outcome(caller, receiver.url(f"/echo?{number}"))
            assert isinstance(answer, Answered)
            assert f"/echo?{number}" in answer.body


def test_uvloop_changes_nothing() -> None:
    paths = {
        "/ok": "Answered",
        "/echo": "Answered",
        "/stale": "Answered",
        "/status/204": "Answered",
        "/big/1000000": "Answered",
        "/endless": "Answered",
        "/invalid-utf8": "Answered",
        "/header-bomb": "too many headers",
        "/garbage": "bad status line",
        "/half-close": "in the middle of the body",
        "/close": "closed the connection before it answered",
        "/reset": "connection reset by peer",
        "/hang": "waiting for the answer",
        "/stall": "waiting for the rest of the body",
    }

    async def outcomes() -> dict[str, Answer]:
        async with Receiver() as receiver, AiohttpCaller(clock=StoppedClock()) as caller:
            return {path: await outcome(caller, receiver.url(path), timeout=1) for path in paths}

    for path, answer in uvloop.run(outcomes()).items():
        told = answer.error if isinstance(answer, Unanswered) else type(answer).__name__
        assert paths[path] in told

"""What is to be sent once goes out on a connection of its own, once, whatever becomes of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from domain.facts import Answered
from infrastructure.http_caller.caller import AiohttpCaller
from tests.support.attempts import StoppedClock, failure, onward, outcome, until
from tests.support.misbehaviour import Crowd
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from application.ports import HttpCaller


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        yield server


@pytest.fixture
async def caller() -> AsyncIterator[HttpCaller]:
    async with AiohttpCaller(clock=StoppedClock()) as http_caller:
        yield http_caller


async def test_it_takes_no_used_connection_and_leaves_none(caller: HttpCaller, receiver: Receiver) -> None:
    await outcome(caller, receiver.url("/ok"))
    await outcome(caller, receiver.url("/ok"), once=True)
    await outcome(caller, receiver.url("/ok"), once=True)
    await until(lambda: receiver.open_connections == 1)
    await outcome(caller, receiver.url("/ok"))
    assert [call.connection for call in receiver.calls] == [1, 2, 3, 1]


async def test_it_tells_the_server_that_nothing_follows(caller: HttpCaller, receiver: Receiver) -> None:
    await outcome(caller, receiver.url("/ok"), once=True)
    await outcome(caller, receiver.url("/ok"))
    assert [call.headers.get("connection") for call in receiver.calls] == ["close", None]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/close", "/reset", "/torn"])
async def test_it_is_not_repeated_though_an_idle_connection_was_there(
    caller: HttpCaller, receiver: Receiver, path: str, method: str
) -> None:
    await outcome(caller, receiver.url("/ok"))
    failed = await failure(caller, receiver.url(path), once=True, method=method)
    assert failed.sent
    assert len(receiver.calls_to(path)) == 1


async def test_an_idle_connection_that_died_does_not_concern_it(
    caller: HttpCaller, receiver: Receiver
) -> None:
    await outcome(caller, receiver.url("/stale"))
    assert isinstance(await outcome(caller, receiver.url("/ok"), once=True), Answered)


async def test_every_hop_of_it_has_a_connection_of_its_own(caller: HttpCaller, receiver: Receiver) -> None:
    await outcome(caller, receiver.url("/ok"))
    url = onward(receiver, 307, "/onward/307?to=", "/ok")
    assert isinstance(await outcome(caller, url, once=True, max_redirects=2), Answered)
    assert [call.connection for call in receiver.calls] == [1, 2, 3, 4]


async def test_it_shares_the_limits_with_all_other_calls() -> None:
    crowd = Crowd()
    async with (
        Receiver(scripts={"count": crowd.answer}) as receiver,
        AiohttpCaller(clock=StoppedClock(), max_per_host=3) as caller,
    ):
        url = receiver.url("/count")
        answers = await asyncio.gather(*(outcome(caller, url, once=bool(n % 2)) for n in range(12)))
    assert all(isinstance(answer, Answered) for answer in answers)
    assert crowd.most == 3

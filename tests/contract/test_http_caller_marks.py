"""How an attempt marks its request: with what it is of, and by whom, and never as another one."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from infrastructure.http_caller.caller import AiohttpCaller
from infrastructure.http_caller.request import RequestFactory
from tests.support.attempts import EXECUTION, StoppedClock, answered, get, making, post
from tests.support.exchanging import called
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from application.ports import Call, HttpCaller


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        yield server


@pytest.fixture
async def caller() -> AsyncIterator[HttpCaller]:
    async with AiohttpCaller(clock=StoppedClock(), user_agent="chronoledger/test") as http_caller:
        yield http_caller


async def sent_headers(caller: HttpCaller, call: Call) -> dict[str, Any]:
    """The headers as the receiver's /echo saw them; one that came twice has both values."""
    return dict(json.loads(answered(await called(caller, call)).body)["headers"])


async def test_an_attempt_says_which_it_is(caller: HttpCaller, receiver: Receiver) -> None:
    call = making(get(receiver.url("/echo"), headers={"X-Own": "mine"}), 2)
    assert await sent_headers(caller, call) == {
        "host": f"127.0.0.1:{receiver.port}",
        "x-own": "mine",
        "user-agent": "chronoledger/test",
        "accept": "*/*",
        "accept-encoding": "identity",
        "idempotency-key": str(EXECUTION),
        "x-chronoledger-attempt": "2",
        "x-chronoledger-due-at": "2030-01-01T12:00:00.000Z",
    }


async def test_the_users_headers_win_over_ours_and_go_out_once(
    caller: HttpCaller, receiver: Receiver
) -> None:
    own = {
        "user-agent": "mine",
        "ACCEPT": "text/plain",
        "Accept-Encoding": "gzip",
        "Host": "elsewhere.example",
        "idempotency-KEY": "order-17",
        "x-CHRONOLEDGER-attempt": "last",
        "X-Chronoledger-Due-At": "never",
        "X-Chronoledger-Own": "kept",
    }
    headers = await sent_headers(caller, making(get(receiver.url("/echo"), headers=own)))
    assert headers == {name.lower(): value for name, value in own.items()}


@pytest.mark.parametrize("value", ["close", "keep-alive"])
async def test_the_users_word_about_the_connection_goes_out_once(
    caller: HttpCaller, receiver: Receiver, value: str
) -> None:
    action = get(receiver.url("/echo"), headers={"Connection": value})
    assert (await sent_headers(caller, making(action, once=True)))["connection"] == value


@pytest.mark.parametrize(
    ("due_at", "sent"),
    [
        ("2030-01-01T13:00:00.123999+01:00", "2030-01-01T12:00:00.123Z"),
        ("2029-12-31T23:59:59-00:30", "2030-01-01T00:29:59.000Z"),
        ("0999-01-01T00:00:00+00:00", "0999-01-01T00:00:00.000Z"),
        ("0999-01-01T00:00:00.000999+00:00", "0999-01-01T00:00:00.000Z"),
    ],
)
def test_the_due_instant_goes_out_in_utc_to_the_millisecond(due_at: str, sent: str) -> None:
    call = replace(making(get("http://example.test/")), due_at=datetime.fromisoformat(due_at))
    assert RequestFactory("chronoledger/test").request(call).headers["x-chronoledger-due-at"] == sent


async def test_a_call_says_who_makes_it(receiver: Receiver) -> None:
    async with AiohttpCaller(clock=StoppedClock()) as caller:
        headers = await sent_headers(caller, making(get(receiver.url("/echo"))))
    assert headers["user-agent"] == f"chronoledger/{version('chronoledger')}"


async def test_overlapping_attempts_of_one_action_keep_their_own_marks(
    caller: HttpCaller, receiver: Receiver
) -> None:
    action = get(receiver.url("/echo"))
    executions = [uuid4() for _ in range(20)]
    attempts = await asyncio.gather(
        *(called(caller, making(action, n, one)) for n, one in enumerate(executions, 1))
    )
    marks = [json.loads(answered(attempt).body)["headers"] for attempt in attempts]
    assert [mark["idempotency-key"] for mark in marks] == [str(one) for one in executions]
    assert [mark["x-chronoledger-attempt"] for mark in marks] == [str(n) for n in range(1, 21)]


def test_an_action_is_never_taken_for_another_one_that_had_its_place_in_memory() -> None:
    factory = RequestFactory("chronoledger/test", size=2)
    for number in range(200):
        action = get("http://example.test/", headers={"X-Number": str(number)})
        assert factory.request(making(action)).headers["x-number"] == str(number)


def test_the_actions_that_were_not_used_for_long_are_let_go() -> None:
    factory = RequestFactory("chronoledger/test", size=2)
    used, unused = get("http://example.test/"), get("http://example.test/")
    references = sys.getrefcount(unused)
    for action in (used, unused, used, get("http://example.test/")):
        factory.request(making(action))
    del action
    assert sys.getrefcount(used) > sys.getrefcount(unused) == references


def test_a_large_request_is_not_kept() -> None:
    factory = RequestFactory("chronoledger/test", size=2)
    action = post("http://example.test/", "x" * 20_000)
    references = sys.getrefcount(action)
    factory.request(making(action))
    assert sys.getrefcount(action) == references


def test_the_request_of_an_action_is_built_once() -> None:
    factory = RequestFactory("chronoledger/test", size=2)
    action = get("http://example.test/")
    first, second = factory.request(making(action)), factory.request(making(action, 2, uuid4()))
    assert first.extensions is second.extensions

"""When redirects lead nowhere, or the call fails on the way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from infrastructure.http_caller.caller import AiohttpCaller
from tests.support.attempts import StoppedClock, answered, failure, making, onward, redirecting, unanswered
from tests.support.exchanging import called
from tests.support.misbehaviour import Exchange, raw
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


async def around(exchange: Exchange) -> bool:
    """A redirect to itself."""
    await exchange.answer(307, b"", "Location: ?")
    return True


@pytest.mark.parametrize("limit", [1, 10])
async def test_more_redirects_than_allowed_are_a_final_failure(caller: HttpCaller, limit: int) -> None:
    async with Receiver(scripts={"around": around}) as receiver:
        action = redirecting(receiver.url("/around"), max_redirects=limit)
        failed = unanswered(await called(caller, making(action)))
    assert failed.error == (
        f"127.0.0.1:{receiver.port} redirects once more than action.max_redirects allows;"
        " raise it, or have action.url name the place where the redirects end"
    )
    assert (failed.retryable, failed.sent) == (False, True)
    assert len(receiver.calls) == limit + 1


async def test_as_many_redirects_as_allowed_are_followed(caller: HttpCaller, receiver: Receiver) -> None:
    action = redirecting(onward(receiver, 307, "/onward/307?to=", "/ok"), max_redirects=2)
    assert answered(await called(caller, making(action))).status_code == 200


@pytest.mark.parametrize(
    "location",
    [
        "ftp://example.test/secret",
        "javascript:secret",
        "mailto:secret@example.test",
        "http://secret:secret@127.0.0.1/",
        "http://@127.0.0.1/secret",
        "http:///secret",
        "http:secret",
        "//",
        "http://127.1/secret",
        "http://127.0.0.1:99999/secret",
        "http://[::1/secret",
        "http://se cret/",
        "http://sécret.test/",
        "http://127.0.0.1/" + "ü" * 15_500,
    ],
)
async def test_a_location_that_cannot_be_called_is_a_final_failure_that_does_not_repeat_it(
    caller: HttpCaller, location: str
) -> None:
    redirect = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    async with Receiver(scripts={"raw": raw(redirect)}) as receiver:
        failed = unanswered(await called(caller, making(redirecting(receiver.url("/raw")))))
    assert failed.error.startswith(f"127.0.0.1:{receiver.port} redirects, but not to one http or https URL")
    assert "ecret" not in failed.error
    assert (failed.retryable, failed.sent) == (False, True)


async def test_two_locations_lead_nowhere(caller: HttpCaller) -> None:
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /ok\r\nlocation: /other\r\nContent-Length: 0\r\n\r\n"
    async with Receiver(scripts={"raw": raw(redirect)}) as receiver:
        failed = unanswered(await called(caller, making(redirecting(receiver.url("/raw")))))
    assert "redirects, but not to one" in failed.error


async def test_all_hops_lie_within_the_one_timeout(caller: HttpCaller) -> None:
    async def slowly_around(exchange: Exchange) -> bool:
        await asyncio.sleep(0.2)
        return await around(exchange)

    async with Receiver(scripts={"around": slowly_around}) as receiver:
        failed = await failure(caller, receiver.url("/around"), timeout=0.5, max_redirects=10)
    assert failed.error.startswith("no complete answer within 0.5 s")


async def test_a_failure_says_how_it_came_there(caller: HttpCaller, receiver: Receiver) -> None:
    once = await failure(caller, onward(receiver, 307, "/close"), max_redirects=3)
    assert once.error.endswith("closed the connection before it answered (after 1 redirect)")
    place = "http://127.0.0.1:1/"
    twice = await failure(caller, onward(receiver, 307, "/onward/302?to=", place), max_redirects=3)
    assert twice.error == "cannot connect to 127.0.0.1:1: connection refused (after 2 redirects)"
    assert twice.sent


async def test_the_content_of_a_redirect_is_not_waited_for(caller: HttpCaller) -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 302 Found\r\nLocation: /ok\r\nTransfer-Encoding: chunked\r\n\r\n")
        await exchange.repeat(b"5\r\nhello\r\n")

    async with Receiver(scripts={"endless": endless}) as receiver:
        answer = answered(await called(caller, making(redirecting(receiver.url("/endless")))))
    assert (answer.status_code, answer.body) == (200, '{"ok":true}')

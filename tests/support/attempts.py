"""Making attempts in tests, and saying what is expected of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

from application.ports import Call
from domain.definition import Action
from domain.facts import Answered, Unanswered
from tests.support.exchanging import called

if TYPE_CHECKING:
    from collections.abc import Callable

    from application.ports import Cancellable, HttpCaller
    from domain.facts import Answer, Attempt
    from tests.support.receiver import Receiver

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
EXECUTION = UUID("0190d3a1-0000-8000-8000-000000000001")
DEADLINE_SECONDS = 60


class StoppedClock:
    """It is always noon."""

    def now(self) -> datetime:
        return NOON

    async def sleep_until(self, instant: datetime) -> None:
        raise NotImplementedError

    def call_at(self, instant: datetime, callback: Callable[[], None]) -> Cancellable:
        raise NotImplementedError

    def steady(self) -> timedelta:
        raise NotImplementedError

    async def pause(self, duration: timedelta) -> None:
        raise NotImplementedError


def get(url: str, **fields: Any) -> Action:
    return Action(method="GET", url=url, **fields)


def post(url: str, payload: Any, **headers: str) -> Action:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Action(method="POST", url=url, payload=payload, headers=named)


def onward(receiver: Receiver, status: int, *places: str) -> str:
    """The URL of a redirect to the first place, which is one to the second, and so on."""
    *before, last = places
    for place in reversed(before):
        last = place + quote(last, safe="")
    return receiver.url(f"/onward/{status}?to={quote(last, safe='')}")


def redirecting(url: str, method: str = "GET", **fields: Any) -> Action:
    return Action(method=method, url=url, **{"max_redirects": 3} | fields)


def making(action: Action, number: int = 1, execution_id: UUID = EXECUTION, *, once: bool = False) -> Call:
    """A call whose occurrence was due at noon."""
    return Call(action=action, execution_id=execution_id, number=number, due_at=NOON, once=once)


def answered(attempt: Attempt) -> Answered:
    assert isinstance(attempt.answer, Answered), attempt.answer
    return attempt.answer


def unanswered(attempt: Attempt) -> Unanswered:
    assert isinstance(attempt.answer, Unanswered), attempt.answer
    return attempt.answer


async def outcome(
    caller: HttpCaller, url: str, *, timeout: float = DEADLINE_SECONDS, once: bool = False, **fields: Any
) -> Answer:
    """One attempt, which must not outlive its timeout by much."""
    given: dict[str, Any] = {"method": "GET", "url": url, "timeout_seconds": timeout} | fields
    action = Action(**given)
    async with asyncio.timeout(timeout + DEADLINE_SECONDS):
        return (await called(caller, making(action, once=once))).answer


async def failure(caller: HttpCaller, url: str, **fields: Any) -> Unanswered:
    answer = await outcome(caller, url, **fields)
    assert isinstance(answer, Unanswered), answer
    assert answer.retryable
    return answer


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, up to a deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)

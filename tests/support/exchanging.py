"""Attempts as a port makes them, out of coroutines; and waiting for one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from application.ports import ResourcesExhausted
from tests.support import given

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from application.ports import Call, HttpCaller
    from domain.facts import Attempt


class TaskExchange:
    """`Exchange` that a coroutine makes, in a task of its own."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, Attempt]]) -> None:
        self._make = make
        self._task: asyncio.Task[Attempt] | None = None

    def begin(self, over: Callable[[], None]) -> None:
        """See `application.ports.Exchange`."""
        self._task = asyncio.Task(self._make(), loop=asyncio.get_running_loop(), eager_start=True)
        self._task.add_done_callback(lambda _: over())

    def cancel(self) -> None:
        """See `application.ports.Exchange`."""
        if self._task is not None:
            self._task.cancel()

    def attempt(self) -> Attempt | None:
        """See `application.ports.Exchange`; raises what the coroutine does."""
        assert self._task is not None
        return None if self._task.cancelled() else self._task.result()

    @property
    def exhausted(self) -> ResourcesExhausted | None:
        """See `application.ports.Exchange`; the coroutine raises it."""
        assert self._task is not None
        error = None if self._task.cancelled() else self._task.exception()
        return error if isinstance(error, ResourcesExhausted) else None


class Over:
    """`Exchange` that is over."""

    exhausted = None

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def begin(self, over: Callable[[], None]) -> None:
        """See `application.ports.Exchange`."""
        raise AssertionError("it is over")

    def cancel(self) -> None:
        """See `application.ports.Exchange`."""

    def attempt(self) -> Attempt:
        """See `application.ports.Exchange`."""
        return self._attempt


def brought(number: int = 1, answer: int = 200) -> Over:
    """One that brought an answer of that status."""
    return Over(given.attempt(number, answer))


async def called(caller: HttpCaller, call: Call) -> Attempt:
    """What a call brings. To cancel this cancels the call."""
    exchange = caller.exchange(call)
    over = asyncio.Event()
    exchange.begin(over.set)
    try:
        await over.wait()
    except asyncio.CancelledError:
        exchange.cancel()
        await over.wait()
        raise
    attempt = exchange.attempt()
    assert attempt is not None
    return attempt

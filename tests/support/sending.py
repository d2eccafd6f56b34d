"""Attempts without a scheduler, and jobs for them."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from application.scheduler.attempts import Attempts
from application.scheduler.dispatcher import Dispatcher
from application.scheduler.jobs import Job, LeaseRenewal
from application.scheduler.outcomes import Outcomes
from domain import execution as executions
from tests.support.given import definition, started
from tests.support.scheduler import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from datetime import datetime

    from application.ports import Exchange
    from application.scheduler.context import Context
    from domain.outcome import Final


def job(number: int, send_at: datetime, priority: int = 5) -> Job:
    claimed = executions.start(UUID(int=number), started(send_at))
    return Job(claimed, definition(url=f"http://target/{number}", priority=priority), 1, send_at)


class Settled(Outcomes):
    """Records nothing, but waits with what was brought until it is `recorded`.

    `settled` gets how many would have been recorded together; the log gets nothing before `given`.
    """

    def __init__(
        self,
        context: Context,
        recorded: Callable[[], Awaitable[object]] | None = None,
        settled: list[int] | None = None,
        given: asyncio.Event | None = None,
    ) -> None:
        super().__init__(context)
        self._recorded, self._settled, self._given = recorded, settled, given

    async def settle(self, brought: Sequence[tuple[Job, Exchange]], handed: Callable[[], None]) -> None:
        if self._settled is not None:
            self._settled.append(len(brought))
        if self._given is not None:
            await self._given.wait()
        handed()
        await (asyncio.sleep(0) if self._recorded is None else self._recorded())

    async def close(self, job: Job, fact: Final) -> None:
        raise AssertionError("nothing is given up here")


@contextlib.asynccontextmanager
async def attempts(
    world: World,
    *,
    concurrency: int = 2,
    recorded: Callable[[], Awaitable[object]] | None = None,
    linger: timedelta = timedelta(),
    short_linger: timedelta = timedelta(),
    settled: list[int] | None = None,
    given: asyncio.Event | None = None,
) -> AsyncIterator[tuple[Attempts, Dispatcher]]:
    """Attempts and their dispatcher; what came back is as `Settled` has it."""
    context = replace(world.context(), linger=linger, short_linger=short_linger)
    dispatcher = Dispatcher(world.clock, concurrency, concurrency)
    outcomes = Settled(context, recorded, settled, given)
    sending = Attempts(context, dispatcher, LeaseRenewal(context, outcomes), outcomes)
    running = asyncio.create_task(sending.run())
    await world.clock.settle()
    yield sending, dispatcher
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running

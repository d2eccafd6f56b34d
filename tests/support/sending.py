"""Attempts without a scheduler, and jobs for them."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from application.scheduler.attempts import Attempts
from application.scheduler.context import Job
from application.scheduler.dispatcher import Dispatcher
from application.scheduler.retries import LeaseRenewal
from domain import execution as executions
from tests.support.given import definition, started
from tests.support.scheduler import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from datetime import datetime

    from application.ports import Exchange
    from domain.facts import ExecutionFailed


def job(number: int, send_at: datetime, priority: int = 5) -> Job:
    claimed = executions.start(UUID(int=number), started(send_at))
    return Job(claimed, definition(url=f"http://target/{number}", priority=priority), 1, send_at)


async def no_end(job: Job, end: ExecutionFailed) -> None:
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
    """Attempts and their lineup; nobody records the outcomes, but each waits until it is `recorded`.

    `settled` gets how many would have been recorded together; the log gets nothing before `given`.
    """

    async def settle(brought: Sequence[tuple[Job, Exchange]], handed: Callable[[], None]) -> None:
        if settled is not None:
            settled.append(len(brought))
        if given is not None:
            await given.wait()
        handed()
        await (asyncio.sleep(0) if recorded is None else recorded())

    context = replace(world.context(), linger=linger, short_linger=short_linger)
    dispatcher = Dispatcher(world.clock, concurrency, concurrency)
    sending = Attempts(context, dispatcher, LeaseRenewal(context), settle, no_end)
    running = asyncio.create_task(sending.run())
    await world.clock.settle()
    yield sending, dispatcher
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running

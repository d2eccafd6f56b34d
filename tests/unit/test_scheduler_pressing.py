"""Giving way to a call that is to be sent now."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from application.scheduler.attempts import Attempts
from application.scheduler.reclaim import Reclaim
from tests.support.given import after
from tests.support.scheduler import World
from tests.unit.test_scheduler_attempts import job, no_end

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from application.scheduler.work import Job
    from domain.attempt import Attempt


async def test_a_call_is_pressing_from_its_instant_until_somebody_sends_it() -> None:
    world = World()
    context = world.context()
    assert not context.pressing()
    sending = Attempts(context, Reclaim(context), no_settling, no_end, concurrency=1)
    assert not context.pressing()
    sending.start(job(1, after(1)))
    sending.start(job(2, after(1)))
    assert not context.pressing()
    await world.clock.reach(after(1))
    assert context.pressing()
    world.caller.takes = timedelta(seconds=5)
    running = asyncio.create_task(sending.run())
    await world.clock.settle()
    assert (sending.in_flight(), sending.ready()) == (1, 1)
    assert not context.pressing()  # the other one waits for a worker, not for its turn
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def no_settling(brought: Sequence[tuple[Job, Attempt]], on_its_way: Callable[[], object]) -> None:
    raise AssertionError("nothing was brought")

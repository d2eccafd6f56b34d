"""Deadlines cancel what outlives them, as `asyncio.timeout` does, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from infrastructure.http_caller.deadlines import Deadlines

HOUR = 3600


async def endless() -> None:
    await asyncio.Event().wait()


async def expired_within(deadlines: Deadlines, seconds: float) -> bool:
    deadline = deadlines.within(seconds)
    with pytest.raises(TimeoutError), deadline:
        await endless()
    return deadline.expired


async def kept(deadlines: Deadlines, seconds: float, entered: asyncio.Event) -> None:
    with deadlines.within(seconds):
        entered.set()
        await endless()


async def test_what_outlives_its_deadline_ends_in_a_timeout_error() -> None:
    assert await expired_within(Deadlines(), 0.001)


async def test_what_ends_in_time_is_not_cancelled_later() -> None:
    deadlines = Deadlines()
    with deadlines.within(0) as deadline:
        pass
    assert await expired_within(deadlines, 0.001)  # later than the one that was left
    assert not deadline.expired


async def test_a_shorter_deadline_does_not_wait_for_a_longer_one_that_began_before() -> None:
    deadlines, entered = Deadlines(), asyncio.Event()
    long = asyncio.create_task(kept(deadlines, HOUR, entered))
    await entered.wait()
    assert await expired_within(deadlines, 0.001)
    assert not long.done()
    long.cancel()


async def test_of_many_deadlines_each_one_passes() -> None:
    deadlines = Deadlines()
    assert await asyncio.gather(*(expired_within(deadlines, n / 1000) for n in range(30))) == [True] * 30


async def test_a_cancellation_from_outside_stays_one() -> None:
    entered = asyncio.Event()
    task = asyncio.create_task(kept(Deadlines(), HOUR, entered))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_from_outside_wins_over_the_deadline_that_passes_with_it() -> None:
    deadline = Deadlines().within(HOUR)
    entered = asyncio.Event()

    async def under_way() -> None:
        with deadline:
            entered.set()
            await endless()

    task = asyncio.create_task(under_way())
    await entered.wait()
    task.cancel()
    deadline.expire()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_another_error_than_the_cancellation_is_what_it_is() -> None:
    deadline = Deadlines().within(0.001)

    async def failing() -> None:
        with deadline, contextlib.ExitStack() as failure:
            failure.callback(lambda: 1 / 0)
            await endless()

    with pytest.raises(ZeroDivisionError):
        await failing()
    assert deadline.expired


async def test_what_is_discarded_as_another_one_ends_does_not_expire_with_it() -> None:
    deadlines = Deadlines()
    expired: list[str] = []

    class One:
        def __init__(self, name: str, seconds: float) -> None:
            self.name = name
            self.at = asyncio.get_running_loop().time() + seconds
            self.others: list[One] = []

        def expire(self) -> None:
            expired.append(self.name)
            for other in self.others:
                deadlines.discard(other)

    first, second, later = One("one", 0.01), One("two", 0.01), One("later", 0.02)
    first.others, second.others, second.at = [second], [first], first.at
    for one in (first, second, later):
        deadlines.begin(one)
    async with asyncio.timeout(10):
        while "later" not in expired:
            await asyncio.sleep(0.01)
    assert len(expired) == 2


async def test_nothing_ends_after_they_were_closed() -> None:
    deadlines, entered = Deadlines(), asyncio.Event()
    task = asyncio.create_task(kept(deadlines, 0, entered))
    await entered.wait()
    deadlines.close()
    assert await expired_within(Deadlines(), 0.01)
    assert not task.done()
    task.cancel()

"""Outcomes wait for others, to be recorded together: how long, and who hurries them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

from application.scheduler.attempts import MANY
from application.scheduler.jobs import Job
from domain import execution as executions
from tests.support.given import after, definition, started
from tests.support.scheduler import World
from tests.support.sending import attempts, job


async def test_outcomes_are_recorded_together_once_they_are_gathered_or_many() -> None:
    world = World()
    settled: list[int] = []
    linger = timedelta(seconds=5)
    async with attempts(world, concurrency=MANY + 10, linger=linger, settled=settled) as (sending, _):
        for number in range(2):
            sending.dispatch(job(number, after(1)))
        await world.clock.reach(after(5))
        assert settled == []
        await world.clock.reach(after(7))
        assert settled == [2]
        for number in range(MANY):
            sending.dispatch(job(number, after(10)))
        await world.clock.reach(after(11))
        assert settled == [2, MANY]
        sending.dispatch(job(1, after(12)))
        await world.clock.reach(after(13))
        await sending.flush()
        assert settled == [2, MANY, 1]
        await sending.flush()
        await world.clock.reach(after(20))
        assert settled == [2, MANY, 1]


async def test_an_outcome_that_is_urgent_is_recorded_soon_and_others_with_it() -> None:
    world = World()
    settled: list[int] = []
    linger, short = timedelta(seconds=5), timedelta(seconds=1)
    async with attempts(world, concurrency=9, linger=linger, short_linger=short, settled=settled) as (
        sending,
        _,
    ):
        sending.dispatch(job(1, after(1)))
        for number in (2, 3):
            run = executions.start(UUID(int=number), started(after(number)))
            sending.dispatch(Job(run, definition(delivery="at_most_once"), 1, after(number)))
        sending.dispatch(job(4, after(2.5)))
        await world.clock.reach(after(2.9))
        assert settled == []
        await world.clock.reach(after(3))
        assert settled == [3]
        await world.clock.reach(after(4))
        assert settled == [3, 1]


async def test_nobody_waits_for_a_recording_that_was_cancelled_before_it_began() -> None:
    world = World()
    async with attempts(world, linger=timedelta(seconds=5)) as (sending, _):
        sending.dispatch(job(1, after(1)))
        await world.clock.reach(after(2))
        flushing = asyncio.create_task(sending.flush())  # in the very turn in which all ends
    async with asyncio.timeout(10):
        await flushing


async def test_nothing_is_recorded_any_more_once_all_has_ended() -> None:
    world = World()
    async with attempts(world, linger=timedelta(seconds=5)) as (sending, _):
        sending.dispatch(job(1, after(1)))
        await world.clock.reach(after(2))
    await sending.flush()
    assert sending.unfinished() == 1


async def test_who_flushes_waits_until_the_log_is_given_what_was_gathered() -> None:
    world = World()
    given = asyncio.Event()
    async with attempts(world, linger=timedelta(seconds=5), given=given) as (sending, _):
        sending.dispatch(job(1, after(1)))
        await world.clock.reach(after(2))
        flushing = asyncio.create_task(sending.flush())
        await world.clock.settle()
        assert not flushing.done()
        given.set()
        await world.clock.settle()
        assert flushing.done()

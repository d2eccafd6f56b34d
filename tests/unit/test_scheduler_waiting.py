"""Waiting for whichever comes first, and for what must not be broken off."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from application.ports import LogUnavailable, Unreadable
from application.scheduler.timing import (
    OUTAGE_PAUSE,
    isolate_errors,
    race,
    retry_on_outage,
    shield_until_done,
)
from tests.support.fake_clock import FakeClock
from tests.support.given import NOON, TASK


async def test_the_first_to_come_ends_the_waiting_for_the_others() -> None:
    clock = FakeClock()
    never = asyncio.Event()
    waiting = asyncio.create_task(race(clock.sleep_until(NOON + OUTAGE_PAUSE), never.wait()))
    await clock.settle()
    assert not waiting.done()
    await clock.pass_by(OUTAGE_PAUSE.total_seconds())
    assert waiting.done()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_error_of_the_first_goes_through() -> None:
    async def fail() -> None:
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        await race(fail(), asyncio.Event().wait())


async def test_who_stops_waiting_lets_the_work_end_first() -> None:
    clock, gate, done = FakeClock(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await gate.wait()
        done.set()

    waiting = asyncio.create_task(shield_until_done(work()))
    await clock.settle()
    waiting.cancel()
    await clock.settle()
    assert not waiting.done()
    gate.set()
    await clock.settle()
    assert done.is_set()
    assert waiting.cancelled()


async def test_who_is_told_twice_breaks_the_work_off() -> None:
    clock = FakeClock()
    broken_off = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            broken_off.set()

    waiting = asyncio.create_task(shield_until_done(work()))
    await clock.settle()
    for _ in range(2):
        waiting.cancel()
        await clock.settle()
    assert waiting.cancelled()
    assert broken_off.is_set()


async def test_work_that_fails_after_one_stopped_waiting_does_not_keep_one_from_stopping() -> None:
    clock, gate = FakeClock(), asyncio.Event()

    async def work() -> None:
        await gate.wait()
        raise LogUnavailable("too late")

    async def loop() -> None:
        while True:
            with contextlib.suppress(LogUnavailable):
                await shield_until_done(work())

    waiting = asyncio.create_task(loop())
    await clock.settle()
    waiting.cancel()
    gate.set()
    await clock.settle()
    assert waiting.cancelled()


async def test_a_reading_is_repeated_through_an_outage() -> None:
    clock = FakeClock()
    outage = iter(range(2))

    async def read() -> int:
        for _ in outage:
            raise LogUnavailable("away")
        return 7

    reading = asyncio.create_task(retry_on_outage(clock, read))
    await clock.until(reading.done)
    assert reading.result() == 7
    assert clock.now() == NOON + 2 * OUTAGE_PAUSE


async def test_what_cannot_be_read_is_not_read_again() -> None:
    async def read() -> int:
        raise Unreadable(5, "unknown topic")

    with pytest.raises(Unreadable, match="event 5 cannot be read: unknown topic"):
        await retry_on_outage(FakeClock(), read)


@pytest.mark.parametrize(
    ("error", "with_traceback"), [(Unreadable(5, "unknown topic"), False), (KeyError("a bug"), True)]
)
async def test_trouble_with_one_task_is_logged_and_kept_apart(
    error: Exception, with_traceback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        raise error

    assert not await isolate_errors("claiming task", TASK, work())
    [record] = caplog.records
    assert record.message.startswith(f"claiming task {TASK}")
    assert (record.exc_info is not None) is with_traceback


async def test_an_outage_concerns_everybody() -> None:
    async def work() -> None:
        raise LogUnavailable("away")

    with pytest.raises(LogUnavailable):
        await isolate_errors("claiming task", TASK, work())


async def test_work_that_goes_well_is_said_to() -> None:
    assert await isolate_errors("claiming task", TASK, asyncio.sleep(0))

"""What a scheduler that stops says about the calls that it waits for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from domain.facts import ExecutionSucceeded
from infrastructure.metrics import Instruments, ObservedScheduler
from infrastructure.task_log import TaskLog
from tests.support.given import after
from tests.support.scheduler import GRACE, World

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_calls_that_are_waited_for_are_told_once_with_the_end_of_the_wait() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=5)
    for _ in range(3):
        await world.create(at=after(5))
    async with world.scheduler() as running:
        await world.clock.reach(after(6))
        running.cancel()
        await world.clock.until(running.done)
    assert world.observed.drains == [(3, after(6) + GRACE)]


async def test_a_call_that_waits_for_its_turn_is_waited_for_too() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=5)
    for _ in range(3):
        await world.create(at=after(5))
    async with world.scheduler(concurrency=1) as running:
        await world.clock.reach(after(6))
        running.cancel()
        await world.clock.until(running.done)
    assert [calls for calls, _ in world.observed.drains] == [3]
    assert all(call.over for call in world.calls)


async def test_an_idle_scheduler_has_nothing_to_say() -> None:
    world = World()
    await world.create(at=after(60))
    async with world.scheduler() as running:
        running.cancel()
        await world.clock.until(running.done)
    assert world.observed.drains == []


def test_the_log_tells_how_many_calls_and_how_long_at_most(tmp_path: Path) -> None:
    task_log = TaskLog(tmp_path)
    try:
        with capture_logs() as logged:
            observer = ObservedScheduler(Instruments(), task_log)
            observer.draining(3, datetime.now(UTC) + timedelta(seconds=20))
    finally:
        task_log.close()
    [line] = logged
    assert (line["event"], line["calls"]) == ("waiting for running calls", 3)
    assert 10 < line["at_most_seconds"] <= 20


async def test_what_is_gathered_when_a_scheduler_stops_waits_for_no_other_outcome() -> None:
    world = World()
    world.linger = timedelta(seconds=30)
    world.caller.takes = timedelta(seconds=1.9)
    await world.create(at=after(10))
    async with world.scheduler(grace=timedelta(seconds=1)) as running:
        await world.clock.reach(after(11))
        running.cancel()
        await world.clock.reach(after(13))
    assert len(world.facts(ExecutionSucceeded)) == 1

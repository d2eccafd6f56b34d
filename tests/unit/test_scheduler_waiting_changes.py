"""What waits for a full host when its task, or it itself, changes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain.facts import ExecutionCancelled, ExecutionStarted
from domain.identity import execution_id
from tests.support.full_hosts import QUICK, SLOW, a_world, calls, small
from tests.support.given import after

__all__ = ["small"]


@pytest.mark.usefixtures("small")
async def test_what_waits_at_a_crowded_host_can_be_cancelled_and_called_elsewhere() -> None:
    world = a_world()
    tasks = [await world.create(at=after(10), url=SLOW) for _ in range(8)]
    async with world.scheduler(per_host=2):
        await world.clock.reach(after(20))
        await world.cancel(tasks[-1])
        await world.update(tasks[-2], at=after(20.5), url=QUICK)
        await world.clock.reach(after(21))
        assert len(calls(world, QUICK)) == 1
        await world.clock.reach(after(200))
    assert len(calls(world, SLOW)) == 6
    assert world.names(tasks[-1]) == ["TaskCreated", "TaskCancelled"]


async def test_what_waits_is_called_where_its_task_says_now() -> None:
    world = a_world()
    for _ in range(3):
        await world.create(at=after(10), url=SLOW)
    moved = await world.create(at=after(10), url=SLOW, priority=9)
    async with world.scheduler(per_host=1):
        await world.clock.reach(after(15))
        await world.update(moved, at=after(10), url=QUICK, priority=9)
        await world.clock.reach(after(16))
        assert calls(world, QUICK) == [15]
        await world.clock.reach(after(200))
    assert len(calls(world, SLOW)) == 3


@pytest.mark.usefixtures("small")
async def test_what_is_not_even_claimed_is_called_where_its_task_says_now() -> None:
    world = a_world()
    for _ in range(20):
        await world.create(at=after(10), url=SLOW)
    moved = await world.create(at=after(10), url=SLOW, priority=9)
    async with world.scheduler(per_host=2):
        await world.clock.reach(after(15))
        assert world.names(execution_id(moved, after(10), "scheduled")) == []
        await world.update(moved, at=after(10), url=QUICK, priority=9)
        await world.clock.reach(after(16))
    assert len(calls(world, QUICK)) == 1


async def test_what_waits_and_moves_keeps_to_the_limit_of_its_new_host() -> None:
    world = a_world()
    world.caller.takes_at[QUICK] = timedelta(seconds=2)
    tasks = [await world.create(at=after(10), url=SLOW) for _ in range(5)]
    async with world.scheduler(per_host=1):
        await world.clock.reach(after(15))
        for task in tasks:
            await world.update(task, at=after(10), url=QUICK)
        await world.clock.reach(after(30))
    assert calls(world, QUICK) == [15, 17, 19, 21]


async def test_the_execution_of_a_cancelled_task_does_not_wait_for_its_turn_to_end() -> None:
    world = a_world()
    tasks = [await world.create(at=after(10), url=SLOW) for _ in range(2)]
    async with world.scheduler(per_host=1):
        await world.clock.reach(after(15))
        [under_way] = [call.execution_id for call in world.calls]
        [(run, task)] = [
            (run, task) for task in tasks if (run := execution_id(task, after(10), "scheduled")) != under_way
        ]
        await world.cancel(task)
        await world.clock.reach(after(16))
        assert world.names(run) == ["ExecutionStarted", "ExecutionSkipped"]


async def test_what_is_held_back_takes_the_places_of_those_that_are_cancelled_before_a_worker_is_free() -> (
    None
):
    world = a_world()
    world.caller.takes_at[QUICK] = timedelta(seconds=20)
    await world.create(at=after(9), url=QUICK)
    tasks = [await world.create(at=after(10 + number), url=SLOW) for number in range(4)]
    async with world.scheduler(concurrency=1, per_host=2):
        await world.clock.reach(after(15))
        for task in tasks[:2]:
            await world.cancel(task)
        await world.clock.reach(after(100))
    assert calls(world, SLOW) == [29, 59]


@pytest.mark.parametrize("change", ["moved", "cancelled"])
async def test_a_change_just_before_its_instant_does_not_wait_for_a_full_host_either(change: str) -> None:
    world = a_world()
    await world.create(at=after(10), url=SLOW)
    task = await world.create(at=after(20), url=SLOW)
    async with world.scheduler(per_host=1):
        await world.clock.reach(after(19.95))  # claimed by now
        if change == "moved":
            await world.update(task, at=after(20), url=QUICK)
        else:
            await world.cancel(task)
        await world.clock.reach(after(22))
        assert calls(world, QUICK) == ([20] if change == "moved" else [])
        assert world.names(execution_id(task, after(20), "scheduled"))[-1] != "ExecutionStarted"


async def test_an_execution_that_is_cancelled_while_it_is_held_back_gives_up_its_place() -> None:
    world = a_world()
    await world.create(at=after(10), url=SLOW)
    task = await world.create(at=after(11), url=SLOW)
    async with world.scheduler(per_host=1):
        await world.clock.reach(after(15))
        run = execution_id(task, after(11), "scheduled")
        await world.append(run, ExecutionCancelled(at=after(15), task_id=task, reason="a user"))
        await world.clock.reach(after(18))
        assert world.observed.held[-1] == 0


@pytest.mark.usefixtures("small")
async def test_the_room_of_executions_that_are_cancelled_while_they_wait_is_used_at_once() -> None:
    world = a_world()
    tasks = [await world.create(at=after(10), url=SLOW) for _ in range(12)]
    runs = {task: execution_id(task, after(10), "scheduled") for task in tasks}
    async with world.scheduler(per_host=2):
        await world.clock.reach(after(11))
        under_way = {call.execution_id for call in world.calls}
        held = {task: run for task, run in runs.items() if run not in under_way and world.names(run)}
        for task, run in held.items():
            await world.append(run, ExecutionCancelled(at=after(11), task_id=task, reason="a user"))
        claimed = len(world.facts(ExecutionStarted))
        await world.clock.reach(after(14))
        assert claimed < len(world.facts(ExecutionStarted)) <= claimed + len(held)
        await world.clock.reach(after(300))
    assert len(world.calls) == len(tasks) - len(held)


async def test_what_is_held_back_can_be_cancelled() -> None:
    world = a_world()
    tasks = [await world.create(at=after(10), url=SLOW) for _ in range(2)]
    async with world.scheduler(per_host=1):
        await world.clock.reach(after(20))
        [under_way] = [call.execution_id for call in world.calls]
        runs = {execution_id(task, after(10), "scheduled"): task for task in tasks}
        [(held, task)] = [(run, task) for run, task in runs.items() if run != under_way]
        await world.append(held, ExecutionCancelled(at=after(20), task_id=task, reason="a user"))
        await world.clock.reach(after(100))
    assert len(world.calls) == 1

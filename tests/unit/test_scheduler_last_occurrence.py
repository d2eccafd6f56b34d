"""The last occurrence of a schedule: whoever accounts for it, its task ends once, by what became of it."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from application.scheduler.membership import rank
from domain.definition import CatchUp, CatchUpMode, OneOff, Overlap, OverlapMode, RetryPolicy
from domain.facts import ExecutionTakenOver, Outcome, TaskCompleted
from domain.identity import execution_id
from tests.support.books import check_books
from tests.support.given import after, every
from tests.support.mortal import MortalNode
from tests.support.scheduler import World

SECONDS_5 = timedelta(seconds=5)
THREE = every(60, end_at=after(180))
QUEUE = Overlap(mode="queue_all", max_queued=3)


@contextlib.asynccontextmanager
async def scheduler(world: World, name: str = "node-1") -> AsyncIterator[MortalNode]:
    node = MortalNode(world, name)
    yield node
    await node.stop()


async def missed_in_a_pause(world: World, **words: Any) -> UUID:
    """A task that is still paused when all its occurrences have been due."""
    task = await world.create(**{"trigger": THREE} | words)
    await world.pause(task)
    await world.clock.reach(after(200))
    return task


def occurrence(task: UUID, due: float = 180) -> UUID:
    return execution_id(task, after(due), "scheduled")


def ended(world: World, task: UUID) -> tuple[Outcome, UUID]:
    """How the task ended, and with which execution: once, with everything accounted for."""
    [end] = world.facts(TaskCompleted)
    assert world.names(task)[-1] == "TaskCompleted"
    check_books(world)
    return end.outcome, end.execution_id


@pytest.mark.parametrize(("status", "outcome"), [(200, "succeeded"), (404, "failed")])
async def test_a_one_off_that_was_backfilled_ends_by_its_call_though_it_is_resumed_meanwhile(
    world: World, status: int, outcome: Outcome
) -> None:
    world.caller.answers(status)
    world.caller.takes = SECONDS_5
    task = await missed_in_a_pause(world, trigger=OneOff(datetime=after(180)))
    async with scheduler(world):
        await world.backfill(task, after(180), after(181))
        await world.clock.pass_by(1)
        await world.resume(task)
        await world.clock.pass_by(10)
    assert world.runs() == [(180, 200)]
    assert ended(world, task) == (outcome, occurrence(task))


@pytest.mark.parametrize(("status", "outcome"), [(200, "succeeded"), (404, "failed")])
async def test_a_schedule_ends_by_the_call_of_its_last_occurrence_though_users_had_it_made(
    world: World, status: int, outcome: Outcome
) -> None:
    world.caller.answers(200, status)
    task = await world.create(trigger=THREE)
    async with scheduler(world):
        await world.clock.reach(after(61))
        await world.pause(task)
        await world.clock.reach(after(200))
        await world.backfill(task, after(180), after(181))
        await world.clock.pass_by(5)
        await world.resume(task)
        await world.clock.pass_by(5)
    assert world.runs() == [(60, 60), (180, 200)]
    assert ended(world, task) == (outcome, occurrence(task))


@pytest.mark.parametrize("mode", ["latest", "skip", "all"])
@pytest.mark.parametrize("backfilled", [60, 120, 180])
async def test_every_catch_up_mode_ends_a_schedule_of_which_users_have_had_a_part_run(
    world: World, mode: CatchUpMode, backfilled: int
) -> None:
    overlap = Overlap(mode="queue_all")
    task = await missed_in_a_pause(world, catch_up=CatchUp(mode=mode), overlap=overlap)
    async with scheduler(world):
        await world.backfill(task, after(backfilled), after(backfilled + 1))
        await world.clock.pass_by(5)
        await world.resume(task)
        await world.clock.pass_by(5)
    ran = {"latest": {180}, "skip": set(), "all": {60, 120, 180}}[mode] | {backfilled}
    assert sorted(due for due, _ in world.runs()) == sorted(ran)
    assert ended(world, task)[1] == occurrence(task)


@pytest.mark.parametrize("mode", ["skip", "queue_one", "queue_all", "cancel_running"])
async def test_a_last_occurrence_that_was_backfilled_ends_its_schedule_beside_what_runs(
    world: World, mode: OverlapMode
) -> None:
    world.caller.takes = timedelta(seconds=300)
    task = await world.create(trigger=every(60, end_at=after(120)), overlap=Overlap(mode=mode))
    async with scheduler(world):
        await world.clock.reach(after(61))
        await world.pause(task)
        await world.clock.reach(after(121))
        await world.backfill(task, after(120), after(121))
        await world.resume(task)
        await world.clock.reach(after(900))
    assert world.runs() == [(60, 60), (120, 121)]
    assert ended(world, task) == ("succeeded", occurrence(task, 120))


async def test_a_backfill_that_nobody_has_taken_when_its_schedule_ends_is_made_all_the_same(
    world: World,
) -> None:
    task = await missed_in_a_pause(world)
    slow = next(
        name
        for name in map(str, count())
        if rank("node-1", [name], task) == 0 and rank(name, ["node-1"], occurrence(task)) == 0
    )
    async with scheduler(world):
        hanging = MortalNode(world, slow)
        await world.clock.pass_by(5)
        hanging.hang()
        await world.backfill(task, after(180), after(181))
        await world.resume(task)
        await world.clock.pass_by(1)
        assert world.names(task)[-1] == "TaskCompleted"
        assert world.calls == []
        await world.clock.pass_by(9)
        hanging.kill()
    assert [call.execution_id for call in world.calls] == [occurrence(task)]
    assert world.names(occurrence(task)) == ["ExecutionRequested", "ExecutionStarted", "ExecutionSucceeded"]
    assert ended(world, task) == ("succeeded", occurrence(task))


@pytest.mark.parametrize("running", [True, False])
async def test_a_user_who_cancels_the_backfill_of_the_last_occurrence_leaves_the_rest_to_the_schedule(
    world: World, running: bool
) -> None:
    world.caller.takes = SECONDS_5
    task = await missed_in_a_pause(world)
    await world.backfill(task, after(180), after(181))
    if not running:
        await world.cancel_execution(occurrence(task))
    async with scheduler(world):
        await world.clock.pass_by(1)
        if running:
            await world.cancel_execution(occurrence(task))
        assert world.names(task) == ["TaskCreated", "TaskPaused"]
        await world.resume(task)
        await world.clock.pass_by(10)
    assert world.skips("pause") == [60, 120]
    assert ended(world, task) == ("failed", occurrence(task))


async def test_two_schedulers_that_come_to_a_backfilled_last_occurrence_end_its_task_once(
    world: World,
) -> None:
    world.caller.takes = SECONDS_5
    task = await missed_in_a_pause(world)
    async with scheduler(world), scheduler(world, "node-2"):
        await world.backfill(task, after(180), after(181))
        await world.resume(task)
        await world.clock.pass_by(20)
    assert world.runs() == [(180, 200)]
    assert ended(world, task) == ("succeeded", occurrence(task))


@pytest.mark.parametrize(("status", "outcome"), [(200, "succeeded"), (404, "failed")])
async def test_a_last_occurrence_that_ran_by_an_older_schedule_ends_one_that_skips_all_before_it(
    world: World, status: int, outcome: Outcome
) -> None:
    world.caller.answers(status)
    task = await world.create(trigger=every(30, max_runs=50))
    async with scheduler(world):
        await world.clock.reach(after(31))
    await world.clock.step(-31)
    await world.update(task, trigger=every(10, end_at=after(30)))
    await world.clock.reach(after(35))
    async with scheduler(world):
        await world.clock.reach(after(40))
    assert world.skips("catch_up") == [10, 20]
    assert ended(world, task) == (outcome, occurrence(task, 30))


async def over_with_a_queue(world: World) -> UUID:
    """A task that has been completed by a skip while three occurrences of an older schedule are queued."""
    world.caller.takes = timedelta(seconds=300)
    task = await world.create(trigger=every(10), overlap=QUEUE)
    await world.clock.reach(after(45))
    shorter = every(10, max_runs=2, end_at=after(70))
    await world.update(task, trigger=shorter, overlap=QUEUE, retry=RetryPolicy(max_attempts=1))
    await world.clock.reach(after(90))
    assert world.names(task)[-1] == "TaskCompleted"
    return task


async def test_what_was_queued_before_a_schedule_was_cut_short_ends_its_task_no_second_time(
    world: World,
) -> None:
    async with scheduler(world):
        task = await over_with_a_queue(world)
        await world.clock.reach(after(2000))
    assert [due for due, _ in world.runs()] == [10, 20, 30, 40]
    assert ended(world, task) == ("succeeded", occurrence(task, 70))


async def test_nor_does_it_when_another_node_goes_on_with_it(world: World) -> None:
    async with scheduler(world, "node-2"):
        dying = MortalNode(world, "node-1")
        task = await over_with_a_queue(world)
        await world.clock.until(lambda: len(world.calls) > 1)
        dying.kill()
        await world.clock.reach(after(3000))
    assert world.facts(ExecutionTakenOver) != []
    assert ended(world, task) == ("succeeded", occurrence(task, 70))

"""Going on from a refused claim: another node was faster, or the task has changed."""

import contextlib
from collections.abc import Iterator

import pytest

from application.ports import LogUnavailable
from domain.definition import CatchUp
from domain.facts import (
    ExecutionSkipped,
    ExecutionSucceeded,
    IdempotencyKeyUsed,
    Occurrence,
    TaskCompleted,
    TaskUpdated,
)
from domain.identity import execution_id
from tests.support.fake_log import FakeFollower
from tests.support.given import NOON, after, attempt, definition, every
from tests.support.scheduler import World


@contextlib.contextmanager
def unseen(world: World, node: str) -> Iterator[None]:
    """What another node does is not told for the length of the block; the node is alive."""
    world.nodes.alive.add(node)
    with world.follower.held():
        yield


async def test_an_occurrence_that_another_node_has_claimed_is_left_to_it(world: World) -> None:
    task = await world.create(cron="* * * * *")
    async with world.scheduler("node-1"), world.scheduler("node-2", follower=FakeFollower(world.log)):
        with world.follower.held():
            await world.clock.reach(after(59))
            await world.claim(task, after(60), next_run_at=after(120))
            await world.clock.reach(after(61))
            assert world.calls == []
            await world.clock.reach(after(121))
    assert [call.at for call in world.calls] == [after(120)]
    assert (0, 1) in world.observed.claims


async def test_a_one_off_that_another_node_has_claimed_is_forgotten(world: World) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        with unseen(world, "node-2"):
            run = execution_id(task, after(5), "scheduled")
            await world.claim(task, after(5))
            await world.clock.reach(after(9))
    assert world.calls == []
    assert world.names(run) == ["ExecutionStarted"]


async def test_missed_occurrences_that_another_node_has_recorded_are_not_recorded_twice(world: World) -> None:
    task = await world.create(cron="* * * * *")
    world.due_tasks.projected = len(world.log.recorded)
    for minute in (1, 2):
        occurrence = Occurrence(
            task_id=task, task_version=1, task_name="report", namespace="default", due_at=after(60 * minute)
        )
        skip = ExecutionSkipped(
            at=NOON, occurrence=occurrence, reason="missed", next_run_at=after(60 * (minute + 1))
        )
        await world.append(execution_id(task, after(60 * minute), "scheduled"), skip)
    await world.clock.reach(after(300))
    with world.follower.held():
        async with world.scheduler():
            world.due_tasks.projected = None
            await world.clock.reach(after(301))
    assert [fact.occurrence.due_at for fact in world.facts(ExecutionSkipped)] == [
        after(60 * minute) for minute in (1, 2, 3, 4)
    ]
    assert [call.at for call in world.calls] == [after(300)]
    assert world.observed.claims == [(0, 1), (1, 0)]


async def test_a_refusal_that_the_log_does_not_explain_is_reported(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        stray = IdempotencyKeyUsed(at=NOON, key="k", namespace="default", task_id=task, digest="")
        await world.append(execution_id(task, after(5), "scheduled"), stray)
        await world.clock.reach(after(10))
    assert world.calls == []
    assert "the log refuses the claim" in caplog.text


async def test_an_outage_while_a_refusal_is_looked_into_loses_nothing(world: World) -> None:
    task = await world.create(at=after(5), url="http://target/old")

    async def fail() -> None:
        raise LogUnavailable("no connection is free")

    async with world.scheduler():
        with world.follower.held():
            await world.update(task, at=after(5), url="http://target/new")
            world.log.after_reading[task] = fail
            await world.clock.reach(after(7))
    assert [(call.url, call.at < after(5.6)) for call in world.calls] == [("http://target/new", True)]


async def test_a_change_that_is_heard_of_while_a_refusal_is_looked_into_counts(world: World) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        with contextlib.ExitStack() as held:
            held.enter_context(world.follower.held())
            await world.update(task, at=after(20))

            async def move_again() -> None:
                await world.update(task, at=after(30))
                held.close()
                await world.follower.told()

            world.log.after_reading[task] = move_again
            await world.clock.reach(after(60))
    assert [call.at for call in world.calls] == [after(30)]
    assert world.observed.claims == [(0, 1), (1, 0)]


async def test_a_one_off_that_comes_back_to_an_instant_that_another_node_is_running_waits_for_its_end(
    world: World,
) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        run = execution_id(task, after(5), "scheduled")
        world.nodes.alive.add("node-2")
        await world.claim(task, after(5))
        await world.update(task, at=after(600))
        await world.update(task, at=after(5))
        await world.clock.reach(after(9))
    assert world.calls == []
    assert world.names(run) == ["ExecutionStarted"]
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskUpdated"]


async def test_leaving_an_occurrence_behind_gives_way_to_a_change_of_the_task(world: World) -> None:
    task = await world.create(at=after(5))
    run = execution_id(task, after(5), "scheduled")
    await world.claim(task, after(5))
    await world.append(run, ExecutionSucceeded(at=after(5), task_id=task, attempt=attempt()))
    await world.update(task, at=after(600))
    await world.update(task, at=after(5))

    async def move() -> None:
        await world.update(task, at=after(60))

    world.log.after_reading[run] = move
    await world.run_until(70)
    assert [call.at for call in world.calls] == [after(60)]
    assert [end.execution_id for end in world.facts(TaskCompleted)] == [
        execution_id(task, after(60), "scheduled")
    ]


async def test_claiming_anew_what_was_dropped_gives_way_to_another_node(world: World) -> None:
    task = await world.create(at=after(5))
    run = execution_id(task, after(5), "scheduled")
    claimed = await world.claim(task, after(5))
    dropped = ExecutionSkipped(at=after(5), occurrence=claimed.occurrence, reason="moved", next_run_at=None)
    await world.append(run, dropped)
    await world.update(task, at=after(600))
    await world.update(task, at=after(5))
    world.nodes.alive.add("node-2")

    async def claim() -> None:
        await world.claim(task, after(5), task_version=3)

    world.log.after_reading[run] = claim
    async with world.scheduler():
        with world.follower.held():
            await world.clock.reach(after(9))
    assert world.calls == []
    assert world.names(run) == ["ExecutionStarted", "ExecutionSkipped", "ExecutionStarted"]


async def test_an_occurrence_that_was_claimed_by_the_old_schedule_is_left_behind_for_good(
    world: World,
) -> None:
    task = await world.create(cron="* * * * *")
    world.nodes.alive.add("node-2")
    await world.claim(task, after(60), next_run_at=after(120))
    await world.update(task, cron="1 * * * *")  # placed at 12:01, too
    async with world.scheduler():
        await world.clock.reach(after(70))
        [_, moved] = world.facts(TaskUpdated)
        assert (moved.next_run_at, moved.definition) == (after(3660), definition(cron="1 * * * *"))
        await world.clock.reach(after(3700))
    assert [call.at for call in world.calls] == [after(3660)]


async def test_an_occurrence_that_ran_under_the_old_schedule_is_left_behind_for_good(world: World) -> None:
    task = await world.create(cron="* * * * *")
    run = execution_id(task, after(60), "scheduled")
    await world.claim(task, after(60), next_run_at=after(120))
    await world.append(run, ExecutionSucceeded(at=after(60), task_id=task, attempt=attempt()))
    await world.update(task, cron="1 * * * *")
    await world.run_until(3700)
    assert [call.at for call in world.calls] == [after(3660)]
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskUpdated"]


async def test_a_missed_occurrence_that_a_user_has_had_run_is_not_recorded_as_missed(world: World) -> None:
    task = await world.create(trigger=every(100), catch_up=CatchUp(mode="skip"))
    await world.clock.reach(after(170))
    await world.backfill(task, after(100), after(101))
    await world.run_until(201)
    assert world.runs() == [(100, 170), (200, 200)]
    assert world.facts(ExecutionSkipped) == []

"""Going on with what dead nodes left, and leaving the living alone."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from domain.facts import (
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionStarted,
    ExecutionTakenOver,
    TaskCompleted,
)
from tests.support.given import NOON, after, attempt, failed_attempt
from tests.support.scheduler import World

if TYPE_CHECKING:
    from datetime import datetime


async def left_running(
    world: World, *, node: str = "dead-1", lease_seconds: float = 70, **words: Any
) -> UUID:
    """A one-off of noon that a node has claimed and not finished."""
    task = await world.create(at=NOON, **words)
    return (await world.claim(task, NOON, node=node, lease_until=after(lease_seconds))).id


async def left_waiting(world: World, *, retry_at: datetime, node: str = "dead-1") -> UUID:
    """The same, with an attempt that has failed."""
    run = await left_running(world, node=node)
    task_id = world.facts(ExecutionStarted)[0].occurrence.task_id
    await world.append(
        run, AttemptFailed(at=NOON, task_id=task_id, attempt=attempt(1, 503), retry_at=retry_at)
    )
    return run


async def test_what_a_node_left_when_it_left_is_taken_over_at_once() -> None:
    world = World()
    run = await left_running(world)
    async with world.scheduler():
        await world.clock.settle()
        assert [(call.at, call.execution_id, call.number) for call in world.calls] == [(NOON, run, 2)]
    [takeover] = world.facts(ExecutionTakenOver)
    assert (takeover.lost_by, takeover.node, takeover.number) == ("dead-1", "node-1", 2)
    assert len(world.facts(TaskCompleted)) == 1


async def test_what_was_claimed_ahead_is_not_sent_before_its_instant_by_another_node_either() -> None:
    world = World()
    task = await world.create(at=after(0.015))
    await world.claim(task, after(0.015), node="dead-1")
    async with world.scheduler():
        await world.clock.settle()
        assert len(world.facts(ExecutionTakenOver)) == 1
        await world.clock.reach(after(1))
    assert [call.at for call in world.calls] == [after(0.015)]


async def test_a_node_is_dead_once_its_beat_has_stood_still_for_six_seconds() -> None:
    world = World()
    world.nodes.known["dead-1"] = NOON
    await left_running(world)
    async with world.scheduler():
        await world.clock.reach(after(5.9))
        assert world.calls == []
        await world.clock.reach(after(6.1))
    assert [call.number for call in world.calls] == [2]


async def test_nothing_is_taken_from_a_living_node_before_its_lease_is_over() -> None:
    world = World()
    await left_running(world, node="node-2", lease_seconds=70)
    async with world.scheduler("node-2"):
        async with world.scheduler("node-1"):
            await world.clock.reach(after(69.9))
            assert world.calls == []
            await world.clock.reach(after(72))
        assert [call.number for call in world.calls] == [2]


async def test_after_an_outage_leases_are_judged_only_when_everybody_had_time_to_record() -> None:
    world = World()
    await left_running(world, node="node-2", lease_seconds=20)
    world.nodes.known["node-2"] = NOON
    async with world.scheduler("node-1"), world.scheduler("node-2"):
        world.due_tasks.away = True
        await world.clock.reach(after(60))
        world.due_tasks.away = False
        await world.clock.reach(after(69))
        assert world.calls == []
        await world.clock.reach(after(80))
    assert len(world.calls) == 1


async def test_a_retry_that_a_dead_node_left_waiting_is_made_at_its_time() -> None:
    world = World()
    run = await left_waiting(world, retry_at=after(20))
    async with world.scheduler():
        await world.clock.reach(after(19))
        assert world.calls == []
        await world.clock.reach(after(21))
    assert [(call.at, call.execution_id, call.number) for call in world.calls] == [(after(20), run, 2)]


async def test_a_retry_that_a_living_node_has_forgotten_is_made_by_another() -> None:
    world = World()
    await left_waiting(world, retry_at=after(5), node="node-2")
    async with world.scheduler("node-2"), world.scheduler("node-1"):
        await world.clock.reach(after(34))
        assert world.calls == []
        await world.clock.reach(after(37))
    assert [call.number for call in world.calls] == [2]
    assert len(world.facts(AttemptStarted)) == 1


@pytest.mark.parametrize("waiting", [True, False])
async def test_what_was_left_of_a_task_that_is_cancelled_by_now_ends_without_a_call(waiting: bool) -> None:
    world = World()
    run = await (left_waiting(world, retry_at=after(300)) if waiting else left_running(world))
    await world.cancel(world.facts(ExecutionStarted)[0].occurrence.task_id)
    async with world.scheduler():
        await world.clock.reach(after(3))
    assert world.calls == []
    assert world.names(run)[-1] == "ExecutionCancelled"
    [end] = world.facts(ExecutionCancelled)
    assert end.reason == "the task was cancelled: no further attempt is made"


async def test_a_takeover_calls_the_action_as_it_is_by_now() -> None:
    world = World()
    await left_running(world, url="http://target/old")
    await world.update(world.facts(ExecutionStarted)[0].occurrence.task_id, at=NOON, url="http://target/new")
    async with world.scheduler():
        await world.clock.settle()
    assert [call.url for call in world.calls] == ["http://target/new"]


async def test_what_takes_its_scheduler_down_each_time_fails_at_last() -> None:
    world = World()
    run = await left_running(world)
    for number in range(2, 7):
        lost = ExecutionTakenOver(
            at=NOON,
            task_id=world.facts(ExecutionStarted)[0].occurrence.task_id,
            task_version=1,
            number=number,
            node="dead-1",
            lost_by="dead-1",
            lease_until=NOON,
        )
        await world.append(run, lost)
    async with world.scheduler():
        await world.clock.reach(after(3))
    assert world.calls == []
    [end] = world.facts(ExecutionFailed)
    assert "are unknown" in end.reason
    assert [fact.outcome for fact in world.facts(TaskCompleted)] == ["failed"]


async def test_a_node_that_joins_and_claims_while_others_look_is_not_taken_for_dead() -> None:
    world = World()

    async def join() -> None:
        world.nodes.alive.add("node-2")
        await left_running(world, node="node-2")

    async with world.scheduler("node-1"):
        world.nodes.meanwhile = join
        await world.clock.reach(after(9))
    assert world.calls == []


async def test_a_row_that_is_behind_the_log_takes_nothing_over() -> None:
    world = World()
    run = await left_running(world)
    world.due_tasks.projected = len(world.log.recorded)
    await world.append(run, failed_attempt())
    end = ExecutionCancelled(
        at=NOON, task_id=world.facts(ExecutionStarted)[0].occurrence.task_id, reason="over"
    )
    await world.append(run, end)
    async with world.scheduler():
        await world.clock.reach(after(3))
    assert world.calls == []
    assert world.names(run)[-1] == "ExecutionCancelled"


async def test_an_execution_of_a_task_that_the_log_does_not_know_is_left_alone() -> None:
    world = World()
    run = await left_running(world)
    stray = await world.claim(UUID(int=9), NOON, node="dead-1")
    async with world.scheduler():
        await world.clock.reach(after(3))
    assert [call.execution_id for call in world.calls] == [run]
    assert world.names(stray.id) == ["ExecutionStarted"]


async def test_what_this_release_cannot_read_keeps_nothing_else_from_being_taken_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    unreadable = await left_running(world, lease_seconds=60)
    world.log.plant(unreadable, 2, "execution.paused.v9", b"{}")
    run = await left_running(world, lease_seconds=70)
    async with world.scheduler():
        await world.clock.reach(after(5))
    assert [call.execution_id for call in world.calls] == [run]
    complaint, *_ = [record.message for record in caplog.records]
    assert "execution.paused.v9" in complaint
    assert str(unreadable) in complaint


async def test_two_nodes_that_take_over_at_once_call_once() -> None:
    world = World()
    await left_running(world)
    async with world.scheduler("node-1"), world.scheduler("node-2"):
        await world.clock.reach(after(15))
    assert [call.number for call in world.calls] == [2]


async def test_an_error_in_a_takeover_is_logged_counted_and_tried_again_with_a_growing_pause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    run = await left_running(world)
    world.log.poison = ExecutionTakenOver
    async with world.scheduler():
        await world.create(at=after(5))
        await world.clock.reach(after(60))
        assert [call.at for call in world.calls] == [after(5)]
        errors = world.observed.errors.count("taking over execution")
        assert 4 <= errors == len([each for each in caplog.records if each.exc_info]) <= 8
        world.log.poison = None
        await world.clock.reach(after(130))
    assert world.calls[-1].execution_id == run


async def test_an_outage_amid_a_takeover_ends_neither_the_scheduler_nor_the_takeover() -> None:
    world = World()
    runs = {await left_running(world) for _ in range(3)}
    with contextlib.ExitStack() as outage:
        outage.enter_context(world.log.away())  # while the read models answer
        async with world.scheduler():
            await world.clock.reach(after(5))
            assert world.calls == []
            outage.close()
            await world.clock.reach(after(7))
    assert {call.execution_id for call in world.calls} == runs
    assert len(world.facts(ExecutionTakenOver)) == 3


@pytest.mark.parametrize("died_at", [10, 10.05, 10.3, 10.499, 10.5, 10.77])
async def test_what_a_dead_node_left_is_taken_over_within_the_expiry_of_its_last_beat(died_at: float) -> None:
    world = World()
    run = await left_running(world)
    world.nodes.alive.add("dead-1")
    async with world.scheduler():
        await world.clock.reach(after(died_at))
        world.nodes.alive.clear()
        world.nodes.known["dead-1"] = after(died_at)
        await world.clock.reach(after(died_at + 6))
    [call] = world.calls
    assert (call.execution_id, call.number) == (run, 2)
    assert after(died_at + 5) < call.at <= after(died_at + 6)

"""Claims that got no answer: they may be in the log all the same."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from application.ports import LogUnavailable
from application.scheduler.claims import ClaimAppender, claim_request
from application.scheduler.index import Entry
from domain.facts import (
    ExecutionSkipped,
    ExecutionStarted,
)
from domain.identity import execution_id
from tests.support.given import NOON, after, definition
from tests.support.scheduler import LEASE, World

if TYPE_CHECKING:
    from uuid import UUID


async def lost_claim(world: World, task: UUID) -> None:
    """The claim of a task's occurrence at 5 s is stored, and its answer lost."""
    with world.follower.held(), world.log.losing_answers():
        await world.clock.reach(after(5))
    assert len(world.facts(ExecutionStarted)) == 1
    assert task == world.facts(ExecutionStarted)[0].occurrence.task_id


async def test_a_claim_whose_answer_was_lost_is_not_sent_when_its_task_was_cancelled_meanwhile() -> None:
    world = World()
    task = await world.create(at=after(5))
    async with world.scheduler():
        await lost_claim(world, task)
        await world.cancel(task)
        await world.clock.reach(after(10))
    assert world.calls == []
    assert [fact.reason for fact in world.facts(ExecutionSkipped)] == [
        "the task was cancelled before the call was sent"
    ]


async def test_a_claim_whose_answer_was_lost_calls_the_action_as_it_is_by_now() -> None:
    world = World()
    task = await world.create(at=after(5), url="http://target/old")
    async with world.scheduler():
        await lost_claim(world, task)
        await world.update(task, at=after(5), url="http://target/new")
        await world.clock.reach(after(10))
    assert [call.url for call in world.calls] == ["http://target/new"]
    assert world.names(task)[-1] == "TaskCompleted"


async def test_a_claim_that_did_not_arrive_is_made_again_and_not_looked_for_any_longer() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=9)
    await world.create(at=after(5))
    async with world.scheduler():
        await world.clock.reach(after(4.9))
        with world.log.away():
            await world.clock.reach(after(6))
        await world.clock.reach(after(200))
    assert len(world.calls) == 1
    assert len(world.facts(ExecutionStarted)) == 1


async def test_a_claim_that_never_arrives_is_looked_for_until_its_lease_is_over() -> None:
    world = World()
    context = world.context()
    begun: list[object] = []
    doubtful = ClaimAppender(context, begun.append)
    entry = Entry(await world.create(at=NOON), 1, "default", definition(at=NOON), NOON)
    with world.log.away(), pytest.raises(LogUnavailable):
        await doubtful.append(claim_request(entry, context.node, NOON))
    while doubtful.next_look is not None:
        await world.clock.reach(doubtful.next_look)
        await doubtful.look()
    assert begun == []
    assert world.clock.now() >= NOON + LEASE


async def test_a_claim_that_somebody_else_won_is_not_begun() -> None:
    world = World()
    context = world.context()
    begun: list[object] = []
    doubtful = ClaimAppender(context, begun.append)
    task = await world.create(at=NOON)
    entry = Entry(task, 1, "default", definition(at=NOON), NOON)
    with world.log.away(), pytest.raises(LogUnavailable):
        await doubtful.append(claim_request(entry, context.node, NOON))
    await world.claim(task, NOON)
    await doubtful.look()
    assert (begun, doubtful.next_look) == ([], None)


async def test_a_claim_that_cannot_be_read_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    context = world.context()
    begun: list[object] = []
    doubtful = ClaimAppender(context, begun.append)
    task = await world.create(at=NOON)
    with world.log.losing_answers(), pytest.raises(LogUnavailable):
        await doubtful.append(
            claim_request(Entry(task, 1, "default", definition(at=NOON), NOON), context.node, NOON)
        )
    world.log.plant(execution_id(task, NOON, "scheduled"), 2, "execution.paused.v9", b"{}")
    await doubtful.look()
    assert (begun, doubtful.next_look) == ([], None)
    assert "execution.paused.v9" in caplog.text


async def test_a_portion_whose_answer_was_lost_needs_no_looking_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.claiming.MAX_SKIPPED", 2)
    world = World()
    task = await world.create(cron="* * * * *")
    await world.clock.reach(after(330))
    with contextlib.ExitStack() as lost:
        lost.enter_context(world.log.losing_answers())
        async with world.scheduler():
            await world.clock.reach(after(330.2))
            assert len(world.facts(ExecutionSkipped)) == 2
            lost.close()
            await world.clock.reach(after(335))
    assert [call.execution_id for call in world.calls] == [execution_id(task, after(300), "scheduled")]
    assert len(world.facts(ExecutionSkipped)) == 4


async def test_a_lost_claim_is_looked_for_again_when_the_log_goes_away_meanwhile() -> None:
    world = World()
    task = await world.create(at=after(5))
    async with world.scheduler():
        await lost_claim(world, task)
        with world.log.away():
            await world.clock.reach(after(9))
        await world.clock.reach(after(12))
    assert len(world.calls) == 1


async def test_a_second_claim_of_what_was_dropped_is_recognised_when_its_answer_was_lost() -> None:
    world = World()
    task = await world.create(at=after(5))
    run = execution_id(task, after(5), "scheduled")
    claimed = await world.claim(task, after(5))
    dropped = ExecutionSkipped(at=after(5), occurrence=claimed.occurrence, reason="moved", next_run_at=None)
    await world.append(run, dropped)
    await world.update(task, at=after(600))
    await world.update(task, at=after(5))
    async with world.scheduler():
        with world.log.losing_answers():
            await world.clock.reach(after(5.2))
        await world.clock.reach(after(7))
    assert len(world.calls) == 1
    assert world.names(run) == [
        "ExecutionStarted",
        "ExecutionSkipped",
        "ExecutionStarted",
        "ExecutionSucceeded",
    ]
    assert world.names(task)[-1] == "TaskCompleted"

"""Simulated retries: those that nobody makes, that are cancelled, or that come too late."""

from __future__ import annotations

from msgspec.structs import replace

from application.what_if.record import recorded
from application.what_if.simulation import Attempts
from domain.definition import Interval, Overlap
from domain.facts import (
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionStarted,
    ExecutionSucceeded,
    TaskCancelled,
)
from tests.support.given import NOON, definition
from tests.support.scheduler import World
from tests.support.what_if import SECOND, events_of, failing, retold, run_in, simulated

FIRST, SECOND_ONE, THIRD = (NOON + seconds * SECOND for seconds in (10, 20, 30))


async def test_a_410_that_would_have_ended_the_task_ends_what_waits_and_what_fails_then() -> None:
    world = World()
    world.caller.takes = 4 * SECOND
    world.caller.answers(503, 410, 503, 503)
    task_id = await world.create(**failing())
    async with world.scheduler():
        await world.clock.pass_by(13)
        again = simulated(
            events_of(world.log, task_id),
            NOON,
            world.clock.now(),
            lambda old: replace(old, retry=replace(old.retry, on_gone="stop")),
        )
    [end] = [(key.at, fact) for key, _, fact in again.facts if isinstance(fact, TaskCancelled)]
    cancelled = [fact for _, _, fact in again.facts if isinstance(fact, ExecutionCancelled)]
    assert [fact.at >= end[0] for fact in cancelled] == [True] * 3
    assert not again.state.open


async def test_a_retry_that_nobody_claims_is_not_made() -> None:
    world = World()
    world.caller.answers(*[503] * 9)
    task_id = await world.create(**failing())
    async with world.scheduler():
        await world.clock.pass_by(3)
    retold(world, task_id)
    await world.clock.pass_by(100)
    retold(world, task_id)


async def test_what_is_cancelled_while_it_waits_is_cancelled_again() -> None:
    world = World()
    world.caller.answers(*[503] * 9)
    task_id = await world.create(**failing())
    async with world.scheduler():
        await world.clock.pass_by(7)
        [first, *_] = [
            stream
            for event in world.log.recorded
            if isinstance(event.fact, ExecutionStarted)
            for stream in [event.stream]
        ]
        await world.cancel_execution(first)
        await world.clock.pass_by(3)
        await world.cancel(task_id)
        await world.clock.pass_by(3)
    again = retold(world, task_id)
    assert len([fact for _, _, fact in again.facts if isinstance(fact, ExecutionCancelled)]) > 1


async def test_what_waits_goes_on_when_its_task_is_redefined() -> None:
    world = World()
    world.caller.answers(*[503] * 9)
    task_id = await world.create(**failing())
    async with world.scheduler():
        await world.clock.pass_by(3)
        await world.update(task_id, **failing(max_attempts=2))
        await world.clock.pass_by(70)
    retold(world, task_id)


async def test_a_retry_whose_time_has_passed_before_anybody_claims_it_fails_again() -> None:
    world = World()
    world.caller.answers(*[503] * 9)
    task_id = await world.create(**failing(max_elapsed_seconds=90))
    async with world.scheduler():
        await world.clock.pass_by(3)
    await world.clock.pass_by(200)
    async with world.scheduler("node-2"):
        await world.clock.pass_by(10)
    again = retold(world, task_id)
    assert [fact for _, _, fact in again.facts if isinstance(fact, ExecutionFailed) and fact.lapsed]


async def test_an_attempt_whose_turn_came_too_late_is_sent_by_a_policy_that_lets_it() -> None:
    world = World()
    task_id = await world.create(trigger=Interval(every_seconds=10, anchor=NOON))
    running = await world.claim(task_id, FIRST)
    lapsed = ExecutionFailed(at=SECOND_ONE, task_id=task_id, attempt=None, reason="late", lapsed=True)
    await world.append(running.id, lapsed)
    record = recorded(events_of(world.log, task_id), NOON, THIRD)
    found = record.told(running.id, 1, NOON)
    assert found is not None
    assert found.unsent
    _, brought = Attempts(record, SECOND).of(running, NOON, FIRST)
    sent = brought(running, definition(), record.start.task, SECOND_ONE)
    assert isinstance(sent, ExecutionSucceeded)


async def test_a_retry_cancelled_before_the_end_of_its_task_was_heard_of_is_cancelled_again() -> None:
    world = World()
    world.caller.answers(503)
    task_id = await world.create(**failing())
    async with world.scheduler():
        await world.clock.pass_by(3)
    await world.cancel(task_id)
    await world.clock.pass_by(0.02)
    waiting = run_in(world, NOON + 2 * SECOND, task_id)
    await world.cancel_execution(waiting)
    await world.clock.pass_by(1)
    again = retold(world, task_id)
    reasons = {run: fact.reason for _, run, fact in again.facts if isinstance(fact, ExecutionCancelled)}
    assert reasons[waiting] == "cancelled by a user"


async def test_a_retry_that_nobody_claimed_before_its_task_was_cancelled_is_not_made() -> None:
    world = World()
    world.caller.answers(*[503] * 9)
    task_id = await world.create(**failing())
    async with world.scheduler():
        await world.clock.pass_by(3)
    await world.clock.pass_by(100)
    await world.cancel(task_id)
    await world.clock.pass_by(10)
    async with world.scheduler("node-2"):
        await world.clock.pass_by(100)
    again = retold(world, task_id)
    assert [fact for _, _, fact in again.facts if isinstance(fact, ExecutionCancelled)]


async def test_a_retry_that_a_newer_run_replaced_would_have_been_made_at_its_time() -> None:
    world = World()
    world.caller.answers(*[503] * 9)
    every = Interval(every_seconds=30, anchor=NOON)
    task_id = await world.create(**{**failing(), "trigger": every, "overlap": Overlap(mode="cancel_running")})
    async with world.scheduler():
        await world.clock.pass_by(100)
    retold(world, task_id)
    again = simulated(
        events_of(world.log, task_id),
        NOON,
        world.clock.now(),
        lambda old: replace(old, overlap=Overlap(mode="allow")),
    )
    [failed, *_] = [fact for _, _, fact in again.facts if isinstance(fact, AttemptFailed)]
    [retried, *_] = [fact for _, _, fact in again.facts if isinstance(fact, AttemptStarted)]
    assert retried.at == failed.retry_at

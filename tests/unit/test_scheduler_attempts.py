"""Sending what was claimed: at its instant, under a lease that covers it, so many at a time."""

from __future__ import annotations

import asyncio
import errno
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from application.ports import ResourcesExhausted
from application.scheduler.attempts import NO_ROOM
from application.scheduler.context import SchedulerNode
from application.scheduler.jobs import Job
from domain import execution as executions
from domain.facts import (
    AttemptFailed,
    AttemptStarted,
    ExecutionFailed,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
)
from domain.identity import execution_id
from tests.support.given import NOON, RUN, after, definition, occurrence
from tests.support.scheduler import LEASE, World
from tests.support.sending import attempts, job

if TYPE_CHECKING:
    from application.ports import Call
    from domain.facts import Attempt


async def test_each_call_is_sent_at_its_instant_whatever_the_order_of_the_claims() -> None:
    world = World()
    async with attempts(world) as (sending, _):
        for number in (3, 1, 2):
            sending.dispatch(job(number, after(number)))
        await world.clock.reach(after(10))
    assert [(call.url, call.at) for call in world.calls] == [
        ("http://target/1", after(1)),
        ("http://target/2", after(2)),
        ("http://target/3", after(3)),
    ]


async def test_what_is_late_is_sent_at_once() -> None:
    world = World()
    async with attempts(world) as (sending, _):
        sending.dispatch(job(1, after(-5)))
        await world.clock.settle()
    assert [call.at for call in world.calls] == [NOON]


async def test_a_stop_is_heard_in_the_very_turn_in_which_an_earlier_claim_comes() -> None:
    world = World()
    async with asyncio.timeout(10):
        async with attempts(world) as (sending, _):
            sending.dispatch(job(1, after(20)))
            await world.clock.reach(after(1))
            sending.dispatch(job(2, after(10)))
    assert world.calls == []


async def test_an_earlier_claim_does_not_wait_for_a_later_one() -> None:
    world = World()
    async with attempts(world) as (sending, _):
        sending.dispatch(job(1, after(9)))
        await world.clock.reach(after(1))
        sending.dispatch(job(2, after(2)))
        await world.clock.reach(after(3))
    assert [call.url for call in world.calls] == ["http://target/2"]


async def test_no_more_calls_are_in_flight_than_allowed() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=1)
    async with attempts(world, concurrency=2) as (sending, dispatcher):
        for number in range(1, 6):
            sending.dispatch(job(number, after(1)))
        assert dispatcher.unsent() == 5
        await world.clock.reach(after(1))
        assert (dispatcher.unsent(), dispatcher.under_way(), sending.unfinished()) == (3, 2, 5)
        await world.clock.reach(after(4))
        assert sending.unfinished() == 0
    assert [call.at for call in world.calls] == [after(1), after(1), after(2), after(2), after(3)]


async def test_the_next_call_is_made_while_an_outcome_is_on_its_way_to_the_log() -> None:
    world = World()
    log = asyncio.Event()
    async with attempts(world, concurrency=1, recorded=log.wait) as (sending, dispatcher):
        for number in (1, 2, 3):
            sending.dispatch(job(number, after(1)))
        await world.clock.reach(after(1))
        assert len(world.calls) == 3
        assert (dispatcher.under_way(), sending.unfinished()) == (0, 3)
        log.set()
        await world.clock.settle()
        assert sending.unfinished() == 0


async def test_calls_wait_for_the_log_when_too_many_outcomes_are_on_their_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("application.scheduler.attempts.MAX_UNRECORDED", 2)
    world = World()
    log = asyncio.Event()
    async with attempts(world, concurrency=1, recorded=log.wait) as (sending, _):
        for number in range(1, 6):
            sending.dispatch(job(number, after(1)))
        await world.clock.reach(after(1))
        assert len(world.calls) == 3
        log.set()
        await world.clock.settle()
        assert len(world.calls) == 5
        assert sending.unfinished() == 0


async def test_a_lease_that_grew_short_in_the_queue_is_renewed_before_the_call_is_sent() -> None:
    world = World()
    world.caller.takes = LEASE
    busy = await world.create(at=NOON, url="http://target/busy")
    queued = await world.create(at=after(1), url="http://target/queued")
    async with world.scheduler(concurrency=1):
        await world.clock.reach(after(130))
    assert [(call.url, call.at, call.number) for call in world.calls] == [
        ("http://target/busy", NOON, 1),
        ("http://target/queued", after(60), 1),
    ]
    [renewed] = world.facts(AttemptStarted)
    assert renewed.lease_until == after(59 + 10 + 60)
    assert world.names(busy)[-1] == world.names(queued)[-1] == "TaskCompleted"


async def test_a_call_is_not_sent_when_another_node_has_taken_it_over_in_the_queue() -> None:
    world = World()
    world.caller.takes = LEASE
    await world.create(at=NOON, url="http://target/busy")
    queued = await world.create(at=after(1), url="http://target/queued")
    run = execution_id(queued, after(1), "scheduled")
    async with world.scheduler(concurrency=1):
        await world.clock.reach(after(30))
        world.nodes.alive.add("node-2")
        lost = ExecutionTakenOver(
            at=after(30),
            task_id=queued,
            task_version=1,
            number=2,
            node="node-2",
            lost_by="node-1",
            lease_until=after(600),
        )
        await world.append(run, lost)
        await world.clock.reach(after(130))
    assert [call.url for call in world.calls] == ["http://target/busy"]
    assert world.names(run) == ["ExecutionStarted", "ExecutionTakenOver"]


async def test_a_lease_that_ran_out_while_it_was_renewed_is_renewed_again() -> None:
    world = World()
    world.caller.takes = LEASE
    await world.create(at=NOON, url="http://target/busy")
    await world.create(at=after(1), url="http://target/queued")
    async with world.scheduler(concurrency=1):
        await world.clock.reach(after(50))

        async def wait() -> None:
            await world.clock.sleep_until(after(200))

        world.log.meanwhile[AttemptStarted] = wait
        await world.clock.reach(after(300))
    assert [call.at for call in world.calls] == [NOON, after(200)]
    assert [fact.lease_until for fact in world.facts(AttemptStarted)] == [after(129), after(270)]


def test_a_short_lease_setting_covers_a_call_that_starts_at_once() -> None:
    node = SchedulerNode(name="node-1", margin=timedelta(seconds=1))
    fact = ExecutionStarted(
        at=NOON,
        occurrence=occurrence(),
        node="node-1",
        lease_until=NOON + timedelta(seconds=10) + node.margin,
        next_run_at=None,
    )
    fresh = Job(executions.start(RUN, fact), definition(), 1, NOON)
    assert node.covered(fresh, NOON)
    assert not node.covered(fresh, after(0.5))


async def test_an_outcome_that_the_database_refuses_does_not_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    lost = await world.create(at=after(5))
    world.log.poison = ExecutionSucceeded
    async with world.scheduler(concurrency=1):
        await world.clock.reach(after(6))
        world.log.poison = None
        await world.create(at=after(8))
        await world.clock.reach(after(9))
        assert [call.at for call in world.calls] == [after(5), after(8)]
        await world.clock.reach(after(80))  # the lease is over
    assert [call.number for call in world.calls] == [1, 1, 2]
    assert world.names(lost)[-1] == "TaskCompleted"
    run = execution_id(lost, after(5), "scheduled")
    assert f"recording execution {run}" in caplog.text


async def test_calls_wait_for_the_log_until_few_enough_outcomes_are_on_their_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("application.scheduler.attempts.MAX_UNRECORDED", 2)
    world = World()
    waiting: list[asyncio.Event] = []

    async def recorded() -> None:
        waiting.append(asyncio.Event())
        await waiting[-1].wait()

    async with attempts(world, concurrency=3, recorded=recorded) as (sending, _):
        for number in range(20):
            sending.dispatch(job(number, after(min(number, 6))))
        seen = []
        await world.clock.reach(after(10))
        for each in waiting[:4]:
            seen.append(len(world.calls))
            each.set()
            await world.clock.settle()
    # Two may be on their way, and each of three more keeps the room of a call.
    assert seen == [5, 5, 5, 8]


async def test_of_those_whose_instant_has_come_the_first_priority_goes_first_then_the_earliest() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=1)
    async with attempts(world, concurrency=1) as (sending, _):
        sending.dispatch(job(1, NOON))
        await world.clock.settle()
        sending.dispatch(job(2, after(0.2)))
        sending.dispatch(job(3, after(0.1)))
        sending.dispatch(job(4, after(0.3), priority=1))
        sending.dispatch(job(5, after(1.5), priority=1))
        await world.clock.reach(after(10))
    assert [int(call.url.rsplit("/")[-1]) for call in world.calls] == [1, 4, 5, 3, 2]


@pytest.mark.parametrize("without", [errno.EMFILE, errno.EADDRNOTAVAIL])
@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
async def test_no_attempt_is_used_up_by_a_machine_without_room(
    without: int, delivery: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    world.caller.takes, world.caller.room, world.caller.without = timedelta(seconds=2), 30, without
    for _ in range(100):
        await world.create(at=after(10), url="http://target/", delivery=delivery)
    async with world.scheduler(concurrency=200, per_host=100):
        await world.clock.reach(after(25))
        world.caller.room = None
        await world.clock.reach(after(80))
    assert len(world.facts(ExecutionSucceeded)) == len(world.calls) == 100
    assert (world.facts(ExecutionFailed), world.facts(AttemptFailed)) == ([], [])
    assert world.calls[-1].at < after(20), "30 at a time are made, as there is room for them"
    assert world.caller.refused < 200, "few tries are in vain"
    assert world.observed.errors == [NO_ROOM] * world.caller.refused
    assert [each.levelname for each in caplog.records] == ["WARNING"]


async def test_what_is_cancelled_while_it_waits_for_room_on_the_machine_is_not_sent() -> None:
    world = World()
    world.caller.room = 0
    task = await world.create(at=after(10))
    async with world.scheduler():
        await world.clock.reach(after(12))
        await world.cancel(task)
        await world.clock.reach(after(14))
        world.caller.room = None
        await world.clock.reach(after(30))
    assert world.calls == []
    assert 2 < world.caller.refused < 20


async def test_what_is_stopped_in_the_moment_in_which_there_is_no_room_leaves_its_slot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    stopped = job(1, after(1))
    tries: list[Call] = []

    async def call(made: Call) -> Attempt:
        tries.append(made)
        stopped.stop()
        raise ResourcesExhausted(errno.EMFILE)

    monkeypatch.setattr(world.caller, "call", call)
    async with attempts(world, concurrency=1) as (sending, dispatcher):
        sending.dispatch(stopped)
        await world.clock.reach(after(3))
        assert (dispatcher.under_way(), sending.unfinished(), len(tries)) == (0, 0, 1)

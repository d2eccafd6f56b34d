"""Sending what was claimed: at its instant, under a lease that covers it, so many at a time."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from application.scheduler.attempts import MANY, Attempts
from application.scheduler.lineup import Lineup
from application.scheduler.node import Node
from application.scheduler.reclaim import Reclaim
from application.scheduler.work import Job
from domain import execution as executions
from domain.definition import Overlap
from domain.facts import AttemptStarted, ExecutionStarted, ExecutionSucceeded, ExecutionTakenOver
from domain.identity import execution_id
from tests.support.given import NOON, RUN, after, definition, occurrence, started
from tests.support.scheduler import LEASE, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from datetime import datetime

    from domain.attempt import Attempt
    from domain.facts import ExecutionFailed


def job(number: int, send_at: datetime, priority: int = 5) -> Job:
    claimed = executions.start(UUID(int=number), started(send_at))
    return Job(claimed, definition(url=f"http://target/{number}", priority=priority), 1, send_at)


async def no_end(job: Job, end: ExecutionFailed) -> None:
    raise AssertionError("nothing is given up here")


@contextlib.asynccontextmanager
async def attempts(
    world: World,
    *,
    concurrency: int = 2,
    recorded: Callable[[], Awaitable[object]] | None = None,
    gather: timedelta = timedelta(),
    short_gather: timedelta = timedelta(),
    settled: list[int] | None = None,
    given: asyncio.Event | None = None,
) -> AsyncIterator[tuple[Attempts, Lineup]]:
    """Attempts and their lineup; nobody records the outcomes, but each waits until it is `recorded`.

    `settled` gets how many would have been recorded together; the log gets nothing before `given`.
    """

    async def settle(brought: Sequence[tuple[Job, Attempt]], handed: Callable[[], None]) -> None:
        if settled is not None:
            settled.append(len(brought))
        if given is not None:
            await given.wait()
        handed()
        await (asyncio.sleep(0) if recorded is None else recorded())

    context = replace(world.context(), gather=gather, short_gather=short_gather)
    lineup = Lineup(world.clock, concurrency)
    sending = Attempts(context, lineup, Reclaim(context), settle, no_end, concurrency)
    running = asyncio.create_task(sending.run())
    await world.clock.settle()
    yield sending, lineup
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_each_call_is_sent_at_its_instant_whatever_the_order_of_the_claims() -> None:
    world = World()
    async with attempts(world) as (_, lineup):
        for number in (3, 1, 2):
            lineup.add(job(number, after(number)))
        await world.clock.reach(after(10))
    assert [(call.url, call.at) for call in world.calls] == [
        ("http://target/1", after(1)),
        ("http://target/2", after(2)),
        ("http://target/3", after(3)),
    ]


async def test_what_is_late_is_sent_at_once() -> None:
    world = World()
    async with attempts(world) as (_, lineup):
        lineup.add(job(1, after(-5)))
        await world.clock.settle()
    assert [call.at for call in world.calls] == [NOON]


async def test_a_stop_is_heard_in_the_very_turn_in_which_an_earlier_claim_comes() -> None:
    world = World()
    async with asyncio.timeout(10):
        async with attempts(world) as (_, lineup):
            lineup.add(job(1, after(20)))
            await world.clock.reach(after(1))
            lineup.add(job(2, after(10)))
    assert world.calls == []


async def test_an_earlier_claim_does_not_wait_for_a_later_one() -> None:
    world = World()
    async with attempts(world) as (_, lineup):
        lineup.add(job(1, after(9)))
        await world.clock.reach(after(1))
        lineup.add(job(2, after(2)))
        await world.clock.reach(after(3))
    assert [call.url for call in world.calls] == ["http://target/2"]


async def test_no_more_calls_are_in_flight_than_allowed() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=1)
    async with attempts(world, concurrency=2) as (sending, lineup):
        for number in range(1, 6):
            lineup.add(job(number, after(1)))
        assert lineup.unsent() == 5
        await world.clock.reach(after(1))
        assert (lineup.unsent(), lineup.under_way(), sending.unfinished()) == (3, 2, 5)
        await world.clock.reach(after(4))
        assert sending.unfinished() == 0
    assert [call.at for call in world.calls] == [after(1), after(1), after(2), after(2), after(3)]


async def test_a_worker_makes_the_next_call_while_an_outcome_is_on_its_way_to_the_log() -> None:
    world = World()
    log = asyncio.Event()
    async with attempts(world, concurrency=1, recorded=log.wait) as (sending, lineup):
        for number in (1, 2, 3):
            lineup.add(job(number, after(1)))
        await world.clock.reach(after(1))
        assert len(world.calls) == 3
        assert (lineup.under_way(), sending.unfinished()) == (0, 3)
        log.set()
        await world.clock.settle()
        assert sending.unfinished() == 0


async def test_calls_wait_for_the_log_when_too_many_outcomes_are_on_their_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("application.scheduler.attempts.MAX_UNRECORDED", 2)
    world = World()
    log = asyncio.Event()
    async with attempts(world, concurrency=1, recorded=log.wait) as (sending, lineup):
        for number in range(1, 6):
            lineup.add(job(number, after(1)))
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
    node = Node(name="node-1", margin=timedelta(seconds=1))
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


async def test_outcomes_are_recorded_together_once_they_are_gathered_or_many() -> None:
    world = World()
    settled: list[int] = []
    gather = timedelta(seconds=5)
    async with attempts(world, concurrency=MANY + 10, gather=gather, settled=settled) as (sending, lineup):
        for number in range(2):
            lineup.add(job(number, after(1)))
        await world.clock.reach(after(5))
        assert settled == []
        await world.clock.reach(after(7))
        assert settled == [2]
        for number in range(MANY):
            lineup.add(job(number, after(10)))
        await world.clock.reach(after(11))
        assert settled == [2, MANY]
        lineup.add(job(1, after(12)))
        await world.clock.reach(after(13))
        await sending.flush()
        assert settled == [2, MANY, 1]
        await sending.flush()
        await world.clock.reach(after(20))
        assert settled == [2, MANY, 1]


@pytest.mark.parametrize(
    ("kind", "policies"),
    [
        ("manual", {}),
        ("backfill", {}),
        ("scheduled", {"delivery": "at_most_once"}),
        ("scheduled", {"overlap": Overlap(mode="skip")}),
        ("scheduled", {"overlap": Overlap(mode="queue_all")}),
    ],
)
async def test_an_outcome_that_is_waited_for_is_recorded_soon_and_others_with_it(
    kind: str, policies: dict[str, Any]
) -> None:
    world = World()
    settled: list[int] = []
    gather, short = timedelta(seconds=5), timedelta(seconds=1)
    async with attempts(world, concurrency=9, gather=gather, short_gather=short, settled=settled) as (
        _,
        lineup,
    ):
        claim = msgspec.structs.replace(started(after(2)), occurrence=occurrence(after(2), kind=kind))
        lineup.add(job(1, after(1)))
        for number in (2, 3):
            run = executions.start(UUID(int=number), claim)
            lineup.add(Job(run, definition(**policies), 1, after(number)))
        lineup.add(job(4, after(2.5)))
        await world.clock.reach(after(2.9))
        assert settled == []
        await world.clock.reach(after(3))
        assert settled == [3]
        await world.clock.reach(after(4))
        assert settled == [3, 1]


async def test_nobody_waits_for_a_recording_that_was_cancelled_before_it_began() -> None:
    world = World()
    async with attempts(world, gather=timedelta(seconds=5)) as (sending, lineup):
        lineup.add(job(1, after(1)))
        await world.clock.reach(after(2))
        flushing = asyncio.create_task(sending.flush())  # in the very turn in which all ends
    async with asyncio.timeout(10):
        await flushing


async def test_nothing_is_recorded_any_more_once_all_has_ended() -> None:
    world = World()
    async with attempts(world, gather=timedelta(seconds=5)) as (sending, lineup):
        lineup.add(job(1, after(1)))
        await world.clock.reach(after(2))
    await sending.flush()
    assert sending.unfinished() == 1


async def test_who_flushes_waits_until_the_log_is_given_what_was_gathered() -> None:
    world = World()
    given = asyncio.Event()
    async with attempts(world, gather=timedelta(seconds=5), given=given) as (sending, lineup):
        lineup.add(job(1, after(1)))
        await world.clock.reach(after(2))
        flushing = asyncio.create_task(sending.flush())
        await world.clock.settle()
        assert not flushing.done()
        given.set()
        await world.clock.settle()
        assert flushing.done()


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


async def test_a_caller_that_breaks_its_promise_costs_one_attempt(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.caller.error = RuntimeError("a bug")
    await world.create(at=after(5))
    async with world.scheduler(concurrency=1):
        await world.clock.reach(after(6))
        world.caller.error = None
        await world.clock.reach(after(80))
    assert [call.number for call in world.calls] == [1, 2]
    assert "a bug" in caplog.text


async def test_of_those_whose_instant_has_come_the_first_priority_goes_first_then_the_earliest() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=1)
    async with attempts(world, concurrency=1) as (_, lineup):
        lineup.add(job(1, NOON))
        await world.clock.settle()
        lineup.add(job(2, after(0.2)))
        lineup.add(job(3, after(0.1)))
        lineup.add(job(4, after(0.3), priority=1))
        lineup.add(job(5, after(1.5), priority=1))
        await world.clock.reach(after(10))
    assert [int(call.url.rsplit("/")[-1]) for call in world.calls] == [1, 4, 5, 3, 2]

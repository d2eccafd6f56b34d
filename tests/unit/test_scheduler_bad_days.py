"""The whole scheduler when the database goes away, and when it is told to stop."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest

from application.scheduler import claimer
from application.scheduler.jobs import RetryQueue
from domain.facts import (
    AttemptStarted,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
)
from tests.support.fake_log import FakeFollower
from tests.support.given import NOON, after
from tests.support.scheduler import World


async def test_an_outage_at_the_claim_loses_nothing_and_repeats_nothing() -> None:
    world = World()
    await world.create(at=after(5))
    async with world.scheduler():
        await world.clock.reach(after(4))
        with world.log.away():
            await world.clock.reach(after(30))
            assert world.calls == []
        await world.clock.reach(after(60))
    assert len(world.calls) == 1
    assert after(30) <= world.calls[0].at <= after(31)


async def test_an_outage_during_the_call_loses_no_outcome() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=5)
    task = await world.create(at=after(5))
    async with world.scheduler("node-1"), world.scheduler("node-2", follower=FakeFollower(world.log)):
        await world.clock.reach(after(6))
        with world.outage():
            await world.clock.reach(after(400))  # far longer than the lease
            assert world.facts(ExecutionSucceeded) == []
        await world.clock.reach(after(460))
    assert len(world.calls) == 1
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


@pytest.mark.parametrize("held", [True, False], ids=["found before the follower tells", "told first"])
async def test_a_claim_whose_answer_was_lost_is_recognised_and_sent_once(held: bool) -> None:
    world = World()
    await world.create(cron="* * * * *")
    async with world.scheduler():
        with contextlib.ExitStack() as stack:
            if held:
                stack.enter_context(world.follower.held())
            with world.log.losing_answers():
                await world.clock.reach(after(59.9))
                assert len(world.facts(ExecutionStarted)) == 1
            await world.clock.reach(after(62))
        await world.clock.reach(after(121))
    assert [call.number for call in world.calls] == [1, 1]
    assert sum(refused for _, refused in world.observed.claims) == 0
    assert world.calls[0].at < after(61)
    assert world.calls[1].at == after(120)
    assert world.facts(ExecutionTakenOver) == []


async def test_a_scheduler_beats_before_it_claims() -> None:
    world = World()
    await world.create(at=NOON)
    world.nodes.away = True
    async with world.scheduler():
        await world.clock.reach(after(3))
        assert world.facts(ExecutionStarted) == []
        world.nodes.away = False
        await world.clock.reach(after(5))
    assert len(world.calls) == 1


async def test_an_error_in_claiming_is_counted_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    await world.create(at=after(5))

    async def broken(*_: object) -> None:
        raise RuntimeError("broken")

    async with world.scheduler():
        with monkeypatch.context() as patched:
            patched.setattr(claimer.Claimer, "_claim_made", broken)
            await world.clock.reach(after(10))
        assert world.calls == []
        assert "claiming what is due" in world.observed.errors
        await world.clock.reach(after(30))
    assert len(world.calls) == 1


async def test_an_error_of_any_other_part_ends_the_scheduler_and_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()

    async def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(RetryQueue, "wait", broken)
    with pytest.raises(RuntimeError, match="broken"):
        async with world.scheduler() as running:
            await world.clock.until(running.done)
    assert world.nodes.known == {}


async def test_a_stopping_scheduler_lets_its_calls_finish_and_records_them() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=5)
    task = await world.create(at=after(5))
    await world.create(at=after(8))
    async with world.scheduler() as running:
        await world.clock.reach(after(6))
        running.cancel()
        await world.clock.until(running.done)
    assert [(call.at, call.over) for call in world.calls] == [(after(5), True)]
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]
    assert after(10) <= world.clock.now() < after(10.1)
    assert world.nodes.known == {}


async def test_what_outlasts_the_grace_is_left_to_be_taken_over() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=9)
    await world.create(at=after(5))
    async with world.scheduler(grace=timedelta(seconds=3)) as running:
        await world.clock.reach(after(6))
        running.cancel()
        await world.clock.until(running.done)
    assert world.clock.now() == after(9)
    assert [call.over for call in world.calls] == [False]
    async with world.scheduler("node-2"):
        await world.clock.reach(after(30))
    assert [call.number for call in world.calls] == [1, 2]
    assert [fact.lost_by for fact in world.facts(ExecutionTakenOver)] == ["node-1"]


@pytest.mark.parametrize("kind", [ExecutionStarted, AttemptStarted, ExecutionTakenOver])
async def test_a_claim_on_its_way_when_the_scheduler_stops_is_still_sent(
    kind: type[ExecutionStarted],
) -> None:
    world = World()
    left = await world.create(at=NOON)
    await world.claim(left, NOON, node="dead-1")
    world.nodes.known["dead-1"] = NOON
    world.caller.answers(503)
    await world.create(at=after(4))
    async with world.scheduler() as running:

        async def stop() -> None:
            running.cancel()
            await world.clock.sleep_until(world.clock.now() + timedelta(milliseconds=1))

        world.log.meanwhile[kind] = stop
        await world.clock.until(running.done)
    assert all(call.over for call in world.calls)
    claims = [
        *world.facts(ExecutionStarted)[1:],
        *world.facts(AttemptStarted),
        *world.facts(ExecutionTakenOver),
    ]
    assert len(world.calls) == len(claims)
    assert isinstance(claims[-1], kind)


async def test_an_outage_does_not_keep_a_scheduler_from_stopping() -> None:
    world = World()
    world.caller.answers(503)
    await world.create(at=after(4))
    await world.create(at=after(5.2))
    async with world.scheduler(grace=timedelta(seconds=3)) as running:
        await world.clock.reach(after(4.5))
        with world.outage():
            await world.clock.reach(after(6))  # a retry and a first claim are on their way
            running.cancel()
            await world.clock.until(running.done)
            assert world.clock.now() <= after(9)
    assert len(world.calls) == 1

"""What is claimed early, far ahead of its instant, and what that does to the others."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from application.scheduler import claimer
from application.scheduler.dispatcher import Dispatcher, target_host
from application.scheduler.jobs import Job
from domain import execution as executions
from domain.definition import Overlap
from domain.facts import AttemptStarted, ExecutionStarted
from domain.identity import execution_id
from tests.support.given import RUN, after, definition, every, started
from tests.support.scheduler import World
from tests.support.slow_log import claimed_ahead, slow

if TYPE_CHECKING:
    from collections.abc import Callable

    from application.scheduler.claims import ClaimRequest


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for few claims, and for no more than ten early ones."""
    monkeypatch.setattr("application.scheduler.claimer.MAX_READY", 5)
    monkeypatch.setattr("application.scheduler.requests.MAX_READY", 5)
    monkeypatch.setattr("application.scheduler.claimer.MAX_EARLY", 10)


def few_may_wait_for_a_host(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr("application.scheduler.dispatcher.MOST_WAITING", most)


async def a_slow_log_and_a_crowd(world: World) -> None:
    """What is due at 30 is claimed 675 ms before; to be called within a scheduler."""
    await world.create(at=after(10))
    for _ in range(20):
        await world.create(at=after(30))
    slow(world, 0.5)


def calls_at(world: World, url: str) -> list[float]:
    return [round((call.at - after(0)).total_seconds(), 3) for call in world.calls if call.url == url]


@pytest.mark.usefixtures("crowded")
async def test_no_more_is_claimed_early_than_there_is_room_for() -> None:
    world = World()
    async with world.scheduler():
        await a_slow_log_and_a_crowd(world)
        await world.clock.reach(after(29.88))
        assert claimed_ahead(world)[1:] == [0.675] * 10
        assert max(won for won, _ in world.observed.claims) == 5, "no more at a time than of what is sooner"
        await world.clock.reach(after(31))
    assert len(world.calls) == 21


@pytest.mark.usefixtures("crowded")
async def test_a_crowd_that_is_claimed_early_makes_nothing_late_that_comes_before_it() -> None:
    world = World()
    await world.create(at=after(29.7), delivery="at_most_once", url="http://once.test/")
    by_hand = await world.create(at=after(1_000), url="http://by-hand.test/")
    async with world.scheduler():
        await a_slow_log_and_a_crowd(world)
        await world.clock.reach(after(29.4))
        await world.trigger(by_hand)
        await world.clock.reach(after(29.5))
        await world.create(at=after(29.7), url="http://new.test/")
        await world.create(at=after(29.8), url="http://new-once.test/", delivery="at_most_once")
        await world.clock.reach(after(35))
    assert calls_at(world, "http://once.test/") == [29.7]
    assert calls_at(world, "http://by-hand.test/") == [29.4]
    assert calls_at(world, "http://new.test/") == [29.7]
    assert calls_at(world, "http://new-once.test/") == [29.8]
    [once] = [fact for fact in world.facts(ExecutionStarted) if fact.occurrence.due_at == after(29.8)]
    assert after(29.8) - once.at <= timedelta(milliseconds=35), "however long the lead"


async def test_nor_at_its_own_host(monkeypatch: pytest.MonkeyPatch) -> None:
    few_may_wait_for_a_host(monkeypatch, 4)
    world = World()
    await world.create(at=after(29.7), delivery="at_most_once")
    async with world.scheduler(per_host=2):
        await a_slow_log_and_a_crowd(world)
        await world.clock.reach(after(29.6))
        assert claimed_ahead(world)[1:] == [0.675] * 8, "twice as many as may wait there"
        await world.clock.reach(after(35))
    assert world.calls[1].at == after(29.7)
    assert len(world.calls) == 22


async def test_what_was_not_claimed_early_for_want_of_room_is_claimed_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("application.scheduler.claimer.MAX_EARLY", 2)
    world = World()
    async with world.scheduler(concurrency=30):
        await a_slow_log_and_a_crowd(world)
        await world.clock.reach(after(31))
    assert claimed_ahead(world)[1:3] == [0.675] * 2
    assert all(0.075 <= ahead <= 0.1 for ahead in claimed_ahead(world)[3:])
    assert {call.at for call in world.calls[1:]} == {after(30)}


async def test_a_run_that_ends_within_the_lead_is_in_nobodys_way() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=0.6)
    await world.create(at=after(5))
    async with world.scheduler():
        slow(world, 0.5)
        await world.clock.reach(after(6))
        trigger = every(1, start_at=after(10), max_runs=3)
        await world.create(trigger=trigger, overlap=Overlap(mode="skip"))
        await world.clock.reach(after(20))
    assert claimed_ahead(world)[1:] == [0.675, 0.075, 0.075]
    assert [call.at for call in world.calls[1:]] == [after(10), after(11), after(12)]


async def test_one_crowd_after_the_other_is_claimed_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("application.scheduler.claimer.MAX_EARLY", 20)
    few_may_wait_for_a_host(monkeypatch, 10)
    world = World()
    async with world.scheduler(concurrency=40, per_host=10):
        await a_slow_log_and_a_crowd(world)
        await world.clock.reach(after(31))
        for second in (40, 50):
            for _ in range(20):
                await world.create(at=after(second))
        await world.clock.reach(after(51))
    assert claimed_ahead(world)[1:] == [0.675] * 60
    assert {call.at for call in world.calls[1:]} == {after(30), after(40), after(50)}


async def test_what_has_no_early_room_at_its_host_is_claimed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    few_may_wait_for_a_host(monkeypatch, 8)
    world = World()
    async with world.scheduler(concurrency=30, per_host=8):
        await a_slow_log_and_a_crowd(world)
        await world.clock.reach(after(31))
        for _ in range(20):
            await world.create(at=after(40))
        await world.clock.reach(after(41))
    again = [0.675] * 16 + [0.075] * 4
    assert claimed_ahead(world)[1:] == again + again


async def test_nothing_is_claimed_early_before_what_waits_unclaimed_at_its_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few_may_wait_for_a_host(monkeypatch, 4)
    world = World()
    async with world.scheduler(per_host=1):
        await a_slow_log_and_a_crowd(world)
        await world.clock.reach(after(28))
        world.caller.takes = timedelta(seconds=5)
        later = await world.create(at=after(31))
        await world.clock.reach(after(30.9))
        assert world.names(execution_id(later, after(31), "scheduled")) == []
        await world.clock.reach(after(200))
    assert len(world.calls) == 22


async def test_an_update_within_the_lead_makes_nothing_late() -> None:
    world = World()
    trigger = every(30, start_at=after(30))
    task = await world.create(trigger=trigger)
    await world.create(at=after(10))
    async with world.scheduler():
        slow(world, 0.5)
        await world.clock.reach(after(29.5))
        await world.update(task, trigger=trigger, url="http://new.test/")
        await world.clock.reach(after(29.9))
        assert len(world.facts(AttemptStarted)) == 1, "claimed anew at once"
        await world.clock.reach(after(31))
    assert calls_at(world, "http://new.test/") == [30]


@pytest.mark.usefixtures("crowded")
async def test_a_crowd_whose_instant_has_come_keeps_nothing_that_is_run_by_hand_from_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("application.scheduler.requests.MAX_READY", 15)
    world = World()
    world.caller.takes = timedelta(seconds=0.1)
    by_hand = await world.create(at=after(1_000), url="http://by-hand.test/", priority=1)
    async with world.scheduler(concurrency=1):
        await a_slow_log_and_a_crowd(world)
        await world.clock.reach(after(30.05))
        await world.trigger(by_hand)
        await world.clock.reach(after(40))
    assert calls_at(world, "http://by-hand.test/") == [30.1]


async def test_who_is_early_takes_room_once_its_instant_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    few_may_wait_for_a_host(monkeypatch, 4)
    world = World()
    dispatcher = Dispatcher(world.clock, per_host=1, in_all=1)
    site = target_host(definition().action.url)
    room, early_room = dispatcher.room(site), dispatcher.early_room(site)

    def taken() -> tuple[int, int, int, int]:
        return (
            dispatcher.early(),
            dispatcher.waiting() + dispatcher.held_back(),
            room - dispatcher.room(site),
            early_room - dispatcher.early_room(site),
        )

    claimed = executions.start(RUN, started(after(1)))
    for _ in range(4):
        dispatcher.add(Job(claimed, definition(), 1, after(1)))
    assert taken() == (4, 0, 0, 4)
    assert dispatcher.has_drained(site)
    await world.clock.reach(after(2))
    assert taken() == (0, 4, 4, 0)
    assert not dispatcher.has_drained(site)


@pytest.mark.parametrize("which", [min, max], ids=["the first", "the last"])
async def test_a_task_that_changes_while_claims_are_taken_in_is_claimed_anew_before_its_instant(
    which: Callable[[list[int]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    tasks = [await world.create(at=after(10)) for _ in range(3 * claimer.SLICE)]
    changed = which([task.int for task in tasks])
    changing: list[asyncio.Task[object]] = []
    begin = claimer.Claimer._begin

    def begin_and_change(self: claimer.Claimer, request: ClaimRequest) -> None:
        if not changing:
            change = world.update(UUID(int=changed), at=after(10), url="http://new.test/")
            changing.append(asyncio.ensure_future(change))
        begin(self, request)

    monkeypatch.setattr(claimer.Claimer, "_begin", begin_and_change)
    async with world.scheduler(concurrency=50):
        await world.clock.reach(after(9.9))
        assert len(world.facts(AttemptStarted)) == 1
        await world.clock.reach(after(11))
    assert calls_at(world, "http://new.test/") == [10]

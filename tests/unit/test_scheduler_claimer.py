"""Claiming what is due: how much at a time, and what must not stop the others."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from application.scheduler import claimer
from application.scheduler import claims as appender
from application.scheduler import timing as waiting
from application.scheduler.claims import claim_request
from application.scheduler.context import SchedulerNode
from application.scheduler.index import Entry
from domain.facts import (
    ExecutionSkipped,
    ExecutionStarted,
)
from tests.support.given import after
from tests.support.scheduler import World

if TYPE_CHECKING:
    from datetime import datetime

    from domain.overlap import ConcurrencyState


async def test_very_many_missed_occurrences_are_recorded_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.claiming.MAX_SKIPPED", 7)
    monkeypatch.setattr(claimer, "MAX_FACTS", 10)
    world = World()
    for _ in range(3):
        await world.create(cron="* * * * *")
    await world.clock.reach(after(20 * 60))
    async with world.scheduler():
        await world.clock.settle()
        assert len(world.calls) == 3
    assert len(world.facts(ExecutionSkipped)) == 3 * 19
    assert max(won for won, _ in world.observed.claims) == 2  # 8 facts are not too many, 16 are


async def test_no_more_is_claimed_than_can_start_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("application.scheduler.dispatcher.MOST_WAITING", 5)
    monkeypatch.setattr(claimer, "MAX_EARLY", 3)
    world = World()
    world.caller.takes = timedelta(seconds=1)
    for _ in range(20):
        await world.create(at=after(1))
    async with world.scheduler(concurrency=2, per_host=2):
        await world.clock.reach(after(1.5))
        assert len(world.facts(ExecutionStarted)) <= 2 + 5 + 3
        await world.clock.reach(after(20))
    assert len({call.execution_id for call in world.calls}) == len(world.calls) == 20


async def test_what_is_cancelled_while_many_are_claimed_is_not_even_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    tasks = [await world.create(at=after(5 + number / 5_000)) for number in range(30)]
    cancelling: list[asyncio.Task[object]] = []

    def bid(
        entry: Entry, node: SchedulerNode, now: datetime, going: ConcurrencyState
    ) -> appender.ClaimRequest:
        if not cancelling:
            cancelling.append(asyncio.ensure_future(world.cancel(tasks[-1])))
        return claim_request(entry, node, now, going)

    monkeypatch.setattr(claimer, "claim_request", bid)
    monkeypatch.setattr(claimer, "SLICE", 1)
    async with world.scheduler(concurrency=30):
        await world.clock.reach(after(10))
    assert len(world.calls) == 29
    assert world.names(tasks[-1]) == ["TaskCreated", "TaskCancelled"]
    assert sum(refused for _, refused in world.observed.claims) == 0


async def test_a_task_that_cannot_be_claimed_here_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def bid(
        entry: Entry, node: SchedulerNode, now: datetime, going: ConcurrencyState
    ) -> appender.ClaimRequest:
        if entry.definition.name == "odd":
            raise KeyError("No time zone found with key Mars/Olympus")
        return claim_request(entry, node, now, going)

    monkeypatch.setattr(claimer, "claim_request", bid)
    world = World()
    odd = await world.create(at=after(5), name="odd")
    await world.create(at=after(5))
    async with world.scheduler():
        await world.clock.reach(after(10))
    assert len(world.calls) == 1
    assert f"task {odd} cannot be claimed by this node" in caplog.text


async def test_a_claim_that_the_database_refuses_stops_no_other_and_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    task = await world.create(at=after(5))
    world.log.poison = ExecutionStarted
    async with world.scheduler():
        await world.clock.reach(after(6))
        world.log.poison = None
        await world.create(at=after(8))
        await world.clock.reach(after(10))
    assert sorted(call.at for call in world.calls) == [after(7.425), after(8)]
    assert "claiming an occurrence of task" in world.observed.errors
    assert f"claiming an occurrence of task {task}" in caplog.text


async def test_a_task_that_this_release_cannot_read_does_not_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    task = await world.create(at=after(5))
    await world.create(at=after(5))
    async with world.scheduler():
        with world.follower.held():
            world.log.plant(task, 2, "task.renamed.v9", b"{}")
            await world.clock.reach(after(6))
        await world.clock.reach(after(60))
    assert len(world.calls) == 1
    assert "event 3 cannot be read" in caplog.text


async def test_an_outage_pauses_the_claiming() -> None:
    world = World()
    await world.create(at=after(5))
    async with world.scheduler():
        with world.log.away():
            await world.clock.reach(after(15))
        assert len(world.observed.claims) <= 10 / waiting.OUTAGE_PAUSE.total_seconds() + 2
        assert set(world.observed.claims) == {(0, 0)}


async def test_what_falls_due_within_a_quantum_is_claimed_together_whatever_else_happens_before() -> None:
    world = World()
    for milliseconds in (0, 4, 9):
        await world.create(at=after(5 + milliseconds / 1_000))
    async with world.scheduler():
        await world.clock.reach(after(4.57))
        await world.create(at=after(100))  # news, but no reason to claim a part of it already
        await world.clock.reach(after(4.574))
        assert world.observed.claims == []
        await world.clock.reach(after(5.1))
    assert world.observed.claims == [(3, 0)]

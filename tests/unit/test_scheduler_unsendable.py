"""What cannot be sent, or no more, holds up no other and keeps no room."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from application.scheduler.jobs import Jobs, LeaseRenewal
from domain.facts import ExecutionSucceeded
from tests.support.exchanging import TaskExchange
from tests.support.given import after
from tests.support.scheduler import World
from tests.support.sending import attempts, job

if TYPE_CHECKING:
    from application.ports import Call
    from application.scheduler.attempts import Attempts


def line_up_two(sending: Attempts) -> None:
    """The first has to be looked into before it is sent, for its task has changed."""
    first = job(1, after(1))
    first.superseded = True
    for one in (first, job(2, after(1))):
        sending.dispatch(one)


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


async def test_nothing_is_sent_any_more_when_all_ends() -> None:
    world = World()
    log = asyncio.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("application.scheduler.attempts.MAX_UNRECORDED", 2)
        async with attempts(world, concurrency=1, recorded=log.wait) as (sending, _):
            for number in range(5):
                sending.dispatch(job(number, after(1)))
            await world.clock.reach(after(2))
    await world.clock.settle()
    assert len(world.calls) == 3


async def test_what_is_looked_into_when_all_ends_leaves_its_room_to_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def endless(*_: object, **__: object) -> bool:
        return await asyncio.Event().wait()

    monkeypatch.setattr(LeaseRenewal, "__call__", endless)
    world = World()
    async with attempts(world, concurrency=1) as (sending, _):
        line_up_two(sending)
        await world.clock.reach(after(2))
    await world.clock.settle()
    assert world.calls == []


async def test_what_cannot_be_looked_into_is_let_go_and_holds_up_no_other(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(LeaseRenewal, "__call__", broken)
    world = World()
    async with attempts(world, concurrency=1) as (sending, dispatcher):
        line_up_two(sending)
        await world.clock.reach(after(2))
        assert (dispatcher.under_way(), sending.unfinished()) == (0, 0)
    assert [call.url for call in world.calls] == ["http://target/2"]
    assert f"an attempt of execution {UUID(int=1)}" in caplog.text


async def test_many_calls_that_cannot_begin_are_got_over(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.caller.takes = timedelta(seconds=1)
    exchange = world.caller.exchange

    def broken(call: Call) -> TaskExchange:
        made = exchange(call)
        monkeypatch.setattr(made, "begin", lambda over: over.no_such_thing)
        return made

    async with attempts(world, concurrency=1) as (sending, dispatcher):
        sending.dispatch(job(0, after(1)))
        monkeypatch.setattr(world.caller, "exchange", broken)
        for number in range(1, 1001):
            sending.dispatch(job(number, after(1.1)))
        monkeypatch.setattr(world.caller, "exchange", exchange)
        sending.dispatch(job(1001, after(1.2)))
        await world.clock.reach(after(5))
        assert (dispatcher.under_way(), dispatcher.unsent(), len(world.calls)) == (0, 0, 2)


async def test_a_caller_that_cannot_begin_a_call_keeps_no_room_and_holds_up_no_other(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    exchange = world.caller.exchange

    def broken(call: Call) -> TaskExchange:
        made = exchange(call)
        if call.action.url == "http://target/1":
            monkeypatch.setattr(made, "begin", lambda over: over.no_such_thing)
        return made

    done: list[str] = []
    monkeypatch.setattr(Jobs, "done", lambda _, job: done.append(job.definition.action.url))
    monkeypatch.setattr(world.caller, "exchange", broken)
    async with attempts(world, concurrency=1) as (sending, dispatcher):
        for number in (1, 2):
            sending.dispatch(job(number, after(number)))
        await world.clock.reach(after(5))
        assert (dispatcher.under_way(), sending.unfinished()) == (0, 0)
    assert [call.url for call in world.calls] == ["http://target/2"]
    assert done == ["http://target/1"]
    assert "no_such_thing" in caplog.text


async def test_what_is_under_way_when_the_grace_is_over_is_broken_off() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=60)
    await world.create(at=after(5))
    before = asyncio.all_tasks()
    async with world.scheduler(grace=timedelta(seconds=1)):
        await world.clock.reach(after(6))
    await world.clock.settle()
    assert [(call.at, call.over) for call in world.calls] == [(after(5), False)]
    assert asyncio.all_tasks() <= before
    assert world.facts(ExecutionSucceeded) == []


async def test_what_is_stopped_while_it_waits_for_its_instant_is_not_sent() -> None:
    world = World()
    async with attempts(world) as (sending, dispatcher):
        waiting = job(1, after(5))
        sending.dispatch(waiting)
        await world.clock.reach(after(1))
        waiting.stop()
        await world.clock.reach(after(5))
        await world.clock.settle()
        assert (world.calls, dispatcher.under_way(), sending.unfinished()) == ([], 0, 0)


async def test_what_its_lease_does_not_cover_any_more_is_not_sent_unseen() -> None:
    world = World()
    async with attempts(world) as (sending, dispatcher):
        lapsed = job(1, after(1))
        lapsed.send_at = after(1_000)
        sending.dispatch(lapsed)
        await world.clock.reach(after(1_000))
        await world.clock.settle()
        assert (world.calls, dispatcher.under_way(), sending.unfinished()) == ([], 0, 0)

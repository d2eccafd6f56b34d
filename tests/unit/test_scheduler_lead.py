"""How far ahead claims are made: as far as the slow moments of the log ask for."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from application.scheduler import lead
from tests.support.given import after
from tests.support.scheduler import World
from tests.support.slow_log import claimed_ahead, slow

if TYPE_CHECKING:
    from datetime import datetime

    from application.ports import Pulse


async def test_a_quick_log_is_asked_shortly_before_the_instant() -> None:
    world = World()
    await world.create(at=after(10))
    async with world.scheduler():
        await world.clock.reach(after(11))
    assert claimed_ahead(world) == [0.075]
    assert world.observed.leads[-1] == 0.1


@pytest.mark.parametrize("answers", [True, False], ids=["answers late", "does not answer"])
async def test_what_comes_after_a_slow_moment_of_the_log_is_claimed_further_ahead(answers: bool) -> None:
    world = World()
    for second in (10, 20):
        await world.create(at=after(second))
    async with world.scheduler():
        slow(world, 0.4)
        with nullcontext() if answers else world.log.losing_answers():
            await world.clock.reach(after(11))
        slow(world, 0.5)
        await world.clock.reach(after(21))
    assert claimed_ahead(world) == [0.075, 0.575]
    assert world.calls[0].at > after(10)
    assert world.calls[1].at == after(20), "the next slow moment, a longer one, made nothing late"


async def test_a_slow_heartbeat_tells_of_the_log_before_anything_is_claimed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    await world.create(at=after(10))
    beat = world.nodes.beat

    async def beat_slowly(node: str, pulse: Pulse | None = None) -> datetime:
        await world.clock.pause(timedelta(seconds=0.3))
        return await beat(node, pulse)

    async with world.scheduler():
        await world.clock.reach(after(5))
        monkeypatch.setattr(world.nodes, "beat", beat_slowly)
        await world.clock.reach(after(11))
    assert claimed_ahead(world) == [0.425]


async def test_nothing_is_claimed_further_ahead_than_three_quarters_of_a_second() -> None:
    world = World()
    for second in (10, 20):
        await world.create(at=after(second))
    async with world.scheduler():
        slow(world, 3)
        await world.clock.reach(after(21))
        assert world.observed.leads[-1] == 0.75
    assert claimed_ahead(world) == [0.075, 0.725]


async def test_a_slow_moment_counts_for_five_minutes_and_not_for_more_than_ten() -> None:
    world = World()
    for second in (10, 309, 602, 1_000):
        await world.create(at=after(second))
    async with world.scheduler():
        slow(world, 0.4)
        await world.clock.reach(after(1_001))
    assert claimed_ahead(world) == [0.075, 0.575, 0.075, 0.075]


async def test_a_lead_that_shrinks_makes_nothing_late_that_waits_for_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lead, "REMEMBERED", timedelta(seconds=7))
    world = World()
    await world.create(at=after(10))
    once = await world.create(at=after(21.4), delivery="at_most_once")
    async with world.scheduler():
        slow(world, 0.4)
        await world.clock.reach(after(20.9))
        assert world.observed.leads[-1] == 0.6, "it has been looked at, and left until shortly before"
        await world.clock.reach(after(22))
        assert world.observed.leads[-1] == 0.1
    assert claimed_ahead(world) == [0.075, 0.01]
    assert [call.at for call in world.calls[1:]] == [after(21.4)]
    assert world.names(once)[-1] == "TaskCompleted"

"""How far ahead claims are made: as far as the slow moments of the log ask for."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from application.scheduler import timing as lead
from tests.support.given import after
from tests.support.scheduler import World
from tests.support.slow_log import claimed_ahead, slow

if TYPE_CHECKING:
    from datetime import datetime

    from application.ports import HeartbeatPayload


async def test_a_quick_log_is_asked_half_a_second_before_the_instant() -> None:
    world = World()
    await world.create(at=after(10))
    async with world.scheduler():
        await world.clock.reach(after(11))
    assert claimed_ahead(world) == [0.425]
    assert world.observed.leads[-1] == 0.5


@pytest.mark.parametrize("answers", [True, False], ids=["answers late", "does not answer"])
async def test_what_comes_after_a_slow_moment_of_the_log_is_claimed_further_ahead(answers: bool) -> None:
    world = World()
    for second in (10, 20):
        await world.create(at=after(second))
    async with world.scheduler():
        slow(world, 0.6)
        with nullcontext() if answers else world.log.losing_answers():
            await world.clock.reach(after(11))
        slow(world, 0.7)
        await world.clock.reach(after(21))
    assert claimed_ahead(world) == [0.425, 0.825]
    assert world.calls[0].at > after(10)
    assert world.calls[1].at == after(20), "the next slow moment, a longer one, made nothing late"


async def test_a_slow_heartbeat_tells_of_the_log_before_anything_is_claimed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    await world.create(at=after(10))
    beat = world.nodes.beat

    async def beat_slowly(node: str, pulse: HeartbeatPayload | None = None) -> datetime:
        await world.clock.pause(timedelta(seconds=0.5))
        return await beat(node, pulse)

    async with world.scheduler():
        await world.clock.reach(after(5))
        monkeypatch.setattr(world.nodes, "beat", beat_slowly)
        await world.clock.reach(after(11))
    assert claimed_ahead(world) == [0.675]


async def test_nothing_is_claimed_further_ahead_than_a_second() -> None:
    world = World()
    for second in (10, 20):
        await world.create(at=after(second))
    async with world.scheduler():
        slow(world, 3)
        await world.clock.reach(after(21))
        assert world.observed.leads[-1] == 1
    assert claimed_ahead(world) == [0.425, 0.925]


async def test_a_slow_moment_counts_for_five_minutes_and_not_for_more_than_ten() -> None:
    world = World()
    for second in (10, 309, 602, 1_000):
        await world.create(at=after(second))
    async with world.scheduler():
        slow(world, 0.4)
        await world.clock.reach(after(1_001))
    assert claimed_ahead(world) == [0.425, 0.525, 0.425, 0.425]


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
        assert world.observed.leads[-1] == 0.5
    assert claimed_ahead(world) == [0.425, 0.01]
    assert [call.at for call in world.calls[1:]] == [after(21.4)]
    assert world.names(once)[-1] == "TaskCompleted"


async def test_of_a_crowd_less_is_claimed_at_a_time_and_of_few_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lead, "FEW", 2)
    monkeypatch.setattr(lead, "MANY", 5)
    world = World()
    for number in range(40):
        await world.create(at=after(5 + number / 100))
    for second in (20, 21, 22, 22.07):
        await world.create(at=after(second))
    async with world.scheduler(concurrency=50):
        await world.clock.reach(after(23))
    won = [claims for claims, _ in world.observed.claims]
    assert won[0] == 8
    assert set(won[1:-3]) <= {2, 3, 4, 5}, "half as much time at once"
    assert won[-3:] == [1, 1, 2]


def test_a_step_stays_between_its_bounds() -> None:
    pace = lead.ClaimAheadWindow(World().clock)
    steps: list[float] = []
    for claims in (lead.FEW - 1, lead.MANY, lead.MANY + 1, lead.FEW, lead.MANY, 0, lead.MANY + 1):
        pace.stepped(claims)
        steps.append(pace.step / lead.LONGEST_STEP)
    assert steps == [1, 1, 1 / 2, 1 / 2, 1 / 2, 1 / 2, 1 / 3]
    for claims in (lead.MANY + 1, lead.FEW - 1, lead.FEW - 1):
        pace.stepped(claims)
        steps.append(pace.step / lead.LONGEST_STEP)
    assert steps[-3:] == [1 / 3, 2 / 3, 1]

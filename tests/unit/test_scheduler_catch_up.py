"""What becomes of occurrences that nobody claimed in time, under a running scheduler."""

from datetime import timedelta

import pytest

from domain.definition import CatchUp, Overlap
from tests.support.given import after, every
from tests.support.scheduler import World

ALL = CatchUp(mode="all")


async def test_all_in_a_queue_runs_one_after_the_other(world: World) -> None:
    world.caller.takes = timedelta(seconds=4)
    await world.create(trigger=every(10), catch_up=ALL, overlap=Overlap(mode="queue_all"))
    await world.clock.reach(after(45))
    await world.run_until(66)
    assert world.runs() == [(10, 45), (20, 49), (30, 53), (40, 57), (50, 61), (60, 65)]


async def test_all_into_a_queue_that_is_full_skips_the_rest_at_once(world: World) -> None:
    world.caller.takes = timedelta(seconds=30)
    overlap = Overlap(mode="queue_all", max_queued=2)
    await world.create(trigger=every(10), catch_up=ALL, overlap=overlap)
    await world.clock.reach(after(3605))
    async with world.scheduler():
        await world.clock.reach(after(3609))
        assert sum(won for won, _ in world.observed.claims) == 4
        await world.clock.reach(after(3699))
    assert world.runs() == [(10, 3605), (20, 3635), (30, 3665), (3640, 3695)]
    assert len(world.skips("overlap")) == 360 - 3 + 7


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (CatchUp(), [10, 40, 50]),
        (CatchUp(mode="skip"), [10, 50]),
        (ALL, [10, 20, 30, 40, 50]),
        (CatchUp(mode="all", max_runs=2), [10, 30, 40, 50]),
        (CatchUp(window_seconds=2), [10, 50]),
    ],
)
async def test_a_pause_is_caught_up_like_a_downtime(
    world: World, policy: CatchUp, expected: list[float]
) -> None:
    task = await world.create(trigger=every(10), catch_up=policy)
    async with world.scheduler():
        await world.clock.reach(after(15))
        await world.pause(task)
        await world.clock.reach(after(44))
        await world.resume(task)
        await world.clock.reach(after(55))
    assert [due for due, _ in world.runs()] == expected
    assert world.skips("pause") == [due for due in (20, 30, 40) if due not in expected]


async def test_an_outage_is_a_downtime_too(world: World) -> None:
    await world.create(trigger=every(10), catch_up=ALL)
    async with world.scheduler():
        await world.clock.reach(after(5))
        with world.outage():
            await world.clock.reach(after(36))
        await world.clock.reach(after(45))
    assert [due for due, _ in world.runs()] == [10, 20, 30, 40]

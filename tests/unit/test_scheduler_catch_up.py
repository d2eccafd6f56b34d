"""What becomes of occurrences that nobody claimed in time, under a running scheduler."""

from datetime import timedelta

import pytest

from domain.definition import CatchUp, Overlap
from domain.facts import ExecutionSkipped, TaskCompleted
from domain.identity import execution_id
from tests.support.given import after, every
from tests.support.scheduler import World

ALL = CatchUp(mode="all")


async def after_a_downtime(seconds: float, policy: CatchUp, *, run_for: float = 5, **words: object) -> World:
    """A task that is due every ten seconds, and a scheduler that comes late."""
    world = World()
    await world.create(**{"trigger": every(10), "catch_up": policy, **words})
    await world.clock.reach(after(seconds))
    await world.run_until(seconds + run_for)
    return world


async def test_latest_runs_the_newest_after_a_downtime() -> None:
    world = await after_a_downtime(65, CatchUp())
    assert world.runs() == [(60, 65), (70, 70)]
    assert world.skips("catch_up") == [10, 20, 30, 40, 50]


async def test_skip_runs_the_newest_unless_it_is_late() -> None:
    world = await after_a_downtime(65, CatchUp(mode="skip"))
    assert world.runs() == [(60, 65), (70, 70)]
    late = await after_a_downtime(250, CatchUp(mode="skip"), trigger=every(180), run_for=120)
    assert late.runs() == [(360, 360)]
    assert late.skips("catch_up") == [180]


async def test_all_runs_every_one_in_its_order() -> None:
    world = await after_a_downtime(55, ALL)
    assert [due for due, _ in world.runs()] == [10, 20, 30, 40, 50, 60]
    assert all(at < 55.2 for due, at in world.runs() if due < 60)
    assert world.facts(ExecutionSkipped) == []


async def test_all_runs_the_newest_of_them_within_the_window() -> None:
    world = await after_a_downtime(65, CatchUp(mode="all", max_runs=3))
    assert [due for due, _ in world.runs()] == [40, 50, 60, 70]
    world = await after_a_downtime(65, CatchUp(mode="all", window_seconds=20))
    assert [due for due, _ in world.runs()] == [50, 60, 70]
    assert world.skips("catch_up") == [10, 20, 30, 40]


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


async def test_a_task_whose_last_occurrence_came_too_late_ends_by_it() -> None:
    policy = CatchUp(mode="skip")
    world = await after_a_downtime(250, policy, trigger=every(10, end_at=after(30)))
    assert world.calls == []
    assert world.skips("catch_up") == [10, 20, 30]
    [end] = world.facts(TaskCompleted)
    [task] = {fact.occurrence.task_id for fact in world.facts(ExecutionSkipped)}
    assert (end.outcome, end.execution_id) == ("failed", execution_id(task, after(30), "scheduled"))
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


async def test_a_last_occurrence_that_users_have_had_run_ends_the_task_instead_of_the_policy(
    world: World,
) -> None:
    task = await world.create(trigger=every(10, end_at=after(30)), catch_up=CatchUp(mode="skip"))
    await world.pause(task)
    await world.clock.reach(after(100))
    await world.backfill(task, after(30), after(31))
    await world.resume(task)
    await world.run_until(110)
    assert [due for due, _ in world.runs()] == [30]
    assert world.skips("pause") == [10, 20]
    assert world.names(task)[-1] == "TaskCompleted"

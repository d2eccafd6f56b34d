"""What users did, done again where it still makes sense."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from domain import task as tasks
from domain.definition import CatchUp, Interval, OneOff, Overlap
from domain.facts import ExecutionCancelled, ExecutionRequested
from tests.support.given import NOON
from tests.support.scheduler import World
from tests.support.what_if import SECOND, events_of, retold, run_in, simulated

if TYPE_CHECKING:
    from domain.definition import Definition

FIRST, SECOND_ONE, THIRD = (NOON + seconds * SECOND for seconds in (10, 20, 30))


async def test_a_cancelled_execution_that_never_began_is_none() -> None:
    world = World()
    world.caller.takes = 30 * SECOND
    task_id = await world.create(trigger=Interval(every_seconds=10, anchor=NOON))
    async with world.scheduler():
        await world.clock.pass_by(12)
        await world.cancel_execution(run_in(world, FIRST, task_id))
        await world.clock.pass_by(1)
        events = events_of(world.log, task_id)
        again = simulated(
            events,
            NOON,
            world.clock.now(),
            lambda old: replace(old, trigger=Interval(every_seconds=7, anchor=NOON)),
        )
    assert not [fact for _, _, fact in again.facts if isinstance(fact, ExecutionCancelled)]


async def test_a_backfill_of_what_would_have_run_or_not_been_due_is_left_out() -> None:
    world = World()
    world.caller.takes = SECOND
    task_id = await world.create(
        trigger=Interval(every_seconds=3, anchor=NOON),
        overlap=Overlap(mode="skip", max_running=1),
        catch_up=CatchUp(mode="skip"),
    )
    world.caller.takes = 5 * SECOND
    async with world.scheduler():
        await world.clock.pass_by(20)
        await world.backfill(task_id, NOON, world.clock.now())
        await world.clock.pass_by(10)
    events = events_of(world.log, task_id)
    changes: list[dict[str, Any]] = [
        {"overlap": Overlap(mode="allow")},
        {"trigger": Interval(every_seconds=7, anchor=NOON)},
    ]
    for change in changes:
        again = simulated(events, NOON, world.clock.now(), partial(_changed, change))
        asked = [fact for _, _, fact in again.facts if isinstance(fact, ExecutionRequested)]
        assert [fact.occurrence.due_at for fact in asked] == [NOON]


async def test_a_one_off_that_is_cancelled_takes_its_task_along() -> None:
    world = World()
    world.caller.takes = 30 * SECOND
    task_id = await world.create(trigger=OneOff(datetime=FIRST))
    async with world.scheduler():
        await world.clock.pass_by(12)
        await world.cancel_execution(run_in(world, FIRST, task_id))
        await world.clock.pass_by(2)
    again = retold(world, task_id)
    assert isinstance(again.state.task, tasks.FinishedTask)


async def test_a_run_that_is_cancelled_before_anybody_takes_it_is_not_taken() -> None:
    world = World()
    task_id = await world.create(trigger=Interval(every_seconds=600, anchor=NOON))
    await world.clock.pass_by(1)
    await world.cancel_execution(await world.trigger(task_id))
    await world.clock.pass_by(5)
    retold(world, task_id)


async def test_a_run_that_was_asked_for_before_the_window_waits_until_somebody_claims() -> None:
    world = World()
    task_id = await world.create(trigger=Interval(every_seconds=600, anchor=NOON))
    await world.trigger(task_id)
    await world.clock.pass_by(30)
    again = simulated(events_of(world.log, task_id), FIRST, world.clock.now())
    assert again.facts == []
    assert len(again.state.open) == 1


def _changed(change: dict[str, Any], old: Definition) -> Definition:
    return replace(old, **change)

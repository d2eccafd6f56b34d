"""What waits in simulated queues, and when it moves up."""

from __future__ import annotations

from msgspec.structs import replace

from domain.definition import Interval, Overlap
from domain.facts import ExecutionQueued, ExecutionStarted
from tests.support.given import NOON
from tests.support.scheduler import World
from tests.support.what_if import SECOND, events_of, retold, run_in, simulated

FIRST, SECOND_ONE, THIRD = (NOON + seconds * SECOND for seconds in (10, 20, 30))


async def test_what_has_room_and_is_not_taken_before_a_pause_stays_queued() -> None:
    world = World()
    world.caller.takes = 60 * SECOND
    queue = Overlap(mode="queue_all", max_running=1, max_queued=3)
    task_id = await world.create(trigger=Interval(every_seconds=10, anchor=NOON), overlap=queue)
    async with world.scheduler():
        await world.clock.pass_by(25)
    await world.cancel_execution(run_in(world, FIRST, task_id))
    await world.clock.pass_by(2)
    await world.pause(task_id)
    await world.clock.pass_by(20)
    again = retold(world, task_id)
    assert list(again.state.queued) == [run_in(world, SECOND_ONE, task_id)]


async def test_what_would_have_been_queued_moves_up_as_soon_as_there_is_room() -> None:
    world = World()
    world.caller.takes = 15 * SECOND
    task_id = await world.create(
        trigger=Interval(every_seconds=10, anchor=NOON), overlap=Overlap(mode="allow")
    )
    async with world.scheduler():
        await world.clock.pass_by(61)
    queue = Overlap(mode="queue_all", max_running=1, max_queued=9)
    again = simulated(
        events_of(world.log, task_id), NOON, world.clock.now(), lambda old: replace(old, overlap=queue)
    )
    queued = [fact for _, _, fact in again.facts if isinstance(fact, ExecutionQueued)]
    started = [fact for _, _, fact in again.facts if isinstance(fact, ExecutionStarted)]
    assert len(queued) == 5
    assert [(fact.at - NOON) // SECOND for fact in started] == [9, 25, 40, 55]

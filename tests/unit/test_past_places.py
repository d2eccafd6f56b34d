"""Where tasks stood in the past: found from few streams, it is where the whole log says that they stood."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from application.explanation.history import history_of
from application.past import Cut, Moment, Stopped, placing_events
from domain.definition import Interval
from domain.facts import ExecutionSkipped
from projections.queries import past_task
from tests.support.given import NOON
from tests.support.minutes import BusyMinutes, Minutes, UnsteadyMinutes
from tests.support.past import Oracle
from tests.support.scheduler import World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from application.ports import Recorded
    from projections.views import TaskView

EVERY_MINUTE = Interval(every_seconds=60)
LOOKS = 10


def minute(number: int) -> datetime:
    """The occurrences of a task that is due every minute, from noon on."""
    return NOON + timedelta(minutes=number)


class Counting(Cut):
    """Streams until a moment, of which it is known how many were read."""

    def __init__(self, world: World, moment: Moment) -> None:
        super().__init__(world.log, moment)
        self.reads = 0

    async def read_stream(self, stream: UUID) -> Sequence[Recorded]:
        self.reads += 1
        return await super().read_stream(stream)


async def task_at(streams: Cut, task_id: UUID, at: datetime) -> TaskView | None:
    """The task as its stream and the last one that moved it tell."""
    history = history_of(task_id, await streams.read_stream(task_id))
    if history is None:
        return None
    placing = await placing_events(streams, history, at)
    return past_task(task_id, sorted([*history.events, *placing], key=lambda event: event.position))


def shown(view: TaskView | None) -> dict[str, object] | None:
    """What the oracle knows of a task, as the API shows it."""
    if view is None:
        return None
    paused = view.status == "paused"
    told = {name: getattr(view, name) for name in ("name", "status", "next_run", "created_at", "updated_at")}
    return {
        **told,
        "version": view.version,
        "paused_at": view.paused_at if paused else None,
        "pause_note": view.pause_note if paused else None,
    }


@pytest.mark.parametrize("minutes", [Minutes, BusyMinutes, UnsteadyMinutes])
@pytest.mark.parametrize("seed", range(8))
def test_at_any_place_of_any_history_a_task_is_what_the_whole_log_tells(
    minutes: type[Minutes], seed: int
) -> None:
    async def look() -> None:
        lived = minutes(Random(seed))
        await lived.pass_by()
        recorded, random = lived.world.log.recorded, Random(seed)
        for position in random.sample(range(len(recorded) + 1), min(LOOKS, len(recorded))):
            at = recorded[position - 1].recorded_at if position else NOON
            oracle, streams = Oracle.of(recorded[:position]), Cut(lived.world.log, Moment(position, at))
            for task_id in lived.tasks:
                assert shown(await task_at(streams, task_id, at)) == oracle.tasks.get(task_id), position

    asyncio.run(look())


def next_of(world: World, index: int) -> datetime:
    """The place that an event gave its task."""
    place: datetime = world.log.recorded[index].fact.next_run_at  # type: ignore[union-attr,assignment]
    return place


async def claimed_every_minute(world: World, count: int) -> UUID:
    """A task of which so many occurrences were claimed."""
    task_id = await world.create(trigger=EVERY_MINUTE)
    first = next_of(world, 0)
    for number in range(count):
        due_at = first + timedelta(minutes=number)
        await world.claim(task_id, due_at, next_run_at=due_at + timedelta(minutes=1))
    return task_id


async def placed(world: World, task_id: UUID, at: datetime) -> tuple[datetime | None, int]:
    """Where a task stands at an instant, and how many streams that took."""
    streams = Counting(world, Moment(len(world.log.recorded), at))
    view = await task_at(streams, task_id, at)
    assert view is not None
    return view.next_run, streams.reads


async def test_where_schedulers_keep_up_two_streams_tell_it_however_long_the_history_is() -> None:
    world = World()
    task_id = await claimed_every_minute(world, 500)
    place = next_of(world, -1)
    found, reads = await placed(world, task_id, place - timedelta(seconds=1))
    assert found == place
    assert reads <= 4


async def test_where_they_did_not_the_last_claim_is_closed_in_upon() -> None:
    world = World()
    task_id = await claimed_every_minute(world, 500)
    place = next_of(world, -1)
    found, reads = await placed(world, task_id, place + timedelta(days=300))
    assert found == place
    assert reads <= 40


async def test_what_was_claimed_by_a_clock_that_was_ahead_is_found_in_leaps() -> None:
    world = World()
    task_id = await claimed_every_minute(world, 500)
    found, reads = await placed(world, task_id, world.log.recorded[0].recorded_at)
    assert found == next_of(world, -1)
    assert reads <= 80


async def test_nothing_claimed_yet_leaves_a_task_where_its_own_events_put_it() -> None:
    world = World()
    task_id = await claimed_every_minute(world, 0)
    place = next_of(world, 0)
    assert await placed(world, task_id, place - timedelta(seconds=1)) == (place, 3)
    assert (await placed(world, task_id, place + timedelta(hours=3)))[0] == place


async def test_what_users_have_had_run_out_of_turn_is_passed_over() -> None:
    world = World()
    task_id = await claimed_every_minute(world, 3)
    place = next_of(world, -1)
    world.clock.set_by((place - world.clock.now()).total_seconds() + 600)
    await world.backfill(task_id, place, place + timedelta(minutes=4))
    assert (await placed(world, task_id, place + timedelta(minutes=1)))[0] == place
    beyond = place + timedelta(minutes=4)
    await world.claim(task_id, beyond, next_run_at=beyond + timedelta(minutes=1))
    for at in (beyond, place + timedelta(minutes=2), beyond + timedelta(hours=9)):
        assert (await placed(world, task_id, at))[0] == beyond + timedelta(minutes=1)


async def test_the_last_occurrence_of_a_schedule_leaves_no_place() -> None:
    world = World()
    end_at = world.clock.now() + timedelta(minutes=3)
    task_id = await world.create(trigger=Interval(every_seconds=60, end_at=end_at))
    due_at = next_of(world, 0)
    following = due_at + timedelta(minutes=1)
    await world.claim(task_id, due_at, next_run_at=following)
    await world.claim(task_id, following, next_run_at=None)
    assert (await placed(world, task_id, end_at + timedelta(hours=1)))[0] is None


async def test_the_streams_of_a_moment_end_there_and_its_clock_stands_still() -> None:
    world = World()
    task_id = await claimed_every_minute(world, 2)
    await world.cancel(task_id)
    moment = Moment(2, minute(7))
    assert [event.position for event in await Cut(world.log, moment).read_stream(task_id)] == [1]
    assert Stopped(moment).now() == minute(7)
    assert not world.facts(ExecutionSkipped)


async def test_a_task_that_is_over_stands_nowhere_without_a_look_at_its_executions() -> None:
    world = World()
    task_id = await claimed_every_minute(world, 2)
    await world.cancel(task_id)
    assert await placed(world, task_id, minute(9)) == (None, 1)

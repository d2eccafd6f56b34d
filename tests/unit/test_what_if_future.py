"""What a simulator answers about the future of a small world of schedulers."""

from __future__ import annotations

from datetime import timedelta

from domain.definition import Cron, Interval, OneOff, Overlap
from tests.support.given import MINUTE, NOON, definition
from tests.support.scheduler import World
from tests.support.simulating import HOUR, SECOND, changing, counts, future, same, with_a_downtime


async def test_the_future_tells_fires_load_and_crowds_before_and_after() -> None:
    world, task_id = await with_a_downtime(overlap=Overlap(mode="allow"))
    now = world.clock.now()
    change = changing(trigger=Interval(every_seconds=2, anchor=NOON))
    found = await future(world, task_id, change, now, now + 10 * MINUTE)
    before, after = counts(found)
    assert (before.occurrences, after.occurrences) == (60, 300)
    assert (found.loads.before.peaks[0].calls, found.loads.after.peaks[0].calls) == (6, 30)
    [crowd] = found.loads.crowding
    assert (crowd.before.most, crowd.after.most) == (1, 2)
    assert sum(bucket.after for bucket in found.loads.buckets) == found.loads.after.calls
    assert found.total == 240
    assert found.downtimes == ()


async def test_the_future_of_what_waits_or_runs_now_goes_on() -> None:
    world = World()
    world.caller.takes = 30 * SECOND
    queue = Overlap(mode="queue_all", max_running=1, max_queued=2)
    task_id = await world.create(trigger=Interval(every_seconds=10, anchor=NOON), overlap=queue)
    async with world.scheduler():
        await world.clock.pass_by(25)
        await world.trigger(task_id)
        now = world.clock.now()
        found = await future(world, task_id, same, now, now + MINUTE, duration=20 * SECOND)
    assert [each.status for each in found.tasks[0].before.entries.values()].count("pending") == 2
    assert found.tasks[0].before.entries == found.tasks[0].after.entries


async def test_a_later_window_begins_with_the_place_that_the_schedule_has_come_to() -> None:
    world = World()
    trigger = Interval(every_seconds=3600, anchor=NOON, max_runs=30)
    task_id = await world.create(trigger=trigger)
    day = timedelta(days=1)
    before, _ = counts(await future(world, task_id, same, NOON + day, NOON + 2 * day))
    assert before.occurrences == 7  # 24 to 30, the last of which ends it
    late, after = counts(
        await future(world, task_id, changing(trigger=Cron(cron="0 * * * *")), NOON + 3 * day, NOON + 4 * day)
    )
    assert (late.occurrences, after.occurrences) == (0, 24)


async def test_a_new_task_in_a_later_window_has_come_to_it_too() -> None:
    daily = definition(trigger=Cron(cron="0 9 * * *", end_at=NOON + timedelta(days=10)))
    start = NOON + timedelta(days=5)
    found = await future(World(), None, lambda *_: daily, start, start + timedelta(days=3))
    assert counts(found)[1].occurrences == 3
    beyond = NOON + timedelta(days=20)
    through = await future(World(), None, lambda *_: daily, beyond, beyond + timedelta(days=3))
    assert counts(through)[1].occurrences == 0


async def test_a_schedule_that_would_be_through_by_then_fires_no_more() -> None:
    world = World()
    task_id = await world.create(trigger=Cron(cron="0 * * * *"))
    ended = changing(trigger=Cron(cron="30 * * * *", end_at=NOON + HOUR))
    start = NOON + timedelta(days=2)
    before, after = counts(await future(world, task_id, ended, start, start + 6 * HOUR))
    assert (before.occurrences, after.occurrences) == (6, 0)


async def test_a_one_off_of_the_future_fires_where_it_would() -> None:
    world = World()
    task_id = await world.create(trigger=OneOff(datetime=NOON + HOUR))
    moved = changing(trigger=OneOff(datetime=NOON + 2 * HOUR))
    found = await future(world, task_id, moved, NOON, NOON + 3 * HOUR)
    assert [(bool(each.before), bool(each.after)) for each in found.differences] == [
        (True, False),
        (False, True),
    ]


async def test_what_is_due_only_in_a_later_window_waits_for_it() -> None:
    world = World()
    task_id = await world.create(trigger=OneOff(datetime=NOON + 5 * HOUR))
    before, after = counts(await future(world, task_id, same, NOON + 3 * HOUR, NOON + 6 * HOUR))
    assert (before.succeeded, after.succeeded) == (1, 1)

"""What a simulator answers about the past of a small world of schedulers, and what it refuses."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from application.what_if import comparison as comparing
from application.what_if import comparison as gathering
from application.what_if.question import Subject, TooMuchToSimulate, Window
from domain.definition import CatchUp, Cron, Interval, Overlap, SuccessPolicy
from domain.errors import InvalidBody, TaskNotFound
from domain.facts import TaskRedacted
from tests.support.given import MINUTE, NOON, definition
from tests.support.scheduler import REQUEST, World
from tests.support.simulating import (
    HOUR,
    SECOND,
    changing,
    counts,
    future,
    past,
    question,
    same,
    simulator,
    skips,
    with_a_downtime,
)


async def test_the_past_of_a_redacted_task_is_refused_and_its_future_is_not() -> None:
    world, task_id = await with_a_downtime(success=SuccessPolicy(body_contains="done"))
    await world.commands.cancel(task_id, REQUEST, if_match=None)
    await world.append(task_id, TaskRedacted(at=world.clock.now()))
    with pytest.raises(InvalidBody) as refusal:
        await past(world, task_id, same, NOON, NOON + MINUTE)
    [error] = refusal.value.errors
    assert error.pointer == "/past"
    assert error.detail.startswith(f"Task {task_id} is redacted")
    now = world.clock.now()
    assert (await future(world, task_id, same, now, now + HOUR)).total == 0


async def a_rich_history() -> tuple[World, list[UUID]]:
    """Overlap, queues, catching up, retries, a pause, a manual run, a backfill, and a change."""
    world = World()
    world.caller.takes = 4 * SECOND
    world.caller.answers(*[200, 503, 503, 200, 404] * 30)
    every = Interval(every_seconds=3, anchor=NOON)
    tasks = [
        await world.create(trigger=Cron(cron="*/20 * * * * *", jitter_seconds=3)),
        await world.create(trigger=every, overlap=Overlap(mode="skip", max_running=1)),
        await world.create(trigger=every, overlap=Overlap(mode="queue_all", max_running=1, max_queued=3)),
        await world.create(trigger=every, overlap=Overlap(mode="cancel_running", max_running=1)),
        await world.create(trigger=every, overlap=Overlap(mode="allow"), catch_up=CatchUp(mode="all")),
    ]
    async with world.scheduler("node-1", concurrency=50):
        await world.clock.pass_by(40)
        for task_id in tasks:
            await world.pause(task_id)
            await world.trigger(task_id)
        await world.clock.pass_by(15)
        await world.backfill(tasks[1], NOON, NOON + MINUTE)
        for task_id in tasks:
            await world.resume(task_id)
        await world.clock.pass_by(20)
    await world.clock.pass_by(80)
    async with world.scheduler("node-2", concurrency=50):
        await world.clock.pass_by(30)
        await world.update(tasks[0], trigger=Cron(cron="*/15 * * * * *"))
        await world.clock.pass_by(50)
    return world, tasks


@pytest.mark.parametrize("seconds", [0, 7, 33, 52, 80, 120, 160, 200])
async def test_a_rich_history_without_a_change_is_what_happened(seconds: int) -> None:
    world, tasks = await a_rich_history()
    asked = question(*(Subject(task_id, same) for task_id in tasks))
    window = Window(NOON + seconds * SECOND, world.clock.now())
    found = await simulator(world).past(asked, window)
    assert found.differences == ()
    for task in found.tasks:
        assert task.after.entries == task.before.entries
        assert task.after.calls == task.before.calls
        assert not task.assumed & task.after.entries.keys()
    assert sum(len(task.before.entries) for task in found.tasks) > (100 if seconds < 100 else 10)
    assert found.loads.before == found.loads.after


async def test_what_was_missed_in_a_downtime_would_have_been_caught_up_when_it_ended() -> None:
    world, task_id = await with_a_downtime()
    found = await past(
        world, task_id, changing(catch_up=CatchUp(mode="all")), NOON, world.clock.now(), limit=3
    )
    before, after = counts(found)
    assert (before.caught_up, skips(before)) == (0, {"catch_up": 17})
    assert (after.caught_up, skips(after)) == (11, {})
    assert after.succeeded == before.succeeded + 17
    assert [(len(found.differences), found.total)] == [(3, 17)]
    [(start, end)] = found.downtimes
    assert (start, end - start) == (NOON + 70 * SECOND, 170 * SECOND)
    first = found.differences[0]
    assert first.before is not None
    assert first.after is not None
    assert (first.before.status, first.before.by, first.after.status) == ("skipped", "catch_up", "succeeded")
    assert first.after.began_at == end


async def test_another_schedule_is_simulated_with_the_usual_duration_and_the_same_downtime() -> None:
    world, task_id = await with_a_downtime()
    change = changing(trigger=Interval(every_seconds=5, anchor=NOON + SECOND))
    found = await past(world, task_id, change, NOON, world.clock.now())
    _, after = counts(found)
    [task] = found.tasks
    assert (task.usual.duration, task.usual.calls) == (4 * SECOND, 13)
    assert skips(after)["catch_up"] > 30
    late = [each for each in task.after.entries.values() if each.began_at and each.due_at.second == 56]
    assert late
    assert len(task.assumed) > 20


async def test_a_task_that_there_was_not_is_simulated_from_where_the_window_begins() -> None:
    world = World()
    new = definition(trigger=Interval(every_seconds=10, anchor=NOON), url="https://new.example/")
    found = await past(world, None, lambda *_: new, NOON, NOON + MINUTE, duration=3 * SECOND)
    before, after = counts(found)
    assert (before.occurrences, after.occurrences, after.succeeded) == (0, 6, 6)
    [crowd] = found.loads.crowding
    assert (crowd.destination, crowd.before.most, crowd.after.most) == ("new.example:443", 0, 1)
    ends = [each.after.ended_at for each in found.differences if each.after and each.after.ended_at]
    assert [end.second for end in ends] == [3, 13, 23, 33, 43, 53]


async def test_a_task_that_was_created_later_is_changed_from_its_creation() -> None:
    world, task_id = await with_a_downtime()
    found = await past(world, task_id, same, NOON - HOUR, world.clock.now())
    before, after = counts(found)
    assert before == after
    assert before.occurrences == 30


async def test_a_window_that_ends_before_the_task_was_created_is_empty() -> None:
    world, task_id = await with_a_downtime()
    before, after = counts(await past(world, task_id, same, NOON - 2 * HOUR, NOON - HOUR))
    assert (before.occurrences, after.occurrences) == (0, 0)


async def test_a_task_that_is_over_stays_so() -> None:
    world, task_id = await with_a_downtime()
    await world.cancel(task_id)
    await world.clock.pass_by(60)
    start = world.clock.now() - 30 * SECOND
    before, after = counts(await past(world, task_id, changing(priority=1), start, world.clock.now()))
    assert (before.occurrences, after.occurrences) == (0, 0)
    ahead = await future(world, task_id, same, world.clock.now(), world.clock.now() + HOUR)
    assert counts(ahead)[1].occurrences == 0


async def test_more_than_an_answer_is_worth_is_refused_with_what_to_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, task_id = await with_a_downtime()
    monkeypatch.setattr(comparing, "MOST_OCCURRENCES", 20)
    with pytest.raises(TooMuchToSimulate, match="give a shorter window, fewer tasks"):
        await future(world, task_id, same, world.clock.now(), world.clock.now() + HOUR)
    monkeypatch.setattr(gathering, "MOST_OCCURRENCES", 20)
    with pytest.raises(TooMuchToSimulate):
        await past(world, task_id, same, NOON, world.clock.now())


async def test_there_must_be_such_a_task() -> None:
    with pytest.raises(TaskNotFound):
        await past(World(), uuid4(), same, NOON, NOON + HOUR)


async def test_nothing_is_written() -> None:
    world, task_id = await with_a_downtime()
    events = len(world.log.recorded)
    await past(world, task_id, changing(priority=1), NOON, world.clock.now())
    await future(world, task_id, changing(priority=1), world.clock.now(), world.clock.now() + HOUR)
    assert len(world.log.recorded) == events

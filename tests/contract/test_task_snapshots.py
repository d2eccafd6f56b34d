"""What every `EventLog` promises of the states of tasks that are kept beside their streams."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from application import streams
from application.ports import EventLog, Snapshot
from application.streams import fold_task, load_latest, load_task
from domain.task import Task
from tests.support.groups import created, group, updated


async def grown(log: EventLog, stream: UUID, events: int) -> int:
    """A stream of so many events; the position of its last."""
    position = await log.append(group(stream, 1, created("first")))
    for version in range(2, events + 1):
        position = await log.append(group(stream, version, updated(f"number {version}")))
    assert position is not None
    return position


async def folded(log: EventLog, stream: UUID, until: int) -> Task:
    """As its events tell, up to a position."""
    events = [event for event in await log.read_stream(stream) if event.position <= until]
    task = fold_task(stream, events)
    assert task is not None
    return task


async def test_without_a_snapshot_all_events_are_read(log: EventLog) -> None:
    stream = uuid4()
    await grown(log, stream, 3)
    history = await log.read_task(stream)
    assert history.snapshot is None
    assert list(history.events) == list(await log.read_stream(stream))
    nothing = await log.read_task(uuid4())
    assert (nothing.snapshot, list(nothing.events)) == (None, [])


async def test_behind_a_snapshot_only_later_events_are_read(log: EventLog) -> None:
    stream = uuid4()
    middle = await grown(log, stream, 3)
    snapshot = Snapshot(middle, await folded(log, stream, middle))
    await log.keep(snapshot)
    assert (await log.read_task(stream)).snapshot == snapshot
    assert list((await log.read_task(stream)).events) == []
    await log.append(group(stream, 4, updated("fourth")))
    history = await log.read_task(stream)
    assert history.snapshot == snapshot
    assert [event.version for event in history.events] == [4]


async def test_the_latest_snapshot_stays_whoever_comes_last(log: EventLog) -> None:
    stream = uuid4()
    first = await grown(log, stream, 1)
    last = await log.append(group(stream, 2, updated("second")))
    assert last is not None
    later = Snapshot(last, await folded(log, stream, last))
    await log.keep(later)
    await log.keep(Snapshot(first, await folded(log, stream, first)))
    assert (await log.read_task(stream)).snapshot == later


async def test_a_task_is_the_same_with_and_without_what_was_kept(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "SNAPSHOT_EVENTS", 4)
    stream = uuid4()
    for events in range(1, 14):
        await log.append(
            group(stream, events, created("first") if events == 1 else updated(f"number {events}"))
        )
        latest = await load_latest(log, stream)
        [*_, last] = await log.read_stream(stream)
        assert latest == Snapshot(last.position, await folded(log, stream, last.position))
        assert await load_task(log, stream) == latest.task
    history = await log.read_task(stream)
    assert history.snapshot is not None
    assert (history.snapshot.task.version, len(history.events)) == (12, 1)

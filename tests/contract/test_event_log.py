"""What every `EventLog` promises, on each implementation."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from application.ports import EventLog, Group, NewFact, Recorded
from tests.support.groups import cancelled, claim, created, group, meta, places, updated


async def everything(log: EventLog) -> Sequence[Recorded]:
    return await log.read_after(0, 10_000)


async def test_what_is_appended_is_read_back_with_who_and_when(log: EventLog) -> None:
    stream, before = uuid4(), datetime.now(UTC)
    appended = group(stream, 1, created("nightly"))
    position = await log.append(appended)
    [event] = await log.read_stream(stream)
    assert (event.stream, event.version, event.fact) == (stream, 1, created("nightly"))
    assert event.meta == appended.meta
    assert event.position == position
    assert before - timedelta(seconds=5) < event.recorded_at < datetime.now(UTC) + timedelta(seconds=5)


async def test_a_stream_that_nobody_wrote_is_empty(log: EventLog) -> None:
    assert list(await log.read_stream(uuid4())) == []


async def test_the_version_after_the_head_is_accepted(log: EventLog) -> None:
    stream = uuid4()
    first = await log.append(group(stream, 1))
    second = await log.append(group(stream, 2, updated()))
    assert first is not None
    assert second is not None
    assert first < second
    assert places(await log.read_stream(stream)) == [(stream, 1), (stream, 2)]


async def test_a_version_that_is_taken_is_refused(log: EventLog) -> None:
    stream = uuid4()
    await log.append(group(stream, 1, created("first")))
    assert await log.append(group(stream, 1, created("second"))) is None
    assert [event.fact for event in await log.read_stream(stream)] == [created("first")]


@pytest.mark.parametrize("version", [2, 3, 1_000_000])
async def test_a_gap_before_the_first_version_is_refused(log: EventLog, version: int) -> None:
    assert await log.append(group(uuid4(), version)) is None
    assert list(await everything(log)) == []


async def test_a_gap_inside_a_group_is_refused(log: EventLog) -> None:
    stream = uuid4()
    gap = Group(facts=(NewFact(stream, 1, created()), NewFact(stream, 3, cancelled())), meta=meta())
    assert await log.append(gap) is None
    assert list(await everything(log)) == []


async def test_the_same_version_twice_in_a_group_is_refused(log: EventLog) -> None:
    stream = uuid4()
    double = Group(facts=(NewFact(stream, 1, created()), NewFact(stream, 1, cancelled())), meta=meta())
    assert await log.append(double) is None
    assert list(await everything(log)) == []


async def test_a_refused_group_leaves_its_neighbours_alone(log: EventLog) -> None:
    taken, moved = uuid4(), uuid4()
    await log.append(group(taken, 1))
    await log.append(group(moved, 1))
    await log.append(group(moved, 2, updated()))
    good = [uuid4() for _ in range(4)]
    answers = await asyncio.gather(
        log.append(group(good[0], 1)),
        log.append(group(taken, 1)),
        log.append(group(good[1], 1)),
        log.append(group(uuid4(), 2)),
        log.append(group(good[2], 1)),
        log.append(claim(uuid4(), moved, 1)),
        log.append(group(good[3], 1)),
    )
    assert [answer is not None for answer in answers] == [True, False, True, False, True, False, True]
    assert places((await everything(log))[3:]) == [(stream, 1) for stream in good]


async def test_a_group_is_stored_wholly_or_not_at_all(log: EventLog) -> None:
    taken, other = uuid4(), uuid4()
    await log.append(group(taken, 1))
    half = Group(facts=(NewFact(other, 1, created()), NewFact(taken, 1, created())), meta=meta())
    assert await log.append(half) is None
    assert list(await log.read_stream(other)) == []


async def test_a_group_of_several_streams_answers_its_last_position(log: EventLog) -> None:
    one, two = uuid4(), uuid4()
    facts = (NewFact(one, 1, created()), NewFact(two, 1, created()), NewFact(one, 2, cancelled()))
    position = await log.append(Group(facts=facts, meta=meta()))
    events = await everything(log)
    assert places(events) == [(one, 1), (two, 1), (one, 2)]
    assert position == events[-1].position
    assert len({event.meta.command_id for event in events}) == 1


async def test_a_guard_at_the_head_lets_the_group_pass(log: EventLog) -> None:
    task, execution = uuid4(), uuid4()
    await log.append(group(task, 1))
    await log.append(group(task, 2, updated()))
    assert await log.append(claim(execution, task, 2)) is not None


@pytest.mark.parametrize("version", [0, 1, 3])
async def test_a_guard_elsewhere_than_at_the_head_refuses_the_group(log: EventLog, version: int) -> None:
    task, execution = uuid4(), uuid4()
    await log.append(group(task, 1))
    await log.append(group(task, 2, updated()))
    assert await log.append(claim(execution, task, version)) is None
    assert list(await log.read_stream(execution)) == []


async def test_a_guard_of_zero_wants_no_stream(log: EventLog) -> None:
    key, task, other = uuid4(), uuid4(), uuid4()
    assert await log.append(group(task, 1, guards=[(key, 0)])) is not None
    await log.append(group(key, 1))
    assert await log.append(group(other, 1, guards=[(key, 0)])) is None


async def test_one_failing_guard_of_several_refuses_the_group(log: EventLog) -> None:
    one, two, three = uuid4(), uuid4(), uuid4()
    await log.append(group(one, 1))
    await log.append(group(two, 1))
    assert await log.append(group(three, 1, guards=[(one, 1), (two, 2)])) is None
    assert await log.append(group(three, 1, guards=[(one, 1), (two, 1)])) is not None


async def test_a_stream_may_be_written_and_guarded_by_one_group(log: EventLog) -> None:
    stream = uuid4()
    assert await log.append(group(stream, 1, guards=[(stream, 0)])) is not None
    assert await log.append(group(stream, 2, updated(), guards=[(stream, 1)])) is not None


async def test_a_guard_sees_what_was_queued_before_it(log: EventLog) -> None:
    task, execution = uuid4(), uuid4()
    await log.append(group(task, 1))
    cancel, start = await asyncio.gather(
        log.append(group(task, 2, cancelled())), log.append(claim(execution, task, 1))
    )
    assert cancel is not None
    assert start is None


async def test_what_is_queued_after_a_guard_does_not_disturb_it(log: EventLog) -> None:
    task, execution = uuid4(), uuid4()
    await log.append(group(task, 1))
    start, cancel = await asyncio.gather(
        log.append(claim(execution, task, 1)), log.append(group(task, 2, cancelled()))
    )
    assert start is not None
    assert cancel is not None
    assert start < cancel


async def test_read_after_pages_through_everything_in_order(log: EventLog) -> None:
    streams = [uuid4() for _ in range(25)]
    for stream in streams:
        await log.append(group(stream, 1))
    position, seen = 0, list[tuple[UUID, int]]()
    while page := await log.read_after(position, 10):
        assert len(page) <= 10
        assert [event.position for event in page] == sorted({event.position for event in page})
        assert page[0].position > position
        position = page[-1].position
        seen += places(page)
    assert seen == [(stream, 1) for stream in streams]


async def test_of_many_writers_of_one_version_exactly_one_wins(log: EventLog) -> None:
    stream = uuid4()
    names = [f"writer-{number}" for number in range(50)]
    answers = await asyncio.gather(*(log.append(group(stream, 1, created(name))) for name in names))
    winners = [name for name, answer in zip(names, answers, strict=True) if answer is not None]
    assert len(winners) == 1
    assert [event.fact for event in await log.read_stream(stream)] == [created(winners[0])]


async def test_groups_queued_together_on_one_stream_are_appended_in_the_order_given(log: EventLog) -> None:
    stream = uuid4()
    answers = await asyncio.gather(
        *(log.append(group(stream, version, updated(f"{version}"))) for version in range(1, 41))
    )
    positions = [answer for answer in answers if answer is not None]
    assert len(positions) == 40
    assert positions == sorted(positions)
    assert [event.fact for event in await log.read_stream(stream)] == [updated(f"{v}") for v in range(1, 41)]


async def test_300_concurrent_appends_keep_the_order_of_every_stream(log: EventLog) -> None:
    streams = [uuid4() for _ in range(30)]
    groups = [group(stream, version, updated()) for version in range(1, 11) for stream in streams]
    answers = await asyncio.gather(*(log.append(new) for new in groups))
    assert None not in answers
    events = await everything(log)
    assert [event.position for event in events] == sorted({event.position for event in events})
    versions = defaultdict(list)
    for event in events:
        versions[event.stream].append(event.version)
    assert versions == {stream: list(range(1, 11)) for stream in streams}


@pytest.mark.parametrize("patience", ["prompt", "patient"])
async def test_every_patience_appends(log: EventLog, patience: str) -> None:
    stream = uuid4()
    answers = await asyncio.gather(
        log.append(group(stream, 1), patience=patience),  # type: ignore[arg-type]
        log.append(group(stream, 1), patience=patience),  # type: ignore[arg-type]
    )
    assert answers[0] is not None
    assert answers[1] is None


async def test_groups_that_come_together_are_answered_together_in_their_order(log: EventLog) -> None:
    taken, one, other = uuid4(), uuid4(), uuid4()
    await log.append(group(taken, 1))
    first, refused, unstorable, second = await log.append_all(
        [group(one, 1), group(taken, 1), group(uuid4(), 1, created("\ud800")), group(other, 1)]
    )
    assert isinstance(first, int)
    assert refused is None
    assert isinstance(unstorable, ValueError)
    assert isinstance(second, int)
    assert places(await everything(log)) == [(taken, 1), (one, 1), (other, 1)]


async def test_nothing_to_append_is_answered_at_once(log: EventLog) -> None:
    assert list(await log.append_all([])) == []

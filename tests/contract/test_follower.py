"""What every reader of the log is promised: unreadable events between readable ones, and following."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from application.ports import Recorded, Undecodable
from tests.support.event_logs import Subject
from tests.support.groups import cancelled, created, group, places
from tests.support.log import following

DEADLINE_SECONDS = 60

UNREADABLE = {
    "a topic of a later release": ("task.teleported.v1", b"{}"),
    "no JSON": ("task.created.v1", b"\x00\x01"),
    "no bytes at all": ("task.created.v1", b""),
    "no UTF-8": ("task.cancelled.v1", b'{"meta":{"actor":"\xff"}}'),
    "fields missing": ("task.cancelled.v1", b'{"meta":{},"fact":{}}'),
    "a value of another type": ("task.cancelled.v1", b'{"meta":1,"fact":2}'),
    "a date that is none": (
        "task.cancelled.v1",
        b'{"meta":{"actor":"","correlation_id":"","command_id":"%s"},"fact":{"at":"2030-02-30T00:00:00Z"}}'
        % str(UUID(int=1)).encode(),
    ),
    "brackets without end": ("task.created.v1", b'{"meta":' + b"[" * 100_000),
}


@pytest.mark.parametrize("case", UNREADABLE)
async def test_an_unreadable_event_comes_back_as_such_between_its_neighbours(
    subject: Subject, case: str
) -> None:
    topic, state = UNREADABLE[case]
    stream = uuid4()
    await subject.log.append(group(stream, 1))
    await subject.plant(stream, 2, topic, state)
    await subject.log.append(group(stream, 3, cancelled()))
    for events in (await subject.log.read_stream(stream), await subject.log.read_after(0, 10_000)):
        assert [event.version for event in events] == [1, 2, 3]
        assert (events[0].fact, events[2].fact) == (created(), cancelled())
        unreadable = events[1].fact
        assert isinstance(unreadable, Undecodable)
        assert unreadable.topic == topic
        assert unreadable.error


async def test_a_follower_tells_the_past_and_then_what_comes(subject: Subject) -> None:
    streams = [uuid4() for _ in range(10)]
    positions = [await subject.log.append(group(stream, 1)) for stream in streams[:5]]
    assert positions[1] is not None
    seen: list[Recorded] = []
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        following(subject.follower, positions[1]) as batches,
    ):
        async for batch in batches:
            seen += batch
            if not batch and len(seen) == 3:
                for stream in streams[5:]:
                    await subject.log.append(group(stream, 1))
            if len(seen) == 8:
                break
    assert places(seen) == [(stream, 1) for stream in streams[2:]]


async def test_a_follower_says_with_an_empty_batch_that_all_is_read(subject: Subject) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS), following(subject.follower, 0) as batches:
        assert list(await anext(batches)) == []
        assert list(await anext(batches)) == []

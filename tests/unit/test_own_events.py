"""What a process has appended itself, as its follower is told of it: in the log's order, once or not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from infrastructure.event_store.appender import OwnEvents
from tests.support.groups import group

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def knowing(*runs: tuple[int, int], max_bytes: int = 1_000) -> OwnEvents:
    """Runs that begin at a position, each of so many events, of a byte each."""
    own = OwnEvents(max_bytes)
    for first, count in runs:
        own.add(first, NOON, [group(UUID(int=first + n), 1) for n in range(count)], count)
    return own


def positions(own: OwnEvents, after: int) -> list[int]:
    return [event.position for event in own.take(after)]


def test_what_lies_right_behind_a_position_is_told_once() -> None:
    own = knowing((5, 2), (7, 3))
    assert positions(own, 4) == [5, 6, 7, 8, 9]
    assert positions(own, 9) == []
    assert positions(own, 4) == []


def test_what_lies_behind_a_gap_waits_until_that_is_read() -> None:
    own = knowing((5, 1), (8, 2))
    assert positions(own, 4) == [5]
    assert positions(own, 5) == []
    assert positions(own, 7) == [8, 9]


def test_what_was_read_meanwhile_is_not_told_again() -> None:
    own = knowing((5, 3), (8, 1))
    assert positions(own, 6) == []  # a read took half of the first run, and will take the rest
    assert positions(own, 7) == [8]


def test_an_event_is_told_as_it_is_recorded() -> None:
    own = OwnEvents()
    first, second = group(UUID(int=1), 3), group(UUID(int=2), 1)
    own.add(11, NOON, [first, second], 2)
    told = own.take(10)
    assert [(each.position, each.stream, each.version) for each in told] == [
        (11, UUID(int=1), 3),
        (12, UUID(int=2), 1),
    ]
    assert [(each.fact, each.meta, each.recorded_at) for each in told] == [
        (first.facts[0].fact, first.meta, NOON),
        (second.facts[0].fact, second.meta, NOON),
    ]


def test_too_much_is_left_to_be_read() -> None:
    own = knowing((1, 4), (5, 4), (9, 4), max_bytes=9)
    assert positions(own, 0) == []
    own.add(13, NOON, [group(UUID(int=13), 1)], 1)
    assert positions(own, 12) == [13]


def test_where_nobody_follows_nothing_is_kept() -> None:
    assert positions(knowing((1, 1), max_bytes=0), 0) == []


def test_what_is_forgotten_is_not_told() -> None:
    own = knowing((1, 2))
    own.forget()
    assert positions(own, 0) == []


async def test_the_answer_to_a_call_under_way_is_waited_for() -> None:
    own = OwnEvents()
    await own.answered()
    asked = own.ask()
    waiting = asyncio.create_task(own.answered())
    await asyncio.sleep(0)
    assert not waiting.done()
    asked.cancel()
    await waiting

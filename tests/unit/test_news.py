"""How long a follower trusts in being told: looks are rare until one finds what nothing has told of."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from psycopg import Notify

from infrastructure.event_store.follower import DOUBTFUL_LOOK_SECONDS, LOOK_SECONDS, News

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from psycopg import AsyncConnection


class Line:
    """A connection on which notifications come, a packet at a time, or get lost, as a test says."""

    def __init__(self) -> None:
        self.packets: list[list[str]] = []
        self.waited: list[float] = []

    async def notifies(self, *, timeout: float, stop_after: int) -> AsyncGenerator[Notify]:
        assert stop_after == 1
        self.waited.append(round(timeout, 2))
        for payload in self.packets.pop(0) if self.packets else ():
            yield Notify("events", payload, pid=1)


@pytest.fixture
def line() -> Line:
    return Line()


def news(line: Line, position: int) -> News:
    return News(cast("AsyncConnection", line), position)


async def test_while_notifications_come_looks_are_a_second_apart(line: Line) -> None:
    told = news(line, 7)
    for position in (8, 9, 12):
        line.packets = [[str(position + 1)]]
        await told.wait(position)
    assert set(line.waited) == {LOOK_SECONDS}


async def test_what_is_read_before_the_first_wait_need_not_have_been_told(line: Line) -> None:
    await news(line, 0).wait(1_000)
    assert line.waited == [LOOK_SECONDS]


async def test_nothing_told_and_nothing_found_is_peace(line: Line) -> None:
    told = news(line, 0)
    for _ in range(3):
        await told.wait(0)
    assert set(line.waited) == {LOOK_SECONDS}


@pytest.mark.parametrize(("again", "read_to"), [("1", 2), ("3", 3), ("", 3)])
async def test_a_find_that_nothing_told_of_brings_looks_closer_until_anything_is_told(
    line: Line, again: str, read_to: int
) -> None:
    told = news(line, 0)
    await told.wait(0)
    await told.wait(1)
    await told.wait(1)
    assert line.waited[1:] == [DOUBTFUL_LOOK_SECONDS] * 2
    line.packets = [[again]]
    await told.wait(2)
    line.waited.clear()
    await told.wait(read_to)
    assert line.waited == [LOOK_SECONDS]


async def test_what_has_been_read_is_no_news(line: Line) -> None:
    line.packets = [["3"], ["4"], ["5"], ["6"]]
    await news(line, 4).wait(4)
    assert line.packets == [["6"]]


async def test_what_tells_of_no_position_is_worth_one_look(line: Line) -> None:
    told = news(line, 7)
    line.packets = [["", "7"]]
    for _ in range(3):
        await told.wait(7)
    assert line.waited == [LOOK_SECONDS] * 3


async def test_what_one_packet_tells_of_is_not_waited_for_again(line: Line) -> None:
    told = news(line, 4)
    line.packets = [["5", "6"]]
    await told.wait(4)
    await told.wait(5)  # 6 is known of
    assert len(line.waited) == 1
    await told.wait(6)
    assert len(line.waited) == 2

"""Reads of one thing at a time that share round trips."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from projections.queries import MOST_AT_ONCE, CoalescedReads


class Source:
    """What is read, and which keys each read was for; a read goes on once it is let."""

    def __init__(self) -> None:
        self.values: dict[int, str] = {}
        self.reads: list[list[int]] = []
        self.error: Exception | None = None
        self.let = asyncio.Event()
        self.let.set()

    async def read(self, keys: Sequence[int]) -> Mapping[int, str]:
        self.reads.append(list(keys))
        await self.let.wait()
        if self.error is not None:
            raise self.error
        return {key: self.values[key] for key in keys if key in self.values}


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_each_gets_its_own_and_what_is_not_there_is_none() -> None:
    source = Source()
    source.values = {1: "one", 2: "two"}
    gathered = CoalescedReads(source.read)
    assert await asyncio.gather(*map(gathered.one, (2, 1, 3))) == ["two", "one", None]


async def test_what_is_asked_for_while_a_read_runs_goes_into_the_next_one() -> None:
    source = Source()
    gathered = CoalescedReads(source.read)
    source.let.clear()
    asked = [asyncio.create_task(gathered.one(0))]
    await turns()
    asked += [asyncio.create_task(gathered.one(key)) for key in (1, 2, 1)]
    await turns()
    source.values[1] = "written while the first read ran"
    source.let.set()
    answers = await asyncio.gather(*asked)
    assert source.reads == [[0], [1, 2]]
    assert answers == [None, *["written while the first read ran", None, "written while the first read ran"]]


async def test_no_read_is_for_more_than_a_statement_takes_well() -> None:
    source = Source()
    gathered = CoalescedReads(source.read)
    await asyncio.gather(*map(gathered.one, range(MOST_AT_ONCE + 1)))
    assert [len(keys) for keys in source.reads] == [MOST_AT_ONCE, 1]


async def test_a_failed_read_fails_those_who_asked_and_nobody_later() -> None:
    source = Source()
    gathered = CoalescedReads(source.read)
    source.error = OSError("the database is away")
    for answer in await asyncio.gather(gathered.one(1), gathered.one(2), return_exceptions=True):
        assert isinstance(answer, OSError)
    source.error = None
    source.values[1] = "one"
    assert await gathered.one(1) == "one"


@pytest.mark.parametrize("error", [None, OSError("the database is away")])
async def test_one_who_leaves_takes_nobody_along(error: Exception | None) -> None:
    source = Source()
    source.error = error
    gathered = CoalescedReads(source.read)
    source.let.clear()
    leaving, staying = asyncio.create_task(gathered.one(1)), asyncio.create_task(gathered.one(1))
    await turns()
    leaving.cancel()
    source.let.set()
    results = await asyncio.gather(leaving, staying, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1] is error


async def test_what_nobody_waits_for_is_not_read() -> None:
    source = Source()
    gathered = CoalescedReads(source.read)
    source.let.clear()
    first, left = asyncio.create_task(gathered.one(1)), asyncio.create_task(gathered.one(2))
    await turns()
    third = asyncio.create_task(gathered.one(3))
    await turns()
    third.cancel()
    source.let.set()
    await asyncio.gather(first, left, third, return_exceptions=True)
    await turns()
    assert source.reads == [[1, 2]]


async def test_whoever_waits_when_the_loop_ends_its_reads_is_not_left_waiting() -> None:
    source = Source()
    gathered = CoalescedReads(source.read)
    source.let.clear()
    under_way = asyncio.create_task(gathered.one(1))
    await turns()
    queued = asyncio.create_task(gathered.one(2))
    await turns()
    [reading] = [task for task in asyncio.all_tasks() if task.get_name() == "coalesced-reads"]
    reading.cancel()
    async with asyncio.timeout(5):
        ends = await asyncio.gather(under_way, queued, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError] * 2

"""What the log in memory offers to tests beyond its contract: outages at will, and everything at a glance."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from application.ports import LogUnavailable
from tests.support.groups import NOON, cancelled, created, group, places
from tests.support.log import MemoryLog


async def test_everything_is_listed_in_order() -> None:
    log, one, two = MemoryLog(lambda: NOON), uuid4(), uuid4()
    await log.append(group(one, 1))
    await log.append(group(two, 1, created(), cancelled()))
    assert places(log.recorded) == [(one, 1), (two, 1), (two, 2)]
    assert log.facts() == [created(), created(), cancelled()]
    assert log.facts(one) == [created()]
    assert {event.recorded_at for event in log.recorded} == {NOON}


async def test_an_outage_refuses_whoever_is_in_a_hurry_and_lets_the_others_wait() -> None:
    log, stream = MemoryLog(), uuid4()
    with log.away():
        with pytest.raises(LogUnavailable):
            await log.append(group(stream, 1))
        with pytest.raises(LogUnavailable):
            await log.read_stream(stream)
        with pytest.raises(LogUnavailable):
            await log.read_after(0, 10)
        waiting = asyncio.create_task(log.append(group(stream, 1), patience="patient"))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert log.recorded == []
    assert await waiting == 1
    assert places(await log.read_stream(stream)) == [(stream, 1)]


async def test_a_fact_that_cannot_be_stored_fails_here_too() -> None:
    with pytest.raises(UnicodeEncodeError):
        await MemoryLog().append(group(uuid4(), 1, created("\ud800")))

"""A connection lost at the worst moment: whether the call was committed is found out, never guessed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from application.ports import Group
from infrastructure.event_store.appender import Appender
from tests.support.appends import DEADLINE_SECONDS, stored
from tests.support.groups import claim, created, group, places, updated
from tests.support.proxy import Proxy


@pytest.fixture
async def proxy(database: str) -> AsyncIterator[Proxy]:
    async with Proxy(database) as proxy:
        yield proxy


@pytest.fixture
async def appender(proxy: Proxy) -> AsyncIterator[Appender]:
    async with Appender(proxy.dsn) as appender:
        yield appender


def marker(new: Group) -> str:
    """What only the call that appends the group holds."""
    return str(new.meta.command_id)


@pytest.mark.parametrize("patience", ["prompt", "patient"])
async def test_a_cut_after_the_commit_answers_the_true_position_and_stores_once(
    database: str, proxy: Proxy, appender: Appender, patience: str
) -> None:
    new = group(uuid4(), 1, created(), updated())
    sprung = proxy.cut_after_commit(marker(new))
    position = await appender.append(new, patience=patience)  # type: ignore[arg-type]
    assert sprung.is_set()
    events = await stored(database)
    assert places(events) == [(new.facts[0].stream, 1), (new.facts[0].stream, 2)]
    assert position == events[-1].position


async def test_a_cut_before_the_server_hears_stores_once(
    database: str, proxy: Proxy, appender: Appender
) -> None:
    new = group(uuid4(), 1)
    sprung = proxy.cut_before_server_hears(marker(new))
    position = await appender.append(new)
    assert sprung.is_set()
    assert [event.position for event in await stored(database)] == [position]


async def test_one_cut_after_the_other_stores_once(database: str, proxy: Proxy, appender: Appender) -> None:
    new = group(uuid4(), 1)
    cuts = [cut(marker(new)) for cut in (proxy.cut_before_server_hears, proxy.cut_after_commit)]
    position = await appender.append(new, patience="patient")
    assert all(cut.is_set() for cut in cuts)
    assert [event.position for event in await stored(database)] == [position]


async def test_a_cut_batch_is_told_apart_group_by_group(
    database: str, proxy: Proxy, appender: Appender
) -> None:
    taken, streams = uuid4(), [uuid4() for _ in range(20)]
    assert await appender.append(group(taken, 1)) is not None
    groups = [group(stream, 1) for stream in streams]
    sprung = proxy.cut_after_commit(marker(groups[7]))
    *positions, refused = await asyncio.gather(
        *(appender.append(new) for new in groups), appender.append(group(taken, 1))
    )
    assert sprung.is_set()
    assert refused is None
    events = await stored(database)
    assert places(events) == [(stream, 1) for stream in (taken, *streams)]
    assert positions == [event.position for event in events[1:]]


async def test_the_version_that_another_process_took_meanwhile_is_refused(
    database: str, proxy: Proxy, appender: Appender
) -> None:
    stream = uuid4()
    mine, theirs = group(stream, 1, created("mine")), group(stream, 1, created("theirs"))
    sprung = proxy.cut_before_server_hears(marker(mine))
    proxy_refuses = asyncio.create_task(refuse_when(proxy, sprung))
    waiting = asyncio.create_task(appender.append(mine, patience="patient"))
    await proxy_refuses
    async with Appender(database) as other:
        assert await other.append(theirs) is not None
    proxy.accept()
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert await waiting is None
    assert [event.fact for event in await stored(database)] == [created("theirs")]


async def test_a_stored_claim_is_known_again_although_its_guard_has_moved_on(
    database: str, proxy: Proxy, appender: Appender
) -> None:
    task = uuid4()
    await appender.append(group(task, 1))
    mine = claim(uuid4(), task, 1)
    sprung = proxy.cut_after_commit(marker(mine))
    refusing = asyncio.create_task(refuse_when(proxy, sprung))
    waiting = asyncio.create_task(appender.append(mine, patience="patient"))
    await refusing
    async with Appender(database) as other:
        assert await other.append(group(task, 2, updated())) is not None
    proxy.accept()
    async with asyncio.timeout(DEADLINE_SECONDS):
        position = await waiting
    [event] = [event for event in await stored(database) if event.meta == mine.meta]
    assert position == event.position


async def refuse_when(proxy: Proxy, sprung: asyncio.Event) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        await sprung.wait()
    proxy.refuse()

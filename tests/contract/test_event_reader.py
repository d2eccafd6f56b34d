"""What every reader of the log promises, on each implementation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from msgspec.structs import replace

from application.ports import EventFilter, EventPage, Group, LoggedEvent, NewFact, Origin
from domain.facts import Answered, Attempt, ExecutionSucceeded, IdempotencyKeyUsed, TaskCreated
from domain.identity import execution_id, key_stream
from infrastructure.event_store.appender import Appender
from infrastructure.event_store.log import PostgresEventLog
from infrastructure.event_store.mapper import encode
from infrastructure.event_store.reader import PostgresEventReader
from infrastructure.postgres import pool
from interfaces.http.api import Events
from tests.support.event_logs import InMemory, InPostgres, Subject
from tests.support.event_reader import MemoryEventReader
from tests.support.groups import NOON, created, definition, group, meta, started, updated

LOOKED_AT = 5
HOUR = timedelta(hours=1)
ALL = EventFilter()
NO_HEADERS: Mapping[str, str] = {}


class Shelf:
    """A log, and a reader of it that looks at five events a page."""

    def __init__(self, subject: Subject, events: Events) -> None:
        self.subject = subject
        self.events = events

    async def store(self, *groups: Group) -> None:
        for one in groups:
            assert await self.subject.log.append(one) is not None

    async def all_pages(self, wanted: EventFilter, limit: int = 3) -> list[EventPage]:
        pages = [await self.events.page(wanted, 0, limit)]
        while pages[-1].more:
            pages.append(await self.events.page(wanted, pages[-1].next_after, limit))
        return pages

    async def matching(self, **wanted: Any) -> list[int]:
        pages = await self.all_pages(EventFilter(**wanted))
        return [event.position for page in pages for event in page.items]


@pytest.fixture(params=["memory", "postgres"])
async def shelf(request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    if request.param == "memory":
        memory = InMemory()
        yield Shelf(memory, MemoryEventReader(memory.memory, LOOKED_AT))
        return
    dsn: str = request.getfixturevalue("database")
    async with pool(dsn, 4) as connections, Appender(dsn) as appender:
        log = InPostgres(dsn, PostgresEventLog(connections, appender))
        yield Shelf(log, PostgresEventReader(connections, LOOKED_AT))


def task(namespace: str = "default", actor: str = "ann", **payload: Any) -> Group:
    fact = TaskCreated(at=NOON, namespace=namespace, definition=_with_payload(payload), next_run_at=NOON)
    return by(actor, uuid4(), fact)


def _with_payload(payload: Any) -> Any:
    plain = definition()
    return replace(plain, action=replace(plain.action, payload=payload))


def by(actor: str, stream: UUID, *facts: Any, version: int = 1) -> Group:
    return replace(group(stream, version, *facts), meta=replace(meta(), actor=actor, correlation_id="c-7"))


def succeeded(task_id: UUID, headers: Mapping[str, str] = NO_HEADERS) -> ExecutionSucceeded:
    answer = Answered(status_code=200, headers=dict(headers))
    attempt = Attempt(number=1, started_at=NOON, duration_ms=5, answer=answer)
    return ExecutionSucceeded(at=NOON, task_id=task_id, attempt=attempt)


def positions(events: Sequence[LoggedEvent]) -> list[int]:
    return [event.position for event in events]


async def test_an_event_is_shown_as_it_is_stored_with_who_and_when(shelf: Shelf) -> None:
    stream, before = uuid4(), datetime.now(UTC)
    await shelf.store(by("ann", stream, created()), by("bob", stream, updated("new"), version=2))
    [first, second] = (await shelf.events.page(ALL, 0, 10)).items
    assert (first.stream, first.version, first.topic, first.actor) == (stream, 1, "task.created.v1", "ann")
    assert (second.version, second.actor, second.correlation_id) == (2, "bob", "c-7")
    assert [first.namespace, second.namespace] == ["default", "default"]
    assert before - timedelta(seconds=5) < first.recorded_at <= second.recorded_at
    stored = msgspec.json.decode(encode(updated("new"), meta()))["fact"]
    assert second.data is not None
    assert msgspec.json.decode(second.data) == stored


async def test_a_users_address_and_reason_are_shown_and_others_have_none(shelf: Shelf) -> None:
    asked = task()
    told = replace(asked.meta, address="192.0.2.17", reason='"now" \\ \N{ROCKET}')
    await shelf.store(replace(asked, meta=told), task(actor="node"))
    [users, nodes] = (await shelf.events.page(ALL, 0, 10)).items
    assert (users.address, users.reason) == ("192.0.2.17", '"now" \\ \N{ROCKET}')
    assert (nodes.address, nodes.reason) == (None, None)
    assert await shelf.matching(actor="ann", namespace="default") == [1]


async def test_pages_follow_each_other_without_a_gap(shelf: Shelf) -> None:
    await shelf.store(*(task() for _ in range(8)))
    pages = await shelf.all_pages(ALL)
    assert [len(page.items) for page in pages] == [3, 3, 2]
    assert [page.next_after for page in pages] == [3, 6, 8]
    assert [page.more for page in pages] == [True, True, False]
    assert positions([event for page in pages for event in page.items]) == list(range(1, 9))


async def test_the_end_is_a_place_to_go_on_from(shelf: Shelf) -> None:
    empty = await shelf.events.page(ALL, 0, 3)
    assert (empty.items, empty.next_after, empty.more) == ([], 0, False)
    await shelf.store(task(), task())
    end = await shelf.events.page(ALL, 2, 3)
    assert (end.items, end.next_after, end.more) == ([], 2, False)
    assert await shelf.events.head() == 2
    await shelf.store(task())
    assert positions((await shelf.events.page(ALL, end.next_after, 3)).items) == [3]


async def test_nothing_is_read_beyond_the_position_that_bounds_it(shelf: Shelf) -> None:
    await shelf.store(*(task() for _ in range(4)))
    page = await shelf.events.page(ALL, 0, 10, 3)
    assert (positions(page.items), page.next_after, page.more) == ([1, 2, 3], 3, False)


async def test_a_page_looks_at_so_many_events_and_tells_where_to_go_on(shelf: Shelf) -> None:
    await shelf.store(*(task() for _ in range(7)), task(actor="rare"), *(task() for _ in range(4)))
    pages = await shelf.all_pages(EventFilter(actor="rare"))
    assert [(positions(page.items), page.next_after) for page in pages] == [([], 5), ([8], 10), ([], 12)]


async def test_a_full_page_goes_on_after_its_last_event(shelf: Shelf) -> None:
    await shelf.store(*(task() for _ in range(4)))
    page = await shelf.events.page(EventFilter(actor="ann"), 0, 2)
    assert (positions(page.items), page.next_after, page.more) == ([1, 2], 2, True)


async def test_a_topic_may_be_given_whole_or_by_its_beginning(shelf: Shelf) -> None:
    stream = uuid4()
    await shelf.store(
        by("ann", stream, created()),
        by("ann", stream, updated(), version=2),
        by("node", uuid4(), started(stream)),
    )
    assert await shelf.matching(topic="task.updated.v1") == [2]
    assert await shelf.matching(topic="task.") == [1, 2]
    assert await shelf.matching(topic="task%") == []


async def test_a_task_is_found_with_its_executions_and_its_keys(shelf: Shelf) -> None:
    one, other = task(), task()
    task_id = one.facts[0].stream
    run = execution_id(task_id, NOON, "scheduled")
    use = IdempotencyKeyUsed(at=NOON, key="k", namespace="default", task_id=task_id, digest="")
    await shelf.store(
        one,
        other,
        by("ann", task_id, updated(), version=2),
        by("node", run, started(task_id), succeeded(task_id)),
        by("ann", key_stream("default", "k"), use),
        by("node", uuid4(), started(other.facts[0].stream)),
    )
    assert await shelf.matching(task_id=task_id) == [1, 3, 4, 5, 6]


async def test_what_only_looks_as_if_it_named_a_task_or_a_namespace_is_left_out(shelf: Shelf) -> None:
    one = task()
    task_id = one.facts[0].stream
    await shelf.store(
        one,
        task(task_id=str(task_id), inner={"namespace": "other"}),
        by("node", uuid4(), started(uuid4()), succeeded(uuid4(), {"task_id": str(task_id)})),
        task(note=f'"task_id":"{task_id}","namespace":"other"'),
    )
    assert await shelf.matching(task_id=task_id) == [1]
    assert await shelf.matching(namespace="other") == []


async def test_an_actor_is_meant_as_a_whole(shelf: Shelf) -> None:
    names = ["ann", "anna", 'an"n', "Ännë"]
    await shelf.store(*(task(actor=name) for name in names))
    assert [await shelf.matching(actor=name) for name in names] == [[1], [2], [3], [4]]


async def test_a_namespace_is_that_of_the_streams_first_event(shelf: Shelf) -> None:
    billing = task(namespace="billing")
    task_id = billing.facts[0].stream
    run = started(task_id)
    run = replace(run, occurrence=replace(run.occurrence, namespace="billing"))
    execution = uuid4()
    await shelf.store(
        task(),
        billing,
        by("ann", task_id, updated(), version=2),
        by("node", execution, run, succeeded(task_id)),
    )
    assert await shelf.matching(namespace="billing") == [2, 3, 4, 5]
    assert await shelf.matching(namespace="default") == [1]
    events = (await shelf.events.page(ALL, 0, 10)).items
    assert [event.namespace for event in events] == ["default", *["billing"] * 4]


async def test_events_are_found_by_when_they_were_recorded(shelf: Shelf) -> None:
    await shelf.store(*(task() for _ in range(3)))
    events = (await shelf.events.page(ALL, 0, 10)).items
    second = events[1].recorded_at
    assert (await shelf.matching(recorded_from=second))[-1] == 3
    assert await shelf.matching(recorded_to=events[0].recorded_at) == []
    assert await shelf.matching(recorded_from=datetime(1, 1, 1, tzinfo=UTC)) == [1, 2, 3]
    assert await shelf.matching(recorded_from=events[2].recorded_at + HOUR) == []
    assert await shelf.matching(recorded_to=datetime.max.replace(tzinfo=UTC)) == [1, 2, 3]


async def test_a_stream_is_read_by_its_versions(shelf: Shelf) -> None:
    one = task()
    stream = one.facts[0].stream
    await shelf.store(one, task(), *(by("ann", stream, updated(), version=v) for v in (2, 3, 4)))
    first = await shelf.events.of_stream(stream, 0, 3)
    assert ([e.version for e in first.items], first.next_after, first.more) == ([1, 2, 3], 3, True)
    last = await shelf.events.of_stream(stream, first.next_after, 3)
    assert ([e.version for e in last.items], last.next_after, last.more) == ([4], 4, False)
    assert last.items[0].namespace == "default"
    assert positions(last.items) == [5]
    end = await shelf.events.of_stream(stream, 4, 3)
    assert (end.items, end.next_after, end.more) == ([], 4, False)


async def test_a_stream_tells_by_its_first_event_what_it_is_about(shelf: Shelf) -> None:
    one, run = task(namespace="billing"), uuid4()
    use = IdempotencyKeyUsed(at=NOON, key="k", namespace="default", task_id=run, digest="")
    await shelf.store(one, by("node", run, started(run)), by("ann", key_stream("default", "k"), use))
    stream = one.facts[0].stream
    assert await shelf.events.origin(stream) == Origin(kind="task", namespace="billing")
    assert await shelf.events.origin(run) == Origin(kind="execution", namespace="default")
    assert await shelf.events.origin(key_stream("default", "k")) == Origin(kind="other", namespace="default")
    assert await shelf.events.origin(uuid4()) is None


@pytest.mark.parametrize(
    ("stored", "actor", "data"),
    [
        (
            b'{"meta":{"actor":"later","correlation_id":"","command_id":"00000000-0000-0000-0000-000000000001",'
            b'"more":1},"fact":{"at":"soon","namespace":"default"}}',
            "later",
            {"at": "soon", "namespace": "default"},
        ),
        (b"\xff{", "unknown", None),
        (b'{"meta":1}', "unknown", None),
    ],
)
async def test_what_this_release_does_not_know_is_shown_as_it_is(
    shelf: Shelf, stored: bytes, actor: str, data: Any
) -> None:
    stream = uuid4()
    await shelf.subject.plant(stream, 1, "task.dreamt.v9", stored)
    [event] = (await shelf.events.page(ALL, 0, 10)).items
    assert (event.topic, event.actor) == ("task.dreamt.v9", actor)
    assert (None if event.data is None else msgspec.json.decode(event.data)) == data
    assert await shelf.matching(actor="unknown-to-all", task_id=stream) == []


async def test_groups_of_several_streams_are_read_in_the_order_of_the_log(shelf: Shelf) -> None:
    one, two = uuid4(), uuid4()
    facts = (NewFact(one, 1, created()), NewFact(two, 1, created()), NewFact(one, 2, updated()))
    await shelf.store(Group(facts=facts, meta=meta()))
    events = (await shelf.events.page(ALL, 0, 10)).items
    assert [(event.stream, event.version) for event in events] == [(one, 1), (two, 1), (one, 2)]

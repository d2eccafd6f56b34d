"""What every `RedactableLog` promises: events are rewritten together with what tells of it, or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID, uuid4

import psycopg
import pytest
from msgspec.structs import replace

from application.ports import EventLog, Group, Guard, NewFact, Snapshot
from application.redaction import RedactableLog, Rewrite, Stored
from application.streams import fold_task
from domain.facts import EventsRedacted
from domain.identity import disguised, redaction_stream
from domain.redaction import erased
from infrastructure.event_store.appender import Appender
from infrastructure.event_store.log import PostgresEventLog
from infrastructure.event_store.redactor import PostgresRedactor
from infrastructure.postgres import pool
from tests.support.entries import NOON
from tests.support.groups import created, group, updated
from tests.support.log import MemoryLog
from tests.support.redactable import MemoryRedactor


@dataclass
class Subject:
    log: EventLog
    rows: RedactableLog

    async def task(self, events: int = 1) -> UUID:
        stream = uuid4()
        await self.log.append(group(stream, 1, created("first")))
        for version in range(2, events + 1):
            await self.log.append(group(stream, version, updated(f"number {version}")))
        return stream

    def erased(self, stored: Stored) -> Rewrite:
        fact = stored.event.fact
        meta = replace(stored.event.meta, command_id=disguised(stored.event.meta.command_id))
        return self.rows.rewrite(stored, erased(fact), meta)  # type: ignore[arg-type]  # it is readable

    def telling(self, task: UUID, *rewrites: Rewrite, version: int = 1, guard: int = 1) -> Group:
        told = tuple(each.told for each in rewrites)
        fact = EventsRedacted(at=NOON, task_id=task, rewritten=told)
        return Group(
            facts=(NewFact(redaction_stream(task), version, fact),),
            guards=(Guard(task, guard),),
            meta=group(task, 1, created("any")).meta,
        )


@pytest.fixture(params=["memory", "postgres"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "memory":
        log = MemoryLog()
        yield Subject(log, MemoryRedactor(log))
        return
    dsn: str = request.getfixturevalue("database")
    async with pool(dsn, 4) as connections, Appender(dsn) as appender:
        yield Subject(PostgresEventLog(connections, appender), PostgresRedactor(connections))


async def test_an_event_is_rewritten_and_keeps_its_place_and_its_original_digest(subject: Subject) -> None:
    task = await subject.task()
    [before] = await subject.rows.read_streams([task])
    rewrite = subject.erased(before)
    position = await subject.rows.redact(subject.telling(task, rewrite), [rewrite], task)
    [after] = await subject.rows.read_streams([task])
    assert position == before.event.position + 1
    assert (before.redacted, after.redacted, after.original) == (False, True, before.original)
    assert after.event.meta.command_id == disguised(before.event.meta.command_id)
    unchanged = {"meta": before.event.meta, "fact": before.event.fact}
    assert replace(after.event, **unchanged) == before.event
    assert rewrite.told.sha256 == sha256(rewrite.state).hexdigest()
    assert after.seen != before.seen


async def test_what_was_rewritten_can_be_rewritten_again(subject: Subject) -> None:
    task = await subject.task()
    [before] = await subject.rows.read_streams([task])
    for version in (1, 2):
        [now] = await subject.rows.read_streams([task])
        rewrite = subject.erased(now)
        telling = subject.telling(task, rewrite, version=version)
        assert await subject.rows.redact(telling, [rewrite], task) is not None
    [after] = await subject.rows.read_streams([task])
    assert after.original == before.original


async def test_nothing_is_done_when_an_event_has_become_another_meanwhile(subject: Subject) -> None:
    task = await subject.task(events=2)
    stale = [subject.erased(each) for each in await subject.rows.read_streams([task])]
    assert await subject.rows.redact(subject.telling(task, stale[0], guard=2), stale[:1], task) is not None
    before = await subject.rows.read_streams([task, redaction_stream(task)])
    telling = subject.telling(task, *stale, version=2, guard=2)
    assert await subject.rows.redact(telling, stale, task) is None
    assert await subject.rows.read_streams([task, redaction_stream(task)]) == before


@pytest.mark.parametrize(("version", "guard"), [(2, 1), (1, 2)])
async def test_nothing_is_done_when_a_stream_or_a_guard_has_moved_on(
    subject: Subject, version: int, guard: int
) -> None:
    task = await subject.task()
    [before] = await subject.rows.read_streams([task])
    rewrite = subject.erased(before)
    telling = subject.telling(task, rewrite, version=version, guard=guard)
    assert await subject.rows.redact(telling, [rewrite], task) is None
    assert await subject.rows.read_streams([task]) == [before]


async def test_a_group_may_tell_of_no_event(subject: Subject) -> None:
    task = await subject.task()
    assert await subject.rows.redact(group(task, 2, updated("second")), [], task) is not None
    assert [each.event.version for each in await subject.rows.read_streams([task])] == [1, 2]


async def test_what_was_kept_of_a_task_is_forgotten_and_kept_no_more(
    subject: Subject,
) -> None:
    task = await subject.task()
    events = await subject.log.read_stream(task)
    state = fold_task(task, events)
    assert state is not None
    await subject.log.keep(Snapshot(events[-1].position, state))
    assert (await subject.log.read_task(task)).snapshot is not None
    [before] = await subject.rows.read_streams([task])
    rewrite = subject.erased(before)
    await subject.rows.redact(subject.telling(task, rewrite), [rewrite], task)
    assert (await subject.log.read_task(task)).snapshot is None
    await subject.log.keep(Snapshot(events[-1].position, state))
    assert (await subject.log.read_task(task)).snapshot is None


async def test_what_one_command_has_appended_is_found_next_to_it(subject: Subject) -> None:
    one, other, stranger = uuid4(), uuid4(), uuid4()
    command = group(one, 1, created("one"))
    together = (*command.facts, NewFact(other, 1, created("other")))
    await subject.log.append(group(stranger, 1, created("stranger")))
    await subject.log.append(replace(command, facts=together))
    await subject.log.append(group(one, 2, updated("second")))
    first, second = await subject.rows.read_streams([one])
    found = await subject.rows.read_beside([first], 2)
    assert [each.event.stream for each in found] == [other]
    assert await subject.rows.read_beside([first], 0) == []
    assert await subject.rows.read_beside([second], 2) == []
    assert list(await subject.rows.read_beside([], 2)) == []
    [before] = found
    rewrite = subject.erased(before)
    await subject.rows.redact(subject.telling(other, rewrite), [rewrite], other)
    assert [each.redacted for each in await subject.rows.read_beside([first], 2)] == [True]


async def test_streams_that_are_not_there_are_named(subject: Subject) -> None:
    task, absent = await subject.task(), sorted([uuid4(), uuid4()])
    assert await subject.rows.missing([task, *absent]) == absent
    assert await subject.rows.missing([]) == []


async def test_a_stream_tells_how_far_it_has_come(subject: Subject) -> None:
    assert await subject.rows.head_version(await subject.task(events=3)) == 3
    assert await subject.rows.head_version(uuid4()) == 0


async def test_nobody_else_may_change_an_event(database: str) -> None:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute(
            "INSERT INTO events (originator_id, originator_version, topic, state)"
            " VALUES (gen_random_uuid(), 1, 'x', 'y')"
        )
        for change in ("UPDATE events SET state = 'z'", "DELETE FROM events", "TRUNCATE events"):
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
                await connection.execute(change.encode())


async def test_who_says_to_be_a_redaction_can_do_no_more_than_one(database: str) -> None:
    rewritten = "convert_to('{},\"redacted\":{\"sha256\":\"' || encode(%s, 'hex') || '\"}}', 'UTF8')"
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute(
            "INSERT INTO events (originator_id, originator_version, topic, state)"
            " VALUES (gen_random_uuid(), 1, 'x', 'y')"
        )
        await connection.execute("SET chronoledger.redacting = 'on'")
        for state in ("'z'", "NULL", rewritten % "sha256('z')"):
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="ends with the digest"):
                await connection.execute(f"UPDATE events SET state = {state}".encode())
        for _ in range(2):
            await connection.execute(
                f"UPDATE events SET state = {rewritten % 'appended_digest(state)'}".encode()
            )
        for column in ("topic = 'z'", "originator_version = 2", "recorded_at = now()", "notification_id = 9"):
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="only the state"):
                await connection.execute(f"UPDATE events SET {column}".encode())
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
            await connection.execute("DELETE FROM events")

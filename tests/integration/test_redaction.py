"""Redactions in a real database: what is left of them, and that read models come to the same by any way."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import msgspec
import pytest
from msgspec.structs import replace

from application.audit import Audit, NotYetSealed
from application.ports import NewFact
from application.redaction import Redactions
from application.tasks import Accepted, Request, TaskCommands
from domain.errors import ExecutionsNotOver, TaskNotOver
from domain.facts import (
    Answered,
    Attempt,
    EventsRedacted,
    ExecutionStarted,
    ExecutionSucceeded,
    Rewritten,
    TaskCreated,
)
from domain.identity import redaction_stream
from domain.redaction import original_digest
from infrastructure.audit_log.keys import KeyRing
from infrastructure.audit_log.store import PostgresAuditLog
from infrastructure.clock import SystemClock
from infrastructure.event_store.appender import Appender
from infrastructure.event_store.log import PostgresEventLog
from infrastructure.event_store.mapper import encode, encode_redacted
from infrastructure.event_store.redactor import PostgresRedactor
from infrastructure.postgres import pool
from infrastructure.projector.rebuild import rebuild
from interfaces.bootstrap.services import RunsOfReadModels
from interfaces.http.audit import Evidence as Bundle
from projections import PROJECTIONS
from projections.queries import ReadModels
from tests.support.checking import checked
from tests.support.entries import META, attempt, cancelled, created, started, succeeded
from tests.support.http_service import SettableVisibility
from tests.support.projecting import connect, contents, project
from tests.support.random_log import RandomLog
from tests.support.sealing import KEY, as_superuser, seal, verified
from tests.support.stored import append

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

REQUEST = Request(namespace="default", actor="tester", correlation_id="test")


def answer(body: str) -> Attempt:
    return attempt(1, Answered(status_code=200, body=body))


async def redact(database: str, task_id: UUID, namespace: str = "default") -> Accepted:
    async with pool(database, 4) as connections, Appender(database) as appender:
        log = PostgresEventLog(connections, appender)
        runs = RunsOfReadModels(ReadModels(connections), SettableVisibility(), 2.0)
        command = Redactions(log, PostgresRedactor(connections), runs, SystemClock())
        request = Request(namespace=namespace, actor="tester", correlation_id="test")
        return await command.redact(task_id, request, if_match=None)


async def redacted_of(database: str, facts: Sequence[NewFact]) -> list[UUID]:
    """Redact every task that may be; those that were."""
    done = []
    for new in facts:
        if isinstance(new.fact, TaskCreated):
            try:
                await redact(database, new.stream, new.fact.namespace)
            except (TaskNotOver, ExecutionsNotOver):
                continue
            done.append(new.stream)
    return done


@pytest.mark.parametrize("seed", [3, 4])
async def test_a_rebuild_and_a_check_come_to_the_same_rows(database: str, seed: int) -> None:
    async with await connect(database) as connection:
        facts = RandomLog(seed).grow(800)
        await append(connection, facts)
        await project(connection)
        redacted = await redacted_of(database, facts)
        assert len(redacted) >= 3
        await project(connection)
        found, told = await checked(database)
        assert (found.differences, told.differences) == (0, [])
        before = await contents(connection)
        await rebuild(database, PROJECTIONS)
        assert await contents(connection) == before
        assert await redacted_of(database, facts) == redacted
        assert await states_of(connection, redacted) == set()


async def states_of(connection: AsyncConnection, tasks: Sequence[UUID]) -> set[str]:
    """What is stored of payloads and bodies of tasks, besides the mark."""
    cursor = await connection.execute(
        "SELECT payload::text FROM tasks WHERE id = ANY (%(ids)s)"
        " UNION SELECT response_body FROM task_results WHERE task_id = ANY (%(ids)s)",
        {"ids": list(tasks)},
    )
    return {row[0] for row in await cursor.fetchall()} - {None, '"[redacted]"', "[redacted]", ""}


async def test_a_redacted_task_is_told_by_read_models_since_when(database: str) -> None:
    async with await connect(database) as connection, pool(database, 2) as connections:
        await append(connection, [created(), started(), succeeded(2, answer("x"))])
        task_id = created().stream
        async with Appender(database) as appender:
            commands = TaskCommands(PostgresEventLog(connections, appender), SystemClock(), uuid4)
            await commands.cancel(task_id, REQUEST, if_match=None)
        await project(connection)
        accepted = await redact(database, task_id)
        await project(connection)
        task = await ReadModels(connections).task("default", task_id)
        assert task is not None
        assert task.redacted_at == accepted.state.redacted_at is not None
        assert (await ReadModels(connections).runs(task_id)) == [(started().stream, True)]


@pytest.mark.parametrize("long", [0, 1, 40, 70_000])
async def test_the_database_tells_the_digest_that_the_domain_tells(database: str, long: int) -> None:
    fact = ExecutionSucceeded(
        at=created().fact.at,
        task_id=UUID(int=1),
        attempt=attempt(1, Answered(status_code=200, body="x" * long)),
    )
    original = sha256(encode(fact, META)).digest()
    states = [
        encode(fact, META),
        encode_redacted(fact, META, original),
        encode_redacted(fact, META, original)[:-1] + b" ",
        b"x" * long,
        encode_redacted(fact, META, original)[-90:],
        encode_redacted(fact, META, original)[-89:],
    ]
    async with await connect(database) as connection:
        for state in states:
            cursor = await connection.execute("SELECT appended_digest(%s)", (state,), binary=True)
            assert await cursor.fetchone() == (original_digest(state) or sha256(state).digest(),)


async def sealed_and_redacted(database: str, connection: AsyncConnection) -> UUID:
    """A log that was sealed, of a task that was redacted then; its execution."""
    facts = [created(), started(), succeeded(2, answer("secret")), cancelled(version=2)]
    await append(connection, facts)
    await seal(connection)
    await project(connection)
    await redact(database, created().stream)
    return started().stream


async def findings(database: str) -> list[tuple[str, int, int]]:
    return (await verified(database))[1].places()


async def test_the_log_verifies_before_and_after_a_redaction(database: str) -> None:
    async with await connect(database) as connection:
        await sealed_and_redacted(database, connection)
        assert await findings(database) == []
        await seal(connection)
        assert await findings(database) == []
    found, _ = await verified(database)
    assert (found.rewritten, found.redacted_tasks) == (3, 1)


async def test_what_was_redacted_before_it_was_sealed_is_sealed_as_it_was(database: str) -> None:
    async with await connect(database) as connection:
        await append(connection, [created(), cancelled(version=2)])
        await project(connection)
        await redact(database, created().stream)
        await seal(connection)
        assert await findings(database) == []


async def test_who_changes_a_redacted_event_is_found(database: str) -> None:
    improved = "convert_to(replace(convert_from(state, 'UTF8'), '[redacted]', '[improved]'), 'UTF8')"
    async with await connect(database) as connection:
        await sealed_and_redacted(database, connection)
        await as_superuser(connection, f"UPDATE events SET state = {improved} WHERE notification_id = 3")
    assert await findings(database) == [("event_changed", 3, 3)]


async def test_who_redacts_by_hand_is_found(database: str) -> None:
    async with await connect(database) as connection:
        await append(connection, [created(), started()])
        await seal(connection)
        [(state,)] = await (
            await connection.execute("SELECT state FROM events WHERE notification_id = 1")
        ).fetchall()
        forged = encode_redacted(created(name="another").fact, META, sha256(state).digest())
        await as_superuser(
            connection, f"UPDATE events SET state = '\\x{forged.hex()}' WHERE notification_id = 1"
        )
    assert await findings(database) == [("event_changed", 1, 1)]


@pytest.mark.parametrize("stream", [redaction_stream(created().stream), uuid4()])
async def test_who_redacts_by_hand_and_tells_of_it_is_found(database: str, stream: UUID) -> None:
    async with await connect(database) as connection:
        await append(connection, [created(), started(), succeeded(2, answer("paid")), cancelled(version=2)])
        await seal(connection)
        [(state,)] = await (
            await connection.execute("SELECT state FROM events WHERE notification_id = 3")
        ).fetchall()
        unpaid = encode_redacted(succeeded(2, answer("unpaid")).fact, META, sha256(state).digest())
        told = Rewritten(3, started().stream, sha256(unpaid).hexdigest())
        fact = EventsRedacted(at=created().fact.at, task_id=created().stream, rewritten=(told,))
        async with connection.transaction():
            await connection.execute("SET LOCAL chronoledger.redacting = 'on'")
            await connection.execute("UPDATE events SET state = %s WHERE notification_id = 3", (unpaid,))
            await append(connection, [NewFact(stream, 1, fact)])
        await seal(connection)
    assert await findings(database) == [("event_changed", 3, 3)]


async def test_evidence_of_a_redacted_execution_proves_what_is_left(database: str) -> None:
    async with await connect(database) as connection, pool(database, 2) as connections:
        run = await sealed_and_redacted(database, connection)
        audit = Audit(PostgresAuditLog(connections))
        with pytest.raises(NotYetSealed):
            await audit.evidence(run)
        await seal(connection)
        evidence = await audit.evidence(run)
    bundle = msgspec.json.decode(msgspec.json.encode(Bundle.of(evidence)), type=Bundle).to_domain()
    assert bundle == evidence
    assert b"secret" not in evidence.events[1].state
    flaw = KeyRing([KEY.public]).flaw
    assert list(evidence.findings(flaw)) == []
    untold = replace(evidence, redactions=())
    assert [found.kind for found in untold.findings(flaw)] == ["event_changed"]
    forged = replace(
        evidence.events[1], state=evidence.events[1].state.replace(b'"duration_ms":12', b'"duration_ms":13')
    )
    changed = replace(evidence, events=(evidence.events[0], forged))
    assert [(found.kind, found.position) for found in changed.findings(flaw)] == [("event_changed", 3)]


async def test_executions_that_the_ledger_could_not_apply_are_erased_as_well(database: str) -> None:
    async with await connect(database) as connection:
        begun = started()
        assert isinstance(begun.fact, ExecutionStarted)
        unfit = replace(begun.fact, occurrence=replace(begun.fact.occurrence, task_name="n" * 256))
        facts = [created(), replace(begun, fact=unfit), succeeded(2, answer("secret")), cancelled(version=2)]
        await append(connection, facts)
        assert await project(connection) != []
        await redact(database, created().stream)
        cursor = await connection.execute(
            "SELECT count(*) FROM events WHERE position('secret'::bytea IN state) > 0"
        )
        assert await cursor.fetchone() == (0,)

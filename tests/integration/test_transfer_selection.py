"""Parts of a log: by namespace, task and position, each stream whole or refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from msgspec.structs import replace

from application.ports import NewFact
from domain.facts import EventsRedacted, Rewritten
from domain.identity import redaction_stream
from infrastructure.transfer import export as reading
from infrastructure.transfer.database import append, connected
from infrastructure.transfer.errors import NoSuchNamespace, NoSuchTask, StreamsCut
from infrastructure.transfer.export import export_events
from infrastructure.transfer.format import Selection
from infrastructure.transfer.imports import import_events
from tests.support.entries import NOON, created
from tests.support.projecting import connect
from tests.support.stored import append as append_facts
from tests.support.transfers import Progress, events, fill


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small log has many."""
    monkeypatch.setattr(reading, "PART_EVENTS", 40)


@pytest.fixture
def log(database: str) -> str:
    """The DSN of a database with some 700 events."""
    asyncio.run(fill(database))
    return database


def transferred(log: str, target: str, path: Path, selection: Selection) -> Sequence[tuple[Any, ...]]:
    """What arrives of a selection."""
    export_events(log, path, selection, Progress())
    import_events(target, path, partial=True, report=Progress())
    return events(target)


async def fill_with_redacted_tasks(dsn: str, tasks: dict[UUID, str]) -> None:
    """Tasks, each in a namespace, and what tells of the redaction of each, in a stream of several events."""
    async with await connect(dsn) as connection:
        for task_id, namespace in tasks.items():
            begun = created(stream=task_id)
            told = EventsRedacted(at=NOON, task_id=task_id, rewritten=(Rewritten(1, task_id, "00"),))
            facts = [
                NewFact(task_id, 1, replace(begun.fact, namespace=namespace)),
                NewFact(redaction_stream(task_id), 1, told),
                NewFact(redaction_stream(task_id), 2, told),
            ]
            await append_facts(connection, facts)


def plant_task(dsn: str, state: bytes) -> None:
    """Add a stream that begins so."""
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO events VALUES (gen_random_uuid(), 1, 'task.created.v1', %s)", [state])


def selected(dsn: str, selection: Selection) -> Sequence[tuple[Any, ...]]:
    """The rows of a selection."""
    with connected(dsn) as connection:
        return [row for portion in reading.portions(connection, selection, 0, 1_000) for row in portion.rows]


def by_beginning(log: str, wanted: Callable[[UUID, dict[str, Any]], bool]) -> Sequence[tuple[Any, ...]]:
    """The events of the streams whose first fact is wanted."""
    rows = events(log)
    streams = {row[0] for row in rows if row[1] == 1 and wanted(row[0], msgspec.json.decode(row[3])["fact"])}
    return [row for row in rows if row[0] in streams]


def test_a_namespace_is_what_its_streams_begin_with(log: str, other_database: str, tmp_path: Path) -> None:
    tasks = {
        str(row[0]): msgspec.json.decode(row[3])["fact"]["namespace"]
        for row in events(log, "topic = 'task.created.v1'")
    }

    def of_other(_: UUID, fact: dict[str, Any]) -> bool:
        namespace = (
            tasks[fact["task_id"]] if "rewritten" in fact else fact.get("occurrence", fact)["namespace"]
        )
        return bool(namespace == "other")

    expected = by_beginning(log, of_other)
    assert 0 < len(expected) < len(events(log))
    assert transferred(log, other_database, tmp_path / "a.zst", Selection(namespace="other")) == expected


def test_a_payload_that_names_a_namespace_belongs_to_no_other(
    database: str, other_database: str, tmp_path: Path
) -> None:
    state = b'{"meta":{},"fact":{"namespace":"mine","payload":{"namespace":"other"}}}'
    plant_task(database, state)
    with pytest.raises(NoSuchNamespace, match='no task of the namespace "other"'):
        export_events(database, tmp_path / "a.zst", Selection(namespace="other"), Progress())
    assert selected(database, Selection(namespace="other")) == []
    assert transferred(database, other_database, tmp_path / "b.zst", Selection(namespace="mine")) == events(
        database
    )


def test_a_payload_that_names_a_task_belongs_to_no_other(database: str) -> None:
    asyncio.run(fill_with_redacted_tasks(database, {UUID(int=7): "mine"}))
    state = b'{"meta":{},"fact":{"payload":{"task_id":"%s"}}}' % str(UUID(int=7)).encode()
    plant_task(database, state)
    assert [row[0] for row in selected(database, Selection(task_id=UUID(int=7)))] == [1, 2, 3]


@pytest.mark.parametrize("is_execution", [False, True])
def test_a_task_that_nobody_knows_is_refused_and_no_file_is_left(
    log: str, tmp_path: Path, *, is_execution: bool
) -> None:
    runs = events(log, "topic = 'execution.started.v1'")
    unknown = runs[0][0] if is_execution else UUID(int=7)
    with pytest.raises(NoSuchTask, match=f"there is no task {unknown} in the log"):
        export_events(log, tmp_path / "a.zst", Selection(task_id=unknown), Progress())
    assert list(tmp_path.iterdir()) == []


def test_a_task_comes_with_all_that_became_of_it(log: str, other_database: str, tmp_path: Path) -> None:
    runs = [
        msgspec.json.decode(row[3])["fact"]["occurrence"]["task_id"]
        for row in events(log, "topic = 'execution.started.v1'")
    ]
    task = max(set(runs), key=runs.count)

    def of_task(stream: UUID, fact: dict[str, Any]) -> bool:
        return task in {str(stream), fact.get("occurrence", fact).get("task_id")}

    expected = by_beginning(log, of_task)
    assert len({row[0] for row in expected}) > 2
    assert transferred(log, other_database, tmp_path / "a.zst", Selection(task_id=UUID(task))) == expected


def test_what_tells_of_redactions_comes_with_their_tasks(
    database: str, other_database: str, tmp_path: Path
) -> None:
    asyncio.run(fill_with_redacted_tasks(database, {UUID(int=1): "mine", UUID(int=2): "other"}))
    all_of_it = {row[4]: row for row in events(database)}
    for selection, positions in (
        (Selection(namespace="mine"), [1, 2, 3]),
        (Selection(namespace="other"), [4, 5, 6]),
        (Selection(task_id=UUID(int=1)), [1, 2, 3]),
    ):
        assert [row[0] for row in selected(database, selection)] == positions
    arrived = transferred(database, other_database, tmp_path / "a.zst", Selection(namespace="other"))
    assert arrived == [all_of_it[position] for position in (4, 5, 6)]


def test_what_begins_in_the_middle_of_streams_is_not_imported(
    log: str, other_database: str, tmp_path: Path
) -> None:
    first = events(log)[300][4]
    path = tmp_path / "tail.zst"
    manifest = export_events(log, path, Selection(first=first), Progress())
    kept = {(row[0], row[1]) for row in events(log)[300:]}
    assert manifest.cut == sum(version > 1 and (stream, version - 1) not in kept for stream, version in kept)
    with pytest.raises(StreamsCut, match=f"{manifest.cut} events of "):
        import_events(other_database, path, partial=True, report=Progress())
    assert events(other_database) == []


def test_no_event_is_stored_without_the_one_that_it_follows(log: str, other_database: str) -> None:
    rows = [(row[4], *row[:4], row[5]) for row in events(log)]
    broken = next(place for place, row in enumerate(rows) if row[2] > 1)
    with connected(other_database) as connection, pytest.raises(StreamsCut, match=f"event {rows[broken][0]}"):
        append(connection, rows[broken:])
    assert events(other_database) == []

"""A long past, written by SQL straight into the tables: 100,000 and more executions in seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import UUID

import psycopg

from application.ports import Meta
from benchmarks import ledger, load
from benchmarks.stage import Stage
from domain.facts import Answered, Attempt, ExecutionStarted, ExecutionSucceeded, Occurrence
from infrastructure.event_store.mapper import encode

SQL = Path(__file__).parent / "sql"
EVENTS_EACH = 2
CHUNK = 50_000

# Every writer takes this lock: positions are in commit order, and a reader misses nothing.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('chronoledger.events', 0))"
MOVE_CHECKPOINTS = (
    "UPDATE projection_checkpoints SET position = (SELECT coalesce(max(notification_id), 0) FROM events)"
)

# What stands in the templates where each occurrence has its own.
_TASK = UUID(int=0)
_DUE = datetime(2000, 1, 1, tzinfo=UTC)


async def store(stage: Stage, dsn: str, *, tasks: int, results: int, rows: bool, earlier: int = 0) -> None:
    """Create dormant tasks, and then executions of all dormant tasks, `earlier` ones being there already.

    No service may run meanwhile. Without `rows` there are only the events, for projectors to catch up with.
    """
    url = load.dormant_url(stage.sink.url)
    await _store_tasks(stage, dsn, tasks)
    with psycopg.connect(dsn) as connection:
        _execute(connection, "history_tables", {"url": url})
        for first in range(earlier, earlier + results, CHUNK):
            last = min(first + CHUNK, earlier + results) - 1
            _write_chunk(connection, first, last, rows=rows)
            stage.progress.count(last + 1 - earlier, results, "executions stored")


async def _store_tasks(stage: Stage, dsn: str, tasks: int) -> None:
    """Their events by SQL; the projector makes the rows of them."""
    [planned] = load.dormant(stage.sink.url, 1)
    group = load.created(_TASK, planned)
    created = encode(group.facts[0].fact, group.meta).decode()
    with psycopg.connect(dsn) as connection:
        connection.execute(LOCK)
        _execute(connection, "write_history_tasks", {"created": created, "tasks": tasks})
    with stage.service(dsn, ("projector",), healthy=False):  # it is behind by all of them
        await ledger.caught_up(dsn, partial(stage.progress.count, what="events projected"))


def _write_chunk(connection: psycopg.Connection, first: int, last: int, *, rows: bool) -> None:
    connection.execute("TRUNCATE history_chunk")
    _execute(connection, "fill_history_chunk", {"first": first, "last": last})
    connection.execute(LOCK)
    _execute(connection, "write_history_events", _templates())
    if rows:
        _execute(connection, "write_history_rows", {})
        _execute(connection, "count_history_rows", {"rows": last + 1 - first})
        connection.execute(MOVE_CHECKPOINTS)
    connection.commit()


def _execute(connection: psycopg.Connection, name: str, parameters: dict[str, object]) -> None:
    statement = (SQL / f"{name}.sql").read_bytes()
    psycopg.ClientCursor(connection).execute(statement, parameters)


def _templates() -> dict[str, object]:
    """Both facts of an execution as they are stored."""
    occurrence = Occurrence(
        task_id=_TASK, task_version=1, task_name="benchmark", namespace="default", due_at=_DUE
    )
    started = ExecutionStarted(
        at=_DUE, occurrence=occurrence, node="history", lease_until=_DUE, next_run_at=load.FAR
    )
    headers = {"content-type": "text/plain", "content-length": "2"}
    answer = Answered(status_code=200, headers=headers, body="ok")
    attempt = Attempt(number=1, started_at=_DUE, duration_ms=2, answer=answer)
    succeeded = ExecutionSucceeded(at=_DUE, task_id=_TASK, attempt=attempt)
    meta = Meta(actor="scheduler:history", correlation_id="history", command_id=_TASK)
    return {
        "task": str(_TASK),
        "due": _DUE.isoformat().replace("+00:00", "Z"),
        "started": encode(started, meta).decode(),
        "succeeded": encode(succeeded, meta).decode(),
    }

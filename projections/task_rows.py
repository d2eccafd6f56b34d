"""Rows of `tasks`: as the fold sees them, and from and to the tables."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from domain.definition import Cron, Definition, Interval, OneOff
from projections.copying import (
    bigint,
    double,
    head,
    instant,
    jsonb,
    microseconds,
    put,
    text,
    uuids,
    verbatim,
    word,
)
from projections.statements import statement
from projections.taking import Taken, take
from projections.views import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Sequence

    from psycopg import AsyncConnection


class TaskRow(Struct, frozen=True, kw_only=True, gc=False):
    """What the fold knows of a task. `definition` None: the stored one stays.

    `fires_at` is when the call of `next_run` is to be sent, after so many `runs` since the trigger changed.
    `paused_at`, `resumed_at` and `pause_note` tell of the last pause; a paused task keeps its `next_run`.
    """

    id: UUID
    namespace: str
    status: TaskStatus
    created_at: datetime
    updated_at: datetime
    next_run: datetime | None
    fires_at: datetime | None
    runs: int
    version: int
    position: int
    paused_at: datetime | None = None
    resumed_at: datetime | None = None
    pause_note: str | None = None
    redacted_at: datetime | None = None
    definition: Definition | None = None


_definition = msgspec.json.Decoder(Definition)

# In the order in which take_task_states.sql returns them.
_STATE = tuple(name for name in TaskRow.__struct_fields__ if name != "definition")


async def take_tasks(connection: AsyncConnection, ids: Collection[UUID]) -> Taken[TaskRow]:
    """Take the states of those tasks that have one out of their table; definitions stay where they are."""
    return await take(connection, "take_task_states", ids, _taken)


def _taken(row: Sequence[Any]) -> TaskRow:
    return TaskRow(**dict(zip(_STATE, row, strict=True)))


async def with_definitions(
    connection: AsyncConnection, rows: dict[UUID, TaskRow], ids: Collection[UUID]
) -> dict[UUID, TaskRow]:
    """The rows; those of `ids` with their stored definitions."""
    if not ids:
        return rows
    cursor = await connection.execute(statement("get_definitions"), {"ids": uuids(ids)})
    stored = {row[0]: _definition.decode(row[1]) for row in await cursor.fetchall()}
    return rows | {
        task_id: replace(rows[task_id], definition=definition)
        for task_id, definition in stored.items()
        if task_id in rows
    }


async def put_tasks(connection: AsyncConnection, rows: Collection[TaskRow], stored: Container[UUID]) -> None:
    """Put states back, and new definitions: of the tasks in `stored` in the place of the old one."""
    defined = [row for row in rows if row.definition is not None]
    if replaced := [row.id for row in defined if row.id in stored]:
        await connection.execute(statement("drop_task_definitions"), {"ids": uuids(replaced)})
    await put(connection, "put_task_definitions", defined, _definition_fields)
    await put(connection, "put_task_states", rows, _state_fields)


_state_head = head("uuid", "int8", "int8", "int8", "int8", "int8")
_STATE_FIELDS = 14
_definition_head = head("uuid", "int8")
_DEFINITION_FIELDS = 16


def _state_fields(row: TaskRow) -> tuple[bytes, ...]:
    return (
        _state_head(
            _STATE_FIELDS,
            16,
            row.id.int.to_bytes(16),
            8,
            microseconds(row.created_at),
            8,
            microseconds(row.updated_at),
            8,
            row.runs,
            8,
            row.version,
            8,
            row.position,
        ),
        word(row.namespace),
        word(row.status),
        instant(row.next_run),
        instant(row.fires_at),
        instant(row.paused_at),
        instant(row.resumed_at),
        text(row.pause_note),
        instant(row.redacted_at),
    )


def _definition_fields(row: TaskRow) -> tuple[bytes, ...]:
    """The last one is the faithful one, the others can be searched."""
    definition = row.definition
    assert definition is not None, "only rows with a definition come here"
    trigger, action = definition.trigger, definition.action
    return (
        _definition_head(_DEFINITION_FIELDS, 16, row.id.int.to_bytes(16), 8, microseconds(row.created_at)),
        word(row.namespace),
        text(definition.name),
        word(str(trigger.__struct_config__.tag)),
        instant(trigger.datetime if isinstance(trigger, OneOff) else None),
        text(trigger.cron if isinstance(trigger, Cron) else None),
        bigint(trigger.every_seconds if isinstance(trigger, Interval) else None),
        word(trigger.timezone),
        word(action.method),
        text(action.url),
        jsonb(action.headers),
        jsonb(action.payload),
        double(action.timeout_seconds),
        jsonb(definition.retry),
        _faithful(definition),
    )


def _faithful(definition: Definition) -> bytes:
    return verbatim(msgspec.json.encode(definition))

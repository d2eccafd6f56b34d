"""Rows of `tasks`: as the fold sees them, and to and from the table."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from msgspec import Struct

from domain.definition import Cron, Definition, Interval, OneOff
from projections.plain import plain_json, plain_text
from projections.projection import columns
from projections.statements import statement
from projections.views import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from psycopg import AsyncConnection


class TaskRow(Struct, frozen=True, kw_only=True):
    """What the fold knows of a row. `definition` None: the stored one stays.

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
    definition: Definition | None = None


class _Spread(Struct, frozen=True):
    """The columns that a definition is spread over."""

    name: str
    trigger_type: str
    trigger_time: datetime | None
    cron_expr: str | None
    every_seconds: int | None
    timezone: str
    method: str
    url: str
    headers: str
    payload: str | None
    timeout_seconds: float
    retry: str
    definition: str


def _spread(definition: Definition) -> _Spread:
    """A definition as columns: `definition` is the faithful one, the others can be searched."""
    trigger, action = definition.trigger, definition.action
    return _Spread(
        name=plain_text(definition.name),
        trigger_type=str(trigger.__struct_config__.tag),
        trigger_time=trigger.datetime if isinstance(trigger, OneOff) else None,
        cron_expr=plain_text(trigger.cron) if isinstance(trigger, Cron) else None,
        every_seconds=trigger.every_seconds if isinstance(trigger, Interval) else None,
        timezone=plain_text(trigger.timezone),
        method=plain_text(action.method),
        url=plain_text(action.url),
        headers=plain_json(action.headers),
        payload=None if action.payload is None else plain_json(action.payload),
        timeout_seconds=action.timeout_seconds,
        retry=plain_json(definition.retry),
        definition=msgspec.json.encode(definition).decode(),
    )


# In the order in which load_tasks.sql selects them.
_LOADED = tuple(name for name in TaskRow.__struct_fields__ if name != "definition")
_STATE = (
    *("id", "status", "updated_at", "next_run", "fires_at", "runs", "version", "position"),
    *("paused_at", "resumed_at", "pause_note"),
)


async def load_tasks(connection: AsyncConnection, ids: Sequence[UUID]) -> dict[UUID, TaskRow]:
    """The rows of those tasks that have one, without their definitions."""
    if not ids:
        return {}
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(statement("load_tasks"), {"ids": ids})
        return {row[0]: TaskRow(**dict(zip(_LOADED, row, strict=True))) for row in await cursor.fetchall()}


async def write_tasks(connection: AsyncConnection, rows: Collection[TaskRow]) -> None:
    """Write rows over older states of themselves: whole where there is a definition, else what can move."""
    if whole := [row for row in rows if row.definition is not None]:
        definitions = [_spread(row.definition) for row in whole if row.definition is not None]
        parameters = _columns(whole, _LOADED) | columns(definitions, _Spread.__struct_fields__)
        await connection.execute(statement("write_tasks"), parameters)
    if moved := [row for row in rows if row.definition is None]:
        await connection.execute(statement("advance_tasks"), _columns(moved, _STATE))


def _columns(rows: Collection[TaskRow], names: Sequence[str]) -> dict[str, Any]:
    found = columns(rows, names)
    found["pause_note"] = [None if note is None else plain_text(note) for note in found["pause_note"]]
    return found

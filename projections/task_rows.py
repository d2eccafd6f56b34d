"""Rows of `tasks`: as the fold sees them, and to and from the table."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from msgspec import Struct

from domain.definition import Cron, Definition, OneOff
from projections.plain import plain_json, plain_text
from projections.projection import columns
from projections.statements import statement
from projections.views import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from psycopg import AsyncConnection


class TaskRow(Struct, frozen=True, kw_only=True):
    """What the fold knows of a row. `definition` None: the stored one stays."""

    id: UUID
    namespace: str
    status: TaskStatus
    created_at: datetime
    updated_at: datetime
    next_run: datetime | None
    version: int
    position: int
    definition: Definition | None = None


class _Spread(Struct, frozen=True):
    """The columns that a definition is spread over."""

    name: str
    trigger_type: str
    trigger_time: datetime | None
    cron_expr: str | None
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
    cron = trigger if isinstance(trigger, Cron) else None
    return _Spread(
        name=plain_text(definition.name),
        trigger_type="cron" if cron else "one-off",
        trigger_time=trigger.datetime if isinstance(trigger, OneOff) else None,
        cron_expr=plain_text(cron.cron) if cron else None,
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
_STATE = ("id", "status", "updated_at", "next_run", "version", "position")


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
        parameters = columns(whole, _LOADED) | columns(definitions, _Spread.__struct_fields__)
        await connection.execute(statement("write_tasks"), parameters)
    if moved := [row for row in rows if row.definition is None]:
        await connection.execute(statement("advance_tasks"), columns(moved, _STATE))

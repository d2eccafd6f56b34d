"""Rows of `task_results`: as the fold sees them, and from and to the tables."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from msgspec import Struct

from projections.copying import boolean, head, instant, integer, json, microseconds, put, text, word
from projections.taking import Taken, take
from projections.views import AttemptView, ResultStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from psycopg import AsyncConnection


class ResultRow(Struct, frozen=True, kw_only=True, gc=False):
    """One occurrence. The answer's columns tell of the last attempt in `attempt_log`."""

    id: UUID
    task_id: UUID
    namespace: str
    task_name: str
    task_version: int
    kind: str
    due_at: datetime
    run_at: datetime | None = None
    status: ResultStatus
    reason: str | None = None
    success: bool | None = None
    status_code: int | None = None
    response_headers: dict[str, str] | None = None
    response_body: str | None = None
    response_truncated: bool | None = None
    error_message: str | None = None
    duration_ms: int | None = None
    attempts: int = 0
    attempt_log: tuple[AttemptView, ...] = ()
    retry_at: datetime | None = None
    node: str | None = None
    lease_until: datetime | None = None
    created_at: datetime
    position: int


# In the order in which the take statements return them.
_COLUMNS = ResultRow.__struct_fields__
_HEADERS = _COLUMNS.index("response_headers")
_ATTEMPT_LOG = _COLUMNS.index("attempt_log")
_OPEN = frozenset({"pending", "running"})

_headers = msgspec.json.Decoder(dict[str, str])
_attempts = msgspec.json.Decoder(tuple[AttemptView, ...])


async def take_open(connection: AsyncConnection, ids: Collection[UUID]) -> Taken[ResultRow]:
    """Take the rows of those executions that are not over out of their table."""
    return await take(connection, "take_open_results", ids, _taken)


async def take_closed(connection: AsyncConnection, ids: Collection[UUID]) -> Taken[ResultRow]:
    """Take the rows of those executions that are over out of their table: something has come after all."""
    return await take(connection, "take_closed_results", ids, _taken)


def _taken(row: Sequence[object]) -> ResultRow:
    values = dict(zip(_COLUMNS, row, strict=True))
    headers, attempts = row[_HEADERS], row[_ATTEMPT_LOG]
    values["response_headers"] = _headers.decode(headers) if isinstance(headers, str) else None
    values["attempt_log"] = () if attempts == "[]" else _attempts.decode(str(attempts))
    return ResultRow(**values)  # type: ignore[arg-type]  # the table's column types are the struct's


async def put_results(connection: AsyncConnection, rows: Iterable[ResultRow]) -> None:
    """Put rows that are in no table into the one where they belong."""
    opened: list[ResultRow] = []
    closed: list[ResultRow] = []
    for row in rows:
        (opened if row.status in _OPEN else closed).append(row)
    await put(connection, "put_open_results", opened, _open_fields)
    await put(connection, "put_closed_results", closed, _closed_fields)


_head = head("uuid", "uuid", "int8", "int8", "int8", "int8", "int4")
_SHARED = 21  # of which the head has 7


def _open_fields(row: ResultRow) -> tuple[bytes, ...]:
    return (*_shared(row, _SHARED + 2), instant(row.retry_at), instant(row.lease_until))


def _closed_fields(row: ResultRow) -> tuple[bytes, ...]:
    return (*_shared(row, _SHARED + 1), boolean(row.success))


def _shared(row: ResultRow, fields: int) -> tuple[bytes, ...]:
    """What both tables begin with."""
    return (
        _head(
            fields,
            16,
            row.id.int.to_bytes(16),
            16,
            row.task_id.int.to_bytes(16),
            8,
            row.task_version,
            8,
            microseconds(row.due_at),
            8,
            microseconds(row.created_at),
            8,
            row.position,
            4,
            row.attempts,
        ),
        word(row.namespace),
        word(row.task_name),
        word(row.kind),
        word(row.status),
        word(row.node),
        instant(row.run_at),
        text(row.reason),
        integer(row.status_code),
        json(row.response_headers),
        text(row.response_body),
        boolean(row.response_truncated),
        text(row.error_message),
        integer(row.duration_ms),
        json(row.attempt_log),
    )

"""Rows of `task_results`: as the fold sees them, and to and from the table."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from msgspec import Struct

from projections.plain import plain_json, plain_text
from projections.projection import columns
from projections.statements import statement
from projections.views import AttemptView, ResultStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from psycopg import AsyncConnection


class ResultRow(Struct, frozen=True, kw_only=True):
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


# In the order in which load_results.sql selects them.
_COLUMNS = ResultRow.__struct_fields__
_HEADERS = _COLUMNS.index("response_headers")
_ATTEMPT_LOG = _COLUMNS.index("attempt_log")
_FREE_TEXT = ("task_name", "reason", "response_body", "error_message", "node")

_headers = msgspec.json.Decoder(dict[str, str])
_attempts = msgspec.json.Decoder(tuple[AttemptView, ...])


async def load_results(connection: AsyncConnection, ids: Sequence[UUID]) -> dict[UUID, ResultRow]:
    """The rows of those executions that have one."""
    if not ids:
        return {}
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(statement("load_results"), {"ids": ids})
        return {row[0]: _loaded(row) for row in await cursor.fetchall()}


def _loaded(row: Sequence[object]) -> ResultRow:
    values = dict(zip(_COLUMNS, row, strict=True))
    headers, attempts = row[_HEADERS], row[_ATTEMPT_LOG]
    values["response_headers"] = _headers.decode(headers) if isinstance(headers, str) else None
    values["attempt_log"] = _attempts.decode(str(attempts))
    return ResultRow(**values)  # type: ignore[arg-type]  # the table's column types are the struct's


async def write_results(connection: AsyncConnection, rows: Collection[ResultRow]) -> None:
    """Insert rows, or overwrite older states of them."""
    if not rows:
        return
    parameters = columns(rows, _COLUMNS)
    for name in _FREE_TEXT:
        parameters[name] = [None if text is None else plain_text(text) for text in parameters[name]]
    parameters["response_headers"] = [
        None if headers is None else plain_json(headers) for headers in parameters["response_headers"]
    ]
    parameters["attempt_log"] = [plain_json(attempts) for attempts in parameters["attempt_log"]]
    await connection.execute(statement("write_results"), parameters)

"""Rewriting stored events, so that what they held is gone and what was sealed of them can still be told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncCursor
from psycopg_pool import AsyncConnectionPool

from application.ports import Group, LogUnavailable, Meta
from application.redaction import Rewrite, Stored
from domain.facts import AnyFact, Rewritten
from domain.identity import disguised
from domain.redaction import original_digest
from infrastructure.event_store.log import READ_SECONDS, recorded
from infrastructure.event_store.mapper import encode, encode_redacted
from infrastructure.event_store.reader import BEGINNING_BYTES
from infrastructure.postgres import AWAY, first_line
from infrastructure.sql import statements

statement = statements("infrastructure.event_store")

# The lock comes before the probes' snapshot only in READ COMMITTED, whatever a database's default is.
READ_COMMITTED = b"SET TRANSACTION ISOLATION LEVEL READ COMMITTED"


class PostgresRedactor:
    """`application.redaction.RedactableLog` over one database."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def missing(self, streams: Sequence[UUID]) -> Sequence[UUID]:
        """See `RedactableLog`."""
        return [row[0] for row in await self._rows("streams_missing", {"streams": list(streams)})]

    async def head_version(self, stream: UUID) -> int:
        """See `RedactableLog`."""
        [(version,)] = await self._rows("stream_head", {"stream": stream})
        return int(version)

    async def read_streams(self, streams: Sequence[UUID]) -> Sequence[Stored]:
        """See `RedactableLog`."""
        rows = await self._rows("redactable_streams", {"streams": list(streams)})
        return [stored(row[:6], row[6]) for row in rows]

    async def read_beside(self, events: Sequence[Stored], reach: int) -> Sequence[Stored]:
        """See `RedactableLog`."""
        if not events:
            return ()
        ids = [each.event.meta.command_id for each in events]
        parameters = {
            "positions": [each.event.position for each in events] * 2,
            "commands": [*map(str, ids), *(str(disguised(command_id)) for command_id in ids)],
            "streams": [each.event.stream for each in events],
            "reach": reach,
            "beginning": BEGINNING_BYTES,
        }
        return [stored(row[:6], row[6]) for row in await self._rows("events_of_commands", parameters)]

    def rewrite(self, stored: Stored, fact: AnyFact, meta: Meta) -> Rewrite:
        """See `RedactableLog`."""
        return rewrite(stored, fact, meta)

    async def redact(self, group: Group, rewrites: Sequence[Rewrite], task_id: UUID) -> int | None:
        """See `RedactableLog`."""
        parameters = {
            "streams": [new.stream for new in group.facts],
            "versions": [new.version for new in group.facts],
            "topics": [type(new.fact).topic for new in group.facts],
            "states": [encode(new.fact, group.meta) for new in group.facts],
            "guard_streams": [guard.stream for guard in group.guards],
            "guard_versions": [guard.version for guard in group.guards],
            "positions": [each.told.position for each in rewrites],
            "seen": [each.seen for each in rewrites],
            "rewritten": [each.state for each in rewrites],
            "task": task_id,
        }
        try:
            async with self._cursor() as cursor:
                await cursor.execute(READ_COMMITTED)
                await cursor.execute(statement("hold_events"), {"positions": parameters["positions"]})
                await cursor.execute(statement("redact_events"), parameters)
                row = await cursor.fetchone()
        except psycopg.errors.SerializationFailure:
            return None
        return None if row is None else row[0]

    async def _rows(self, name: str, parameters: dict[str, Any]) -> list[Any]:
        async with self._cursor() as cursor:
            await cursor.execute(statement(name), parameters)
            return await cursor.fetchall()

    @contextlib.asynccontextmanager
    async def _cursor(self) -> AsyncIterator[AsyncCursor]:
        try:
            async with (
                asyncio.timeout(READ_SECONDS),
                self._pool.connection() as connection,
                connection.transaction(),
                connection.cursor(binary=True) as cursor,
            ):
                yield cursor
        except psycopg.errors.SerializationFailure:
            raise
        except AWAY as error:
            raise LogUnavailable(first_line(error)) from error


def stored(row: Any, seen: int) -> Stored:
    """An event by its row."""
    state = row[4]
    original = original_digest(state)
    return Stored(
        event=recorded(row),
        original=original or sha256(state).digest(),
        redacted=original is not None,
        seen=seen,
        size=len(state),
    )


def rewrite(stored: Stored, fact: AnyFact, meta: Meta) -> Rewrite:
    """What an event is to be rewritten into."""
    state = encode_redacted(fact, meta, stored.original)
    told = Rewritten(stored.event.position, stored.event.stream, sha256(state).hexdigest())
    return Rewrite(told=told, seen=stored.seen, state=state, replaces=stored.size)

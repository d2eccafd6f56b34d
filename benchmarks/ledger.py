"""What the database says: how far the log and the read models are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg

from projections import NAMES

# Nothing moves for so long: something is lost, or broken.
STALLED_SECONDS = 30.0
POLL_SECONDS = 0.02

HEAD = "SELECT coalesce(max(notification_id), 0) FROM events"
SEALED = "SELECT coalesce(max(last_position), 0) FROM tree_heads"
CHECKPOINT = "SELECT coalesce(min(position), 0) FROM projection_checkpoints WHERE name = ANY (%s)"
# A one-off is over in the transaction that writes the row of its execution; what recurs does not count.
COUNTED = (
    "SELECT extract(epoch FROM clock_timestamp())::float8, "
    "coalesce(sum(total) FILTER (WHERE status = 'completed'), 0)::bigint, "
    "coalesce(sum(total) FILTER (WHERE status IN ('failed', 'cancelled')), 0)::bigint "
    "FROM task_counts"
)
LOGGED = (
    "SELECT extract(epoch FROM min(recorded_at) FILTER (WHERE topic = 'execution.started.v1'))::float8, "
    "extract(epoch FROM max(recorded_at) FILTER (WHERE topic = 'execution.succeeded.v1'))::float8 "
    "FROM events WHERE notification_id > %s"
)


class Stalled(Exception):
    """Nothing moved for half a minute although something was to come."""


class Counted(NamedTuple):
    """One-offs whose row is in the ledger, at an instant (seconds since 1970) of the database's clock."""

    at: float
    succeeded: int
    otherwise: int


class Logged(NamedTuple):
    """When the first claim and the last outcome were recorded, in seconds since 1970."""

    first_claim: float
    last_outcome: float


async def head(dsn: str) -> int:
    """The position of the newest event."""
    [value] = await _one(dsn, HEAD)
    return int(value)


async def caught_up(dsn: str, told: Callable[[int, int], None] | None = None) -> None:
    """Return when the read models reflect the log as it is now; `told` hears of it. Raises `Stalled`."""
    await _reached(dsn, (CHECKPOINT, list(NAMES)), "the read models stand", told)


async def sealed(dsn: str, told: Callable[[int, int], None] | None = None) -> None:
    """Return when the log is sealed as it is now; `told` hears of it. Raises `Stalled`."""
    await _reached(dsn, (SEALED,), "the seals end", told)


async def _reached(
    dsn: str, asked: tuple[Any, ...], where: str, told: Callable[[int, int], None] | None
) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        end = (await _row(connection, HEAD))[0]
        seen, moved = -1, time.monotonic()
        while (position := (await _row(connection, *asked))[0]) < end:
            if position > seen:
                seen, moved = position, time.monotonic()
            if time.monotonic() - moved > STALLED_SECONDS:
                raise Stalled(f"{where} at event {position} of {end}")
            if told:
                told(position, end)
            await asyncio.sleep(POLL_SECONDS)


async def counted(dsn: str) -> Counted:
    """The ledger now."""
    return Counted(*await _one(dsn, COUNTED))


async def recorded(
    dsn: str,
    one_offs: int,
    since: Counted,
    told: Callable[[int, int], None] | None = None,
    poll_seconds: float = POLL_SECONDS,
) -> list[Counted]:
    """How the ledger grew until so many one-offs were over after `since`. Raises `Stalled`."""
    samples = [since]
    until = since.succeeded + since.otherwise + one_offs
    moved = time.monotonic()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        while (done := samples[-1].succeeded + samples[-1].otherwise) < until:
            await asyncio.sleep(poll_seconds)
            sample = Counted(*await _row(connection, COUNTED))
            if sample[1:] != samples[-1][1:]:
                samples.append(sample)
                moved = time.monotonic()
            if time.monotonic() - moved > STALLED_SECONDS:
                raise Stalled(f"{until - done} of {one_offs} one-offs are not in the ledger")
            if told:
                told(one_offs - (until - done), one_offs)
    return samples


async def logged(dsn: str, after: int) -> Logged:
    """What the log says of executions after a position."""
    return Logged(*await _one(dsn, LOGGED, after))


async def _one(dsn: str, statement: str, *parameters: Any) -> tuple[Any, ...]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        return await _row(connection, statement, *parameters)


async def _row(connection: psycopg.AsyncConnection, statement: str, *parameters: Any) -> tuple[Any, ...]:
    cursor = await connection.execute(statement.encode(), parameters or None)
    row = await cursor.fetchone()
    assert row is not None, statement
    return row

"""Storing facts in a real log without an appender, for suites that only read it."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import AsyncConnection

from application.ports import NewFact
from infrastructure.event_store.mapper import encode
from tests.support.entries import META

APPEND = (
    b"SELECT first_position FROM append_groups("
    b"%s::int[], %s::uuid[], %s::bigint[], %s::text[], %s::bytea[], '{}', '{}', '{}')"
)


async def append(connection: AsyncConnection, facts: Sequence[NewFact]) -> int:
    """Append facts as one group; answers the position of the last."""
    cursor = await connection.execute(
        APPEND,
        (
            [0] * len(facts),
            [new.stream for new in facts],
            [new.version for new in facts],
            [type(new.fact).topic for new in facts],
            [encode(new.fact, META) for new in facts],
        ),
        binary=True,
    )
    row = await cursor.fetchone()
    assert row is not None
    assert row[0] is not None, "the log refused the facts"
    return int(row[0]) + len(facts) - 1

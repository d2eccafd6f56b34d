"""What the read models hold, to be compared with what they held or should hold."""

from __future__ import annotations

from typing import Any

import psycopg

QUERIES = (
    "SELECT t::text FROM tasks t ORDER BY id",
    "SELECT t::text FROM task_results t ORDER BY id",
    "SELECT t::text FROM task_counts t ORDER BY 1",
    "SELECT t::text FROM result_counts t ORDER BY 1",
    "SELECT t::text FROM statistics t ORDER BY 1",
)


def rows(dsn: str) -> list[list[Any]]:
    """Every row of every read model, in an order that does not depend on how they were written."""
    with psycopg.connect(dsn) as connection:
        found = [connection.execute(query.encode()).fetchall() for query in QUERIES]
    assert all(found)
    return found

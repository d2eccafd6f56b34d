"""What the appender sends as arrays is what Postgres reads, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from infrastructure.event_store import appender as arrays
from infrastructure.event_store.appender import Array


@pytest.fixture(scope="module")
def connection(postgres_server: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        arrays.register(connection.adapters)
        yield connection


def read_back(connection: psycopg.Connection, array: Array) -> tuple[str, list[Any]]:
    row = connection.execute("SELECT pg_typeof(%s)::text, %s", (array, array), binary=True).fetchone()
    assert row is not None
    return row[0], row[1]


@pytest.mark.parametrize("values", [[], [0], [1, -1, 2**31 - 1, -(2**31)]])
def test_integers_are_read_back(connection: psycopg.Connection, values: Sequence[int]) -> None:
    assert read_back(connection, arrays.integers(values)) == ("integer[]", values)


@pytest.mark.parametrize("values", [[], [0], [1, -1, 2**63 - 1, -(2**63)]])
def test_big_integers_are_read_back(connection: psycopg.Connection, values: Sequence[int]) -> None:
    assert read_back(connection, arrays.big_integers(values)) == ("bigint[]", values)


@pytest.mark.parametrize("values", [[], [UUID(int=0)], [UUID(int=2**128 - 1), uuid4(), uuid4()]])
def test_uuids_are_read_back(connection: psycopg.Connection, values: Sequence[UUID]) -> None:
    assert read_back(connection, arrays.uuids(values)) == ("uuid[]", values)


@pytest.mark.parametrize("values", [[], [""], ["a", "NULL", '"{,}', "Ünïcode ✓ 🕰", "a"]])
def test_texts_are_read_back(connection: psycopg.Connection, values: Sequence[str]) -> None:
    assert read_back(connection, arrays.texts(values)) == ("text[]", values)


@pytest.mark.parametrize("values", [[], [b""], [bytes(range(256)), b"\0", b"x" * 100_000]])
def test_blobs_are_read_back(connection: psycopg.Connection, values: Sequence[bytes]) -> None:
    assert read_back(connection, arrays.blobs(values)) == ("bytea[]", values)

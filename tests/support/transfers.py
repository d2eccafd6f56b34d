"""Logs to be copied from one database to another, and what they are afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from infrastructure.archive.catalog import NO_ARCHIVES, Catalog
from infrastructure.projector.rebuild import rebuild
from infrastructure.transfer.database import Progress as Report
from infrastructure.transfer.export import export_events
from infrastructure.transfer.format import Manifest, Selection
from infrastructure.transfer.imports import Imported, import_events
from projections import PROJECTIONS
from tests.support.projecting import Tables, connect, contents
from tests.support.random_log import RandomLog
from tests.support.stored import append

# What this release would never write, and has to copy all the same.
ODD_STATES = (
    b'{"meta": 1}\n',
    b' {"a":1}',
    b'{"a":"\xff"}',
    b"{",
    b"",
    b"\x00\xff",
    b'{"a":\r1}',
    b"[" * 2_000 + b"]" * 2_000,
    '{"ä":"\u2028"}'.encode(),
    b'{"a":1,"a":2}',
)
_PLANT = (
    "INSERT INTO events (originator_id, originator_version, topic, state) "
    "VALUES (gen_random_uuid(), 1, %s, %s)"
)
_GAP = "SELECT nextval(pg_get_serial_sequence('events', 'notification_id'))"


EVERYTHING = Selection()


class Interrupted(Exception):
    """A run that ends in the middle of things."""


class Progress:
    """Notes every report of progress, and interrupts the run after so many of a stage."""

    def __init__(self, stage: str = "", words: int | None = None) -> None:
        self.heard: list[tuple[str, int, int]] = []
        self._stage, self._words = stage, words

    def __call__(self, stage: str, position: int, until: int) -> None:
        self.heard.append((stage, position, until))
        if self._words is not None and self.count(self._stage) > self._words:
            raise Interrupted

    def count(self, stage: str) -> int:
        """How often it was told of a stage."""
        return sum(heard[0] == stage for heard in self.heard)


def export(
    dsn: str,
    path: Path,
    selection: Selection = EVERYTHING,
    report: Report | None = None,
    *,
    catalog: Catalog = NO_ARCHIVES,
    went_on: Callable[[int], object] = lambda _head: None,
) -> Manifest:
    """Export to a file, and note the progress where nobody else does."""
    return export_events(dsn, path, selection, report or Progress(), catalog, went_on)


def import_(dsn: str, path: Path, report: Report | None = None, *, partial: bool = False) -> Imported:
    """Import a file, and note the progress where nobody else does."""
    return import_events(dsn, path, partial=partial, report=report or Progress())


def exported_and_imported(
    dsn: str, target: str, path: Path, selection: Selection
) -> Sequence[tuple[Any, ...]]:
    """The events of another database after a part of a log came there."""
    export(dsn, path, selection)
    import_(target, path, partial=True)
    return events(target)


async def fill(dsn: str, events: int = 700, seed: int = 1) -> None:
    """A log of all that can happen, with gaps in its positions."""
    log = RandomLog(seed)
    async with await connect(dsn) as connection:
        for _ in range(5):
            await append(connection, log.grow(events // 5))
            await connection.execute(_GAP)


def plant_odd_states(dsn: str) -> None:
    """Add events that are no facts."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for number, state in enumerate(ODD_STATES):
            connection.execute(_PLANT, (f"odd.{number}.v1", state))


def events(dsn: str, where: str = "true") -> Sequence[tuple[Any, ...]]:
    """Every column of every event, in order."""
    query = f"SELECT * FROM events WHERE {where} ORDER BY notification_id"
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode(), binary=True).fetchall()


class ReadModels(NamedTuple):
    """What the read models of a log hold, and what of it is parked."""

    tables: Tables
    parked: list[tuple[Any, ...]]


async def read_models(dsn: str) -> ReadModels:
    """Build them, and read them."""
    await rebuild(dsn, PROJECTIONS)
    async with await connect(dsn) as connection:
        cursor = await connection.execute(
            "SELECT projection, position, key, error FROM parked_events ORDER BY 1, 2"
        )
        return ReadModels(await contents(connection), await cursor.fetchall())


def append_one(dsn: str) -> int:
    """Append as the service does; the position that the log gives."""

    async def appended() -> int:
        async with await connect(dsn) as connection:
            return await append(connection, RandomLog(99).grow(1)[:1])

    return asyncio.run(appended())


SEAL_TABLES = ("audit_keys", "sealed_blocks", "tree_nodes", "tree_heads")


def seals(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of seals."""
    with psycopg.connect(dsn) as connection:
        return {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2".encode(), binary=True).fetchall()
            for table in SEAL_TABLES
        }

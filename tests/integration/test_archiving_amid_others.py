"""Archiving while others append, read and kill."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from application.ports import Group, NewFact
from application.streams import readable
from domain.facts import EventsRedacted
from domain.identity import Month, redaction_stream
from infrastructure.archive.archiving import RecordedMeanwhile, alone, archive_month
from infrastructure.archive.catalog import archives
from infrastructure.event_store.redactor import PostgresRedactor
from infrastructure.postgres import pool
from projections import NAMES
from tests.support.archives import Archivist, filled, rows, whole
from tests.support.months import APRIL, JANUARY, TASKS, run_of, started, succeeded
from tests.support.projecting import connect
from tests.support.stored import append

KILLS = 12
# While events are written, while the index is, and then for each ten thousand rows that are removed.
ONCE_REMOVED = 3
COMMAND = """
import sys
from pathlib import Path
from domain.identity import Month
from tests.support.archives import Archivist
archivist = Archivist(sys.argv[1], Path(sys.argv[2]))
print("begun", flush=True)
while True:
    archivist.archive(Month(2026, 1))
    archivist.restore(Month(2026, 1))
"""


@pytest.fixture
async def archivist(database: str, tmp_path: Path) -> Archivist:
    await filled(database)
    return Archivist(database, tmp_path / "archives")


def archive_january(archivist: Archivist, stopped: Callable[[], bool]) -> None:
    with alone(archivist.dsn) as connection:
        archive_month(connection, archivist.storage, JANUARY, NAMES, stopped)


@pytest.mark.parametrize("asked", [1, 2, 3])
async def test_what_is_recorded_meanwhile_is_not_lost(archivist: Archivist, asked: int) -> None:
    """While events are written, while the index is, and while rows are removed."""
    questions = 0

    def interfere() -> bool:
        nonlocal questions
        questions += 1
        if questions == asked:
            asyncio.run(_append(archivist.dsn))
        return False

    with pytest.raises(RecordedMeanwhile, match="archive it again"):
        await asyncio.to_thread(archive_january, archivist, interfere)
    async with await connect(archivist.dsn) as connection:
        assert await archives(connection) == []
        run = [row for row in await rows(connection) if row[1] == started(TASKS[0], JANUARY, 30).stream]
        assert len(run) == 2


async def test_what_is_redacted_meanwhile_does_not_go_with_what_it_was(archivist: Archivist) -> None:
    redacted = (
        "SELECT first_position FROM append_groups(ARRAY[0], ARRAY[%s]::uuid[], ARRAY[2]::bigint[], "
        "ARRAY['events.redacted.v1'], ARRAY['{}'::bytea], '{}', '{}', '{}')"
    )

    def redact() -> bool:
        with psycopg.connect(archivist.dsn, autocommit=True) as connection:
            connection.execute(redacted, (TASKS[0],))
        return False

    with pytest.raises(RecordedMeanwhile):
        await asyncio.to_thread(archive_january, archivist, redact)
    async with await connect(archivist.dsn) as connection:
        assert await archives(connection) == []


async def test_a_redaction_that_waits_for_rows_being_removed_keeps_nobody_from_appending(
    archivist: Archivist,
) -> None:
    loop = asyncio.get_running_loop()
    refused: list[Future[int | None]] = []
    questions = 0

    def interfere() -> bool:
        nonlocal questions
        questions += 1
        if questions == ONCE_REMOVED:
            refused.append(asyncio.run_coroutine_threadsafe(_redact(archivist), loop))
            _wait_for_locks(archivist)
            impatient = make_conninfo(archivist.dsn, options="-c lock_timeout=5s")
            asyncio.run(_append(impatient, APRIL))
        return False

    await asyncio.to_thread(archive_january, archivist, interfere)
    assert [await asyncio.wrap_future(each) for each in refused] == [None]
    async with await connect(archivist.dsn) as connection:
        assert [archive.month for archive in await archives(connection)] == [JANUARY]


async def _redact(archivist: Archivist) -> int | None:
    """Rewrite what an execution of January began with, and tell of it."""
    async with pool(archivist.dsn, 2) as connections:
        redactor = PostgresRedactor(connections)
        claim = (await redactor.read_streams([run_of(TASKS[0], JANUARY, 3)]))[0]
        rewrite = redactor.rewrite(claim, readable(claim.event), claim.event.meta)
        fact = EventsRedacted(at=claim.event.recorded_at, task_id=TASKS[0], rewritten=(rewrite.told,))
        group = Group(facts=(NewFact(redaction_stream(TASKS[0]), 1, fact),), meta=claim.event.meta)
        return await redactor.redact(group, [rewrite], TASKS[0])


def _wait_for_locks(archivist: Archivist) -> None:
    """Until somebody waits for one."""
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(archivist.dsn, autocommit=True) as connection:
        while connection.execute(waiting).fetchone() is None:
            time.sleep(0.02)


async def _append(dsn: str, month: Month = JANUARY) -> None:
    async with await connect(dsn) as connection:
        await append(connection, [started(TASKS[0], month, 30), succeeded(TASKS[0], month, 30)])


async def test_who_reads_the_whole_log_meanwhile_reads_each_event_once(archivist: Archivist) -> None:
    async with await connect(archivist.dsn) as connection:
        before = await rows(connection)
        moving = asyncio.create_task(asyncio.to_thread(_move_to_and_fro, archivist, 6))
        reads = 0
        catalog = archivist.catalog
        while not moving.done():
            assert await whole(connection, catalog, limit=37) == before
            reads += 1
        await moving
        assert reads >= 2


def _move_to_and_fro(archivist: Archivist, times: int) -> None:
    for _ in range(times):
        archivist.archive(JANUARY)
        archivist.restore(JANUARY)


@pytest.mark.race
async def test_a_kill_at_any_moment_loses_nothing_and_the_next_one_goes_on(archivist: Archivist) -> None:
    chance = random.Random(7)
    async with await connect(archivist.dsn) as connection:
        before = await rows(connection)
        seen = set()
        for _ in range(KILLS):
            command = [sys.executable, "-c", COMMAND, archivist.dsn, str(archivist.folder)]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(
                    chance.uniform(0, 0.4)
                )  # when it hits is chance; that it may hit anywhere is the point
                process.kill()
            await _gone(connection)
            assert await whole(connection, archivist.catalog, limit=1_000) == before
            found = await archives(connection)
            seen |= {archive.state for archive in found}
            if found and found[0].away:
                archivist.restore(JANUARY)
                assert await rows(connection) == before
        assert archivist.archive(JANUARY).away
        assert await whole(connection, archivist.catalog) == before


async def _gone(connection: psycopg.AsyncConnection) -> None:
    """Wait until the killed one's session has ended: until then it holds the right to archive."""
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'chronoledger'"
    )
    while (row := await (await connection.execute(busy)).fetchone()) and row[0]:
        await asyncio.sleep(0.02)

"""Archived months are verified and proved as if they had never left, and never left out without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from application.ports import ArchiveAway
from infrastructure.archive.catalog import ArchiveReader
from infrastructure.audit_log.sealer import seal_block
from infrastructure.audit_log.store import PostgresAuditLog
from infrastructure.audit_log.verifying import Verified, verify
from infrastructure.postgres import pool
from tests.support.archives import Archivist, filled
from tests.support.months import APRIL, FEBRUARY, JANUARY, MARCH, TASKS, run_of, started
from tests.support.projecting import connect
from tests.support.sealing import KEY, Heard, as_superuser, seal
from tests.support.stored import append


@pytest.fixture
async def archivist(database: str, tmp_path: Path) -> Archivist:
    await filled(database, days=5)
    return Archivist(database, tmp_path / "archives")


async def verified(archivist: Archivist) -> tuple[Verified, list[tuple[str, int, int]]]:
    heard = Heard()
    return await verify(archivist.dsn, heard, catalog=archivist.catalog), heard.places()


async def test_the_log_is_verified_with_what_is_archived(archivist: Archivist) -> None:
    before = await verified(archivist)
    assert before[1] == []
    steps = [archivist.archive, archivist.archive, archivist.archive, archivist.restore]
    for step, month in zip(steps, (FEBRUARY, JANUARY, MARCH, JANUARY), strict=True):
        step(month)
        assert await verified(archivist) == before


async def test_what_was_changed_beside_an_archive_is_still_found(archivist: Archivist) -> None:
    archivist.archive(FEBRUARY)
    async with await connect(archivist.dsn) as connection:
        await as_superuser(connection, "UPDATE events SET state = '{}' WHERE notification_id = 5")
    found, places = await verified(archivist)
    assert (found.first, [position for _, position, _ in places]) == (5, [5])


async def test_without_its_archives_a_log_is_not_verified(archivist: Archivist) -> None:
    archived = archivist.archive(FEBRUARY)
    (archivist.folder / archived.name).unlink()
    with pytest.raises(ArchiveAway, match=archived.name):
        await verified(archivist)
    with pytest.raises(ArchiveAway):
        await verify(archivist.dsn, Heard())


async def test_sealing_goes_on_behind_what_is_archived(archivist: Archivist) -> None:
    async with await connect(archivist.dsn) as connection:
        for month in (JANUARY, FEBRUARY, MARCH):
            archivist.archive(month)
        assert (await seal_block(connection, KEY)).lost is None
        position = await append(connection, [started(TASKS[0], APRIL, 9)])
        assert await seal(connection) == position
    found, places = await verified(archivist)
    assert (found.position, places) == (position, [])


async def test_evidence_has_the_events_of_an_archived_execution(archivist: Archivist) -> None:
    run = run_of(TASKS[0], JANUARY, 3)
    async with pool(archivist.dsn, 2) as connections:
        sealed = PostgresAuditLog(connections, ArchiveReader(connections, archivist.catalog))
        before = await sealed.events(run)
        assert before
        archivist.archive(JANUARY)
        assert await sealed.events(run) == before

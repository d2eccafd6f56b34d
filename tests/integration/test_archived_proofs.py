"""A sealed log proves the same of every event, whether its month is in the table or in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from application.archived import ArchiveAway
from infrastructure.archive.archiving import NotArchivable
from infrastructure.database import pool
from infrastructure.event_store import Appender
from infrastructure.projector import check
from projections.catalogue import PROJECTIONS
from tests.support.archives import Archivist, filled
from tests.support.asking import DAYS, Asker
from tests.support.checking import Told
from tests.support.months import APRIL, FEBRUARY, JANUARY, MARCH, TASKS, run_of, started, succeeded
from tests.support.projecting import connect, project
from tests.support.sealing import KEY, as_superuser, seal, verified
from tests.support.stored import append

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from psycopg import AsyncConnection

    from tests.support.sealing import Heard


@pytest.fixture
async def archivist(database: str, tmp_path: Path) -> Archivist:
    await filled(database, DAYS)
    return Archivist(database, tmp_path / "archives")


@pytest.fixture
async def connection(archivist: Archivist) -> AsyncIterator[AsyncConnection]:
    async with await connect(archivist.dsn) as connection:
        yield connection


async def found(archivist: Archivist) -> Heard:
    """What a verification finds, with the archives."""
    return (await verified(archivist.dsn, library=archivist.library))[1]


async def test_nobody_who_asks_or_verifies_can_tell_what_is_archived(
    archivist: Archivist, connection: AsyncConnection
) -> None:
    async def told() -> list[Any]:
        checked = await check(archivist.dsn, PROJECTIONS, Told(), archivist.whole_log)
        sum_, heard = await verified(archivist.dsn, [KEY.public], library=archivist.library)
        assert (heard.findings, checked.differences, checked.refused) == ([], 0, 0)
        return [
            sum_,
            checked.positions,
            await asker.proofs(),
            await asker.explanations(),
            await asker.counts(),
        ]

    position = await seal(connection)
    async with pool(archivist.dsn, 2) as connections, Appender(archivist.dsn) as appender:
        asker = Asker(connections, appender, archivist)
        before = await told()
        assert (before[0].events, before[0].unsealed) == (position, 0)
        for step in (archivist.archive, archivist.restore):
            for month in (FEBRUARY, JANUARY, MARCH):
                step(month)
                assert await told() == before


async def test_a_log_goes_on_being_sealed_behind_what_is_archived(
    archivist: Archivist, connection: AsyncConnection
) -> None:
    await seal(connection)
    for month in (JANUARY, FEBRUARY):
        archivist.archive(month)
    await append(connection, [started(TASKS[0], APRIL, 2), succeeded(TASKS[0], APRIL, 2)])
    position = await seal(connection)
    sum_, heard = await verified(archivist.dsn, library=archivist.library)
    assert (sum_.position, sum_.unsealed, heard.findings) == (position, 0, [])


async def test_a_log_that_is_first_sealed_when_months_have_left_it_is_sealed_whole(
    archivist: Archivist, connection: AsyncConnection
) -> None:
    for month in (JANUARY, MARCH):
        archivist.archive(month)
    with pytest.raises(ArchiveAway, match="ARCHIVE_DIR"):
        await seal(connection)
    position = await seal(connection, library=archivist.library)
    for step in (lambda: None, lambda: archivist.restore(JANUARY), lambda: archivist.archive(FEBRUARY)):
        step()
        sum_, heard = await verified(archivist.dsn, library=archivist.library)
        assert (sum_.events, sum_.unsealed, heard.findings) == (position, 0, [])


async def test_an_archive_that_cannot_be_read_is_named_and_never_taken_for_removed_events(
    archivist: Archivist, connection: AsyncConnection
) -> None:
    await seal(connection)
    archived = archivist.archive(JANUARY)
    path = archivist.folder / archived.name
    content = path.read_bytes()
    for left in (content[:100] + bytes([content[100] ^ 1]) + content[101:], content[:-1], None):
        path.unlink() if left is None else path.write_bytes(left)
        with pytest.raises(ArchiveAway, match=archived.name):
            await found(archivist)
    path.write_bytes(content)
    assert (await found(archivist)).findings == []


async def test_what_was_changed_about_an_archived_month_is_found(
    archivist: Archivist, connection: AsyncConnection
) -> None:
    """Whoever changes events, archives them, and seals nothing; or forgets an archive."""
    await seal(connection)
    archivist.archive(FEBRUARY)
    at = "(SELECT min(notification_id) FROM events WHERE topic = 'execution.started.v1')"
    changed = await (await connection.execute(at.encode())).fetchone()
    assert changed is not None
    await as_superuser(connection, f"UPDATE events SET state = state || ' ' WHERE notification_id = {at}")
    archived = archivist.archive(JANUARY)
    assert (await found(archivist)).places() == [("event_changed", *changed, *changed)]
    await as_superuser(connection, "DELETE FROM archives WHERE month = '2026-01-01'")
    places = (await found(archivist)).places()
    assert {kind for kind, *_ in places} == {"event_removed"}
    assert len(places) == archived.events


async def test_what_is_not_sealed_yet_stays_once_the_log_is_being_sealed(
    archivist: Archivist, connection: AsyncConnection
) -> None:
    sealed = await seal(connection)
    late = [started(TASKS[0], JANUARY, 30), succeeded(TASKS[0], JANUARY, 30), started(TASKS[1], APRIL, 2)]
    await append(connection, late)
    await project(connection)
    with pytest.raises(
        NotArchivable, match=rf"goes up to position {sealed + 2}, and the log is sealed up to {sealed};"
    ):
        archivist.archive(JANUARY)
    assert archivist.archive(FEBRUARY).last_position <= sealed
    await seal(connection)
    assert archivist.archive(JANUARY).has(run_of(TASKS[0], JANUARY, 30))
    assert (await found(archivist)).findings == []


async def test_what_was_put_back_beside_its_archive_is_found(
    archivist: Archivist, connection: AsyncConnection
) -> None:
    await seal(connection)
    archived = archivist.archive(JANUARY)
    copied = psycopg.sql.SQL(
        "CREATE TEMPORARY TABLE kept AS SELECT * FROM events WHERE originator_id >= {first} AND "
        "originator_id < {end}"
    ).format(first=archived.first_stream, end=archived.end_stream)
    archivist.restore(JANUARY)
    await connection.execute(copied)
    archivist.archive(JANUARY)
    await as_superuser(
        connection,
        "INSERT INTO events OVERRIDING SYSTEM VALUE SELECT * FROM kept ORDER BY notification_id LIMIT 1",
    )
    [place] = (await found(archivist)).places()
    assert place == ("event_inserted", archived.first_position, archived.first_position)

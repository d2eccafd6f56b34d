"""What is old enough is archived by itself, by the one whose turn it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from application.ports import ArchiveAway
from infrastructure.archive.archiving import Retention, Stopped, alone, archive_month
from infrastructure.archive.catalog import archives
from infrastructure.archive.files import Source
from infrastructure.archive.storage import Folder
from projections import NAMES
from tests.support.archives import Archivist, filled
from tests.support.months import APRIL, FEBRUARY, JANUARY, MARCH
from tests.support.projecting import connect, until

DAYS = 30


@pytest.fixture
async def archivist(database: str, tmp_path: Path) -> Archivist:
    await filled(database, days=5)
    return Archivist(database, tmp_path / "archives")


def retention(archivist: Archivist, owns: Callable[[], bool] = lambda: True) -> Retention:
    return Retention(archivist.dsn, archivist.storage, DAYS, NAMES, owns)


async def states(archivist: Archivist) -> list[tuple[object, str]]:
    async with await connect(archivist.dsn) as connection:
        return [(archive.month, archive.state) for archive in await archives(connection)]


def days_after(instant: datetime, days: float) -> datetime:
    return instant + timedelta(days=days)


async def test_a_month_goes_when_it_has_been_over_for_so_many_days(archivist: Archivist) -> None:
    keeper = retention(archivist)
    assert await keeper.once(days_after(FEBRUARY.start, DAYS - 0.01))
    assert await states(archivist) == []
    assert await keeper.once(days_after(FEBRUARY.start, DAYS))
    assert await states(archivist) == [(JANUARY, "archived")]
    assert await keeper.once(days_after(APRIL.start, DAYS))
    assert await states(archivist) == [(month, "archived") for month in (JANUARY, FEBRUARY, MARCH)]


async def test_a_restored_month_is_left_alone(archivist: Archivist) -> None:
    archivist.archive(JANUARY)
    archivist.restore(JANUARY)
    assert await retention(archivist).once(days_after(MARCH.start, DAYS))
    assert await states(archivist) == [(JANUARY, "restored"), (FEBRUARY, "archived")]


async def test_a_month_that_has_to_stay_does_not_keep_the_others(archivist: Archivist) -> None:
    async with await connect(archivist.dsn) as connection:
        await connection.execute(
            "INSERT INTO parked_events (projection, position, key, error) "
            "SELECT 'statistics', notification_id, originator_id, '' FROM events "
            "WHERE originator_id >= %s ORDER BY originator_id LIMIT 1",
            (JANUARY.first_execution,),
        )
    assert await retention(archivist).once(days_after(MARCH.start, DAYS))
    assert await states(archivist) == [(FEBRUARY, "archived")]


async def test_only_the_one_whose_turn_it_is_archives(archivist: Archivist) -> None:
    turn = False
    running = asyncio.create_task(retention(archivist, lambda: turn).run(look_seconds=0.01))
    try:
        await asyncio.sleep(0.1)
        assert await states(archivist) == []
        turn = True

        async def archived() -> bool:
            return len(await states(archivist)) == 3

        await until(archived)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_what_fails_is_told_and_can_be_tried_again(archivist: Archivist) -> None:
    archivist.folder.write_text("a file")
    assert not await retention(archivist).once(days_after(APRIL.start, DAYS))
    archivist.folder.unlink()
    with alone(archivist.dsn):
        assert not await retention(archivist).once(days_after(APRIL.start, DAYS))
    assert await retention(archivist).once(days_after(APRIL.start, DAYS))
    assert len(await states(archivist)) == 3


class Forgetful(Folder):
    """Keeps files, and cannot find them right afterwards."""

    def open(self, name: str) -> Source:
        """See `Storage`."""
        raise ArchiveAway(name, "not found")


async def test_a_file_that_cannot_be_read_back_is_told_and_the_month_stays(archivist: Archivist) -> None:
    keeper = Retention(archivist.dsn, Forgetful(archivist.folder), DAYS, NAMES, lambda: True)
    assert not await keeper.once(days_after(APRIL.start, DAYS))
    assert await states(archivist) == []
    assert await retention(archivist).once(days_after(APRIL.start, DAYS))


@pytest.mark.parametrize("asked", [1, 2, 3])
async def test_one_that_is_told_to_stop_leaves_the_month_as_it_was(archivist: Archivist, asked: int) -> None:
    questions = iter([False] * (asked - 1) + [True])
    with alone(archivist.dsn) as connection, pytest.raises(Stopped):
        archive_month(connection, archivist.storage, JANUARY, NAMES, lambda: next(questions))
    assert await states(archivist) == []
    archivist.archive(JANUARY)
    assert await states(archivist) == [(JANUARY, "archived")]

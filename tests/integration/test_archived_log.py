"""What is archived is read, built and checked as if it had never left the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from application.ports import ArchiveAway
from infrastructure.archive.library import Wanted, events_after
from infrastructure.projector.check import check
from infrastructure.projector.reading import WholeLog
from infrastructure.projector.rebuild import rebuild
from projections import PROJECTIONS
from tests.support.archives import MUCH, Archivist, filled, rows, whole
from tests.support.checking import Told
from tests.support.months import FEBRUARY, JANUARY, MARCH
from tests.support.projecting import connect, contents
from tests.support.sharing import Together

if TYPE_CHECKING:
    from pathlib import Path

    from psycopg import AsyncConnection

    from infrastructure.archive.files import Event
    from infrastructure.projector.reading import Reading


@pytest.fixture
def archivist(database: str, tmp_path: Path) -> Archivist:
    return Archivist(database, tmp_path / "archives")


@pytest.mark.parametrize("limit", [1, 7, 100, 5_000])
async def test_the_whole_log_reads_the_same_however_much_of_it_is_archived(
    archivist: Archivist, limit: int
) -> None:
    await filled(archivist.dsn, days=5)
    async with await connect(archivist.dsn) as connection:
        before = await rows(connection)
        for month in (JANUARY, FEBRUARY, MARCH):
            archivist.archive(month)
            assert await whole(connection, archivist.library, limit) == before
        for month in (FEBRUARY, JANUARY):
            archivist.restore(month)
            assert await whole(connection, archivist.library, limit) == before


async def test_some_of_the_log_read_the_same_wherever_they_lie(archivist: Archivist) -> None:
    await filled(archivist.dsn, days=5)
    wanted = Wanted(40, 100, frozenset({"task.created.v1"}))
    async with await connect(archivist.dsn) as connection:

        async def read(limit: int) -> list[Event]:
            events: list[Event] = []
            while True:
                position = events[-1].position if events else 0
                some, full = await events_after(connection, archivist.library, position, limit, MUCH, wanted)
                events += some
                if not full:
                    return events

        everything, _ = await events_after(connection, archivist.library, 0, 100_000, MUCH)
        before = [event for event in everything if wanted.includes(event)]
        assert 0 < len(before) < len(everything)
        assert await read(7) == before
        archivist.archive(JANUARY)
        archivist.archive(MARCH)
        for limit in (1, 7, 5_000):
            assert await read(limit) == before


async def test_archives_that_begin_behind_a_page_are_not_looked_into(archivist: Archivist) -> None:
    await filled(archivist.dsn, days=5)
    names = [archivist.archive(month).name for month in (JANUARY, FEBRUARY, MARCH)]
    async with await connect(archivist.dsn) as connection:
        for name in names[1:]:
            (archivist.folder / name).unlink()
        page = await events_after(connection, archivist.library, 0, 10, MUCH)
        assert ([event.position for event in page.events], page.full) == ([*range(1, 11)], True)
        with pytest.raises(ArchiveAway, match=names[1]):
            await whole(connection, archivist.library)


async def test_read_models_are_rebuilt_and_checked_as_if_nothing_were_archived(archivist: Archivist) -> None:
    await filled(archivist.dsn)
    async with await connect(archivist.dsn) as connection:
        before = await contents(connection)
        archivist.archive(JANUARY)
        archivist.archive(MARCH)
        assert await contents(connection) == before
        await rebuild(archivist.dsn, PROJECTIONS, whole_log=archivist.whole_log)
        assert await contents(connection) == before
        workers = Together(archivist.dsn, 3, archivist.whole_log)
        await rebuild(archivist.dsn, PROJECTIONS, whole_log=archivist.whole_log, workers=workers)
        assert workers.asked
        assert await contents(connection) == before
        told = Told()
        found = await check(archivist.dsn, PROJECTIONS, told, archivist.whole_log)
        assert (found.differences, found.refused, told.differences) == (0, 0, [])


async def test_nothing_is_built_from_less_than_all(archivist: Archivist) -> None:
    await filled(archivist.dsn)
    archived = archivist.archive(JANUARY)
    async with await connect(archivist.dsn) as connection:
        before = await contents(connection)
        path = archivist.folder / archived.name
        for left in (path.read_bytes()[:-1], b"\0" * archived.size, None):
            path.unlink() if left is None else path.write_bytes(left)
            with pytest.raises(ArchiveAway, match=archived.name):
                await rebuild(archivist.dsn, PROJECTIONS, whole_log=archivist.whole_log)
        with pytest.raises(ArchiveAway, match="ARCHIVE_DIR"):
            await rebuild(archivist.dsn, PROJECTIONS)
        assert await contents(connection) == before


async def test_a_rebuild_that_an_archive_has_interrupted_goes_on_when_the_file_is_back(
    archivist: Archivist,
) -> None:
    class InSteps(WholeLog):
        async def entries(self, connection: AsyncConnection, position: int, *_: int | None) -> Reading:
            return await super().entries(connection, position, 20)

    class Heard:
        resumed_at = 0

        def resumed(self, position: int) -> None:
            self.resumed_at = position

        def begun_again(self) -> None:
            pass

        def folded(self, position: int, until: int) -> None:
            pass

        def indexing(self) -> None:
            pass

    await filled(archivist.dsn)
    march = archivist.archive(MARCH)
    path = archivist.folder / march.name
    log, heard = InSteps(archivist.library), Heard()
    async with await connect(archivist.dsn) as connection:
        before = await contents(connection)
        path.rename(path.with_suffix(".away"))
        for _ in range(2):  # what is left of the first is not taken for all there is
            with pytest.raises(ArchiveAway, match=march.name):
                await rebuild(archivist.dsn, PROJECTIONS, heard, whole_log=log)
            assert await contents(connection) == before
        path.with_suffix(".away").rename(path)
        await rebuild(archivist.dsn, PROJECTIONS, heard, whole_log=log)
        assert await contents(connection) == before
        assert 0 < heard.resumed_at < march.last_position

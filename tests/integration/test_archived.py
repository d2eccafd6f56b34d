"""What is archived is answered, read, built, verified and proved as if it had never left the log."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg import AsyncConnection, sql

from application.ports import ArchiveAway, EventFilter
from infrastructure.archive.catalog import ArchiveReader, Wanted, events_after
from infrastructure.archive.files import Event
from infrastructure.audit_log.sealer import seal_block
from infrastructure.audit_log.store import PostgresAuditLog
from infrastructure.audit_log.verifying import Verified, verify
from infrastructure.event_store.appender import Appender
from infrastructure.postgres import pool
from infrastructure.projector.batch import QuarantinedEventMissing, replay_quarantined
from infrastructure.projector.check import check
from infrastructure.projector.reading import Reading, WholeLog
from infrastructure.projector.rebuild import rebuild
from infrastructure.projector.runner import Projector
from infrastructure.projector.workplace import prepare
from projections import PROJECTIONS, named
from projections.projection import Entry
from projections.task_results import TaskResults
from tests.support.archives import MUCH, Archivist, filled, rows, whole
from tests.support.asking import DAYS, EVERY_RUN, Asker
from tests.support.checking import Told
from tests.support.months import APRIL, FEBRUARY, JANUARY, MARCH, TASKS, run_of, started
from tests.support.projecting import connect, contents, project, running, until
from tests.support.sealing import KEY, Heard, as_superuser, seal
from tests.support.sharing import Together
from tests.support.stored import append


@pytest.fixture
async def archivist(database: str, tmp_path: Path) -> Archivist:
    await filled(database, DAYS)
    return Archivist(database, tmp_path / "archives")


@pytest.fixture
async def asker(archivist: Archivist) -> AsyncIterator[Asker]:
    async with pool(archivist.dsn, 2) as connections, Appender(archivist.dsn) as appender:
        yield Asker(connections, appender, archivist)


def steps(archivist: Archivist) -> list[Any]:
    """One after the other: some is archived, more, all, and some is back."""
    return [
        lambda: archivist.archive(FEBRUARY),
        lambda: archivist.archive(JANUARY),
        lambda: archivist.archive(MARCH),
        lambda: archivist.restore(FEBRUARY),
    ]


async def test_streams_explanations_and_counts_are_the_same(archivist: Archivist, asker: Asker) -> None:
    async def told() -> list[Any]:
        return [
            await asker.streams(),
            await asker.explanations(),
            await asker.counts(),
            await asker.origins(),
        ]

    before = await told()
    assert len(before[0][0]) >= 1
    for step in steps(archivist):
        step()
        assert await told() == before


async def test_events_are_listed_the_same_whatever_is_asked_for(archivist: Archivist, asker: Asker) -> None:
    everything = await asker.events(EventFilter())
    first, middle, last = everything[0], everything[len(everything) // 2], everything[-1]
    filters = [
        EventFilter(),
        EventFilter(topic="execution.failed"),
        EventFilter(task_id=TASKS[1]),
        EventFilter(namespace="default", topic="execution."),
        EventFilter(namespace="elsewhere"),
        EventFilter(actor="test"),
        EventFilter(actor="nobody"),
        EventFilter(recorded_from=middle.recorded_at),
        EventFilter(recorded_from=first.recorded_at, recorded_to=middle.recorded_at),
        EventFilter(recorded_to=last.recorded_at),
    ]

    async def told() -> list[Any]:
        return [*[await asker.events(wanted) for wanted in filters], await asker.stream_pages()]

    before = await told()
    assert [bool(found) for found in before] == [
        True,
        True,
        True,
        True,
        False,
        True,
        False,
        True,
        True,
        True,
        True,
    ]
    for step in steps(archivist):
        step()
        assert await told() == before


async def test_the_past_is_the_same(archivist: Archivist, asker: Asker) -> None:
    events = await asker.events(EventFilter())
    instants = [event.recorded_at for event in events[:: len(events) // 7]]
    positions = [event.position for event in events[3 :: len(events) // 6]]
    before = await asker.pasts(instants, positions)
    for step in steps(archivist):
        step()
        assert await asker.pasts(instants, positions) == before


async def test_what_lies_in_a_file_that_is_away_is_not_told_at_all(
    archivist: Archivist, asker: Asker
) -> None:
    archived = archivist.archive(JANUARY)
    run = EVERY_RUN[0]
    moment = await asker.past.after(10)
    (archivist.folder / archived.name).rename(archivist.folder / "elsewhere")
    questions = [
        asker.log.read_stream(run),
        asker.explainer.execution("default", run),
        asker.reader.of_stream(run, 0, 10),
        asker.reader.origin(run),
        asker.reader.page(EventFilter(), 0, 10),
        asker.past.figures(moment),
    ]
    for question in questions:
        with pytest.raises(ArchiveAway, match=f"{archived.name} is needed and cannot be read"):
            await question
    # What is not in it is told all the same.
    assert await asker.log.read_stream(run_of(TASKS[0], FEBRUARY, 1))
    assert await asker.reader.page(EventFilter(), archived.last_position, 10)
    (archivist.folder / "elsewhere").rename(archivist.folder / archived.name)
    assert await asker.log.read_stream(run)


@pytest.mark.parametrize("limit", [1, 7, 100, 5_000])
async def test_the_whole_log_reads_the_same_however_much_of_it_is_archived(
    archivist: Archivist, limit: int
) -> None:
    async with await connect(archivist.dsn) as connection:
        before = await rows(connection)
        for month in (JANUARY, FEBRUARY, MARCH):
            archivist.archive(month)
            assert await whole(connection, archivist.catalog, limit) == before
        for month in (FEBRUARY, JANUARY):
            archivist.restore(month)
            assert await whole(connection, archivist.catalog, limit) == before


async def test_some_of_the_log_read_the_same_wherever_they_lie(archivist: Archivist) -> None:
    wanted = Wanted(40, 100, frozenset({"task.created.v1"}))
    async with await connect(archivist.dsn) as connection:

        async def read(limit: int) -> list[Event]:
            events: list[Event] = []
            while True:
                position = events[-1].position if events else 0
                some, full = await events_after(connection, archivist.catalog, position, limit, MUCH, wanted)
                events += some
                if not full:
                    return events

        everything, _ = await events_after(connection, archivist.catalog, 0, 100_000, MUCH)
        before = [event for event in everything if wanted.includes(event)]
        assert 0 < len(before) < len(everything)
        assert await read(7) == before
        archivist.archive(JANUARY)
        archivist.archive(MARCH)
        for limit in (1, 7, 5_000):
            assert await read(limit) == before


async def test_archives_that_begin_behind_a_page_are_not_looked_into(archivist: Archivist) -> None:
    names = [archivist.archive(month).name for month in (JANUARY, FEBRUARY, MARCH)]
    async with await connect(archivist.dsn) as connection:
        for name in names[1:]:
            (archivist.folder / name).unlink()
        page = await events_after(connection, archivist.catalog, 0, 10, MUCH)
        assert ([event.position for event in page.events], page.full) == ([*range(1, 11)], True)
        with pytest.raises(ArchiveAway, match=names[1]):
            await whole(connection, archivist.catalog)


async def test_read_models_are_rebuilt_and_checked_as_if_nothing_were_archived(archivist: Archivist) -> None:
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

    march = archivist.archive(MARCH)
    path = archivist.folder / march.name
    log, heard = InSteps(archivist.catalog), Heard()
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


class Refusing(TaskResults):
    """Cannot apply what happened to one execution."""

    def __init__(self, execution: UUID) -> None:
        super().__init__()
        self._execution = execution

    async def apply(self, connection: AsyncConnection, entries: Sequence[Entry]) -> AsyncGenerator[None]:
        if any(entry.stream == self._execution for entry in entries):
            raise ValueError("not by this release")
        async for _ in super().apply(connection, entries):
            yield


async def test_parked_events_that_are_archived_are_applied_by_a_replay(archivist: Archivist) -> None:
    [results] = named(["task_results"])
    async with await connect(archivist.dsn) as connection, pool(archivist.dsn, 2) as db:
        before = await contents(connection)
        archivist.archive(JANUARY)
        refusing = [Refusing(run_of(TASKS[0], JANUARY, 3))]
        assert (await rebuild(archivist.dsn, refusing, whole_log=archivist.whole_log)).parked == 2
        assert await contents(connection) != before
        with pytest.raises(ArchiveAway):
            await replay_quarantined(db, results)
        assert await replay_quarantined(db, results, archivist.whole_log) == (2, 0)
        assert await contents(connection) == before


async def test_another_event_is_never_applied_in_the_place_of_a_parked_one(archivist: Archivist) -> None:
    [results] = named(["task_results"])
    async with await connect(archivist.dsn) as connection, pool(archivist.dsn, 2) as db:
        gap = await (
            await connection.execute("SELECT nextval(pg_get_serial_sequence('events', 'notification_id'))")
        ).fetchone()
        await append(connection, [started(TASKS[0], APRIL, 2)])
        await project(connection)
        before = await contents(connection)
        await connection.execute(
            "INSERT INTO parked_events (projection, position, key, error) "
            "VALUES ('task_results', %s, %s, '')",
            (*gap, TASKS[0]),  # type: ignore[misc]
        )
        with pytest.raises(
            QuarantinedEventMissing, match=r"the log does not hold it; .* rebuild task_results"
        ):
            await replay_quarantined(db, results, archivist.whole_log)
        assert await contents(connection) == before


async def test_a_new_read_model_is_built_from_what_is_archived_as_well(archivist: Archivist) -> None:
    [statistics] = named(["statistics"])
    async with await connect(archivist.dsn) as connection, pool(archivist.dsn, 4) as db:
        before = await contents(connection)
        archivist.archive(JANUARY)
        for table in statistics.tables:
            await connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(table)))
        await connection.execute("DELETE FROM projection_checkpoints WHERE name = 'statistics'")
        assert (await prepare(connection, PROJECTIONS)).outdated == [statistics]

        async def there() -> bool:
            return not (await prepare(connection, PROJECTIONS)).outdated

        async with running(Projector(db, archivist.dsn, PROJECTIONS, whole_log=archivist.whole_log)):
            await until(there)
        assert await contents(connection) == before


async def test_a_read_model_that_is_behind_what_left_the_table_is_built_anew(archivist: Archivist) -> None:
    async with await connect(archivist.dsn) as connection:
        archived = archivist.archive(JANUARY)
        change = "UPDATE projection_checkpoints SET position = %s WHERE name = 'tasks'"
        await connection.execute(change, (archived.last_position,))
        assert (await prepare(connection, PROJECTIONS)).outdated == []
        await connection.execute(change, (archived.last_position - 1,))
        assert (await prepare(connection, PROJECTIONS)).outdated == [*named(["tasks"])]
        archivist.restore(JANUARY)
        assert (await prepare(connection, PROJECTIONS)).outdated == []


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

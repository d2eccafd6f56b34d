"""Rebuilds that were interrupted: the next one goes on where they were, if it builds the very same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partialmethod

import psycopg
import pytest
from psycopg import AsyncConnection

from infrastructure.projector.reading import WholeLog
from infrastructure.projector.rebuild import TablesInUse, rebuild
from projections import PROJECTIONS, named
from tests.support.entries import created, updated
from tests.support.projecting import connect, contents, parked_in, project
from tests.support.random_log import RandomLog
from tests.support.stored import append

AT_ONCE = 1_000
EVENTS = 2 * AT_ONCE + 500


class Interrupted(Exception):
    """Stands for the end of the process."""


class Heard:
    """What a rebuild tells; it is interrupted at the first of some moments."""

    def __init__(self, interrupt_at: str | None = None, after: int = 0) -> None:
        self.told: list[tuple[str, int]] = []
        self._interrupt_at = interrupt_at
        self._after = after

    def resumed(self, position: int) -> None:
        self._tell("resumed", position)

    def begun_again(self) -> None:
        self._tell("begun again", 0)

    def folded(self, position: int, until: int) -> None:
        assert position <= until
        self._tell("folded", position)

    def indexing(self) -> None:
        self._tell("indexing", 0)

    def _tell(self, what: str, position: int) -> None:
        self.told.append((what, position))
        if what == self._interrupt_at and position >= self._after:
            raise Interrupted


@pytest.fixture(autouse=True)
def in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebuilds that take three batches for the log."""
    monkeypatch.setattr(WholeLog, "entries", partialmethod(WholeLog.entries, limit=AT_ONCE))


@pytest.fixture
async def connection(projected: str) -> AsyncIterator[AsyncConnection]:
    async with await connect(projected) as connection:
        yield connection


async def interrupted(database: str, at: str, after: int = 0) -> Heard:
    heard = Heard(at, after)
    with pytest.raises(Interrupted):
        await rebuild(database, PROJECTIONS, heard)
    return heard


async def exists(connection: AsyncConnection) -> bool:
    cursor = await connection.execute("SELECT to_regclass('rebuilding.tasks') IS NOT NULL")
    return await cursor.fetchone() == (True,)


async def test_it_goes_on_after_the_last_batch_and_gives_the_same_rows(
    projected: str, connection: AsyncConnection
) -> None:
    before = await contents(connection)
    done = (await interrupted(projected, "folded", after=AT_ONCE + 1)).told[-1][1]
    assert await contents(connection) == before, "what is shown is what was shown"
    heard = Heard()
    rebuilt = await rebuild(projected, PROJECTIONS, heard)
    assert heard.told[0] == ("resumed", done)
    assert heard.told[1][1] > done
    assert rebuilt == (EVENTS, 0)
    assert await contents(connection) == before
    assert not await exists(connection)


async def test_a_connection_that_breaks_costs_no_more_than_its_batch(
    projected: str, connection: AsyncConnection
) -> None:
    class Cutting(Heard):
        def folded(self, position: int, until: int) -> None:
            super().folded(position, until)
            with psycopg.connect(projected, autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
                    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                )

    before = await contents(connection)
    cut = Cutting()
    with pytest.raises(psycopg.OperationalError):
        await rebuild(projected, PROJECTIONS, cut)
    heard = Heard()
    await rebuild(projected, PROJECTIONS, heard)
    assert heard.told[0] == ("resumed", cut.told[0][1])
    assert await contents(connection) == before


async def test_indexes_that_were_made_are_not_made_again(projected: str, connection: AsyncConnection) -> None:
    before = await contents(connection)
    async with await connect(projected) as reader, reader.transaction():
        await reader.execute("SELECT count(*) FROM tasks")
        with pytest.raises(TablesInUse):
            await rebuild(projected, PROJECTIONS, patience_seconds=0.2)
    heard = Heard()
    await rebuild(projected, PROJECTIONS, heard)
    assert heard.told[0] == ("resumed", EVENTS)
    assert await contents(connection) == before


async def test_one_that_was_interrupted_before_the_indexes_makes_them(
    projected: str, connection: AsyncConnection
) -> None:
    async def indexes() -> set[str]:
        cursor = await connection.execute("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'")
        return {definition for (definition,) in await cursor.fetchall()}

    before = await indexes()
    await interrupted(projected, "indexing")
    await rebuild(projected, PROJECTIONS)
    assert await indexes() == before


async def test_what_is_to_be_done_anew_begins_at_the_first_event(
    projected: str, connection: AsyncConnection
) -> None:
    await interrupted(projected, "folded")
    heard = Heard()
    await rebuild(projected, PROJECTIONS, heard, anew=True)
    assert [what for what, _ in heard.told].count("resumed") == 0


async def test_what_was_left_of_other_read_models_is_dropped(
    projected: str, connection: AsyncConnection
) -> None:
    before = await contents(connection)
    await interrupted(projected, "folded")
    heard = Heard()
    await rebuild(projected, named(["tasks"]), heard)
    assert [what for what, _ in heard.told].count("resumed") == 0
    assert await contents(connection) == before


async def test_tables_that_know_of_lost_events_are_not_gone_on_with(
    projected: str, connection: AsyncConnection
) -> None:
    await interrupted(projected, "folded", after=AT_ONCE + 1)
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("DELETE FROM events WHERE notification_id > 50")
    heard = Heard()
    rebuilt = await rebuild(projected, PROJECTIONS, heard)
    assert rebuilt.position == 50
    assert heard.told[0] == ("folded", 50)


async def test_what_was_parked_before_the_interruption_counts(database: str) -> None:
    async with await connect(database) as connection:
        log = [created(), updated(name="n" * 256), *RandomLog(5).grow(AT_ONCE)]
        await append(connection, log)
        await project(connection)
        await interrupted(database, "folded")
        assert (await rebuild(database, PROJECTIONS)).parked >= 1
        assert ("tasks", 2) in [(name, position) for name, position, _ in await parked_in(connection)]


async def test_rows_that_another_release_has_folded_are_not_gone_on_with(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await connect(database) as connection:
        await append(connection, RandomLog(4).grow(50))
        await project(connection)
        await interrupted(database, "indexing")
        monkeypatch.setattr("infrastructure.projector.workplace.this_fold", lambda: "one with a fix")
        heard = Heard()
        await rebuild(database, PROJECTIONS, heard)
        assert [what for what, _ in heard.told] == ["folded", "indexing"]

"""Rebuilding with several processes: each folds a share of the log, and the rows are those of one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any
from uuid import UUID

import pytest
from psycopg import sql

from infrastructure.archive.catalog import NO_ARCHIVES
from infrastructure.projector.reading import NOTHING_ARCHIVED, WholeLog
from infrastructure.projector.rebuild import EventRefused, fold_share, rebuild
from infrastructure.projector.workplace import NewTablesLost, Share
from projections import NAMES, PROJECTIONS, named
from projections.projection import statement
from tests.support.entries import NOON, after, created, updated
from tests.support.projecting import connect, contents, parked_in, project
from tests.support.random_log import RandomLog
from tests.support.sharing import Heard, Together, spoiled
from tests.support.stored import append

EVENTS = 3_000


@pytest.mark.parametrize("processes", [2, 3, 4, 9])
async def test_shares_come_to_the_rows_of_one_process(projected: str, processes: int) -> None:
    async with await connect(projected) as connection:
        before = await spoiled(connection)
        workers = Together(projected, processes)
        rebuilt = await rebuild(projected, PROJECTIONS, workers=workers)
        assert rebuilt == (EVENTS, 0)
        assert workers.asked == [(processes, EVENTS)]
        assert await contents(connection) == before


async def test_the_rows_do_not_depend_on_how_far_the_others_are(projected: str) -> None:
    class OneAfterTheOther(Together):
        async def fold_all(self, shares: Sequence[Awaitable[None]]) -> None:
            for share in reversed(shares):
                await share

    async with await connect(projected) as connection:
        before = await spoiled(connection)
        log = WholeLog(NO_ARCHIVES, at_once=97)
        await rebuild(projected, PROJECTIONS, workers=OneAfterTheOther(projected, 3, log))
        assert await contents(connection) == before


async def test_what_is_recorded_after_they_have_begun_is_folded_by_one(projected: str) -> None:
    class Late(Together):
        async def fold_all(self, shares: Sequence[Awaitable[None]]) -> None:
            async with await connect(projected) as writer:
                await append(writer, [created(stream=UUID(int=77))])
            await super().fold_all(shares)

    async with await connect(projected) as connection:
        rebuilt = await rebuild(projected, PROJECTIONS, workers=Late(projected, 2))
        assert rebuilt.position == EVENTS + 1
        cursor = await connection.execute("SELECT count(*) FROM tasks WHERE id = %s", (UUID(int=77),))
        assert await cursor.fetchone() == (1,)


async def test_what_cannot_be_applied_is_found_and_parked_as_by_one_process(database: str) -> None:
    async with await connect(database) as connection:
        log = [created(), updated(name="n" * 256), *RandomLog(5).grow(500)]
        await append(connection, log)
        await project(connection)
        before, parked = await contents(connection), await parked_in(connection)
        assert [position for _, position, _ in parked] == [2]
        await connection.execute("DELETE FROM parked_events")  # nobody knows of them yet
        workers = Together(database, 2)
        assert (await rebuild(database, PROJECTIONS, workers=workers)).parked == 1
        assert len(workers.asked) == 1
        assert await contents(connection) == before
        assert await parked_in(connection) == parked


async def test_what_is_known_not_to_be_applicable_is_not_shared_out(database: str) -> None:
    async with await connect(database) as connection:
        await append(connection, [created(), updated(name="n" * 256), *RandomLog(5).grow(100)])
        await project(connection)
        workers = Together(database, 2)
        assert (await rebuild(database, PROJECTIONS, workers=workers)).parked == 1
        assert workers.asked == []


@pytest.mark.parametrize("position", [150, 900, 1_493, 2_553])
async def test_an_event_that_nobody_knows_stops_the_shares_and_nothing_else(
    projected: str, position: int
) -> None:
    class Telling(Together):
        async def fold_all(self, shares: Sequence[Awaitable[None]]) -> None:
            self.ended = await asyncio.gather(*shares, return_exceptions=True)
            for error in self.ended:
                if error is not None:
                    raise error

    async with await connect(projected) as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(
            "UPDATE events SET topic = 'execution.unheard.v9' WHERE notification_id = %s", (position,)
        )
        log, heard = WholeLog(NO_ARCHIVES, at_once=200), Heard()
        workers = Telling(projected, 4, log)
        await rebuild(projected, PROJECTIONS, heard, workers=workers)
        assert {type(error) for error in workers.ended if error is not None} == {EventRefused}
        assert heard.begun_again_once
        shared, parked = await contents(connection), await parked_in(connection)
        assert position in {place for _, place, _ in parked}
        await rebuild(projected, PROJECTIONS)
        assert await contents(connection) == shared
        assert await parked_in(connection) == parked


async def test_tables_that_are_dropped_under_them_are_told_of(projected: str) -> None:
    class Dropping(Together):
        async def fold_all(self, shares: Sequence[Awaitable[None]]) -> None:
            async with await connect(projected) as other:
                await other.execute("DROP SCHEMA rebuilding CASCADE")
            await super().fold_all(shares)

    async with await connect(projected) as connection:
        before = await contents(connection)
        with pytest.raises(NewTablesLost, match="rebuild again"):
            await rebuild(projected, PROJECTIONS, workers=Dropping(projected, 4))
        assert await contents(connection) == before


async def test_tables_that_are_dropped_while_it_is_waited_for_them_are_told_of(
    projected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(Together):
        async def fold_all(self, shares: Sequence[Awaitable[None]]) -> None:
            for share in shares:
                share.close()  # type: ignore[attr-defined]
            async with await connect(projected) as other:
                await other.execute("DROP SCHEMA rebuilding CASCADE")
            await asyncio.Event().wait()

    monkeypatch.setattr("infrastructure.projector.rebuild.LOOK_SECONDS", 0.01)
    with pytest.raises(NewTablesLost):
        await rebuild(projected, PROJECTIONS, workers=Hanging(projected, 2))


async def test_shares_that_were_not_folded_are_not_put_together(projected: str) -> None:
    class Idle(Together):
        async def fold(self, projections: Sequence[str], shares: int, until: int) -> None:
            assert (projections, shares, until) == (list(NAMES), 2, EVENTS)

    async with await connect(projected) as connection:
        before = await contents(connection)
        with pytest.raises(NewTablesLost):
            await rebuild(projected, PROJECTIONS, workers=Idle(projected, 2))
        assert await contents(connection) == before


@pytest.mark.parametrize(
    ("name", "table", "keys"),
    [
        ("count_result_states", "result_counts", {"namespace": ["b", "a", "c"], "status": ["z", "y", "x"]}),
        ("add_statistics", "statistics", {"metric": ["b", "a", "c"], "label": ["z", "y", "x"]}),
        ("add_finished_minutes", "statistics_minutes", {"minute": [NOON, after(-60), after(60)]}),
    ],
)
async def test_sums_are_added_in_the_order_of_their_keys(
    projected: str, name: str, table: str, keys: dict[str, list[Any]]
) -> None:
    """So that of two who add to the same rows none waits for another who waits for it."""
    async with await connect(projected) as connection:
        await connection.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(table)))
        await connection.execute(statement(name), {**keys, "total": [1, 1, 1], "finished": [1, 1, 1]})
        columns = sql.SQL(", ").join(map(sql.Identifier, keys))
        cursor = await connection.execute(
            sql.SQL("SELECT {} FROM {} ORDER BY ctid").format(columns, sql.Identifier(table))
        )
        written = await cursor.fetchall()
        assert written == sorted(written)
        assert len(written) == 3


async def test_what_goes_across_streams_has_nothing_to_share(projected: str) -> None:
    workers = Together(projected, 2)
    await rebuild(projected, named(["tasks"]), workers=workers)
    assert workers.asked == []


async def test_a_share_of_no_rebuild_is_refused(projected: str) -> None:
    async with await connect(projected) as connection:
        before = await contents(connection)
        with pytest.raises(NewTablesLost):
            await fold_share(projected, PROJECTIONS, Share(1, 2), NOTHING_ARCHIVED, EVENTS)
        assert await contents(connection) == before


async def test_two_who_fold_the_same_share_apply_nothing_twice(projected: str) -> None:
    class Twice(Together):
        async def fold(self, projections: Sequence[str], shares: int, until: int) -> None:
            folding = [
                self.share(projections, Share(number, shares), until)
                for number in range(1, shares + 1)
                for _ in range(2)
            ]
            for ended in await asyncio.gather(*folding, return_exceptions=True):
                assert ended is None or isinstance(ended, NewTablesLost)

    async with await connect(projected) as connection:
        before = await spoiled(connection)
        log = WholeLog(NO_ARCHIVES, at_once=50)
        await rebuild(projected, PROJECTIONS, workers=Twice(projected, 2, log))
        assert await contents(connection) == before

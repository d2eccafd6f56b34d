"""Rebuilds by several processes that were interrupted: each share goes on from where it was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import pytest

from infrastructure.projector.rebuild import rebuild
from projections import PROJECTIONS
from tests.support.projecting import connect, contents
from tests.support.sharing import Heard, Together, spoiled

EVENTS = 3_000


class Interrupted(Exception):
    """Stands for the end of a process."""


class OnlyTheFirst(Together):
    """Workers the first of which does its share before the others end."""

    async def fold_all(self, shares: Sequence[Awaitable[None]]) -> None:
        first, *others = shares
        await first
        for other in others:
            other.close()  # type: ignore[attr-defined]
        raise Interrupted


async def test_what_was_interrupted_goes_on_in_as_many_shares_from_where_each_was(projected: str) -> None:
    async with await connect(projected) as connection:
        before = await spoiled(connection)
        with pytest.raises(Interrupted):
            await rebuild(projected, PROJECTIONS, workers=OnlyTheFirst(projected, 2))
        cursor = await connection.execute(
            "SELECT position FROM rebuilding.projection_checkpoints ORDER BY position"
        )
        reached = [position for (position,) in await cursor.fetchall()]
        assert reached == [0, 0, EVENTS, EVENTS, EVENTS]
        heard, workers = Heard(), Together(projected, 4)
        await rebuild(projected, PROJECTIONS, heard, workers=workers)
        assert heard.resumed_at == 0
        assert workers.asked == [(2, EVENTS)]
        assert await contents(connection) == before


async def test_shares_that_were_done_are_put_together_by_the_next(projected: str) -> None:
    class DoneAndGone(Together):
        async def fold_all(self, shares: Sequence[Awaitable[None]]) -> None:
            await super().fold_all(shares)
            raise Interrupted

    async with await connect(projected) as connection:
        before = await spoiled(connection)
        with pytest.raises(Interrupted):
            await rebuild(projected, PROJECTIONS, workers=DoneAndGone(projected, 2))
        heard = Heard()
        await rebuild(projected, PROJECTIONS, heard, workers=Together(projected, 2))
        assert heard.resumed_at == EVENTS
        assert await contents(connection) == before


async def alone(projected: str) -> Heard:
    """A rebuild without workers."""
    heard = Heard()
    await rebuild(projected, PROJECTIONS, heard)
    return heard


async def otherwise_shared(projected: str) -> Heard:
    """A rebuild that would share the streams out in another way."""
    heard = Heard()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("infrastructure.projector.workplace.ACROSS_COST", 0.5)
        await rebuild(projected, PROJECTIONS, heard, workers=Together(projected, 2))
    return heard


@pytest.mark.parametrize("next_one", [alone, otherwise_shared])
async def test_who_cannot_go_on_with_shares_begins_anew(
    projected: str, next_one: Callable[[str], Awaitable[Heard]]
) -> None:
    async with await connect(projected) as connection:
        before = await spoiled(connection)
        with pytest.raises(Interrupted):
            await rebuild(projected, PROJECTIONS, workers=OnlyTheFirst(projected, 2))
        heard = await next_one(projected)
        assert heard.resumed_at is None
        assert await contents(connection) == before

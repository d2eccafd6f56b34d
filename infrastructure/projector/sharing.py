"""A rebuild by several processes: each folds its share of the log, up to where that ended when they began."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from psycopg import AsyncConnection, sql

from infrastructure.database import with_liveness
from infrastructure.projector.batch import Batch, apply_together
from infrastructure.projector.checkpoints import CheckpointMoved, move_checkpoints, read_positions
from infrastructure.projector.parking import is_poison
from infrastructure.projector.preparation import live_schema
from infrastructure.projector.shares import at_work
from infrastructure.projector.workplace import NewTablesLost, enter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from infrastructure.projector.ports import Projection
    from infrastructure.projector.shares import Share
    from infrastructure.projector.whole_log import WholeLog

LOOK_SECONDS = 0.5


class EventRefused(Exception):
    """A share holds an event that cannot be applied: one process has to fold the log.

    What waits behind that event may be in another share, whose process knows nothing of it.
    """


class Workers(Protocol):
    """Processes that fold a log together."""

    def number(self, events: int) -> int:
        """How many there should be for so many events."""
        ...

    async def fold(self, projections: Sequence[str], shares: int, until: int) -> None:
        """Have each share folded up to a position, by `fold_share` in a process of its own.

        They end with this, however it ends. Raises `EventRefused`, and whatever says why one of them failed.
        """
        ...


async def fold_share(
    dsn: str, projections: Sequence[Projection], share: Share, whole_log: WholeLog, until: int
) -> None:
    """Fold a share of the log up to a position into the tables of a rebuild that has shared it out.

    Goes on where the share was. Raises `EventRefused`, `NewTablesLost` where there is no such rebuild (any
    more), or another process folds the share, `ArchiveAway` and `psycopg.Error`.
    """
    parts = share.parts(projections)
    log = whole_log.some(share.wanted(projections))
    async with await AsyncConnection.connect(with_liveness(dsn), autocommit=True) as connection:
        await enter(connection, sql.Identifier(await live_schema(connection)))
        positions = set((await read_positions(connection, parts)).values())
        if len(positions) != 1:
            raise NewTablesLost
        position = positions.pop()
        while position < until:
            read = await log.entries(connection, position)
            entries = [entry for entry in read.entries if entry.position <= until]
            if not entries:
                break
            await _apply(connection, Batch(parts, entries, position))
            position = entries[-1].position
        await move_checkpoints(connection, parts, position, max(position, until), None)


async def _apply(connection: AsyncConnection, batch: Batch) -> None:
    """To find out which of its events cannot be applied is for the process that folds them all."""
    try:
        await apply_together(connection, batch)
    except CheckpointMoved as error:
        raise NewTablesLost from error
    except Exception as error:
        if is_poison(error):
            raise EventRefused from error
        raise


async def fold_together(
    connection: AsyncConnection,
    projections: Sequence[Projection],
    workers: Workers,
    shares: int,
    until: int,
    folded: Callable[[int, int], None],
) -> None:
    """Have a log that was shared out folded up to a position; `folded` hears how far all of them are.

    Raises `NewTablesLost`, and as `Workers.fold` does.
    """
    parts = at_work(projections, shares)
    working = asyncio.create_task(workers.fold([each.name for each in projections], shares, until))
    try:
        while not (await asyncio.wait((working,), timeout=LOOK_SECONDS))[0]:
            positions = await read_positions(connection, parts)
            if len(positions) < len(parts):
                raise NewTablesLost
            folded(min(positions.values()), until)
        working.result()
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

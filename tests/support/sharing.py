"""Rebuilds by workers that are no processes of their own, and what they tell."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from psycopg import AsyncConnection

from infrastructure.projector.reading import NOTHING_ARCHIVED, WholeLog
from infrastructure.projector.rebuild import fold_share
from infrastructure.projector.workplace import Share
from projections import named
from tests.support.projecting import contents


class Together:
    """Workers that fold their shares in this process; what they were asked for."""

    def __init__(self, dsn: str, processes: int, log: WholeLog = NOTHING_ARCHIVED) -> None:
        self.asked: list[tuple[int, int]] = []
        self._dsn = dsn
        self._processes = processes
        self._log = log

    def number(self, events: int) -> int:
        assert events > 0
        return self._processes

    async def fold(self, projections: Sequence[str], shares: int, until: int) -> None:
        self.asked.append((shares, until))
        await self.fold_all(
            [self.share(projections, Share(number, shares), until) for number in range(1, shares + 1)]
        )

    async def fold_all(self, shares: Sequence[Awaitable[None]]) -> None:
        await asyncio.gather(*shares)

    def share(self, projections: Sequence[str], share: Share, until: int) -> Awaitable[None]:
        return fold_share(self._dsn, named(projections), share, self._log, until)


class Heard:
    """What a rebuild tells."""

    def __init__(self) -> None:
        self.resumed_at: int | None = None
        self.begun_again_once = False
        self.folded_to: list[int] = []

    def resumed(self, position: int) -> None:
        self.resumed_at = position

    def begun_again(self) -> None:
        self.begun_again_once = True

    def folded(self, position: int, until: int) -> None:
        assert position <= until
        self.folded_to.append(position)

    def indexing(self) -> None:
        pass


async def spoiled(connection: AsyncConnection) -> dict[str, list[str]]:
    """What the tables hold before they are spoiled, so that nobody takes the old ones for new ones."""
    before = await contents(connection)
    await connection.execute("UPDATE task_definitions SET name = 'spoiled'")
    await connection.execute("UPDATE closed_results SET reason = 'spoiled'")
    await connection.execute("UPDATE open_results SET reason = 'spoiled'")
    await connection.execute("UPDATE statistics SET total = total + 1")
    return before

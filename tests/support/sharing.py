"""Workers of a rebuild that are no processes of their own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from infrastructure.projector import Share, fold_share
from infrastructure.projector.whole_log import NOTHING_ARCHIVED
from projections.catalogue import named

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from infrastructure.projector import WholeLog


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

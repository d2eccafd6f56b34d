"""Confirming what a bid rests on before it hurts: that what seems to go on of a task does so by the log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from application.scheduler.bids import bid_for
from application.streams import load_execution

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from application.scheduler.bids import Bid
    from application.scheduler.context import Context
    from domain.execution import Execution


class Contests:
    """Plans contested bids anew. What has ended may not have been followed yet, and others pay no reads."""

    def __init__(self, context: Context) -> None:
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._index = context.index
        self._ongoing = context.ongoing

    async def confirm(self, bid: Bid) -> bool:
        """Make it the bid that the log justifies; False: its task has moved on meanwhile.

        Raises `LogUnavailable`.
        """
        seen: dict[UUID, Execution] = {}
        while unread := [each for each in self._rests_on(bid) if each not in seen]:
            for execution in await asyncio.gather(*map(self._read, unread)):
                seen[execution.id] = execution
            if not self._index.claiming(bid.entry):
                return False
            going = self._ongoing.going(bid.entry.task_id)
            anew = bid_for(bid.entry, self._node, self._clock.now(), going)
            bid.due, bid.claim, bid.job = anew.due, anew.claim, anew.job
        bid.replaced = tuple(seen[each] for each in bid.claim.replaced)
        return True

    async def moved_on(self, bid: Bid) -> bool:
        """Whether something that a bid was to replace has changed since it was read."""
        read = await asyncio.gather(*(self._read(execution.id) for execution in bid.replaced))
        return any(now.version != then.version for now, then in zip(read, bid.replaced, strict=True))

    def _rests_on(self, bid: Bid) -> Iterable[UUID]:
        """Behind the first one in a queue the others are still waiting: only it may have been started."""
        if not bid.claim.contested:
            return ()
        going = self._ongoing.going(bid.entry.task_id)
        return dict.fromkeys((*going.running, *going.queued[:1], *bid.claim.replaced))

    async def _read(self, execution_id: UUID) -> Execution:
        execution = await load_execution(self._log, execution_id)
        assert execution is not None, "what goes on is in the log"
        self._ongoing.learn(execution)
        return execution

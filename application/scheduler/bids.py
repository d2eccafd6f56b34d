"""Claims on their way to the log, and those of which it is not known whether they arrived."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from application.ports import LogUnavailable
from application.scheduler.apart import apart
from application.scheduler.waiting import OUTAGE_PAUSE
from application.scheduler.work import Job
from application.streams import fold_execution, last_claim
from domain import execution as executions
from domain.claiming import Claim, Due, claim
from domain.execution import Running
from domain.facts import ExecutionStarted

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from application.ports import Group
    from application.scheduler.context import Context
    from application.scheduler.due_index import Entry
    from application.scheduler.node import Node


@dataclass(slots=True, eq=False)
class Bid:
    """A claim and what it is for: the entry as it stood, and the job that begins when the bid is `won`.

    `version` is where the start goes in its stream: first, unless an outdated claim was dropped there before.
    """

    entry: Entry
    due: Due
    claim: Claim
    job: Job | None
    version: int = 1
    won: bool = False


def bid_for(entry: Entry, node: Node, now: datetime) -> Bid:
    """A bid for the occurrence where a task stands."""
    due = Due(
        task_id=entry.task_id,
        version=entry.version,
        namespace=entry.namespace,
        definition=entry.definition,
        due_at=entry.due_at,
        runs=entry.runs,
        pause=entry.pause,
    )
    plan = claim(due, node.name, node.margin, now)
    return Bid(entry, due, plan, _begun(*plan.started, due) if plan.started else None)


class Bids:
    """Appends bids. One that gets no answer is looked for in the log until it is found or its lease is over.

    Whoever claims again without looking takes his own first claim for somebody else's, and nobody sends it.
    """

    def __init__(self, context: Context, start: Callable[[Job], None]) -> None:
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._index = context.index
        self._work = context.work
        self._start = start
        self._doubts: dict[UUID, tuple[ExecutionStarted, Due]] = {}
        self.next_look: datetime | None = None

    async def append(self, bid: Bid) -> bool:
        """Whether the log accepts a bid: not when the task has changed, or an occurrence is taken.

        Raises `LogUnavailable`.
        """
        try:
            accepted = await self._log.append(self._group(bid)) is not None
        except LogUnavailable:
            self._doubt(bid)
            raise
        if accepted:  # so an earlier one for the same occurrences is not in the log
            for execution_id, _ in bid.claim.facts():
                self._doubts.pop(execution_id, None)
        return accepted

    def _group(self, bid: Bid) -> Group:
        skipped = [(execution_id, 1, fact) for execution_id, fact in bid.claim.skipped]
        started = [(bid.claim.started[0], bid.version, bid.claim.started[1])] if bid.claim.started else []
        return self._node.group(*skipped, *started, guard=(bid.due.task_id, bid.due.version))

    def _doubt(self, bid: Bid) -> None:
        if bid.claim.started is not None:
            execution_id, fact = bid.claim.started
            self._doubts[execution_id] = fact, bid.due
            self.next_look = self.next_look or self._clock.now()

    async def look(self) -> None:
        """Look for what got no answer, twice a second, and begin it. Raises `LogUnavailable`."""
        now = self._clock.now()
        if self.next_look is None or now < self.next_look:
            return
        self.next_look = now + OUTAGE_PAUSE
        for execution_id in list(self._doubts):
            if not await apart("looking for execution", execution_id, self._look_for(execution_id, now)):
                del self._doubts[execution_id]
        if not self._doubts:
            self.next_look = None

    async def _look_for(self, execution_id: UUID, now: datetime) -> None:
        events = await self._log.read_stream(execution_id)
        execution, claimed = fold_execution(execution_id, events), last_claim(events)
        fact, due = self._doubts[execution_id]
        if execution is not None or fact.lease_until < now:
            del self._doubts[execution_id]
        if (
            isinstance(execution, Running)
            and isinstance(claimed, ExecutionStarted)
            and events[-1].fact is claimed
            and execution.node == self._node.name
        ):
            self._index.advance(claimed)
            job = _begun(execution_id, claimed, due, execution.version)
            # Its task may have changed while nobody was watching for this job.
            job.task_version, job.overtaken = claimed.occurrence.task_version, True
            self._work.add(job)
            self._start(job)


def _begun(execution_id: UUID, fact: ExecutionStarted, due: Due, version: int = 1) -> Job:
    running = executions.start(execution_id, fact, version)
    return Job(running, due.definition, due.version, fact.occurrence.send_at)

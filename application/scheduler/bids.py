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
from domain.claiming import Claim, Claimant, claim
from domain.due import Due
from domain.execution import Running
from domain.facts import ExecutionStarted
from domain.overlap import NOTHING, Going, give_way

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from application.ports import Answer, Group
    from application.scheduler.context import Context
    from application.scheduler.due_index import Entry
    from application.scheduler.node import Node
    from domain.execution import Execution
    from domain.facts import ExecutionFact


@dataclass(slots=True, eq=False)
class Bid:
    """A claim and what it is for: the entry as it stood, and the job that begins when the bid is `won`.

    `version` is where the start goes in its stream: first, unless an outdated claim was dropped there before.
    `replaced` are the executions that it cancels, as the log has them.
    """

    entry: Entry
    due: Due
    claim: Claim
    job: Job | None
    version: int = 1
    replaced: tuple[Execution, ...] = ()
    won: bool = False


def bid_for(entry: Entry, node: Node, now: datetime, going: Going = NOTHING) -> Bid:
    """A bid for the occurrence where a task stands, `going` being what goes on of it."""
    due = Due(
        task_id=entry.task_id,
        version=entry.version,
        namespace=entry.namespace,
        definition=entry.definition,
        due_at=entry.due_at,
        runs=entry.runs,
        pause=entry.pause,
    )
    plan = claim(due, Claimant(node.name, node.margin), now, going)
    return Bid(entry, due, plan, _job(plan, due))


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
        self._ongoing = context.ongoing
        self._lead = context.lead
        self._start = start
        self._doubts: dict[UUID, tuple[ExecutionStarted, Due]] = {}
        self.next_look: datetime | None = None

    async def append_all(self, bids: Sequence[Bid]) -> Sequence[bool | Exception]:
        """Whether the log accepts each: not when the task has changed, or an occurrence is taken.

        An error is that of one bid alone. Raises `LogUnavailable`.
        """
        asked = self._clock.steady()
        try:
            answers = await self._log.append_all([self._group(bid) for bid in bids])
        except LogUnavailable:
            for bid in bids:
                self._doubt(bid)
            raise
        finally:
            self._lead.took(asked)
        return [self._answered(bid, answer) for bid, answer in zip(bids, answers, strict=True)]

    async def append(self, bid: Bid) -> bool:
        """Whether the log accepts a bid. Raises `LogUnavailable`, and what the bid is refused with."""
        [accepted] = await self.append_all([bid])
        if isinstance(accepted, Exception):
            raise accepted
        return accepted

    def _answered(self, bid: Bid, answer: Answer) -> bool | Exception:
        if not isinstance(answer, int):
            return answer or False
        for execution_id, _ in bid.claim.facts() if self._doubts else ():
            self._doubts.pop(execution_id, None)  # an earlier bid for the same is not in the log
        self._enter(bid, answer)
        return True

    def _group(self, bid: Bid) -> Group:
        """What gives way ends before the new one starts: the bound holds at every position of the log."""
        task_id, version, plan = bid.due.task_id, bid.due.version, bid.claim
        facts: list[tuple[UUID, int, ExecutionFact]] = [(each, 1, fact) for each, fact in plan.skipped]
        if plan.end is not None:
            return self._node.group(*facts, (task_id, version + 1, plan.end))
        if plan.begun is not None:
            newer, begun = plan.begun
            facts += [(each.id, each.version + 1, give_way(each, newer, begun.at)) for each in bid.replaced]
            facts.append((newer, bid.version, begun))
        return self._node.group(*facts, guard=(task_id, version))

    def _enter(self, bid: Bid, position: int) -> None:
        for each in bid.replaced:
            self._ongoing.ended(bid.due.task_id, each.id, each.version + 1)
            self._work.break_off(bid.due.task_id, each.id)
        if bid.claim.begun is not None:
            execution_id, fact = bid.claim.begun
            self._ongoing.begun(position, execution_id, bid.version, fact)

    def _doubt(self, bid: Bid) -> None:
        if bid.claim.begun is None:
            return
        execution_id, fact = bid.claim.begun
        if isinstance(fact, ExecutionStarted):
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
                self._doubts.pop(execution_id, None)
        if not self._doubts:
            self.next_look = None

    async def _look_for(self, execution_id: UUID, now: datetime) -> None:
        events = await self._log.read_stream(execution_id)
        if execution_id not in self._doubts or execution_id in self._work:
            return  # a later bid has the answer, or is about to have it
        execution, claimed = fold_execution(execution_id, events), last_claim(events)
        fact, due = self._doubts[execution_id]
        if execution is not None or fact.lease_until < now:
            del self._doubts[execution_id]
        # By an equal fact, not by the node's name: this node may have started it from the queue since.
        if isinstance(execution, Running) and claimed == fact and events[-1].fact is claimed:
            self._ongoing.begun(events[-1].position, execution_id, execution.version, fact)
            self._index.advance(fact)
            job = _begun(execution_id, fact, due, execution.version)
            # Its task may have changed while nobody was watching for this job.
            job.task_version, job.overtaken = fact.occurrence.task_version, True
            self._work.add(job)
            self._start(job)


def _job(plan: Claim, due: Due) -> Job | None:
    if plan.begun is None or not isinstance(plan.begun[1], ExecutionStarted):
        return None
    return _begun(plan.begun[0], plan.begun[1], due)


def _begun(execution_id: UUID, fact: ExecutionStarted, due: Due, version: int = 1) -> Job:
    running = executions.start(execution_id, fact, version)
    return Job(running, due.definition, due.version, fact.occurrence.send_at)

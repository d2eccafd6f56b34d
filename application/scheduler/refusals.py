"""Finding out from the log why a claim was refused, and going on from what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from application.streams import fold_execution, last_claim, load_task
from domain import task as tasks
from domain.execution import Over
from domain.task import Scheduled

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from application.scheduler.bids import Bid, Bids
    from application.scheduler.context import Context
    from application.scheduler.work import Job
    from domain.execution import Execution
    from domain.facts import (
        ExecutionSkipped,
        ExecutionStarted,
        Outcome,
        TaskCompleted,
        TaskUpdated,
    )


class Refusals:
    """Gives the task of each refused bid the place where the log says that it stands."""

    def __init__(self, context: Context, bids: Bids) -> None:
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._index = context.index
        self._work = context.work
        self._bids = bids

    async def resolve(self, bid: Bid) -> bool:
        """Whether the bid was accepted at a second try. Raises `LogUnavailable`."""
        task = await load_task(self._log, bid.due.task_id)
        if not isinstance(task, Scheduled):
            self._index.remove(bid.due.task_id)
            return False
        if task.version != bid.due.version:
            self._task_changed(bid, task)
            return False
        out_of_turn: set[UUID] = set()
        for execution_id, _ in reversed(bid.claim.facts()):
            events = await self._log.read_stream(execution_id)
            execution, claimed = fold_execution(execution_id, events), last_claim(events)
            if execution is not None and claimed is not None:
                return await self._taken(bid, task, execution, claimed)
            if execution is not None:
                out_of_turn.add(execution_id)
        if out_of_turn:
            return await self._claim_the_rest(bid, out_of_turn)
        raise RuntimeError("the log refuses the claim, though it shows the same task and no such execution")

    def _task_changed(self, bid: Bid, task: Scheduled) -> None:
        if self._index.claiming(bid.entry):
            bid.entry.version, bid.entry.definition = task.version, task.definition
            bid.entry.pause = task.pause
            moved = task.placed_in > bid.due.version
            place = (task.placed_at, task.placed_runs) if moved else (bid.due.due_at, bid.due.runs)
            self._index.settle(bid.entry, *place)

    async def _taken(
        self, bid: Bid, task: Scheduled, execution: Execution, claimed: ExecutionStarted | ExecutionSkipped
    ) -> bool:
        """Somebody has an occurrence of the bid: go on to the place that its claim named.

        Unless that claim was made before the last change of the trigger put the task just there. What was
        then dropped unsent is claimed anew; what was not, the task leaves behind.
        """
        if claimed.occurrence.task_version >= task.placed_in:
            self._index.settle(bid.entry, claimed.next_run_at, claimed.occurrence.run)
            return False
        dropped = isinstance(execution, Over) and execution.status == "skipped"
        if dropped and bid.job is not None and bid.job.execution.id == execution.id:
            return await self._claim_anew(bid, bid.job, execution.version + 1)
        await self._leave_behind(bid, task, execution)
        return False

    async def _claim_the_rest(self, bid: Bid, out_of_turn: set[UUID]) -> bool:
        """Users have had some occurrences of the bid run: those have their entries in the ledger already."""
        bid.claim = bid.claim.without(out_of_turn, bid.due)
        if bid.claim.started is None and bid.job is not None:
            self._work.done(bid.job)
            bid.job = None
        if not bid.claim.facts():
            self._index.settle(bid.entry, bid.claim.next_run_at)
            return False
        accepted = await self._bids.append(bid)
        if not accepted:
            self._index.settle(bid.entry, bid.due.due_at)
        return accepted

    async def _claim_anew(self, bid: Bid, job: Job, version: int) -> bool:
        bid.version = version
        job.execution = replace(job.execution, version=version)
        accepted = await self._bids.append(bid)
        if not accepted:
            self._index.settle(bid.entry, bid.due.due_at)
        return accepted

    async def _leave_behind(self, bid: Bid, task: Scheduled, execution: Execution) -> None:
        fact = _way_on(task, execution, bid.due.runs, self._clock.now())
        if fact is None:  # the last occurrence, in progress: the end of that ends the task
            self._index.settle(bid.entry, None)
            return
        # Refused when the task has changed again. Either way the next bid finds out where it stands now.
        await self._log.append(self._node.group((task.id, task.version + 1, fact)))
        self._index.settle(bid.entry, bid.due.due_at)


def _way_on(
    task: Scheduled, execution: Execution, runs: int, now: datetime
) -> TaskCompleted | TaskUpdated | None:
    occurrence = execution.occurrence
    if isinstance(execution, Over):
        outcome: Outcome = "succeeded" if execution.status == "succeeded" else "failed"
        if end := tasks.complete(task, outcome, occurrence, execution.id, now):
            return end
    return tasks.pass_over(task, occurrence.due_at, runs, now)

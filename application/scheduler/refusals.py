"""Finding out from the log why a claim was refused, and going on from what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from application.streams import fold_execution, last_claim, load_task
from domain import task as tasks
from domain.execution import Over
from domain.schedule import next_after
from domain.task import Scheduled

if TYPE_CHECKING:
    from datetime import datetime

    from application.scheduler.bids import Bid, Bids
    from application.scheduler.context import Context
    from application.scheduler.work import Job
    from domain.execution import Execution
    from domain.facts import ExecutionSkipped, ExecutionStarted, Outcome


class Refusals:
    """Gives the task of each refused bid the place where the log says that it stands."""

    def __init__(self, context: Context, bids: Bids) -> None:
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._index = context.index
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
        for execution_id, _ in reversed(bid.claim.facts()):
            events = await self._log.read_stream(execution_id)
            execution, claimed = fold_execution(execution_id, events), last_claim(events)
            if execution is not None and claimed is not None:
                return await self._taken(bid, task, execution, claimed)
        raise RuntimeError("the log refuses the claim, though it shows the same task and no such execution")

    def _again(self, bid: Bid) -> None:
        """The log has moved on meanwhile: claim once more from where the task stood."""
        self._index.settle(bid.entry, bid.due.due_at)

    def _task_changed(self, bid: Bid, task: Scheduled) -> None:
        if self._index.claiming(bid.entry):
            same = task.definition.trigger == bid.due.definition.trigger
            bid.entry.version, bid.entry.definition = task.version, task.definition
            self._index.settle(bid.entry, bid.due.due_at if same else task.placed_at)

    async def _taken(
        self, bid: Bid, task: Scheduled, execution: Execution, claimed: ExecutionStarted | ExecutionSkipped
    ) -> bool:
        """Somebody has an occurrence of the bid: go on to the place that its claim named.

        A task that was moved away from an instant and back to it may stand at one that is over. What was
        dropped unsent is claimed anew; what ran ends a one-off.
        """
        if bid.job is not None and _dropped_before(bid.job, execution, claimed):
            return await self._claim_anew(bid, bid.job, execution.version + 1)
        if isinstance(execution, Over) and not await self._completed(task, execution):
            self._again(bid)
        else:
            self._index.settle(bid.entry, _place_after(claimed, task))
        return False

    async def _claim_anew(self, bid: Bid, job: Job, version: int) -> bool:
        bid.version = version
        job.execution = replace(job.execution, version=version)
        accepted = await self._bids.append(bid)
        if not accepted:
            self._again(bid)
        return accepted

    async def _completed(self, task: Scheduled, execution: Over) -> bool:
        """False: a one-off should end here, but the log has moved on."""
        outcome: Outcome = "succeeded" if execution.status == "succeeded" else "failed"
        due_at = execution.occurrence.due_at
        end = tasks.complete(task, outcome, due_at, execution.id, self._clock.now())
        if end is None:
            return True
        return await self._log.append(self._node.group((task.id, task.version + 1, end))) is not None


def _dropped_before(job: Job, execution: Execution, claimed: ExecutionStarted | ExecutionSkipped) -> bool:
    """Whether what the job is about was claimed for an older definition of its task, and dropped unsent."""
    return (
        job.execution.id == execution.id
        and isinstance(execution, Over)
        and execution.status == "skipped"
        and claimed.occurrence.task_version < job.task_version
    )


def _place_after(claimed: ExecutionStarted | ExecutionSkipped, task: Scheduled) -> datetime | None:
    """The claim's next place; one for an older definition knew of another schedule."""
    if claimed.occurrence.task_version >= task.version:
        return claimed.next_run_at
    return next_after(task.definition.trigger, claimed.occurrence.due_at)

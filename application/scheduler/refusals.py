"""Finding out from the log why a claim was refused, and going on from what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from application.streams import fold_execution, last_claim, load_latest
from domain import task as tasks
from domain.execution import Over
from domain.task import Scheduled

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from application.scheduler.bids import Bid, Bids
    from application.scheduler.contests import Contests
    from application.scheduler.context import Context
    from domain.execution import Execution
    from domain.facts import PlacingFact


class Refusals:
    """Gives the task of each refused bid the place where the log says that it stands."""

    def __init__(self, context: Context, bids: Bids, contests: Contests) -> None:
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._index = context.index
        self._work = context.work
        self._bids = bids
        self._contests = contests

    async def resolve(self, bid: Bid) -> bool:
        """Whether the bid was accepted at a second try. Raises `LogUnavailable`."""
        latest = await load_latest(self._log, bid.due.task_id)
        if latest is None or not isinstance(task := latest.task, Scheduled):
            self._index.remove(bid.due.task_id)
            return False
        if task.version != bid.due.version:
            self._task_changed(bid, task, latest.position)
            return False
        elsewhere: dict[UUID, Execution] = {}
        for execution_id, _ in reversed(bid.claim.facts()):
            events = await self._log.read_stream(execution_id)
            execution, claimed = fold_execution(execution_id, events), last_claim(events)
            if execution is None:
                continue
            if claimed is not None and claimed.occurrence.task_version >= task.placed_in:
                # Somebody has an occurrence of the bid: go on to the place that its claim named.
                place, runs = claimed.next_run_at, claimed.occurrence.run
                self._index.settle(bid.entry, place, runs, learnt_at=events[-1].position)
                return False
            if not _claimable_anew(bid, execution, claimed):
                elsewhere[execution_id] = execution
        if elsewhere or bid.version > 1:
            return await self._claim_the_rest(bid, task, elsewhere)
        if await self._contests.moved_on(bid):
            self._index.settle(bid.entry, bid.due.due_at)
            return False
        raise RuntimeError("the log refuses the claim, though it shows the same task and no such execution")

    def _task_changed(self, bid: Bid, task: Scheduled, position: int) -> None:
        if self._index.claiming(bid.entry):
            bid.entry.version, bid.entry.definition = task.version, task.definition
            bid.entry.pause = task.pause
            moved = task.placed_in > bid.due.version
            place = (task.placed_at, task.placed_runs) if moved else (bid.due.due_at, bid.due.runs)
            self._index.settle(bid.entry, *place, learnt_at=position)

    async def _claim_the_rest(self, bid: Bid, task: Scheduled, elsewhere: dict[UUID, Execution]) -> bool:
        """What has its entry in the ledger already is left out: `elsewhere`, the newest first.

        Users have had it run, or it was claimed before the last change of the trigger put the task there.
        """
        bid.claim = bid.claim.without(elsewhere, bid.due, task)
        if bid.claim.begun is None:
            bid.replaced = ()
            if bid.job is not None:
                self._work.done(bid.job)
                bid.job = None
        if not bid.claim.facts() and bid.claim.end is None:
            await self._leave_behind(bid, task, elsewhere.values())
            return False
        accepted = await self._bids.append(bid)
        if not accepted:
            self._index.settle(bid.entry, bid.due.due_at)
        return accepted

    async def _leave_behind(self, bid: Bid, task: Scheduled, elsewhere: Iterable[Execution]) -> None:
        """Nothing is left to claim: unless users have had all of it run, it takes a fact to go on."""
        execution = next((each for each in elsewhere if each.occurrence.kind == "scheduled"), None)
        if execution is None:
            self._index.settle(bid.entry, bid.claim.next_run_at)
            return
        now = self._clock.now()
        fact = tasks.pass_over(task, execution.occurrence.due_at, bid.due.runs, now)
        if fact is None:  # the last occurrence, in progress: the end of that ends the task
            self._index.settle(bid.entry, None)
            return
        # Refused when the task has changed again. Either way the next bid finds out where it stands now.
        await self._log.append(self._node.group((task.id, task.version + 1, fact)))
        self._index.settle(bid.entry, bid.due.due_at)


def _claimable_anew(bid: Bid, execution: Execution, claimed: PlacingFact | None) -> bool:
    """Whether it is what the bid begins, and was dropped unsent; the bid then follows what came before."""
    dropped = claimed is not None and isinstance(execution, Over) and execution.status == "skipped"
    if not dropped or bid.claim.begun is None or bid.claim.begun[0] != execution.id:
        return False
    bid.version = execution.version + 1
    if bid.job is not None:
        bid.job.execution = replace(bid.job.execution, version=bid.version)
    return True

"""Claims on their way to the log, and those of which it is not known whether they arrived."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from application.ports import LogUnavailable
from application.scheduler.jobs import Job
from application.scheduler.timing import OUTAGE_PAUSE, isolate_errors
from application.streams import fold_execution, last_claim, load_execution, load_latest
from domain import execution as executions
from domain import task as tasks
from domain.claiming import Claim, Claimant, Due, claim
from domain.execution import FinishedExecution, Running
from domain.facts import ExecutionStarted
from domain.overlap import NOTHING_OPEN, ConcurrencyState, give_way
from domain.task import Scheduled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from application.ports import Answer, Group
    from application.scheduler.context import Context, SchedulerNode
    from application.scheduler.index import Entry
    from domain.execution import Execution
    from domain.facts import ExecutionFact, PlacingFact


@dataclass(slots=True, eq=False)
class ClaimRequest:
    """A claim and what it is for: the entry as it stood, and the job that begins when the request is `won`.

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


def claim_request(
    entry: Entry, node: SchedulerNode, now: datetime, open_runs: ConcurrencyState = NOTHING_OPEN
) -> ClaimRequest:
    """A request for the occurrence where a task stands, `open_runs` being what goes on of it."""
    due = Due(
        task_id=entry.task_id,
        version=entry.version,
        namespace=entry.namespace,
        definition=entry.definition,
        due_at=entry.due_at,
        runs=entry.runs,
        pause=entry.pause,
    )
    plan = claim(due, Claimant(node.name, node.margin), now, open_runs)
    return ClaimRequest(entry, due, plan, _job(plan, due))


class ClaimAppender:
    """Appends requests. One that gets no answer is looked for in the log until it is found or its lease is
    over.

    Whoever claims again without looking takes his own first claim for somebody else's, and nobody sends it.
    """

    def __init__(self, context: Context, start: Callable[[Job], None]) -> None:
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._index = context.index
        self._jobs = context.jobs
        self._open_executions = context.open_executions
        self._claim_ahead = context.claim_ahead
        self._failed = context.observer.failed
        self._start = start
        self._doubts: dict[UUID, tuple[ExecutionStarted, Due]] = {}
        self.next_look: datetime | None = None

    async def append_all(self, requests: Sequence[ClaimRequest]) -> Sequence[bool | Exception]:
        """Whether the log accepts each: not when the task has changed, or an occurrence is taken.

        An error is that of one request alone. Raises `LogUnavailable`.
        """
        asked = self._clock.steady()
        try:
            answers = await self._log.append_all([self._group(request) for request in requests])
        except LogUnavailable:
            for request in requests:
                self._doubt(request)
            raise
        finally:
            self._claim_ahead.took(asked)
        return [self._answered(request, answer) for request, answer in zip(requests, answers, strict=True)]

    async def append(self, request: ClaimRequest) -> bool:
        """Whether the log accepts a request. Raises `LogUnavailable`, and what refuses the request."""
        [accepted] = await self.append_all([request])
        if isinstance(accepted, Exception):
            raise accepted
        return accepted

    def _answered(self, request: ClaimRequest, answer: Answer) -> bool | Exception:
        if not isinstance(answer, int):
            return answer or False
        for execution_id, _ in request.claim.facts() if self._doubts else ():
            self._doubts.pop(execution_id, None)  # an earlier request for the same is not in the log
        self._enter(request, answer)
        return True

    def _group(self, request: ClaimRequest) -> Group:
        """What gives way ends before the new one starts: the bound holds at every position of the log."""
        task_id, version, plan = request.due.task_id, request.due.version, request.claim
        facts: list[tuple[UUID, int, ExecutionFact]] = [(each, 1, fact) for each, fact in plan.skipped]
        if plan.end is not None:
            return self._node.group(*facts, (task_id, version + 1, plan.end))
        if plan.begun is not None:
            newer, begun = plan.begun
            facts += [
                (each.id, each.version + 1, give_way(each, newer, begun.at)) for each in request.replaced
            ]
            facts.append((newer, request.version, begun))
        return self._node.group(*facts, guard=(task_id, version))

    def _enter(self, request: ClaimRequest, position: int) -> None:
        for each in request.replaced:
            self._open_executions.ended(request.due.task_id, each.id, each.version + 1)
            self._jobs.break_off(request.due.task_id, each.id)
        if request.claim.begun is not None:
            execution_id, fact = request.claim.begun
            self._open_executions.begun(position, execution_id, request.version, fact)

    def _doubt(self, request: ClaimRequest) -> None:
        if request.claim.begun is None:
            return
        execution_id, fact = request.claim.begun
        if isinstance(fact, ExecutionStarted):
            self._doubts[execution_id] = fact, request.due
            self.next_look = self.next_look or self._clock.now()

    async def look(self) -> None:
        """Look for what got no answer, twice a second, and begin it. Raises `LogUnavailable`."""
        now = self._clock.now()
        if self.next_look is None or now < self.next_look:
            return
        self.next_look = now + OUTAGE_PAUSE
        for execution_id in list(self._doubts):
            looking = self._look_for(execution_id, now)
            if not await isolate_errors("looking for execution", execution_id, looking, self._failed):
                self._doubts.pop(execution_id, None)
        if not self._doubts:
            self.next_look = None

    async def _look_for(self, execution_id: UUID, now: datetime) -> None:
        events = await self._log.read_stream(execution_id)
        if execution_id not in self._doubts or execution_id in self._jobs:
            return  # a later request has the answer, or is about to have it
        execution, claimed = fold_execution(execution_id, events), last_claim(events)
        fact, due = self._doubts[execution_id]
        if execution is not None or fact.lease_until < now:
            del self._doubts[execution_id]
        # By an equal fact, not by the node's name: this node may have started it from the queue since.
        if isinstance(execution, Running) and claimed == fact and events[-1].fact is claimed:
            self._open_executions.begun(events[-1].position, execution_id, execution.version, fact)
            self._index.advance(fact)
            job = _begun(execution_id, fact, due, execution.version)
            # Its task may have changed while nobody was watching for this job.
            job.task_version = fact.occurrence.task_version
            job.supersede(for_good=False)
            self._jobs.add(job)
            self._start(job)


def _job(plan: Claim, due: Due) -> Job | None:
    if plan.begun is None or not isinstance(plan.begun[1], ExecutionStarted):
        return None
    return _begun(plan.begun[0], plan.begun[1], due)


def _begun(execution_id: UUID, fact: ExecutionStarted, due: Due, version: int = 1) -> Job:
    running = executions.start(execution_id, fact, version)
    return Job(running, due.definition, due.version, fact.occurrence.send_at)


class OverlapCheck:
    """Plans anew the requests that need an overlap check. What has ended may not have been followed yet, and
    others pay no reads.
    """

    def __init__(self, context: Context) -> None:
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._index = context.index
        self._open_executions = context.open_executions

    async def confirm(self, request: ClaimRequest) -> bool:
        """Make it the request that the log justifies; False: its task has moved on meanwhile.

        Raises `LogUnavailable`.
        """
        seen: dict[UUID, Execution] = {}
        while unread := [each for each in self._rests_on(request) if each not in seen]:
            for execution in await asyncio.gather(*map(self._read, unread)):
                seen[execution.id] = execution
            if not self._index.claiming(request.entry):
                return False
            open_runs = self._open_executions.open_runs(request.entry.task_id)
            anew = claim_request(request.entry, self._node, self._clock.now(), open_runs)
            request.due, request.claim, request.job = anew.due, anew.claim, anew.job
        request.replaced = tuple(seen[each] for each in request.claim.replaced)
        return True

    async def moved_on(self, request: ClaimRequest) -> bool:
        """Whether something that a request was to replace has changed since it was read."""
        read = await asyncio.gather(*(self._read(execution.id) for execution in request.replaced))
        return any(now.version != then.version for now, then in zip(read, request.replaced, strict=True))

    def _rests_on(self, request: ClaimRequest) -> Iterable[UUID]:
        """Behind the first one in a queue the others are still waiting: only it may have been started."""
        if not request.claim.needs_overlap_check:
            return ()
        open_runs = self._open_executions.open_runs(request.entry.task_id)
        return dict.fromkeys((*open_runs.running, *open_runs.queued[:1], *request.claim.replaced))

    async def _read(self, execution_id: UUID) -> Execution:
        execution = await load_execution(self._log, execution_id)
        assert execution is not None, "what goes on is in the log"
        self._open_executions.learn(execution)
        return execution


class ClaimConflictResolver:
    """Gives the task of each refused request the place where the log says that it stands."""

    def __init__(self, context: Context, requests: ClaimAppender, overlap_check: OverlapCheck) -> None:
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._index = context.index
        self._jobs = context.jobs
        self._appender = requests
        self._overlap_check = overlap_check

    async def resolve(self, request: ClaimRequest) -> bool:
        """Whether the request was accepted at a second try. Raises `LogUnavailable`."""
        latest = await load_latest(self._log, request.due.task_id)
        if latest is None or not isinstance(task := latest.task, Scheduled):
            self._index.remove(request.due.task_id)
            return False
        if task.version != request.due.version:
            self._task_changed(request, task, latest.position)
            return False
        elsewhere: dict[UUID, Execution] = {}
        for execution_id, _ in reversed(request.claim.facts()):
            events = await self._log.read_stream(execution_id)
            execution, claimed = fold_execution(execution_id, events), last_claim(events)
            if execution is None:
                continue
            if claimed is not None and claimed.occurrence.task_version >= task.placed_in:
                # Somebody has an occurrence of the request: go on to the place that its claim named.
                place, runs = claimed.next_run_at, claimed.occurrence.run
                self._index.settle(request.entry, place, runs, learnt_at=events[-1].position)
                return False
            if not _claimable_anew(request, execution, claimed):
                elsewhere[execution_id] = execution
        if elsewhere or request.version > 1:
            return await self._claim_the_rest(request, task, elsewhere)
        if await self._overlap_check.moved_on(request):
            self._index.settle(request.entry, request.due.due_at)
            return False
        raise RuntimeError("the log refuses the claim, though it shows the same task and no such execution")

    def _task_changed(self, request: ClaimRequest, task: Scheduled, position: int) -> None:
        if self._index.claiming(request.entry):
            request.entry.version, request.entry.definition = task.version, task.definition
            request.entry.pause = task.pause
            moved = task.placed_in > request.due.version
            place = (task.placed_at, task.placed_runs) if moved else (request.due.due_at, request.due.runs)
            self._index.settle(request.entry, *place, learnt_at=position)

    async def _claim_the_rest(
        self, request: ClaimRequest, task: Scheduled, elsewhere: dict[UUID, Execution]
    ) -> bool:
        """What has its entry in the ledger already is left out: `elsewhere`, the newest first.

        Users have had it run, or it was claimed before the last change of the trigger put the task there.
        """
        request.claim = request.claim.without(elsewhere, request.due, task)
        if request.claim.begun is None:
            request.replaced = ()
            if request.job is not None:
                self._jobs.done(request.job)
                request.job = None
        if not request.claim.facts() and request.claim.end is None:
            await self._leave_behind(request, task, elsewhere.values())
            return False
        accepted = await self._appender.append(request)
        if not accepted:
            self._index.settle(request.entry, request.due.due_at)
        return accepted

    async def _leave_behind(
        self, request: ClaimRequest, task: Scheduled, elsewhere: Iterable[Execution]
    ) -> None:
        """Nothing is left to claim: unless users have had all of it run, it takes a fact to go on."""
        execution = next((each for each in elsewhere if each.occurrence.kind == "scheduled"), None)
        if execution is None:
            self._index.settle(request.entry, request.claim.next_run_at)
            return
        now = self._clock.now()
        fact = tasks.pass_over(task, execution.occurrence.due_at, request.due.runs, now)
        if fact is None:  # the last occurrence, in progress: the end of that ends the task
            self._index.settle(request.entry, None)
            return
        # Refused when the task has changed again. Either way the next request finds out where it stands now.
        await self._log.append(self._node.group((task.id, task.version + 1, fact)))
        self._index.settle(request.entry, request.due.due_at)


def _claimable_anew(request: ClaimRequest, execution: Execution, claimed: PlacingFact | None) -> bool:
    """Whether it is what the request begins, and was dropped unsent; the request then follows what came
    before.
    """
    dropped = (
        claimed is not None and isinstance(execution, FinishedExecution) and execution.status == "skipped"
    )
    if not dropped or request.claim.begun is None or request.claim.begun[0] != execution.id:
        return False
    request.version = execution.version + 1
    if request.job is not None:
        request.job.execution = replace(request.job.execution, version=request.version)
    return True

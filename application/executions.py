"""Handling commands about single executions: run now, run what was not, stop what runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from application.ports import Archived, Clock, EventLog, Group, Guard, LogUnavailable, NewFact, Recorded
from application.streams import fold_execution, load_execution, load_key_use, load_task, readable
from application.tasks import MAX_TRIES, Request, key_use, meta_of
from domain import execution as executions
from domain import requesting
from domain.errors import ExecutionNotFound, IdempotencyKeyReused, TaskNotFound
from domain.execution import Execution
from domain.facts import ExecutionCancelled, ExecutionRequested
from domain.identity import execution_id, key_stream
from domain.requesting import Period
from domain.task import Task


class AcceptedExecution(Struct, frozen=True, kw_only=True):
    """The execution after a command, and where the log holds it; `changed` False: nothing was new.

    `reason` is why it was cancelled, if the command did that.
    """

    position: int
    state: Execution
    created_at: datetime
    reason: str | None = None
    replayed: bool = False
    changed: bool = True


class Requested(Struct, frozen=True, kw_only=True):
    """One occurrence that a backfill has asked for."""

    execution_id: UUID
    due_at: datetime


class Backfilled(Struct, frozen=True, kw_only=True):
    """What a backfill came to. `position` None: nothing was new; `next_start`: where the limit cut it off."""

    requested: tuple[Requested, ...]
    already_run: int
    next_start: datetime | None
    position: int | None


class ExecutionCommands:
    """The commands about executions. All raise `LogUnavailable` when the log cannot be reached."""

    def __init__(self, log: EventLog, clock: Clock, new_id: Callable[[], UUID], archived: Archived) -> None:
        """`new_id` tells manual executions of one instant apart."""
        self._log = log
        self._archived = archived
        self._clock = clock
        self._new_id = new_id

    async def trigger(self, task_id: UUID, request: Request, *, if_match: int | None) -> AcceptedExecution:
        """Run a task now, out of turn.

        Raises `TaskNotFound`, `TaskAlreadyOver`, `VersionMismatch` and `IdempotencyKeyReused`.
        """
        for _ in range(MAX_TRIES):
            if earlier := await self._triggered_before(request):
                return earlier
            task = await self._task(task_id, request)
            fact = requesting.trigger(task, self._clock.now(), if_match)
            run = execution_id(task_id, fact.occurrence.due_at, "manual", self._new_id())
            facts = (NewFact(run, 1, fact), *key_use(request, task_id, fact.at, run))
            position = await self._log.append(self._group(request, facts, task))
            if position is not None:
                state = executions.begin(run, fact)
                return AcceptedExecution(position=position, state=state, created_at=fact.at)
        raise _too_busy(task_id)

    async def backfill(self, task_id: UUID, period: Period, request: Request) -> Backfilled:
        """Run the occurrences of a period of the past that have not run.

        Raises `MonthArchived`, and what `trigger` raises.
        """
        for _ in range(MAX_TRIES):
            task = await self._task(task_id, request)
            instants, next_start = requesting.nominal(task.definition, period)
            wanted = [fact for due_at in instants if (fact := await self._wanted(task, due_at))]
            requesting.check_months((new.stream for new in wanted), await self._archived.months())
            position = await self._log.append(self._group(request, wanted, task)) if wanted else None
            if position is not None or not wanted:
                return Backfilled(
                    requested=tuple(map(_requested, wanted)),
                    already_run=len(instants) - len(wanted),
                    next_start=next_start,
                    position=position,
                )
        raise _too_busy(task_id)

    async def cancel(self, run: UUID, note: str | None, request: Request) -> AcceptedExecution:
        """Break off an execution and its retries. Raises `ExecutionNotFound` and `ExecutionAlreadyOver`."""
        for _ in range(MAX_TRIES):
            events = await self._log.read_stream(run)
            execution = _owned(run, fold_execution(run, events), request)
            now = self._clock.now()
            fact = requesting.cancel(execution, note, now)
            if fact is None:
                return _found(events, execution)
            task = await self._task(execution.occurrence.task_id, request)
            end = requesting.cancel_with(execution, task, now)
            after = executions.evolve(execution, fact)
            ends = () if end is None else (NewFact(task.id, task.version + 1, end),)
            facts = (NewFact(run, after.version, fact), *ends)
            position = await self._log.append(self._group(request, facts, task))
            if position is not None:
                return AcceptedExecution(
                    position=position, state=after, created_at=_begun(events), reason=fact.reason
                )
        raise _too_busy(run)

    def _group(self, request: Request, facts: Sequence[NewFact], task: Task) -> Group:
        """Accepted only while the task is as it was when this was decided."""
        changes_task = any(new.stream == task.id for new in facts)
        guards = () if changes_task else (Guard(task.id, task.version),)
        return Group(facts=tuple(facts), guards=guards, meta=meta_of(request))

    async def _task(self, task_id: UUID, request: Request) -> Task:
        task = await load_task(self._log, task_id)
        if task is None or task.namespace != request.namespace:
            raise TaskNotFound(task_id)
        return task

    async def _wanted(self, task: Task, due_at: datetime) -> NewFact | None:
        run = execution_id(task.id, due_at, "scheduled")
        before = await load_execution(self._log, run)
        fact = requesting.backfill(task, due_at, before, self._clock.now())
        return None if fact is None else NewFact(run, before.version + 1 if before else 1, fact)

    async def _triggered_before(self, request: Request) -> AcceptedExecution | None:
        if request.idempotency_key is None:
            return None
        use = await load_key_use(self._log, key_stream(request.namespace, request.idempotency_key))
        if use is None:
            return None
        if use.execution_id is None or use.digest != (request.digest or ""):
            raise IdempotencyKeyReused(request.idempotency_key)
        events = await self._log.read_stream(use.execution_id)
        execution = _owned(use.execution_id, fold_execution(use.execution_id, events), request)
        return _found(events, execution, replayed=True)


def _found(events: Sequence[Recorded], execution: Execution, *, replayed: bool = False) -> AcceptedExecution:
    return AcceptedExecution(
        position=events[-1].position,
        state=execution,
        created_at=_begun(events),
        reason=next((fact.reason for fact in _cancellations(events)), None),
        replayed=replayed,
        changed=False,
    )


def _begun(events: Sequence[Recorded]) -> datetime:
    return readable(events[0]).at


def _cancellations(events: Sequence[Recorded]) -> Iterator[ExecutionCancelled]:
    return (fact for event in reversed(events) if isinstance(fact := event.fact, ExecutionCancelled))


def _owned(run: UUID, execution: Execution | None, request: Request) -> Execution:
    if execution is None or execution.occurrence.namespace != request.namespace:
        raise ExecutionNotFound(run)
    return execution


def _requested(new: NewFact) -> Requested:
    assert isinstance(new.fact, ExecutionRequested)
    return Requested(execution_id=new.stream, due_at=new.fact.occurrence.due_at)


def _too_busy(stream: UUID) -> LogUnavailable:
    return LogUnavailable(f"{stream} is being changed by others all the time")

"""A task on a virtual clock: the decisions of the domain, when schedulers would take them."""

from __future__ import annotations

import contextlib
import heapq
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, get_args

from msgspec import Struct
from msgspec.structs import replace

from application.what_if.question import Downtimes
from application.what_if.record import Kind, Step, turn_of
from application.what_if.state import SIMULATED, SUPERSEDING, Key, State
from domain import claiming, requesting
from domain import execution as executions
from domain import outcome as ending
from domain import requesting as queueing
from domain import task as tasks
from domain.claiming import Claim, Claimant, Due
from domain.errors import Refused
from domain.execution import Execution, FinishedExecution, Lease, Requested, Running, Waiting
from domain.facts import (
    Answered,
    Attempt,
    ExecutionCancelled,
    ExecutionFact,
    ExecutionRequested,
    ExecutionSucceeded,
    TaskCancelled,
    TaskFact,
    TaskPaused,
    TaskResumed,
    TaskUpdated,
)
from domain.outcome import Final, consequences, possible
from domain.overlap import ConcurrencyState, give_way
from domain.schedule import NothingAhead, includes
from domain.task import FinishedTask as TaskOver
from domain.task import Scheduled, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator
    from uuid import UUID

    from application.ports import Recorded
    from application.what_if.record import Lag, Record, Told, Turn
    from domain.definition import Definition

type Brought = Callable[[Running, Definition, Task, datetime], ExecutionFact]

_MILLISECOND = timedelta(milliseconds=1)


class Attempts:
    """The attempts of one task. `assumed` are the executions of those of which nothing is recorded."""

    def __init__(self, record: Record, usual: timedelta) -> None:
        """`usual` is how long one takes of which nothing is recorded."""
        self._record = record
        self._usual = usual
        self.assumed: set[UUID] = set()

    def of(self, running: Running, begun: datetime, send_at: datetime) -> tuple[Step, Brought]:
        """When the attempt that is under way ends, and what it comes to by then."""
        told = self._record.told(running.id, running.attempts, begun)
        if told is None:
            return self._assumed(send_at, send_at + self._usual)
        lasted = told.end.key.at - told.begun
        if told.cut:
            return self._assumed(send_at, max(send_at + self._usual, begun + lasted + _MILLISECOND))
        if told.attempt is None:
            end = told.end if told.begun == begun else _at(begun + lasted)
            return end, partial(_unsent, self._assumed(send_at, end.now)[1]) if told.unsent else _lost
        if told.begun == begun:
            return told.end, partial(_concluded, told, told.attempt)
        end_at = send_at + timedelta(milliseconds=told.attempt.duration_ms)
        return _at(end_at), partial(_concluded, told, replace(told.attempt, started_at=send_at))

    def known(self, running: Running, begun: datetime, send_at: datetime) -> bool:
        """Whether the very attempt that is under way is recorded, beyond the instant to send it at."""
        told = self._record.told(running.id, running.attempts, begun)
        return told is not None and told.begun == begun and (not told.cut or told.end.key.at > send_at)

    def _assumed(self, send_at: datetime, end: datetime) -> tuple[Step, Brought]:
        def succeeded(running: Running, _called: Definition, _task: Task, now: datetime) -> ExecutionFact:
            self.assumed.add(running.id)
            attempt = Attempt(
                number=running.attempts,
                started_at=send_at,
                duration_ms=(end - send_at) // _MILLISECOND,
                answer=Answered(status_code=200),
            )
            return ExecutionSucceeded(at=now, task_id=running.occurrence.task_id, attempt=attempt)

        return _at(end), succeeded


def _concluded(
    told: Told, attempt: Attempt, running: Running, called: Definition, _task: Task, now: datetime
) -> ExecutionFact:
    """What was answered is judged by the definition that was called."""
    numbered = replace(attempt, number=running.attempts)
    return executions.conclude(running, numbered, called, now, told.chance)


def _lost(running: Running, called: Definition, task: Task, now: datetime) -> ExecutionFact:
    """Its node is gone: another one goes on with it, as far as the task allows."""
    return (
        ending.drop(running, called, task, now, unsent=False)
        or ending.give_up(running, task.definition, now)
        or executions.take_over(running, Lease(node="simulation", task_version=task.version, until=now), now)
    )


def _unsent(sent: Brought, running: Running, called: Definition, task: Task, now: datetime) -> ExecutionFact:
    """It had to wait for its turn for too long; by another policy it is sent, and is assumed to succeed."""
    return (
        ending.drop(running, called, task, now, unsent=True)
        or ending.lapse(running, task.definition, now)
        or sent(running, called, task, now)
    )


def _at(instant: datetime) -> Step:
    return Step(Key(instant), instant)


NOBODY = Claimant("simulation", timedelta())


def claimed(
    state: State, going: ConcurrencyState, now: datetime, at: datetime
) -> list[tuple[UUID, ExecutionFact | TaskFact]]:
    """The facts of a claim of the occurrence where a task stands while `open_runs` goes on, in their order.

    None, when it only moves on: all that was due has its entry in the ledger already.
    """
    task = state.task
    assert isinstance(task, Scheduled), "only a scheduled task is looked at"
    assert state.place is not None, "only a task with a place is looked at"
    due = Due(
        task_id=task.id,
        version=task.version,
        namespace=task.namespace,
        definition=task.definition,
        due_at=state.place,
        runs=state.runs,
        pause=task.pause,
    )
    claim = claiming.claim(due, NOBODY, now, going)
    if any(run in state.executions for run, _ in claim.facts()):
        return _refused(state, task, due, claim, now, at)
    return list(_facts(state, task, claim))


def _facts(state: State, task: Scheduled, claim: Claim) -> Iterator[tuple[UUID, ExecutionFact | TaskFact]]:
    yield from claim.skipped
    if claim.end is not None:
        yield task.id, claim.end
    elif claim.begun is not None:
        newer, begun = claim.begun
        for each in claim.replaced:
            yield each, give_way(state.executions[each], newer, begun.at)
        yield newer, begun


def _refused(
    state: State, task: Scheduled, due: Due, claim: Claim, now: datetime, at: datetime
) -> list[tuple[UUID, ExecutionFact | TaskFact]]:
    """As the log refuses an occurrence twice: what is left of the claim without those that it has."""
    elsewhere: dict[UUID, Execution] = {}
    for run, _ in reversed(claim.facts()):
        execution, placing = state.executions.get(run), state.placings.get(run)
        if execution is None:
            continue
        if placing is not None and placing.occurrence.task_version >= task.placed_in:
            state.runs = placing.occurrence.run
            state.move(placing.next_run_at, at)
            return []
        dropped = (
            placing is not None and isinstance(execution, FinishedExecution) and execution.status == "skipped"
        )
        if not dropped or claim.begun is None or claim.begun[0] != run:
            elsewhere[run] = execution
    if not elsewhere:
        return list(_facts(state, task, claim))
    rest = claim.without(elsewhere, due, task)
    if facts := list(_facts(state, task, rest)):
        return facts
    own = next((each for each in elsewhere.values() if each.occurrence.kind == "scheduled"), None)
    passed = own and tasks.pass_over(task, own.occurrence.due_at, due.runs, now)
    if passed:
        return [(task.id, passed)]
    state.move(None if own else rest.next_run_at, at)
    return []


def repeat(simulation: Simulation, event: Recorded, change: Change) -> None:
    """Decide again upon what a user asked for; what is refused by now is left out."""
    with contextlib.suppress(Refused, NothingAhead):
        _repeat(simulation, event, change)


def _repeat(simulation: Simulation, event: Recorded, change: Change) -> None:
    task = simulation.state.task
    match event.fact:
        case TaskUpdated(at=at, definition=definition):
            simulation.tell_task(tasks.update(task, change(definition), at, None))
        case TaskPaused(at=at, note=note):
            simulation.tell_task(tasks.pause(task, note, at, None))
        case TaskResumed(at=at):
            simulation.tell_task(tasks.resume(task, at, None))
        case TaskCancelled(at=at):
            simulation.tell_task(tasks.cancel(task, at, None))
        case ExecutionRequested() as fact:
            _request(simulation, event.stream, fact)
        case fact:
            assert isinstance(fact, ExecutionCancelled), "nothing else is a command"
            _break_off(simulation, event.stream, fact)


def _request(simulation: Simulation, run: UUID, fact: ExecutionRequested) -> None:
    """A backfill asks for instants of the schedule as it is."""
    task, due_at = simulation.state.task, fact.occurrence.due_at
    if fact.occurrence.kind == "manual":
        simulation.tell(run, requesting.trigger(task, fact.at, None))
    elif includes(task.definition.trigger, due_at):
        before = simulation.state.executions.get(run)
        wanted = requesting.backfill(task, due_at, before, fact.at)
        if wanted is not None:
            simulation.tell(run, wanted)


def _break_off(simulation: Simulation, run: UUID, fact: ExecutionCancelled) -> None:
    execution = simulation.state.executions.get(run)
    if execution is None or isinstance(execution, FinishedExecution):
        return
    cancelled = requesting.cancel(execution, None, fact.at)
    assert cancelled is not None, "what is not over can be cancelled"
    end = requesting.cancel_with(execution, simulation.state.task, fact.at)
    simulation.tell(run, replace(cancelled, reason=fact.reason))
    simulation.tell_task(end)


type Change = Callable[[Definition], Definition]
type Happened = tuple[Key, UUID, TaskFact | ExecutionFact]

NODE = "simulation"
# In this order things happen at one instant: what ends makes room for what begins, what waited goes first.
TURNS: tuple[Kind, ...] = get_args(Kind.__value__)


class Assumption(Struct, frozen=True, gc=False, kw_only=True):
    """How long a run takes of which nothing is recorded; it succeeds."""

    duration: timedelta


class Simulation:
    """One task from where its record begins, every definition of it changed; `facts` is what happens.

    `assumed` are the executions that rest on an assumption: an attempt of theirs is not recorded.
    """

    def __init__(self, record: Record, change: Change, assumption: Assumption, downtimes: Downtimes) -> None:
        self.state: State = record.start.copied()
        self.facts: list[Happened] = []
        self.key = Key(self.state.since)
        self._record = record
        self._change = change
        self._downtimes = downtimes
        self._attempts = Attempts(record, assumption.duration)
        self._heap: list[tuple[Key, int, int, datetime, Callable[[], None]]] = []
        self._serial = count()
        self._looking: Turn | None = None
        self._moving: tuple[UUID, datetime] | None = None

    @property
    def assumed(self) -> set[UUID]:
        """The executions of which an attempt is not recorded."""
        return self._attempts.assumed

    def steps(self, start: datetime) -> Iterator[None]:
        """Live from `start` until the record ends, one decision at a time."""
        self.key = Key(max(start, self.state.since), 0)
        self.now = self.key.at
        self._begin()
        self._plan()
        while self._heap and self._heap[0][0].at < self._record.until:
            self.key, _, _, self.now, happen = heapq.heappop(self._heap)
            happen()
            self._plan()
            yield

    def tell_task(self, fact: TaskFact | None) -> None:
        """A fact about the task, and what follows from it for what goes on."""
        if fact is None:
            return
        self.state.tell_task(fact, self.key)
        self.facts.append((self.key, self.state.task.id, fact))
        for run in list(self.state.open) if isinstance(fact, SUPERSEDING) else ():
            self._overtaken(self.state.executions[run])

    def tell(self, run: UUID, fact: ExecutionFact) -> None:
        """A fact about an execution, and what it has to wait for."""
        self.state.tell(run, fact, self.key)
        self.facts.append((self.key, run, fact))
        match self.state.executions[run]:
            case Running() as running:
                self._go_on(running)
            case Waiting() as waiting:
                self._wait(waiting)
            case Requested() if isinstance(fact, ExecutionRequested):
                self._ask(run)
            case _:
                pass

    def _begin(self) -> None:
        """What is under way goes on, by the changed definition from now on."""
        for key, event in self._record.commands:
            self._push("end", key, key.at, partial(repeat, self, event, self._change))
        for run in list(self.state.open):
            match execution := self.state.executions[run]:
                case Running():
                    self._go_on(execution)
                    if self.state.changed >= self.state.last[run]:
                        self._overtaken(execution)
                case Waiting():
                    self._wait(execution)
                case Requested() if run not in self.state.queued:
                    self._ask(run)
                case _:
                    pass
        if not isinstance(self.state.task, TaskOver):
            self._redefine(self._change(self.state.task.definition))

    def _redefine(self, changed: Definition) -> None:
        try:
            self.tell_task(tasks.update(self.state.task, changed, self.now, None))
        except NothingAhead:  # it would be through by then
            self.state.move(None, self.now)

    def _plan(self) -> None:
        """Look at the task, and at its queue, when it is their turn."""
        state = self.state
        turn = turn_of(state)
        if turn is not None and turn != self._looking:
            step = self._record.step("look", *turn, self.key)
            look = partial(self._look, turn, None if step is None else step.lag)
            self._at("look", *turn, self._downtimes.after(turn[1]), look)
        self._looking = turn
        state.look_at_queue(self.key.at)
        if state.ready is not None and state.ready != self._moving:
            at = self._downtimes.after(self.key.at)
            self._at("queue", state.ready[0], state.ready, at, partial(self._leave_queue, state.ready))
        self._moving = state.ready

    def _look(self, turn: Turn, lag: Lag | None) -> None:
        """Claim, as soon as the task stands where something is left to be claimed."""
        ahead: Turn | None = turn if self._looking == turn else None
        while ahead is not None and ahead[1] <= max(turn[1], self.now, self.key.at):
            going = self.state.open_runs if lag is None else lag.of(self.state.open_runs)
            facts = claimed(self.state, going, self.now, self.key.at)
            for stream, fact in facts:
                if stream == self.state.task.id:
                    self.tell_task(fact)  # type: ignore[arg-type]
                else:
                    self.tell(stream, fact)  # type: ignore[arg-type]
            further = turn_of(self.state)
            ahead = None if facts or further == ahead else further

    def _leave_queue(self, ready: tuple[UUID, datetime]) -> None:
        run, state = ready[0], self.state
        queued = state.executions[run]
        if state.ready == ready and isinstance(queued, Requested):
            self.tell(run, queueing.start_queued(queued, state.task, self._lease(), self.now))

    def _ask(self, run: UUID) -> None:
        """A user wants it: whoever claims takes it."""
        at = self._downtimes.after(self.key.at)
        self._at("claim", run, self.state.last[run], at, partial(self._claim, run))

    def _claim(self, run: UUID) -> None:
        wanted = self.state.executions[run]
        if isinstance(wanted, Requested):
            self.tell(run, requesting.start(wanted, self.state.task, self._lease(), self.now))

    def _go_on(self, running: Running) -> None:
        """An attempt is claimed: it comes to its end."""
        begun = self.state.begun[running.id]
        end, brought = self._attempts.of(running, begun, self._send_at(running))
        self._push("end", end.key, end.now, partial(self._end, running.id, begun, brought))

    def _send_at(self, running: Running) -> datetime:
        return running.began_at if running.attempts == 1 and running.began_at else self.now

    def _end(self, run: UUID, begun: datetime, brought: Callable[..., ExecutionFact]) -> None:
        running = self.state.executions[run]
        if not isinstance(running, Running) or self.state.begun[run] != begun:
            return
        called, task = self.state.called[run].definition, self.state.task
        self._over(run, brought(running, called, task, self.now))

    def _over(self, run: UUID, fact: ExecutionFact) -> None:
        """Record an outcome, and what follows from it for the task."""
        before, called = self.state.executions[run], self.state.called[run]
        self.tell(run, fact)
        if isinstance(fact, Final.__value__) and self._may_follow(before, called, fact):
            for change in consequences(self.state.task, before, called.definition, fact):
                self.tell_task(change)

    def _may_follow(self, before: Execution, called: Task, fact: Final) -> bool:
        """Whether a scheduler looks at the task: by what it has claimed from, as long as that was called."""
        known = self.state.task if fact.attempt is None else called
        changed = isinstance(known, TaskOver) or known.version != before.occurrence.task_version
        return possible(known.definition, fact, changed=changed) or tasks.completes(
            known.definition, before.occurrence
        )

    def _wait(self, waiting: Waiting) -> None:
        if isinstance(self.state.task, TaskOver) and self.state.task.status == "cancelled":
            self._review(waiting, self.key.at)
            return
        cause = self.state.last[waiting.id], waiting.retry_at
        at = self._downtimes.after(waiting.retry_at)
        self._at("retry", (waiting.id, waiting.attempts), cause, at, partial(self._retry, waiting))

    def _retry(self, waiting: Waiting) -> None:
        run, definition = waiting.id, self.state.task.definition
        if self.state.executions[run] == waiting:
            lapsed = ending.lapse(waiting, definition, self.now)
            self._over(run, lapsed or executions.start_attempt(waiting, self._lease(), self.now))

    def _overtaken(self, execution: Execution) -> None:
        """Its task has changed: what has not been sent is looked at again, and so is what waits in vain."""
        match execution:
            case Running() if self._unsent(execution):
                self._review(execution, self._send_at(execution))
            case Waiting() if isinstance(self.state.task, TaskOver):
                self._review(execution, self.key.at)
            case _:
                pass

    def _unsent(self, running: Running) -> bool:
        """As it is recorded, when the very same happened: calls may be late, and news of a change, too."""
        if self._record.step("review", running.id, self.state.changed, self.key) is not None:
            return True
        send_at, begun = self._send_at(running), self.state.begun[running.id]
        known = self.key.position != SIMULATED and self._attempts.known(running, begun, send_at)
        return not known and send_at > self.key.at

    def _review(self, execution: Running | Waiting, at: datetime) -> None:
        look = partial(self._look_again, execution.id, self.state.begun[execution.id])
        self._at("review", execution.id, self.state.changed, at, look)

    def _look_again(self, run: UUID, begun: datetime) -> None:
        execution, state = self.state.executions[run], self.state
        if not isinstance(execution, Running | Waiting) or state.begun[run] != begun:
            return
        unsent = isinstance(execution, Running)
        end = ending.drop(execution, state.called[run].definition, state.task, self.now, unsent=unsent)
        if end is not None:
            self.tell(run, end)
        else:
            state.called[run] = state.task

    def _lease(self) -> Lease:
        return Lease(node=NODE, task_version=self.state.task.version, until=self.now)

    def _at(
        self, kind: Kind, subject: Hashable, cause: Hashable, at: datetime, happen: Callable[[], None]
    ) -> None:
        """When it is recorded, if the same thing has caused it there, else at that instant."""
        step: Step | None = self._record.step(kind, subject, cause, self.key)
        key, now = (Key(at), at) if step is None else (step.key, step.now)
        self._push(kind, key, now, happen)

    def _push(self, kind: Kind, key: Key, now: datetime, happen: Callable[[], None]) -> None:
        """What is recorded has its place in the log; what is not comes after all that is, at its instant."""
        late = key < self.key
        entry = (self.key, self.now) if late else (key, now)
        turn = entry[0], TURNS.index(kind), next(self._serial)
        heapq.heappush(self._heap, (*turn, entry[1], happen))

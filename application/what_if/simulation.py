"""A task on a virtual clock: the decisions of the domain, when schedulers would take them."""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, get_args

from msgspec import Struct

from application.what_if import commands
from application.what_if.attempts import Attempts
from application.what_if.claims import claimed
from application.what_if.downtimes import Downtimes
from application.what_if.record import Kind, turn_of
from application.what_if.state import OVERTAKING, SIMULATED, Key, State
from domain import ending, queueing, requesting
from domain import execution as executions
from domain import task as tasks
from domain.consequences import Final, consequences, possible
from domain.execution import Execution, Lease, Requested, Running, Waiting
from domain.facts import (
    ExecutionFact,
    ExecutionRequested,
    TaskFact,
)
from domain.schedule import NothingAhead
from domain.task import Over as TaskOver
from domain.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator
    from uuid import UUID

    from application.what_if.lag import Lag
    from application.what_if.record import Record, Step, Turn
    from domain.definition import Definition

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
        for run in list(self.state.open) if isinstance(fact, OVERTAKING) else ():
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
            self._push("end", key, key.at, partial(commands.repeat, self, event, self._change))
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
            going = self.state.going if lag is None else lag.of(self.state.going)
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
            self.tell(run, queueing.start(queued, state.task, self._lease(), self.now))

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

"""Reading the log for the record of a task: state by state, what was decided when, and why then."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, assert_never, get_args
from uuid import UUID

from application.streams import readable
from application.what_if.lag import Lag, lag_of, verdict_of
from application.what_if.record import Record, Step, Told, Turn, ready_at, turn_of
from application.what_if.state import Key, State
from domain import execution as executions
from domain import retry
from domain import task as tasks
from domain.attempt import Attempt
from domain.execution import Execution, Over, Requested, Running, Waiting
from domain.facts import (
    AnyFact,
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFact,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    TaskCancelled,
    TaskCreated,
    TaskFact,
)
from domain.overlap import Going, bound

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from application.ports import Recorded
    from application.what_if.record import Kind

# Shorter ones are how long deciding takes.
SHORTEST_DOWNTIME = timedelta(seconds=1)
# So many times what goes on of a task may have changed between a scheduler's reading and its recording.
RECENT = 32
_TASK_FACTS = get_args(TaskFact.__value__)
_EXECUTION_FACTS = get_args(ExecutionFact.__value__)


def recorded(events: Sequence[Recorded], start: datetime, until: datetime) -> Record:
    """The record of a task from `start` (or its creation) on; what came at `until` or later only tells ends.

    `events` are those of its stream and of its executions, in the order of the log, the creation of the task
    first. Raises `Unreadable`.
    """
    return _Reading(events, start, until).record


class _Reading:
    """Follows the log, state by state."""

    def __init__(self, events: Sequence[Recorded], start: datetime, until: datetime) -> None:
        created = readable(events[0])
        assert isinstance(created, TaskCreated), "what has happened to a task begins with its creation"
        key = Key(events[0].recorded_at, events[0].position)
        self.state = State.of(tasks.begin(events[0].stream, created), key)
        self.record = Record(start=self.state, until=until)
        self._start, self._begun, self._commanded = start, False, False
        self._place: datetime | None = None
        self._gone_on: deque[Going] = deque([self.state.going], RECENT)
        for _, group in groupby(events[1:], lambda event: event.meta.command_id):
            self._follow(list(group))
        if not self._begun:
            self.record.start = self.state.copied()
        self._end(Step(Key(until), until))
        self.record.before = [one for one in self.record.before if self._was_open(one[1])]

    def _end(self, end: Step) -> None:
        """What nobody has come to until the end is for later."""
        self._left(turn_of(self.state), end)
        for run in self.state.open:
            match self.state.executions[run]:
                case Running() as running:
                    self._tell(running, end, cut=True)
                case Waiting() as waiting if waiting.retry_at < end.now:
                    self._retried(waiting, end)
                case Waiting():
                    pass
                case _:
                    self._left_waiting(run, end)

    def _was_open(self, run: UUID) -> bool:
        return not isinstance(self.record.start.executions.get(run), Over | None)

    def _follow(self, group: list[Recorded]) -> None:
        key = Key(group[0].recorded_at, group[0].position)
        facts = [(event.stream, readable(event)) for event in group]
        if key.at >= self._start and not self._begun:
            self._begun, self.record.start = True, self.state.copied()
        self._place, ready = self.state.place, self.state.ready
        self._commanded = not group[0].meta.actor.startswith("scheduler:")
        lag = None if self._commanded else self._lag(facts)
        for event, (_, fact) in zip(group, facts, strict=True):
            if self._commanded and self._asked_for(event, group):
                self.record.commands.append((key, event))
            if isinstance(fact, _TASK_FACTS):
                turn = turn_of(self.state)
                if turn is not None and not self._commanded and len(group) == 1:
                    self._enter("look", *turn, Step(key, fact.at))  # all of it was claimed before
                self.state.tell_task(fact, key)
                if turn != turn_of(self.state):
                    self._left(turn, Step(Key(key.at), key.at))
            else:
                assert isinstance(fact, _EXECUTION_FACTS), "only these are in these streams"
                self._decided(event.stream, fact, Step(key, fact.at, lag))
                self.state.tell(event.stream, fact, key)
            if key.at < self.record.until:
                (self.record.facts if self._begun else self.record.before).append((key, event.stream, fact))
        if bound(self.state.task.definition) is not None and self.state.going is not self._gone_on[0]:
            self._gone_on.appendleft(self.state.going)
        self.state.look_at_queue(key.at)
        if ready is not None and ready != self.state.ready:  # unless it has just left the queue
            self._enter("queue", ready[0], ready, Step(Key(key.at), key.at))

    def _lag(self, facts: Sequence[tuple[UUID, AnyFact]]) -> Lag | None:
        """That of a claim; what leaves the queue, or is dropped, is no verdict about overlap."""
        wanted = isinstance(self.state.executions.get(facts[-1][0]), Requested)
        verdict = None if wanted else verdict_of(facts)
        if verdict is None:
            return None
        return lag_of(verdict, self.state.task.definition, self.state.going, self._gone_on)

    def _asked_for(self, event: Recorded, group: list[Recorded]) -> bool:
        """Not what followed from something else that was asked for along with it."""
        if not self._begun or event.recorded_at >= self.record.until:
            return False
        return not isinstance(event.fact, TaskCancelled) or len(group) == 1

    def _decided(self, run: UUID, fact: ExecutionFact, step: Step) -> None:
        before = self.state.executions.get(run)
        match fact:
            case ExecutionStarted() | ExecutionQueued() | ExecutionSkipped():
                self._placed(run, before, fact, step)
            case AttemptFailed(attempt=attempt) | ExecutionSucceeded(attempt=attempt):
                self._tell(before, step, attempt=attempt, chance=self._chance(before, fact))
            case ExecutionFailed(attempt=None) if isinstance(before, Waiting):
                self._retried(before, step)
            case ExecutionFailed(lapsed=True):
                self._tell(before, step, unsent=True)
            case ExecutionFailed(attempt=attempt):
                self._tell(before, step, attempt=attempt, chance=self._chance(before, fact))
            case ExecutionTakenOver():
                self._tell(before, step)
            case AttemptStarted() if isinstance(before, Waiting):
                self._retried(before, step)
            case AttemptStarted():
                self._enter("review", run, self.state.changed, step)
            case ExecutionCancelled():
                self._cancelled(run, before, fact, step)
            case ExecutionRequested():
                pass
            case _:
                assert_never(fact)

    def _placed(
        self,
        run: UUID,
        before: Execution | None,
        fact: ExecutionStarted | ExecutionQueued | ExecutionSkipped,
        step: Step,
    ) -> None:
        if isinstance(before, Requested):
            self._left_waiting(run, step)
        elif isinstance(fact, ExecutionSkipped) and fact.by == "change":
            self._enter("review", run, self.state.changed, step)
            self._tell(before, step, cut=True)
        else:
            self._looked(fact.occurrence.due_at, step)

    def _left_waiting(self, run: UUID, step: Step) -> None:
        """A queued one, or one that a user had requested."""
        if run in self.state.queued:
            self._enter("queue", run, self.state.ready, step)
        else:
            self._enter("claim", run, self.state.last[run], step)

    def _left(self, turn: Turn | None, step: Step) -> None:
        """Where the task stood was not claimed until something else happened to it."""
        if turn is not None and turn[1] < step.key.at:
            self._late(*turn, step)

    def _late(self, due_at: datetime, ready: datetime, step: Step) -> None:
        self._enter("look", due_at, ready, step)
        if step.key.at - ready >= SHORTEST_DOWNTIME:
            self.record.downtimes.append((ready, step.key.at))

    def _looked(self, due_at: datetime, step: Step) -> None:
        """A claim counts for all that it decided about, and for where the task stood before it."""
        for each in dict.fromkeys((self._place, due_at)):
            if each is None:
                continue
            ready = ready_at(self.state, each)
            if each == self._place:
                self._late(each, ready, step)
            else:
                self._enter("look", each, ready, step)
        self._place = None

    def _retried(self, before: Waiting, step: Step) -> None:
        cause = self.state.last[before.id], before.retry_at
        self._enter("retry", (before.id, before.attempts), cause, step)

    def _cancelled(self, run: UUID, before: Execution | None, fact: ExecutionCancelled, step: Step) -> None:
        """By a user, by a newer one, or with its task: only the last is what was next to be decided."""
        instead = self._commanded or fact.replaced_by is not None
        later = Step(Key(step.key.at), step.now)
        match before:
            case Running():
                self._tell(before, step, cut=instead, unsent=not instead and not fact.interrupted)
            case Requested():
                self._left_waiting(run, later if instead else step)
            case _:
                assert isinstance(before, Waiting), "what is over is not cancelled"
                if before.retry_at < step.now:
                    self._retried(before, later)
                if instead:  # before anybody looked at it again, if its task was over
                    self._enter("review", run, self.state.changed, later)
        if not instead and not isinstance(before, Requested):
            self._enter("review", run, self.state.changed, step)

    def _tell(self, before: Execution | None, end: Step, **known: Any) -> None:
        assert isinstance(before, Running), "only what runs has an outcome"
        told = Told(begun=self.state.begun[before.id], end=end, **known)
        self.record.attempts.setdefault((before.id, before.attempts), []).append(told)

    def _chance(self, before: Execution | None, fact: ExecutionFact) -> float:
        """What the dice must have shown: retries are spread by chance, and the log holds only the result."""
        assert isinstance(before, Running), "only what runs has an outcome"
        called = self.state.called[before.id].definition
        match fact:
            case AttemptFailed(attempt=attempt, retry_at=retry_at, at=at):
                made = attempt.number - before.lost
                return retry.chance_of(called.retry, attempt.answer, made, at, retry_at)
            case ExecutionFailed(attempt=Attempt() as attempt, at=at):
                usual = executions.conclude(before, attempt, called, at, 0.5)
                return 1.0 if isinstance(usual, AttemptFailed) else 0.5
            case _:
                return 0.5

    def _enter(self, kind: Kind, subject: Hashable, cause: Hashable, step: Step) -> None:
        self.record.steps.setdefault((kind, subject, cause), []).append(step)

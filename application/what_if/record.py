"""What the log tells of a task in a window: what users did, and when schedulers decided what, and why then.

A decision of a scheduler is a step; its cause is what made it possible. A simulation takes a step at the
instant that is recorded when the same thing causes it there, and at once otherwise: so what nobody changed
happens exactly as it did, latencies and downtimes included.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, assert_never, get_args
from uuid import UUID

from msgspec import Struct

from application.streams import readable
from application.what_if.state import Key, State
from domain import execution as executions
from domain import overlap, retry
from domain import task as tasks
from domain.execution import Execution, FinishedExecution, Requested, Running, Waiting
from domain.facts import (
    AnyFact,
    Attempt,
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
    TaskCompleted,
    TaskCreated,
    TaskFact,
)
from domain.overlap import ConcurrencyState, Course, bound
from domain.schedule import fires_at
from domain.task import Scheduled

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from application.ports import Recorded
    from domain.definition import Definition


class Lag(Struct, frozen=True, gc=False):
    """What goes on of a task by the log where a claim is recorded, and what of it that had `heard` of."""

    log: ConcurrencyState
    heard: ConcurrencyState

    def of(self, going: ConcurrencyState) -> ConcurrencyState:
        """What a claim rests on: it lags where the same goes on, and nowhere else."""
        return self.heard if going == self.log else going


class Verdict(Struct, frozen=True):
    """What a claim did about the overlap of an occurrence, as its facts tell."""

    course: Course
    behind: UUID | None = None
    replaced: frozenset[UUID] = frozenset()
    reason: str | None = None

    def follows_from(self, definition: Definition, going: ConcurrencyState) -> bool:
        """Whether that is what the policy says while this goes on."""
        if overlap.course(definition, going) != self.course:
            return False
        if self.course == "replace":
            return self.replaced == set(overlap.replaced(definition, going))
        return self.behind is None or going.oldest == self.behind

    def is_worded_for(self, definition: Definition, going: ConcurrencyState) -> bool:
        """Whether its reason, if it has one, is told of this."""
        return self.reason is None or overlap.why_skipped(definition, going) == self.reason


def verdict_of(claim: Sequence[tuple[UUID, AnyFact]]) -> Verdict | None:
    """The verdict that the facts of a claim tell of; None: it came to no occurrence whose turn it was."""
    facts = (fact for _, fact in reversed(claim) if not isinstance(fact, TaskCompleted))
    match next(facts, None):
        case ExecutionStarted():
            replaced = frozenset(run for run, fact in claim if isinstance(fact, ExecutionCancelled))
            return Verdict("replace" if replaced else "start", replaced=replaced)
        case ExecutionQueued(behind=behind):
            return Verdict("queue", behind)
        case ExecutionSkipped(by="overlap", behind=behind, reason=reason):
            return Verdict("skip", behind, reason=reason)
        case _:
            return None


def lag_of(
    verdict: Verdict, definition: Definition, log: ConcurrencyState, earlier: Iterable[ConcurrencyState]
) -> Lag | None:
    """The lag that a verdict is explained by; None: there is none, or nothing of what went on `earlier` does.

    Of what went on earlier, the latest that explains it.
    """
    if verdict.follows_from(definition, log) and verdict.is_worded_for(definition, log):
        return None
    views = [log, *dict.fromkeys(_heard(each, log) for each in earlier)]
    fitting = [view for view in views if verdict.follows_from(definition, view)]
    if not fitting:
        return None
    heard = next((view for view in fitting if verdict.is_worded_for(definition, view)), fitting[0])
    return None if heard is log else Lag(log, heard)


def _heard(earlier: ConcurrencyState, log: ConcurrencyState) -> ConcurrencyState:
    """What went on earlier as if that still did, and what has begun since."""
    known = {*earlier.running, *earlier.queued}
    return ConcurrencyState(
        (*earlier.running, *(run for run in log.running if run not in known)),
        (*earlier.queued, *(run for run in log.queued if run not in known)),
    )


type Kind = Literal["end", "review", "retry", "queue", "claim", "look"]


class Step(Struct, frozen=True, gc=False):
    """When a decision was recorded, and what time it was then by the clock of who decided.

    `lag`: it was taken before its scheduler had heard of the latest that the log had by then.
    """

    key: Key
    now: datetime
    lag: Lag | None = None


class Told(Struct, frozen=True, gc=False, kw_only=True):
    """An attempt, from its claim to its end. `attempt` None: its outcome is unknown, as its node was lost.

    `cut`: it was broken off, or is not over: it lasted until then at least; `unsent`: its time passed before
    its turn came. `chance` is what spread the next retry.
    """

    begun: datetime
    end: Step
    attempt: Attempt | None = None
    cut: bool = False
    unsent: bool = False
    chance: float = 0.5


@dataclass
class Record:
    """A task's past: its state where the window begins, and what came then.

    `facts` are all those of the window, `before` those of what went on when it began. A downtime is a span in
    which an occurrence was due, its task fired, and nobody claimed it.
    """

    start: State
    until: datetime
    commands: list[tuple[Key, Recorded]] = field(default_factory=list)
    steps: dict[tuple[Kind, Hashable, Hashable], list[Step]] = field(default_factory=dict)
    attempts: dict[tuple[UUID, int], list[Told]] = field(default_factory=dict)
    before: list[tuple[Key, UUID, TaskFact | ExecutionFact]] = field(default_factory=list)
    facts: list[tuple[Key, UUID, TaskFact | ExecutionFact]] = field(default_factory=list)
    downtimes: list[tuple[datetime, datetime]] = field(default_factory=list)

    def step(self, kind: Kind, subject: Hashable, cause: Hashable, since: Key) -> Step | None:
        """When it was taken for that cause, not before `since`; None: it was not."""
        taken = self.steps.get((kind, subject, cause), ())
        return next((step for step in taken if step.key >= since), None)

    def told(self, run: UUID, number: int, begun: datetime) -> Told | None:
        """What is known of an attempt: of the one that was claimed then, if there were several."""
        known = self.attempts.get((run, number))
        return None if known is None else next((one for one in known if one.begun == begun), known[-1])


type Turn = tuple[datetime, datetime]
"""Where a task stands, and since when that can be claimed."""


def turn_of(state: State) -> Turn | None:
    """What is to be claimed next of a task; None: nothing."""
    if not isinstance(state.task, Scheduled) or state.place is None:
        return None
    return state.place, ready_at(state, state.place)


def ready_at(state: State, due_at: datetime) -> datetime:
    """Since when an occurrence could be claimed: its instant has come, and the task stands there."""
    return max(state.since, fires_at(state.task.definition.trigger, state.task.id, due_at))


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
        self._gone_on: deque[ConcurrencyState] = deque([self.state.open_runs], RECENT)
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
        return not isinstance(self.record.start.executions.get(run), FinishedExecution | None)

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
        if bound(self.state.task.definition) is not None and self.state.open_runs is not self._gone_on[0]:
            self._gone_on.appendleft(self.state.open_runs)
        self.state.look_at_queue(key.at)
        if ready is not None and ready != self.state.ready:  # unless it has just left the queue
            self._enter("queue", ready[0], ready, Step(Key(key.at), key.at))

    def _lag(self, facts: Sequence[tuple[UUID, AnyFact]]) -> Lag | None:
        """That of a claim; what leaves the queue, or is dropped, is no verdict about overlap."""
        wanted = isinstance(self.state.executions.get(facts[-1][0]), Requested)
        verdict = None if wanted else verdict_of(facts)
        if verdict is None:
            return None
        return lag_of(verdict, self.state.task.definition, self.state.open_runs, self._gone_on)

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

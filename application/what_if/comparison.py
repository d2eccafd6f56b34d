"""What facts come to: an entry an occurrence, the calls that were made, and what two accounts differ in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import batched
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, assert_never, get_args
from urllib.parse import urlsplit
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from application.explanation.history import history_of
from application.past import Cut, placing_events
from application.ports import Recorded
from application.streams import last_claim
from application.what_if.question import (
    MOST_BODIES,
    MOST_EVENTS,
    MOST_OCCURRENCES,
    USUAL_DURATION,
    Downtimes,
    Subject,
    TooMuchToSimulate,
    Window,
)
from application.what_if.record import Record
from application.what_if.simulation import Assumption, Simulation
from domain.claiming import LATE_AFTER
from domain.definition import Trigger
from domain.errors import FieldError, InvalidBody, TaskNotFound
from domain.facts import (
    Answered,
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
    OccurrenceKind,
    TaskCreated,
    TaskFact,
    TaskUpdated,
)
from domain.retry import looks_at_bodies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from application.explanation.history import History, Streams
    from application.past import Moment
    from application.what_if.question import Budget, Question, Runs
    from application.what_if.simulation import Change, Happened
    from application.what_if.state import State
    from domain.definition import Definition

MOST_PEAKS = 10
MOST_BUCKETS = 200
_MINUTE = timedelta(minutes=1)


class Peak(Struct, frozen=True, gc=False):
    """A minute, and how many calls are sent in it."""

    minute: datetime
    calls: int


class Load(Struct, frozen=True, kw_only=True):
    """How many calls are sent, and the minutes with the most, those first."""

    calls: int
    peaks: tuple[Peak, ...]


class Bucket(Struct, frozen=True, gc=False, kw_only=True):
    """A part of the window, and how many calls are sent in it."""

    start: datetime
    before: int
    after: int


class AtOnce(Struct, frozen=True, gc=False, kw_only=True):
    """How many calls go on at once, at most, and when so for the first time; None: there are none."""

    calls: int
    most: int
    at: datetime | None


class Loads(Struct, frozen=True, kw_only=True):
    """What calls come to, before and after: minutes, parts of the window that long, and destinations."""

    before: Load
    after: Load
    width: timedelta
    buckets: tuple[Bucket, ...]
    crowding: tuple[Crowding, ...]


class Crowding(Struct, frozen=True, gc=False, kw_only=True):
    """Calls to one destination, a host and a port."""

    destination: str
    before: AtOnce
    after: AtOnce


def load(sent: Sequence[datetime]) -> Load:
    """The load of calls that are sent at these instants."""
    minutes = Counter(instant.replace(second=0, microsecond=0) for instant in sent)
    peaks = sorted(minutes.items(), key=lambda item: (-item[1], item[0]))[:MOST_PEAKS]
    return Load(calls=len(sent), peaks=tuple(Peak(*peak) for peak in peaks))


def histogram(
    start: datetime, end: datetime, before: Sequence[datetime], after: Sequence[datetime]
) -> tuple[timedelta, list[Bucket]]:
    """At most 200 parts of a window, of whole minutes, and what is sent in each."""
    minutes = -((start - end) // _MINUTE)
    width = _MINUTE * -(-minutes // MOST_BUCKETS)
    counts = [Counter((instant - start) // width for instant in sent) for sent in (before, after)]
    parts = -((start - end) // width)
    return width, [
        Bucket(start=start + width * part, before=counts[0][part], after=counts[1][part])
        for part in range(parts)
    ]


def crowding(
    before: Mapping[str, Sequence[Call]], after: Mapping[str, Sequence[Call]], until: datetime
) -> list[Crowding]:
    """By destination: how many calls go on at once; one without an end goes on `until` then."""
    found = [
        Crowding(
            destination=destination,
            before=at_once(before.get(destination, ()), until),
            after=at_once(after.get(destination, ()), until),
        )
        for destination in sorted({*before, *after})
    ]
    return sorted(found, key=lambda each: -max(each.before.most, each.after.most))


def at_once(calls: Iterable[Call], until: datetime) -> AtOnce:
    """What ends at an instant makes room for what is sent at it, unless it took no time at all."""
    edges = sorted(edge for call in calls for edge in ((call.sent_at, 1), (_end(call, until), -1)))
    going, most, at = 0, 0, None
    for instant, step in edges:
        going += step
        if going > most:
            most, at = going, instant
    return AtOnce(calls=len(edges) // 2, most=most, at=at)


def _end(call: Call, until: datetime) -> datetime:
    ended_at = until if call.ended_at is None else call.ended_at
    return max(ended_at, call.sent_at + timedelta(microseconds=1))


def destination(url: str) -> str:
    """The host and port that a URL leads to."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.hostname}:{port}"


# Of what is recorded, claims come some milliseconds before or after their instant.
SAME_INSTANT = timedelta(seconds=1)
_MILLISECOND = timedelta(milliseconds=1)
_EXECUTION_FACTS = get_args(ExecutionFact.__value__)

type Status = Literal["pending", "running", "succeeded", "failed", "skipped", "cancelled"]


class Entry(Struct, frozen=True, gc=False, kw_only=True):
    """An occurrence as one account has it. `by` is what skipped it; "overlap", too, of what gave way.

    `began_at` is when its first call was to be sent (None: there was none), `attempts` how many were claimed.
    `queued`: it waited for an earlier one; `caught_up`: it began more than a minute late without that.
    """

    run: UUID
    task_id: UUID
    due_at: datetime
    kind: OccurrenceKind
    status: Status
    by: str | None = None
    reason: str | None = None
    began_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: int = 0
    queued: bool = False
    caught_up: bool = False


class Call(Struct, frozen=True, gc=False):
    """One attempt: when it was sent, to which host and port, and when it ended (None: it did not)."""

    sent_at: datetime
    destination: str
    ended_at: datetime | None = None


class Difference(Struct, frozen=True, gc=False):
    """An occurrence that two accounts tell otherwise; None: the account has none."""

    before: Entry | None
    after: Entry | None


class Books:
    """Entries and calls, kept fact by fact; `triggers` are those that were in force, each since when."""

    def __init__(self, start: State, before: Iterable[Happened] = (), facts: Iterable[Happened] = ()) -> None:
        """`before` is what led to the state, of what goes on there, `facts` what comes then."""
        self.entries: dict[UUID, Entry] = {}
        self.triggers: list[tuple[datetime, Trigger]] = []
        self._calls: dict[UUID, list[Call]] = {}
        self._ahead: set[UUID] = set()
        for _, run, fact in before:
            self._destination = destination(start.called.get(run, start.task).definition.action.url)
            self._tell(run, fact)
        self._define(start.task.definition, start.changed)
        for _, run, fact in facts:
            self._tell(run, fact)

    @property
    def calls(self) -> Iterator[Call]:
        """Every call that was sent."""
        return (call for calls in self._calls.values() for call in calls)

    def within(self, start: datetime, end: datetime) -> dict[UUID, Entry]:
        """What was due from `start` on and before `end`."""
        return {run: entry for run, entry in self.entries.items() if start <= entry.due_at < end}

    def _tell(self, run: UUID, fact: TaskFact | ExecutionFact) -> None:
        if isinstance(fact, _EXECUTION_FACTS):
            self._enter(run, fact)
        elif isinstance(fact, TaskUpdated):
            self._define(fact.definition, fact.at)

    def _define(self, definition: Definition, at: datetime) -> None:
        """Calls that were claimed ahead, and are not sent yet, go by the new definition, too."""
        self.triggers.append((at, definition.trigger))
        self._destination = destination(definition.action.url)
        self._ahead = {run for run in self._ahead if run in self._calls and self._calls[run][-1].sent_at > at}
        for run in self._ahead:
            self._calls[run][-1] = replace(self._calls[run][-1], destination=self._destination)

    def _enter(self, run: UUID, fact: ExecutionFact) -> None:
        match fact:
            case ExecutionRequested() | ExecutionQueued():
                self._open(run, fact, status="pending", queued=isinstance(fact, ExecutionQueued))
            case ExecutionSkipped(by=by, reason=reason):
                self._calls.pop(run, None)  # of which none was sent
                self._open(run, fact, status="skipped", by=by, reason=reason, ended_at=fact.at)
            case ExecutionStarted():
                self._start(run, fact)
            case AttemptStarted() | ExecutionTakenOver():
                self._send(run, fact)
            case AttemptFailed(attempt=attempt):
                self._return(run, attempt, fact.at)
            case ExecutionSucceeded(attempt=attempt):
                self._return(run, attempt, fact.at)
                self._end(run, fact.at, status="succeeded")
            case ExecutionFailed(attempt=attempt, reason=reason):
                self._return(run, attempt, fact.at)
                self._end(run, fact.at, status="failed", reason=reason)
            case ExecutionCancelled(reason=reason, replaced_by=newer):
                self._return(run, None, fact.at)
                self._end(run, fact.at, status="cancelled", reason=reason, by=newer and "overlap")
            case _:
                assert_never(fact)

    def _open(
        self,
        run: UUID,
        fact: ExecutionRequested | ExecutionQueued | ExecutionSkipped | ExecutionStarted,
        **members: Any,
    ) -> None:
        occurrence = fact.occurrence
        self.entries[run] = Entry(
            run=run, task_id=occurrence.task_id, due_at=occurrence.due_at, kind=occurrence.kind, **members
        )

    def _start(self, run: UUID, fact: ExecutionStarted) -> None:
        known, occurrence = self.entries.get(run), fact.occurrence
        began_at, queued = max(fact.at, occurrence.send_at), known is not None and known.queued
        late = occurrence.kind == "scheduled" and not queued and began_at - occurrence.send_at > LATE_AFTER
        self._open(run, fact, status="running", began_at=began_at, attempts=1, queued=queued, caught_up=late)
        self._calls[run] = [Call(began_at, self._destination)]
        if began_at > fact.at:
            self._ahead.add(run)

    def _send(self, run: UUID, fact: AttemptStarted | ExecutionTakenOver) -> None:
        """A claim that was renewed unsent is no other call."""
        if fact.number > self.entries[run].attempts:
            self._return(run, None, fact.at)
            self._change(run, attempts=fact.number)
            self._calls[run].append(Call(fact.at, self._destination))

    def _return(self, run: UUID, attempt: Attempt | None, at: datetime) -> None:
        """What is told of a call: when it was sent and what it took; of one that got lost, when it ended."""
        calls = self._calls.get(run, [])
        if attempt is not None:
            ended_at = attempt.started_at + attempt.duration_ms * _MILLISECOND
            calls[-1] = replace(calls[-1], sent_at=attempt.started_at, ended_at=ended_at)
        elif calls and calls[-1].ended_at is None:
            calls[-1] = replace(calls[-1], ended_at=max(at, calls[-1].sent_at))

    def _end(self, run: UUID, at: datetime, **members: Any) -> None:
        self._change(run, ended_at=at, **members)

    def _change(self, run: UUID, **members: Any) -> None:
        self.entries[run] = replace(self.entries[run], **members)


def differences(before: dict[UUID, Entry], after: dict[UUID, Entry]) -> list[Difference]:
    """What two accounts of the same tasks tell otherwise, in the order of the occurrences."""
    found = [Difference(before.get(run), after.get(run)) for run in before | after]
    return sorted((each for each in found if not _same(each.before, each.after)), key=_place)


def _same(one: Entry | None, other: Entry | None) -> bool:
    if one is None or other is None:
        return False
    told = [(each.status, each.by, each.attempts, each.queued) for each in (one, other)]
    return told[0] == told[1] and _close(one.began_at, other.began_at)


def _close(one: datetime | None, other: datetime | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) < SAME_INSTANT


def _place(difference: Difference) -> tuple[datetime, UUID]:
    entry = difference.before or difference.after
    assert entry is not None, "at least one account has it"
    return entry.due_at, entry.run


class Counts(Struct, kw_only=True, gc=False):
    """How many occurrences came to what; `skipped` is by what: catch_up, pause, overlap, change.

    `calls` counts attempts. `replaced` are among the cancelled, `unfinished` run or wait at the end.
    """

    occurrences: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    replaced: int = 0
    unfinished: int = 0
    skipped: dict[str, int] = {}
    queued: int = 0
    caught_up: int = 0
    manual: int = 0
    calls: int = 0


_ENDINGS = {"succeeded", "failed", "cancelled"}


def count(entries: Iterable[Entry]) -> Counts:
    """What entries come to."""
    counts = Counts(skipped=dict.fromkeys(("catch_up", "pause", "overlap", "change"), 0))
    for entry in entries:
        counts.occurrences += 1
        counts.calls += entry.attempts
        counts.manual += entry.kind == "manual"
        counts.queued += entry.queued
        counts.caught_up += entry.caught_up
        counts.replaced += entry.status == "cancelled" and entry.by == "overlap"
        if entry.status == "skipped":
            by = entry.by or "catch_up"  # facts of before it was told
            counts.skipped[by] += 1
        else:
            name = entry.status if entry.status in _ENDINGS else "unfinished"
            setattr(counts, name, getattr(counts, name) + 1)
    return counts


_LOOKED_AT = "retry-after"


def thinned(event: Recorded, *, bodies: bool) -> Recorded:
    """The event with no header but Retry-After, and with its body only where `bodies` are looked at."""
    match event.fact:
        case (
            AttemptFailed(attempt=Attempt(answer=Answered() as answer) as attempt)
            | ExecutionFailed(attempt=Attempt(answer=Answered() as answer) as attempt)
            | ExecutionSucceeded(attempt=Attempt(answer=Answered() as answer) as attempt)
        ) as fact:
            headers = {name: value for name, value in answer.headers.items() if name == _LOOKED_AT}
            thin = replace(answer, headers=headers, body=answer.body if bodies else "")
            return replace(event, fact=replace(fact, attempt=replace(attempt, answer=thin)))
        case _:
            return event


def body_length(event: Recorded) -> int:
    """How many characters the event has of a body."""
    match event.fact:
        case (
            AttemptFailed(attempt=Attempt(answer=Answered(body=body)))
            | ExecutionFailed(attempt=Attempt(answer=Answered(body=body)))
            | ExecutionSucceeded(attempt=Attempt(answer=Answered(body=body)))
        ):
            return len(body)
        case _:
            return 0


AT_ONCE = 100


class Usual(Struct, frozen=True):
    """How long a run takes of which nothing is recorded: the median of `calls`; of 0: given, or guessed."""

    duration: timedelta
    calls: int

    @property
    def assumption(self) -> Assumption:
        """The same for a simulation."""
        return Assumption(duration=self.duration)


class Read(Struct, frozen=True):
    """What was read of a task, `found` by position; None: there is none yet."""

    subject: Subject
    usual: Usual
    found: Mapping[int, Recorded] | None

    @property
    def events(self) -> Sequence[Recorded] | None:
        """In the order of the log. To put many in order takes a while, which others need not wait for."""
        return None if self.found is None else [self.found[position] for position in sorted(self.found)]


class Gathering:
    """Reads for one answer: at most so many executions, events and bodies as one is worth."""

    def __init__(self, log: Streams, runs: Runs, question: Question) -> None:
        self._log = log
        self._runs = runs
        self._question = question
        self._room = MOST_OCCURRENCES
        self._events_left = MOST_EVENTS
        self._bodies_left = MOST_BODIES

    async def of(self, subject: Subject, moment: Moment, until: datetime, *, past: bool = False) -> Read:
        """What a simulation of a task from a moment on needs.

        Raises `TaskNotFound`, `TooMuchToSimulate` and `LogUnavailable`; of the past of a redacted task
        `InvalidBody`.
        """
        usual = await self._usual(subject.task_id)
        if subject.task_id is None:
            return Read(subject, usual, None)
        history = await self._task(subject.task_id)
        if past and history.task.redacted_at is not None:
            detail = (
                f"Task {subject.task_id} is redacted: what its answers were judged by is erased, so its past "
                "cannot be lived through once more. Leave this out, or name other tasks."
            )
            raise InvalidBody([FieldError(pointer="/past", detail=detail)])
        bodies = subject.bodies or any(_by_bodies(event.fact) for event in history.events)
        return Read(subject, usual, await self._events(history, moment, until, bodies=bodies))

    async def _task(self, task_id: UUID) -> History:
        """The task's own history. Raises `TaskNotFound` and `LogUnavailable`."""
        history = history_of(task_id, await self._log.read_stream(task_id))
        if history is None or history.task.namespace != self._question.namespace:
            raise TaskNotFound(task_id)
        return history

    async def _events(
        self, history: History, moment: Moment, until: datetime, *, bodies: bool
    ) -> Mapping[int, Recorded]:
        """The task's events and, of its executions, those of what went on at a moment or came before `until`.

        By position. Raises `TooMuchToSimulate` and `LogUnavailable`.
        """
        task_id = history.task.id
        earlier = history_of(
            task_id, [event for event in history.events if event.position <= moment.position]
        )
        placing = () if earlier is None else await placing_events(Cut(self._log, moment), earlier, moment.at)
        since = moment.at if earlier is None else min(moment.at, _last_due_at(earlier, placing) or moment.at)
        runs = await self._runs.of_task(task_id, since, until, moment.position, self._room + 1)
        self._room -= len(runs)
        if self._room < 0:
            raise TooMuchToSimulate.occurrences(MOST_OCCURRENCES)
        found = {event.position: event for event in history.events}
        self._take(history.events)
        for some in batched({*runs, *(event.stream for event in placing)}, AT_ONCE):
            thin = [thinned(event, bodies=bodies) for event in await self._runs.streams(some)]
            self._take(thin)
            found |= {event.position: event for event in thin}
        return found

    def _take(self, events: Sequence[Recorded]) -> None:
        """Raises `TooMuchToSimulate`."""
        self._events_left -= len(events)
        if self._events_left < 0:
            raise TooMuchToSimulate(f"More than {MOST_EVENTS:,} events would have to be read")
        self._bodies_left -= sum(map(body_length, events))
        if self._bodies_left < 0:
            raise TooMuchToSimulate(
                f"More than {MOST_BODIES:,} characters of bodies would have to be read, as `success` asks for"
            )

    async def _usual(self, task_id: UUID | None) -> Usual:
        """How long a run of a task usually takes. Raises `LogUnavailable`."""
        if self._question.duration is not None:
            return Usual(self._question.duration, 0)
        known = () if task_id is None else await self._runs.durations_ms(task_id)
        if not known:
            return Usual(USUAL_DURATION, 0)
        return Usual(timedelta(milliseconds=median(known)), len(known))


def _last_due_at(history: History, placing: Sequence[Recorded]) -> datetime | None:
    claim = last_claim(placing)
    return history.stints[-1].placed_at if claim is None else claim.next_run_at


def _by_bodies(fact: object) -> bool:
    """Whether a task is defined so that bodies decide."""
    return isinstance(fact, TaskCreated | TaskUpdated) and looks_at_bodies(fact.definition.success)


class Basis(Struct, frozen=True):
    """What a simulation of a task starts from; definitions change as they would be admitted `at` an instant.

    `happened`: the record tells what came before the change; else that has to be simulated as well.
    """

    record: Record
    subject: Subject
    at: datetime
    usual: Usual
    happened: bool


class Side(Struct, frozen=True):
    """What a window comes to for one task, by one account, and which triggers were in force since when."""

    triggers: tuple[tuple[datetime, Trigger], ...]
    entries: dict[UUID, Entry]
    calls: tuple[Call, ...]

    @property
    def counts(self) -> Counts:
        """How many occurrences came to what."""
        return count(self.entries.values())


class Account(Struct, frozen=True, kw_only=True):
    """A task by both accounts; `task_id` None: there is none yet.

    `assumed` are the executions that rest on an assumption, by either.
    """

    task_id: UUID | None
    name: str
    before: Side
    after: Side
    assumed: frozenset[UUID]
    usual: Usual


class Accounts(Struct, frozen=True, kw_only=True):
    """All tasks by both accounts, and the first of the `total` differences.

    `downtimes` are spans in which nobody claimed, by what late claims tell.
    """

    window: Window
    tasks: tuple[Account, ...]
    differences: tuple[Difference, ...]
    total: int
    loads: Loads
    downtimes: tuple[tuple[datetime, datetime], ...]


class Comparison:
    """Lives through a window for one task after the other, as many occurrences as one answer is worth."""

    def __init__(self, window: Window, downtimes: Downtimes, budget: Budget) -> None:
        self._window = window
        self._downtimes = downtimes
        self._budget = budget
        self._room = MOST_OCCURRENCES

    def account(self, basis: Basis, start: datetime) -> Account:
        """What the window comes to when it is lived through from `start` on. Raises `TooMuchToSimulate`."""
        before, assumed = self._before(basis, start)
        simulation = self._lived(basis, start, lambda old: basis.subject.redefine(old, basis.at))
        after = self._side(Books(basis.record.start, basis.record.before, simulation.facts))
        return Account(
            task_id=basis.subject.task_id,
            name=simulation.state.task.definition.name,
            before=before,
            after=after,
            assumed=frozenset(assumed | simulation.assumed),
            usual=basis.usual,
        )

    def _before(self, basis: Basis, start: datetime) -> tuple[Side, set[UUID]]:
        record = basis.record
        if basis.subject.task_id is None:
            return Side((), {}, ()), set()
        if basis.happened:
            return self._side(Books(record.start, record.before, record.facts)), set()
        simulation = self._lived(basis, start, lambda same: same)
        books = Books(record.start, record.before, simulation.facts)
        return self._side(books), simulation.assumed

    def _lived(self, basis: Basis, start: datetime, change: Change) -> Simulation:
        simulation = Simulation(basis.record, change, basis.usual.assumption, self._downtimes)
        known = len(simulation.state.executions)
        for _ in self._budget.over(simulation.steps(start)):
            if len(simulation.state.executions) - known > self._room:
                raise TooMuchToSimulate.occurrences(MOST_OCCURRENCES)
        self._room -= len(simulation.state.executions) - known
        return simulation

    def _side(self, books: Books) -> Side:
        start, end = self._window.start, self._window.end
        calls = tuple(call for call in books.calls if start <= call.sent_at < end)
        return Side(tuple(books.triggers), books.within(start, end), calls)


def accounts(
    window: Window, tasks: Sequence[Account], limit: int, downtimes: Sequence[tuple[datetime, datetime]]
) -> Accounts:
    """The accounts of all tasks, and up to `limit` differences, in the order of the occurrences."""
    before = {run: entry for task in tasks for run, entry in task.before.entries.items()}
    after = {run: entry for task in tasks for run, entry in task.after.entries.items()}
    found = differences(before, after)
    return Accounts(
        window=window,
        tasks=tuple(tasks),
        differences=tuple(found[:limit]),
        total=len(found),
        loads=_loads(window, tasks),
        downtimes=tuple(span for span in downtimes if span[1] > window.start and span[0] < window.end),
    )


def _loads(window: Window, tasks: Sequence[Account]) -> Loads:
    before, after = _sent([task.before for task in tasks]), _sent([task.after for task in tasks])
    instants = [[call.sent_at for calls in account.values() for call in calls] for account in (before, after)]
    width, buckets = histogram(window.start, window.end, *instants)
    return Loads(
        before=load(instants[0]),
        after=load(instants[1]),
        width=width,
        buckets=tuple(buckets),
        crowding=tuple(crowding(before, after, window.end)),
    )


def _sent(sides: Sequence[Side]) -> dict[str, list[Call]]:
    """Calls by their destination."""
    sent: dict[str, list[Call]] = {}
    for side in sides:
        for call in side.calls:
            sent.setdefault(call.destination, []).append(call)
    return sent

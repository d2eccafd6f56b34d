"""What facts come to: an entry an occurrence, the calls that were made, and what two accounts differ in."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, assert_never, get_args
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from application.what_if.load import destination
from domain.catching_up import LATE_AFTER
from domain.facts import (
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
    TaskFact,
    TaskUpdated,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from application.what_if.simulation import Happened
    from application.what_if.state import State
    from domain.attempt import Attempt
    from domain.definition import Definition, Trigger

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

"""What to do with a task that is due: which occurrences are skipped, and what becomes of the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import assert_never
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain import overlap
from domain.definition import Definition
from domain.execution import Execution, FinishedExecution
from domain.facts import (
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    Occurrence,
    SkippedBy,
    TaskCompleted,
)
from domain.identity import execution_id
from domain.overlap import NOTHING_OPEN, ConcurrencyState
from domain.schedule import fires_at, next_after, spent
from domain.task import Pause, Placed, ends_with

# A minute's schedule that was down for a week has missed 10,080 occurrences: they are recorded in portions.
MAX_SKIPPED = 500
# A restart, or a takeover by another node, takes less: what falls due meanwhile is not missed.
LATE_AFTER = timedelta(seconds=60)


class Missed(Struct, frozen=True, gc=False):
    """An occurrence that does not run, why, by which policy, and the one that follows it."""

    due_at: datetime
    reason: str
    by: SkippedBy
    following: datetime | None


class Turn(Struct, frozen=True, gc=False):
    """The occurrences that were `missed`, oldest first, and the one to start next.

    `due_at` is None when none is to start yet. `following` is the task's next run after all of these.
    """

    missed: tuple[Missed, ...]
    due_at: datetime | None
    following: datetime | None


type Place = tuple[datetime, datetime | None]
"""The instant of an occurrence, and that of the one that follows it."""
type Reason = Callable[[datetime, datetime | None], str | None]
"""Returns why an occurrence does not run, given the following one if that is due as well; None: it runs."""


def next_turn(due: Due, now: datetime) -> Turn:
    """The next occurrence to start of a task that is due, and at most 500 missed ones before it.

    The work is bounded by that number and by the policy's `max_runs`, however long the downtime was.
    """
    why = _reason(due, now)
    missed: list[Missed] = []
    due_at, following = due.due_at, due.after(due.due_at)
    while reason := why(due_at, _if_due(due, following, now)):
        if len(missed) == MAX_SKIPPED:
            return Turn(tuple(missed), None, due_at)
        missed.append(_missed(due, due_at, reason, following))
        if following is None or due.fires_at(following) > now:
            return Turn(tuple(missed), None, following)
        due_at, following = following, due.after(following)
    return Turn(tuple(missed), due_at, following)


def portion(due: Due, due_at: datetime, now: datetime) -> Iterator[Place]:
    """Up to 500 occurrences that are due, from `due_at` on."""
    return islice(_due_from(due, due_at, now), MAX_SKIPPED)


def _due_from(due: Due, due_at: datetime | None, now: datetime) -> Iterator[Place]:
    while due_at is not None:
        following = due.after(due_at)
        yield due_at, following
        due_at = _if_due(due, following, now)


def _if_due(due: Due, due_at: datetime | None, now: datetime) -> datetime | None:
    return due_at if due_at is not None and due.fires_at(due_at) <= now else None


def _missed(due: Due, due_at: datetime, reason: str, following: datetime | None) -> Missed:
    pause = due.pause
    if pause is None or not due.in_pause(due_at):
        return Missed(due_at, reason, "catch_up", following)
    paused = f"the task was paused (from {pause.since.isoformat()} to {pause.until.isoformat()})"
    return Missed(due_at, paused, "pause", following)


def _reason(due: Due, now: datetime) -> Reason:
    policy = due.definition.catch_up
    match policy.mode:
        case "latest":
            return lambda due_at, newer: _overdue(newer) or _outside(due, due_at, now)
        case "skip":
            return lambda due_at, newer: _overdue(newer) or _late(due, due_at, now)
        case "all" if policy.max_runs is None:
            return lambda due_at, _: _outside(due, due_at, now)
        case "all":
            return _newest(due, policy.max_runs, now)
        case _:
            assert_never(policy.mode)


def _overdue(newer: datetime | None) -> str | None:
    if newer is None:
        return None
    return f"missed: not started before the next occurrence was due ({newer.isoformat()})"


def _late(due: Due, due_at: datetime, now: datetime) -> str | None:
    late = now - due.fires_at(due_at)
    if late <= LATE_AFTER and not due.in_pause(due_at):
        return None
    return f"missed: it could be started only {_seconds(late)} s late, and catch_up.mode is skip"


def _outside(due: Due, due_at: datetime, now: datetime) -> str | None:
    window = due.definition.catch_up.window_seconds
    if window is None or now - due.fires_at(due_at) <= timedelta(seconds=window):
        return None
    return f"missed: it was due longer ago than catch_up.window_seconds ({window})"


def _newest(due: Due, most: int, now: datetime) -> Reason:
    """Returns the reasons of occurrences in order: one with `most` due ones after it is missed."""
    ahead = islice(_due_from(due, due.due_at, now), most, None)

    def reason(due_at: datetime, _: datetime | None) -> str | None:
        if next(ahead, None) is None:
            return _outside(due, due_at, now)
        return f"missed: more than the newest {most} occurrences were due (catch_up.max_runs)"

    return reason


def _seconds(span: timedelta) -> int:
    return span // timedelta(seconds=1)


class Due(Struct, frozen=True, gc=False, kw_only=True):
    """A task that is due at `due_at`, after `runs` counted runs; `pause` is its last pause."""

    task_id: UUID
    version: int
    namespace: str
    definition: Definition
    due_at: datetime
    runs: int = 0
    pause: Pause | None = None

    def occurrence(self, due_at: datetime, run: int) -> Occurrence:
        """One of the task's scheduled occurrences."""
        return Occurrence(
            task_id=self.task_id,
            task_version=self.version,
            task_name=self.definition.name,
            namespace=self.namespace,
            due_at=due_at,
            fire_at=self.delayed(due_at),
            run=run,
        )

    def after(self, due_at: datetime) -> datetime | None:
        """The occurrence that follows one; None: it is the last."""
        return next_after(self.definition.trigger, due_at)

    def fires_at(self, due_at: datetime) -> datetime:
        """When the call of an occurrence is to be sent."""
        return fires_at(self.definition.trigger, self.task_id, due_at)

    def delayed(self, due_at: datetime | None) -> datetime | None:
        """The instant of the call if jitter moves it; None: it is that of the occurrence."""
        fire_at = None if due_at is None else self.fires_at(due_at)
        return None if fire_at == due_at else fire_at

    def in_pause(self, due_at: datetime) -> bool:
        """Whether an occurrence fell into the last pause."""
        return self.pause is not None and self.pause.since <= due_at < self.pause.until


type Begun = tuple[UUID, ExecutionStarted | ExecutionQueued]
type Skipped = tuple[UUID, ExecutionSkipped]


class Claim(Struct, frozen=True, gc=False, kw_only=True):
    """The facts to append together, each the first of its execution.

    `begun` is the execution that starts or is queued, None: all are skipped. `next_run_at` is the task's next
    run afterwards, None: there is none; `runs` is how many runs have been counted by then. `replaced` are the
    executions to cancel in the same append; `end` completes a task whose last occurrence is skipped.
    `needs_overlap_check`: open executions are the reason that this is not a plain start.
    """

    skipped: tuple[Skipped, ...]
    begun: Begun | None
    next_run_at: datetime | None
    runs: int
    replaced: tuple[UUID, ...] = ()
    end: TaskCompleted | None = None
    needs_overlap_check: bool = False

    def facts(self) -> list[Skipped | Begun]:
        """The facts of skipped executions, oldest first, then that of the one that begins."""
        return [*self.skipped, *((self.begun,) if self.begun else ())]

    def without(self, taken: Mapping[UUID, Execution], due: Due, task: Placed) -> Claim:
        """The claim of `due` without the executions that the log has already (`taken`).

        A user backfilled them, or an earlier definition had claimed them. If the schedule's last occurrence
        is among them the claim completes the task, unless that execution is open and will complete it.
        """
        skipped = tuple(one for one in self.skipped if one[0] not in taken)
        if self.begun is None or self.begun[0] not in taken:
            return replace(self, skipped=skipped, end=self.end and _ended(self.end, taken, due, task))
        begun, fact = self.begun
        following = due.after(fact.occurrence.due_at)
        last = TaskCompleted(at=fact.at, outcome="failed", execution_id=begun) if following is None else None
        end = last and _ended(last, taken, due, task)
        return Claim(skipped=skipped, begun=None, next_run_at=following, runs=due.runs, end=end)


def _ended(
    end: TaskCompleted, taken: Mapping[UUID, Execution], due: Due, task: Placed
) -> TaskCompleted | None:
    """The completion of a task whose last occurrence may be `taken`; None: that execution will complete it.

    The outcome is that of the execution if it has run, else that of `_end`.
    """
    last = taken.get(end.execution_id)
    if last is None:
        return end
    if isinstance(last, FinishedExecution):
        ran = last.status == "succeeded" or (due.runs > 0 and last.status != "failed")
        return replace(end, outcome="succeeded" if ran else "failed")
    return None if ends_with(task, last.occurrence) else replace(end, outcome="succeeded")


class Claimant(Struct, frozen=True, gc=False):
    """The node that claims; its lease lasts `margin` longer than the attempt may take."""

    node: str
    margin: timedelta


def claim(due: Due, claimant: Claimant, now: datetime, open_runs: ConcurrencyState = NOTHING_OPEN) -> Claim:
    """Skip what the catch-up policy does not run, and begin the next occurrence as the overlap policy says.

    `open_runs` are the task's scheduled executions that are known to be open.
    """
    turn = next_turn(due, now)
    skipped = tuple(_skipped(due, missed, now) for missed in turn.missed)
    if turn.due_at is None:
        end = _end(due, turn.following, skipped, open_runs, now)
        return Claim(skipped=skipped, begun=None, next_run_at=turn.following, runs=due.runs, end=end)
    course = overlap.course(due.definition, open_runs)
    if course == "skip":
        return _overlapped(due, turn.due_at, skipped, open_runs, now)
    run = due.runs + 1
    following = None if spent(due.definition.trigger, run) else turn.following
    if course == "queue":
        begun = _queued(due, turn.due_at, following, open_runs, now)
    else:
        begun = _started(due, turn.due_at, following, claimant, now)
    return Claim(
        skipped=skipped,
        begun=begun,
        next_run_at=following,
        runs=run,
        replaced=overlap.replaced(due.definition, open_runs) if course == "replace" else (),
        needs_overlap_check=course != "start",
    )


def _started(
    due: Due, due_at: datetime, following: datetime | None, claimant: Claimant, now: datetime
) -> Begun:
    occurrence = due.occurrence(due_at, due.runs + 1)
    timeout = due.definition.action.timeout
    fact = ExecutionStarted(
        at=now,
        occurrence=occurrence,
        node=claimant.node,
        lease_until=max(now, occurrence.send_at) + timeout + claimant.margin,
        next_run_at=following,
        next_fire_at=due.delayed(following),
    )
    return execution_id(due.task_id, due_at, "scheduled"), fact


def _queued(
    due: Due, due_at: datetime, following: datetime | None, open_runs: ConcurrencyState, now: datetime
) -> Begun:
    fact = ExecutionQueued(
        at=now,
        occurrence=due.occurrence(due_at, due.runs + 1),
        behind=open_runs.oldest,
        next_run_at=following,
        next_fire_at=due.delayed(following),
    )
    return execution_id(due.task_id, due_at, "scheduled"), fact


def _overlapped(
    due: Due, due_at: datetime, missed: tuple[Skipped, ...], open_runs: ConcurrencyState, now: datetime
) -> Claim:
    """Skip the next occurrence and those that are due after it: the overlap policy leaves no room for any."""
    reason, skipped = overlap.why_skipped(due.definition, open_runs), list(missed)
    place: datetime | None = due_at
    for each, place in portion(due, due_at, now):
        execution, fact = _skipped(due, Missed(each, reason, "overlap", place), now)
        skipped.append((execution, replace(fact, behind=open_runs.oldest)))
    return Claim(
        skipped=tuple(skipped),
        begun=None,
        next_run_at=place,
        runs=due.runs,
        end=_end(due, place, skipped, open_runs, now),
        needs_overlap_check=True,
    )


def _skipped(due: Due, missed: Missed, now: datetime) -> Skipped:
    fact = ExecutionSkipped(
        at=now,
        occurrence=due.occurrence(missed.due_at, due.runs),
        reason=missed.reason,
        next_run_at=missed.following,
        next_fire_at=due.delayed(missed.following),
        by=missed.by,
    )
    return execution_id(due.task_id, missed.due_at, "scheduled"), fact


def _end(
    due: Due,
    following: datetime | None,
    skipped: Sequence[Skipped],
    open_runs: ConcurrencyState,
    now: datetime,
) -> TaskCompleted | None:
    """Complete a task whose last occurrence is skipped; None: others follow.

    The outcome is success if the task has run at all, or still runs.
    """
    if following is not None:
        return None
    ran = due.runs > 0 or open_runs != NOTHING_OPEN
    return TaskCompleted(at=now, outcome="succeeded" if ran else "failed", execution_id=skipped[-1][0])

"""What to do with a task that is due: which occurrences are skipped, and what becomes of the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, assert_never
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A minute's schedule that was down for a week has missed 10,080 occurrences: they are recorded in portions.
MAX_SKIPPED = 500
# Who restarts a scheduler, or lets another node take over, has not missed what fell due meanwhile.
LATE_AFTER = timedelta(seconds=60)


class Missed(Struct, frozen=True, gc=False):
    """An occurrence that does not run, why, by which policy, and the one that follows it."""

    due_at: datetime
    reason: str
    by: SkippedBy
    following: datetime | None


class Turn(Struct, frozen=True, gc=False):
    """What comes next of a task: those `missed`, oldest first, then the one whose turn it is.

    `due_at` None: nothing has its turn, yet. `following` is where the task stands after all of these.
    """

    missed: tuple[Missed, ...]
    due_at: datetime | None
    following: datetime | None


type Place = tuple[datetime, datetime | None]
"""An occurrence, and the one that follows it."""
type Reason = Callable[[datetime, datetime | None], str | None]
"""Why an occurrence does not run, given the one that follows it if that is due, too; None: it does."""


def next_turn(due: Due, now: datetime) -> Turn:
    """The turn of a task that is due, in portions of 500 missed occurrences.

    The work is bounded by that and by the policy's `max_runs`, however long nobody has claimed anything.
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
    """The occurrence whose turn it is, and those after it that are due: up to 500."""
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
    """Asked for one occurrence after the other, it looks `most` further ones ahead of each."""
    ahead = islice(_due_from(due, due.due_at, now), most, None)

    def reason(due_at: datetime, _: datetime | None) -> str | None:
        if next(ahead, None) is None:
            return _outside(due, due_at, now)
        return f"missed: more than the newest {most} occurrences were due (catch_up.max_runs)"

    return reason


def _seconds(span: timedelta) -> int:
    return span // timedelta(seconds=1)


class Due(Struct, frozen=True, gc=False, kw_only=True):
    """A task at the occurrence where it stands, after so many `runs`; `pause` is its last one."""

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
        """The same, unless it is the instant of the occurrence itself."""
        fire_at = None if due_at is None else self.fires_at(due_at)
        return None if fire_at == due_at else fire_at

    def in_pause(self, due_at: datetime) -> bool:
        """Whether an occurrence fell into the last pause."""
        return self.pause is not None and self.pause.since <= due_at < self.pause.until


type Begun = tuple[UUID, ExecutionStarted | ExecutionQueued]
type Skipped = tuple[UUID, ExecutionSkipped]


class Claim(Struct, frozen=True, gc=False, kw_only=True):
    """The facts to append together, each the first of its execution; `begun` None: only skipped ones yet.

    `next_run_at` is the task's place afterwards, None: it has none; `runs` is how many runs count there.
    `replaced` are the executions to cancel along with it, `end` that of a task whose last occurrence is
    skipped. `needs_overlap_check`: it would have been a plain start, were it not for what goes on.
    """

    skipped: tuple[Skipped, ...]
    begun: Begun | None
    next_run_at: datetime | None
    runs: int
    replaced: tuple[UUID, ...] = ()
    end: TaskCompleted | None = None
    needs_overlap_check: bool = False

    def facts(self) -> list[Skipped | Begun]:
        """Those about its own executions, oldest first."""
        return [*self.skipped, *((self.begun,) if self.begun else ())]

    def without(self, taken: Mapping[UUID, Execution], due: Due, task: Placed) -> Claim:
        """What is left of the claim of `due` when some of its executions have their entries already.

        Users have had them run out of turn, or they were claimed before. A schedule whose last occurrence is
        among them ends, unless that one goes on and ends its task by itself.
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
    """The end of a task with its last occurrence; None: one that goes on ends it by itself.

    How that one ended decides; if it has not run, or goes on without ending its task, it is as in `_end`.
    """
    last = taken.get(end.execution_id)
    if last is None:
        return end
    if isinstance(last, FinishedExecution):
        ran = last.status == "succeeded" or (due.runs > 0 and last.status != "failed")
        return replace(end, outcome="succeeded" if ran else "failed")
    return None if ends_with(task, last.occurrence) else replace(end, outcome="succeeded")


class Claimant(Struct, frozen=True, gc=False):
    """Who claims; the lease lasts `margin` beyond the time that the attempt may take."""

    node: str
    margin: timedelta


def claim(due: Due, claimant: Claimant, now: datetime, open_runs: ConcurrencyState = NOTHING_OPEN) -> Claim:
    """Skip what the catch-up policy does not run, and begin the next one as the overlap policy says.

    `open_runs` is what goes on of the task's scheduled executions, as far as anybody knows.
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
    """Skip the one whose turn it is and what is due after it: there is no room for any of these now."""
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
    """Of a task whose last occurrence is skipped: nobody else would end it.

    It succeeded if it has run at all, or still does.
    """
    if following is not None:
        return None
    ran = due.runs > 0 or open_runs != NOTHING_OPEN
    return TaskCompleted(at=now, outcome="succeeded" if ran else "failed", execution_id=skipped[-1][0])

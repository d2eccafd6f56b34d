"""What to do with a task that is due: which occurrences are skipped, and what becomes of the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain import overlap
from domain.catching_up import Missed, next_turn, portion
from domain.due import Due
from domain.execution import Execution, Over
from domain.facts import ExecutionQueued, ExecutionSkipped, ExecutionStarted, TaskCompleted
from domain.identity import execution_id
from domain.overlap import NOTHING, Going
from domain.schedule import spent
from domain.task import Placed, ends_with

type Begun = tuple[UUID, ExecutionStarted | ExecutionQueued]
type Skipped = tuple[UUID, ExecutionSkipped]


class Claim(Struct, frozen=True, gc=False, kw_only=True):
    """The facts to append together, each the first of its execution; `begun` None: only skipped ones yet.

    `next_run_at` is the task's place afterwards, None: it has none; `runs` is how many runs count there.
    `replaced` are the executions to cancel along with it, `end` that of a task whose last occurrence is
    skipped. `contested`: it would have been a plain start, were it not for what goes on.
    """

    skipped: tuple[Skipped, ...]
    begun: Begun | None
    next_run_at: datetime | None
    runs: int
    replaced: tuple[UUID, ...] = ()
    end: TaskCompleted | None = None
    contested: bool = False

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
    if isinstance(last, Over):
        ran = last.status == "succeeded" or (due.runs > 0 and last.status != "failed")
        return replace(end, outcome="succeeded" if ran else "failed")
    return None if ends_with(task, last.occurrence) else replace(end, outcome="succeeded")


class Claimant(Struct, frozen=True, gc=False):
    """Who claims; the lease lasts `margin` beyond the time that the attempt may take."""

    node: str
    margin: timedelta


def claim(due: Due, claimant: Claimant, now: datetime, going: Going = NOTHING) -> Claim:
    """Skip what the catch-up policy does not run, and begin the next one as the overlap policy says.

    `going` is what goes on of the task's scheduled executions, as far as anybody knows.
    """
    turn = next_turn(due, now)
    skipped = tuple(_skipped(due, missed, now) for missed in turn.missed)
    if turn.due_at is None:
        end = _end(due, turn.following, skipped, going, now)
        return Claim(skipped=skipped, begun=None, next_run_at=turn.following, runs=due.runs, end=end)
    course = overlap.course(due.definition, going)
    if course == "skip":
        return _overlapped(due, turn.due_at, skipped, going, now)
    run = due.runs + 1
    following = None if spent(due.definition.trigger, run) else turn.following
    if course == "queue":
        begun = _queued(due, turn.due_at, following, going, now)
    else:
        begun = _started(due, turn.due_at, following, claimant, now)
    return Claim(
        skipped=skipped,
        begun=begun,
        next_run_at=following,
        runs=run,
        replaced=overlap.replaced(due.definition, going) if course == "replace" else (),
        contested=course != "start",
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


def _queued(due: Due, due_at: datetime, following: datetime | None, going: Going, now: datetime) -> Begun:
    fact = ExecutionQueued(
        at=now,
        occurrence=due.occurrence(due_at, due.runs + 1),
        behind=going.oldest,
        next_run_at=following,
        next_fire_at=due.delayed(following),
    )
    return execution_id(due.task_id, due_at, "scheduled"), fact


def _overlapped(
    due: Due, due_at: datetime, missed: tuple[Skipped, ...], going: Going, now: datetime
) -> Claim:
    """Skip the one whose turn it is and what is due after it: there is no room for any of these now."""
    reason, skipped = overlap.why_skipped(due.definition, going), list(missed)
    place: datetime | None = due_at
    for each, place in portion(due, due_at, now):
        execution, fact = _skipped(due, Missed(each, reason, "overlap", place), now)
        skipped.append((execution, replace(fact, behind=going.oldest)))
    return Claim(
        skipped=tuple(skipped),
        begun=None,
        next_run_at=place,
        runs=due.runs,
        end=_end(due, place, skipped, going, now),
        contested=True,
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
    due: Due, following: datetime | None, skipped: Sequence[Skipped], going: Going, now: datetime
) -> TaskCompleted | None:
    """Of a task whose last occurrence is skipped: nobody else would end it.

    It succeeded if it has run at all, or still does.
    """
    if following is not None:
        return None
    ran = due.runs > 0 or going != NOTHING
    return TaskCompleted(at=now, outcome="succeeded" if ran else "failed", execution_id=skipped[-1][0])

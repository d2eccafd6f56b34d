"""The life of one occurrence: claimed, attempted, over.

```
            start                        succeed
   (none) ─────────▶ Running ─────────────────────────▶ succeeded
     │               ▲ │ ▲ │ └── fail, no attempt left ──▶ failed
     ├─▶ Requested ──┘ │ │ └── renew, take over: a new attempt or lease, still Running
     │   by a user     ▼ │ attempt started
     │              Waiting
     └──── skip (or dropped right before the send) ────▶ skipped

   Requested, Running, Waiting ── task over, or cancelled by a user ──▶ cancelled
```

A skipped one starts after all when its task was moved away from its instant and back to it, or on request.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, assert_never
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain import retry
from domain import task as tasks
from domain.definition import Definition, RetryPolicy
from domain.facts import (
    Answered,
    Attempt,
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFact,
    ExecutionFailed,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    Occurrence,
)
from domain.task import Task

# A task whose calls take their scheduler down each time must come to an end.
MAX_LOST_ATTEMPTS = 5


class Known(Struct, frozen=True, kw_only=True):
    """What every state of an execution tells. `version` counts its facts, `lost` its unknown outcomes."""

    id: UUID
    occurrence: Occurrence
    version: int
    attempts: int
    lost: int = 0


class Requested(Known, frozen=True, kw_only=True):
    """Wanted by a user; no scheduler has claimed it yet."""


class Running(Known, frozen=True, kw_only=True):
    """Attempt number `attempts` is claimed by `node` until `lease_until`."""

    node: str
    lease_until: datetime


class Waiting(Known, frozen=True, kw_only=True):
    """`attempts` attempts have failed; the next one is due at `retry_at`."""

    retry_at: datetime


class Over(Known, frozen=True, kw_only=True):
    """Nothing further happens."""

    status: Ending


type Ending = Literal["succeeded", "failed", "skipped", "cancelled"]
type Execution = Requested | Running | Waiting | Over


def conclude(
    execution: Running, attempt: Attempt, policy: RetryPolicy, now: datetime, chance: float
) -> ExecutionSucceeded | AttemptFailed | ExecutionFailed:
    """What an attempt's answer means: success, another attempt later, or the end.

    Attempts whose outcome got lost do not count against `max_attempts`. `chance` (0…1) spreads the retries.
    """
    task_id = execution.occurrence.task_id
    if retry.succeeded(attempt.answer):
        return ExecutionSucceeded(at=now, task_id=task_id, attempt=attempt)
    made = attempt.number - execution.lost
    if not retry.worth_repeating(attempt.answer):
        return ExecutionFailed(at=now, task_id=task_id, attempt=attempt, reason=_final(attempt))
    if made >= policy.max_attempts:
        reason = f"attempt {made} of {policy.max_attempts} failed{_besides(execution.lost)}"
        return ExecutionFailed(at=now, task_id=task_id, attempt=attempt, reason=reason)
    retry_at = now + retry.delay(policy, made, chance)
    return AttemptFailed(at=now, task_id=task_id, attempt=attempt, retry_at=retry_at)


class Lease(Struct, frozen=True, kw_only=True):
    """Who claims, from which version of the task, and until when nobody else may."""

    node: str
    task_version: int
    until: datetime


def start_attempt(execution: Running | Waiting, lease: Lease, now: datetime) -> AttemptStarted:
    """Claim the attempt that was waited for; or the same one again, when its claim was outdated unsent."""
    waited = isinstance(execution, Waiting)
    return AttemptStarted(
        at=now,
        task_id=execution.occurrence.task_id,
        task_version=lease.task_version,
        number=execution.attempts + 1 if waited else execution.attempts,
        node=lease.node,
        lease_until=lease.until,
    )


def take_over(execution: Running, lease: Lease, now: datetime) -> ExecutionTakenOver:
    """Claim a further attempt where a dead node left one without an outcome."""
    return ExecutionTakenOver(
        at=now,
        task_id=execution.occurrence.task_id,
        task_version=lease.task_version,
        number=execution.attempts + 1,
        node=lease.node,
        lost_by=execution.node,
        lease_until=lease.until,
    )


def give_up(execution: Running, now: datetime) -> ExecutionFailed | None:
    """Fail what has lost its scheduler too often; None while another attempt is allowed."""
    if execution.lost < MAX_LOST_ATTEMPTS:
        return None
    reason = f"the outcomes of {execution.lost + 1} attempts are unknown: their schedulers stopped meanwhile"
    return ExecutionFailed(at=now, task_id=execution.occurrence.task_id, attempt=None, reason=reason)


def drop(
    execution: Running | Waiting, claimed_from: Definition, task: Task, now: datetime, *, unsent: bool
) -> ExecutionSkipped | ExecutionCancelled | None:
    """End an execution whose task is cancelled, or whose `unsent` call was rescheduled; None: it goes on.

    A rescheduled one goes on, too, when the new schedule includes its instant, or a user asked for it. What
    was claimed before a pause goes on, and so does what was claimed before the schedule came to its end.
    """
    occurrence = execution.occurrence
    never_sent = unsent and isinstance(execution, Running) and execution.attempts == 1
    match task:
        case tasks.Over(status="cancelled") if never_sent:
            reason = "the task was cancelled before the call was sent"
            return ExecutionSkipped(at=now, occurrence=occurrence, reason=reason, next_run_at=None)
        case tasks.Over(status="cancelled"):
            reason = "the task was cancelled: no further attempt is made"
            return ExecutionCancelled(at=now, task_id=occurrence.task_id, reason=reason)
        case tasks.Scheduled() | tasks.Paused() | tasks.Over():
            kept = occurrence.kind != "scheduled" or task.definition.trigger == claimed_from.trigger
            if not never_sent or kept or tasks.includes(task.definition, occurrence.due_at):
                return None
            reason = "the task was rescheduled before the call was sent"
            place = None if isinstance(task, tasks.Over) else task.placed_at
            return ExecutionSkipped(at=now, occurrence=occurrence, reason=reason, next_run_at=place)
        case _:
            assert_never(task)


def begin(execution_id: UUID, fact: ExecutionStarted | ExecutionSkipped | ExecutionRequested) -> Execution:
    """The state after the first fact of a stream."""
    match fact:
        case ExecutionStarted():
            return start(execution_id, fact)
        case ExecutionSkipped():
            return Over(id=execution_id, occurrence=fact.occurrence, version=1, attempts=0, status="skipped")
        case ExecutionRequested():
            return _requested(execution_id, fact, 1)
        case _:
            assert_never(fact)


def start(execution_id: UUID, fact: ExecutionStarted, version: int = 1) -> Running:
    """The state after the claim of an occurrence.

    It is the first fact of its stream, unless the occurrence was requested, or skipped before.
    """
    return Running(
        id=execution_id,
        occurrence=fact.occurrence,
        version=version,
        attempts=1,
        node=fact.node,
        lease_until=fact.lease_until,
    )


def evolve(execution: Execution, fact: ExecutionFact) -> Execution:
    """The state after a further fact. Never refuses: what is in the log has happened."""
    after = replace(execution, version=execution.version + 1)
    match fact:
        case ExecutionRequested():
            return _requested(execution.id, fact, after.version)
        case ExecutionStarted():
            return start(execution.id, fact, after.version)
        case AttemptFailed():
            return Waiting(**_known(after), retry_at=fact.retry_at)
        case AttemptStarted():
            return _claimed(replace(after, attempts=fact.number), fact)
        case ExecutionTakenOver():
            return _claimed(replace(after, attempts=fact.number, lost=after.lost + 1), fact)
        case ExecutionSucceeded():
            return _over(after, "succeeded")
        case ExecutionFailed():
            return _over(after, "failed")
        case ExecutionSkipped():
            return _over(after, "skipped")
        case ExecutionCancelled():
            return _over(after, "cancelled")
        case _:
            assert_never(fact)


def _requested(execution_id: UUID, fact: ExecutionRequested, version: int) -> Requested:
    return Requested(id=execution_id, occurrence=fact.occurrence, version=version, attempts=0)


def _claimed(known: Known, fact: AttemptStarted | ExecutionTakenOver) -> Running:
    return Running(**_known(known), node=fact.node, lease_until=fact.lease_until)


def _over(known: Known, ending: Ending) -> Over:
    return Over(**_known(known), status=ending)


def _known(known: Known) -> dict[str, Any]:
    return {name: getattr(known, name) for name in Known.__struct_fields__}


def _besides(lost: int) -> str:
    match lost:
        case 0:
            return ""
        case 1:
            return " (1 more was lost)"
        case _:
            return f" ({lost} more were lost)"


def _final(attempt: Attempt) -> str:
    answer = attempt.answer
    if isinstance(answer, Answered):
        return f"status {answer.status_code} is final: only 408, 425, 429 and 5xx are tried again"
    return "this failure is final: trying again would not help"

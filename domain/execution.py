"""The life of one occurrence: claimed, attempted, over.

```
            start                        succeed
   (none) ─────────▶ Running ─────────────────────────▶ succeeded
     │               ▲ │ ▲ │ └── fail, no attempt left ──▶ failed
     ├─▶ Requested ──┘ │ │ └── renew, take over: a new attempt or lease, still Running
     │   by a user,    ▼ │ attempt started
     │   or queued  Waiting
     └──── skip (or dropped right before the send) ────▶ skipped

   Requested, Running, Waiting ── task over, or cancelled by a user ──▶ cancelled
   Waiting ── its next attempt may not begin any more ──▶ failed
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
from domain import retry as failing
from domain import retry as success
from domain.definition import Definition
from domain.facts import (
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
    Occurrence,
)


class ExecutionBase(Struct, frozen=True, gc=False, kw_only=True):
    """What every state of an execution tells. `version` counts its facts, `lost` its unknown outcomes.

    `began_at` is when its first attempt was to be sent, as claimed; None: none was. `sent`: the target may
    have had the request of an attempt that is over.
    """

    id: UUID
    occurrence: Occurrence
    version: int
    attempts: int
    lost: int = 0
    began_at: datetime | None = None
    sent: bool = False


class Requested(ExecutionBase, frozen=True, kw_only=True):
    """Wanted by a user, or queued behind a run of its task; no scheduler has claimed it yet.

    A queued one has given its task the place `next_run_at`, to be called at `next_fire_at`.
    """

    next_run_at: datetime | None = None
    next_fire_at: datetime | None = None


class Running(ExecutionBase, frozen=True, kw_only=True):
    """Attempt number `attempts` is claimed by `node` until `lease_until`."""

    node: str
    lease_until: datetime


class Waiting(ExecutionBase, frozen=True, kw_only=True):
    """`attempts` attempts have failed; the next one is due at `retry_at`."""

    retry_at: datetime


class FinishedExecution(ExecutionBase, frozen=True, kw_only=True):
    """Nothing further happens."""

    status: Ending


type Ending = Literal["succeeded", "failed", "skipped", "cancelled"]
type Execution = Requested | Running | Waiting | FinishedExecution


def conclude(
    execution: Running, attempt: Attempt, definition: Definition, now: datetime, chance: float
) -> ExecutionSucceeded | AttemptFailed | ExecutionFailed:
    """What an attempt's answer means: success, another attempt later, or the end.

    Attempts whose outcome got lost do not count against `max_attempts`. `chance` (0…1) spreads the retries.
    """
    task_id, policy, answer = execution.occurrence.task_id, definition.retry, attempt.answer
    accepted, unmet = (
        success.status_accepted(definition.success, answer),
        success.unmet(definition.success, answer),
    )
    if accepted and unmet is None:
        return ExecutionSucceeded(at=now, task_id=task_id, attempt=attempt)
    made, sent = attempt.number - execution.lost, execution.sent or failing.may_have_been_sent(answer)
    retry_at = retry.next_at(policy, answer, made, now, chance)
    reason = (
        retry.why_final(policy, answer, accepted=accepted)
        or failing.why_not_twice(definition.delivery, sent=sent)
        or failing.why_last(policy, made, execution.lost)
        or failing.why_too_late(policy, execution.began_at, retry_at)
    )
    if reason is not None:
        return ExecutionFailed(at=now, task_id=task_id, attempt=attempt, reason=reason, unmet=unmet)
    return AttemptFailed(at=now, task_id=task_id, attempt=attempt, retry_at=retry_at, unmet=unmet)


class Lease(Struct, frozen=True, gc=False, kw_only=True):
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


type FirstFact = ExecutionStarted | ExecutionSkipped | ExecutionRequested | ExecutionQueued


def begin(execution_id: UUID, fact: FirstFact) -> Execution:
    """The state after the first fact of a stream."""
    match fact:
        case ExecutionStarted():
            return start(execution_id, fact)
        case ExecutionSkipped():
            return FinishedExecution(
                id=execution_id, occurrence=fact.occurrence, version=1, attempts=0, status="skipped"
            )
        case ExecutionRequested() | ExecutionQueued():
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
        began_at=max(fact.at, fact.occurrence.send_at),
        node=fact.node,
        lease_until=fact.lease_until,
    )


def evolve(execution: Execution, fact: ExecutionFact) -> Execution:
    """The state after a further fact. Never refuses: what is in the log has happened."""
    after = replace(execution, version=execution.version + 1)
    match fact:
        case ExecutionRequested() | ExecutionQueued():
            return _requested(execution.id, fact, after.version)
        case ExecutionStarted():
            return start(execution.id, fact, after.version)
        case AttemptFailed():
            sent = after.sent or failing.may_have_been_sent(fact.attempt.answer)
            return Waiting(**_known(replace(after, sent=sent)), retry_at=fact.retry_at)
        case AttemptStarted():
            return _claimed(replace(after, attempts=fact.number), fact)
        case ExecutionTakenOver():
            return _claimed(replace(after, attempts=fact.number, lost=after.lost + 1, sent=True), fact)
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


def _requested(execution_id: UUID, fact: ExecutionRequested | ExecutionQueued, version: int) -> Requested:
    wanted = Requested(id=execution_id, occurrence=fact.occurrence, version=version, attempts=0)
    if isinstance(fact, ExecutionRequested):
        return wanted
    return replace(wanted, next_run_at=fact.next_run_at, next_fire_at=fact.next_fire_at)


def _claimed(known: ExecutionBase, fact: AttemptStarted | ExecutionTakenOver) -> Running:
    return Running(**_known(known), node=fact.node, lease_until=fact.lease_until)


def _over(known: ExecutionBase, ending: Ending) -> FinishedExecution:
    return FinishedExecution(**_known(known), status=ending)


def _known(known: ExecutionBase) -> dict[str, Any]:
    return {name: getattr(known, name) for name in ExecutionBase.__struct_fields__}

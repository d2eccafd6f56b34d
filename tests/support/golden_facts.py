"""The facts of the golden files, by the names of these files."""

from __future__ import annotations

from datetime import timedelta

from domain.facts import (
    AnyFact,
    AttemptFailed,
    AttemptStarted,
    EventsRedacted,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    IdempotencyKeyUsed,
    Rewritten,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskFailuresCounted,
    TaskPaused,
    TaskRedacted,
    TaskResumed,
    TaskUpdated,
)
from domain.redaction import erased
from tests.support.golden_values import (
    ASKED,
    AT,
    BY_HAND,
    CAREFUL,
    CUT,
    DELAYED,
    DUE,
    EXECUTION,
    HEARTBEAT,
    LEASE,
    NEXT,
    NIGHTLY,
    OCCURRENCE,
    ONE_OFF,
    OTHER,
    SILENCE,
    SUCCESS,
    TASK,
    UNSENT,
)

STORED: dict[str, AnyFact] = {
    "task.created.v1": TaskCreated(at=AT, namespace="default", definition=ONE_OFF, next_run_at=DUE),
    "task.created.v1.cron": TaskCreated(at=AT, namespace="billing", definition=NIGHTLY, next_run_at=DUE),
    "task.created.v1.before-triggers": TaskCreated(
        at=AT, namespace="default", definition=ONE_OFF, next_run_at=DUE
    ),
    "task.created.v1.interval": TaskCreated(
        at=AT, namespace="default", definition=HEARTBEAT, next_run_at=DUE
    ),
    "task.created.v1.defaults-left-out": TaskCreated(
        at=AT, namespace="default", definition=NIGHTLY, next_run_at=DUE
    ),
    "task.created.v1.before-policies": TaskCreated(
        at=AT, namespace="default", definition=ONE_OFF, next_run_at=DUE
    ),
    "task.created.v1.policies": TaskCreated(at=AT, namespace="default", definition=CAREFUL, next_run_at=DUE),
    "task.updated.v1": TaskUpdated(at=AT, definition=NIGHTLY, next_run_at=NEXT),
    "task.updated.v1.rolled-back": TaskUpdated(at=AT, definition=NIGHTLY, next_run_at=NEXT, rolled_back_to=2),
    "task.updated.v1.before-triggers": TaskUpdated(at=AT, definition=NIGHTLY, next_run_at=NEXT),
    "task.updated.v1.before-policies": TaskUpdated(at=AT, definition=NIGHTLY, next_run_at=NEXT),
    "task.updated.v1.passed-over": TaskUpdated(at=AT, definition=HEARTBEAT, next_run_at=NEXT, runs=7),
    "task.updated.v1.same-trigger": TaskUpdated(at=AT, definition=ONE_OFF, next_run_at=None),
    "task.paused.v1": TaskPaused(at=AT, note="Zahlungsanbieter wird umgestellt \N{EM DASH} bis 14:00"),
    "task.paused.v1.without-note": TaskPaused(at=AT),
    "task.resumed.v1.with-reason": TaskResumed(at=AT),
    "task.resumed.v1": TaskResumed(at=AT),
    "task.cancelled.v1": TaskCancelled(at=AT, reason="the target is gone (410)"),
    "task.cancelled.v1.before-policies": TaskCancelled(at=AT),
    "task.failures_counted.v1": TaskFailuresCounted(at=AT, failures=3, execution_id=EXECUTION),
    "task.completed.v1": TaskCompleted(at=AT, outcome="succeeded", execution_id=EXECUTION),
    "task.completed.v1.failed": TaskCompleted(at=AT, outcome="failed", execution_id=EXECUTION),
    "execution.started.v1": ExecutionStarted(
        at=AT, occurrence=OCCURRENCE, node="worker-1-5f2c", lease_until=LEASE, next_run_at=NEXT
    ),
    "execution.started.v1.before-triggers": ExecutionStarted(
        at=AT, occurrence=OCCURRENCE, node="worker-1-5f2c", lease_until=LEASE, next_run_at=NEXT
    ),
    "execution.started.v1.jitter": ExecutionStarted(
        at=AT,
        occurrence=DELAYED,
        node="worker-1-5f2c",
        lease_until=LEASE,
        next_run_at=NEXT,
        next_fire_at=NEXT + timedelta(seconds=2.5),
    ),
    "execution.started.v1.last": ExecutionStarted(
        at=AT, occurrence=OCCURRENCE, node="worker-1-5f2c", lease_until=LEASE, next_run_at=None
    ),
    "execution.attempt_failed.v1": AttemptFailed(
        at=AT, task_id=TASK, attempt=SILENCE, retry_at=AT + timedelta(seconds=4.25)
    ),
    "execution.attempt_failed.v1.answered": AttemptFailed(
        at=AT, task_id=TASK, attempt=CUT, retry_at=AT + timedelta(seconds=4.25)
    ),
    "execution.attempt_failed.v1.before-policies": AttemptFailed(
        at=AT, task_id=TASK, attempt=SILENCE, retry_at=AT + timedelta(seconds=4.25)
    ),
    "execution.attempt_failed.v1.unsent": AttemptFailed(
        at=AT, task_id=TASK, attempt=UNSENT, retry_at=AT + timedelta(seconds=4.25)
    ),
    "execution.attempt_failed.v1.unmet": AttemptFailed(
        at=AT,
        task_id=TASK,
        attempt=SUCCESS,
        retry_at=AT + timedelta(seconds=4.25),
        unmet='the body does not contain "closed"',
    ),
    "execution.attempt_started.v1": AttemptStarted(
        at=AT, task_id=TASK, task_version=3, number=2, node="worker-2-91aa", lease_until=LEASE
    ),
    "execution.taken_over.v1": ExecutionTakenOver(
        at=AT,
        task_id=TASK,
        task_version=3,
        number=2,
        node="worker-2-91aa",
        lost_by="worker-1-5f2c",
        lease_until=LEASE,
    ),
    "execution.succeeded.v1": ExecutionSucceeded(at=AT, task_id=TASK, attempt=SUCCESS),
    "execution.failed.v1": ExecutionFailed(
        at=AT, task_id=TASK, attempt=CUT, reason="The last of 2 attempts was answered with 503."
    ),
    "execution.failed.v1.before-policies": ExecutionFailed(
        at=AT, task_id=TASK, attempt=CUT, reason="The last of 2 attempts was answered with 503."
    ),
    "execution.failed.v1.unknown-outcome": ExecutionFailed(
        at=AT, task_id=TASK, attempt=None, reason="The node was lost; whether it called is unknown."
    ),
    "execution.failed.v1.lapsed": ExecutionFailed(
        at=AT, task_id=TASK, attempt=None, reason="The next attempt would begin too late.", lapsed=True
    ),
    "execution.skipped.v1": ExecutionSkipped(
        at=AT,
        occurrence=OCCURRENCE,
        reason="The run before it goes on.",
        next_run_at=NEXT,
        by="overlap",
        behind=OTHER,
    ),
    "execution.skipped.v1.before-policies": ExecutionSkipped(
        at=AT, occurrence=OCCURRENCE, reason="Missed while no scheduler ran.", next_run_at=NEXT
    ),
    "execution.skipped.v1.before-triggers": ExecutionSkipped(
        at=AT, occurrence=OCCURRENCE, reason="Missed while no scheduler ran.", next_run_at=NEXT
    ),
    "execution.queued.v1": ExecutionQueued(
        at=AT,
        occurrence=DELAYED,
        behind=OTHER,
        next_run_at=NEXT,
        next_fire_at=NEXT + timedelta(seconds=2.5),
    ),
    "execution.requested.v1": ExecutionRequested(at=AT, occurrence=BY_HAND),
    "execution.cancelled.v1": ExecutionCancelled(
        at=AT, task_id=TASK, reason="cancelled by a user: it hangs", interrupted=True
    ),
    "execution.cancelled.v1.before-policies": ExecutionCancelled(
        at=AT, task_id=TASK, reason="cancelled by a user: it hangs", interrupted=True
    ),
    "execution.cancelled.v1.replaced": ExecutionCancelled(
        at=AT, task_id=TASK, reason="the next occurrence is due", interrupted=True, replaced_by=OTHER
    ),
    "execution.cancelled.v1.whole-attempts-only": ExecutionCancelled(
        at=AT, task_id=TASK, reason="The task was cancelled before the next attempt."
    ),
    "task.redacted.v1": TaskRedacted(at=AT),
    "events.redacted.v1": EventsRedacted(
        at=AT,
        task_id=TASK,
        rewritten=(
            Rewritten(17, TASK, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
            Rewritten(2**40, EXECUTION, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ),
    ),
    "idempotency.key_used.v1": IdempotencyKeyUsed(
        at=AT,
        key="order-4711/création",
        namespace="default",
        task_id=TASK,
        digest="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        execution_id=EXECUTION,
    ),
    "idempotency.key_used.v1.before-bulk": IdempotencyKeyUsed(
        at=AT,
        key="order-4711/création",
        namespace="default",
        task_id=TASK,
        digest="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        execution_id=EXECUTION,
    ),
    "idempotency.key_used.v1.bulk": IdempotencyKeyUsed(
        at=AT,
        key="order-4711/création",
        namespace="default",
        task_id=TASK,
        digest="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        task_ids=(TASK, None),
    ),
    "idempotency.key_used.v1.before-executions": IdempotencyKeyUsed(
        at=AT,
        key="order-4711/création",
        namespace="default",
        task_id=TASK,
        digest="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ),
}
REDACTED = {
    "task.created.v1.redacted": "task.created.v1.policies",
    "task.updated.v1.redacted": "task.updated.v1.same-trigger",
    "task.paused.v1.redacted": "task.paused.v1",
    "execution.attempt_failed.v1.redacted": "execution.attempt_failed.v1.unmet",
    "execution.succeeded.v1.redacted": "execution.succeeded.v1",
    "execution.failed.v1.redacted": "execution.failed.v1",
    "execution.cancelled.v1.redacted": "execution.cancelled.v1",
    "idempotency.key_used.v1.redacted": "idempotency.key_used.v1.bulk",
}
"""Files of redacted events, and those of what they were."""
STORED |= {name: erased(STORED[was]) for name, was in REDACTED.items()}
METAS = {"task.resumed.v1.with-reason": ASKED}
"""Of the files that do not hold `META`."""

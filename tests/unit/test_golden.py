"""Stored bytes of every version of every fact that ever landed: they are read for ever.

`golden/<topic>.json` is what this release writes. `golden/<topic>.<what>.json` is another shape of the same
version, which must stay readable: when a field is added, the present file keeps its bytes under such a name.
Bytes in these files never change; a file is one line, and its line break is not stored.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest
from msgspec.structs import replace

from application.ports import Meta
from domain.attempt import Answered, Attempt, Unanswered
from domain.definition import (
    Action,
    CatchUp,
    Cron,
    Definition,
    Interval,
    JsonCondition,
    OneOff,
    Overlap,
    RetryPolicy,
    SuccessPolicy,
)
from domain.facts import (
    AnyFact,
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    IdempotencyKeyUsed,
    Occurrence,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskFailuresCounted,
    TaskPaused,
    TaskResumed,
    TaskUpdated,
)
from domain.redaction import erased, original_digest
from domain.redaction_facts import EventsRedacted, Rewritten, TaskRedacted
from infrastructure.event_store.mapper import FACT_TYPES, decode, encode, encode_redacted

GOLDEN = Path(__file__).parents[1] / "golden"

TASK = UUID("0192f0c1-7a10-7c3e-9d2b-5f4a6b7c8d9e")
EXECUTION = UUID("8192f0c2-0d40-8a11-b2c3-d4e5f6a7b8c9")
META = Meta(
    actor="api",
    correlation_id="4bf92f3577b34da6a3ce929d0e0e4736",
    command_id=UUID("0192f0c1-7a0f-7d01-8e02-a1b2c3d4e5f6"),
)
ASKED = replace(
    META,
    actor="anonymous",
    address="2001:db8::17",
    reason='Umzug \N{EM DASH} "Ticket 4711" \\ Søren \N{ROCKET}',
)
DUE = datetime(2024, 11, 3, 8, 30, tzinfo=UTC)
AT = datetime(2024, 11, 3, 8, 29, 59, 987654, tzinfo=UTC)
LEASE = AT + timedelta(seconds=45)
NEXT = DUE + timedelta(days=1)

ONE_OFF = Definition(
    name="Rechnung an Søren \N{EURO SIGN} 1,50 \N{ROCKET}",
    trigger=OneOff(datetime=DUE, timezone="Europe/Copenhagen"),
    action=Action(
        method="POST",
        url="https://billing.example.com/invoices?dry=false&tag=%C3%A9",
        headers={"Authorization": "Bearer s3cr3t", "X-Trace": '"quoted" \\ and / slashed'},
        payload={
            "amount": 1.5,
            "lines": [1, -2, 3.25, True, None, ""],
            "big": 123456789012345678901234567890,
            "nested": {"a": {"b": []}},
            "control": "tab\tnewline\nnul\x00end",
        },
        timeout_seconds=12.5,
    ),
    retry=RetryPolicy(max_attempts=5, initial_delay_seconds=0.5, multiplier=3.0, max_delay_seconds=60.0),
)
NIGHTLY = Definition(
    name="nightly report",
    trigger=Cron(cron="30 8 * * mon-fri", timezone="America/New_York"),
    action=Action(method="GET", url="http://reports.internal:8080/run"),
)
HEARTBEAT = Definition(
    name="heartbeat",
    trigger=Interval(
        every_seconds=90,
        anchor=DUE,
        timezone="Europe/Copenhagen",
        start_at=DUE,
        end_at=DUE + timedelta(days=365),
        max_runs=1000,
        jitter_seconds=2.5,
    ),
    action=Action(method="HEAD", url="https://billing.example.com/alive"),
)
CAREFUL = Definition(
    name="careful",
    trigger=Cron(cron="*/5 * * * *", timezone="UTC"),
    action=Action(
        method="POST", url="https://ledger.example.com/close", connect_timeout_seconds=2.5, max_redirects=3
    ),
    retry=RetryPolicy(
        backoff="linear",
        jitter="full",
        max_elapsed_seconds=600.0,
        statuses=("404", "5xx"),
        final_statuses=("501",),
        max_retry_after_seconds=3600.0,
        on_gone="stop",
        disable_after_failures=5,
    ),
    success=SuccessPolicy(
        statuses=("200", "202"),
        body_contains="close\u00e9",
        json=JsonCondition(pointer="/state/0", equals={"done": True}),
    ),
    catch_up=CatchUp(mode="all", window_seconds=86_400, max_runs=12),
    overlap=Overlap(mode="queue_all", max_running=2, max_queued=20),
    delivery="at_most_once",
    priority=2,
)
OCCURRENCE = Occurrence(
    task_id=TASK, task_version=3, task_name="nightly report", namespace="default", due_at=DUE
)
DELAYED = Occurrence(
    task_id=TASK,
    task_version=3,
    task_name="heartbeat",
    namespace="default",
    due_at=DUE,
    fire_at=DUE + timedelta(seconds=1.75),
    run=8,
)
BY_HAND = replace(OCCURRENCE, kind="manual")
SUCCESS = Attempt(
    number=1,
    started_at=DUE + timedelta(microseconds=412),
    duration_ms=87,
    answer=Answered(
        status_code=200,
        headers={"content-type": "application/json", "set-cookie": "a=1, b=2"},
        body='{"ok":true,"name":"S\N{LATIN SMALL LETTER O WITH STROKE}ren"}\r\n',
    ),
)
CUT = Attempt(
    number=2,
    started_at=DUE,
    duration_ms=30_000,
    answer=Answered(status_code=503, headers={}, body="\N{REPLACEMENT CHARACTER}" * 3, truncated=True),
)
SILENCE = Attempt(
    number=3,
    started_at=DUE,
    duration_ms=5_003,
    answer=Unanswered(error="No connection to reports.internal:8080: connection refused."),
)

UNSENT = Attempt(
    number=1,
    started_at=DUE,
    duration_ms=3,
    answer=Unanswered(error="No connection to reports.internal:8080: connection refused.", sent=False),
)
OTHER = UUID("8192f0c2-0d40-8a11-b2c3-d4e5f6a7b8ca")

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
TOPICS = [fact_type.topic for fact_type in FACT_TYPES]


def stored_bytes(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes().removesuffix(b"\n")


def topic_of(name: str) -> str:
    return next(topic for topic in TOPICS if name == topic or name.startswith(f"{topic}."))


def test_every_file_is_expected_and_every_expected_file_is_there() -> None:
    assert sorted(path.name for path in GOLDEN.iterdir()) == sorted(f"{name}.json" for name in STORED)


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_has_its_file(topic: str) -> None:
    assert topic in STORED


@pytest.mark.parametrize("name", STORED)
def test_stored_bytes_are_read_as_the_fact_that_they_were(name: str) -> None:
    envelope = decode(topic_of(name), stored_bytes(name))
    assert (envelope.meta, envelope.fact) == (METAS.get(name, META), STORED[name])
    assert (original_digest(stored_bytes(name)) is not None) == (name in REDACTED)


@pytest.mark.parametrize("topic", TOPICS)
def test_this_release_writes_the_bytes_of_its_file(topic: str) -> None:
    assert encode(STORED[topic], META) == stored_bytes(topic)


@pytest.mark.parametrize(("name", "was"), REDACTED.items())
def test_this_release_redacts_what_was_stored_as_its_file_has_it(name: str, was: str) -> None:
    original = sha256(stored_bytes(was)).digest()
    assert encode_redacted(erased(STORED[was]), META, original) == stored_bytes(name)


@pytest.mark.parametrize("name", METAS)
def test_this_release_writes_the_meta_of_its_file(name: str) -> None:
    assert encode(STORED[name], METAS[name]) == stored_bytes(name)


@pytest.mark.parametrize("name", STORED)
def test_a_file_is_one_line(name: str) -> None:
    text = (GOLDEN / f"{name}.json").read_bytes()
    assert text.endswith(b"\n")
    assert text.count(b"\n") == 1

"""Any fact there may be, and who may have asked for it."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, cast

from hypothesis import strategies as st
from msgspec import UNSET

from application.ports import Meta
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
    Answered,
    Attempt,
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
    Fact,
    IdempotencyKeyUsed,
    Occurrence,
    Rewritten,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskFailuresCounted,
    TaskPaused,
    TaskRedacted,
    TaskResumed,
    TaskUpdated,
    Unanswered,
)

if TYPE_CHECKING:
    from domain.facts import AnyFact

TEXT = st.text() | st.sampled_from(["\x00", "\N{GRINNING FACE}", "\u2028", '"\\/', "e\u0301", "\U0010ffff"])
NUMBERS = st.integers() | st.integers(min_value=-(10**60), max_value=10**60)
REALS = st.floats(allow_nan=False, allow_infinity=False)
INSTANTS = st.datetimes(timezones=st.just(UTC))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | REALS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
HEADERS = st.dictionaries(TEXT, TEXT, max_size=3)
BOUNDS: dict[str, st.SearchStrategy[Any]] = {
    "timezone": TEXT,
    "start_at": st.none() | INSTANTS,
    "end_at": st.none() | INSTANTS,
    "max_runs": st.none() | NUMBERS,
    "jitter_seconds": REALS,
}
DEFINITIONS = st.builds(
    Definition,
    name=TEXT,
    trigger=st.builds(OneOff, datetime=INSTANTS, **BOUNDS)
    | st.builds(Cron, cron=TEXT, **BOUNDS)
    | st.builds(Interval, every_seconds=NUMBERS, anchor=INSTANTS, **BOUNDS),
    action=st.builds(
        Action,
        method=TEXT,
        url=TEXT,
        headers=HEADERS,
        payload=JSON,
        timeout_seconds=REALS,
        connect_timeout_seconds=st.none() | REALS,
        max_redirects=NUMBERS,
    ),
    retry=st.builds(
        RetryPolicy,
        max_attempts=NUMBERS,
        initial_delay_seconds=REALS,
        multiplier=REALS,
        max_delay_seconds=REALS,
        backoff=st.sampled_from(["fixed", "linear", "exponential"]),
        jitter=st.sampled_from(["none", "slight", "full"]),
        max_elapsed_seconds=st.none() | REALS,
        statuses=st.lists(TEXT).map(tuple),
        final_statuses=st.lists(TEXT).map(tuple),
        max_retry_after_seconds=REALS,
        on_gone=st.sampled_from(["fail", "stop"]),
        disable_after_failures=st.none() | NUMBERS,
    ),
    success=st.builds(
        SuccessPolicy,
        statuses=st.lists(TEXT).map(tuple),
        body_contains=st.none() | TEXT,
        json=st.none() | st.builds(JsonCondition, pointer=TEXT, equals=JSON),
    ),
    catch_up=st.builds(
        CatchUp,
        mode=st.sampled_from(["skip", "latest", "all"]),
        window_seconds=st.none() | NUMBERS,
        max_runs=st.none() | NUMBERS,
    ),
    overlap=st.builds(
        Overlap,
        mode=st.sampled_from(["allow", "skip", "queue_one", "queue_all", "cancel_running"]),
        max_running=st.none() | NUMBERS,
        max_queued=st.none() | NUMBERS,
    ),
    delivery=st.sampled_from(["at_least_once", "at_most_once"]),
    priority=NUMBERS,
)
OCCURRENCES = st.builds(
    Occurrence,
    task_id=st.uuids(),
    task_version=NUMBERS,
    task_name=TEXT,
    namespace=TEXT,
    due_at=INSTANTS,
    kind=st.sampled_from(["scheduled", "manual", "backfill"]),
    fire_at=st.none() | INSTANTS,
    run=NUMBERS,
)
ATTEMPTS = st.builds(
    Attempt,
    number=NUMBERS,
    started_at=INSTANTS,
    duration_ms=NUMBERS,
    answer=st.builds(Answered, status_code=NUMBERS, headers=HEADERS, body=TEXT, truncated=st.booleans())
    | st.builds(Unanswered, error=TEXT, retryable=st.booleans(), sent=st.booleans()),
)
NEXT = {"next_run_at": st.none() | INSTANTS, "next_fire_at": st.none() | INSTANTS}
LEASES = {"node": TEXT, "lease_until": INSTANTS}
FIELDS: dict[type[Fact], dict[str, st.SearchStrategy[Any]]] = {
    TaskCreated: {"namespace": TEXT, "definition": DEFINITIONS, "next_run_at": INSTANTS},
    TaskUpdated: {
        "definition": DEFINITIONS,
        "next_run_at": st.none() | INSTANTS,
        "runs": NUMBERS,
        "rolled_back_to": st.just(UNSET) | NUMBERS,
    },
    TaskPaused: {"note": st.none() | TEXT},
    TaskResumed: {},
    TaskCancelled: {"reason": st.none() | TEXT},
    TaskFailuresCounted: {"failures": NUMBERS, "execution_id": st.uuids()},
    TaskCompleted: {"outcome": st.sampled_from(["succeeded", "failed"]), "execution_id": st.uuids()},
    ExecutionStarted: {"occurrence": OCCURRENCES, **NEXT, **LEASES},
    AttemptFailed: {
        "task_id": st.uuids(),
        "attempt": ATTEMPTS,
        "retry_at": INSTANTS,
        "unmet": st.none() | TEXT,
    },
    AttemptStarted: {"task_id": st.uuids(), "task_version": NUMBERS, "number": NUMBERS, **LEASES},
    ExecutionTakenOver: {
        "task_id": st.uuids(),
        "task_version": NUMBERS,
        "number": NUMBERS,
        "lost_by": TEXT,
        **LEASES,
    },
    ExecutionSucceeded: {"task_id": st.uuids(), "attempt": ATTEMPTS},
    ExecutionFailed: {
        "task_id": st.uuids(),
        "attempt": st.none() | ATTEMPTS,
        "reason": TEXT,
        "lapsed": st.booleans(),
        "unmet": st.none() | TEXT,
    },
    ExecutionSkipped: {
        "occurrence": OCCURRENCES,
        "reason": TEXT,
        "by": st.sampled_from([None, "catch_up", "pause", "overlap", "change"]),
        "behind": st.none() | st.uuids(),
        **NEXT,
    },
    ExecutionQueued: {"occurrence": OCCURRENCES, "behind": st.uuids(), **NEXT},
    ExecutionRequested: {"occurrence": OCCURRENCES},
    ExecutionCancelled: {
        "task_id": st.uuids(),
        "reason": TEXT,
        "interrupted": st.booleans(),
        "replaced_by": st.none() | st.uuids(),
    },
    IdempotencyKeyUsed: {
        "key": TEXT,
        "namespace": TEXT,
        "task_id": st.uuids(),
        "digest": TEXT,
        "execution_id": st.none() | st.uuids(),
        "task_ids": st.lists(st.none() | st.uuids(), max_size=3).map(tuple),
    },
    TaskRedacted: {},
    EventsRedacted: {
        "task_id": st.uuids(),
        "rewritten": st.lists(
            st.builds(Rewritten, st.integers(min_value=1), st.uuids(), TEXT), max_size=3
        ).map(tuple),
    },
}
FACTS = st.one_of(*(st.builds(fact_type, at=INSTANTS, **fields) for fact_type, fields in FIELDS.items())).map(
    lambda fact: cast("AnyFact", fact)
)
MAYBE = st.none() | TEXT
METAS = st.builds(Meta, actor=TEXT, correlation_id=TEXT, command_id=st.uuids(), address=MAYBE, reason=MAYBE)

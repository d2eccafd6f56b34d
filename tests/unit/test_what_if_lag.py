"""Claims whose scheduler had not heard of the latest: what they rested on, by what they came to."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from application.what_if.question import Downtimes
from application.what_if.record import Lag, Record, Step, Told, Verdict, lag_of, verdict_of
from application.what_if.simulation import Simulation
from application.what_if.state import Key, State
from domain import overlap
from domain import task as tasks
from domain.definition import Interval, Overlap
from domain.facts import (
    Attempt,
    ExecutionCancelled,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    Occurrence,
    TaskCompleted,
    TaskUpdated,
)
from domain.identity import execution_id
from domain.overlap import ConcurrencyState
from tests.support.given import NOON, answered, definition
from tests.support.what_if import SECOND, USUAL

if TYPE_CHECKING:
    from domain.facts import AnyFact

TASK = UUID(int=1 << 100)
A, B, C, D = (UUID(int=number) for number in range(1, 5))
OCCURRENCE = Occurrence(task_id=TASK, task_version=1, task_name="report", namespace="default", due_at=NOON)
STARTED = ExecutionStarted(at=NOON, occurrence=OCCURRENCE, node="node-1", lease_until=NOON, next_run_at=None)
QUEUED = ExecutionQueued(at=NOON, occurrence=OCCURRENCE, behind=A, next_run_at=None)
REPLACED = ExecutionCancelled(at=NOON, task_id=TASK, reason="the next one was due", replaced_by=C)
MISSED = ExecutionSkipped(at=NOON, occurrence=OCCURRENCE, reason="", next_run_at=None, by="catch_up")
IN_THE_WAY = ExecutionSkipped(
    at=NOON, occurrence=OCCURRENCE, reason="full", next_run_at=None, by="overlap", behind=A
)
ENDED = TaskCompleted(at=NOON, outcome="failed", execution_id=C)
PASSED_OVER = TaskUpdated(at=NOON, definition=definition(), next_run_at=NOON)
NOTHING_OPEN, A_RUNS, A_WAITS, BOTH_RUN = (
    ConcurrencyState(),
    ConcurrencyState((A,)),
    ConcurrencyState((), (A,)),
    ConcurrencyState((A, B)),
)

skip, queue, replace, two = (
    definition(trigger=Interval(every_seconds=10, anchor=NOON), overlap=policy)
    for policy in (
        Overlap(mode="skip"),
        Overlap(mode="queue_all", max_queued=2),
        Overlap(mode="cancel_running"),
        Overlap(mode="cancel_running", max_running=2),
    )
)


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ([(A, MISSED), (C, STARTED)], Verdict("start")),
        ([(A, REPLACED), (B, REPLACED), (C, STARTED)], Verdict("replace", replaced=frozenset({A, B}))),
        ([(C, QUEUED)], Verdict("queue", A)),
        ([(C, IN_THE_WAY)], Verdict("skip", A, reason="full")),
        ([(C, IN_THE_WAY), (TASK, ENDED)], Verdict("skip", A, reason="full")),
        ([(C, MISSED)], None),
        ([(TASK, ENDED)], None),
        ([(TASK, PASSED_OVER)], None),
    ],
)
def test_the_facts_of_a_claim_tell_its_verdict(
    claim: list[tuple[UUID, AnyFact]], verdict: Verdict | None
) -> None:
    assert verdict_of(claim) == verdict


def test_what_follows_from_the_log_has_no_lag() -> None:
    assert lag_of(Verdict("start"), skip, NOTHING_OPEN, [A_RUNS]) is None
    assert lag_of(Verdict("skip", A), skip, A_RUNS, [NOTHING_OPEN]) is None
    assert lag_of(Verdict("queue", A), queue, A_RUNS, []) is None
    assert lag_of(Verdict("replace", replaced=frozenset({A})), replace, A_RUNS, []) is None


def test_what_was_in_the_way_has_ended_meanwhile() -> None:
    assert lag_of(Verdict("skip", A), skip, NOTHING_OPEN, [NOTHING_OPEN, A_RUNS]) == Lag(NOTHING_OPEN, A_RUNS)


def test_what_was_in_the_way_need_not_be_told_by_facts_of_before_it_was() -> None:
    assert lag_of(Verdict("skip"), skip, NOTHING_OPEN, [A_RUNS]) == Lag(NOTHING_OPEN, A_RUNS)


def test_what_waited_has_moved_up_meanwhile() -> None:
    full, moved = ConcurrencyState((), (A, B)), ConcurrencyState((A,), (B,))
    assert lag_of(Verdict("skip", A), queue, moved, [moved, full]) == Lag(moved, full)


def test_what_would_have_had_room_was_to_be_replaced_when_another_one_still_ran() -> None:
    verdict = Verdict("replace", replaced=frozenset({A}))
    assert lag_of(verdict, two, A_RUNS, [A_RUNS, BOTH_RUN]) == Lag(A_RUNS, BOTH_RUN)


def test_what_has_begun_since_was_heard_of() -> None:
    log, earlier = ConcurrencyState((B,), (C,)), ConcurrencyState((A, B))
    lag = lag_of(Verdict("queue", A), queue, log, [log, earlier])
    assert lag == Lag(log, ConcurrencyState((A, B), (C,)))


def test_of_what_explains_a_claim_its_reason_decides() -> None:
    once, twice = ConcurrencyState((), (A, B)), ConcurrencyState((D,), (A, B))
    reason = overlap.why_skipped(queue, once)
    log = ConcurrencyState((A,), (B,))
    assert lag_of(Verdict("skip", reason=reason), queue, log, [twice, once]) == Lag(log, once)
    assert lag_of(Verdict("skip", reason="in other words"), queue, log, [twice, once]) == Lag(log, twice)


def test_what_nothing_explains_is_taken_as_the_log_has_it() -> None:
    assert lag_of(Verdict("skip", C), skip, NOTHING_OPEN, [A_RUNS]) is None
    assert lag_of(Verdict("skip", A, reason="in other words"), skip, A_RUNS, []) is None


def test_a_claim_lags_where_the_same_goes_on_and_nowhere_else() -> None:
    lag = Lag(NOTHING_OPEN, A_RUNS)
    assert lag.of(NOTHING_OPEN) == A_RUNS
    assert lag.of(A_WAITS) == A_WAITS


@pytest.mark.parametrize(
    ("lag", "last"), [(True, "ExecutionSkipped"), (False, "ExecutionStarted")], ids=["unheard", "heard"]
)
def test_what_has_ended_right_before_a_claim_is_in_its_way_if_nobody_had_heard_of_it(
    lag: bool, last: str
) -> None:
    trigger, first, second = Interval(every_seconds=10, anchor=NOON), NOON + 10 * SECOND, NOON + 20 * SECOND
    policy = definition(trigger=trigger, overlap=Overlap(mode="skip"))
    start = State.of(tasks.begin(TASK, tasks.create("default", policy, NOON)), Key(NOON, 1))
    record, run = Record(start=start, until=second + SECOND), execution_id(TASK, first, "scheduled")
    attempt = Attempt(number=1, started_at=first, duration_ms=10_000, answer=answered())
    record.attempts[run, 1] = [Told(begun=first, end=Step(Key(second, 4), second), attempt=attempt)]
    heard = Lag(NOTHING_OPEN, ConcurrencyState((run,))) if lag else None
    record.steps["look", second, second] = [Step(Key(second, 5), second, heard)]
    again = Simulation(record, lambda same: same, USUAL, Downtimes())
    for _ in again.steps(NOON):
        pass
    assert [type(fact).__name__ for _, _, fact in again.facts] == [
        "ExecutionStarted",
        "ExecutionSucceeded",
        last,
    ]

"""The fold behind `statistics`: what some facts add."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import pytest
from msgspec.structs import replace

from application.ports import NewFact
from domain.facts import ExecutionFailed, ExecutionQueued, ExecutionStarted, TaskPaused, TaskResumed
from projections.projection import PoisonEvent
from projections.statistics import DURATION_BOUNDS, LATENESS_BOUNDS, Tally, fold
from tests.support.entries import (
    NOON,
    RUN,
    TASK,
    after,
    answered,
    attempt,
    attempt_failed,
    attempt_started,
    created,
    execution_cancelled,
    failed,
    log,
    occurrence,
    requested,
    skipped,
    started,
    succeeded,
    taken_over,
    unanswered,
    undecodable,
)

type Totals = dict[tuple[str, str], int]

OK = attempt(1, answered())
SUCCEEDED: Totals = {("executions", "succeeded"): 1, ("attempts", "succeeded"): 1}
TOOK_12_MS: Totals = {("duration", "0.025"): 1, ("duration", "sum_us"): 12_000}
QUEUED = NewFact(
    RUN, 1, ExecutionQueued(at=NOON, occurrence=occurrence(), behind=UUID(int=3), next_run_at=None)
)
# Ten minutes later, and called 200 ms after that.
FROM_QUEUE = NewFact(
    RUN,
    2,
    ExecutionStarted(
        at=after(600), occurrence=occurrence(), node="node-1", lease_until=after(660), next_run_at=None
    ),
)
FROM_QUEUE_ENDED = succeeded(3, attempt(1, answered(), started_at=after(600.2)))
LAPSED = ExecutionFailed(at=after(99), task_id=TASK, attempt=None, reason="too late", lapsed=True)


def jittered(seconds: float) -> NewFact:
    new = started()
    assert isinstance(new.fact, ExecutionStarted)
    fire_at = after(seconds)
    return NewFact(RUN, 1, replace(new.fact, occurrence=replace(new.fact.occurrence, fire_at=fire_at)))


def called(seconds: float, version: int = 2) -> NewFact:
    return succeeded(version, attempt(1, answered(), started_at=after(seconds)))


def late(bound: str, microseconds: int) -> Totals:
    return {("lateness", bound): 1, ("lateness", "sum_us"): microseconds}


RULES: dict[str, tuple[list[NewFact], Totals]] = {
    "a success counts with its duration and lateness": (
        [started(), called(0.0034)],
        SUCCEEDED | TOOK_12_MS | late("0.005", 3_400),
    ),
    "lateness is that of the first attempt alone": (
        [
            *(started(), attempt_failed(2, attempt(1, answered(503), started_at=after(0.5)))),
            *(attempt_started(3, 2), succeeded(4, attempt(2, answered(), started_at=after(31)))),
        ],
        SUCCEEDED | {("attempts", "failed"): 1} | TOOK_12_MS | late("0.5", 500_000),
    ),
    "a jittered call is late from its own instant on": (
        [jittered(20), called(20.5)],
        SUCCEEDED | TOOK_12_MS | late("0.5", 500_000),
    ),
    "a call before its time is not late": (
        [started(), called(-0.2)],
        SUCCEEDED | TOOK_12_MS | late("0.001", 0),
    ),
    "a lost first attempt says nothing about lateness": (
        [started(), taken_over(2, 2), succeeded(3, attempt(2, answered()))],
        SUCCEEDED | {("attempts", "lost"): 1} | TOOK_12_MS,
    ),
    "a failure without an answer counts a lost attempt and no duration": (
        [started(), failed(2, None)],
        {("executions", "failed"): 1, ("attempts", "lost"): 1},
    ),
    "a failure counts its last attempt": (
        [started(), failed(2, attempt(1, unanswered(), duration_ms=300_001))],
        {("executions", "failed"): 1, ("attempts", "failed"): 1}
        | {("duration", "+Inf"): 1, ("duration", "sum_us"): 300_001_000}
        | late("1.0", 1_000_000),
    ),
    "what lapsed made no attempt that could be lost": (
        [started(), attempt_failed(2, attempt(1, unanswered())), NewFact(RUN, 3, LAPSED)],
        {("executions", "failed"): 1, ("attempts", "failed"): 1} | late("1.0", 1_000_000),
    ),
    "what was skipped counts no attempt": ([started(), skipped(version=2)], {("executions", "skipped"): 1}),
    "what was cancelled counts no attempt": (
        [started(), execution_cancelled(2)],
        {("executions", "cancelled"): 1},
    ),
    "a backfill is not late": ([started(kind="backfill"), called(1)], SUCCEEDED | TOOK_12_MS),
    "a manual run counts like any other": (
        [requested(), started(kind="manual", version=2), called(1, version=3)],
        SUCCEEDED | TOOK_12_MS | late("1.0", 1_000_000),
    ),
    "waiting in the queue is not lateness, but waiting for a worker is": (
        [QUEUED, FROM_QUEUE, FROM_QUEUE_ENDED],
        SUCCEEDED | TOOK_12_MS | late("0.25", 200_000),
    ),
}


@pytest.mark.parametrize(("facts", "totals"), RULES.values(), ids=RULES)
def test_facts_add_up_however_they_are_cut_into_batches(facts: list[NewFact], totals: Totals) -> None:
    whole = fold({}, log(*facts))
    assert (whole.totals, whole.opened, whole.closed) == (totals, {}, set())
    opened: dict[UUID, datetime] = {}
    summed = Tally()
    for entry in log(*facts):
        tally = fold(opened, [entry])
        summed.totals.update(tally.totals)
        opened = {run: due for run, due in opened.items() if run not in tally.closed} | tally.opened
    assert (summed.totals, opened) == (totals, {})


@pytest.mark.parametrize("made", [OK, None])
def test_only_what_ran_to_its_end_counts_in_its_minute(made: object) -> None:
    ended = called(59) if made else failed(2, None)
    assert fold({}, log(started(), ended)).minutes == {NOON: 1}
    assert not fold({}, log(started(), skipped(version=2), execution_cancelled(3))).minutes


@pytest.mark.parametrize(
    ("known", "facts", "closed", "opened"),
    [
        ({}, [started()], set(), {RUN: NOON}),
        ({}, [QUEUED], set(), {RUN: NOON}),
        ({RUN: NOON}, [FROM_QUEUE], {RUN}, {RUN: after(600)}),
        ({RUN: NOON}, [attempt_failed(2, OK)], {RUN}, {}),
        ({RUN: NOON}, [skipped(version=2), started(version=3)], {RUN}, {RUN: NOON}),
        ({RUN: NOON}, [execution_cancelled(2)], {RUN}, {}),
        ({}, [created(), requested()], set(), {}),
        ({}, [NewFact(TASK, 2, TaskPaused(at=NOON)), NewFact(TASK, 3, TaskResumed(at=NOON))], set(), {}),
    ],
)
def test_an_execution_is_remembered_until_its_first_attempt_is_over(
    known: dict[UUID, datetime], facts: list[NewFact], closed: set[UUID], opened: dict[UUID, datetime]
) -> None:
    tally = fold(known, log(*facts))
    assert (tally.closed, tally.opened) == (closed, opened)


@pytest.mark.parametrize("bound", LATENESS_BOUNDS)
def test_a_bound_belongs_to_its_own_bucket(bound: float) -> None:
    beyond = [*LATENESS_BOUNDS, "+Inf"][LATENESS_BOUNDS.index(bound) + 1]
    assert fold({}, log(started(), called(bound))).totals["lateness", str(bound)] == 1
    assert fold({}, log(started(), called(bound + 0.000_001))).totals["lateness", str(beyond)] == 1


def test_so_do_the_bounds_of_durations() -> None:
    for bound in DURATION_BOUNDS:
        made = attempt(1, answered(), duration_ms=round(bound * 1_000))
        assert fold({}, log(started(), succeeded(2, made))).totals["duration", str(bound)] == 1


def test_an_event_that_cannot_be_read_is_poison() -> None:
    with pytest.raises(PoisonEvent, match="a later release wrote it"):
        fold({}, [undecodable(RUN)])

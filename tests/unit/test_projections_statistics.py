"""The fold behind `statistics`."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace

from application.ports import NewFact, Recorded, Undecodable
from domain.facts import ExecutionStarted
from projections.projection import PoisonEvent
from projections.statistics import DURATION, LATENESS, LATENESS_BOUNDS, SUM, Histogram, Tally, fold
from tests.support.entries import (
    META,
    NOON,
    RUN,
    after,
    answered,
    attempt,
    attempt_failed,
    attempt_started,
    created,
    execution_cancelled,
    failed,
    log,
    skipped,
    started,
    succeeded,
    taken_over,
    unanswered,
)


def tally(*facts: NewFact) -> Tally:
    return fold({}, log(*facts))


def bucket(histogram: Histogram, microseconds: int) -> tuple[str, str]:
    """Where an observation counts."""
    totals: Counter[tuple[str, str]] = Counter()
    histogram.add(totals, [microseconds])
    assert totals.pop((histogram.metric, SUM)) == microseconds
    [(place, count)] = totals.items()
    assert count == 1
    return place


def test_a_success_counts_with_its_duration_lateness_and_minute() -> None:
    made = attempt(1, answered(), started_at=after(0.0034), duration_ms=5)
    counted = tally(started(), succeeded(2, made))
    assert counted.totals == {
        ("executions", "succeeded"): 1,
        ("attempts", "succeeded"): 1,
        ("duration", "0.005"): 1,
        ("duration", "sum_us"): 5_000,
        ("lateness", "0.005"): 1,
        ("lateness", "sum_us"): 3_400,
    }
    assert counted.minutes == {NOON: 1}
    assert (counted.opened, counted.closed) == ({}, set())


def test_lateness_is_that_of_the_first_attempt_alone() -> None:
    counted = tally(
        started(),
        attempt_failed(2, attempt(1, answered(503), started_at=after(0.5))),
        attempt_started(3, 2),
        succeeded(4, attempt(2, answered(), started_at=after(31))),
    )
    assert counted.totals["lateness", "0.5"] == 1
    assert counted.totals["lateness", "sum_us"] == 500_000
    assert (counted.totals["attempts", "failed"], counted.totals["attempts", "succeeded"]) == (1, 1)


def test_a_jittered_call_is_late_from_its_own_instant_on() -> None:
    new = started()
    assert isinstance(new.fact, ExecutionStarted)
    fact = replace(new.fact, occurrence=replace(new.fact.occurrence, fire_at=after(20)))
    made = attempt(1, answered(), started_at=after(20.5))
    assert tally(NewFact(new.stream, 1, fact), succeeded(2, made)).totals["lateness", "sum_us"] == 500_000


def test_a_call_before_its_time_is_not_late() -> None:
    counted = tally(started(), succeeded(2, attempt(1, answered(), started_at=after(-0.2))))
    assert (counted.totals["lateness", "0.001"], counted.totals["lateness", "sum_us"]) == (1, 0)


def test_an_execution_whose_first_attempt_is_under_way_is_remembered() -> None:
    assert tally(started()).opened == {RUN: NOON}


def test_what_an_earlier_batch_remembered_is_settled_once() -> None:
    counted = fold({RUN: NOON}, log(attempt_failed(2, attempt(1, answered(503), started_at=after(1)))))
    assert counted.closed == {RUN}
    assert counted.totals["lateness", "1.0"] == 1


def test_an_occurrence_that_is_dropped_and_started_again_is_open_again() -> None:
    again = fold({RUN: NOON}, log(skipped(version=2), started(version=3)))
    assert (again.closed, again.opened) == ({RUN}, {RUN: NOON})
    over = fold(
        {RUN: NOON}, log(skipped(version=2), started(version=3), succeeded(4, attempt(1, answered())))
    )
    assert (over.closed, over.opened, over.totals["lateness", "1.0"]) == ({RUN}, {}, 1)


def test_a_lost_first_attempt_says_nothing_about_lateness() -> None:
    counted = tally(started(), taken_over(2, 2), succeeded(3, attempt(2, answered())))
    assert counted.totals["attempts", "lost"] == 1
    assert not any(metric == "lateness" for metric, _ in counted.totals)


def test_a_failure_without_an_answer_counts_a_lost_attempt_and_no_duration() -> None:
    counted = tally(started(), failed(2, None))
    assert counted.totals == {("executions", "failed"): 1, ("attempts", "lost"): 1}
    assert counted.minutes == {NOON: 1}


def test_a_failure_counts_its_last_attempt() -> None:
    counted = tally(started(), failed(2, attempt(1, unanswered(), duration_ms=300_001)))
    assert counted.totals["attempts", "failed"] == 1
    assert counted.totals["duration", "+Inf"] == 1


@pytest.mark.parametrize(
    ("ending", "outcome"), [(skipped(version=2), "skipped"), (execution_cancelled(2), "cancelled")]
)
def test_what_did_not_run_to_its_end_counts_in_no_minute(ending: NewFact, outcome: str) -> None:
    counted = tally(started(), ending)
    assert counted.totals == {("executions", outcome): 1}
    assert not counted.minutes


def test_a_backfill_is_not_late() -> None:
    counted = tally(started(kind="backfill"), succeeded(2, attempt(1, answered())))
    assert not any(metric == "lateness" for metric, _ in counted.totals)


@pytest.mark.parametrize(
    ("microseconds", "label"),
    [(0, "0.001"), (1_000, "0.001"), (1_001, "0.0025"), (60_000_000, "60.0"), (60_000_001, "+Inf")],
)
def test_a_bound_belongs_to_its_bucket(microseconds: int, label: str) -> None:
    assert bucket(LATENESS, microseconds) == ("lateness", label)


def test_every_bound_falls_into_its_own_bucket() -> None:
    assert [bucket(LATENESS, round(bound * 1_000_000))[1] for bound in LATENESS_BOUNDS] == [
        str(bound) for bound in LATENESS_BOUNDS
    ]
    assert bucket(DURATION, 300_000_000) == ("duration", "300.0")


def test_tasks_are_not_executions() -> None:
    assert tally(created()) == Tally()


def test_an_event_that_cannot_be_read_is_poison() -> None:
    fact = Undecodable(topic="execution.paused.v9", error="a later release wrote it")
    entry = Recorded(position=7, stream=RUN, version=2, fact=fact, meta=META, recorded_at=NOON)
    with pytest.raises(PoisonEvent, match="a later release wrote it"):
        fold({}, [entry])

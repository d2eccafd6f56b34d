"""What is claimed of a task that is due, and what is skipped."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.claiming import MAX_SKIPPED, Claim, Claimant, Due, claim
from domain.definition import Interval
from domain.facts import ExecutionStarted
from domain.identity import execution_id
from domain.schedule import fires_at
from tests.support.given import MINUTE, NOON, TASK, after, definition, occurrence

LEASE = timedelta(seconds=60)
DAY = timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)


def due(due_at: datetime = NOON, runs: int = 0, **words: Any) -> Due:
    known = definition(**words)
    return Due(task_id=TASK, version=1, namespace="default", definition=known, due_at=due_at, runs=runs)


def claimed(due: Due, now: datetime) -> Claim:
    return claim(due, Claimant("node-1", LEASE), now)


def start(plan: Claim) -> ExecutionStarted:
    assert plan.begun is not None
    assert isinstance(plan.begun[1], ExecutionStarted)
    return plan.begun[1]


def test_an_occurrence_is_claimed_with_the_place_of_the_next_one() -> None:
    plan = claimed(due(), NOON)
    assert plan.skipped == ()
    assert plan.next_run_at == after(60)
    assert plan.begun == (
        execution_id(TASK, NOON, "scheduled"),
        ExecutionStarted(
            at=NOON,
            occurrence=occurrence(NOON, run=1),
            node="node-1",
            lease_until=after(10 + 60),  # the call's own timeout, and the lease beyond it
            next_run_at=after(60),
        ),
    )


def test_an_occurrence_is_claimed_ahead_with_a_lease_from_its_instant() -> None:
    plan = claimed(due(), after(-0.02))
    assert start(plan).at == after(-0.02)
    assert start(plan).lease_until == after(70)


def test_a_late_claim_has_a_lease_from_now() -> None:
    plan = claimed(due(at=NOON), after(3600))
    assert start(plan).lease_until == after(3670)


def test_an_overdue_one_off_runs_and_has_no_next_place() -> None:
    plan = claimed(due(at=NOON), NOON + 30 * DAY)
    assert (start(plan).occurrence.due_at, plan.skipped, plan.next_run_at) == (NOON, (), None)


def test_only_the_latest_missed_occurrence_runs() -> None:
    plan = claimed(due(), after(150))
    assert start(plan).occurrence.due_at == after(120)
    assert [fact.occurrence.due_at for _, fact in plan.skipped] == [NOON, after(60)]
    assert plan.next_run_at == after(180)


def test_an_occurrence_is_missed_once_the_next_one_is_due() -> None:
    assert len(claimed(due(), after(59.999)).skipped) == 0
    assert len(claimed(due(), after(60)).skipped) == 1


def test_a_missed_occurrence_is_skipped_with_its_reason_and_the_place_after_it() -> None:
    _, skip = claimed(due(), after(60)).skipped[0]
    assert skip.reason == "missed: not started before the next occurrence was due (2030-01-01T12:01:00+00:00)"
    assert skip.next_run_at == after(60)


def test_many_missed_occurrences_are_recorded_in_portions() -> None:
    now = NOON + (MAX_SKIPPED + 2) * MINUTE
    first = claimed(due(), now)
    assert (len(first.skipped), first.begun) == (MAX_SKIPPED, None)
    assert first.next_run_at == NOON + MAX_SKIPPED * MINUTE
    rest = claimed(due(first.next_run_at), now)
    assert (len(rest.skipped), start(rest).occurrence.due_at) == (2, now)


def test_facts_come_oldest_first_each_in_a_stream_of_its_own() -> None:
    facts = claimed(due(), after(120)).facts()
    places = [fact.occurrence.due_at for _, fact in facts]
    assert places == [NOON, after(60), after(120)]
    assert [stream for stream, _ in facts] == [execution_id(TASK, at, "scheduled") for at in places]


def ten_seconds(**bounds: Any) -> Interval:
    return Interval(every_seconds=10, anchor=NOON, **bounds)


def test_a_start_counts_as_a_run_and_a_skip_does_not() -> None:
    plan = claimed(due(runs=4), after(60))
    assert [fact.occurrence.run for _, fact in plan.facts()] == [4, 5]
    assert plan.runs == 5


def test_the_last_run_has_no_next_place() -> None:
    trigger = ten_seconds(max_runs=2)
    assert claimed(due(trigger=trigger, runs=0), NOON).next_run_at == after(10)
    assert claimed(due(trigger=trigger, runs=1), NOON).next_run_at is None


def test_what_was_missed_before_the_last_run_is_skipped_all_the_same() -> None:
    plan = claimed(due(trigger=ten_seconds(max_runs=1)), after(35))
    assert (len(plan.skipped), plan.next_run_at) == (3, None)


def test_the_last_occurrence_up_to_end_at_has_no_next_place() -> None:
    trigger = ten_seconds(end_at=after(15))
    assert claimed(due(trigger=trigger), NOON).next_run_at == after(10)
    assert claimed(due(after(10), trigger=trigger), after(10)).next_run_at is None


def test_a_jittered_call_has_its_instant_and_that_of_the_next_in_the_claim() -> None:
    trigger = ten_seconds(jitter_seconds=10)
    plan = claimed(due(trigger=trigger), NOON)
    fact = start(plan)
    assert fact.occurrence.fire_at == fires_at(trigger, TASK, NOON) > NOON
    assert fact.next_fire_at == fires_at(trigger, TASK, after(10)) > after(10)
    assert (fact.occurrence.due_at, fact.next_run_at) == (NOON, after(10))
    assert fact.lease_until == fact.occurrence.fire_at + timedelta(seconds=10 + 60)


def test_a_jittered_occurrence_is_missed_once_the_call_of_the_next_is_to_be_sent() -> None:
    trigger = ten_seconds(jitter_seconds=10)
    sent = fires_at(trigger, TASK, after(10))
    assert claimed(due(trigger=trigger), sent - MILLISECOND).skipped == ()
    assert len(claimed(due(trigger=trigger), sent).skipped) == 1


@settings(deadline=None)
@given(minutes=st.integers(0, 3 * MAX_SKIPPED), late=st.timedeltas(timedelta(), MINUTE))
def test_a_downtime_of_any_length_leaves_no_occurrence_unaccounted(minutes: int, late: timedelta) -> None:
    now, place, seen = NOON + minutes * MINUTE + late, NOON, list[datetime]()
    while place <= now:
        plan = claimed(due(place), now)
        seen += [fact.occurrence.due_at for _, fact in plan.facts()]
        assert plan.next_run_at is not None
        assert plan.next_run_at > place
        place = plan.next_run_at
        if plan.begun is not None:
            assert start(plan).occurrence.due_at == seen[-1]
    assert seen == [NOON + index * MINUTE for index in range(len(seen))]
    assert place == seen[-1] + MINUTE > now

"""What is claimed of a task that is due, and what is skipped."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain import execution as executions
from domain.claiming import MAX_SKIPPED, Claim, Due, claim
from domain.facts import ExecutionStarted
from domain.identity import execution_id
from tests.support.given import MINUTE, NOON, TASK, after, definition, occurrence

LEASE = timedelta(seconds=60)
DAY = timedelta(days=1)


def due(due_at: datetime = NOON, **words: Any) -> Due:
    return Due(task_id=TASK, version=1, namespace="default", definition=definition(**words), due_at=due_at)


def claimed(due: Due, now: datetime) -> Claim:
    return claim(due, "node-1", LEASE, now)


def test_an_occurrence_is_claimed_with_the_place_of_the_next_one() -> None:
    plan = claimed(due(), NOON)
    assert plan.skipped == ()
    assert plan.next_run_at == after(60)
    assert plan.started == (
        execution_id(TASK, NOON, "scheduled"),
        ExecutionStarted(
            at=NOON,
            occurrence=occurrence(NOON),
            node="node-1",
            lease_until=after(10 + 60),  # the call's own timeout, and the lease beyond it
            next_run_at=after(60),
        ),
    )


def test_an_occurrence_is_claimed_ahead_with_a_lease_from_its_instant() -> None:
    plan = claimed(due(), after(-0.02))
    assert plan.started is not None
    assert plan.started[1].at == after(-0.02)
    assert plan.started[1].lease_until == after(70)


def test_a_late_claim_has_a_lease_from_now() -> None:
    plan = claimed(due(at=NOON), after(3600))
    assert plan.started is not None
    assert plan.started[1].lease_until == after(3670)


def test_an_overdue_one_off_runs_and_has_no_next_place() -> None:
    plan = claimed(due(at=NOON), NOON + 30 * DAY)
    assert plan.started is not None
    assert (plan.started[1].occurrence.due_at, plan.skipped, plan.next_run_at) == (NOON, (), None)


def test_only_the_latest_missed_occurrence_runs() -> None:
    plan = claimed(due(), after(150))
    assert plan.started is not None
    assert plan.started[1].occurrence.due_at == after(120)
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
    assert (len(first.skipped), first.started) == (MAX_SKIPPED, None)
    assert first.next_run_at == NOON + MAX_SKIPPED * MINUTE
    rest = claimed(due(first.next_run_at), now)
    assert rest.started is not None
    assert (len(rest.skipped), rest.started[1].occurrence.due_at) == (2, now)


def test_facts_come_oldest_first_each_in_a_stream_of_its_own() -> None:
    facts = claimed(due(), after(120)).facts()
    places = [fact.occurrence.due_at for _, fact in facts]
    assert places == [NOON, after(60), after(120)]
    assert [stream for stream, _ in facts] == [execution_id(TASK, at, "scheduled") for at in places]


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
        if plan.started is not None:
            assert executions.start(*plan.started).occurrence.due_at == seen[-1]
    assert seen == [NOON + index * MINUTE for index in range(len(seen))]
    assert place == seen[-1] + MINUTE > now

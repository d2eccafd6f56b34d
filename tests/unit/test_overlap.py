"""What becomes of an occurrence while others of its task go on: the overlap policy."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain import overlap
from domain.claiming import MAX_SKIPPED, Claim, Claimant, Due, claim
from domain.definition import CatchUp, Definition, OneOff, Overlap
from domain.execution import Execution
from domain.facts import ExecutionFact, ExecutionQueued, ExecutionSkipped, ExecutionStarted, OccurrenceKind
from domain.identity import execution_id
from domain.overlap import ConcurrencyState
from domain.task import Scheduled, ends_with
from tests.support.given import (
    MINUTE,
    NOON,
    RUN,
    TASK,
    after,
    definition,
    every,
    failed,
    failed_attempt,
    given_execution,
    occurrence,
    queued,
    skipped,
    started,
    succeeded,
)

A, B, C, D = (UUID(int=number) for number in range(10, 14))
NEW = execution_id(TASK, NOON, "scheduled")


def claimed(
    policy: Overlap, open_runs: ConcurrencyState, *, late: float = 0, runs: int = 0, **words: Any
) -> Claim:
    """The claim of a task that stands at noon."""
    known = definition(overlap=policy, **words)
    due = Due(task_id=TASK, version=1, namespace="default", definition=known, due_at=NOON, runs=runs)
    return claim(due, Claimant("node-1", timedelta(seconds=60)), after(late), open_runs)


def course(policy: Overlap, open_runs: ConcurrencyState) -> str:
    """What the claim comes to."""
    plan = claimed(policy, open_runs)
    if plan.begun is None:
        return "skip"
    if isinstance(plan.begun[1], ExecutionQueued):
        return "queue"
    return "replace" if plan.replaced else "start"


ONE, FULL = ConcurrencyState((A,)), ConcurrencyState((A, B))
WAITING = ConcurrencyState((A,), (B,))


@pytest.mark.parametrize(
    ("policy", "open_runs", "expected"),
    [
        (Overlap(), ConcurrencyState((A, B, C), (D,)), "start"),
        (Overlap(mode="skip"), ConcurrencyState(), "start"),
        (Overlap(mode="skip"), ONE, "skip"),
        (Overlap(mode="skip", max_running=2), ONE, "start"),
        (Overlap(mode="skip", max_running=2), FULL, "skip"),
        (Overlap(mode="skip"), ConcurrencyState((), (A,)), "skip"),
        (Overlap(mode="queue_one"), ONE, "queue"),
        (Overlap(mode="queue_one"), WAITING, "skip"),
        (Overlap(mode="queue_one", max_running=2), ONE, "start"),
        (Overlap(mode="queue_all"), ConcurrencyState((), (A,)), "queue"),
        (Overlap(mode="queue_all", max_queued=2), WAITING, "queue"),
        (Overlap(mode="queue_all", max_queued=1), WAITING, "skip"),
        (Overlap(mode="queue_all"), ConcurrencyState((A,), (B,) * 99), "queue"),
        (Overlap(mode="queue_all"), ConcurrencyState((A,), (B,) * 100), "skip"),
        (Overlap(mode="cancel_running"), ConcurrencyState(), "start"),
        (Overlap(mode="cancel_running"), ONE, "replace"),
        (Overlap(mode="cancel_running", max_running=2), ONE, "start"),
        (Overlap(mode="cancel_running", max_running=2), FULL, "replace"),
    ],
)
def test_each_mode_has_its_course(policy: Overlap, open_runs: ConcurrencyState, expected: str) -> None:
    assert course(policy, open_runs) == expected


def test_a_one_off_overlaps_nothing() -> None:
    assert claimed(Overlap(mode="skip"), ONE, at=NOON).begun is not None


def test_a_start_beside_others_is_no_contest_while_there_is_room() -> None:
    assert not claimed(Overlap(mode="skip", max_running=2), ONE).needs_overlap_check
    assert not claimed(Overlap(), FULL).needs_overlap_check
    assert claimed(Overlap(mode="skip"), ONE).needs_overlap_check


def test_a_skipped_one_names_the_oldest_run_and_counts_as_none() -> None:
    plan = claimed(Overlap(mode="skip", max_running=2), FULL, runs=7)
    expected = ExecutionSkipped(
        at=NOON,
        occurrence=occurrence(NOON, run=7),
        reason="overlap: 2 earlier runs were still going on",
        next_run_at=after(60),
        by="overlap",
        behind=A,
    )
    assert plan.skipped == ((NEW, expected),)
    assert (plan.runs, plan.next_run_at, plan.end) == (7, after(60), None)


@pytest.mark.parametrize(
    ("open_runs", "reason"),
    [
        (ONE, "overlap: an earlier run was still going on"),
        (WAITING, "overlap: another occurrence was waiting already while an earlier run was still going on"),
        (ConcurrencyState((), (A, B)), "overlap: 2 other occurrences were waiting already"),
    ],
)
def test_the_reason_says_what_was_in_the_way(open_runs: ConcurrencyState, reason: str) -> None:
    assert overlap.why_skipped(definition(), open_runs) == reason


def test_a_queued_one_stands_behind_the_oldest_run_and_counts() -> None:
    plan = claimed(Overlap(mode="queue_all"), WAITING, trigger=every(60, max_runs=3), runs=2)
    expected = ExecutionQueued(at=NOON, occurrence=occurrence(NOON, run=3), behind=A, next_run_at=None)
    assert plan.begun == (NEW, expected)
    assert (plan.runs, plan.next_run_at, plan.end) == (3, None, None)


def test_a_jittered_one_is_queued_with_the_instant_of_the_next_call() -> None:
    plan = claimed(Overlap(mode="queue_one"), ONE, trigger=every(60, jitter_seconds=60), late=60)
    assert plan.begun is not None
    fact = plan.begun[1]
    assert fact.occurrence.fire_at is not None
    assert fact.next_fire_at is not None
    assert after(60) < fact.next_fire_at < after(120)


@pytest.mark.parametrize(
    ("most", "open_runs", "ended"),
    [
        (1, ONE, (A,)),
        (1, FULL, (A, B)),
        (2, FULL, (A,)),
        (2, WAITING, (B,)),
        (1, ConcurrencyState((), (A,)), (A,)),
    ],
)
def test_the_oldest_give_way_and_all_that_wait(
    most: int, open_runs: ConcurrencyState, ended: tuple[UUID, ...]
) -> None:
    plan = claimed(Overlap(mode="cancel_running", max_running=most), open_runs)
    assert plan.replaced == ended
    assert plan.begun is not None
    assert isinstance(plan.begun[1], ExecutionStarted)


def test_who_gives_way_says_for_whom_and_whether_a_call_may_be_under_way() -> None:
    running = given_execution(started()).state
    waiting = given_execution(started(), failed_attempt()).state
    wanted = given_execution(queued()).state
    facts = [overlap.give_way(each, NEW, after(60)) for each in (running, waiting, wanted)]
    assert [fact.interrupted for fact in facts] == [True, False, False]
    assert {(fact.task_id, fact.replaced_by, fact.at) for fact in facts} == {(TASK, NEW, after(60))}
    assert {fact.reason for fact in facts} == {
        "the next occurrence was due, and overlap.mode is cancel_running"
    }


def test_what_was_missed_is_skipped_along_with_what_overlaps() -> None:
    plan = claimed(Overlap(mode="skip"), ONE, late=70)
    assert [fact.by for _, fact in plan.skipped] == ["catch_up", "overlap"]


def test_everything_that_is_caught_up_is_queued_one_after_the_other() -> None:
    plan = claimed(Overlap(mode="queue_all"), ONE, catch_up=CatchUp(mode="all"), late=150)
    assert plan.begun is not None
    assert (plan.begun[1].occurrence.due_at, plan.next_run_at) == (NOON, after(60))


def test_what_finds_no_place_in_a_full_queue_is_skipped_in_portions() -> None:
    full = Overlap(mode="queue_all", max_queued=1)
    plan = claimed(full, WAITING, catch_up=CatchUp(mode="all"), late=150)
    assert [fact.occurrence.due_at for _, fact in plan.skipped] == [NOON, after(60), after(120)]
    assert plan.next_run_at == after(180)
    plan = claimed(full, WAITING, catch_up=CatchUp(mode="all"), late=60 * (MAX_SKIPPED + 5))
    assert (len(plan.skipped), plan.next_run_at) == (MAX_SKIPPED, NOON + MAX_SKIPPED * MINUTE)


def test_a_task_whose_last_occurrence_overlaps_ends_by_it_and_has_succeeded() -> None:
    plan = claimed(Overlap(mode="skip"), ConcurrencyState((RUN,)), trigger=every(60, end_at=NOON))
    assert plan.end is not None
    assert (plan.end.outcome, plan.end.execution_id) == ("succeeded", NEW)


def test_what_users_have_had_run_is_left_out_of_what_is_appended() -> None:
    replacing = claimed(Overlap(mode="cancel_running"), ConcurrencyState((RUN,)))
    rest = replacing.without({NEW: had("backfill")}, standing(definition()), placed(definition()))
    assert (rest.facts(), rest.replaced, rest.next_run_at, rest.end) == ([], (), NOON + MINUTE, None)


def standing(known: Definition, runs: int = 0) -> Due:
    return Due(task_id=TASK, version=1, namespace="default", definition=known, due_at=NOON, runs=runs)


def placed(known: Definition, at: datetime = NOON, version: int = 1) -> Scheduled:
    """The task, put at an instant by its version."""
    return Scheduled(
        id=TASK,
        namespace="default",
        definition=known,
        version=version,
        created_at=NOON,
        updated_at=NOON,
        placed_at=at,
        placed_in=version,
    )


def had(kind: OccurrenceKind, *more: ExecutionFact) -> Execution:
    """The execution of noon, claimed in turn or not."""
    claim_of_noon = replace(started(), occurrence=occurrence(kind=kind))
    return given_execution(claim_of_noon, *more).state


LAST = every(60, end_at=NOON)


@pytest.mark.parametrize("policy", [Overlap(), Overlap(mode="skip")])
@pytest.mark.parametrize(
    ("last", "runs", "outcome"),
    [
        (had("backfill"), 0, "succeeded"),
        (had("backfill", succeeded()), 0, "succeeded"),
        (had("backfill", failed()), 0, "failed"),
        (had("backfill", failed()), 3, "failed"),
        (had("backfill", skipped()), 0, "failed"),
        (had("backfill", skipped()), 3, "succeeded"),
        (had("scheduled", succeeded()), 0, "succeeded"),
        (had("scheduled", failed()), 3, "failed"),
    ],
)
def test_a_schedule_ends_where_its_last_occurrence_was_run_before_its_turn(
    policy: Overlap, last: Execution, runs: int, outcome: str
) -> None:
    ending = claimed(policy, ConcurrencyState((RUN,)), trigger=LAST, runs=runs)
    known = definition(trigger=LAST)
    rest = ending.without({NEW: last}, standing(known, runs), placed(known))
    assert (rest.facts(), rest.next_run_at) == ([], None)
    assert rest.end is not None
    assert (rest.end.outcome, rest.end.execution_id) == (outcome, NEW)


@pytest.mark.parametrize("policy", [Overlap(), Overlap(mode="skip")])
def test_a_last_occurrence_that_was_claimed_in_turn_and_goes_on_ends_its_schedule_itself(
    policy: Overlap,
) -> None:
    ending = claimed(policy, ConcurrencyState((RUN,)), trigger=LAST)
    known = definition(trigger=LAST)
    rest = ending.without({NEW: had("scheduled")}, standing(known), placed(known))
    assert (rest.facts(), rest.end, rest.next_run_at) == ([], None, None)


def test_a_backfill_that_goes_on_and_is_all_there_is_ends_its_task_itself() -> None:
    once = OneOff(datetime=NOON)
    known = definition(trigger=once)
    rest = claimed(Overlap(), ConcurrencyState(), trigger=once).without(
        {NEW: had("backfill")}, standing(known), placed(known)
    )
    assert (rest.facts(), rest.end, rest.next_run_at) == ([], None, None)


def test_the_end_of_a_schedule_stays_when_something_before_its_last_occurrence_was_run_out_of_turn() -> None:
    trigger = every(60, end_at=after(60))
    ending = claimed(Overlap(mode="skip"), ConcurrencyState((RUN,)), late=61, trigger=trigger)
    known = definition(trigger=trigger)
    rest = ending.without({NEW: had("backfill")}, standing(known), placed(known))
    assert [fact.occurrence.due_at for _, fact in rest.facts()] == [after(60)]
    assert rest.end == ending.end is not None


def test_a_run_of_an_earlier_schedule_does_not_end_one_that_it_is_the_last_instant_of() -> None:
    known = definition(trigger=every(60, end_at=NOON))
    task = placed(known, NOON - MINUTE, version=2)  # the clock was set back before the update
    assert not ends_with(task, occurrence())
    ending = claimed(Overlap(), ConcurrencyState(), trigger=known.trigger)
    rest = ending.without({NEW: had("scheduled")}, standing(known), task)
    assert (rest.facts(), rest.next_run_at) == ([], None)
    assert rest.end is not None
    assert (rest.end.outcome, rest.end.execution_id) == ("succeeded", NEW)

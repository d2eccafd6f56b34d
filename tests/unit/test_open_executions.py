"""What a node knows of what goes on: as of a position of the log, and what it has done or read besides."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from msgspec.structs import replace

from application.ports import Open, Recorded
from application.scheduler.index import Entry, OpenExecutions
from domain import execution as executions
from domain.definition import Overlap
from domain.facts import ExecutionCancelled, ExecutionRequested, TaskResumed
from domain.overlap import NOTHING_OPEN, ConcurrencyState
from tests.support.entries import META
from tests.support.given import (
    NOON,
    TASK,
    after,
    definition,
    failed,
    failed_attempt,
    occurrence,
    queued,
    skipped,
    started,
    succeeded,
)

if TYPE_CHECKING:
    from domain.execution import Execution
    from domain.facts import AnyFact, ExecutionFact

A, B, C = (UUID(int=number) for number in (10, 11, 12))
BROKEN_OFF = ExecutionCancelled(at=NOON, task_id=TASK, reason="cancelled by a user")


def told(position: int, stream: UUID, fact: AnyFact, version: int = 1) -> Recorded:
    return Recorded(position=position, stream=stream, version=version, fact=fact, meta=META, recorded_at=NOON)


def following(*events: Recorded) -> OpenExecutions:
    open_executions = OpenExecutions()
    for event in events:
        open_executions.follow(event)
    return open_executions


def state(stream: UUID, first: executions.FirstFact, *later: ExecutionFact) -> Execution:
    execution = executions.begin(stream, first)
    for fact in later:
        execution = executions.evolve(execution, fact)
    return execution


def test_what_is_started_goes_on_and_what_is_queued_waits_in_the_order_of_the_log() -> None:
    open_executions = following(
        told(1, A, started()), told(2, B, started()), told(3, C, queued()), told(4, B, failed_attempt(), 2)
    )
    assert open_executions.open_runs(TASK) == ConcurrencyState((A, B), (C,))
    assert open_executions.position == 4


@pytest.mark.parametrize("end", [succeeded(), failed(), skipped(), BROKEN_OFF])
def test_what_is_over_goes_on_no_longer(end: AnyFact) -> None:
    open_executions = following(told(1, A, started()), told(2, B, queued()), told(3, A, end, 2))
    assert open_executions.open_runs(TASK) == ConcurrencyState((), (B,))
    open_executions.follow(told(4, B, end, 2))
    assert open_executions.open_runs(TASK) == NOTHING_OPEN
    open_executions.follow(told(5, C, end, 2))  # which nobody knew
    assert open_executions.open_runs(TASK) == NOTHING_OPEN


def test_what_starts_out_of_a_queue_waits_no_longer() -> None:
    open_executions = following(told(1, A, queued()), told(2, A, started(), 2))
    assert open_executions.open_runs(TASK) == ConcurrencyState((A,), ())


def test_what_users_run_out_of_turn_does_not_count() -> None:
    manual = replace(started(), occurrence=occurrence(kind="manual"))
    request = ExecutionRequested(at=NOON, occurrence=occurrence(kind="manual"))
    open_executions = following(told(1, A, request), told(2, A, manual, 2))
    open_executions.begun(9, A, 2, manual)
    assert open_executions.open_runs(TASK) == NOTHING_OPEN


def test_what_went_on_at_the_beginning_is_followed_from_there() -> None:
    open_executions = OpenExecutions()
    looked_at: list[UUID] = []
    open_executions.tell(looked_at.append)
    open_executions.seed(
        7, [Open(TASK, A, queued=False), Open(TASK, B, queued=True), Open(C, C, queued=False)]
    )
    assert (open_executions.position, open_executions.open_runs(TASK)) == (7, ConcurrencyState((A,), (B,)))
    assert looked_at == [TASK]
    open_executions.follow(told(8, A, succeeded(), 2))
    assert open_executions.open_runs(TASK) == ConcurrencyState((), (B,))


def test_ones_own_claim_and_its_end_are_known_before_they_are_followed() -> None:
    open_executions = OpenExecutions()
    open_executions.begun(1, A, 1, started())
    assert open_executions.open_runs(TASK) == ConcurrencyState((A,))
    open_executions.ended(TASK, A, 2)
    for event in (told(1, A, started()), told(2, A, succeeded(), 2)):
        assert open_executions.open_runs(TASK) == NOTHING_OPEN
        open_executions.follow(event)
    assert open_executions.open_runs(TASK) == NOTHING_OPEN


def test_ones_own_claim_that_was_followed_before_its_answer_came_changes_nothing() -> None:
    open_executions = following(told(1, A, started()), told(2, A, BROKEN_OFF, 2))
    open_executions.begun(1, A, 1, started())
    assert open_executions.open_runs(TASK) == NOTHING_OPEN


def test_ones_own_claim_of_what_was_dropped_before_outlasts_the_following_of_that() -> None:
    open_executions = following(told(1, A, started()))
    open_executions.begun(3, A, 3, started())
    open_executions.follow(told(2, A, skipped(), 2))
    assert open_executions.open_runs(TASK) == ConcurrencyState((A,))
    open_executions.follow(told(3, A, started(), 3))
    open_executions.follow(told(4, A, succeeded(), 4))
    assert open_executions.open_runs(TASK) == NOTHING_OPEN


def test_what_the_log_shows_to_be_over_goes_on_no_longer() -> None:
    open_executions = following(told(1, A, started()), told(2, B, queued()))
    open_executions.learn(state(A, started(), succeeded()))
    assert open_executions.open_runs(TASK) == ConcurrencyState((), (B,))
    open_executions.learn(state(B, queued(), started()))
    assert open_executions.open_runs(TASK) == ConcurrencyState((B,), ())
    open_executions.follow(told(3, B, started(), 2))
    assert open_executions.open_runs(TASK) == ConcurrencyState((B,), ())


def test_what_the_log_shows_as_it_is_known_changes_nothing() -> None:
    open_executions = following(told(1, A, started()), told(2, B, queued()))
    open_executions.learn(state(A, started()))
    open_executions.learn(state(B, queued()))
    open_executions.learn(state(C, started()))
    assert open_executions.open_runs(TASK) == ConcurrencyState((A,), (B,))


def test_an_older_reading_does_not_end_what_was_begun_anew() -> None:
    open_executions = following(told(1, A, started()), told(2, A, skipped(), 2), told(3, A, started(), 3))
    open_executions.learn(state(A, started(), skipped()))
    assert open_executions.open_runs(TASK) == ConcurrencyState((A,))


@pytest.mark.parametrize("first", [queued(), started()], ids=["queued", "started"])
def test_what_a_user_has_run_out_of_turn_since_is_in_nobodys_way(first: executions.FirstFact) -> None:
    open_executions = following(told(1, A, first), told(2, B, queued()))
    request = ExecutionRequested(at=NOON, occurrence=occurrence(kind="backfill"))
    open_executions.learn(state(A, first, BROKEN_OFF, request))
    assert open_executions.open_runs(TASK) == ConcurrencyState((), (B,))
    backfill = replace(started(), occurrence=occurrence(kind="backfill"))
    later: list[ExecutionFact] = [BROKEN_OFF, request, backfill, succeeded()]
    for version, fact in enumerate(later, start=2):
        open_executions.follow(told(version + 1, A, fact, version))
        assert open_executions.open_runs(TASK) == ConcurrencyState((), (B,))


def test_what_was_dropped_and_waits_anew_does_not_wait_for_itself() -> None:
    open_executions = following(told(1, A, started()))
    open_executions.begun(3, A, 3, queued())
    assert open_executions.open_runs(TASK) == ConcurrencyState((), (A,))
    open_executions.follow(told(2, A, skipped(), 2))
    open_executions.follow(told(3, A, queued(), 3))
    assert open_executions.open_runs(TASK) == ConcurrencyState((), (A,))


def test_ones_own_queueing_has_the_queue_looked_at_when_it_is_the_first() -> None:
    open_executions = following(told(1, A, started()))
    looked_at: list[UUID] = []
    open_executions.tell(looked_at.append)
    open_executions.begun(3, B, 1, queued())
    open_executions.begun(4, C, 1, queued())
    assert looked_at == [TASK]


def looks(*events: Recorded) -> list[UUID]:
    """Which tasks are looked at for the last of these."""
    *before, last = events
    open_executions = following(*before)
    looked_at: list[UUID] = []
    open_executions.tell(looked_at.append)
    open_executions.follow(last)
    return looked_at


QUEUE = (told(1, A, started()), told(2, B, queued()))


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (told(3, A, succeeded(), 2), [TASK]),
        (told(3, B, BROKEN_OFF, 2), []),
        (told(3, C, queued()), []),
        (told(3, C, started()), []),
        (told(3, A, failed_attempt(), 2), []),
        (told(3, TASK, TaskResumed(at=NOON), 3), [TASK]),
        (told(3, C, TaskResumed(at=NOON), 3), []),
    ],
    ids=["an end", "its own end", "another queued", "another start", "a retry", "a change", "another task"],
)
def test_a_queue_is_looked_at_when_its_first_may_start(event: Recorded, expected: list[UUID]) -> None:
    assert looks(*QUEUE, event) == expected


def test_a_queue_that_nothing_runs_before_is_looked_at_whatever_happens() -> None:
    assert looks(told(1, A, queued())) == [TASK]
    assert looks(told(1, A, queued()), told(2, B, queued())) == [TASK]
    assert looks(told(1, A, queued()), told(2, B, skipped())) == [TASK]


def test_ones_own_end_has_the_queue_looked_at() -> None:
    open_executions = following(*QUEUE)
    looked_at: list[UUID] = []
    open_executions.tell(looked_at.append)
    open_executions.ended(TASK, A, 2)
    open_executions.ended(TASK, A, 2)
    assert looked_at == [TASK]


@pytest.mark.parametrize(
    ("mode", "learnt_at", "covered"), [("skip", 5, True), ("skip", 6, False), ("allow", 6, True)]
)
def test_a_place_counts_when_all_before_it_is_known_or_does_not_matter(
    mode: str, learnt_at: int, covered: bool
) -> None:
    open_executions = OpenExecutions()
    open_executions.seed(5, [])
    policy = Overlap(mode="skip") if mode == "skip" else Overlap()
    entry = Entry(TASK, 1, "default", definition(overlap=policy), after(5))
    entry.learnt_at = learnt_at
    assert open_executions.covers(entry) is covered

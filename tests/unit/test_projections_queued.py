"""What the statistics say of occurrences that waited in the queue of their task."""

from __future__ import annotations

from uuid import UUID

from application.ports import NewFact
from domain.facts import ExecutionQueued, ExecutionStarted
from projections.statistics import Tally, fold
from tests.support.entries import (
    NOON,
    RUN,
    after,
    answered,
    attempt,
    execution_cancelled,
    log,
    occurrence,
    succeeded,
)

BEHIND = UUID(int=3)


def queued(version: int = 1) -> NewFact:
    fact = ExecutionQueued(at=NOON, occurrence=occurrence(), behind=BEHIND, next_run_at=None)
    return NewFact(RUN, version, fact)


def started_from_queue(version: int = 2) -> NewFact:
    """Ten minutes later."""
    fact = ExecutionStarted(
        at=after(600), occurrence=occurrence(), node="node-1", lease_until=after(660), next_run_at=None
    )
    return NewFact(RUN, version, fact)


def ended(version: int = 3) -> NewFact:
    return succeeded(version, attempt(1, answered(), started_at=after(600.2)))


def lateness(tally: Tally) -> int:
    return tally.totals["lateness", "sum_us"]


def test_waiting_in_the_queue_is_not_lateness_but_waiting_for_a_worker_is() -> None:
    assert lateness(fold({}, log(queued(), started_from_queue(), ended()))) == 200_000


def test_it_makes_no_difference_where_a_batch_ends() -> None:
    whole = fold({}, log(queued(), started_from_queue(), ended()))
    first = fold({}, log(queued()))
    assert first.opened == {RUN: NOON}
    second = fold(first.opened, log(started_from_queue()))
    assert (second.closed, second.opened) == ({RUN}, {RUN: after(600)})
    third = fold(second.opened, log(ended()))
    assert (third.closed, third.opened) == ({RUN}, {})
    rest = fold(first.opened, log(started_from_queue(), ended()))
    assert (rest.closed, rest.opened) == ({RUN}, {})
    assert lateness(third) == lateness(rest) == lateness(whole)


def test_what_is_cancelled_in_the_queue_is_awaited_no_more_and_was_not_late() -> None:
    tally = fold({RUN: NOON}, log(execution_cancelled(2)))
    assert tally.closed == {RUN}
    assert tally.totals == {("executions", "cancelled"): 1}

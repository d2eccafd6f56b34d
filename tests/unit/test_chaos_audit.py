"""The audit of the chaos suite finds each fault in a log that has it, and none in one that has none."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec.structs import replace

from application.ports import NewFact
from domain.definition import RetryPolicy
from domain.facts import TaskCompleted, TaskCreated, TaskFailuresCounted
from domain.identity import execution_id
from tests.e2e.audit import Books
from tests.e2e.deliveries import Deliveries
from tests.e2e.faults import faults
from tests.e2e.workload import Accepted, Planned
from tests.support import entries
from tests.support.entries import NOON, RUN, TASK, answered, attempt
from tests.support.misbehaviour import Call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.e2e.workload import Fate

PATH = "/ok?chaos=x.1."
EXECUTION = execution_id(TASK, NOON, "scheduled")
WHOLE = (
    entries.created(),
    entries.started(),
    entries.succeeded(2, attempt(1, answered())),
    entries.completed("succeeded"),
)


def test_books_that_are_whole_have_no_fault() -> None:
    assert found(WHOLE, [call()]) == set()


def test_an_occurrence_without_a_fact_is_lost() -> None:
    assert found((WHOLE[0], WHOLE[3]), []) == {"lost", "not run though it had to"}


def test_an_occurrence_that_goes_on_is_lost() -> None:
    assert found((*WHOLE[:2], WHOLE[3]), [call()]) == {"lost", "not run though it had to"}


def test_an_execution_at_another_instant_is_of_no_occurrence() -> None:
    other = execution_id(TASK, NOON + timedelta(seconds=1), "scheduled")
    assert found((*WHOLE, entries.started(stream=other)), [call()]) == {"executions of no occurrence"}


def test_a_second_start_is_a_second_claim() -> None:
    assert found((*WHOLE, entries.started(version=3)), [call()]) >= {"claimed twice"}


def test_an_attempt_that_two_schedulers_claim_is_claimed_twice() -> None:
    renewed = entries.attempt_started(2, 1)
    over = entries.succeeded(3, attempt(1, answered()))
    assert found((*WHOLE[:2], renewed, over, WHOLE[3]), [call()]) == {"claimed twice"}


def test_a_claim_that_its_own_scheduler_renews_is_no_second_one() -> None:
    taken, renewed = entries.taken_over(2, 2), entries.attempt_started(3, 2)
    over = entries.succeeded(4, attempt(2, answered()))
    assert found((*WHOLE[:2], taken, renewed, over, WHOLE[3]), [call(2)]) == set()


def test_an_occurrence_that_must_run_may_not_be_skipped_and_every_skip_has_a_cause() -> None:
    log = (WHOLE[0], entries.skipped(), WHOLE[3])
    assert found(log, []) == {"not run though it had to", "skipped without a cause"}
    assert found(log, [], fate="is accounted for") == {"skipped without a cause"}


def test_a_task_that_is_not_over_has_no_end() -> None:
    assert found(WHOLE[:3], [call()]) == {"tasks without an end"}


def test_a_retry_is_a_second_delivery_which_at_most_once_forbids() -> None:
    log = (
        *WHOLE[:2],
        entries.attempt_failed(2, attempt(1, answered(503))),
        entries.attempt_started(3, 2),
        entries.succeeded(4, attempt(2, answered())),
        WHOLE[3],
    )
    assert found(log, [call(), call(2)]) == set()
    assert found(log, [call(), call(2)], delivery="at_most_once") == {"at-most-once delivered twice"}


def test_an_attempt_may_arrive_once_and_only_when_it_was_claimed() -> None:
    assert found(WHOLE, [call(), call()]) == {"attempts sent twice"}
    assert found(WHOLE, [call(), call(2)]) == {"attempts sent without a claim"}


def test_a_call_under_the_name_of_another_occurrence_is_under_a_foreign_key() -> None:
    faulty = {"calls under a foreign Idempotency-Key", "attempts sent without a claim"}
    assert found(WHOLE, [call(), call(key=RUN)]) == faulty


def test_an_answer_to_a_call_that_never_arrived_was_made_up() -> None:
    assert found(WHOLE, []) == {"answers recorded of calls that never arrived"}


def test_what_arrives_after_the_next_attempt_was_claimed_was_sent_by_a_frozen_scheduler() -> None:
    log = (*WHOLE[:2], entries.taken_over(2, 2), entries.succeeded(3, attempt(2, answered())), WHOLE[3])
    kept = books(log)
    assert Deliveries(kept, [call(at=NOON - timedelta(seconds=1)), call(2)]).outdated() == []
    late = Deliveries(kept, [call(2), call(at=NOON + timedelta(seconds=1))])
    assert late.outdated() == [(str(EXECUTION), 1)]
    assert late.repeats() == {"taken over": 1}


def test_each_failure_in_a_row_is_counted_once_and_the_last_end_completes_the_task_instead() -> None:
    assert miscounted([(1, 1), (2, 2), (3, 0)], [404, 404, 200, 404]) == []
    assert miscounted([], [200, 200]) == []
    assert miscounted([(1, 1)], [404, 404, 200]) == [TASK]
    assert miscounted([(1, 1), (1, 1)], [404, 200]) == [TASK]
    assert miscounted([(1, 1), (2, 3)], [404, 404, 200]) == [TASK]
    assert miscounted([(1, 1), (2, 2)], [404, 404]) == [TASK]


def miscounted(counts: Sequence[tuple[int, int]], ends: Sequence[int]) -> list[UUID]:
    """Of a task whose executions, named by their numbers, ended like this; `counts` are in its own stream."""
    created = entries.created()
    assert isinstance(created.fact, TaskCreated)
    watched = replace(created.fact.definition, retry=RetryPolicy(disable_after_failures=9))
    log = [replace(created, fact=replace(created.fact, definition=watched))]
    for number, status in enumerate(ends, start=1):
        made = attempt(1, answered(status))
        over = entries.succeeded(2, made) if status == 200 else entries.failed(2, made)
        log += [entries.started(stream=run(number)), replace(over, stream=run(number))]
    for version, (number, failures) in enumerate(counts, start=2):
        counted = TaskFailuresCounted(at=NOON, failures=failures, execution_id=run(number))
        log.append(NewFact(TASK, version, counted))
    completed = TaskCompleted(at=NOON, outcome="succeeded", execution_id=run(len(ends)))
    log.append(NewFact(TASK, len(counts) + 2, completed))
    return Books([], entries.log(*log)).miscounted()


def run(number: int) -> UUID:
    """The name of an execution."""
    return UUID(int=1_000 + number)


def found(log: Sequence[NewFact], calls: Sequence[Call], **planned: Any) -> set[str]:
    """The names of the faults that have cases."""
    kept = books(log, **planned)
    return {name for name, cases in faults(kept, Deliveries(kept, calls)).items() if cases}


def books(log: Sequence[NewFact], *, delivery: str = "at_least_once", fate: Fate = "runs") -> Books:
    """Books of one task with one occurrence, at noon."""
    planned = Planned(body={"delivery": delivery}, path=PATH, due=(NOON,), fate=fate)
    ours = [replace(new, stream=EXECUTION) if new.stream == RUN else new for new in log]
    return Books([Accepted(TASK, planned)], entries.log(*ours))


def call(number: int = 1, *, key: UUID = EXECUTION, at: datetime = NOON) -> Call:
    """An attempt as it arrives."""
    headers = {"idempotency-key": str(key), "x-chronoledger-attempt": str(number)}
    return Call(method="GET", path=PATH, headers=headers, body="", at=at.timestamp(), connection=1)

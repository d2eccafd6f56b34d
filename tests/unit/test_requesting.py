"""Single executions: run now, run what was not, break off; and what becomes of a queued occurrence."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain import execution as executions
from domain import requesting
from domain import requesting as queueing
from domain import task as tasks
from domain.definition import OneOff, Overlap
from domain.errors import ExecutionAlreadyOver, TaskAlreadyOver, VersionMismatch
from domain.execution import Execution, Requested
from domain.facts import (
    ExecutionCancelled,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    OccurrenceKind,
    TaskCancelled,
    TaskPaused,
    TaskResumed,
)
from domain.overlap import ConcurrencyState
from domain.requesting import Period
from domain.task import Pause, Paused, Scheduled, Task
from tests.support.decisions import cancel, complete, update
from tests.support.given import (
    MINUTE,
    NOON,
    RUN,
    TASK,
    after,
    cancelled,
    completed,
    created,
    definition,
    every,
    failed,
    failed_attempt,
    given,
    given_execution,
    lease,
    occurrence,
    queued,
    skipped,
    started,
    succeeded,
    updated,
)


def paused() -> TaskPaused:
    return TaskPaused(at=after(10), note="moving")


def resumed() -> TaskResumed:
    return TaskResumed(at=after(20))


def wanted(kind: OccurrenceKind = "manual") -> ExecutionRequested:
    return ExecutionRequested(at=NOON, occurrence=occurrence(kind=kind))


def user_cancelled() -> ExecutionCancelled:
    return ExecutionCancelled(at=NOON, task_id=TASK, reason="cancelled by a user")


def pause(task: Task, note: str | None, if_match: int | None = None) -> TaskPaused | None:
    return tasks.pause(task, note, after(10), if_match)


def resume(task: Task, if_match: int | None = None) -> TaskResumed | None:
    return tasks.resume(task, after(20), if_match)


def test_a_scheduled_task_is_paused_with_a_note() -> None:
    given(created()).when(lambda task: pause(task, "moving")).decides(TaskPaused(at=after(10), note="moving"))


def test_pausing_twice_and_resuming_twice_change_nothing() -> None:
    given(created(), paused()).when(lambda task: pause(task, None)).decides_nothing()
    given(created()).when(resume).decides_nothing()


def test_a_paused_task_is_resumed() -> None:
    given(created(), paused()).when(resume).decides(TaskResumed(at=after(20)))


@pytest.mark.parametrize("end", [cancelled(), completed()])
def test_a_task_that_is_over_is_neither_paused_nor_resumed(end: TaskCancelled) -> None:
    over = given(created(), end)
    over.when(lambda task: pause(task, None)).refused(TaskAlreadyOver)
    over.when(resume).refused(TaskAlreadyOver)


def test_a_version_that_the_user_has_not_seen_is_refused() -> None:
    given(created()).when(lambda task: pause(task, None, 2)).refused(VersionMismatch)
    given(created(), paused()).when(lambda task: resume(task, 1)).refused(VersionMismatch)
    given(created()).when(lambda task: requesting.trigger(task, NOON, 2)).refused(VersionMismatch)


def test_a_pause_keeps_the_place_and_a_resumed_task_remembers_it() -> None:
    task = given(created(), paused()).state
    assert isinstance(task, Paused)
    assert (task.placed_at, task.placed_in, task.since, task.note) == (after(60), 1, after(10), "moving")
    back = given(created(), paused(), resumed()).state
    assert isinstance(back, Scheduled)
    assert (back.placed_at, back.placed_in, back.version) == (after(60), 1, 3)
    assert back.pause == Pause(since=after(10), until=after(20))


def test_a_paused_task_is_updated_in_place_and_may_end() -> None:
    given(created(), paused()).when(update(name="other")).decides(updated(name="other"))
    moved = given(created(), paused(), updated(cron="0 * * * *", next_run_at=after(3600))).state
    assert isinstance(moved, Paused)
    assert (moved.placed_at, moved.placed_in) == (after(3600), 3)
    given(created(), paused()).when(cancel()).decides(TaskCancelled(at=NOON))
    given(created(at=after(60)), paused()).when(complete(after(60))).decides(completed())


def test_a_log_in_an_odd_order_is_followed_all_the_same() -> None:
    for late in (paused(), resumed()):
        state = given(created(), cancelled(), late).state
        assert isinstance(state, tasks.FinishedTask)
        assert state.version == 3
    assert isinstance(given(created(), resumed()).state, Scheduled)


def test_a_manual_run_is_due_now_to_the_millisecond() -> None:
    now = NOON + timedelta(microseconds=1_234_567)
    fact = given(created()).when(lambda task: requesting.trigger(task, now, 1)).decides(ExecutionRequested)
    assert isinstance(fact, ExecutionRequested)
    assert fact.occurrence == occurrence(after(1.234), kind="manual")


def test_a_task_that_is_over_is_not_run() -> None:
    over = given(created(), cancelled())
    over.when(lambda task: requesting.trigger(task, NOON, None)).refused(TaskAlreadyOver)
    over.when(lambda task: requesting.backfill(task, NOON, None, NOON)).refused(TaskAlreadyOver)


def test_a_paused_task_may_be_run() -> None:
    given(created(), paused()).when(lambda task: requesting.trigger(task, NOON, None)).decides(
        ExecutionRequested
    )


def test_what_has_not_run_is_backfilled() -> None:
    expected = ExecutionRequested(at=after(90), occurrence=occurrence(kind="backfill"))
    states: list[Execution | None] = [
        None,
        given_execution(skipped()).state,
        given_execution(wanted(), user_cancelled()).state,
        given_execution(started(), skipped()).state,
        given_execution(queued(), user_cancelled()).state,
    ]
    task = given(created()).state
    assert {requesting.backfill(task, NOON, before, after(90)) for before in states} == {expected}


@pytest.mark.parametrize(
    "before",
    [
        given_execution(started()).state,
        given_execution(started(), failed_attempt()).state,
        given_execution(started(), succeeded()).state,
        given_execution(started(), failed()).state,
        given_execution(started(), user_cancelled()).state,
        given_execution(skipped(), wanted("backfill")).state,
        given_execution(queued()).state,
    ],
)
def test_what_ran_or_runs_or_is_wanted_is_not_repeated(before: Execution) -> None:
    given(created()).when(lambda task: requesting.backfill(task, NOON, before, NOON)).decides_nothing()


def test_a_period_holds_its_start_and_not_its_end() -> None:
    period = Period(start=NOON, end=after(180), limit=10)
    assert requesting.nominal(definition(), period) == ([NOON, after(60), after(120)], None)


def test_a_period_that_is_cut_off_says_where_to_go_on() -> None:
    period = Period(start=NOON, end=after(180), limit=2)
    assert requesting.nominal(definition(), period) == ([NOON, after(60)], after(120))
    exact = Period(start=NOON, end=after(120), limit=2)
    assert requesting.nominal(definition(), exact) == ([NOON, after(60)], None)


def test_a_one_off_has_one_instant() -> None:
    period = Period(start=after(-60), end=after(60), limit=5)
    once = definition(trigger=OneOff(datetime=NOON))
    assert requesting.nominal(once, period) == ([NOON], None)


def test_a_requested_execution_starts_from_the_task_as_it_is() -> None:
    execution = given_execution(wanted()).state
    assert isinstance(execution, Requested)
    task = given(created(), updated(name="renamed")).state
    fact = requesting.start(execution, task, lease("node-9", 2), after(3))
    assert isinstance(fact, ExecutionStarted)
    assert (fact.occurrence.task_version, fact.occurrence.task_name) == (2, "renamed")
    assert (fact.occurrence.kind, fact.occurrence.due_at, fact.node) == ("manual", NOON, "node-9")
    assert (fact.lease_until, fact.next_run_at) == (NOON + MINUTE, None)
    running = given_execution(wanted(), fact).state
    assert (running.version, running.attempts) == (2, 1)


def test_a_requested_execution_of_a_task_that_was_completed_meanwhile_starts_all_the_same() -> None:
    execution = given_execution(wanted()).state
    assert isinstance(execution, Requested)
    fact = requesting.start(execution, given(created(), completed()).state, lease(), NOON)
    assert isinstance(fact, ExecutionStarted)


def test_a_requested_execution_of_a_task_that_was_cancelled_meanwhile_is_cancelled() -> None:
    execution = given_execution(wanted()).state
    assert isinstance(execution, Requested)
    fact = requesting.start(execution, given(created(), cancelled()).state, lease(), NOON)
    reason = "the task was cancelled before a scheduler took it"
    assert fact == ExecutionCancelled(at=NOON, task_id=TASK, reason=reason)


@pytest.mark.parametrize(
    ("facts", "interrupted"),
    [((wanted(),), False), ((started(),), True), ((started(), failed_attempt()), False)],
)
def test_what_is_not_over_is_cancelled(facts: tuple[ExecutionStarted, ...], interrupted: bool) -> None:
    given_execution(*facts).when(lambda execution: requesting.cancel(execution, "it hangs", NOON)).decides(
        ExecutionCancelled(
            at=NOON, task_id=TASK, reason="cancelled by a user: it hangs", interrupted=interrupted
        )
    )


def test_no_note_is_no_colon() -> None:
    fact = requesting.cancel(given_execution(wanted()).state, None, NOON)
    assert fact is not None
    assert fact.reason == "cancelled by a user"


def test_cancelling_an_execution_twice_changes_nothing() -> None:
    done = given_execution(started(), user_cancelled())
    done.when(lambda execution: requesting.cancel(execution, None, NOON)).decides_nothing()


@pytest.mark.parametrize("end", [succeeded(), failed(), skipped()])
def test_an_execution_that_is_over_is_not_cancelled(end: ExecutionCancelled) -> None:
    refusal = (
        given_execution(started(), end)
        .when(lambda execution: requesting.cancel(execution, None, NOON))
        .refused(ExecutionAlreadyOver)
    )
    assert "nothing is left to cancel" in str(refusal)


def test_the_last_occurrence_takes_its_task_along() -> None:
    last = given_execution(started(after(60))).state
    once = given(created(at=after(60)))
    once.when(lambda task: requesting.cancel_with(last, task, NOON)).decides(TaskCancelled(at=NOON))
    given(created(at=after(60)), paused()).when(
        lambda task: requesting.cancel_with(last, task, NOON)
    ).decides(TaskCancelled)
    given(created()).when(lambda task: requesting.cancel_with(last, task, NOON)).decides_nothing()
    given(created(at=after(60)), cancelled()).when(
        lambda task: requesting.cancel_with(last, task, NOON)
    ).decides_nothing()


ONE = ConcurrencyState((UUID(int=7),), (RUN,))
NONE = ConcurrencyState((), (RUN,))
QUEUE = Overlap(mode="queue_all")


def queued_one(**rest: Any) -> Requested:
    state = executions.begin(RUN, queued(**rest))
    assert isinstance(state, Requested)
    return state


def after_facts(*later: Any, **words: Any) -> Task:
    return given(created(**{"overlap": QUEUE} | words), *later).state


@pytest.mark.parametrize(
    ("task", "open_runs", "moves"),
    [
        (after_facts(), NONE, True),
        (after_facts(), ONE, False),
        (after_facts(overlap=Overlap(mode="queue_all", max_running=2)), ONE, True),
        (after_facts(overlap=Overlap()), ONE, True),
        (after_facts(TaskPaused(at=NOON)), NONE, False),
        (after_facts(TaskPaused(at=NOON), TaskResumed(at=NOON)), NONE, True),
        (after_facts(cancelled()), ONE, True),
        (after_facts(TaskPaused(at=NOON), cancelled()), ONE, True),
        (after_facts(completed()), NONE, True),
        (after_facts(completed()), ONE, False),
    ],
)
def test_the_first_of_a_queue_moves_when_there_is_room(
    task: Task, open_runs: ConcurrencyState, moves: bool
) -> None:
    assert queueing.moves(task, open_runs) is moves


def test_a_queued_one_starts_as_the_task_is_now_and_moves_it_nowhere() -> None:
    task = after_facts(updated(name="renamed", overlap=QUEUE))
    fact = queueing.start_queued(queued_one(run=3), task, lease(task_version=2), after(90))
    assert fact == ExecutionStarted(
        at=after(90),
        occurrence=replace(occurrence(NOON, 2, run=3), task_name="renamed"),
        node="node-9",
        lease_until=after(60),
        next_run_at=after(60),
    )


def test_a_queued_one_of_a_cancelled_task_is_cancelled() -> None:
    assert queueing.start_queued(queued_one(), after_facts(cancelled()), lease(), NOON) == ExecutionCancelled(
        at=NOON, task_id=TASK, reason="the task was cancelled while this occurrence was queued"
    )


def test_a_schedule_that_is_through_takes_nothing_from_what_it_has_queued() -> None:
    fact = queueing.start_queued(queued_one(run=3), after_facts(completed()), lease(), NOON)
    assert isinstance(fact, ExecutionStarted)
    assert (fact.occurrence.run, fact.next_run_at) == (3, after(60))


def test_a_queued_one_is_skipped_when_its_instant_is_none_of_the_new_schedule() -> None:
    task = after_facts(updated(cron="30 * * * *", next_run_at=after(1800), overlap=QUEUE))
    assert queueing.start_queued(queued_one(), task, lease(), NOON) == ExecutionSkipped(
        at=NOON,
        occurrence=occurrence(NOON),
        reason="the task was rescheduled while this occurrence was queued",
        next_run_at=after(1800),
        by="change",
    )


def test_a_queued_one_of_a_schedule_that_is_through_and_another_by_now_moves_no_task() -> None:
    task = after_facts(updated(cron="30 * * * *", next_run_at=after(1800), overlap=QUEUE), completed())
    fact = queueing.start_queued(queued_one(), task, lease(), NOON)
    assert isinstance(fact, ExecutionSkipped)
    assert fact.next_run_at is None


def test_a_queued_one_to_which_the_new_schedule_has_yet_to_come_is_left_to_that() -> None:
    task = after_facts(updated(trigger=every(60), next_run_at=after(-60), overlap=QUEUE))
    fact = queueing.start_queued(queued_one(), task, lease(), after(-90))
    assert isinstance(fact, ExecutionSkipped)
    assert (fact.by, fact.next_run_at) == ("change", after(-60))


@pytest.mark.parametrize("jitter", [0, 60])
def test_an_occurrence_of_the_old_schedule_and_the_new_starts_but_counts_for_neither_bound(
    jitter: float,
) -> None:
    trigger = every(120, jitter_seconds=jitter, max_runs=3)
    task = after_facts(updated(trigger=trigger, next_run_at=after(120), overlap=QUEUE))
    fact = queueing.start_queued(queued_one(run=3), task, lease(), NOON)
    assert isinstance(fact, ExecutionStarted)
    assert (fact.occurrence.run, fact.next_run_at) == (0, after(120))
    assert (fact.next_fire_at is not None) is bool(jitter)


def test_the_last_occurrence_of_both_schedules_has_nothing_after_it() -> None:
    task = after_facts(updated(trigger=every(60, end_at=after(30)), next_run_at=NOON, overlap=QUEUE))
    fact = queueing.start_queued(queued_one(), task, lease(), NOON)
    assert isinstance(fact, ExecutionStarted)
    assert (fact.next_run_at, fact.next_fire_at) == (None, None)

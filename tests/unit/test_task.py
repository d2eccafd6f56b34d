"""What is decided about tasks, and how their facts fold."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from domain import task as tasks
from domain.definition import Cron, Interval, OneOff, Trigger
from domain.errors import TaskAlreadyOver, VersionMismatch
from domain.facts import (
    Occurrence,
    Outcome,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskFact,
    TaskFailuresCounted,
    TaskUpdated,
)
from domain.schedule import NothingAhead
from domain.task import FinishedTask, Scheduled, Task
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
    given,
    occurrence,
    updated,
)


def test_a_cron_task_starts_at_its_first_occurrence_after_now() -> None:
    fact = tasks.create("default", definition(cron="* * * * *"), NOON)
    assert fact == TaskCreated(at=NOON, namespace="default", definition=definition(), next_run_at=after(60))


def test_a_one_off_task_starts_at_its_instant_even_when_that_has_just_passed() -> None:
    assert created(at=after(-30)).next_run_at == after(-30)


def test_a_cron_that_never_fires_makes_no_task() -> None:
    with pytest.raises(NothingAhead):
        created(cron="0 0 31 2 *")


def test_a_new_task_is_scheduled_at_version_1() -> None:
    task = given(created(at=after(5))).state
    assert task == Scheduled(
        id=TASK,
        namespace="default",
        definition=definition(at=after(5)),
        version=1,
        created_at=NOON,
        updated_at=NOON,
        placed_at=after(5),
        placed_in=1,
    )


def test_an_update_with_another_trigger_moves_the_task() -> None:
    expected = TaskUpdated(at=NOON, definition=definition(cron="0 * * * *"), next_run_at=after(3600))
    given(created()).when(update(cron="0 * * * *")).decides(expected)


def test_an_update_with_the_same_trigger_keeps_the_place() -> None:
    expected = TaskUpdated(at=NOON, definition=definition(name="other"), next_run_at=None)
    given(created()).when(update(name="other")).decides(expected)


def test_an_update_with_the_same_definition_is_nothing_new() -> None:
    given(created()).when(update()).decides_nothing()


def counted(failures: int) -> TaskFailuresCounted:
    return TaskFailuresCounted(at=NOON, failures=failures, execution_id=RUN)


@pytest.mark.parametrize(
    ("later", "current"),
    [
        ([updated(name="other")], {2}),
        ([updated(name="other"), counted(1), counted(2)], {2, 3, 4}),
        ([counted(1), updated(name="other")], {3}),
    ],
    ids=["an update", "failures counted since", "an update after a count"],
)
def test_a_command_expects_the_last_version_that_a_user_could_see_a_change_of(
    later: list[TaskFact], current: set[int]
) -> None:
    task = given(created(), *later)
    for expected in range(1, len(later) + 3):
        for decision, kind in (
            (cancel(expected), TaskCancelled),
            (update(name="x", if_match=expected), TaskUpdated),
        ):
            if expected in current:
                task.when(decision).decides(kind)
            else:
                said = task.when(decision).refused(VersionMismatch)
                assert str(said) == (
                    f"Task {TASK} is at version {len(later) + 1}, not {expected}; "
                    "read it again and repeat the change."
                )


@pytest.mark.parametrize("end", [cancelled(), completed(), completed("failed")])
def test_a_task_that_is_over_is_neither_updated_nor_cancelled(end: TaskCancelled | TaskCompleted) -> None:
    over = given(created(at=NOON), end)
    assert "create a new task instead" in str(over.when(update(name="other")).refused(TaskAlreadyOver))
    if isinstance(end, TaskCompleted):
        over.when(cancel()).refused(TaskAlreadyOver)


@pytest.mark.parametrize(
    ("trigger", "ended"),
    [
        (Cron(cron="* * * * *"), occurrence(after(60))),
        (Cron(cron="* * * * *"), occurrence(after(60), run=1_000_000)),
        (Interval(every_seconds=60, anchor=NOON, max_runs=1), occurrence(after(60), kind="manual", run=1)),
    ],
    ids=["a schedule without an end", "however often it ran", "a run out of turn"],
)
def test_what_is_not_the_last_occurrence_ends_no_task(trigger: Trigger, ended: Occurrence) -> None:
    given(created(trigger=trigger)).when(ending(ended)).decides_nothing()


@pytest.mark.parametrize(
    ("update", "placed"),
    [
        (updated(name="other", now=after(30)), (after(60), 1, 0)),
        (updated(cron="0 * * * *", now=after(30), next_run_at=after(3600)), (after(3600), 2, 0)),
    ],
    ids=["without a next run: left where it was", "with one: moved"],
)
def test_an_update_moves_a_task_if_it_names_the_next_run(
    update: TaskUpdated, placed: tuple[datetime, int, int]
) -> None:
    task = given(created(), update).state
    assert isinstance(task, Scheduled)
    assert (task.placed_at, task.placed_in, task.placed_runs) == placed
    assert (task.definition, task.created_at, task.updated_at) == (update.definition, NOON, after(30))


def test_a_scheduled_task_can_be_cancelled() -> None:
    given(created()).when(cancel()).decides(TaskCancelled(at=NOON))


def test_cancelling_twice_is_nothing_new() -> None:
    given(created(), cancelled()).when(cancel()).decides_nothing()


def test_a_one_off_is_completed_by_its_occurrence() -> None:
    expected = TaskCompleted(at=NOON, outcome="failed", execution_id=RUN)
    given(created(at=after(5))).when(complete(after(5), "failed")).decides(expected)


def test_a_one_off_that_was_moved_is_not_completed_by_its_earlier_instant() -> None:
    moved = updated(at=after(60), next_run_at=after(60))
    task = given(created(at=after(5)), moved)
    task.when(complete(after(5))).decides_nothing()


def test_a_task_that_is_over_is_not_completed_again() -> None:
    given(created(at=NOON), completed()).when(complete(NOON)).decides_nothing()


@pytest.mark.parametrize(
    ("end", "status"),
    [(cancelled(), "cancelled"), (completed(), "completed"), (completed("failed"), "failed")],
)
def test_the_last_fact_says_how_a_task_ended(end: TaskCancelled | TaskCompleted, status: str) -> None:
    task = given(created(at=NOON), end).state
    assert isinstance(task, FinishedTask)
    assert (task.status, task.version) == (status, 2)


def bounded(**bounds: Any) -> Interval:
    return Interval(every_seconds=60, anchor=NOON, **bounds)


def ending(occurrence: Occurrence, outcome: Outcome = "succeeded") -> Callable[[Task], TaskCompleted | None]:
    return lambda task: tasks.complete(task, outcome, occurrence, RUN, NOON)


def test_the_end_of_the_last_occurrence_up_to_end_at_is_the_end_of_the_task() -> None:
    task = given(created(trigger=bounded(end_at=after(150))))
    task.when(ending(occurrence(after(60)))).decides_nothing()
    task.when(ending(occurrence(after(120)), "failed")).decides(completed("failed"))


@pytest.mark.parametrize("trigger", [bounded(end_at=after(60)), OneOff(datetime=NOON)])
def test_the_end_of_a_backfill_is_that_of_the_task_only_if_it_is_all_there_is(trigger: Trigger) -> None:
    end_of_it = ending(occurrence(after(60), kind="backfill"))
    given(created(trigger=trigger)).when(end_of_it).decides_nothing()
    given(created(at=after(60))).when(end_of_it).decides(completed())


def test_the_end_of_the_last_run_is_the_end_of_the_task() -> None:
    task = given(created(trigger=Cron(cron="* * * * *", max_runs=2)))
    task.when(ending(occurrence(after(60), run=1))).decides_nothing()
    task.when(ending(occurrence(after(120), run=2))).decides(completed())


def test_a_run_by_the_trigger_before_does_not_count() -> None:
    trigger = bounded(max_runs=2)
    task = given(
        created(), TaskUpdated(at=NOON, definition=definition(trigger=trigger), next_run_at=after(60))
    )
    task.when(ending(occurrence(after(60), task_version=1, run=2))).decides_nothing()
    task.when(ending(occurrence(after(60), task_version=2, run=2))).decides(completed())


def test_what_the_trigger_before_had_claimed_ends_the_task_only_at_an_instant_of_the_new_one() -> None:
    trigger = bounded(end_at=after(90))
    task = given(
        created(), TaskUpdated(at=NOON, definition=definition(trigger=trigger), next_run_at=after(60))
    )
    task.when(ending(occurrence(after(75)))).decides_nothing()
    task.when(ending(occurrence(after(60)))).decides(completed())


def test_a_task_passes_over_an_occurrence_that_an_earlier_definition_had_claimed() -> None:
    task = given(created(), updated(cron="*/5 * * * *", next_run_at=after(300))).state
    assert isinstance(task, Scheduled)
    expected = TaskUpdated(at=NOON, definition=task.definition, next_run_at=after(600), runs=3)
    assert tasks.pass_over(task, after(300), 3, NOON) == expected


def test_a_one_off_has_no_other_occurrence_to_pass_on_to() -> None:
    task = given(created(at=after(5))).state
    assert isinstance(task, Scheduled)
    assert tasks.pass_over(task, after(5), 0, NOON) is None


def test_what_the_log_holds_has_happened_even_after_the_end() -> None:
    task = given(created(), cancelled(), updated(name="late", next_run_at=NOON + MINUTE)).state
    assert isinstance(task, FinishedTask)
    assert (task.definition.name, task.version) == ("late", 3)


def test_a_task_that_is_created_again_keeps_counting_its_facts() -> None:
    task = given(created(), cancelled(), created(at=NOON + timedelta(hours=1))).state
    assert isinstance(task, Scheduled)
    assert (task.version, task.placed_in) == (3, 3)


def test_a_count_of_failures_is_a_new_version_but_no_change_that_updated_at_tells_of() -> None:
    task = given(created(), TaskFailuresCounted(at=after(90), failures=2, execution_id=RUN)).state
    assert (task.version, task.failures, task.updated_at) == (2, 2, NOON)

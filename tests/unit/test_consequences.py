"""What the end of an execution means for its task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from domain.definition import Cron, Definition, OneOff, RetryPolicy
from domain.facts import (
    ExecutionFailed,
    TaskCancelled,
    TaskCompleted,
    TaskFact,
    TaskFailuresCounted,
    TaskPaused,
    TaskResumed,
)
from domain.outcome import consequences, possible
from tests.support.given import (
    NOON,
    RUN,
    TASK,
    Given,
    attempt,
    cancelled,
    created,
    definition,
    failed,
    given,
    given_execution,
    no_answer,
    started,
    succeeded,
    updated,
)

if TYPE_CHECKING:
    from domain.facts import Answer
    from domain.outcome import Final
    from domain.task import Task

WATCHED = RetryPolicy(disable_after_failures=3)
STOPPING = RetryPolicy(on_gone="stop")
GONE = f'execution {RUN} was answered with status 410 (Gone), and retry.on_gone is "stop"'


def counted(failures: int) -> TaskFailuresCounted:
    return TaskFailuresCounted(at=NOON, failures=failures, execution_id=RUN)


def paused() -> TaskPaused:
    return TaskPaused(at=NOON)


def failing(answer: Answer | int = 500, *, unmet: str | None = None) -> ExecutionFailed:
    return ExecutionFailed(at=NOON, task_id=TASK, attempt=attempt(1, answer), reason="final", unmet=unmet)


def follows(task: Given[Task], fact: Final, called: Definition | None = None) -> list[TaskFact]:
    """`called` None: the task is still as it was when the execution was claimed."""
    execution = given_execution(started()).state
    return consequences(task.state, execution, called or task.state.definition, fact)


def test_nothing_follows_for_a_task_that_goes_on() -> None:
    assert follows(given(created()), failed()) == []
    assert follows(given(created()), succeeded()) == []


def test_the_last_occurrence_completes_its_task() -> None:
    end = TaskCompleted(at=NOON, outcome="failed", execution_id=RUN)
    assert follows(given(created(at=NOON)), failed()) == [end]


def test_completion_wins_over_counting_and_over_a_410() -> None:
    once = given(created(at=NOON, retry=RetryPolicy(disable_after_failures=1, on_gone="stop")))
    assert [type(fact) for fact in follows(once, failing(410))] == [TaskCompleted]


def test_each_failure_is_counted() -> None:
    assert follows(given(created(retry=WATCHED)), failed()) == [counted(1)]
    assert follows(given(created(retry=WATCHED), counted(1)), failed()) == [counted(2)]


def test_a_failure_whose_outcome_is_unknown_counts_too() -> None:
    unknown = ExecutionFailed(at=NOON, task_id=TASK, attempt=None, reason="lost")
    assert follows(given(created(retry=WATCHED)), unknown) == [counted(1)]


def test_enough_failures_in_a_row_pause_the_task_and_say_why() -> None:
    note = (
        "3 executions in a row have failed, and retry.disable_after_failures is 3: "
        "resume the task once the cause is removed"
    )
    expected = [counted(3), TaskPaused(at=NOON, note=note)]
    assert follows(given(created(retry=WATCHED), counted(2)), failed()) == expected


def test_one_failure_can_be_enough() -> None:
    [_, pause] = follows(given(created(retry=RetryPolicy(disable_after_failures=1))), failed())
    assert isinstance(pause, TaskPaused)
    assert pause.note is not None
    assert pause.note.startswith("1 execution has failed, and")


def test_a_success_ends_the_row_and_is_told_only_then() -> None:
    assert follows(given(created(retry=WATCHED), counted(2)), succeeded()) == [counted(0)]
    assert follows(given(created(retry=WATCHED)), succeeded()) == []


def test_a_paused_task_goes_on_counting_and_is_not_paused_again() -> None:
    assert follows(given(created(retry=WATCHED), counted(2), paused()), failed()) == [counted(3)]


def test_what_an_update_has_replaced_counts_neither_as_failure_nor_as_success() -> None:
    replaced = definition(url="http://target/before", retry=WATCHED)
    task = given(created(retry=WATCHED), counted(2))
    assert follows(task, failed(), replaced) == []
    assert follows(task, succeeded(), replaced) == []


@pytest.mark.parametrize("reset", [(paused(), TaskResumed(at=NOON)), (updated(name="other", retry=WATCHED),)])
def test_a_resumed_or_updated_task_counts_from_none_again(reset: tuple[TaskFact, ...]) -> None:
    task = given(created(retry=WATCHED), counted(2), *reset)
    assert follows(task, failed()) == [counted(1)]


def test_a_task_that_does_not_ask_for_it_counts_nothing() -> None:
    assert follows(given(created()), failed()) == []


def test_nothing_follows_for_a_task_that_is_over() -> None:
    over = given(created(retry=RetryPolicy(disable_after_failures=1, on_gone="stop")), cancelled())
    assert follows(over, failing(410)) == []


@pytest.mark.parametrize("so_far", [(), (paused(),)])
def test_a_410_cancels_the_task_and_says_why(so_far: tuple[TaskFact, ...]) -> None:
    task = given(created(retry=STOPPING), *so_far)
    assert follows(task, failing(410)) == [TaskCancelled(at=NOON, reason=GONE)]


@pytest.mark.parametrize("fact", [failing(404), failing(no_answer()), failing(410, unmet="x"), succeeded()])
def test_nothing_else_cancels_it(fact: Final) -> None:
    assert follows(given(created(retry=STOPPING)), fact) == []


def test_a_410_of_a_target_that_was_replaced_meanwhile_cancels_nothing() -> None:
    called = definition(retry=STOPPING)
    moved = given(created(retry=STOPPING), updated(retry=STOPPING, url="http://target/new"))
    assert follows(moved, failing(410), called) == []
    renamed = given(created(retry=STOPPING), updated(retry=STOPPING, name="other"))
    assert follows(renamed, failing(410), called) == [TaskCancelled(at=NOON, reason=GONE)]


def test_a_410_cancels_nothing_when_the_task_says_otherwise_by_now() -> None:
    task = given(created(retry=STOPPING), updated())
    assert follows(task, failing(410), definition(retry=STOPPING)) == []


def test_only_a_task_that_asks_for_more_has_to_be_read() -> None:
    usual = definition(retry=RetryPolicy(on_gone="stop"))
    assert not possible(usual, succeeded())
    assert not possible(usual, failing(404))
    assert possible(usual, failing(410))
    assert possible(definition(retry=WATCHED), succeeded())
    assert not possible(definition(), failing(410))


def test_what_was_another_definition_s_at_first_has_its_task_read_where_the_schedule_has_an_end() -> None:
    once = definition(trigger=OneOff(datetime=NOON))
    assert possible(once, succeeded(), changed=True)
    assert not possible(once, succeeded(), changed=False)
    assert not possible(definition(trigger=Cron(cron="* * * * *")), succeeded(), changed=True)

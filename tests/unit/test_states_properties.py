"""What holds for every history of a task and of an execution."""

from datetime import timedelta
from typing import assert_never

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import execution as executions
from domain import outcome as ending
from domain import task as tasks
from domain.definition import Cron, Definition, Interval, OneOff, RetryPolicy, Trigger
from domain.errors import Refused
from domain.execution import Execution, FinishedExecution, Lease, Running, Waiting
from domain.facts import (
    Answered,
    Attempt,
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFact,
    ExecutionFailed,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    Occurrence,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskFact,
    TaskFailuresCounted,
    TaskPaused,
    TaskRedacted,
    TaskResumed,
    TaskUpdated,
    Unanswered,
)
from domain.outcome import MAX_LOST_ATTEMPTS
from domain.task import Scheduled, Task
from tests.support.given import NOON, RUN, TASK, definition

YEAR = timedelta(days=365)
INSTANTS = st.timedeltas(-YEAR, YEAR).map(NOON.__add__)
TRIGGERS: st.SearchStrategy[Trigger] = st.builds(OneOff, datetime=INSTANTS) | st.builds(
    Cron, cron=st.sampled_from(["* * * * *", "*/5 * * * *", "0 0 * * *"])
)
TRIGGERS |= st.builds(
    Interval, every_seconds=st.integers(1, 100), anchor=INSTANTS, max_runs=st.none() | st.integers(1, 3)
)
DEFINITIONS = st.builds(
    Definition,
    name=st.sampled_from(["a", "b"]),
    trigger=TRIGGERS,
    action=st.just(definition().action),
    retry=st.builds(RetryPolicy, max_attempts=st.integers(1, 4)),
)
OCCURRENCES = st.builds(
    Occurrence,
    task_id=st.just(TASK),
    task_version=st.integers(1, 3),
    task_name=st.just("report"),
    namespace=st.just("default"),
    due_at=INSTANTS,
)
ANSWERS = st.builds(Answered, status_code=st.integers(100, 599)) | st.builds(
    Unanswered, error=st.just("refused"), retryable=st.booleans()
)
ATTEMPTS = st.builds(
    Attempt, number=st.integers(1, 9), started_at=INSTANTS, duration_ms=st.integers(0), answer=ANSWERS
)
NODES = st.sampled_from(["node-1", "node-2"])
ABOUT = {"at": INSTANTS, "task_id": st.just(TASK)}
CLAIMS = {**ABOUT, "task_version": st.integers(1, 3), "number": st.integers(1, 9), "node": NODES}
TASK_FACTS = st.one_of(
    st.builds(TaskCreated, at=INSTANTS, definition=DEFINITIONS, next_run_at=INSTANTS),
    st.builds(TaskUpdated, at=INSTANTS, definition=DEFINITIONS, next_run_at=st.none() | INSTANTS),
    st.builds(TaskPaused, at=INSTANTS),
    st.builds(TaskResumed, at=INSTANTS),
    st.builds(TaskCancelled, at=INSTANTS),
    st.builds(TaskCompleted, at=INSTANTS, execution_id=st.just(RUN)),
)
STARTS = st.builds(
    ExecutionStarted,
    at=INSTANTS,
    occurrence=OCCURRENCES,
    node=NODES,
    lease_until=INSTANTS,
    next_run_at=INSTANTS,
)
SKIPS = st.builds(ExecutionSkipped, at=INSTANTS, occurrence=OCCURRENCES, next_run_at=st.none())
REQUESTS = st.builds(ExecutionRequested, at=INSTANTS, occurrence=OCCURRENCES)
EXECUTION_FACTS = st.one_of(
    REQUESTS,
    STARTS,
    SKIPS,
    st.builds(AttemptFailed, **ABOUT, attempt=ATTEMPTS, retry_at=INSTANTS),
    st.builds(AttemptStarted, **CLAIMS, lease_until=INSTANTS),
    st.builds(ExecutionTakenOver, **CLAIMS, lost_by=NODES, lease_until=INSTANTS),
    st.builds(ExecutionSucceeded, **ABOUT, attempt=ATTEMPTS),
    st.builds(ExecutionFailed, **ABOUT, attempt=st.none() | ATTEMPTS),
    st.builds(ExecutionCancelled, **ABOUT),
)


@settings(deadline=None)
@given(
    first=st.builds(TaskCreated, at=INSTANTS, definition=DEFINITIONS, next_run_at=INSTANTS), later=st.data()
)
def test_any_facts_of_a_task_fold_and_are_counted(first: TaskCreated, later: st.DataObject) -> None:
    task = tasks.begin(TASK, first)
    for count, fact in enumerate(later.draw(st.lists(TASK_FACTS, max_size=20)), start=2):
        task = tasks.evolve(task, fact)
        assert (task.version, task.id) == (count, TASK)


@settings(deadline=None)
@given(first=STARTS | SKIPS | REQUESTS, later=st.lists(EXECUTION_FACTS, max_size=20))
def test_any_facts_of_an_execution_fold_and_are_counted(
    first: ExecutionStarted | ExecutionSkipped | ExecutionRequested, later: list[ExecutionFact]
) -> None:
    execution = executions.begin(RUN, first)
    for count, fact in enumerate(later, start=2):
        execution = executions.evolve(execution, fact)
        assert (execution.version, execution.id) == (count, RUN)


def decided(task: Task, choice: st.DataObject) -> TaskFact | None:
    """The answer to some command."""
    now = choice.draw(INSTANTS)
    match choice.draw(st.sampled_from(["update", "pause", "resume", "cancel", "complete"])):
        case "pause":
            return tasks.pause(task, None, now, None)
        case "resume":
            return tasks.resume(task, now, None)
        case "update":
            expected = choice.draw(st.none() | st.integers(task.version - 1, task.version))
            return tasks.update(task, choice.draw(DEFINITIONS), now, expected)
        case "cancel":
            return tasks.cancel(task, now, None)
        case _:
            due_at = task.placed_at if isinstance(task, tasks.Placed) else now
            over = replace(choice.draw(OCCURRENCES), due_at=due_at, run=choice.draw(st.integers(0, 3)))
            return tasks.complete(task, choice.draw(st.sampled_from(["succeeded", "failed"])), over, RUN, now)


@settings(deadline=None)
@given(choice=st.data())
def test_whatever_is_decided_about_a_task_its_state_says_the_same_as_its_facts(choice: st.DataObject) -> None:
    task = tasks.begin(TASK, tasks.create("default", choice.draw(DEFINITIONS), NOON))
    for _ in range(choice.draw(st.integers(1, 10))):
        before = task
        try:
            fact = decided(task, choice)
        except Refused:
            continue
        if fact is None:
            continue
        task = tasks.evolve(task, fact)
        assert isinstance(before, tasks.Placed), "nothing is decided about a task that is over"
        match fact:
            case TaskUpdated():
                assert isinstance(task, type(before))
                assert task.definition == fact.definition != before.definition
                moved = fact.definition.trigger != before.definition.trigger
                assert (fact.next_run_at is not None) is moved
                assert task.placed_at == (fact.next_run_at or before.placed_at)
            case TaskPaused():
                assert isinstance(before, Scheduled)
                assert isinstance(task, tasks.Paused)
                assert (task.placed_at, task.placed_in) == (before.placed_at, before.placed_in)
            case TaskResumed():
                assert isinstance(before, tasks.Paused)
                assert isinstance(task, Scheduled)
                assert (task.placed_at, task.placed_in) == (before.placed_at, before.placed_in)
            case TaskCancelled() | TaskCompleted():
                assert isinstance(task, tasks.FinishedTask)
            case TaskFailuresCounted():
                assert task.failures == fact.failures
            case TaskCreated() | TaskRedacted():
                raise AssertionError("none of these commands decides that")
            case _:
                assert_never(fact)


def next_fact(execution: Running | Waiting, choice: st.DataObject, called: Definition) -> ExecutionFact:
    """What some scheduler does with an execution."""
    lease = Lease(node=choice.draw(NODES), task_version=1, until=NOON)
    if isinstance(execution, Waiting):
        return executions.start_attempt(execution, lease, NOON)
    match choice.draw(st.sampled_from(["answer", "renew", "lose"])):
        case "answer":
            attempt = Attempt(
                number=execution.attempts, started_at=NOON, duration_ms=1, answer=choice.draw(ANSWERS)
            )
            return executions.conclude(execution, attempt, called, NOON, choice.draw(st.floats(0, 1)))
        case "renew":
            return executions.start_attempt(execution, lease, NOON)
        case _:
            return ending.give_up(execution, called, NOON) or executions.take_over(execution, lease, NOON)


@settings(deadline=None)
@given(choice=st.data(), start=STARTS, max_attempts=st.integers(1, 4))
def test_no_execution_makes_more_attempts_than_allowed_and_lost(
    choice: st.DataObject, start: ExecutionStarted, max_attempts: int
) -> None:
    called = definition(retry=RetryPolicy(max_attempts=max_attempts))
    execution: Execution = executions.begin(RUN, start)
    answered = 0
    for _ in range(30):
        assert not isinstance(execution, executions.Requested)
        if isinstance(execution, FinishedExecution):
            break
        fact = next_fact(execution, choice, called)
        answered += isinstance(fact, AttemptFailed | ExecutionSucceeded | ExecutionFailed)
        waited = isinstance(execution, Waiting)
        before, execution = execution, executions.evolve(execution, fact)
        if isinstance(fact, AttemptFailed):
            assert isinstance(execution, Waiting)
            assert fact.retry_at > NOON - timedelta(microseconds=1)
        if isinstance(fact, AttemptStarted):
            assert execution.attempts == before.attempts + waited
        assert execution.attempts <= max_attempts + execution.lost
        assert execution.lost <= MAX_LOST_ATTEMPTS
    assert answered <= max_attempts + MAX_LOST_ATTEMPTS

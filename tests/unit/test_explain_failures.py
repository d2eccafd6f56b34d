"""Why an attempt failed, was the last one, or did something to its task: success, retry, delivery, 410."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from domain.definition import RetryPolicy, SuccessPolicy
from domain.facts import (
    Answered,
    AttemptFailed,
    AttemptStarted,
    ExecutionFailed,
    ExecutionSucceeded,
    ExecutionTakenOver,
    TaskCancelled,
    TaskFailuresCounted,
    TaskPaused,
    TaskUpdated,
    Unanswered,
)
from tests.support.given import TASK, after, created, definition, no_answer
from tests.support.telling import (
    Telling,
    claimed,
    codes,
    failed,
    named,
    policy,
    ran,
    rule,
    run_of,
    said,
    sent,
)

if TYPE_CHECKING:
    from domain.facts import Answer

AT = after(60)
ONCE: dict[str, Any] = {"delivery": "at_most_once"}


def attempt_failed(answer: Answer | int, retry_at: datetime, unmet: str | None = None) -> AttemptFailed:
    return AttemptFailed(at=AT, task_id=TASK, attempt=sent(AT, answer), retry_at=retry_at, unmet=unmet)


def throttled(wait: str) -> Answered:
    return Answered(status_code=503, headers={"retry-after": wait})


async def test_an_answer_that_lacks_something_is_no_success_by_the_success_policy() -> None:
    asked = SuccessPolicy(body_contains="done")
    lack = 'the body does not contain "done"'
    world = await ran(claimed(AT), attempt_failed(200, after(61), lack), success=asked)
    told = await world.at(AT)
    assert codes(told) == ["claimed", "unmet", "attempt_failed"]
    assert said(told, "unmet") == f"Attempt 1 was no success, whatever its status: {lack}."
    assert (rule(told, "unmet"), rule(told, "attempt_failed")) == ("success", "retry")
    assert 'its body contains "done"' in policy(told, "unmet")
    assert named(told, "unmet") == [("execution.attempt_failed.v1", 3)]


async def test_the_last_attempt_that_lacks_something_says_that_and_why_none_follows() -> None:
    end = replace(failed(AT, 200, "attempt 3 of 3 failed"), unmet="the body is not JSON")
    told = await (await ran(claimed(AT), end)).at(AT)
    assert codes(told) == ["claimed", "unmet", "failed"]
    assert (rule(told, "unmet"), rule(told, "failed")) == ("success", "retry")
    assert told.summary == "It ran and failed: attempt 3 of 3 failed."


async def test_success_names_the_policy_that_was_met() -> None:
    end = ExecutionSucceeded(at=AT, task_id=TASK, attempt=sent(AT, 404))
    told = await (await ran(claimed(AT), end, success=SuccessPolicy(statuses=("404",)))).at(AT)
    assert rule(told, "succeeded") == "success"
    assert policy(told, "succeeded") == "an answer is a success if its status is 404"


@pytest.mark.parametrize(
    ("wait", "most", "retry_at", "came_to"),
    [
        ("120", 3600, 180, "so the next attempt was planned for 2030-01-01T12:03:00Z"),
        ("Tue, 01 Jan 2030 12:03:00 GMT", 3600, 180, "so the next attempt was planned for"),
        (
            "7200",
            3600,
            3660,
            "which max_retry_after_seconds 3600 cut to 1 h: until 2030-01-01T13:01:00Z",
        ),
        ("120", 0, 61, "which max_retry_after_seconds 0 ignores"),
        ("soon", 3600, 61, "which asks for no wait, or cannot be read"),
        ("1", 3600, 65, "and the policy's own wait was longer"),
    ],
)
async def test_a_retry_after_is_told_with_what_came_of_it(
    wait: str, most: float, retry_at: float, came_to: str
) -> None:
    planned = attempt_failed(throttled(wait), after(retry_at))
    told = await (await ran(claimed(AT), planned, retry=RetryPolicy(max_retry_after_seconds=most))).at(AT)
    assert codes(told) == ["claimed", "attempt_failed", "retry_after"]
    assert said(told, "retry_after").startswith(f'The answer had Retry-After: "{wait}", {came_to}')
    assert rule(told, "retry_after") == "retry"
    assert named(told, "retry_after") == [("execution.attempt_failed.v1", 3)]


@pytest.mark.parametrize("answer", [503, no_answer()])
async def test_without_a_retry_after_nothing_is_said_of_one(answer: Answer | int) -> None:
    told = await (await ran(claimed(AT), attempt_failed(answer, after(61)))).at(AT)
    assert codes(told) == ["claimed", "attempt_failed"]


async def test_a_final_status_and_the_end_of_all_time_are_told_by_the_retry_policy() -> None:
    for reason in ("status 501 is final: retry.final_statuses has 501", "retry.max_elapsed_seconds is 60"):
        bounded = RetryPolicy(final_statuses=("501",), max_elapsed_seconds=60)
        told = await (await ran(claimed(AT), failed(AT, 501, reason), retry=bounded)).at(AT)
        assert said(told, "failed") == (
            f"Attempt 1 was the last: the server answered with status 501; {reason}."
        )
        assert "max_elapsed_seconds 60" in policy(told, "failed")
        assert "final_statuses 501" in policy(told, "failed")


async def test_an_unknown_outcome_is_the_end_at_most_once() -> None:
    reason = "its outcome is unknown, and at_most_once allows no second call"
    end = ExecutionFailed(at=after(120), task_id=TASK, attempt=None, reason=reason)
    told = await (await ran(claimed(AT), end, **ONCE)).at(AT)
    assert (told.verdict, rule(told, "failed")) == ("failed", "delivery")
    assert said(told, "failed") == f"It was given up: {reason}."
    assert policy(told, "failed").startswith("delivery is at_most_once")
    assert told.lateness_ms is None


async def test_an_outcome_that_is_known_too_late_for_another_attempt_is_the_end_by_the_retry_policy() -> None:
    end = ExecutionFailed(at=after(200), task_id=TASK, attempt=None, reason="too late for another attempt")
    told = await (await ran(claimed(AT), end, retry=RetryPolicy(max_elapsed_seconds=60))).at(AT)
    assert rule(told, "failed") == "retry"
    assert "max_elapsed_seconds 60" in policy(told, "failed")


@pytest.mark.parametrize(("sent_before", "decided"), [(True, "delivery"), (False, "retry")])
async def test_a_retry_that_may_not_begin_any_more_ends_by_the_policy_that_forbids_it(
    sent_before: bool, decided: str
) -> None:
    first = attempt_failed(no_answer(sent=sent_before), after(61))
    end = ExecutionFailed(at=after(200), task_id=TASK, attempt=None, reason="no more", lapsed=True)
    told = await (await ran(claimed(AT), first, end, **ONCE)).at(AT)
    assert (told.verdict, rule(told, "failed")) == ("failed", decided)


async def test_what_is_given_up_is_judged_by_the_task_as_it_was_then() -> None:
    world = await ran(claimed(AT))
    once = created(**ONCE).definition
    await world.happened(TASK, TaskUpdated(at=after(70), definition=once, next_run_at=None))
    end = ExecutionFailed(at=after(120), task_id=TASK, attempt=None, reason="at_most_once allows no more")
    await world.happened(run_of(AT), end)
    await world.happened(TASK, TaskUpdated(at=after(130), definition=definition(), next_run_at=None))
    told = await world.at(AT)
    assert policy(told, "failed").startswith("delivery is at_most_once")


@pytest.mark.parametrize(
    ("answer", "decided"),
    [
        (503, "delivery"),
        (Unanswered(error="timed out"), "delivery"),
        (Unanswered(error="connection refused", sent=False), "retry"),
        (404, "retry"),
        (Unanswered(error="blocked", retryable=False), "retry"),
    ],
)
async def test_at_most_once_is_why_a_call_that_may_have_arrived_is_not_repeated(
    answer: Answer | int, decided: str
) -> None:
    told = await (await ran(claimed(AT), failed(AT, answer), **ONCE)).at(AT)
    assert rule(told, "failed") == decided
    assert rule(await (await ran(claimed(AT), failed(AT, answer))).at(AT), "failed") == "retry"


async def test_an_earlier_call_that_may_have_arrived_counts_as_well() -> None:
    unsent = Unanswered(error="connection refused", sent=False)
    last = replace(failed(after(62)), attempt=sent(after(62), unsent, number=2))
    again = AttemptStarted(
        at=after(61), task_id=TASK, task_version=1, number=2, node="node-1", lease_until=after(120)
    )
    over = ExecutionTakenOver(
        at=after(61),
        task_id=TASK,
        task_version=1,
        number=2,
        node="node-2",
        lost_by="node-1",
        lease_until=after(120),
    )
    assert rule(await (await ran(claimed(AT), over, last, **ONCE)).at(AT), "failed") == "delivery"
    for first, decided in ((no_answer(), "delivery"), (unsent, "retry")):
        world = await ran(claimed(AT), attempt_failed(first, after(61)), again, last, **ONCE)
        assert rule(await world.at(AT), "failed") == decided


async def test_a_410_ends_its_execution_and_its_task() -> None:
    world = await ran(claimed(AT), retry=RetryPolicy(on_gone="stop"))
    reason = 'status 410 is final: the target is gone for good, and retry.on_gone is "stop"'
    gone = TaskCancelled(at=AT, reason="the target answered with status 410")
    await world.together((run_of(AT), failed(AT, 410, reason)), (TASK, gone))
    told = await world.at(AT)
    assert codes(told) == ["claimed", "failed", "task_cancelled"]
    assert (rule(told, "failed"), rule(told, "task_cancelled")) == ("on_gone", "on_gone")
    assert said(told, "task_cancelled") == (
        "The task was cancelled at 2030-01-01T12:01:00Z: the target answered with status 410."
    )
    assert named(told, "task_cancelled") == [("task.cancelled.v1", 4)]
    later = await world.at(after(120))
    assert (later.verdict, codes(later)) == ("withdrawn", ["withdrawn", "task_cancelled"])
    assert later.summary == (
        "It will not run: the task was cancelled at 2030-01-01T12:01:00Z by scheduler:node-1 (the target "
        "answered with status 410) before it was due."
    )
    standing = await world.at(None)
    assert (standing.verdict, codes(standing)) == ("over", ["over", "task_cancelled"])


async def test_a_410_that_lacks_only_a_part_of_a_success_is_judged_by_the_retry_policy() -> None:
    end = replace(failed(AT, 410, "attempt 1 of 1 failed"), unmet="the body is not JSON")
    told = await (await ran(claimed(AT), end, retry=RetryPolicy(on_gone="stop"))).at(AT)
    assert rule(told, "failed") == "retry"


async def counting(*failures: int) -> Telling:
    """A task that is paused after three failures in a row, whose executions failed, or succeeded at 0."""
    world = Telling()
    await world.happened(TASK, created(retry=RetryPolicy(disable_after_failures=3)))
    for minute, count in enumerate(failures, start=1):
        at = after(60 * minute)
        end = ExecutionSucceeded(at=at, task_id=TASK, attempt=sent(at)) if not count else failed(at)
        counted = TaskFailuresCounted(at=at, failures=count, execution_id=run_of(at))
        pause = TaskPaused(at=at, note="3 executions in a row have failed")
        together = [(run_of(at), end), (TASK, counted), *([(TASK, pause)] if count == 3 else [])]
        await world.happened(run_of(at), claimed(at))
        await world.together(*together)
    return world


async def test_a_failure_in_a_row_is_counted() -> None:
    world = await counting(1, 2)
    told = await world.at(after(120))
    assert codes(told) == ["claimed", "failed", "failures_counted"]
    assert said(told, "failures_counted") == "That is failure 2 in a row."
    assert rule(told, "failures_counted") == "disable_after_failures"
    assert named(told, "failures_counted") == [("task.failures_counted.v1", 7)]


async def test_a_success_after_failures_ends_their_row() -> None:
    told = await (await counting(1, 0)).at(after(120))
    assert codes(told) == ["claimed", "succeeded", "failures_counted"]
    assert said(told, "failures_counted") == "That ended a row of failures."


async def test_the_failure_that_was_one_too_many_paused_its_task() -> None:
    world = await counting(1, 0, 1, 2, 3)
    told = await world.at(after(300))
    assert codes(told) == ["claimed", "failed", "task_paused"]
    assert said(told, "task_paused") == (
        "The task was paused at 2030-01-01T12:05:00Z: 3 executions failed in a row, last the run of "
        f"2030-01-01T12:05:00Z (execution {run_of(after(300))})."
    )
    assert policy(told, "task_paused") == (
        "disable_after_failures is 3: a task is paused once 3 executions failed in a row"
    )
    assert named(told, "task_paused") == [
        ("task.failures_counted.v1", 10),
        ("task.failures_counted.v1", 13),
        ("task.failures_counted.v1", 16),
        ("task.paused.v1", 17),
    ]


async def test_what_fell_into_that_pause_names_what_brought_it_about() -> None:
    world = await counting(1, 2, 3)
    told = await world.at(after(240), now=after(250))
    assert (told.verdict, codes(told)) == ("paused", ["paused", "task_paused"])
    assert rule(told, "task_paused") == "disable_after_failures"

"""Why an occurrence ran, ran late, was tried again, skipped, cancelled or taken over."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from domain.errors import ExecutionNotFound
from domain.facts import (
    Attempt,
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionRequested,
    ExecutionSucceeded,
    ExecutionTakenOver,
    TaskPaused,
    TaskResumed,
    Unanswered,
)
from tests.support.given import MINUTE, NOON, TASK, after, attempt, cancelled, created, no_answer, updated
from tests.support.telling import Telling, claimed, codes, named, occurrence, ran, rule, run_of, skipped


def sent(seconds: float, number: int = 1, status: int | Unanswered = 200) -> Attempt:
    """A call that was sent so long after noon."""
    call = attempt(number, status)
    return Attempt(number=number, started_at=after(seconds), duration_ms=5, answer=call.answer)


def succeeded(seconds: float, number: int = 1) -> ExecutionSucceeded:
    return ExecutionSucceeded(at=after(seconds), task_id=TASK, attempt=sent(seconds, number))


def attempt_failed(seconds: float, retry_at: datetime, status: int | Unanswered = 503) -> AttemptFailed:
    return AttemptFailed(at=after(seconds), task_id=TASK, attempt=sent(seconds, 1, status), retry_at=retry_at)


def started_again(seconds: float, number: int, *, version: int = 1) -> AttemptStarted:
    return AttemptStarted(
        at=after(seconds),
        task_id=TASK,
        task_version=version,
        number=number,
        node="node-2",
        lease_until=after(seconds + 60),
    )


def taken_over(number: int) -> ExecutionTakenOver:
    """node-3 goes on where node-1 left."""
    return ExecutionTakenOver(
        at=after(75),
        task_id=TASK,
        task_version=1,
        number=number,
        node="node-3",
        lost_by="node-1",
        lease_until=after(200),
    )


AT = after(60)


async def test_what_ran_on_time_is_told_with_its_claim_and_its_outcome() -> None:
    world = await ran(claimed(AT, at=after(59.985)), succeeded(60.003))
    told = await world.at(AT)
    assert (told.verdict, told.lateness_ms) == ("succeeded", 3)
    assert told.summary == "It ran: attempt 1 succeeded."
    assert codes(told) == ["claimed", "succeeded"]
    assert "15 ms ahead of its instant" in told.statements[0].text
    assert named(told, "claimed") == [("execution.started.v1", 2)]
    assert named(told, "succeeded") == [("execution.succeeded.v1", 3)]
    assert (told.previous, told.next) == (None, after(120))
    assert (told.execution_id, told.at) == (run_of(AT), AT)
    assert told.statements[0].events[0].actor == "scheduler:node-1"


async def test_what_nobody_claimed_in_time_ran_late_by_the_catch_up_policy() -> None:
    world = await ran(claimed(AT, at=after(95)), succeeded(95))
    told = await world.at(AT)
    assert told.summary == "It ran 35 s late: attempt 1 succeeded."
    assert told.lateness_ms == 35_000
    assert codes(told) == ["claimed_late", "succeeded"]
    assert "no scheduler had claimed it before" in told.statements[0].text
    assert rule(told, "claimed_late") == "catch_up"


async def test_what_was_put_on_an_instant_of_the_past_is_late_because_of_that() -> None:
    world = Telling()
    await world.happened(TASK, created(at=NOON - MINUTE))
    await world.happened(run_of(NOON - MINUTE), claimed(NOON - MINUTE, at=NOON))
    told = await world.at(NOON - MINUTE)
    assert told.summary == "It runs: node-1 claimed attempt 1 at 2030-01-01T12:00:00Z."
    assert "only at 2030-01-01T12:00:00Z" in told.statements[0].text
    assert named(told, "claimed_late") == [("execution.started.v1", 2), ("task.created.v1", 1)]


async def test_what_fell_into_a_pause_is_late_because_of_it() -> None:
    pause = (TaskPaused(at=after(30), note=None), TaskResumed(at=after(80)))
    told = await (await ran(claimed(AT, at=after(80)), task=pause)).at(AT)
    assert "the task was paused until 2030-01-01T12:01:20Z" in told.statements[0].text
    assert rule(told, "claimed_late") == "pause"
    assert named(told, "claimed_late")[1:] == [("task.paused.v1", 2), ("task.resumed.v1", 3)]


async def test_a_pause_before_or_after_explains_nothing() -> None:
    before = (TaskPaused(at=after(10)), TaskResumed(at=after(20)))
    later = (TaskPaused(at=after(90)), TaskResumed(at=after(91)))
    told = await (await ran(claimed(AT, at=after(95)), task=(*before, *later))).at(AT)
    assert rule(told, "claimed_late") == "catch_up"


async def test_a_call_that_waited_for_a_worker_is_late_because_of_that() -> None:
    told = await (await ran(claimed(AT), succeeded(63.2))).at(AT)
    assert codes(told) == ["claimed", "sent_late", "succeeded"]
    assert "3.2 s" in told.statements[1].text
    assert "waited for room among all calls" in told.statements[1].text
    assert named(told, "sent_late") == [("execution.started.v1", 2), ("execution.succeeded.v1", 3)]
    assert told.summary == "It ran 3.2 s late: attempt 1 succeeded."


async def test_jitter_is_no_lateness() -> None:
    of = occurrence(AT, fire_at=after(75))
    told = await (await ran(claimed(AT, at=after(74.99), of=of), succeeded(75))).at(AT)
    assert (told.lateness_ms, codes(told)) == (0, ["claimed", "succeeded"])


async def test_a_retry_names_the_policy_and_the_answer_that_called_for_it() -> None:
    world = await ran(claimed(AT), attempt_failed(60, after(61)), started_again(63.5, 2), succeeded(63.5, 2))
    told = await world.at(AT)
    assert codes(told) == ["claimed", "attempt_failed", "retried", "succeeded"]
    failure, again = told.statements[1:3]
    assert "the server answered with status 503" in failure.text
    assert "planned for 2030-01-01T12:01:01Z" in failure.text
    assert failure.rule.name == "retry"
    assert "max_attempts 3" in failure.rule.text
    assert again.text == "node-2 claimed attempt 2, 2.5 s after it was planned."
    assert told.lateness_ms == 0


async def test_what_waits_for_a_retry_says_when_it_is_due() -> None:
    told = await (await ran(claimed(AT), attempt_failed(60, after(90), no_answer()))).at(AT)
    assert told.verdict == "waiting"
    assert told.summary == "It waits: attempt 1 failed, the next one is due at 2030-01-01T12:01:30Z."
    assert "no usable answer: connection refused" in told.statements[-1].text


async def test_a_retry_on_time_says_no_more_than_that() -> None:
    told = await (await ran(claimed(AT), attempt_failed(60, after(61)), started_again(61, 2))).at(AT)
    assert told.statements[-1].text == "node-2 claimed attempt 2."
    assert told.verdict == "running"


async def test_a_claim_that_was_renewed_names_the_version_it_was_renewed_from() -> None:
    change = updated(url="http://target/new")
    told = await (await ran(claimed(AT), started_again(60, 1, version=2), task=(change,))).at(AT)
    assert codes(told) == ["claimed", "claim_renewed"]
    assert named(told, "claim_renewed") == [("execution.attempt_started.v1", 4), ("task.updated.v1", 2)]


async def test_a_final_failure_names_the_last_answer_and_the_reason() -> None:
    end = ExecutionFailed(at=AT, task_id=TASK, attempt=sent(60, 1, 404), reason="status 404 is final")
    told = await (await ran(claimed(AT), end)).at(AT)
    assert told.verdict == "failed"
    assert told.summary == "It ran and failed: status 404 is final."
    assert rule(told, "failed") == "retry"


async def test_what_lost_its_schedulers_too_often_was_given_up() -> None:
    end = ExecutionFailed(at=AT, task_id=TASK, attempt=None, reason="the outcomes of 6 attempts are unknown")
    told = await (await ran(claimed(AT), *map(taken_over, range(2, 7)), end)).at(AT)
    assert (told.verdict, told.lateness_ms, rule(told, "failed")) == ("failed", None, "delivery")


async def test_a_takeover_names_the_node_that_died_and_both_claims() -> None:
    told = await (await ran(claimed(AT), taken_over(2), succeeded(75, 2))).at(AT)
    assert codes(told) == ["claimed", "taken_over", "succeeded"]
    assert "node-1 stopped without recording what attempt 1 brought" in told.statements[1].text
    assert named(told, "taken_over") == [("execution.started.v1", 2), ("execution.taken_over.v1", 3)]
    assert told.summary == "It ran 15 s late: attempt 2 succeeded."


async def test_a_retry_that_was_cancelled_names_the_cancel() -> None:
    end = ExecutionCancelled(
        at=after(62), task_id=TASK, reason="the task was cancelled: no further attempt is made"
    )
    told = await (
        await ran(claimed(AT), attempt_failed(60, after(70)), end, task=(cancelled(after(61)),))
    ).at(AT)
    assert (told.verdict, rule(told, "cancelled")) == ("cancelled", "cancel")
    assert named(told, "cancelled")[1:] == [("task.cancelled.v1", 2)]


async def test_a_call_that_was_interrupted_says_that_its_end_is_unknown() -> None:
    end = ExecutionCancelled(at=after(62), task_id=TASK, reason="by a user", interrupted=True)
    told = await (await ran(claimed(AT), end)).at(AT)
    assert "whether its last call arrived is unknown" in told.statements[-1].text
    assert named(told, "cancelled") == [("execution.cancelled.v1", 3)]


async def test_a_run_that_was_asked_for_is_not_late_for_its_instant() -> None:
    world = Telling()
    await world.happened(TASK, created())
    past = NOON - timedelta(days=1)
    of = occurrence(past, kind="backfill")
    request = ExecutionRequested(at=NOON, occurrence=of)
    await world.happened(run_of(past), request)
    assert (await world.at(past)).verdict == "pending"
    await world.happened(run_of(past), claimed(past, at=after(4), of=of), succeeded(4))
    told = await world.at(past)
    assert codes(told) == ["requested", "claimed_late", "succeeded"]
    assert told.lateness_ms == 4_000
    assert rule(told, "claimed_late") == "request"


async def test_what_was_skipped_and_is_asked_for_again_waits_to_be_claimed() -> None:
    again = ExecutionRequested(at=after(300), occurrence=occurrence(AT, kind="backfill"))
    told = await (await ran(skipped(AT, "missed", at=after(200)), again)).at(AT)
    assert (told.verdict, codes(told)) == ("pending", ["skipped", "requested"])
    assert told.summary == "It waits to be claimed by a scheduler."


async def test_an_execution_is_explained_by_its_id() -> None:
    world = await ran(claimed(AT), succeeded(60))
    assert await world.explainer.execution("default", run_of(AT)) == await world.at(AT)


async def test_an_execution_of_nowhere_or_of_another_namespace_is_not_found() -> None:
    world = await ran(claimed(AT))
    stray = UUID(int=99)
    await world.happened(stray, cancelled())
    orphan = claimed(AT, of=occurrence(AT))
    lost = Telling()
    await lost.happened(run_of(AT), orphan)
    for asked, namespace, run in (
        (world, "default", UUID(int=77)),
        (world, "default", stray),
        (world, "other", run_of(AT)),
        (lost, "default", run_of(AT)),
    ):
        with pytest.raises(ExecutionNotFound):
            await asked.explainer.execution(namespace, run)


async def test_what_this_release_cannot_read_is_said_and_the_rest_is_told() -> None:
    world = await ran(claimed(AT))
    world.log.plant(run_of(AT), 2, "execution.dreamt.v9", b"{}")
    await world.happened(run_of(AT), cancelled())
    told = await world.at(AT)
    assert codes(told) == ["claimed", "unreadable", "other"]
    assert "execution.dreamt.v9" in told.statements[1].text
    assert named(told, "unreadable") == [("execution.dreamt.v9", 3)]
    assert told.verdict == "running"

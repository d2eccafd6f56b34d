"""What at-most-once means when calls fail and schedulers die; and other bounds on a further attempt."""

import contextlib
from datetime import timedelta
from typing import Any

import pytest

from application.ports import LogUnavailable
from application.scheduler.claims import ClaimAppender, claim_request
from application.scheduler.index import Entry
from application.scheduler.jobs import Job
from application.scheduler.requests import StartAppender
from application.streams import load_execution, load_task
from domain import requesting as queueing
from domain.definition import Delivery, JsonCondition, Overlap, RetryPolicy, SuccessPolicy
from domain.execution import Requested
from domain.facts import (
    Answer,
    AttemptStarted,
    ExecutionFailed,
    ExecutionSucceeded,
    ExecutionTakenOver,
    TaskCompleted,
    TaskFailuresCounted,
    TaskPaused,
    TaskUpdated,
)
from projections.task_results import fold
from tests.support.given import NOON, after, answered, attempt, definition, no_answer
from tests.support.mortal import MortalNode
from tests.support.scheduler import World

UNKNOWN = (
    "the outcome of attempt 1 is unknown, as its scheduler stopped meanwhile, "
    "and at_most_once allows no second call"
)


async def dying_during_its_call(world: World, delivery: Delivery) -> None:
    """node-1 sends the call of a one-off and is killed; node-2 finds what it left."""
    await world.create(at=after(5), delivery=delivery)
    world.caller.takes = timedelta(seconds=3)
    first = MortalNode(world, "node-1")
    await world.clock.reach(after(6))
    first.kill()
    assert len(world.calls) == 1
    await world.run_until(200, "node-2")


async def test_at_most_once_never_calls_again_after_a_node_died(world: World) -> None:
    await dying_during_its_call(world, "at_most_once")
    assert len(world.calls) == 1
    [end] = world.facts(ExecutionFailed)
    assert (end.attempt, end.reason) == (None, UNKNOWN)
    assert [fact.outcome for fact in world.facts(TaskCompleted)] == ["failed"]


async def test_at_least_once_calls_again_after_a_node_died(world: World) -> None:
    await dying_during_its_call(world, "at_least_once")
    assert [call.number for call in world.calls] == [1, 2]
    assert len(world.facts(ExecutionTakenOver)) == 1


NOT_SENT = no_answer(sent=False)
OPEN, DONE = answered(200, '{"state": "open"}'), answered(200, '{"state": "done"}')
REPEATED: dict[str, tuple[dict[str, Any], list[Answer | int], list[float]]] = {
    "at most once, and it may have been sent": ({"delivery": "at_most_once"}, [no_answer()], [5]),
    "at most once, and it never left": ({"delivery": "at_most_once"}, [NOT_SENT, NOT_SENT, 200], [5, 6, 8]),
    "a busy target says when": ({"retry": RetryPolicy(max_retry_after_seconds=60.0)},
        [answered(429, retry_after="40"), answered(503, retry_after="9000")], [5, 45, 105]),
    "polled until it has what success asks for":
        ({"success": SuccessPolicy(json=JsonCondition(pointer="/state", equals="done"))},
         [OPEN, DONE], [5, 6]),
    "full jitter, by a chance of one half":
        ({"retry": RetryPolicy(initial_delay_seconds=20.0, jitter="full")}, [503], [5, 15]),
}  # fmt: skip


@pytest.mark.parametrize(("words", "answers", "calls"), REPEATED.values(), ids=REPEATED)
async def test_a_call_is_repeated_as_its_policies_say(
    world: World, words: dict[str, Any], answers: list[Answer | int], calls: list[float]
) -> None:
    await world.create(at=after(5), **words)
    world.caller.answers(*answers)
    await world.run_until(300)
    assert [call.at for call in world.calls] == [after(second) for second in calls]
    assert len(world.facts(ExecutionFailed)) == (len(answers) == len(calls) == 1)


async def test_at_most_once_a_claim_that_was_not_sent_is_renewed_when_its_task_changes(world: World) -> None:
    task = await world.create(at=after(5), delivery="at_most_once")

    async def update() -> None:
        await world.update(task, at=after(5), delivery="at_most_once", url="http://target/new")

    async with world.scheduler():
        await world.clock.reach(after(4.99))
        await update()
        await world.clock.reach(after(100))
    assert [call.url for call in world.calls] == ["http://target/new"]
    assert [fact.number for fact in world.facts(AttemptStarted)] == [1]
    assert len(world.facts(ExecutionSucceeded)) == 1


async def test_at_most_once_a_retry_that_waits_survives_its_node_when_nothing_was_sent(world: World) -> None:
    await world.create(at=after(5), delivery="at_most_once", retry=RetryPolicy(initial_delay_seconds=30.0))
    world.caller.answers(no_answer(sent=False))
    first = MortalNode(world, "node-1")
    await world.clock.reach(after(6))
    first.kill()
    await world.run_until(100, "node-2")
    assert [call.number for call in world.calls] == [1, 2]


async def test_what_a_node_left_longer_ago_than_max_elapsed_is_not_tried_again(world: World) -> None:
    task = await world.create(at=NOON, retry=RetryPolicy(max_elapsed_seconds=60.0))
    await world.claim(task, node="dead-1")
    await world.clock.reach(after(100))
    await world.run_until(110)
    assert world.calls == []
    [end] = world.facts(ExecutionFailed)
    assert "retry.max_elapsed_seconds is 60" in end.reason


async def test_a_retry_that_was_due_in_a_downtime_lapses_after_max_elapsed(world: World) -> None:
    task = await world.create(
        at=after(5), retry=RetryPolicy(initial_delay_seconds=30.0, max_elapsed_seconds=60.0)
    )
    world.caller.answers(503)
    await world.run_until(10)
    await world.clock.reach(after(3_600))
    await world.run_until(3_610)
    assert len(world.calls) == 1
    [end] = world.facts(ExecutionFailed)
    assert end.lapsed
    assert world.names(task)[-1] == "TaskCompleted"


async def test_a_retry_that_waits_lapses_when_its_task_becomes_at_most_once(world: World) -> None:
    task = await world.create(at=after(5), retry=RetryPolicy(initial_delay_seconds=30.0))
    world.caller.answers(503)
    async with world.scheduler():
        await world.clock.reach(after(10))
        await world.update(task, at=after(5), delivery="at_most_once")
        await world.clock.reach(after(100))
    assert len(world.calls) == 1
    [end] = world.facts(ExecutionFailed)
    assert end.lapsed
    assert end.reason == "the call was sent, or may have been, and at_most_once allows no second one"
    assert world.names(task)[-1] == "TaskCompleted"


ONE_WAITS = Overlap(mode="queue_one")


async def test_what_is_taken_over_amid_an_update_to_at_most_once_is_not_sent_again(world: World) -> None:
    task = await world.create(at=after(5))
    world.caller.takes = timedelta(seconds=30)
    first = MortalNode(world, "node-1")
    await world.clock.reach(after(6))
    first.kill()

    async def update() -> None:
        await world.update(task, at=after(5), delivery="at_most_once")

    async with world.scheduler("node-2"):
        world.log.after_reading[task] = update
        await world.clock.reach(after(200))
    assert len(world.facts(TaskUpdated)) == 1
    assert len(world.calls) == 1
    [end] = world.facts(ExecutionFailed)
    assert "at_most_once allows no second call" in end.reason


async def test_a_claimed_retry_is_not_sent_once_its_task_is_at_most_once(world: World) -> None:
    task = await world.create(at=after(5), retry=RetryPolicy(initial_delay_seconds=10.0))
    await world.create(at=after(10))
    world.caller.answers(503)
    async with world.scheduler(concurrency=1):
        await world.clock.reach(after(9))
        world.caller.takes = timedelta(seconds=9)
        await world.clock.reach(after(16))
        assert len(world.facts(AttemptStarted)) == 1, "claimed, and waits for the worker"
        await world.update(task, at=after(5), delivery="at_most_once")
        await world.clock.reach(after(100))
    assert [call.number for call in world.calls] == [1, 1]
    [end] = world.facts(ExecutionFailed)
    assert end.lapsed
    [row] = [row for row in fold({}, world.log.recorded).rows.values() if row.status == "failed"]
    assert (row.attempts, len(row.attempt_log), row.status_code) == (1, 1, 503)


async def test_a_retry_does_not_lapse_by_a_policy_that_an_update_has_replaced(world: World) -> None:
    retry = RetryPolicy(initial_delay_seconds=30.0, max_elapsed_seconds=60.0)
    task = await world.create(at=after(5), retry=retry)
    world.caller.answers(503)
    async with world.scheduler():
        await world.clock.reach(after(10))
        with world.follower.held():
            await world.update(task, at=after(5), retry=RetryPolicy(initial_delay_seconds=30.0))
            world.nodes.now = lambda: world.clock.now() + timedelta(seconds=60)  # so it claims nothing
            await world.clock.reach(after(100))
            world.nodes.now = world.clock.now
            await world.clock.reach(after(200))
    assert world.facts(ExecutionFailed) == []
    assert [call.number for call in world.calls] == [1, 2]


async def test_a_claim_that_never_arrived_is_not_mistaken_for_a_later_start_from_the_queue(
    world: World,
) -> None:
    task, due = await world.create(overlap=ONE_WAITS, delivery="at_most_once"), after(60)
    context, begun = world.context("node-1"), list[Job]()
    appender, starts = ClaimAppender(context, begun.append), StartAppender(context, begun.append)
    entry = Entry(task, 1, "default", definition(overlap=ONE_WAITS, delivery="at_most_once"), due)
    with world.log.away(), contextlib.suppress(LogUnavailable):
        await appender.append(claim_request(entry, context.node, NOON))
    behind = await world.claim(task, NOON, next_run_at=due)
    run = await world.queue(task, due, behind.id, after(120))
    await world.append(behind.id, ExecutionSucceeded(at=NOON, task_id=task, attempt=attempt()))
    queued, now = await load_execution(world.log, run), await load_task(world.log, task)
    assert isinstance(queued, Requested)
    assert now is not None
    started = queueing.start_queued(queued, now, starts.lease(now, NOON), NOON)
    assert await starts.append(queued, started, now, NOON)
    await appender.look()
    assert len(begun) == 1


WATCHED = RetryPolicy(disable_after_failures=1, initial_delay_seconds=20, jitter="none")
AT_MOST_ONCE: Delivery = "at_most_once"


@pytest.mark.parametrize(("url", "failures"), [("http://target/", [1]), ("http://target/mended", [])])
async def test_a_retry_that_lapses_counts_as_a_failure_of_the_target_that_was_called(
    world: World, url: str, failures: list[int]
) -> None:
    world.caller.answers(503)
    task = await world.create(retry=WATCHED)
    async with world.scheduler():
        await world.clock.reach(after(65))
        await world.update(task, retry=WATCHED, url=url, delivery=AT_MOST_ONCE)
        await world.clock.reach(after(90))
    assert [fact.lapsed for fact in world.facts(ExecutionFailed)] == [True]
    assert [fact.failures for fact in world.facts(TaskFailuresCounted)] == failures
    assert len(world.facts(TaskPaused)) == len(failures)


@pytest.mark.parametrize(("url", "failures"), [("http://target/", [1]), ("http://target/mended", [])])
async def test_what_a_dead_node_left_counts_as_a_failure_of_the_target_that_was_called(
    world: World, url: str, failures: list[int]
) -> None:
    world.caller.takes = timedelta(seconds=30)
    task = await world.create(retry=WATCHED, delivery=AT_MOST_ONCE)
    dying = MortalNode(world, "node-1")
    await world.clock.reach(after(61))
    dying.kill()
    await world.update(task, retry=WATCHED, url=url, delivery=AT_MOST_ONCE)
    await world.run_until(110, "node-2")
    assert len(world.facts(ExecutionFailed)) == 1
    assert [fact.failures for fact in world.facts(TaskFailuresCounted)] == failures


async def test_a_retry_is_not_made_when_an_update_allows_it_no_longer(world: World) -> None:
    world.caller.answers(503)
    task = await world.create(retry=WATCHED)
    async with world.scheduler():
        await world.clock.reach(after(65))
        shorter = RetryPolicy(max_elapsed_seconds=10)
        await world.update(task, retry=shorter)
        await world.clock.reach(after(90))
    [end] = world.facts(ExecutionFailed)
    assert end.reason == (
        "the next attempt would begin 20 s after the first one; retry.max_elapsed_seconds is 10"
    )
    assert len(world.calls) == 1


async def test_a_retry_that_found_no_free_worker_in_time_is_not_made(world: World) -> None:
    world.caller.answers(503)
    await world.create(at=after(5), retry=RetryPolicy(initial_delay_seconds=1, max_elapsed_seconds=10))
    for _ in range(2):
        await world.create(at=after(5.5))
    async with world.scheduler(concurrency=1):
        await world.clock.reach(after(5.2))
        world.caller.takes = timedelta(seconds=8)
        await world.clock.reach(after(40))
    [end] = world.facts(ExecutionFailed)
    assert end.lapsed
    assert end.reason == (
        "the next attempt would begin 16.5 s after the first one; retry.max_elapsed_seconds is 10"
    )
    assert len(world.calls) == 3

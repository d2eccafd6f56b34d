"""What at-most-once means when calls fail and schedulers die; and other bounds on a further attempt."""

from datetime import timedelta

import pytest

from domain.definition import Delivery, JsonCondition, RetryPolicy, SuccessPolicy
from domain.facts import (
    Answer,
    AttemptFailed,
    AttemptStarted,
    ExecutionFailed,
    ExecutionSucceeded,
    ExecutionTakenOver,
    TaskCompleted,
)
from tests.support.given import NOON, after, answered, no_answer
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


@pytest.mark.parametrize("answer", [answered(503), no_answer()])
async def test_at_most_once_makes_no_retry_of_what_may_have_been_sent(world: World, answer: Answer) -> None:
    await world.create(at=after(5), delivery="at_most_once")
    world.caller.answers(answer)
    await world.run_until(100)
    assert len(world.calls) == 1
    assert len(world.facts(ExecutionFailed)) == 1


async def test_at_most_once_retries_what_never_left(world: World) -> None:
    await world.create(at=after(5), delivery="at_most_once")
    world.caller.answers(no_answer(sent=False), no_answer(sent=False), 200)
    await world.run_until(100)
    assert [call.number for call in world.calls] == [1, 2, 3]
    assert len(world.facts(ExecutionSucceeded)) == 1


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


async def test_a_retry_after_moves_the_retry_of_a_busy_target(world: World) -> None:
    await world.create(at=after(5), retry=RetryPolicy(max_retry_after_seconds=60.0))
    world.caller.answers(answered(429, retry_after="40"), answered(503, retry_after="9000"))
    await world.run_until(300)
    assert [call.at for call in world.calls] == [after(5), after(45), after(105)]


async def test_an_answer_that_lacks_what_success_asks_for_is_polled_for(world: World) -> None:
    done = SuccessPolicy(json=JsonCondition(pointer="/state", equals="done"))
    await world.create(at=after(5), success=done)
    world.caller.answers(answered(200, '{"state": "open"}'), answered(200, '{"state": "done"}'))
    await world.run_until(100)
    [lacking] = world.facts(AttemptFailed)
    assert lacking.unmet == 'the body has "open" at "/state" instead of "done"'
    assert len(world.facts(ExecutionSucceeded)) == 1


async def test_full_jitter_spreads_the_retry_over_the_whole_delay() -> None:
    world = World()  # whose chance is always one half
    await world.create(at=after(5), retry=RetryPolicy(initial_delay_seconds=20.0, jitter="full"))
    world.caller.answers(503)
    await world.run_until(100)
    assert [call.at for call in world.calls] == [after(5), after(15)]

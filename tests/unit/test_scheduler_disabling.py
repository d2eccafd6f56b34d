"""Tasks that the scheduler takes out of service by itself: after failures in a row, and after a 410."""

from __future__ import annotations

from typing import Any

from application.scheduler.jobs import Job
from application.scheduler.outcomes import Outcomes
from domain.definition import Cron, RetryPolicy, SuccessPolicy
from domain.facts import (
    AttemptFailed,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionSucceeded,
    TaskCancelled,
    TaskFailuresCounted,
    TaskPaused,
)
from tests.support.exchanging import brought
from tests.support.given import NOON, after, definition
from tests.support.scheduler import World

STOPPING = RetryPolicy(on_gone="stop")


def watched(failures: int, **rest: Any) -> RetryPolicy:
    return RetryPolicy(disable_after_failures=failures, **rest)


def counts(world: World) -> list[int]:
    return [fact.failures for fact in world.facts(TaskFailuresCounted)]


async def test_five_failures_in_a_row_pause_the_task() -> None:
    world = World()
    task = await world.create(retry=watched(5))
    world.caller.answers(*[404] * 9)
    async with world.scheduler():
        await world.clock.reach(after(1_000))
    assert [call.at for call in world.calls] == [after(60 * minute) for minute in range(1, 6)]
    assert counts(world) == [1, 2, 3, 4, 5]
    assert world.names(task)[-2:] == ["TaskFailuresCounted", "TaskPaused"]
    [pause] = world.facts(TaskPaused)
    assert pause.note is not None
    assert pause.note.startswith("5 executions in a row have failed")


async def test_a_success_in_between_starts_the_row_anew() -> None:
    world = World()
    await world.create(retry=watched(3))
    world.caller.answers(404, 404, 200, 404, 404, 200)
    async with world.scheduler():
        await world.clock.reach(after(400))
    assert counts(world) == [1, 2, 0, 1, 2, 0]
    assert world.facts(TaskPaused) == []
    assert len(world.calls) == 6


async def test_a_failure_is_a_whole_execution_and_not_an_attempt() -> None:
    world = World()
    await world.create(retry=watched(2, max_attempts=3))
    world.caller.answers(503, 503, 200)
    async with world.scheduler():
        await world.clock.reach(after(90))
    assert len(world.facts(AttemptFailed)) == 2
    assert counts(world) == []


async def test_a_resumed_task_runs_again_and_counts_from_none() -> None:
    world = World()
    task = await world.create(retry=watched(2))
    world.caller.answers(*[404] * 9)
    async with world.scheduler():
        await world.clock.reach(after(150))
        await world.resume(task)
        await world.clock.reach(after(1_000))
    assert counts(world) == [1, 2, 1, 2]
    assert len(world.facts(TaskPaused)) == 2
    assert len(world.calls) == 4


async def test_runs_by_hand_count_too() -> None:
    world = World()
    task = await world.create(retry=watched(2))
    world.caller.answers(404, 404)
    async with world.scheduler():
        await world.trigger(task)
        await world.clock.reach(after(10))
        await world.trigger(task)
        await world.clock.reach(after(500))
    assert len(world.calls) == 2
    assert len(world.facts(TaskPaused)) == 1


async def test_a_run_by_hand_that_succeeds_while_paused_sets_the_count_back() -> None:
    world = World()
    task = await world.create(retry=watched(1))
    world.caller.answers(404)
    async with world.scheduler():
        await world.clock.reach(after(70))
        await world.trigger(task)
        await world.clock.reach(after(80))
    assert counts(world) == [1, 0]
    assert world.names(task)[-1] == "TaskFailuresCounted"


async def test_the_last_failure_of_a_schedule_that_ends_completes_it() -> None:
    world = World()
    task = await world.create(trigger=Cron(cron="* * * * *", max_runs=1), retry=watched(1))
    world.caller.answers(404)
    async with world.scheduler():
        await world.clock.reach(after(70))
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


async def test_what_is_cancelled_or_skipped_counts_nothing() -> None:
    world = World()
    await world.create(retry=watched(1))
    world.caller.takes = after(10) - NOON
    async with world.scheduler():
        await world.clock.reach(after(65))
        await world.cancel_execution(world.calls[0].execution_id)
        await world.clock.reach(after(75))
    assert len(world.facts(ExecutionCancelled)) == 1
    assert counts(world) == []


async def test_an_execution_that_was_claimed_before_a_count_is_recorded_all_the_same() -> None:
    world = World()
    task = await world.create(retry=watched(9))
    world.caller.takes = after(90) - NOON
    world.caller.answers(404, 404)
    async with world.scheduler():
        await world.clock.reach(after(300))
    assert world.calls[1].at < after(60 + 90)
    assert counts(world)[:2] == [1, 2]
    assert world.names(task)[:3] == ["TaskCreated", "TaskFailuresCounted", "TaskFailuresCounted"]


async def test_a_retry_of_what_was_claimed_before_a_count_is_made_all_the_same() -> None:
    world = World()
    task = await world.create(retry=watched(9, initial_delay_seconds=30.0))
    world.caller.answers(503, 404)
    async with world.scheduler():
        await world.clock.reach(after(70))
        await world.trigger(task)
        await world.clock.reach(after(100))
    assert [(call.at, call.number) for call in world.calls] == [
        (after(60), 1),
        (after(70), 1),
        (after(90), 2),
    ]
    assert counts(world) == [1, 0]


async def test_a_retry_goes_on_when_its_task_is_paused_by_another_failure() -> None:
    world = World()
    task = await world.create(retry=watched(1, initial_delay_seconds=30.0))
    world.caller.answers(503, 404)
    async with world.scheduler():
        await world.clock.reach(after(70))
        await world.trigger(task)
        await world.clock.reach(after(500))
    assert [call.number for call in world.calls] == [1, 1, 2]
    assert len(world.facts(TaskPaused)) == 1


async def test_a_claim_that_a_count_overtook_is_made_all_the_same() -> None:
    world = World()
    await world.create(retry=watched(9))
    world.caller.answers(404)
    async with world.scheduler():
        await world.clock.reach(after(59))
        with world.follower.held():
            await world.clock.reach(after(125))
    assert [call.at for call in world.calls] == [after(60), after(120)]
    assert counts(world) == [1, 0]


async def test_no_occurrence_is_claimed_between_the_pause_and_its_being_heard_of() -> None:
    world = World()
    await world.create(retry=watched(1))
    world.caller.answers(404)
    async with world.scheduler():
        await world.clock.reach(after(59))
        with world.follower.held():
            await world.clock.reach(after(500))
    assert [call.at for call in world.calls] == [after(60)]


async def test_two_nodes_whose_executions_fail_at_once_count_both() -> None:
    world = World()
    task = await world.create(retry=watched(9))
    jobs = [
        Job(await world.claim(task, after(60 * minute)), definition(retry=watched(9)), 1, NOON)
        for minute in (1, 2)
    ]
    first, second = Outcomes(world.context("node-1")), Outcomes(world.context("node-2"))

    async def meanwhile() -> None:
        await second.settle([(jobs[1], brought(1, 404))], lambda: None)

    world.log.after_reading[task] = meanwhile
    await first.settle([(jobs[0], brought(1, 404))], lambda: None)
    assert counts(world) == [1, 2]
    assert len(world.facts(ExecutionFailed)) == 2


async def test_a_task_that_asks_for_nothing_is_not_read_for_an_outcome() -> None:
    world = World()
    task = await world.create()
    job = Job(await world.claim(task), definition(), 1, NOON)

    async def read() -> None:
        raise AssertionError("the task was read")

    world.log.after_reading[task] = read
    await Outcomes(world.context()).settle([(job, brought(1, 404))], lambda: None)
    assert len(world.facts(ExecutionFailed)) == 1


async def test_a_410_stops_the_task() -> None:
    world = World()
    task = await world.create(retry=STOPPING)
    world.caller.answers(200, 410)
    async with world.scheduler():
        await world.clock.reach(after(500))
    assert [call.at for call in world.calls] == [after(60), after(120)]
    [end], [stop] = world.facts(ExecutionFailed), world.facts(TaskCancelled)
    assert end.reason == 'status 410 is final: the target is gone for good, and retry.on_gone is "stop"'
    assert stop.reason is not None
    assert str(world.calls[-1].execution_id) in stop.reason
    assert world.names(task)[-1] == "TaskCancelled"


async def test_a_410_ends_what_waits_for_a_retry_too() -> None:
    world = World()
    task = await world.create(retry=RetryPolicy(on_gone="stop", initial_delay_seconds=300.0))
    world.caller.answers(503, 410)
    async with world.scheduler():
        await world.clock.reach(after(70))
        await world.trigger(task)
        await world.clock.reach(after(80))
    [end] = world.facts(ExecutionCancelled)
    assert end.reason == "the task was cancelled: no further attempt is made"


async def test_a_410_does_not_stop_a_task_that_does_not_ask_for_it() -> None:
    world = World()
    await world.create(retry=RetryPolicy(on_gone="fail"))
    world.caller.answers(410)
    async with world.scheduler():
        await world.clock.reach(after(130))
    assert len(world.calls) == 2
    assert world.facts(TaskCancelled) == []


async def test_a_410_that_is_a_success_stops_nothing() -> None:
    world = World()
    await world.create(retry=STOPPING, success=SuccessPolicy(statuses=("2xx", "410")))
    world.caller.answers(410)
    async with world.scheduler():
        await world.clock.reach(after(130))
    assert len(world.facts(ExecutionSucceeded)) == 2


async def test_a_410_of_a_one_off_completes_it_as_failed() -> None:
    world = World()
    task = await world.create(at=after(5), retry=STOPPING)
    world.caller.answers(410)
    async with world.scheduler():
        await world.clock.reach(after(10))
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


async def test_a_410_amid_an_update_to_another_target_stops_nothing() -> None:
    world = World()
    task = await world.create(retry=STOPPING)
    world.caller.takes = after(10) - NOON
    world.caller.answers(410)
    async with world.scheduler():
        await world.clock.reach(after(65))
        await world.update(task, retry=STOPPING, url="http://target/new")
        await world.clock.reach(after(190))
    assert world.facts(TaskCancelled) == []
    assert [call.url for call in world.calls][1:] == ["http://target/new"] * 2

"""Tasks that the scheduler takes out of service by itself: after failures in a row, and after a 410."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from application.scheduler.jobs import Job
from application.scheduler.outcomes import Outcomes
from domain.definition import Cron, RetryPolicy, SuccessPolicy
from domain.facts import ExecutionCancelled, ExecutionFailed, TaskCancelled, TaskFailuresCounted, TaskPaused
from infrastructure.metrics import Instruments, ObservedScheduler
from infrastructure.task_log import TaskLog
from tests.support.exchanging import brought
from tests.support.given import NOON, TASK, after, definition, occurrence
from tests.support.scheduler import World

STOPPING = RetryPolicy(on_gone="stop")


def watched(failures: int, **rest: Any) -> RetryPolicy:
    return RetryPolicy(disable_after_failures=failures, **rest)


def counts(world: World) -> list[int]:
    return [fact.failures for fact in world.facts(TaskFailuresCounted)]


async def test_five_failures_in_a_row_pause_the_task(world: World) -> None:
    task = await world.create(retry=watched(5))
    world.caller.answers(*[404] * 9)
    await world.run_until(1_000)
    assert [call.at for call in world.calls] == [after(60 * minute) for minute in range(1, 6)]
    assert counts(world) == [1, 2, 3, 4, 5]
    assert world.names(task)[-2:] == ["TaskFailuresCounted", "TaskPaused"]
    [pause] = world.facts(TaskPaused)
    assert pause.note is not None
    assert pause.note.startswith("5 executions in a row have failed")


ONCE = Cron(cron="* * * * *", max_runs=1)
STANDS: dict[str, tuple[dict[str, Any], list[int], int, list[int], str]] = {
    "a success in between starts the row anew":
        ({"retry": watched(3)}, [404, 404, 200, 404, 404, 200], 6, [1, 2, 0, 1, 2, 0], "TaskFailuresCounted"),
    "an attempt is no execution": ({"retry": watched(2)}, [503, 503, 200], 3, [], "TaskCreated"),
    "the last failure of a schedule that ends completes it":
        ({"retry": watched(1), "trigger": ONCE}, [404], 1, [], "TaskCompleted"),
    "a 410 of a task that does not ask for its stop":
        ({"retry": RetryPolicy(on_gone="fail")}, [410], 1, [], "TaskCreated"),
    "a 410 that is a success":
        ({"retry": STOPPING, "success": SuccessPolicy(statuses=("2xx", "410"))}, [410], 1, [], "TaskCreated"),
    "a 410 of a one-off completes it as failed":
        ({"retry": STOPPING, "at": after(60)}, [410], 1, [], "TaskCompleted"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "answers", "calls", "counted", "last"), STANDS.values(), ids=STANDS)
async def test_what_takes_no_task_out_of_service(
    world: World, words: dict[str, Any], answers: list[int], calls: int, counted: list[int], last: str
) -> None:
    task = await world.create(**words)
    world.caller.answers(*answers)
    await world.run_until(60 * max(1, calls if counted else 1) + 30)
    assert len(world.calls) == calls
    assert counts(world) == counted
    assert [world.facts(TaskPaused), world.facts(TaskCancelled)] == [[], []]
    assert world.names(task)[-1] == last


async def test_a_resumed_task_runs_again_and_counts_from_none(world: World) -> None:
    task = await world.create(retry=watched(2))
    world.caller.answers(*[404] * 9)
    async with world.scheduler():
        await world.clock.reach(after(150))
        await world.resume(task)
        await world.clock.reach(after(1_000))
    assert counts(world) == [1, 2, 1, 2]
    assert len(world.facts(TaskPaused)) == 2
    assert len(world.calls) == 4


async def test_runs_by_hand_count_too(world: World) -> None:
    task = await world.create(retry=watched(2))
    world.caller.answers(404, 404)
    async with world.scheduler():
        await world.trigger(task)
        await world.clock.reach(after(10))
        await world.trigger(task)
        await world.clock.reach(after(500))
    assert len(world.calls) == 2
    assert len(world.facts(TaskPaused)) == 1


async def test_a_run_by_hand_that_succeeds_while_paused_sets_the_count_back(world: World) -> None:
    task = await world.create(retry=watched(1))
    world.caller.answers(404)
    async with world.scheduler():
        await world.clock.reach(after(70))
        await world.trigger(task)
        await world.clock.reach(after(80))
    assert counts(world) == [1, 0]
    assert world.names(task)[-1] == "TaskFailuresCounted"


async def test_what_is_cancelled_or_skipped_counts_nothing(world: World) -> None:
    await world.create(retry=watched(1))
    world.caller.takes = after(10) - NOON
    async with world.scheduler():
        await world.clock.reach(after(65))
        await world.cancel_execution(world.calls[0].execution_id)
        await world.clock.reach(after(75))
    assert len(world.facts(ExecutionCancelled)) == 1
    assert counts(world) == []


async def test_an_execution_that_was_claimed_before_a_count_is_recorded_all_the_same(world: World) -> None:
    task = await world.create(retry=watched(9))
    world.caller.takes = after(90) - NOON
    world.caller.answers(404, 404)
    await world.run_until(300)
    assert world.calls[1].at < after(60 + 90)
    assert counts(world)[:2] == [1, 2]
    assert world.names(task)[:3] == ["TaskCreated", "TaskFailuresCounted", "TaskFailuresCounted"]


async def test_a_retry_of_what_was_claimed_before_a_count_is_made_all_the_same(world: World) -> None:
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


async def test_a_retry_goes_on_when_its_task_is_paused_by_another_failure(world: World) -> None:
    task = await world.create(retry=watched(1, initial_delay_seconds=30.0))
    world.caller.answers(503, 404)
    async with world.scheduler():
        await world.clock.reach(after(70))
        await world.trigger(task)
        await world.clock.reach(after(500))
    assert [call.number for call in world.calls] == [1, 1, 2]
    assert len(world.facts(TaskPaused)) == 1


async def test_a_claim_that_a_count_overtook_is_made_all_the_same(world: World) -> None:
    await world.create(retry=watched(9))
    world.caller.answers(404)
    async with world.scheduler():
        await world.clock.reach(after(59))
        with world.follower.held():
            await world.clock.reach(after(125))
    assert [call.at for call in world.calls] == [after(60), after(120)]
    assert counts(world) == [1, 0]


async def test_no_occurrence_is_claimed_between_the_pause_and_its_being_heard_of(world: World) -> None:
    await world.create(retry=watched(1))
    world.caller.answers(404)
    async with world.scheduler():
        await world.clock.reach(after(59))
        with world.follower.held():
            await world.clock.reach(after(500))
    assert [call.at for call in world.calls] == [after(60)]


async def test_two_nodes_whose_executions_fail_at_once_count_both(world: World) -> None:
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


async def test_a_task_that_asks_for_nothing_is_not_read_for_an_outcome(world: World) -> None:
    task = await world.create()
    job = Job(await world.claim(task), definition(), 1, NOON)

    async def read() -> None:
        raise AssertionError("the task was read")

    world.log.after_reading[task] = read
    await Outcomes(world.context()).settle([(job, brought(1, 404))], lambda: None)
    assert len(world.facts(ExecutionFailed)) == 1


async def test_a_410_stops_the_task(world: World) -> None:
    task = await world.create(retry=STOPPING)
    world.caller.answers(200, 410)
    await world.run_until(500)
    assert [call.at for call in world.calls] == [after(60), after(120)]
    [end], [stop] = world.facts(ExecutionFailed), world.facts(TaskCancelled)
    assert end.reason == 'status 410 is final: the target is gone for good, and retry.on_gone is "stop"'
    assert stop.reason is not None
    assert str(world.calls[-1].execution_id) in stop.reason
    assert world.names(task)[-1] == "TaskCancelled"


async def test_a_410_ends_what_waits_for_a_retry_too(world: World) -> None:
    task = await world.create(retry=RetryPolicy(on_gone="stop", initial_delay_seconds=300.0))
    world.caller.answers(503, 410)
    async with world.scheduler():
        await world.clock.reach(after(70))
        await world.trigger(task)
        await world.clock.reach(after(80))
    [end] = world.facts(ExecutionCancelled)
    assert end.reason == "the task was cancelled: no further attempt is made"


async def test_a_410_amid_an_update_to_another_target_stops_nothing(world: World) -> None:
    task = await world.create(retry=STOPPING)
    world.caller.takes = after(10) - NOON
    world.caller.answers(410)
    async with world.scheduler():
        await world.clock.reach(after(65))
        await world.update(task, retry=STOPPING, url="http://target/new")
        await world.clock.reach(after(190))
    assert world.facts(TaskCancelled) == []
    assert [call.url for call in world.calls][1:] == ["http://target/new"] * 2


@pytest.fixture
def instruments() -> Instruments:
    return Instruments()


@pytest.fixture
def observer(tmp_path: Path, instruments: Instruments) -> Iterator[ObservedScheduler]:
    task_log = TaskLog(tmp_path)
    yield ObservedScheduler(instruments, task_log)
    task_log.close()


def stopped(instruments: Instruments) -> dict[str, float]:
    """How many tasks were counted, by the reason."""
    families = text_string_to_metric_families(instruments.exposition().decode())
    [family] = (family for family in families if family.name == "chronoledger_tasks_stopped")
    return {sample.labels["reason"]: sample.value for sample in family.samples}


async def test_a_pause_after_failures_is_told_once_with_the_task_and_why(world: World) -> None:
    task = await world.create(retry=RetryPolicy(disable_after_failures=2))
    world.caller.answers(404, 404)
    await world.run_until(500)
    [(which, change)] = world.observed.stops
    assert (which.task_id, which.task_name) == (task, "report")
    assert [change] == world.facts(TaskPaused)


async def test_a_cancel_after_a_410_is_told_once_with_the_task_and_why(world: World) -> None:
    task = await world.create(retry=RetryPolicy(on_gone="stop"))
    world.caller.answers(410)
    await world.run_until(500)
    [(which, change)] = world.observed.stops
    assert which.task_id == task
    assert [change] == world.facts(TaskCancelled)


async def test_what_users_stop_and_what_completes_is_not_told(world: World) -> None:
    await world.create(at=after(5), retry=RetryPolicy(on_gone="stop"))
    world.caller.answers(410)
    async with world.scheduler():
        await world.pause(await world.create())
        await world.cancel(await world.create())
        await world.clock.reach(after(500))
    assert len(world.observed.ends) == 1
    assert world.observed.stops == []


def test_the_log_warns_of_a_pause_after_failures_and_it_is_counted(
    observer: ObservedScheduler, instruments: Instruments
) -> None:
    with capture_logs() as logged:
        observer.stopped(occurrence(), TaskPaused(at=NOON, note="3 executions in a row have failed"))
    assert logged == [
        {
            "event": "task paused after failures",
            "log_level": "warning",
            "task_id": str(TASK),
            "task_name": "report",
            "reason": "3 executions in a row have failed",
        }
    ]
    assert stopped(instruments) == {"failures": 1, "gone": 0}


def test_the_log_warns_of_a_cancel_after_a_410_and_it_is_counted(
    observer: ObservedScheduler, instruments: Instruments
) -> None:
    with capture_logs() as logged:
        observer.stopped(occurrence(), TaskCancelled(at=NOON, reason="it was answered with status 410"))
    assert logged == [
        {
            "event": "task cancelled as its target is gone",
            "log_level": "warning",
            "task_id": str(TASK),
            "task_name": "report",
            "reason": "it was answered with status 410",
        }
    ]
    assert stopped(instruments) == {"failures": 0, "gone": 1}

"""What a scheduler says about the tasks that it takes out of service by itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from domain.definition import RetryPolicy
from domain.facts import TaskCancelled, TaskPaused
from infrastructure.metrics import Instruments, ObservedScheduler
from infrastructure.task_log import TaskLog
from tests.support.given import NOON, TASK, after, occurrence
from tests.support.scheduler import World


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

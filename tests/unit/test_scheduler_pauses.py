"""Pausing and resuming under a running scheduler."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from application.ports import Open
from domain.facts import ExecutionSkipped
from domain.identity import execution_id
from tests.support.given import after
from tests.support.scheduler import World


async def test_a_paused_task_does_not_fire(world: World) -> None:
    task = await world.create(cron="* * * * *")
    async with world.scheduler():
        await world.clock.reach(after(61))
        await world.pause(task)
        await world.clock.reach(after(400))
    assert [call.at for call in world.calls] == [after(60)]


async def test_a_resumed_task_runs_the_latest_occurrence_and_accounts_for_the_others(world: World) -> None:
    task = await world.create(cron="* * * * *")
    async with world.scheduler():
        await world.clock.reach(after(61))
        await world.pause(task)
        await world.clock.reach(after(275))
        await world.resume(task)
        await world.clock.reach(after(301))
    assert [call.execution_id for call in world.calls] == [
        execution_id(task, after(60 * minute), "scheduled") for minute in (1, 4, 5)
    ]
    assert after(275) <= world.calls[1].at < after(276)
    skipped = world.facts(ExecutionSkipped)
    assert [fact.occurrence.due_at for fact in skipped] == [after(120), after(180)]
    paused = f"the task was paused (from {after(61).isoformat()} to {after(275).isoformat()})"
    assert {fact.reason for fact in skipped} == {paused}


async def test_a_one_off_that_was_due_in_a_pause_runs_when_resumed(world: World) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        await world.pause(task)
        await world.clock.reach(after(60))
        assert world.calls == []
        await world.resume(task)
        await world.clock.reach(after(62))
    assert len(world.calls) == 1
    assert world.names(task) == ["TaskCreated", "TaskPaused", "TaskResumed", "TaskCompleted"]


async def test_what_runs_when_its_task_is_paused_goes_on_with_its_retries_and_ends_it(world: World) -> None:
    world.caller.answers(503, 200)
    world.caller.takes = timedelta(seconds=2)
    task = await world.create(at=after(5))
    async with world.scheduler():
        await world.clock.reach(after(6))
        await world.pause(task)
        await world.clock.reach(after(20))
    assert [call.number for call in world.calls] == [1, 2]
    assert world.names(task) == ["TaskCreated", "TaskPaused", "TaskCompleted"]


async def test_a_task_that_is_moved_while_it_is_paused_goes_on_from_its_new_place(world: World) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        await world.pause(task)
        await world.update(task, at=after(40))
        await world.clock.reach(after(30))
        await world.resume(task)
        await world.clock.reach(after(41))
    assert [call.at for call in world.calls] == [after(40)]


async def test_a_pause_that_the_scheduler_has_not_heard_of_wins(world: World) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        with world.follower.held():
            await world.pause(task)
            await world.clock.reach(after(9))
        await world.clock.reach(after(10))
        assert world.calls == []
        await world.resume(task)
        await world.clock.reach(after(12))
    assert len(world.calls) == 1


async def test_a_resumed_task_waits_two_seconds_at_most_for_a_read_model_that_is_behind(world: World) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        await world.pause(task)
        await world.clock.reach(after(10))
        world.due_tasks.projected = len(world.log.recorded)
        await world.resume(task)
        await world.clock.reach(after(11))
        assert world.calls == []
        await world.clock.reach(after(13))
    assert len(world.calls) == 1


async def test_a_resumed_task_comes_back_when_the_read_model_is_there_again(world: World) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        await world.pause(task)
        await world.clock.reach(after(10))
        world.due_tasks.away = True
        await world.resume(task)
        await world.clock.reach(after(20))
        assert world.calls == []
        world.due_tasks.away = False
        await world.clock.reach(after(21))
    assert len(world.calls) == 1


async def test_a_task_that_is_paused_again_at_once_does_not_come_back(world: World) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        await world.pause(task)
        await world.clock.reach(after(10))
        await world.resume(task)
        await world.pause(task)
        await world.clock.reach(after(20))
    assert world.calls == []


async def test_a_pause_that_the_first_page_knows_to_be_over_is_followed_without_harm(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await world.create(cron="* * * * *")
    open_runs = world.due_tasks.open_runs

    async def then_paused_for_a_moment() -> tuple[int, Sequence[Open]]:
        answer = await open_runs()
        await world.pause(task)
        await world.resume(task)
        return answer

    monkeypatch.setattr(world.due_tasks, "open_runs", then_paused_for_a_moment)
    async with world.scheduler():
        world.due_tasks.away = True  # nobody can be asked where the resumed task stands
        await world.clock.reach(after(61))
        world.due_tasks.away = False
    assert [call.at for call in world.calls] == [after(60)]


async def test_what_goes_on_is_asked_for_until_it_is_known(world: World) -> None:
    await world.create(cron="* * * * *")
    world.due_tasks.away = True
    async with world.scheduler():
        await world.clock.reach(after(30))
        world.due_tasks.away = False
        await world.clock.reach(after(61))
    assert [call.at for call in world.calls] == [after(60)]

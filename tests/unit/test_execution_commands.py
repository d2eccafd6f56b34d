"""Handling commands about executions: run now, run what was not, break off."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from application.ports import LogUnavailable
from application.tasks import MAX_TRIES
from domain.errors import (
    ExecutionAlreadyOver,
    ExecutionNotFound,
    IdempotencyKeyReused,
    MonthArchived,
    TaskAlreadyOver,
    TaskNotFound,
    VersionMismatch,
)
from domain.execution import FinishedExecution, Requested
from domain.facts import ExecutionCancelled, ExecutionRequested
from domain.identity import Month
from domain.requesting import Period
from tests.support.given import NOON, after, every
from tests.support.scheduler import REQUEST, World

NOBODY = UUID(int=404)
KEYED = replace(REQUEST, idempotency_key="k-1", digest="run this task")
ELSEWHERE = replace(REQUEST, namespace="elsewhere")
PERIOD = Period(start=NOON, end=after(120), limit=10)


def again_and_again(world: World, stream: UUID, change: Callable[[], Awaitable[object]]) -> None:
    """Somebody is faster every time that a stream is read."""

    async def happening() -> None:
        await change()
        world.log.after_reading[stream] = happening

    world.log.after_reading[stream] = happening


async def test_a_task_is_run_now(world: World) -> None:
    task = await world.create(cron="* * * * *")
    accepted = await world.executions.trigger(task, REQUEST, if_match=1)
    assert isinstance(accepted.state, Requested)
    assert (accepted.position, accepted.created_at, accepted.changed) == (2, NOON, True)
    assert world.names(accepted.state.id) == ["ExecutionRequested"]


async def test_two_runs_of_one_instant_are_two(world: World) -> None:
    task = await world.create(cron="* * * * *")
    assert await world.trigger(task) != await world.trigger(task)


async def test_a_repeated_run_with_the_same_key_is_the_first_one(world: World) -> None:
    task = await world.create(cron="* * * * *")
    first = await world.executions.trigger(task, KEYED, if_match=None)
    await world.cancel(task)
    again = await world.executions.trigger(task, KEYED, if_match=None)
    assert (again.state, again.replayed, again.created_at) == (first.state, True, first.created_at)
    assert len(world.facts(ExecutionRequested)) == 1


async def test_a_key_that_stands_for_something_else_is_refused(world: World) -> None:
    task = await world.create(cron="* * * * *")
    await world.executions.trigger(task, KEYED, if_match=None)
    with pytest.raises(IdempotencyKeyReused):
        await world.executions.trigger(task, replace(KEYED, digest="run another"), if_match=None)
    state = (await world.commands.cancel(task, REQUEST, if_match=None)).state
    created = replace(REQUEST, idempotency_key="k-2", digest="run this task")
    await world.commands.create(state.definition, created)
    with pytest.raises(IdempotencyKeyReused):
        await world.executions.trigger(task, created, if_match=None)


async def test_a_key_that_is_taken_meanwhile_answers_with_what_it_stands_for(world: World) -> None:
    task = await world.create(cron="* * * * *")
    world.log.after_reading[task] = lambda: world.executions.trigger(task, KEYED, if_match=None)
    assert (await world.executions.trigger(task, KEYED, if_match=None)).replayed
    assert len(world.facts(ExecutionRequested)) == 1


async def test_what_is_not_there_is_not_found(world: World) -> None:
    task = await world.create(cron="* * * * *")
    run = await world.trigger(task)
    with pytest.raises(TaskNotFound):
        await world.trigger(NOBODY)
    with pytest.raises(TaskNotFound):
        await world.executions.trigger(task, ELSEWHERE, if_match=None)
    with pytest.raises(TaskNotFound):
        await world.executions.backfill(task, PERIOD, ELSEWHERE)
    with pytest.raises(ExecutionNotFound):
        await world.cancel_execution(NOBODY)
    with pytest.raises(ExecutionNotFound):
        await world.executions.cancel(run, None, ELSEWHERE)


async def test_what_is_over_or_changed_is_refused(world: World) -> None:
    task = await world.create(cron="* * * * *")
    with pytest.raises(VersionMismatch):
        await world.executions.trigger(task, REQUEST, if_match=7)
    await world.cancel(task)
    with pytest.raises(TaskAlreadyOver):
        await world.trigger(task)
    with pytest.raises(TaskAlreadyOver):
        await world.executions.backfill(task, PERIOD, REQUEST)


async def test_a_run_of_a_task_that_changes_meanwhile_is_decided_again(world: World) -> None:
    task = await world.create(cron="* * * * *")
    world.log.after_reading[task] = lambda: world.update(task, name="renamed")
    await world.trigger(task)
    [fact] = world.facts(ExecutionRequested)
    assert (fact.occurrence.task_version, fact.occurrence.task_name) == (2, "renamed")


async def test_losing_every_race_is_told(world: World) -> None:
    task = await world.create(cron="* * * * *")
    run = (await world.claim(task)).id
    names = iter(range(10 * MAX_TRIES))
    again_and_again(world, task, lambda: world.update(task, name=f"n{next(names)}"))
    with pytest.raises(LogUnavailable, match="being changed by others"):
        await world.trigger(task)
    with pytest.raises(LogUnavailable, match="being changed by others"):
        await world.executions.backfill(task, replace(PERIOD, start=after(-60)), REQUEST)
    with pytest.raises(LogUnavailable, match="being changed by others"):
        await world.cancel_execution(run)


async def test_a_backfill_asks_for_what_has_not_run_and_says_where_to_go_on(world: World) -> None:
    task = await world.create(cron="* * * * *")
    await world.claim(task, after(60))
    done = await world.backfill(task, NOON, after(300), limit=3)
    assert [one.due_at for one in done.requested] == [NOON, after(120)]
    assert (done.already_run, done.next_start, done.position) == (1, after(180), 4)
    rest = await world.backfill(task, after(180), after(180) + timedelta(milliseconds=1))
    assert ([one.due_at for one in rest.requested], rest.next_start) == ([after(180)], None)
    assert {fact.occurrence.kind for fact in world.facts(ExecutionRequested)} == {"backfill"}


async def test_a_backfill_into_an_archived_month_is_refused_and_asks_for_none_of_it(world: World) -> None:
    task = await world.create(cron="0 12 * * *")
    february = Month.of(NOON).next
    world.archived.known = {Month.of(NOON)}
    with pytest.raises(MonthArchived, match=f"begin with {february}, or restore the month first"):
        await world.backfill(task, NOON, february.start + timedelta(days=2))
    assert not world.facts(ExecutionRequested)
    assert (await world.backfill(task, february.start, february.start + timedelta(days=2))).position


async def test_a_backfill_of_what_ran_in_an_archived_month_needs_nothing_of_it(world: World) -> None:
    task = await world.create(cron="* * * * *")
    await world.backfill(task, NOON, after(60))
    world.archived.known = {Month.of(NOON)}
    assert (await world.backfill(task, NOON, after(60))).already_run == 1


async def test_a_backfill_of_nothing_writes_nothing(world: World) -> None:
    task = await world.create(cron="0 0 1 1 *")
    done = await world.backfill(task, NOON, after(300))
    assert (done.requested, done.already_run, done.position) == ((), 0, None)


async def test_cancelling_an_execution_twice_is_no_error(world: World) -> None:
    task = await world.create(cron="* * * * *")
    run = await world.trigger(task)
    first = await world.executions.cancel(run, "why not", REQUEST)
    again = await world.executions.cancel(run, "another reason", REQUEST)
    assert isinstance(again.state, FinishedExecution)
    assert (first.changed, again.changed) == (True, False)
    assert again.reason == first.reason == "cancelled by a user: why not"
    assert again.position == first.position
    assert len(world.facts(ExecutionCancelled)) == 1


async def test_an_execution_that_moves_on_meanwhile_is_looked_at_again(world: World) -> None:
    task = await world.create(cron="* * * * *")
    run = await world.trigger(task)
    world.log.after_reading[run] = lambda: world.cancel_execution(run, "faster")
    late = await world.executions.cancel(run, "slower", REQUEST)
    assert (late.changed, late.reason) == (False, "cancelled by a user: faster")


async def test_what_has_ended_is_not_cancelled(world: World) -> None:
    task = await world.create(cron="* * * * *")
    async with world.scheduler():
        run = await world.trigger(task)
        await world.clock.reach(after(5))
    with pytest.raises(ExecutionAlreadyOver):
        await world.cancel_execution(run)


async def test_a_one_off_ends_with_its_only_execution(world: World) -> None:
    task = await world.create(at=after(5))
    run = (await world.claim(task, after(5))).id
    await world.cancel_execution(run)
    assert world.names(task) == ["TaskCreated", "TaskCancelled"]


async def test_a_queued_execution_is_cancelled_before_it_starts(world: World) -> None:
    task = await world.create(cron="* * * * *")
    first = await world.claim(task, after(60), next_run_at=after(120))
    run = await world.queue(task, after(120), first.id, after(180))
    await world.cancel_execution(run)
    assert world.names(run) == ["ExecutionQueued", "ExecutionCancelled"]
    assert [fact.interrupted for fact in world.facts(ExecutionCancelled)] == [False]
    assert world.names(task) == ["TaskCreated"]


async def test_a_task_ends_with_its_last_occurrence_even_if_that_is_only_queued(world: World) -> None:
    task = await world.create(trigger=every(60, end_at=after(120)))
    first = await world.claim(task, after(60), next_run_at=after(120))
    await world.cancel_execution(await world.queue(task, after(120), first.id, None))
    assert world.names(task) == ["TaskCreated", "TaskCancelled"]

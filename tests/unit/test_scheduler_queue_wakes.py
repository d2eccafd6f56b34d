"""Every queued occurrence is looked at again once it may start, however its queueing and the end crossed."""

import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest

from application.ports import Group, Patience
from domain.definition import Overlap
from domain.facts import ExecutionQueued, ExecutionSucceeded
from domain.identity import execution_id
from tests.support.given import after, attempt, every
from tests.support.scheduler import World

ONE, ALL = Overlap(mode="queue_one"), Overlap(mode="queue_all")
TWO = Overlap(mode="queue_all", max_running=2)


def run_of(task: UUID, due: float) -> UUID:
    return execution_id(task, after(due), "scheduled")


def before_anything_is_queued(world: World, happening: Callable[[], Awaitable[None]]) -> None:
    """Have it happen, once, between the decision to queue something and its way into the log."""
    append, pending = world.log.append, [happening]

    async def late(group: Group, *, patience: Patience = "prompt") -> int | None:
        if pending and any(isinstance(new.fact, ExecutionQueued) for new in group.facts):
            await pending.pop()()
        return await append(group, patience=patience)

    world.log.append = late  # type: ignore[method-assign]


def ends(world: World, task: UUID, due: float) -> Callable[[], Awaitable[None]]:
    """Another node's run succeeds, and the scheduler hears of it before it goes on."""

    async def end() -> None:
        fact = ExecutionSucceeded(at=world.clock.now(), task_id=task, attempt=attempt())
        await world.append(run_of(task, due), fact)
        await world.follower.told()

    return end


@pytest.mark.parametrize("policy", [ONE, ALL], ids=["one", "all"])
async def test_what_is_queued_behind_a_run_that_has_just_ended_starts_at_once(
    world: World, policy: Overlap
) -> None:
    task = await world.create(trigger=every(10, end_at=after(20)), overlap=policy)
    world.nodes.alive.add("node-2")
    await world.claim(task, after(10), next_run_at=after(20))
    async with world.scheduler():
        with contextlib.ExitStack() as held:

            async def end_and_hold() -> None:  # the answer of an append comes before it is followed
                await ends(world, task, 10)()
                held.enter_context(world.follower.held())

            before_anything_is_queued(world, end_and_hold)
            await world.clock.reach(after(21))
        await world.clock.reach(after(25))
    assert world.names(run_of(task, 20))[:2] == ["ExecutionQueued", "ExecutionStarted"]
    assert world.runs() == [(20, 20)]


@pytest.mark.parametrize("policy", [ONE, ALL], ids=["one", "all"])
async def test_a_run_as_long_as_the_period_delays_the_next_by_no_more(world: World, policy: Overlap) -> None:
    world.caller.takes = timedelta(seconds=10.0115)
    await world.create(trigger=every(10, end_at=after(30)), overlap=policy)
    await world.run_until(90)
    assert world.runs() == [(10, 10), (20, 20), (30, 30)]


async def test_what_is_queued_takes_the_room_that_one_of_many_runs_has_just_left(world: World) -> None:
    task = await world.create(trigger=every(10, end_at=after(30)), overlap=TWO)
    world.nodes.alive.add("node-2")
    await world.claim(task, after(10), next_run_at=after(20))
    await world.claim(task, after(20), next_run_at=after(30))
    async with world.scheduler():
        before_anything_is_queued(world, ends(world, task, 10))
        await world.clock.reach(after(35))
    assert world.names(run_of(task, 30))[:2] == ["ExecutionQueued", "ExecutionStarted"]
    assert world.runs() == [(30, 30)]


async def test_who_joins_starts_what_is_queued_in_the_order_in_which_others_do(world: World) -> None:
    task = await world.create(trigger=every(10), overlap=ALL)
    world.nodes.alive.add("node-2")
    await world.claim(task, after(10), next_run_at=after(20))
    for due in (30, 20):  # by a clock that was fast, before the task was moved to an earlier instant
        await world.queue(task, after(due), run_of(task, 10), after(40))
    await world.clock.reach(after(33))
    async with world.scheduler():
        await ends(world, task, 10)()
        await world.clock.reach(after(38))
    assert world.runs() == [(30, 33), (20, 33)]

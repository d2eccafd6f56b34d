"""Several schedulers on one log: who claims what, and what happens when one joins, leaves, dies or hangs."""

from __future__ import annotations

import contextlib
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from application.scheduler.membership import TAKEOVER_DELAY, rank
from domain.facts import ExecutionSkipped, ExecutionStarted, ExecutionTakenOver
from tests.support.fake_log import FakeFollower
from tests.support.given import NOON, after
from tests.support.mortal import MortalNode
from tests.support.scheduler import World

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator
    from uuid import UUID

NAMES = ("node-1", "node-2", "node-3")
EXPIRY = timedelta(seconds=6)


@contextlib.asynccontextmanager
async def schedulers(world: World, *names: str) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    async with contextlib.AsyncExitStack() as stack:
        running = {}
        for name in names:
            follower = FakeFollower(world.log)
            running[name] = await stack.enter_async_context(world.scheduler(name, follower=follower))
        yield running


def owner(task: UUID, names: tuple[str, ...] = NAMES) -> str:
    return min(names, key=lambda name: rank(name, set(names) - {name}, task))


def lateness(world: World) -> list[timedelta]:
    return [fact.at - fact.occurrence.due_at for fact in world.facts(ExecutionStarted)]


def refused(world: World) -> int:
    return sum(refused for _, refused in world.observed.claims)


async def test_each_task_is_claimed_by_its_owner_and_nobody_else_tries() -> None:
    world = World()
    tasks = [await world.create(at=after(10 + number / 20)) for number in range(200)]
    async with schedulers(world, *NAMES):
        await world.clock.reach(after(30))
    claims = world.facts(ExecutionStarted)
    assert {fact.occurrence.task_id: fact.node for fact in claims} == {task: owner(task) for task in tasks}
    assert len(claims) == len(world.calls) == 200
    assert refused(world) == 0
    assert all(40 < share < 100 for share in Counter(fact.node for fact in claims).values())
    assert max(lateness(world)) <= timedelta()


async def test_crons_stay_with_their_owner() -> None:
    world = World()
    tasks = [await world.create(cron="* * * * *") for _ in range(20)]
    async with schedulers(world, *NAMES):
        await world.clock.reach(after(5 * 60))
    claims = [(fact.occurrence.task_id, fact.node) for fact in world.facts(ExecutionStarted)]
    assert Counter(claims) == {(task, owner(task)): 5 for task in tasks}
    assert refused(world) == 0
    assert world.facts(ExecutionSkipped) == []


async def test_a_death_moves_only_what_the_dead_node_had_and_delays_it_by_less_than_the_expiry() -> None:
    world = World()
    tasks = [await world.create(at=after(10 + number / 10)) for number in range(200)]
    async with schedulers(world, *NAMES[1:]):
        victim = MortalNode(world, NAMES[0])
        await world.clock.reach(after(15))
        victim.kill()
        await world.clock.reach(after(60))
    claims = world.facts(ExecutionStarted)
    assert len(claims) == len({fact.occurrence.task_id for fact in claims}) == 200
    for fact in claims:
        due_at, task = fact.occurrence.due_at, fact.occurrence.task_id
        died = owner(task) == NAMES[0] and due_at > after(15.02)
        assert fact.node == (owner(task, NAMES[1:]) if died else owner(task))
        assert fact.at - due_at <= (EXPIRY if died else timedelta())
    assert any(owner(task) == NAMES[0] for task in tasks)
    assert refused(world) == 0


async def test_what_a_dead_node_had_begun_is_taken_over_by_the_others_together() -> None:
    world = World()
    world.nodes.known["dead-1"] = NOON
    for number in range(30):
        await world.claim(await world.create(at=after(number / 100)), after(number / 100), node="dead-1")
    async with schedulers(world, *NAMES):
        await world.clock.reach(after(8))
    taken = Counter(fact.node for fact in world.facts(ExecutionTakenOver))
    assert set(taken) == set(NAMES)
    assert sum(taken.values()) == len(world.calls) == 30
    assert all(fact.at <= after(7) for fact in world.facts(ExecutionTakenOver))


async def test_a_node_that_beats_and_claims_nothing_silences_no_task() -> None:
    world = World()
    tasks = [await world.create(at=after(20 + number / 10)) for number in range(30)]
    async with schedulers(world, *NAMES[1:]):
        hanging = MortalNode(world, NAMES[0])
        await world.clock.reach(after(10))
        hanging.hang()
        await world.clock.reach(after(60))
        hanging.kill()
    claims = {fact.occurrence.task_id: fact for fact in world.facts(ExecutionStarted)}
    assert set(claims) == set(tasks)
    for task, fact in claims.items():
        late = fact.at - fact.occurrence.due_at
        left = owner(task) == NAMES[0]
        assert fact.node == (owner(task, NAMES[1:]) if left else owner(task))
        assert (
            TAKEOVER_DELAY - timedelta(seconds=0.1) <= late <= TAKEOVER_DELAY if left else late <= timedelta()
        )
    assert refused(world) == 0


async def test_runs_by_hand_that_a_hanging_node_should_make_are_made_by_the_next_one() -> None:
    world = World()
    task = await world.create(cron="0 0 1 1 *")
    async with schedulers(world, *NAMES[1:]):
        hanging = MortalNode(world, NAMES[0])
        await world.clock.reach(after(10))
        hanging.hang()
        runs = {await world.trigger(task) for _ in range(40)}
        await world.clock.reach(after(30))
        hanging.kill()
    assert any(owner(run) == NAMES[0] for run in runs)
    assert Counter(call.execution_id for call in world.calls) == Counter(runs)


async def test_who_joins_takes_its_share_and_nothing_else_moves() -> None:
    world = World()
    tasks = [await world.create(at=after(30 + number / 20)) for number in range(100)]
    async with schedulers(world, *NAMES[:2]):
        await world.clock.reach(after(10))
        async with world.scheduler(NAMES[2], follower=FakeFollower(world.log)):
            await world.clock.reach(after(40))
    assert {fact.occurrence.task_id: fact.node for fact in world.facts(ExecutionStarted)} == {
        task: owner(task) for task in tasks
    }
    assert refused(world) == 0


async def test_who_still_loads_leaves_all_to_those_who_have() -> None:
    world = World()
    await world.create(at=after(10))
    async with schedulers(world, NAMES[0]):
        world.due_tasks.away = True
        async with world.scheduler(NAMES[2], follower=FakeFollower(world.log)):
            await world.clock.reach(after(11))
            assert not world.nodes.pulses[NAMES[2]].claims
            assert world.nodes.pulses[NAMES[2]].share == 0
            assert world.nodes.pulses[NAMES[0]].share == 1
            world.due_tasks.away = False
            await world.clock.reach(after(12))
            assert world.nodes.pulses[NAMES[2]].claims
            assert world.nodes.pulses[NAMES[2]].share == 0.5
    assert [fact.node for fact in world.facts(ExecutionStarted)] == [NAMES[0]]


async def test_a_rolling_restart_loses_nothing_and_delays_nothing_by_a_second() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=0.3)
    for number in range(300):
        await world.create(at=after(5 + number / 10))
    async with contextlib.AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(world.scheduler(name, follower=FakeFollower(world.log)))
            for name in NAMES
        ]
        for number, stopping in enumerate(running):
            await world.clock.reach(after(10 + 5 * number))
            stopping.cancel()
            await world.clock.until(stopping.done)
            await stack.enter_async_context(
                world.scheduler(f"node-{number}-again", follower=FakeFollower(world.log))
            )
        await world.clock.reach(after(60))
    assert len(world.facts(ExecutionStarted)) == len(world.calls) == 300
    assert world.facts(ExecutionTakenOver) == []
    assert world.facts(ExecutionSkipped) == []
    assert max(lateness(world)) < timedelta(seconds=1)
    assert refused(world) <= 10


async def test_a_node_that_is_stopping_gives_its_share_away_while_its_calls_end() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=15)
    for number in range(60):
        await world.create(at=after(5 + number / 5))
    async with schedulers(world, *NAMES) as running:
        await world.clock.reach(after(8))
        running[NAMES[0]].cancel()
        await world.clock.reach(after(17))
        assert not running[NAMES[0]].done()
        assert not world.nodes.pulses[NAMES[0]].claims
        await world.clock.reach(after(60))
    assert max(lateness(world)[:30]) <= timedelta(seconds=0.6)
    assert len(world.facts(ExecutionStarted)) == 60


async def test_after_a_crash_a_lone_node_waits_only_for_what_its_last_run_seemed_to_own() -> None:
    world = World()
    first = MortalNode(world, "node-1.first")
    await world.clock.reach(after(10))
    first.kill()
    for number in range(40):
        await world.create(at=after(12 + number / 10))
    await world.clock.reach(after(12))
    async with world.scheduler("node-1.second"):
        await world.clock.reach(after(30))
    assert len(world.calls) == 40
    assert max(lateness(world)) <= timedelta(seconds=2)


@pytest.mark.parametrize("away", ["nodes", "due_tasks"])
async def test_without_news_of_the_others_each_goes_on_with_its_share(away: str) -> None:
    world = World()
    for number in range(30):
        await world.create(at=after(10 + number / 10))
    async with schedulers(world, *NAMES):
        await world.clock.reach(after(5))
        getattr(world, away).away = True
        await world.clock.reach(after(20))
        getattr(world, away).away = False
        assert len(world.calls) == 30
        assert refused(world) == 0
        await world.clock.reach(after(25))

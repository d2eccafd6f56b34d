"""A host that is full: what is due there waits, and nothing else does."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from application.scheduler.lineup import Lineup
from application.scheduler.sites import site_of
from application.scheduler.work import Job
from domain import execution as executions
from domain.facts import (
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionStarted,
    ExecutionTakenOver,
)
from domain.identity import execution_id
from tests.support.given import RUN, after, definition, started
from tests.support.scheduler import World

SLOW = "http://slow.test/report"
QUICK = "http://quick.test/ping"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four attempts are enough to wait for a site of which nothing is known yet."""
    monkeypatch.setattr("application.scheduler.sites.MOST_WAITING", 4)
    monkeypatch.setattr("application.scheduler.lineup.MOST_WAITING", 4)


def a_world() -> World:
    world = World()
    world.caller.takes_at[SLOW] = timedelta(seconds=30)
    return world


def calls(world: World, url: str) -> list[float]:
    """When each call was made, in seconds after noon."""
    return [(call.at - after(0)).total_seconds() for call in world.calls if call.url == url]


async def test_a_slow_host_holds_up_no_other() -> None:
    world = a_world()
    for _ in range(12):
        await world.create(at=after(10), url=SLOW)
    for number in range(8):
        await world.create(at=after(11 + number), url=QUICK)
    async with world.scheduler(concurrency=4, per_site=2):
        await world.clock.reach(after(25))
        assert calls(world, QUICK) == [11 + number for number in range(8)]
        assert calls(world, SLOW) == [10, 10]
        await world.clock.reach(after(300))
    assert calls(world, SLOW) == [10 + 30 * (number // 2) for number in range(12)]


async def test_a_host_gets_its_calls_by_priority_then_in_the_order_of_their_instants() -> None:
    world = a_world()
    order = [
        await world.create(at=after(10), url=SLOW),
        await world.create(at=after(11), url=SLOW, priority=1),
        await world.create(at=after(10.5), url=SLOW),
        await world.create(at=after(12), url=SLOW),
    ]
    async with world.scheduler(per_site=1):
        await world.clock.reach(after(200))
    dues = [after(10), after(11), after(10.5), after(12)]
    runs = [execution_id(task, due, "scheduled") for task, due in zip(order, dues, strict=True)]
    assert [call.execution_id for call in world.calls] == runs


@pytest.mark.usefixtures("small")
async def test_what_is_due_at_a_crowded_host_is_claimed_only_when_it_can_soon_be_sent() -> None:
    world = a_world()
    for _ in range(20):
        await world.create(at=after(10), url=SLOW)
    async with world.scheduler(per_site=2):
        await world.clock.reach(after(39))
        assert len(world.facts(ExecutionStarted)) <= 2 + 4
        for number in range(2, 9):  # by now it is known how slow the host is
            await world.clock.reach(after(11 + 30 * number))
            sent = 2 * (number + 1)
            assert sent <= len(world.facts(ExecutionStarted)) <= sent + 2
        await world.clock.reach(after(400))
    assert calls(world, SLOW) == [10 + 30 * (number // 2) for number in range(20)]
    assert len({call.execution_id for call in world.calls}) == 20


@pytest.mark.usefixtures("small")
async def test_a_crowded_host_holds_up_no_claim_of_another() -> None:
    world = a_world()
    for _ in range(50):
        await world.create(at=after(10), url=SLOW)
    await world.create(at=after(10), url=QUICK)
    await world.create(at=after(20), url=QUICK)
    async with world.scheduler(concurrency=3, per_site=2):
        await world.clock.reach(after(25))
    assert calls(world, QUICK) == [10, 20]


@pytest.mark.usefixtures("small")
async def test_each_of_several_full_hosts_has_few_claims_that_wait() -> None:
    world = World()
    slow = [f"http://slow-{number}.test/" for number in range(4)]
    for url in slow:
        world.caller.takes_at[url] = timedelta(seconds=30)
        for _ in range(10):
            await world.create(at=after(10), url=url)
    async with world.scheduler(concurrency=20, per_site=1):
        await world.clock.reach(after(11))
        first = len(world.facts(ExecutionStarted))
        await world.clock.reach(after(200))
        later = len(world.facts(ExecutionStarted))
        assert first <= 4 * (1 + 4)
        assert later <= 4 * (7 + 1)
        await world.clock.reach(after(400))
    assert [len(calls(world, url)) for url in slow] == [10] * 4


@pytest.mark.usefixtures("small")
async def test_what_waits_at_a_crowded_host_can_be_cancelled_and_called_elsewhere() -> None:
    world = a_world()
    tasks = [await world.create(at=after(10), url=SLOW) for _ in range(8)]
    async with world.scheduler(per_site=2):
        await world.clock.reach(after(20))
        await world.cancel(tasks[-1])
        await world.update(tasks[-2], at=after(20.5), url=QUICK)
        await world.clock.reach(after(21))
        assert len(calls(world, QUICK)) == 1
        await world.clock.reach(after(200))
    assert len(calls(world, SLOW)) == 6
    assert world.names(tasks[-1]) == ["TaskCreated", "TaskCancelled"]


@pytest.mark.usefixtures("small")
async def test_other_nodes_claim_what_one_has_no_room_for() -> None:
    world = a_world()
    for _ in range(20):
        await world.create(at=after(10), url=SLOW)
    async with world.scheduler("node-1", per_site=2), world.scheduler("node-2", per_site=2):
        await world.clock.reach(after(11))
        assert calls(world, SLOW) == [10] * 4
        await world.clock.reach(after(300))
    assert len({call.execution_id for call in world.calls}) == len(world.calls) == 20
    assert {fact.node for fact in world.facts(ExecutionStarted)} == {"node-1", "node-2"}


async def test_two_slow_hosts_with_all_workers_let_others_have_the_next_one() -> None:
    world = World()
    for number in range(2):
        url = f"http://slow-{number}.test/"
        world.caller.takes_at[url] = timedelta(seconds=4)
        for _ in range(20):
            await world.create(at=after(10 + number), url=url)
    await world.create(at=after(12), url=QUICK)
    async with world.scheduler(concurrency=4, per_site=2):
        await world.clock.reach(after(15))
    assert calls(world, QUICK) == [14]


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
@pytest.mark.parametrize("concurrency", [1, 20])
async def test_no_lease_of_what_waits_lapses(delivery: str, concurrency: int) -> None:
    world = World()
    world.caller.takes_at[SLOW] = timedelta(seconds=9)
    for _ in range(40):
        await world.create(at=after(10), url=SLOW, delivery=delivery)
    first, second = (world.scheduler(name, concurrency=concurrency, per_site=1) for name in ("a", "b"))
    async with first, second:
        await world.clock.reach(after(400))
    assert not world.facts(ExecutionTakenOver)
    assert not world.facts(ExecutionFailed)
    assert world.facts(AttemptStarted), "no claim has waited for long enough"
    assert len({call.execution_id for call in world.calls}) == len(world.calls) == 40
    assert {call.number for call in world.calls} == {1}


@pytest.mark.usefixtures("small")
async def test_a_first_priority_goes_first_at_a_full_host_however_much_waits_there() -> None:
    world = a_world()
    for _ in range(30):
        await world.create(at=after(10), url=SLOW)
    async with world.scheduler(per_site=2):
        await world.clock.reach(after(60))
        urgent = await world.create(at=after(61), url=SLOW, priority=1)
        await world.clock.reach(after(200))
    run = execution_id(urgent, after(61), "scheduled")
    [call] = [call for call in world.calls if call.execution_id == run]
    assert call.at <= after(130)  # behind those that were claimed before


async def test_what_waits_is_called_where_its_task_says_now() -> None:
    world = a_world()
    for _ in range(3):
        await world.create(at=after(10), url=SLOW)
    moved = await world.create(at=after(10), url=SLOW, priority=9)
    async with world.scheduler(per_site=1):
        await world.clock.reach(after(15))
        await world.update(moved, at=after(10), url=QUICK, priority=9)
        await world.clock.reach(after(16))
        assert calls(world, QUICK) == [15]
        await world.clock.reach(after(200))
    assert len(calls(world, SLOW)) == 3


@pytest.mark.usefixtures("small")
async def test_what_is_not_even_claimed_is_called_where_its_task_says_now() -> None:
    world = a_world()
    for _ in range(20):
        await world.create(at=after(10), url=SLOW)
    moved = await world.create(at=after(10), url=SLOW, priority=9)
    async with world.scheduler(per_site=2):
        await world.clock.reach(after(15))
        assert world.names(execution_id(moved, after(10), "scheduled")) == []
        await world.update(moved, at=after(10), url=QUICK, priority=9)
        await world.clock.reach(after(16))
    assert len(calls(world, QUICK)) == 1


async def test_what_waits_and_moves_keeps_to_the_limit_of_its_new_host() -> None:
    world = a_world()
    world.caller.takes_at[QUICK] = timedelta(seconds=2)
    tasks = [await world.create(at=after(10), url=SLOW) for _ in range(5)]
    async with world.scheduler(per_site=1):
        await world.clock.reach(after(15))
        for task in tasks:
            await world.update(task, at=after(10), url=QUICK)
        await world.clock.reach(after(30))
    assert calls(world, QUICK) == [15, 17, 19, 21]


async def test_the_execution_of_a_cancelled_task_does_not_wait_for_its_turn_to_end() -> None:
    world = a_world()
    tasks = [await world.create(at=after(10), url=SLOW) for _ in range(2)]
    async with world.scheduler(per_site=1):
        await world.clock.reach(after(15))
        [under_way] = [call.execution_id for call in world.calls]
        [(run, task)] = [
            (run, task) for task in tasks if (run := execution_id(task, after(10), "scheduled")) != under_way
        ]
        await world.cancel(task)
        await world.clock.reach(after(16))
        assert world.names(run) == ["ExecutionStarted", "ExecutionSkipped"]


async def test_what_is_held_back_takes_the_places_of_those_that_are_cancelled_before_a_worker_is_free() -> (
    None
):
    world = a_world()
    world.caller.takes_at[QUICK] = timedelta(seconds=20)
    await world.create(at=after(9), url=QUICK)
    tasks = [await world.create(at=after(10 + number), url=SLOW) for number in range(4)]
    async with world.scheduler(concurrency=1, per_site=2):
        await world.clock.reach(after(15))
        for task in tasks[:2]:
            await world.cancel(task)
        await world.clock.reach(after(100))
    assert calls(world, SLOW) == [29, 59]


async def test_how_much_waits_for_full_hosts_is_told() -> None:
    world = a_world()
    for _ in range(5):
        await world.create(at=after(10), url=SLOW)
    async with world.scheduler(per_site=2):
        await world.clock.reach(after(12))
        assert world.observed.held[-1] == 3
        await world.clock.reach(after(200))
        assert world.observed.held[-1] == 0


async def test_what_is_held_back_can_be_cancelled() -> None:
    world = a_world()
    tasks = [await world.create(at=after(10), url=SLOW) for _ in range(2)]
    async with world.scheduler(per_site=1):
        await world.clock.reach(after(20))
        [under_way] = [call.execution_id for call in world.calls]
        runs = {execution_id(task, after(10), "scheduled"): task for task in tasks}
        [(held, task)] = [(run, task) for run, task in runs.items() if run != under_way]
        await world.append(held, ExecutionCancelled(at=after(20), task_id=task, reason="a user"))
        await world.clock.reach(after(100))
    assert len(world.calls) == 1


async def test_only_what_is_held_back_beyond_all_bounds_takes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("application.scheduler.lineup.MAX_HELD", 2)
    world = World()
    lineup = Lineup(world.clock, per_site=1)
    claimed = executions.start(RUN, started(after(0)))
    for number in range(5):
        lineup.add(Job(claimed, definition(url=SLOW), 1, after(number)))
    await world.clock.reach(after(10))
    await lineup.take()
    free = asyncio.create_task(lineup.take())
    await world.clock.settle()
    assert (lineup.unsent(), lineup.waiting()) == (4, 2)
    free.cancel()


@pytest.mark.parametrize(
    "url",
    [
        "http://a.test:8080",
        "http://a.test:8080/",
        "http://A.test:8080/path/of?query=http://b.test/",
        "http://a.test:8080?query",
    ],
)
def test_a_site_is_scheme_host_and_port(url: str) -> None:
    assert site_of(url) == "http://a.test:8080"


def test_other_schemes_and_ports_are_other_sites() -> None:
    assert len({site_of(url) for url in ("http://a/x", "https://a/x", "http://a:81/x", "http://b/x")}) == 4

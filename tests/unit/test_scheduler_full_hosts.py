"""A host that is full: what is due there waits, and nothing else does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain.definition import Overlap
from domain.facts import ExecutionStarted
from domain.identity import execution_id
from tests.support.full_hosts import QUICK, SLOW, a_world, calls, small
from tests.support.given import after
from tests.support.scheduler import World

__all__ = ["small"]


async def test_a_slow_host_holds_up_no_other() -> None:
    world = a_world()
    for _ in range(12):
        await world.create(at=after(10), url=SLOW)
    for number in range(8):
        await world.create(at=after(11 + number), url=QUICK)
    async with world.scheduler(concurrency=4, per_host=2):
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
    async with world.scheduler(per_host=1):
        await world.clock.reach(after(200))
    dues = [after(10), after(11), after(10.5), after(12)]
    runs = [execution_id(task, due, "scheduled") for task, due in zip(order, dues, strict=True)]
    assert [call.execution_id for call in world.calls] == runs


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("lead", "early"), [(0.1, 0), (0.5, 8)])
async def test_what_is_due_at_a_crowded_host_is_claimed_only_when_it_can_soon_be_sent(
    lead: float, early: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.scheduler.timing.LEAST", timedelta(seconds=lead))
    world = a_world()
    for _ in range(20):
        await world.create(at=after(10), url=SLOW)
    async with world.scheduler(per_host=2):
        await world.clock.reach(after(39))
        claimed = len(world.facts(ExecutionStarted))
        assert claimed <= 2 + 4 + early
        for number in range(2, 9):  # by now it is known how slow the host is
            await world.clock.reach(after(11 + 30 * number))
            sent = 2 * (number + 1)
            assert sent <= len(world.facts(ExecutionStarted)) <= max(sent + 2, claimed)
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
    async with world.scheduler(concurrency=3, per_host=2):
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
    async with world.scheduler(concurrency=20, per_host=1):
        await world.clock.reach(after(11))
        first = len(world.facts(ExecutionStarted))
        await world.clock.reach(after(200))
        later = len(world.facts(ExecutionStarted))
        assert first <= 4 * (1 + 4)
        assert later <= 4 * (7 + 1)
        await world.clock.reach(after(400))
    assert [len(calls(world, url)) for url in slow] == [10] * 4


@pytest.mark.usefixtures("small")
async def test_other_nodes_claim_what_one_has_no_room_for() -> None:
    world = a_world()
    for _ in range(20):
        await world.create(at=after(10), url=SLOW)
    async with world.scheduler("node-1", per_host=2), world.scheduler("node-2", per_host=2):
        await world.clock.reach(after(11))
        assert calls(world, SLOW) == [10] * 4
        await world.clock.reach(after(300))
    assert len({call.execution_id for call in world.calls}) == len(world.calls) == 20
    assert {fact.node for fact in world.facts(ExecutionStarted)} == {"node-1", "node-2"}


async def test_six_slow_hosts_with_thousands_of_calls_due_hold_up_no_seventh() -> None:
    world = World()
    slow = [f"http://slow-{number}.test/" for number in range(6)]
    for url in slow:
        world.caller.takes_at[url] = timedelta(seconds=15)
        for _ in range(500):
            await world.create(at=after(10), url=url)
    world.caller.takes_at[QUICK] = timedelta(milliseconds=20)
    instants = [10 + number / 20 for number in range(400)]
    for instant in instants:
        await world.create(at=after(instant), url=QUICK)
    async with world.scheduler(concurrency=200):
        await world.clock.reach(after(31))
        late = sorted(call - due for call, due in zip(calls(world, QUICK), instants, strict=True))
        assert late[-4] < 0.25, "one in a hundred may be later"
        assert sum(len(calls(world, url)) for url in slow) >= 2 * 180, "nine of ten slots are theirs"


@pytest.mark.usefixtures("small")
async def test_a_first_priority_goes_first_at_a_full_host_however_much_waits_there() -> None:
    world = a_world()
    for _ in range(30):
        await world.create(at=after(10), url=SLOW)
    async with world.scheduler(per_host=2):
        await world.clock.reach(after(60))
        urgent = await world.create(at=after(61), url=SLOW, priority=1)
        await world.clock.reach(after(200))
    run = execution_id(urgent, after(61), "scheduled")
    [call] = [call for call in world.calls if call.execution_id == run]
    assert call.at <= after(130)  # behind those that were claimed before


async def test_what_waits_at_a_full_host_is_not_overtaken_by_what_comes_later() -> None:
    world = World()
    world.caller.takes_at[SLOW] = timedelta(seconds=1)
    early = {await world.create(at=after(10), url=SLOW) for _ in range(100)}
    for number in range(300):  # as many as the host can take
        await world.create(at=after(11 + number / 10), url=SLOW, priority=9)
    async with world.scheduler(per_host=10):
        await world.clock.reach(after(60))
    first = {call.execution_id for call in world.calls[:100]}
    assert first == {execution_id(task, after(10), "scheduled") for task in early}


async def test_a_full_host_holds_up_no_run_by_hand_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("application.scheduler.requests.MAX_READY", 10)
    world = a_world()
    for _ in range(30):
        await world.create(at=after(10), url=SLOW)
    quick = await world.create(at=after(1_000), url=QUICK)
    async with world.scheduler(per_host=2):
        await world.clock.reach(after(15))
        await world.trigger(quick)
        await world.clock.reach(after(16))
    assert calls(world, QUICK) == [15]


@pytest.mark.usefixtures("small")
async def test_what_waits_for_its_own_last_run_keeps_no_place_at_a_full_host() -> None:
    world = a_world()
    world.caller.takes_at[SLOW] = timedelta(seconds=45)
    for _ in range(6):
        await world.create(cron="* * * * *", url=SLOW, overlap=Overlap(mode="skip", max_running=1))
    await world.create(at=after(59.99), url=QUICK, delivery="at_most_once")
    async with world.scheduler(per_host=2):
        await world.clock.reach(after(200))
    assert calls(world, QUICK) == [59.99]

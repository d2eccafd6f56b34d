"""The bounds of every overlap policy hold amid outages, lost answers and late followers, on several nodes."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from domain.definition import CatchUp, Overlap
from tests.support.books import check_books
from tests.support.given import after, every
from tests.support.mortal import MortalNode
from tests.support.scheduler import World

POLICIES = [
    Overlap(mode="skip"),
    Overlap(mode="queue_one"),
    Overlap(mode="queue_all", max_running=2),
    Overlap(mode="cancel_running"),
]


def outage(world: World, _: list[MortalNode]) -> contextlib.AbstractContextManager[None]:
    return world.outage()


def lost_answers(world: World, _: list[MortalNode]) -> contextlib.AbstractContextManager[None]:
    return world.log.losing_answers()


def deaf(_: World, nodes: list[MortalNode]) -> contextlib.AbstractContextManager[None]:
    return nodes[0].follower.held()


@contextlib.contextmanager
def death(_: World, nodes: list[MortalNode]) -> Iterator[None]:
    nodes.pop(0).kill()
    yield


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.mode)
@pytest.mark.parametrize("trouble", [outage, lost_answers, deaf, death])
async def test_the_books_balance_whatever_happens_amid_runs_that_overlap(
    world: World,
    policy: Overlap,
    trouble: Callable[[World, list[MortalNode]], contextlib.AbstractContextManager[None]],
) -> None:
    world.caller.takes = timedelta(seconds=12)
    catch_up = CatchUp(mode="all") if policy.mode == "queue_all" else CatchUp()
    tasks = [await world.create(trigger=every(10), overlap=policy, catch_up=catch_up) for _ in range(3)]
    nodes = [MortalNode(world, name) for name in ("node-1", "node-2")]
    await world.clock.reach(after(15))
    with trouble(world, nodes):
        await world.clock.reach(after(38))
    await world.clock.reach(after(170))
    made_late = [at for _, at in world.runs() if at > 100]
    for task in tasks:
        await world.cancel(task)
    await world.clock.reach(after(300))
    for node in nodes:
        await node.stop()
    check_books(world)
    assert len(made_late) >= 3 * len(tasks)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.mode)
async def test_a_node_that_joins_amid_runs_that_overlap_knows_what_goes_on(
    world: World, policy: Overlap
) -> None:
    world.caller.takes = timedelta(seconds=25)
    tasks = [await world.create(trigger=every(10), overlap=policy) for _ in range(6)]
    nodes = [MortalNode(world, "node-1")]
    for seconds in (12, 23, 36, 47):
        await world.clock.reach(after(seconds))
        nodes.append(MortalNode(world, f"node-{seconds}"))
        if len(nodes) > 2:
            await nodes.pop(0).stop()
    await world.clock.reach(after(100))
    for task in tasks:
        await world.cancel(task)
    await world.clock.reach(after(200))
    for node in nodes:
        await node.stop()
    books = check_books(world)
    assert books.ledger.overlaps.most[policy.mode] == (policy.max_running or 1)

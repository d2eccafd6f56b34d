"""A scheduler with nothing to do asks little, and misses nothing by it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from application.ports import Beat, Unfinished
from tests.support.fake_log import FakeDueTasks
from tests.support.given import after
from tests.support.scheduler import FakeNodes, World

SECONDS = 100


class Asked:
    """What is asked of the database, counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: Counter[str] = Counter()
        beats, unfinished = FakeNodes.beats, FakeDueTasks.unfinished

        async def counted_beats(nodes: FakeNodes) -> Mapping[str, Beat]:
            self.counts["nodes"] += 1
            return await beats(nodes)

        async def counted_unfinished(due_tasks: FakeDueTasks, limit: int) -> Sequence[Unfinished]:
            self.counts["unfinished"] += 1
            return await unfinished(due_tasks, limit)

        monkeypatch.setattr(FakeNodes, "beats", counted_beats)
        monkeypatch.setattr(FakeDueTasks, "unfinished", counted_unfinished)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


async def peace(world: World, asked: Asked) -> Counter[str]:
    """What is asked in a hundred seconds, once ten have passed."""
    begin = world.clock.now() + timedelta(seconds=10)
    await world.clock.reach(begin)
    asked.counts.clear()
    await world.clock.reach(begin + timedelta(seconds=SECONDS))
    return asked.counts


async def left_behind(world: World) -> UUID:
    """An execution of a node that is gone."""
    task = await world.create(at=after(10_000))
    return (await world.claim(task, after(10_000), node="dead-1")).id


async def test_who_is_alone_looks_for_others_once_a_second(world: World, asked: Asked) -> None:
    async with world.scheduler():
        assert (await peace(world, asked))["nodes"] == pytest.approx(SECONDS, abs=2)


async def test_a_dead_node_is_no_company(world: World, asked: Asked) -> None:
    world.nodes.known["dead-1"] = after(-3_600)
    async with world.scheduler():
        assert (await peace(world, asked))["nodes"] == pytest.approx(SECONDS, abs=2)


async def test_beside_others_deaths_are_looked_for_twice_a_second_whether_they_claim_or_not(
    world: World, asked: Asked
) -> None:
    world.nodes.alive.add("node-2")
    async with world.scheduler():
        assert (await peace(world, asked))["nodes"] == pytest.approx(2 * SECONDS, abs=2)


async def test_in_peace_work_to_take_over_is_looked_for_every_five_seconds(
    world: World, asked: Asked
) -> None:
    async with world.scheduler():
        assert (await peace(world, asked))["unfinished"] == pytest.approx(SECONDS / 5, abs=1)


async def test_what_is_left_in_peace_is_taken_over_with_the_next_look(world: World, asked: Asked) -> None:
    async with world.scheduler():
        await peace(world, asked)
        run = await left_behind(world)
        await world.clock.reach(after(10 + SECONDS + 5))
        assert world.names(run)[:2] == ["ExecutionStarted", "ExecutionTakenOver"]


async def test_what_the_read_model_shows_late_is_taken_over_with_the_next_look(
    world: World, asked: Asked
) -> None:
    async with world.scheduler():
        world.due_tasks.projected = 0
        run = await left_behind(world)
        await peace(world, asked)
        assert asked.counts["unfinished"] < SECONDS
        world.due_tasks.projected = None
        await world.clock.reach(after(10 + SECONDS + 5))
        assert world.names(run)[:2] == ["ExecutionStarted", "ExecutionTakenOver"]


async def test_an_outage_is_no_peace(world: World, asked: Asked) -> None:
    async with world.scheduler():
        await peace(world, asked)
        with world.outage():
            assert (await peace(world, asked))["unfinished"] == pytest.approx(SECONDS, abs=2)

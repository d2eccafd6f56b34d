"""What has to be looked into before it is claimed delays nothing else, and ends in good order."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from application.ports import LogUnavailable
from application.scheduler.claimer import MAX_CHECKED_AT_ONCE
from application.scheduler.claims import ClaimAppender, ClaimRequest, claim_request
from application.scheduler.index import Entry
from domain.definition import Overlap
from domain.facts import ExecutionStarted
from domain.identity import execution_id
from tests.support.given import after, definition, every
from tests.support.scheduler import World

if TYPE_CHECKING:
    from application.scheduler.context import Context
    from application.scheduler.jobs import Job

SKIP = Overlap(mode="skip")


async def overlapping(world: World, *, tasks: int = 1) -> list[UUID]:
    """The runs of as many tasks, on another node, that are going on when their tasks are next due: at 20."""
    world.nodes.alive.add("node-2")
    runs = []
    for _ in range(tasks):
        task = await world.create(trigger=every(10), overlap=SKIP)
        runs.append((await world.claim(task, after(10), next_run_at=after(20))).id)
    await world.clock.reach(after(12))
    return runs


def read_slowly(world: World, runs: list[UUID], until: float) -> None:
    """The answer about these takes until then."""
    for run in runs:
        world.log.after_reading[run] = lambda: world.clock.sleep_until(after(until))


async def test_nothing_else_is_late_while_an_overlap_is_looked_into() -> None:
    world = World()
    runs = await overlapping(world)
    await world.create(at=after(20.5))
    async with world.scheduler():
        read_slowly(world, runs, until=24)
        await world.clock.reach(after(21))
        assert world.runs() == [(20.5, 20.5)]
        assert world.skips("overlap") == []
        await world.clock.reach(after(25))
    assert world.skips("overlap") == [20]


async def test_what_takes_the_place_of_a_run_starts_at_its_instant() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=25)
    await world.create(trigger=every(10), overlap=Overlap(mode="cancel_running"))
    async with world.scheduler():
        await world.clock.reach(after(21))
    assert [call.at for call in world.calls] == [after(10), after(20)]


async def test_who_stops_finishes_what_it_looks_into_and_begins_no_more_of_it() -> None:
    world = World()
    runs = await overlapping(world, tasks=MAX_CHECKED_AT_ONCE + 3)
    async with world.scheduler() as running:
        read_slowly(world, runs, until=24)
        await world.clock.reach(after(21))
        running.cancel()
        await world.clock.until(running.done)
    assert world.skips("overlap") == [20] * MAX_CHECKED_AT_ONCE


async def test_what_is_looked_into_keeps_no_scheduler_beyond_its_grace() -> None:
    world = World()
    runs = await overlapping(world)
    async with world.scheduler(grace=timedelta(seconds=5)) as running:
        read_slowly(world, runs, until=1e6)
        await world.clock.reach(after(21))
        running.cancel()
        await world.clock.until(running.done)
        assert world.clock.now() <= after(27)


async def test_an_outage_only_delays_what_is_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    await overlapping(world)
    reads = []
    read_stream = world.log.read_stream

    async def counted(stream: UUID) -> object:
        reads.append(stream)
        return await read_stream(stream)

    async with world.scheduler():
        await world.clock.reach(after(19))
        monkeypatch.setattr(world.log, "read_stream", counted)
        with world.log.away():
            await world.clock.reach(after(25))
        assert len(reads) <= 13  # twice a second
        await world.clock.reach(after(27))
    assert world.skips("overlap") == [20]


async def test_what_cannot_be_looked_into_stops_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    [run] = await overlapping(world)
    await world.create(at=after(22))

    async def unreadable() -> None:
        raise ValueError("the database refuses the statement")

    async with world.scheduler():
        world.log.after_reading[run] = unreadable
        await world.clock.reach(after(25))
    assert "claiming an occurrence of task" in caplog.text
    assert world.runs() == [(22, 22)]


class Bidding:
    """Bids for one occurrence of a task, and what they have started."""

    def __init__(self, world: World, context: Context, task: UUID) -> None:
        self.world, self.context, self.task = world, context, task
        self.started: list[Job] = []
        self.appender = ClaimAppender(context, self.started.append)
        self.run = execution_id(task, after(60), "scheduled")

    def request(self) -> ClaimRequest:
        entry = Entry(self.task, 1, "default", definition(), after(60))
        return claim_request(entry, self.context.node, self.world.clock.now())

    async def look(self) -> None:
        """When it is time again."""
        await self.world.clock.pass_by(1)
        await self.appender.look()


@pytest.fixture
async def claiming() -> Bidding:
    world = World()
    return Bidding(world, world.context(), await world.create())


async def test_a_claim_that_is_looked_for_while_it_is_made_anew_begins_once(
    claiming: Bidding, caplog: pytest.LogCaptureFixture
) -> None:
    with claiming.world.log.away(), pytest.raises(LogUnavailable):
        await claiming.appender.append(claiming.request())
    claiming.world.log.after_reading[claiming.run] = lambda: claiming.appender.append(claiming.request())
    await claiming.look()
    await claiming.look()
    assert (claiming.started, caplog.text) == ([], "")  # who has made it anew begins it
    assert claiming.world.names(claiming.run) == ["ExecutionStarted"]


async def test_a_bid_that_the_database_refuses_says_why(claiming: Bidding) -> None:
    claiming.world.log.poison = ExecutionStarted
    with pytest.raises(ValueError, match="refuses the statement"):
        await claiming.appender.append(claiming.request())
    assert claiming.world.names(claiming.run) == []


async def test_a_claim_that_is_bid_for_again_is_left_to_that_until_it_is_refused(claiming: Bidding) -> None:
    with claiming.world.log.losing_answers(), pytest.raises(LogUnavailable):
        await claiming.appender.append(claiming.request())
    again = claiming.request()
    assert again.job is not None
    claiming.context.jobs.add(again.job)
    await claiming.look()
    assert claiming.started == []
    assert not await claiming.appender.append(again)
    claiming.context.jobs.done(again.job)
    await claiming.look()
    assert [job.execution.id for job in claiming.started] == [claiming.run]
    assert len(claiming.world.facts(ExecutionStarted)) == 1

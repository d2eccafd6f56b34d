"""Occurrences that wait behind earlier runs of their task, under a running scheduler."""

from datetime import timedelta
from uuid import UUID

import pytest

from domain.definition import Overlap
from domain.facts import ExecutionCancelled, ExecutionQueued, ExecutionSkipped, ExecutionStarted
from domain.identity import execution_id
from tests.support.fake_log import FakeFollower
from tests.support.given import after, every
from tests.support.scheduler import World

ONE = Overlap(mode="queue_one")
ALL = Overlap(mode="queue_all")


def slow(seconds: float = 25) -> World:
    """Its target takes so long to answer."""
    world = World()
    world.caller.takes = timedelta(seconds=seconds)
    return world


def run_of(task: UUID, due: float) -> UUID:
    return execution_id(task, after(due), "scheduled")


async def test_queue_one_lets_one_wait_and_skips_the_others() -> None:
    world = slow(24)
    task = await world.create(trigger=every(10), overlap=ONE)
    await world.run_until(62)
    assert world.runs() == [(10, 10), (20, 34), (40, 58)]
    assert world.skips("overlap") == [30, 50]
    assert world.names(run_of(task, 20))[:2] == ["ExecutionQueued", "ExecutionStarted"]
    queued = world.facts(ExecutionQueued)
    assert [fact.behind for fact in queued] == [run_of(task, due) for due in (10, 20, 40)]


async def test_queue_all_runs_every_one_in_its_order() -> None:
    world = slow()
    await world.create(trigger=every(10, end_at=after(40)), overlap=ALL)
    await world.run_until(200)
    assert world.runs() == [(10, 10), (20, 35), (30, 60), (40, 85)]
    assert world.facts(ExecutionSkipped) == []


async def test_queue_all_skips_what_finds_no_place() -> None:
    world = slow(75)
    await world.create(trigger=every(10), overlap=Overlap(mode="queue_all", max_queued=2))
    await world.run_until(55)
    assert world.skips("overlap") == [40, 50]
    assert {fact.reason for fact in world.facts(ExecutionSkipped)} == {
        "overlap: 2 other occurrences were waiting already while an earlier run was still going on"
    }


async def test_as_many_start_as_there_is_room_for() -> None:
    world = slow(45)
    task = await world.create(trigger=every(10), overlap=Overlap(mode="queue_all", max_running=2))
    async with world.scheduler():
        await world.clock.reach(after(50))
        assert world.runs() == [(10, 10), (20, 20)]
        await world.update(task, trigger=every(10), overlap=Overlap(mode="queue_all", max_running=4))
        await world.clock.reach(after(52))
    assert world.runs() == [(10, 10), (20, 20), (30, 50), (40, 50)]


async def test_a_queued_one_keeps_its_place_in_the_schedule_and_moves_it_nowhere() -> None:
    world = slow()
    task = await world.create(trigger=every(10, max_runs=2), overlap=ALL)
    await world.run_until(70)
    [queued] = world.facts(ExecutionQueued)
    started = world.facts(ExecutionStarted)[-1]
    assert (started.occurrence.run, started.next_run_at) == (queued.occurrence.run, None) == (2, None)
    assert world.runs() == [(10, 10), (20, 35)]
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


async def test_what_waits_without_room_is_not_read_again_and_again() -> None:
    world = slow(50)
    task = await world.create(trigger=every(10, end_at=after(20)), overlap=ALL)
    async with world.scheduler():
        await world.clock.reach(after(21))
        reads = count_reads(world)
        await world.clock.reach(after(59))
        assert reads == []
        await world.clock.reach(after(61))
        assert reads == [task, run_of(task, 20)]
    assert world.runs()[-1] == (20, 60)


def count_reads(world: World) -> list[UUID]:
    """Every stream that is read from now on."""
    reads: list[UUID] = []
    read_stream = world.log.read_stream

    async def counted(stream: UUID) -> object:
        reads.append(stream)
        return await read_stream(stream)

    world.log.read_stream = counted  # type: ignore[method-assign, assignment]
    return reads


async def test_a_paused_task_keeps_what_it_has_queued_until_it_is_resumed() -> None:
    world = slow()
    task = await world.create(trigger=every(10), overlap=ONE)
    async with world.scheduler():
        await world.clock.reach(after(22))
        await world.pause(task)
        await world.clock.reach(after(60))
        assert world.runs() == [(10, 10)]
        await world.resume(task)
        await world.clock.reach(after(69))
    assert world.runs() == [(10, 10), (20, 60)]
    assert world.skips("pause") == [30, 40, 50]
    assert world.skips("overlap") == []


async def test_what_a_cancelled_task_has_queued_is_cancelled_at_once() -> None:
    world = slow()
    task = await world.create(trigger=every(10), overlap=ALL)
    async with world.scheduler():
        await world.clock.reach(after(32))
        await world.cancel(task)
        await world.clock.reach(after(34))
        for due in (20, 30):
            assert world.names(run_of(task, due)) == ["ExecutionQueued", "ExecutionCancelled"]
        await world.clock.reach(after(90))
    assert world.runs() == [(10, 10)]


async def test_a_user_cancels_a_queued_one_and_the_next_moves_up() -> None:
    world = slow()
    task = await world.create(trigger=every(10), overlap=ALL)
    async with world.scheduler():
        await world.clock.reach(after(32))
        await world.cancel_execution(run_of(task, 20))
        await world.clock.reach(after(36))
    assert world.runs() == [(10, 10), (30, 35)]
    assert [fact.interrupted for fact in world.facts(ExecutionCancelled)] == [False]


async def test_what_is_queued_runs_from_the_task_as_it_is_by_then() -> None:
    world = slow()
    task = await world.create(trigger=every(10), overlap=ONE, url="http://target/old")
    async with world.scheduler():
        await world.clock.reach(after(22))
        await world.update(task, trigger=every(10), overlap=ONE, url="http://target/new")
        await world.clock.reach(after(36))
    assert [call.url for call in world.calls] == ["http://target/old", "http://target/new"]


async def test_what_another_schedule_does_not_include_is_skipped_when_its_turn_comes() -> None:
    world = slow()
    task = await world.create(trigger=every(10), overlap=ALL)
    async with world.scheduler():
        await world.clock.reach(after(32))
        await world.update(task, cron="1 * * * *", overlap=ALL)
        await world.clock.reach(after(61))
    assert world.runs() == [(10, 10), (60, 60)]
    assert world.skips("change") == [20, 30]


async def test_a_policy_that_does_not_queue_lets_what_waits_go_first() -> None:
    world = slow()
    task = await world.create(trigger=every(10), overlap=ALL)
    async with world.scheduler():
        await world.clock.reach(after(25))
        await world.update(task, trigger=every(10), overlap=Overlap(mode="skip"))
        await world.clock.reach(after(59))
    assert world.runs() == [(10, 10), (20, 35)]
    assert world.skips("overlap") == [30, 40, 50]


async def test_cancel_running_ends_what_waits_from_before() -> None:
    world = slow()
    task = await world.create(trigger=every(10), overlap=ALL)
    async with world.scheduler():
        await world.clock.reach(after(25))
        await world.update(task, trigger=every(10), overlap=Overlap(mode="cancel_running"))
        await world.clock.reach(after(31))
    assert world.runs() == [(10, 10), (30, 30)]
    assert {fact.replaced_by for fact in world.facts(ExecutionCancelled)} == {run_of(task, 30)}
    assert world.names(run_of(task, 20)) == ["ExecutionQueued", "ExecutionCancelled"]


async def test_a_policy_without_bound_starts_what_waits() -> None:
    world = slow()
    task = await world.create(trigger=every(10), overlap=ALL)
    async with world.scheduler():
        await world.clock.reach(after(32))
        await world.update(task, trigger=every(10), overlap=Overlap(mode="allow"))
        await world.clock.reach(after(33))
    assert world.runs() == [(10, 10), (20, 32), (30, 32)]


async def test_a_task_whose_last_occurrence_waits_ends_with_it() -> None:
    world = slow()
    task = await world.create(trigger=every(10, end_at=after(20)), overlap=ONE)
    async with world.scheduler():
        await world.clock.reach(after(59))
        assert world.names(task) == ["TaskCreated"]
        await world.clock.reach(after(61))
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


async def test_what_waits_when_the_schedule_ends_still_runs() -> None:
    world = slow()
    task = await world.create(trigger=every(10, end_at=after(30)), overlap=ONE)
    async with world.scheduler():
        await world.clock.reach(after(31))
        assert world.names(task) == ["TaskCreated", "TaskCompleted"]  # by the one that was skipped
        await world.clock.reach(after(61))
    assert world.runs() == [(10, 10), (20, 35)]
    assert world.names(run_of(task, 20))[-1] == "ExecutionSucceeded"


async def test_an_outage_only_delays_what_waits() -> None:
    world = slow()
    await world.create(trigger=every(10, end_at=after(20)), overlap=ONE)
    async with world.scheduler():
        await world.clock.reach(after(34))
        with world.outage():
            await world.clock.reach(after(40))
        await world.clock.reach(after(42))
    assert [due for due, _ in world.runs()] == [10, 20]
    assert 40 <= world.runs()[1][1] <= 41


async def test_a_queue_that_cannot_be_read_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    world = slow()
    odd = await world.create(trigger=every(10, end_at=after(20)), overlap=ONE)
    await world.create(trigger=every(10, end_at=after(20)), overlap=ONE)
    async with world.scheduler():
        await world.clock.reach(after(22))
        world.log.plant(odd, 2, "task.renamed.v9", b"{}")
        await world.clock.reach(after(61))
    assert world.runs() == [(10, 10), (10, 10), (20, 35)]
    assert f"starting what is queued of task {odd}" in caplog.text


async def test_many_schedulers_start_each_queued_one_once() -> None:
    world = slow(12)
    for _ in range(5):
        await world.create(trigger=every(10, end_at=after(60)), overlap=ALL)
    async with world.scheduler("node-1"), world.scheduler("node-2", follower=FakeFollower(world.log)):
        await world.clock.reach(after(150))
    assert len({call.execution_id for call in world.calls}) == len(world.calls) == 30

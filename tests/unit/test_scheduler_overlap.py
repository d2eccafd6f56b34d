"""Occurrences that fall due while earlier runs of their task go on, or wait behind them."""

import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest

from application.ports import Group, Patience
from application.scheduler.context import LINGER, SHORT_LINGER
from domain.definition import Overlap, OverlapMode, RetryPolicy
from domain.facts import (
    ExecutionCancelled,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    TaskCompleted,
)
from domain.identity import execution_id
from tests.support.fake_log import FakeFollower
from tests.support.given import after, attempt, every
from tests.support.scheduler import World


def slow(seconds: float = 25) -> World:
    """Its target takes so long to answer."""
    world = World()
    world.caller.takes = timedelta(seconds=seconds)
    return world


async def test_skip_leaves_out_what_falls_due_during_a_run() -> None:
    world = slow()
    task = await world.create(trigger=every(10), overlap=Overlap(mode="skip"))
    await world.run_until(55)
    assert world.runs() == [(10, 10), (40, 40)]
    assert world.skips("overlap") == [20, 30, 50]
    first = execution_id(task, after(10), "scheduled")
    assert [fact.behind for fact in world.facts(ExecutionSkipped)][:2] == [first, first]


@pytest.mark.parametrize(
    ("takes", "policy", "until", "runs", "skipped"),
    [
        (25, Overlap(mode="skip", max_running=2), 55, [10, 20, 40, 50], [30]),
        (25, Overlap(mode="allow"), 35, [10, 20, 30], []),
        (9.999, Overlap(mode="skip"), 35, [10, 20, 30], []),
        (25, Overlap(mode="cancel_running", max_running=2), 36, [10, 20, 30], []),
    ],
    ids=["skip counts up to max_running", "allow starts every one", "an end right before is in nobody's way",
         "cancel_running breaks off the oldest"],
)  # fmt: skip
async def test_a_policy_decides_what_starts_beside_what_runs(
    takes: float, policy: Overlap, until: float, runs: list[float], skipped: list[float]
) -> None:
    world = slow(takes)
    await world.create(trigger=every(10), overlap=policy)
    await world.run_until(until)
    assert world.runs() == [(due, due) for due in runs]
    assert world.skips("overlap") == skipped
    assert len(world.facts(ExecutionCancelled)) == (policy.mode == "cancel_running")


async def test_a_run_that_waits_for_its_next_attempt_goes_on(world: World) -> None:
    world.caller.answers(503)
    retry = RetryPolicy(initial_delay_seconds=15, jitter="none")
    await world.create(trigger=every(10), retry=retry, overlap=Overlap(mode="skip"))
    await world.run_until(35)
    assert world.runs() == [(10, 10), (10, 25), (30, 30)]
    assert world.skips("overlap") == [20]


@pytest.mark.parametrize("mode", ["skip", "queue_one"])
async def test_nor_is_one_that_is_recorded_a_little_later(mode: OverlapMode) -> None:
    world = slow(9.93)
    world.linger, world.short_linger = LINGER, SHORT_LINGER
    await world.create(trigger=every(10), overlap=Overlap(mode=mode))
    await world.run_until(35)
    assert world.runs() == [(10, 10), (20, 20), (30, 30)]


async def test_what_users_run_out_of_turn_is_neither_bound_nor_counted() -> None:
    world = slow()
    task = await world.create(trigger=every(60), overlap=Overlap(mode="skip"))
    async with world.scheduler():
        await world.clock.reach(after(50))
        await world.trigger(task)
        await world.clock.reach(after(61))
        await world.trigger(task)
        await world.clock.reach(after(62))
    assert [at for _, at in world.runs()] == [50, 60, 61]
    assert world.skips("overlap") == []


async def test_cancel_running_breaks_off_the_older_run() -> None:
    world = slow()
    task = await world.create(trigger=every(10), overlap=Overlap(mode="cancel_running"))
    first, second = (execution_id(task, after(due), "scheduled") for due in (10, 20))
    async with world.scheduler():
        await world.clock.reach(after(21))
        assert world.names(first) == ["ExecutionStarted", "ExecutionCancelled"]
        await world.clock.reach(after(29))
    assert world.runs() == [(10, 10), (20, 20)]
    [cancelled] = world.facts(ExecutionCancelled)
    assert (cancelled.replaced_by, cancelled.interrupted) == (second, True)
    assert [call.over for call in world.calls] == [False, True]


async def test_breaking_off_calls_costs_no_worker() -> None:
    world = slow()
    await world.create(trigger=every(10), overlap=Overlap(mode="cancel_running"))
    await world.run_until(69, concurrency=1)
    assert world.runs() == [(due, due) for due in range(10, 70, 10)]


async def test_a_call_on_another_node_is_broken_off_as_well() -> None:
    world = slow()
    task = await world.create(trigger=every(10), overlap=Overlap(mode="cancel_running"))
    async with world.scheduler("node-1"):
        await world.clock.reach(after(11))
        world.nodes.alive.add("node-2")
        await world.append(
            execution_id(task, after(10), "scheduled"),
            ExecutionCancelled(at=after(12), task_id=task, reason="replaced", interrupted=True),
        )
        await world.clock.reach(after(13))
    assert [call.over for call in world.calls] == [False]


async def test_the_end_of_what_was_replaced_is_not_the_end_of_the_task() -> None:
    world = slow()
    trigger = every(10, end_at=after(20))
    task = await world.create(trigger=trigger, overlap=Overlap(mode="cancel_running"))
    async with world.scheduler():
        await world.clock.reach(after(30))
        assert world.names(task) == ["TaskCreated"]
        await world.clock.reach(after(46))
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


async def test_a_task_whose_last_occurrence_overlaps_ends_and_its_run_goes_on() -> None:
    world = slow()
    task = await world.create(trigger=every(10, end_at=after(20)), overlap=Overlap(mode="skip"))
    async with world.scheduler():
        await world.clock.reach(after(21))
        [end] = world.facts(TaskCompleted)
        assert (end.outcome, end.execution_id) == ("succeeded", execution_id(task, after(20), "scheduled"))
        await world.clock.reach(after(60))
    assert world.names(execution_id(task, after(10), "scheduled"))[-1] == "ExecutionSucceeded"
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


async def test_another_policy_counts_from_the_next_occurrence_on() -> None:
    world = slow(100)
    task = await world.create(trigger=every(10), overlap=Overlap(mode="allow"))
    async with world.scheduler():
        await world.clock.reach(after(25))
        await world.update(task, trigger=every(10), overlap=Overlap(mode="skip", max_running=3))
        await world.clock.reach(after(45))
    assert world.runs() == [(10, 10), (20, 20), (30, 30)]
    assert world.skips("overlap") == [40]


ONE = Overlap(mode="queue_one")
ALL = Overlap(mode="queue_all")


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


TWO = Overlap(mode="queue_all", max_running=2)


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

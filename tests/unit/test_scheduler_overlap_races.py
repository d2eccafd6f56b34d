"""The bounds of an overlap policy hold whatever a scheduler has not heard of yet, and whoever is faster."""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from application.ports import Open
from domain.definition import Overlap
from domain.facts import ExecutionCancelled, ExecutionSkipped, ExecutionSucceeded
from domain.identity import execution_id
from tests.support.given import after, attempt, every
from tests.support.scheduler import World

SKIP, ALL, CANCEL = Overlap(mode="skip"), Overlap(mode="queue_all"), Overlap(mode="cancel_running")


def run_of(task: UUID, due: float) -> UUID:
    return execution_id(task, after(due), "scheduled")


async def with_a_run_elsewhere(policy: Overlap) -> tuple[World, UUID]:
    """A task every ten seconds whose first occurrence runs on another node."""
    world = World()
    task = await world.create(trigger=every(10), overlap=policy)
    world.nodes.alive.add("node-2")
    await world.claim(task, after(10), next_run_at=after(20))
    return world, task


async def end(world: World, task: UUID, due: float) -> None:
    """The other node's run succeeds."""
    run, version = run_of(task, due), 1
    made = attempt(version)
    await world.append(run, ExecutionSucceeded(at=world.clock.now(), task_id=task, attempt=made))


@pytest.mark.parametrize("policy", [SKIP, ALL, CANCEL], ids=["skip", "queue", "cancel"])
async def test_what_ended_unheard_of_is_in_nobodys_way(policy: Overlap) -> None:
    world, task = await with_a_run_elsewhere(policy)
    async with world.scheduler():
        with world.follower.held():
            await world.clock.reach(after(15))
            await end(world, task, 10)
            await world.clock.reach(after(21))
    assert world.runs() == [(20, 20)]
    assert world.names(run_of(task, 20))[0] == "ExecutionStarted"
    assert world.facts(ExecutionCancelled) == []


async def test_what_went_on_when_a_scheduler_started_is_known_to_it() -> None:
    world, _ = await with_a_run_elsewhere(SKIP)
    await world.clock.reach(after(15))
    await world.run_until(25)
    assert world.calls == []
    assert world.skips("overlap") == [20]


async def test_what_waited_when_a_scheduler_started_starts_in_its_turn() -> None:
    world, task = await with_a_run_elsewhere(ALL)
    await world.queue(task, after(20), run_of(task, 10), after(30))
    await world.queue(task, after(30), run_of(task, 10), after(40))
    await world.clock.reach(after(33))
    async with world.scheduler():
        await world.clock.reach(after(35))
        assert world.calls == []
        await end(world, task, 10)
        await world.clock.reach(after(36))
    assert world.runs() == [(20, 35), (30, 35)]


@pytest.mark.parametrize("lead", [0.1, 1])
async def test_a_place_that_is_ahead_of_what_was_followed_is_not_claimed_before_that(
    lead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.scheduler.timing.LEAST", timedelta(seconds=lead))
    world = World()
    task = await world.create(trigger=every(10), overlap=SKIP)
    world.nodes.alive.add("node-2")
    open_runs = world.due_tasks.open_runs

    async def then_another_starts() -> tuple[int, Sequence[Open]]:
        answer = await open_runs()
        await world.claim(task, after(10), next_run_at=after(20))
        return answer

    monkeypatch.setattr(world.due_tasks, "open_runs", then_another_starts)
    with contextlib.ExitStack() as held:
        held.enter_context(world.follower.held())
        async with world.scheduler():
            await world.clock.reach(after(25))
            assert [world.calls, world.facts(ExecutionSkipped)] == [[], []]
            held.close()
            await world.clock.reach(after(26))
    assert world.calls == []
    assert world.skips("overlap") == [20]


async def test_a_place_that_was_read_after_a_refusal_is_not_claimed_before_it_was_followed(
    world: World,
) -> None:
    task = await world.create(trigger=every(10), overlap=SKIP)
    world.nodes.alive.add("node-2")
    async with world.scheduler():
        with world.follower.held():
            await world.clock.reach(after(9))
            await world.claim(task, after(10), next_run_at=after(20))
            await world.clock.reach(after(25))
            assert [world.calls, world.facts(ExecutionSkipped)] == [[], []]
        await world.clock.reach(after(26))
    assert world.calls == []
    assert world.skips("overlap") == [20]


async def test_a_definition_that_was_read_after_a_refusal_waits_for_what_ran_under_the_old_one(
    world: World,
) -> None:
    task = await world.create(trigger=every(10), overlap=Overlap(mode="allow"))
    async with world.scheduler():
        await world.clock.reach(after(5))
        world.nodes.alive.add("node-2")
        with world.follower.held():
            await world.claim(task, after(10), next_run_at=after(20))
            await world.update(task, trigger=every(10), overlap=SKIP)
            await world.clock.reach(after(25))
            assert [world.calls, world.facts(ExecutionSkipped)] == [[], []]
        await world.clock.reach(after(26))
    assert world.calls == []
    assert world.skips("overlap") == [20]


async def test_who_ends_by_itself_is_not_replaced_and_the_newer_one_starts_all_the_same() -> None:
    world, task = await with_a_run_elsewhere(CANCEL)
    async with world.scheduler():
        with world.follower.held():
            world.log.after_reading[run_of(task, 10)] = lambda: end(world, task, 10)
            await world.clock.reach(after(21))
    assert world.runs() == [(20, 20)]
    assert world.names(run_of(task, 10)) == ["ExecutionStarted", "ExecutionSucceeded"]
    assert world.observed.claims == [(0, 1), (1, 0)]


async def test_a_task_that_moves_on_while_its_overlap_is_looked_into_is_not_claimed() -> None:
    world, task = await with_a_run_elsewhere(SKIP)
    async with world.scheduler():

        async def another_skips() -> None:
            await world.update(task, trigger=every(60), overlap=SKIP)
            await world.follower.told()

        world.log.after_reading[run_of(task, 10)] = another_skips
        await world.clock.reach(after(25))
    assert world.facts(ExecutionSkipped) == []
    assert world.observed.claims == [(0, 1)]


def started_elsewhere(world: World, task: UUID, due: float) -> Callable[[], Awaitable[object]]:
    """Another node was faster."""
    return lambda: world.claim(task, after(due), next_run_at=after(due + 10))


async def test_two_nodes_that_try_the_same_queued_one_start_it_once() -> None:
    world, task = await with_a_run_elsewhere(ALL)
    await world.queue(task, after(20), run_of(task, 10), after(30))
    await world.queue(task, after(30), run_of(task, 10), after(40))
    await world.clock.reach(after(33))
    async with world.scheduler():
        world.log.after_reading[run_of(task, 20)] = started_elsewhere(world, task, 20)
        await end(world, task, 10)
        await world.clock.reach(after(38))
        assert world.calls == []  # the other node's run of the first one takes the room
        await end(world, task, 20)
        await world.clock.reach(after(39))
    assert world.runs() == [(30, 38)]
    assert world.names(run_of(task, 20)) == ["ExecutionQueued", "ExecutionStarted", "ExecutionSucceeded"]


async def test_what_a_user_cancels_while_its_start_is_decided_lets_the_next_one_start() -> None:
    world, task = await with_a_run_elsewhere(ALL)
    await world.queue(task, after(20), run_of(task, 10), after(30))
    await world.queue(task, after(30), run_of(task, 10), after(40))
    await world.clock.reach(after(33))
    async with world.scheduler():
        await world.clock.reach(after(34))
        world.log.after_reading[task] = lambda: world.cancel_execution(run_of(task, 20))
        await end(world, task, 10)
        await world.clock.reach(after(35))
    assert world.runs() == [(30, 34)]
    assert world.names(run_of(task, 20)) == ["ExecutionQueued", "ExecutionCancelled"]


async def test_a_change_that_was_not_followed_yet_keeps_a_queue_waiting(world: World) -> None:
    world.caller.takes = timedelta(seconds=15)
    trigger = every(10, end_at=after(20))
    task = await world.create(trigger=trigger, overlap=ALL)
    async with world.scheduler():
        await world.clock.reach(after(22))
        with world.follower.held():
            await world.update(task, trigger=trigger, overlap=ALL, url="http://target/new")
            await world.clock.reach(after(28))
            assert world.runs() == [(10, 10)]
        await world.clock.reach(after(30))
    assert world.runs() == [(10, 10), (20, 28)]
    assert world.calls[1].url == "http://target/new"


async def test_a_run_that_this_node_ends_makes_room_before_it_is_followed(world: World) -> None:
    world.caller.takes = timedelta(seconds=15)
    await world.create(trigger=every(10, end_at=after(20)), overlap=ALL)
    async with world.scheduler():
        await world.clock.reach(after(22))
        with world.follower.held():
            await world.clock.reach(after(26))
    assert world.runs() == [(10, 10), (20, 25)]


async def test_who_ends_a_queued_one_first_ends_it_once() -> None:
    world, task = await with_a_run_elsewhere(ALL)
    run = await world.queue(task, after(20), run_of(task, 10), after(30))
    await world.clock.reach(after(23))
    async with world.scheduler():
        with contextlib.ExitStack() as held:

            async def cancel_unheard() -> None:
                held.enter_context(world.follower.held())
                await world.cancel_execution(run, "not needed")

            world.log.after_reading[run] = cancel_unheard
            await world.cancel(task)
            await world.clock.reach(after(25))
    assert [fact.reason for fact in world.facts(ExecutionCancelled)] == ["cancelled by a user: not needed"]


async def test_room_that_somebody_takes_while_a_start_is_decided_is_gone() -> None:
    world, task = await with_a_run_elsewhere(ALL)
    run = await world.queue(task, after(20), run_of(task, 10), after(30))
    await world.clock.reach(after(23))
    async with world.scheduler():

        async def start_another() -> None:  # by a release that knows no queues
            await world.claim(task, after(30), next_run_at=after(40))
            await world.follower.told()

        world.log.after_reading[run] = start_another
        await end(world, task, 10)
        await world.clock.reach(after(25))
        assert world.calls == []
        await end(world, task, 30)
        await world.clock.reach(after(26))
    assert world.runs() == [(20, 25)]


async def test_a_queued_one_whose_answer_was_lost_is_found_in_the_log() -> None:
    world, task = await with_a_run_elsewhere(ALL)
    async with world.scheduler():
        with world.follower.held(), world.log.losing_answers():
            await world.clock.reach(after(20.3))
        await end(world, task, 10)
        await world.clock.reach(after(29))
    assert [due for due, _ in world.runs()] == [20]
    assert world.names(run_of(task, 20)) == ["ExecutionQueued", "ExecutionStarted", "ExecutionSucceeded"]


async def test_what_another_schedule_had_dropped_is_queued_anew() -> None:
    world, task = await with_a_run_elsewhere(ALL)
    claimed = await world.claim(task, after(20), next_run_at=after(30))
    dropped = ExecutionSkipped(at=after(20), occurrence=claimed.occurrence, reason="moved", next_run_at=None)
    await world.append(claimed.id, dropped)
    await world.update(task, cron="0 * * * *", overlap=ALL)
    await world.clock.reach(after(15))
    await world.update(task, trigger=every(10), overlap=ALL)
    async with world.scheduler():
        await world.clock.reach(after(25))
        await end(world, task, 10)
        await world.clock.reach(after(26))
    assert world.runs() == [(20, 25)]
    assert world.names(claimed.id)[2:] == ["ExecutionQueued", "ExecutionStarted", "ExecutionSucceeded"]

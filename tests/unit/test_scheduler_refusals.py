"""Claims that were refused, or got no answer."""

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest

from application.ports import LogUnavailable
from application.scheduler.claims import ClaimAppender, claim_request
from application.scheduler.index import Entry
from domain.definition import CatchUp
from domain.facts import (
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    IdempotencyKeyUsed,
    Occurrence,
    TaskCompleted,
    TaskUpdated,
)
from domain.identity import execution_id
from tests.support.fake_log import FakeFollower
from tests.support.given import NOON, after, attempt, definition, every
from tests.support.scheduler import LEASE, World


@contextlib.contextmanager
def unseen(world: World, node: str) -> Iterator[None]:
    """What another node does is not told for the length of the block; the node is alive."""
    world.nodes.alive.add(node)
    with world.follower.held():
        yield


async def test_an_occurrence_that_another_node_has_claimed_is_left_to_it(world: World) -> None:
    task = await world.create(cron="* * * * *")
    async with world.scheduler("node-1"), world.scheduler("node-2", follower=FakeFollower(world.log)):
        with world.follower.held():
            await world.clock.reach(after(59))
            await world.claim(task, after(60), next_run_at=after(120))
            await world.clock.reach(after(61))
            assert world.calls == []
            await world.clock.reach(after(121))
    assert [call.at for call in world.calls] == [after(120)]
    assert (0, 1) in world.observed.claims


async def test_a_one_off_that_another_node_has_claimed_is_forgotten(world: World) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        with unseen(world, "node-2"):
            run = execution_id(task, after(5), "scheduled")
            await world.claim(task, after(5))
            await world.clock.reach(after(9))
    assert world.calls == []
    assert world.names(run) == ["ExecutionStarted"]


async def test_missed_occurrences_that_another_node_has_recorded_are_not_recorded_twice(world: World) -> None:
    task = await world.create(cron="* * * * *")
    world.due_tasks.projected = len(world.log.recorded)
    for minute in (1, 2):
        occurrence = Occurrence(
            task_id=task, task_version=1, task_name="report", namespace="default", due_at=after(60 * minute)
        )
        skip = ExecutionSkipped(
            at=NOON, occurrence=occurrence, reason="missed", next_run_at=after(60 * (minute + 1))
        )
        await world.append(execution_id(task, after(60 * minute), "scheduled"), skip)
    await world.clock.reach(after(300))
    with world.follower.held():
        async with world.scheduler():
            world.due_tasks.projected = None
            await world.clock.reach(after(301))
    assert [fact.occurrence.due_at for fact in world.facts(ExecutionSkipped)] == [
        after(60 * minute) for minute in (1, 2, 3, 4)
    ]
    assert [call.at for call in world.calls] == [after(300)]
    assert world.observed.claims == [(0, 1), (1, 0)]


async def test_a_refusal_that_the_log_does_not_explain_is_reported(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        stray = IdempotencyKeyUsed(at=NOON, key="k", namespace="default", task_id=task, digest="")
        await world.append(execution_id(task, after(5), "scheduled"), stray)
        await world.clock.reach(after(10))
    assert world.calls == []
    assert "the log refuses the claim" in caplog.text


async def test_an_outage_while_a_refusal_is_looked_into_loses_nothing(world: World) -> None:
    task = await world.create(at=after(5), url="http://target/old")

    async def fail() -> None:
        raise LogUnavailable("no connection is free")

    async with world.scheduler():
        with world.follower.held():
            await world.update(task, at=after(5), url="http://target/new")
            world.log.after_reading[task] = fail
            await world.clock.reach(after(7))
    assert [(call.url, call.at < after(5.6)) for call in world.calls] == [("http://target/new", True)]


async def test_a_change_that_is_heard_of_while_a_refusal_is_looked_into_counts(world: World) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        with contextlib.ExitStack() as held:
            held.enter_context(world.follower.held())
            await world.update(task, at=after(20))

            async def move_again() -> None:
                await world.update(task, at=after(30))
                held.close()
                await world.follower.told()

            world.log.after_reading[task] = move_again
            await world.clock.reach(after(60))
    assert [call.at for call in world.calls] == [after(30)]
    assert world.observed.claims == [(0, 1), (1, 0)]


async def test_a_one_off_that_comes_back_to_an_instant_that_another_node_is_running_waits_for_its_end(
    world: World,
) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        run = execution_id(task, after(5), "scheduled")
        world.nodes.alive.add("node-2")
        await world.claim(task, after(5))
        await world.update(task, at=after(600))
        await world.update(task, at=after(5))
        await world.clock.reach(after(9))
    assert world.calls == []
    assert world.names(run) == ["ExecutionStarted"]
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskUpdated"]


async def test_leaving_an_occurrence_behind_gives_way_to_a_change_of_the_task(world: World) -> None:
    task = await world.create(at=after(5))
    run = execution_id(task, after(5), "scheduled")
    await world.claim(task, after(5))
    await world.append(run, ExecutionSucceeded(at=after(5), task_id=task, attempt=attempt()))
    await world.update(task, at=after(600))
    await world.update(task, at=after(5))

    async def move() -> None:
        await world.update(task, at=after(60))

    world.log.after_reading[run] = move
    await world.run_until(70)
    assert [call.at for call in world.calls] == [after(60)]
    assert [end.execution_id for end in world.facts(TaskCompleted)] == [
        execution_id(task, after(60), "scheduled")
    ]


async def test_claiming_anew_what_was_dropped_gives_way_to_another_node(world: World) -> None:
    task = await world.create(at=after(5))
    run = execution_id(task, after(5), "scheduled")
    claimed = await world.claim(task, after(5))
    dropped = ExecutionSkipped(at=after(5), occurrence=claimed.occurrence, reason="moved", next_run_at=None)
    await world.append(run, dropped)
    await world.update(task, at=after(600))
    await world.update(task, at=after(5))
    world.nodes.alive.add("node-2")

    async def claim() -> None:
        await world.claim(task, after(5), task_version=3)

    world.log.after_reading[run] = claim
    async with world.scheduler():
        with world.follower.held():
            await world.clock.reach(after(9))
    assert world.calls == []
    assert world.names(run) == ["ExecutionStarted", "ExecutionSkipped", "ExecutionStarted"]


async def test_an_occurrence_that_was_claimed_by_the_old_schedule_is_left_behind_for_good(
    world: World,
) -> None:
    task = await world.create(cron="* * * * *")
    world.nodes.alive.add("node-2")
    await world.claim(task, after(60), next_run_at=after(120))
    await world.update(task, cron="1 * * * *")  # placed at 12:01, too
    async with world.scheduler():
        await world.clock.reach(after(70))
        [_, moved] = world.facts(TaskUpdated)
        assert (moved.next_run_at, moved.definition) == (after(3660), definition(cron="1 * * * *"))
        await world.clock.reach(after(3700))
    assert [call.at for call in world.calls] == [after(3660)]


async def test_an_occurrence_that_ran_under_the_old_schedule_is_left_behind_for_good(world: World) -> None:
    task = await world.create(cron="* * * * *")
    run = execution_id(task, after(60), "scheduled")
    await world.claim(task, after(60), next_run_at=after(120))
    await world.append(run, ExecutionSucceeded(at=after(60), task_id=task, attempt=attempt()))
    await world.update(task, cron="1 * * * *")
    await world.run_until(3700)
    assert [call.at for call in world.calls] == [after(3660)]
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskUpdated"]


async def test_a_missed_occurrence_that_a_user_has_had_run_is_not_recorded_as_missed(world: World) -> None:
    task = await world.create(trigger=every(100), catch_up=CatchUp(mode="skip"))
    await world.clock.reach(after(170))
    await world.backfill(task, after(100), after(101))
    await world.run_until(201)
    assert world.runs() == [(100, 170), (200, 200)]
    assert world.facts(ExecutionSkipped) == []


async def lost_claim(world: World, task: UUID) -> None:
    """The claim of a task's occurrence at 5 s is stored, and its answer lost."""
    with world.follower.held(), world.log.losing_answers():
        await world.clock.reach(after(5))
    assert len(world.facts(ExecutionStarted)) == 1
    assert task == world.facts(ExecutionStarted)[0].occurrence.task_id


async def test_a_claim_whose_answer_was_lost_is_not_sent_when_its_task_was_cancelled_meanwhile(
    world: World,
) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        await lost_claim(world, task)
        await world.cancel(task)
        await world.clock.reach(after(10))
    assert world.calls == []
    assert [fact.reason for fact in world.facts(ExecutionSkipped)] == [
        "the task was cancelled before the call was sent"
    ]


async def test_a_claim_whose_answer_was_lost_calls_the_action_as_it_is_by_now(world: World) -> None:
    task = await world.create(at=after(5), url="http://target/old")
    async with world.scheduler():
        await lost_claim(world, task)
        await world.update(task, at=after(5), url="http://target/new")
        await world.clock.reach(after(10))
    assert [call.url for call in world.calls] == ["http://target/new"]
    assert world.names(task)[-1] == "TaskCompleted"


async def test_a_claim_that_did_not_arrive_is_made_again_and_not_looked_for_any_longer(world: World) -> None:
    world.caller.takes = timedelta(seconds=9)
    await world.create(at=after(5))
    async with world.scheduler():
        await world.clock.reach(after(4.9))
        with world.log.away():
            await world.clock.reach(after(6))
        await world.clock.reach(after(200))
    assert len(world.calls) == 1
    assert len(world.facts(ExecutionStarted)) == 1


async def test_a_claim_that_never_arrives_is_looked_for_until_its_lease_is_over(world: World) -> None:
    context = world.context()
    begun: list[object] = []
    doubtful = ClaimAppender(context, begun.append)
    entry = Entry(await world.create(at=NOON), 1, "default", definition(at=NOON), NOON)
    with world.log.away(), pytest.raises(LogUnavailable):
        await doubtful.append(claim_request(entry, context.node, NOON))
    while doubtful.next_look is not None:
        await world.clock.reach(doubtful.next_look)
        await doubtful.look()
    assert begun == []
    assert world.clock.now() >= NOON + LEASE


async def test_a_claim_that_somebody_else_won_is_not_begun(world: World) -> None:
    context = world.context()
    begun: list[object] = []
    doubtful = ClaimAppender(context, begun.append)
    task = await world.create(at=NOON)
    entry = Entry(task, 1, "default", definition(at=NOON), NOON)
    with world.log.away(), pytest.raises(LogUnavailable):
        await doubtful.append(claim_request(entry, context.node, NOON))
    await world.claim(task, NOON)
    await doubtful.look()
    assert (begun, doubtful.next_look) == ([], None)


async def test_a_claim_that_cannot_be_read_is_given_up(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    context = world.context()
    begun: list[object] = []
    doubtful = ClaimAppender(context, begun.append)
    task = await world.create(at=NOON)
    with world.log.losing_answers(), pytest.raises(LogUnavailable):
        await doubtful.append(
            claim_request(Entry(task, 1, "default", definition(at=NOON), NOON), context.node, NOON)
        )
    world.log.plant(execution_id(task, NOON, "scheduled"), 2, "execution.paused.v9", b"{}")
    await doubtful.look()
    assert (begun, doubtful.next_look) == ([], None)
    assert "execution.paused.v9" in caplog.text


async def test_a_portion_whose_answer_was_lost_needs_no_looking_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.claiming.MAX_SKIPPED", 2)
    world = World()
    task = await world.create(cron="* * * * *")
    await world.clock.reach(after(330))
    with contextlib.ExitStack() as lost:
        lost.enter_context(world.log.losing_answers())
        async with world.scheduler():
            await world.clock.reach(after(330.2))
            assert len(world.facts(ExecutionSkipped)) == 2
            lost.close()
            await world.clock.reach(after(335))
    assert [call.execution_id for call in world.calls] == [execution_id(task, after(300), "scheduled")]
    assert len(world.facts(ExecutionSkipped)) == 4


async def test_a_lost_claim_is_looked_for_again_when_the_log_goes_away_meanwhile(world: World) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        await lost_claim(world, task)
        with world.log.away():
            await world.clock.reach(after(9))
        await world.clock.reach(after(12))
    assert len(world.calls) == 1


async def test_a_second_claim_of_what_was_dropped_is_recognised_when_its_answer_was_lost(
    world: World,
) -> None:
    task = await world.create(at=after(5))
    run = execution_id(task, after(5), "scheduled")
    claimed = await world.claim(task, after(5))
    dropped = ExecutionSkipped(at=after(5), occurrence=claimed.occurrence, reason="moved", next_run_at=None)
    await world.append(run, dropped)
    await world.update(task, at=after(600))
    await world.update(task, at=after(5))
    async with world.scheduler():
        with world.log.losing_answers():
            await world.clock.reach(after(5.2))
        await world.clock.reach(after(7))
    assert len(world.calls) == 1
    assert world.names(run) == [
        "ExecutionStarted",
        "ExecutionSkipped",
        "ExecutionStarted",
        "ExecutionSucceeded",
    ]
    assert world.names(task)[-1] == "TaskCompleted"

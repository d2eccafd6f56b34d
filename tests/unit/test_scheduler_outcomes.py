"""Jobs, what comes of their attempts, and waiting for the next one."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from application.ports import Meta, Recorded
from application.scheduler import attempts
from application.scheduler.jobs import Job, Jobs, RetryQueue
from application.scheduler.outcomes import Outcomes
from domain import execution as executions
from domain.definition import RetryPolicy
from domain.facts import (
    AnyFact,
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionSucceeded,
    TaskCompleted,
    TaskFailuresCounted,
    TaskPaused,
)
from domain.identity import execution_id
from tests.support.exchanging import brought
from tests.support.given import (
    NOON,
    RUN,
    TASK,
    after,
    cancelled,
    completed,
    definition,
    failed_attempt,
    started,
    taken_over,
    updated,
)
from tests.support.mortal import MortalNode
from tests.support.scheduler import World


async def called(world: World, task: UUID, **words: Any) -> Job:
    """A job of node-1 whose call has been made, claimed from version 1 of its task."""
    return Job(await world.claim(task, NOON, node="node-1"), definition(**words), 1, NOON)


class Noted(RetryQueue):
    """Keeps what is added, and has no room for the odd one."""

    def __init__(self, odd: Job | None = None) -> None:
        super().__init__()
        self.odd = odd
        self.jobs: list[Job] = []

    def add(self, job: Job) -> None:
        if job is self.odd:
            raise ValueError("no room")
        self.jobs.append(job)


def outcomes(world: World, odd: Job | None = None) -> tuple[Outcomes, list[Job]]:
    """Outcomes, and the jobs that then wait for a retry."""
    waiting = Noted(odd)
    return Outcomes(replace(world.context(), retries=waiting)), waiting.jobs


async def test_success_ends_the_execution_and_its_one_off_together(world: World) -> None:
    job = await called(world, await world.create(at=NOON), at=NOON)
    recorded: list[int] = []
    settling, _ = outcomes(world)
    await settling.settle([(job, brought(1, 204))], lambda: recorded.append(len(world.log.facts())))
    assert [type(fact) for fact in world.log.facts()][-2:] == [ExecutionSucceeded, TaskCompleted]
    assert [(end.outcome, end.execution_id) for end in world.facts(TaskCompleted)] == [
        ("succeeded", job.execution.id)
    ]
    assert [occurrence.due_at for occurrence, _ in world.observed.ends] == [NOON]
    assert recorded == [len(world.log.facts()) - 2], "told that the log is given outcomes, before it answers"


async def take_over(world: World, job: Job) -> None:
    lost = taken_over(2)
    await world.append(job.execution.id, msgspec.structs.replace(lost, task_id=job.task_id))


async def move_back_while_recording(world: World, job: Job) -> None:
    await world.update(job.task_id, at=after(600))
    world.log.after_reading[job.task_id] = lambda: world.update(job.task_id, at=NOON)


async def make_unreadable(world: World, job: Job) -> None:
    world.log.plant(job.task_id, 2, "task.renamed.v9", b"{}")


MEANWHILE: dict[str, tuple[Callable[[World, Job], Awaitable[None]], int, str, str | None]] = {
    "another node took it over: a success": (take_over, 200, "", "ExecutionTakenOver"),
    "another node took it over: a failure": (take_over, 503, "", "ExecutionTakenOver"),
    "another action": (lambda world, job: world.update(job.task_id, at=NOON, name="other"),
        200, "TaskUpdated TaskCompleted", "ExecutionSucceeded"),
    "moved": (lambda world, job: world.update(job.task_id, at=after(600)),
        200, "TaskUpdated", "ExecutionSucceeded"),
    "moved, and back in the very moment of recording": (move_back_while_recording,
        200, "TaskUpdated TaskUpdated TaskCompleted", "ExecutionSucceeded"),
    "cancelled": (lambda world, job: world.cancel(job.task_id), 404, "TaskCancelled", "ExecutionFailed"),
    "cannot be read": (make_unreadable, 200, "", "ExecutionSucceeded"),
}  # fmt: skip


@pytest.mark.parametrize(("meanwhile", "status", "task", "last"), MEANWHILE.values(), ids=MEANWHILE)
async def test_what_happened_to_a_one_off_meanwhile_decides_what_its_outcome_is_worth(
    world: World, meanwhile: Callable[[World, Job], Awaitable[None]], status: int, task: str, last: str
) -> None:
    job = await called(world, await world.create(at=NOON), at=NOON)
    await meanwhile(world, job)
    settling, waiting = outcomes(world)
    await settling.settle([(job, brought(1, status))], lambda: None)
    assert waiting == []
    assert world.names(job.execution.id) == ["ExecutionStarted", last]
    if meanwhile is not make_unreadable:
        assert world.names(job.task_id) == ["TaskCreated", *task.split()]
    assert len(world.observed.ends) == (meanwhile is not take_over)


async def test_a_failure_that_may_pass_waits_for_its_retry(world: World) -> None:
    job = await called(world, await world.create(at=NOON), at=NOON)
    settling, waiting = outcomes(world)
    await settling.settle([(job, brought(1, 503))], lambda: None)
    assert waiting == [job]
    assert isinstance(job.execution, executions.Waiting)
    assert [fact.retry_at for fact in world.facts(AttemptFailed)] == [after(1)]
    assert world.observed.ends == []


async def test_an_outcome_that_cannot_be_concluded_leaves_the_others_recorded(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    odd, other = [await called(world, await world.create(at=NOON), at=NOON) for _ in range(2)]
    conclude = executions.conclude

    def picky(running: executions.Running, *rest: Any) -> Any:
        if running.id == odd.execution.id:
            raise ValueError("no such policy")
        return conclude(running, *rest)

    monkeypatch.setattr(executions, "conclude", picky)
    settling, _ = outcomes(world)
    await settling.settle([(odd, brought(1, 200)), (other, brought(1, 200))], lambda: None)
    assert world.names(odd.execution.id) == ["ExecutionStarted"]
    assert world.names(other.execution.id) == ["ExecutionStarted", "ExecutionSucceeded"]
    assert f"recording execution {odd.execution.id}" in caplog.text


async def test_an_outcome_from_which_nothing_can_follow_leaves_the_others_going_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    odd, other = [await called(world, await world.create(at=NOON), at=NOON) for _ in range(2)]
    settling, waiting = outcomes(world, odd)
    await settling.settle([(odd, brought(1, 503)), (other, brought(1, 503))], lambda: None)
    assert waiting == [other]
    assert len(world.facts(AttemptFailed)) == 2
    assert f"recording execution {odd.execution.id}" in caplog.text


async def test_recording_many_outcomes_gives_way_to_calls_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("application.scheduler.outcomes.SLICE", 2)
    world = World()
    jobs = [await called(world, await world.create(at=NOON), at=NOON) for _ in range(7)]
    settling, _ = outcomes(world)
    recording = asyncio.create_task(settling.settle([(job, brought(1, 200)) for job in jobs], lambda: None))
    await asyncio.sleep(0)
    seen = {len(world.facts(ExecutionSucceeded)), len(world.observed.ends)}
    while not recording.done():
        await asyncio.sleep(0)
        seen.add(len(world.observed.ends))
    assert seen >= {0, 2, 4, 6, 7}


async def test_an_outcome_waits_through_an_outage(world: World) -> None:
    world.caller.takes = after(5) - NOON
    task = await world.create(at=NOON)
    async with world.scheduler():
        await world.clock.reach(after(1))
        await world.update(task, at=NOON, name="other")
        await world.clock.reach(after(2))
        with world.log.away():
            await world.clock.reach(after(30))
        await world.clock.reach(after(31))
    assert len(world.calls) == 1
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskCompleted"]


def job(task_version: int = 1) -> Job:
    return Job(executions.start(RUN, started()), definition(), task_version, NOON)


def told(fact: AnyFact, version: int = 2) -> Recorded:
    meta = Meta(actor="", correlation_id="", command_id=RUN)
    return Recorded(position=1, stream=TASK, version=version, fact=fact, meta=meta, recorded_at=NOON)


def test_a_job_in_hand_is_known_by_its_execution() -> None:
    work, mine = Jobs(), job()
    work.add(mine)
    assert RUN in work
    assert work.holds(mine)
    assert not work.holds(job())


def test_a_job_that_is_done_is_known_no_longer_and_may_be_done_twice() -> None:
    work, mine = Jobs(), job()
    work.add(mine)
    for _ in range(2):
        work.done(mine)
    assert RUN not in work
    assert work.supersede(told(cancelled())) == []


def test_a_second_job_for_an_execution_does_not_replace_the_first() -> None:
    work, first, second = Jobs(), job(), job()
    work.add(first)
    work.add(second)
    work.done(second)
    assert work.holds(first)


@pytest.mark.parametrize(("fact", "for_good"), [(updated(name="other"), False), (cancelled(), True)])
def test_a_change_of_its_task_overtakes_a_job(fact: AnyFact, for_good: bool) -> None:
    work, mine = Jobs(), job()
    work.add(mine)
    assert work.supersede(told(fact)) == [mine]
    assert (mine.superseded, mine.cancelled) == (True, for_good)


def test_the_change_that_a_job_was_claimed_from_does_not_overtake_it() -> None:
    work, mine = Jobs(), job(task_version=2)
    work.add(mine)
    assert work.supersede(told(updated(name="other"), version=2)) == []
    assert not mine.superseded


def test_the_end_of_a_one_off_overtakes_nothing() -> None:
    work, mine = Jobs(), job()
    work.add(mine)
    assert work.supersede(told(completed())) == []


async def test_retries_are_made_in_the_order_of_their_time(world: World) -> None:
    world.caller.answers(503, 503, 503, 503)
    for number, second in ((1, 1), (2, 1.3)):
        await world.create(at=after(second), url=f"http://target/{number}")
    await world.run_until(10)
    assert [(call.at, call.url[-1]) for call in world.calls] == [
        (after(1), "1"),
        (after(1.3), "2"),
        (after(2), "1"),
        (after(2.3), "2"),
        (after(4), "1"),
        (after(4.3), "2"),
    ]


async def test_a_retry_that_is_due_earlier_does_not_wait_for_a_later_one(world: World) -> None:
    patient = RetryPolicy(initial_delay_seconds=60)
    world.caller.answers(503, 503)
    await world.create(at=after(1), url="http://target/patient", retry=patient)
    await world.create(at=after(2), url="http://target/hasty")
    await world.run_until(70)
    assert [(call.at, call.url) for call in world.calls][2:] == [
        (after(3), "http://target/hasty"),
        (after(61), "http://target/patient"),
    ]


async def test_many_retries_that_fall_due_together_are_claimed_in_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempts, "MAX_TOGETHER", 3)
    world = World()
    world.caller.answers(*[503] * 10)
    for _ in range(10):
        await world.create(at=after(1))
    await world.run_until(2, concurrency=20)
    assert [call.at for call in world.calls] == [after(1)] * 10 + [after(2)] * 10


async def test_a_retry_waits_through_an_outage(world: World) -> None:
    world.caller.answers(503)
    await world.create(at=after(1))
    async with world.scheduler():
        await world.clock.reach(after(1.5))
        with world.log.away():
            await world.clock.reach(after(60))
            assert len(world.calls) == 1
        await world.clock.reach(after(62))
    assert [call.number for call in world.calls] == [1, 2]


async def test_a_retry_that_another_node_has_made_is_left_to_it(world: World) -> None:
    world.caller.answers(503)
    task = await world.create(at=after(1))
    run = execution_id(task, after(1), "scheduled")
    async with world.scheduler():
        await world.clock.reach(after(1.5))
        world.nodes.alive.add("node-2")
        claimed = AttemptStarted(
            at=after(1.5), task_id=task, task_version=1, number=2, node="node-2", lease_until=after(600)
        )
        await world.append(run, claimed)
        await world.clock.reach(after(60))
    assert len(world.calls) == 1
    assert world.names(run)[-1] == "AttemptStarted"


async def test_a_retry_of_a_task_that_was_cancelled_unheard_makes_no_call(world: World) -> None:
    world.caller.answers(503)
    task = await world.create(at=after(1))
    async with world.scheduler():
        await world.clock.reach(after(1.5))
        with world.follower.held():
            await world.cancel(task)
            await world.clock.reach(after(10))
    assert len(world.calls) == 1
    assert len(world.facts(ExecutionCancelled)) == 1


async def test_a_retry_that_cannot_be_read_does_not_stop_the_others(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.caller.answers(503, 503)
    unreadable = await world.create(at=after(1))
    await world.create(at=after(1))
    async with world.scheduler():
        await world.clock.reach(after(1.5))
        with world.follower.held():
            world.log.plant(unreadable, 2, "task.renamed.v9", b"{}")
            await world.clock.reach(after(4))
    assert [call.number for call in world.calls] == [1, 1, 2]
    assert "task.renamed.v9" in caplog.text


def test_a_running_job_is_no_retry() -> None:
    jobs, queue, running = Jobs(), RetryQueue(), job()
    jobs.add(running)
    queue.add(running)
    assert queue.pop(after(60), 10, jobs) == []


def test_a_retry_is_claimed_once_and_not_after_it_was_given_up() -> None:
    jobs, queue, mine = Jobs(), RetryQueue(), job()
    failed = executions.evolve(mine.execution, failed_attempt())
    assert isinstance(failed, executions.Waiting)
    mine.execution = failed
    jobs.add(mine)
    queue.add(mine)
    assert queue.pop(NOON, 10, jobs) == []
    mine.supersede(for_good=True)
    queue.add(mine)
    assert queue.pop(NOON, 10, jobs) == [mine], "the log is to say at once that it is over"
    jobs.done(mine)
    assert queue.pop(failed.retry_at, 10, jobs) == []


TEN_SECONDS = timedelta(seconds=10)


def watched(failures: int) -> RetryPolicy:
    return RetryPolicy(disable_after_failures=failures)


async def test_a_failure_of_the_target_that_was_replaced_meanwhile_does_not_pause_the_task(
    world: World,
) -> None:
    task = await world.create(retry=watched(1))
    world.caller.takes = TEN_SECONDS
    world.caller.answers(404)
    async with world.scheduler():
        await world.clock.reach(after(65))
        await world.update(task, retry=watched(1), url="http://target/mended")
        await world.clock.reach(after(140))
    assert len(world.facts(ExecutionFailed)) == 1
    assert world.facts(TaskFailuresCounted) == []
    assert world.facts(TaskPaused) == []
    assert [call.url for call in world.calls][1:] == ["http://target/mended"]


async def test_a_success_of_the_target_that_was_replaced_meanwhile_ends_no_row_of_failures(
    world: World,
) -> None:
    task = await world.create(retry=watched(3))
    world.caller.takes = timedelta(seconds=130)
    async with world.scheduler():
        await world.clock.reach(after(65))
        await world.update(task, retry=watched(3), url="http://target/new")
        world.caller.takes = timedelta()
        world.caller.answers(404, 404)
        await world.clock.reach(after(195))
    assert [fact.failures for fact in world.facts(TaskFailuresCounted)] == [1, 2]


async def test_a_failure_counts_when_an_update_has_left_the_target_as_it_was(world: World) -> None:
    task = await world.create(retry=watched(3))
    world.caller.takes = TEN_SECONDS
    world.caller.answers(404)
    async with world.scheduler():
        await world.clock.reach(after(65))
        await world.update(task, retry=watched(2))
        await world.clock.reach(after(75))
    assert [fact.failures for fact in world.facts(TaskFailuresCounted)] == [1]


async def test_a_call_whose_node_died_before_its_task_was_cancelled_is_told_of_as_unknown(
    world: World,
) -> None:
    task = await world.create(at=after(5))
    world.caller.takes = TEN_SECONDS
    first = MortalNode(world, "node-1")
    await world.clock.reach(after(6))
    first.kill()
    await world.cancel(task)
    await world.run_until(200, "node-2")
    assert len(world.calls) == 1
    [end] = world.facts(ExecutionCancelled)
    assert end.interrupted

"""Claiming a further attempt from the task as it is now."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from application.scheduler.jobs import Job, Jobs, LeaseRenewal
from application.scheduler.outcomes import Outcomes
from domain import execution as executions
from domain.facts import AttemptStarted, ExecutionSkipped
from tests.support.given import NOON, after, definition, lease
from tests.support.scheduler import World


async def claimed(world: World, task: UUID, **words: Any) -> Job:
    return Job(await world.claim(task, NOON, node="node-1"), definition(**words), 1, NOON)


def renewals(world: World) -> LeaseRenewal:
    context = world.context()
    return LeaseRenewal(context, Outcomes(context))


def renewal(job: Job) -> AttemptStarted:
    return executions.start_attempt(job.execution, lease(task_version=job.task_version), NOON)


async def test_a_claim_is_renewed_while_nothing_has_changed() -> None:
    world = World()
    job = await claimed(world, await world.create(at=NOON), at=NOON)
    assert await renewals(world)(job, renewal, unsent=True)
    assert (job.execution.version, job.task_version) == (2, 1)


async def test_a_claim_of_a_changed_task_is_renewed_from_its_new_definition() -> None:
    world = World()
    job = await claimed(world, await world.create(at=NOON), at=NOON)
    await world.update(job.task_id, at=NOON, url="http://target/new")
    assert await renewals(world)(job, renewal, unsent=True)
    assert (job.definition.action.url, job.task_version) == ("http://target/new", 2)
    assert [fact.task_version for fact in world.facts(AttemptStarted)] == [2]


async def test_a_change_that_was_heard_of_is_looked_at_before_anything_is_claimed() -> None:
    world = World()
    job = await claimed(world, await world.create(at=NOON), at=NOON)
    jobs = Jobs()
    jobs.add(job)
    await world.update(job.task_id, at=after(600))
    assert jobs.supersede(world.log.recorded[-1]) == [job]
    assert not await renewals(world)(job, renewal, unsent=True)
    assert world.names(job.execution.id) == ["ExecutionStarted", "ExecutionSkipped"]


async def test_a_change_in_the_very_moment_of_the_review_is_looked_at_as_well() -> None:
    world = World()
    job = await claimed(world, await world.create(at=NOON), at=NOON)
    await world.update(job.task_id, at=NOON, name="second")

    async def update() -> None:
        await world.update(job.task_id, at=NOON, name="third")

    world.log.after_reading[job.task_id] = update
    assert await renewals(world)(job, renewal, unsent=True)
    assert (job.definition.name, job.task_version) == ("third", 3)


async def test_an_execution_that_went_on_without_this_node_is_let_go() -> None:
    world = World()
    job = await claimed(world, await world.create(at=NOON), at=NOON)
    await world.append(job.execution.id, renewal(job))
    assert not await renewals(world)(job, renewal)
    assert world.names(job.execution.id) == ["ExecutionStarted", "AttemptStarted"]


async def test_an_execution_that_goes_on_in_the_very_moment_of_its_end_is_let_go() -> None:
    world = World()
    job = await claimed(world, await world.create(at=NOON), at=NOON)
    await world.cancel(job.task_id)

    async def go_on() -> None:
        await world.append(job.execution.id, renewal(job))

    world.log.after_reading[job.task_id] = go_on
    assert not await renewals(world)(job, renewal, unsent=True)
    assert world.facts(ExecutionSkipped) == []


async def test_an_execution_whose_task_is_not_in_the_log_is_let_go() -> None:
    world = World()
    job = await claimed(world, UUID(int=9), at=NOON)
    assert not await renewals(world)(job, renewal)


async def test_a_review_waits_through_an_outage() -> None:
    world = World()
    world.caller.answers(503)
    task = await world.create(at=after(1), url="http://target/old")
    async with world.scheduler():
        await world.clock.reach(after(1.5))
        await world.update(task, at=after(1), url="http://target/new")
        await world.clock.settle()
        with world.log.away():
            await world.clock.reach(after(30))
        await world.clock.reach(after(31))
    assert [call.url for call in world.calls] == ["http://target/old", "http://target/new"]

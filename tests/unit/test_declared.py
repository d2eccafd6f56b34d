"""Tasks as a file declares them: what has to be done, and that doing it leaves nothing to do."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest
from msgspec.structs import replace

from application.declared import (
    Bad,
    Cancel,
    Change,
    Create,
    Declaration,
    DeclaredTwice,
    Keep,
    NamesNotUnique,
    NoSuchNamespace,
    Step,
    standing,
)
from application.ports import LogUnavailable
from domain.definition import OneOff
from domain.errors import ValidationFailed, VersionMismatch
from domain.facts import TaskCancelled, TaskCompleted, TaskCreated, TaskPaused, TaskResumed, TaskUpdated
from domain.task import FinishedTask, Paused, Scheduled
from tests.support.declaring import MemoryTaskStreams, applied, declared, planned
from tests.support.given import NOON, RUN, after, created, definition, every
from tests.support.scheduler import REQUEST, World

ONCE = OneOff(datetime=after(600))


def kinds(steps: Sequence[Step]) -> list[type]:
    return [type(step) for step in steps]


async def settled(world: World, *declarations: Declaration) -> bool:
    """Whether nothing is left to do."""
    steps = await planned(world, *declarations)
    return all(isinstance(step, Keep) for step in steps)


async def test_what_is_missing_is_created() -> None:
    world = World()
    steps = await planned(world, declared(name="a"), declared(1, name="b"))
    assert kinds(steps) == [Create, Create]
    done = await applied(world, steps)
    assert [one.position for one in done] == [1, 2]
    assert [fact.definition.name for fact in world.facts(TaskCreated)] == ["a", "b"]
    assert await settled(world, declared(name="a"), declared(1, name="b"))


async def test_what_differs_is_changed_and_told_member_by_member() -> None:
    world = World()
    await world.create(name="a", trigger=every(60))
    [step] = await planned(world, declared(name="a", trigger=every(90)))
    assert isinstance(step, Change)
    assert [found.pointer for found in step.differences] == ["/trigger/every_seconds"]
    await applied(world, [step])
    assert len(world.facts(TaskUpdated)) == 1
    assert await settled(world, declared(name="a", trigger=every(90)))


async def test_what_is_as_declared_is_left_alone() -> None:
    world = World()
    await world.create(name="a", trigger=every(60))
    world.clock.set_by(3_600)
    steps = await planned(world, declared(name="a", trigger=every(60)))
    assert kinds(steps) == [Keep]
    assert [one.position for one in await applied(world, steps)] == [None]
    assert len(world.log.recorded) == 1


async def test_a_pause_is_declared_or_left_as_it_is() -> None:
    world = World()
    await applied(world, await planned(world, declared(name="a", paused=True)))
    assert len(world.facts(TaskPaused)) == 1
    assert await settled(world, declared(name="a", paused=True))
    assert await settled(world, declared(name="a"))
    steps = await planned(world, declared(name="a", paused=False))
    assert [step.turn for step in steps if isinstance(step, Change)] == ["resume"]
    await applied(world, steps)
    assert len(world.facts(TaskResumed)) == 1
    assert await settled(world, declared(name="a", paused=False))
    await applied(world, await planned(world, declared(name="a", url="http://127.0.0.1/b", paused=True)))
    assert (len(world.facts(TaskUpdated)), len(world.facts(TaskPaused))) == (1, 2)
    assert await settled(world, declared(name="a", url="http://127.0.0.1/b", paused=True))


async def test_what_is_declared_paused_is_never_seen_to_go_on() -> None:
    world = World()
    await applied(world, await planned(world, declared(name="a", paused=True)))
    made, paused = world.log.recorded
    assert (type(made.fact), type(paused.fact)) == (TaskCreated, TaskPaused)
    assert made.meta.command_id == paused.meta.command_id, "one append, all or nothing"
    await applied(world, await planned(world, declared(name="a", paused=False)))
    changed = declared(name="a", url="http://127.0.0.1/b", paused=True)
    [done] = await applied(world, await planned(world, changed))
    assert [type(event.fact) for event in world.log.recorded[3:]] == [TaskPaused, TaskUpdated]
    assert done.position == world.log.recorded[-1].position
    changed = declared(name="a", url="http://127.0.0.1/c", paused=False)
    await applied(world, await planned(world, changed))
    assert [type(event.fact) for event in world.log.recorded[5:]] == [TaskUpdated, TaskResumed]


async def test_a_task_that_has_ended_as_declared_is_not_created_anew() -> None:
    world = World()
    task = await world.create(name="once", trigger=ONCE)
    await world.append(task, TaskCompleted(at=after(601), outcome="succeeded", execution_id=RUN))
    world.clock.set_by(3_600)
    [step] = await planned(world, declared(name="once", trigger=ONCE))
    assert isinstance(step, Keep)
    assert isinstance(step.task, FinishedTask)
    later = OneOff(datetime=after(7_200))
    assert kinds(await planned(world, declared(name="once", trigger=later))) == [Create]
    past = OneOff(datetime=after(1_200))
    [refused] = await planned(world, declared(name="once", trigger=past))
    assert isinstance(refused, Bad)
    assert isinstance(refused.why, ValidationFailed)


async def test_a_task_that_was_cancelled_is_created_anew() -> None:
    world = World()
    await world.cancel(await world.create(name="a"))
    assert kinds(await planned(world, declared(name="a"))) == [Create]


async def test_what_is_wrong_is_told_and_the_rest_is_planned() -> None:
    world = World()
    wrong = ValueError("no task at all")
    steps = await planned(
        world, declared(wanted=wrong), declared(1, name="a"), declared(2, name="", url="ftp")
    )
    assert kinds(steps) == [Bad, Create, Bad]
    assert isinstance(steps[0], Bad)
    assert steps[0].why is wrong
    assert [one.refusal for one in await applied(world, steps)] == [None] * 3
    assert [fact.definition.name for fact in world.facts(TaskCreated)] == ["a"]


async def test_a_name_that_is_declared_twice_is_wrong_the_second_time() -> None:
    first, second = await planned(World(), declared(name="a"), declared(1, name="a"))
    assert isinstance(first, Create)
    assert isinstance(second, Bad)
    assert isinstance(second.why, DeclaredTwice)
    assert "tasks[0]" in str(second.why)


async def test_a_name_that_several_tasks_have_is_wrong_with_their_ids() -> None:
    world = World()
    ids = [await world.create(name="a") for _ in range(2)]
    [step] = await planned(world, declared(name="a"))
    assert isinstance(step, Bad)
    assert isinstance(step.why, NamesNotUnique)
    assert all(str(task) in str(step.why) for task in ids)
    found = await standing(MemoryTaskStreams(world.log))
    with pytest.raises(NamesNotUnique, match=str(ids[1])):
        found.distinct()
    assert found.distinct("other") == []


async def test_a_namespace_must_be_there_already() -> None:
    world = World()
    [step] = await planned(world, declared(namespace="prod"))
    assert isinstance(step, Bad)
    assert isinstance(step.why, NoSuchNamespace)
    await world.commands.create(definition(), replace(REQUEST, namespace="prod"))
    assert kinds(await planned(world, declared(namespace="prod"))) == [Keep]


async def test_pruning_cancels_what_is_not_declared_in_the_namespaces_that_are() -> None:
    world = World()
    await world.create(name="kept")
    gone = await world.create(name="gone")
    await world.pause(gone, None)
    await world.commands.create(definition(name="elsewhere"), replace(REQUEST, namespace="other"))
    steps = await planned(world, declared(name="kept"), prune=True)
    assert kinds(steps) == [Keep, Cancel]
    await applied(world, steps)
    assert [event.stream for event in world.log.recorded if isinstance(event.fact, TaskCancelled)] == [gone]
    assert kinds(await planned(world, declared(name="kept"))) == [Keep]


async def test_nothing_is_pruned_while_an_entry_is_wrong() -> None:
    world = World()
    await world.create(name="a")
    assert kinds(await planned(world, declared(wanted=ValueError()), prune=True)) == [Bad]


async def test_a_task_that_changes_after_it_was_looked_at_is_left_as_it_is() -> None:
    world = World()
    task = await world.create(name="a")
    steps = await planned(world, declared(name="a", url="http://127.0.0.1/b"), declared(1, name="b"))
    await world.update(task, name="a", url="http://127.0.0.1/c")
    changed, made = await applied(world, steps)
    assert isinstance(changed.refusal, VersionMismatch)
    assert made.refusal is None


async def test_without_the_log_nothing_is_said_to_be_done() -> None:
    world = World()
    steps = await planned(world, declared(name="a"))
    with world.log.away(), pytest.raises(LogUnavailable):
        await applied(world, steps)


async def test_what_stands_is_told_by_name_and_only_what_goes_on() -> None:
    world = World()
    for name in ("b", "c", "a"):
        await world.create(name=name)
    await world.pause(await world.create(name="d"), None)
    await world.cancel(await world.create(name="e"))
    await world.append(UUID(int=1 << 127), created())
    await world.append(UUID(int=1 << 90), TaskCancelled(at=NOON))
    found = (await standing(MemoryTaskStreams(world.log))).distinct()
    assert [(task.definition.name, type(task)) for task in found] == [
        ("a", Scheduled),
        ("b", Scheduled),
        ("c", Scheduled),
        ("d", Paused),
    ]

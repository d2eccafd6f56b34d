"""The revisions that the log tells of a task's definition."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from application.revisions import Revisions
from application.tasks import Request
from domain.definition import Cron
from domain.errors import RevisionNotFound, TaskNotFound
from domain.facts import TaskFailuresCounted, TaskUpdated
from domain.task import Scheduled
from tests.support.given import RUN, TASK, after, definition
from tests.support.scheduler import REQUEST, World

FIRST = definition(cron="0 9 * * *")
SECOND = replace(FIRST, trigger=Cron(cron="30 9 * * *"))
THIRD = replace(SECOND, name="renamed", priority=1)


async def three_revisions(world: World) -> tuple[Revisions, Scheduled]:
    """A task that was changed twice, paused in between."""
    task_id = (await world.commands.create(FIRST, REQUEST)).task_id
    await world.commands.update(task_id, SECOND, replace(REQUEST, actor="ann"), if_match=None)
    await world.commands.pause(task_id, None, REQUEST, if_match=None)
    await world.commands.resume(task_id, REQUEST, if_match=None)
    changed = await world.commands.update(task_id, THIRD, replace(REQUEST, actor="bob"), if_match=None)
    assert isinstance(changed.state, Scheduled)
    return Revisions(world.log), changed.state


async def test_each_change_of_the_definition_is_a_revision_and_nothing_else_is() -> None:
    revisions, task = await three_revisions(World())
    found = await revisions.all("default", task.id)
    assert [(one.number, one.version, one.position) for one in found] == [(1, 1, 1), (2, 2, 2), (3, 5, 5)]
    assert [one.definition for one in found] == [FIRST, SECOND, THIRD]
    assert [one.changed for one in found] == [(), ("trigger",), ("name", "priority")]
    assert [(one.kind, one.actor) for one in found] == [
        ("created", REQUEST.actor),
        ("updated", "ann"),
        ("updated", "bob"),
    ]
    assert found[2].correlation_id == REQUEST.correlation_id


async def test_another_place_is_no_revision() -> None:
    world = World()
    revisions, task = await three_revisions(world)
    passed_over = TaskUpdated(at=after(9), definition=THIRD, next_run_at=after(90), runs=1)
    counted = TaskFailuresCounted(at=after(9), failures=1, execution_id=RUN)
    await world.append(task.id, passed_over, counted)
    assert len(await revisions.all("default", task.id)) == 3


async def test_a_revision_is_read_by_its_number() -> None:
    revisions, task = await three_revisions(World())
    assert (await revisions.one("default", task.id, 2)).definition == SECOND
    for number in (0, 4):
        with pytest.raises(RevisionNotFound, match=f"no revision {number}; give one from 1 to 3") as refusal:
            await revisions.one("default", task.id, number)
        assert (refusal.value.task_id, refusal.value.number, refusal.value.latest) == (task.id, number, 3)


async def test_two_revisions_are_compared_in_either_direction() -> None:
    revisions, task = await three_revisions(World())
    forth = await revisions.compare("default", task.id, 1, 3)
    assert [(one.pointer, one.old, one.new) for one in forth.changes] == [
        ("/name", "report", "renamed"),
        ("/trigger/cron", "0 9 * * *", "30 9 * * *"),
        ("/priority", 5, 1),
    ]
    back = await revisions.compare("default", task.id, 3, 1)
    assert [(one.pointer, one.new, one.old) for one in back.changes] == [
        (one.pointer, one.old, one.new) for one in forth.changes
    ]
    assert (await revisions.compare("default", task.id, 2, 2)).changes == ()


async def test_the_latest_change_is_compared_unless_told() -> None:
    revisions, task = await three_revisions(World())
    for old, new, compared in ((None, None, (2, 3)), (1, None, (1, 3)), (None, 2, (1, 2)), (None, 1, (1, 1))):
        found = await revisions.compare("default", task.id, old, new)
        assert (found.old.number, found.new.number) == compared
    with pytest.raises(RevisionNotFound):
        await revisions.compare("default", task.id, 4, None)


async def test_tasks_of_other_namespaces_have_no_revisions_to_show() -> None:
    world = World()
    revisions, task = await three_revisions(world)
    for namespace, task_id in (("other", task.id), ("default", TASK)):
        with pytest.raises(TaskNotFound):
            await revisions.all(namespace, task_id)
    elsewhere = Request(namespace="other", actor="x", correlation_id="")
    made = await world.commands.create(FIRST, elsewhere)
    assert len(await revisions.all("other", made.task_id)) == 1

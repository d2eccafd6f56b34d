"""Rolling a task back to an earlier definition: what is decided, and what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from application.revisions import Revisions
from application.tasks import Request
from domain.definition import Cron, Definition
from domain.errors import (
    IdempotencyKeyReused,
    RevisionInvalid,
    RevisionIsCurrent,
    RevisionNotFound,
    TaskAlreadyOver,
    TaskNotFound,
    VersionMismatch,
)
from domain.facts import IdempotencyKeyUsed, TaskUpdated
from domain.rollback import roll_back
from domain.task import Paused, Scheduled
from tests.support.given import NOON, TASK, after, cancelled, created, definition, given, updated
from tests.support.scheduler import REQUEST, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from domain.task import Task

HOURLY = definition(cron="0 * * * *")


def to(
    earlier: Definition, number: int = 1, if_match: int | None = None
) -> Callable[[Task], TaskUpdated | None]:
    return lambda task: roll_back(task, number, earlier, NOON, if_match)


def with_payload(payload: Any) -> Definition:
    return replace(HOURLY, action=replace(HOURLY.action, payload=payload))


def test_a_rollback_is_an_update_that_tells_where_its_definition_is_from() -> None:
    expected = TaskUpdated(at=NOON, definition=HOURLY, next_run_at=after(3600), rolled_back_to=1)
    given(created(cron="0 * * * *"), updated(next_run_at=after(60))).when(to(HOURLY)).decides(expected)


def test_an_unchanged_trigger_keeps_its_place() -> None:
    expected = TaskUpdated(at=NOON, definition=HOURLY, next_run_at=None, rolled_back_to=1)
    task = given(created(cron="0 * * * *"), updated(cron="0 * * * *", name="other"))
    task.when(to(HOURLY)).decides(expected)


def test_the_definition_that_is_there_already_is_refused() -> None:
    refusal = given(created(cron="0 * * * *")).when(to(HOURLY)).refused(RevisionIsCurrent)
    assert str(refusal) == f"Task {TASK} has the definition of revision 1 already; give another revision."


def test_what_differs_in_json_alone_is_another_definition() -> None:
    task = given(created(), TaskUpdated(at=NOON, definition=with_payload(1), next_run_at=None))
    task.when(to(with_payload(True))).decides(TaskUpdated)
    task.when(to(with_payload(1))).refused(RevisionIsCurrent)


def test_a_one_off_whose_instant_has_passed_is_not_admissible_any_more() -> None:
    past = definition(at=after(-61))
    refusal = given(created()).when(to(past)).refused(RevisionInvalid)
    assert isinstance(refusal, RevisionInvalid)
    assert [error.pointer for error in refusal.errors] == ["/trigger/datetime"]
    assert str(refusal).startswith(f"Revision 1 of task {TASK} is not admissible any more: /trigger/datetime")
    assert (refusal.task_id, refusal.number) == (TASK, 1)


def test_a_schedule_that_has_come_to_its_end_is_not_admissible_any_more() -> None:
    ended = definition(trigger=Cron(cron="* * * * *", end_at=after(-3600)))
    given(created()).when(to(ended)).refused(RevisionInvalid)


def test_a_task_that_is_over_stays_over_whatever_its_old_definition_is() -> None:
    for earlier in (HOURLY, definition(at=after(-61))):
        given(created(), cancelled()).when(to(earlier)).refused(TaskAlreadyOver)


def test_a_rollback_of_a_version_that_has_changed_is_refused() -> None:
    task = given(created(), updated(name="other"))
    task.when(to(HOURLY, if_match=1)).refused(VersionMismatch)
    task.when(to(HOURLY, if_match=2)).decides(TaskUpdated)


SECOND = replace(HOURLY, name="second")


async def changed_once(world: World) -> UUID:
    task_id = (await world.commands.create(HOURLY, REQUEST)).task_id
    await world.commands.update(task_id, SECOND, REQUEST, if_match=None)
    return task_id


async def test_a_rollback_is_a_new_revision_and_the_old_ones_stay() -> None:
    world = World()
    task_id = await changed_once(world)
    accepted = await world.commands.roll_back(task_id, 1, REQUEST, if_match=2)
    assert (accepted.version, accepted.position, accepted.changed) == (3, 3, True)
    assert accepted.state.definition == HOURLY
    found = await Revisions(world.log).all("default", task_id)
    assert [one.definition for one in found] == [HOURLY, SECOND, HOURLY]
    assert [(one.kind, one.rolled_back_to) for one in found] == [
        ("created", None),
        ("updated", None),
        ("rolled_back", 1),
    ]


async def test_a_rollback_can_be_rolled_back() -> None:
    world = World()
    task_id = await changed_once(world)
    await world.commands.roll_back(task_id, 1, REQUEST, if_match=None)
    again = await world.commands.roll_back(task_id, 2, REQUEST, if_match=None)
    assert again.state.definition == SECOND


async def test_a_paused_task_stays_paused() -> None:
    world = World()
    task_id = await changed_once(world)
    await world.commands.pause(task_id, None, REQUEST, if_match=None)
    accepted = await world.commands.roll_back(task_id, 1, REQUEST, if_match=None)
    assert isinstance(accepted.state, Paused)


async def test_what_is_not_there_is_refused_and_nothing_is_stored() -> None:
    world = World()
    task_id = await changed_once(world)
    with pytest.raises(RevisionNotFound):
        await world.commands.roll_back(task_id, 3, REQUEST, if_match=None)
    with pytest.raises(TaskNotFound):
        await world.commands.roll_back(TASK, 1, REQUEST, if_match=None)
    with pytest.raises(RevisionIsCurrent):
        await world.commands.roll_back(task_id, 2, REQUEST, if_match=None)
    assert len(world.log.recorded) == 2


def keyed(digest: str = "to-1") -> Request:
    return replace(REQUEST, idempotency_key="back-1", digest=digest)


async def test_a_repeat_with_its_key_changes_nothing_further() -> None:
    world = World()
    task_id = await changed_once(world)
    first = await world.commands.roll_back(task_id, 1, keyed(), if_match=2)
    again = await world.commands.roll_back(task_id, 1, keyed(), if_match=2)
    assert (again.replayed, again.changed, again.state) == (True, False, first.state)
    assert len(world.facts(IdempotencyKeyUsed)) == 1
    with pytest.raises(IdempotencyKeyReused):
        await world.commands.roll_back(task_id, 2, keyed("to-2"), if_match=None)


async def test_a_repeat_that_overtakes_the_first_is_answered_by_it() -> None:
    world = World()
    task_id = await changed_once(world)

    async def meanwhile() -> None:
        await world.commands.roll_back(task_id, 1, keyed(), if_match=None)

    world.log.after_reading[task_id] = meanwhile
    later = await world.commands.roll_back(task_id, 1, keyed(), if_match=None)
    assert later.replayed
    assert len([fact for fact in world.facts(TaskUpdated) if fact.rolled_back_to == 1]) == 1


async def test_a_rollback_that_loses_against_another_change_is_decided_again() -> None:
    world = World()
    task_id = await changed_once(world)

    async def meanwhile() -> None:
        await world.commands.update(task_id, replace(SECOND, name="third"), REQUEST, if_match=None)

    world.log.after_reading[task_id] = meanwhile
    accepted = await world.commands.roll_back(task_id, 1, REQUEST, if_match=None)
    assert isinstance(accepted.state, Scheduled)
    assert (accepted.version, accepted.state.definition) == (4, HOURLY)

"""Commands about tasks: what they store, what they refuse, and what they do when others are faster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from msgspec.structs import replace
from uuid_utils.compat import uuid7

from application.ports import LogUnavailable, Unreadable
from application.streams import fold_task
from application.tasks import MAX_TRIES, Request, TaskCommands
from domain.errors import (
    IdempotencyKeyReused,
    TaskAlreadyOver,
    TaskNotFound,
    ValidationFailed,
    VersionMismatch,
)
from domain.facts import IdempotencyKeyUsed, TaskCreated, TaskUpdated
from domain.identity import key_stream
from domain.task import FinishedTask
from tests.support.given import NOON, after, definition
from tests.support.scheduler import REQUEST, World

if TYPE_CHECKING:
    from application.tasks import Accepted


def keyed(key: str = "key-1", digest: str | None = "body-1", namespace: str = "default") -> Request:
    return Request(
        namespace=namespace, actor="tester", correlation_id="c-1", idempotency_key=key, digest=digest
    )


async def create(world: World, request: Request = REQUEST, **words: Any) -> Accepted:
    return await world.commands.create(definition(**words), request)


async def test_a_created_task_is_in_the_log_as_it_was_answered() -> None:
    world = World()
    accepted = await create(world, at=after(5))
    assert world.facts(TaskCreated) == [
        TaskCreated(at=NOON, namespace="default", definition=definition(at=after(5)), next_run_at=after(5))
    ]
    assert (accepted.version, accepted.position, accepted.changed, accepted.replayed) == (1, 1, True, False)
    assert accepted.state == fold_task(accepted.task_id, world.log.recorded)


async def test_the_log_says_who_asked_and_in_the_course_of_what() -> None:
    world = World()
    request = Request(namespace="default", actor="ann", correlation_id="c-9")
    await create(world, request)
    await create(world, request)
    first, second = (event.meta for event in world.log.recorded)
    assert (first.actor, first.correlation_id) == ("ann", "c-9")
    assert first.command_id != second.command_id


async def test_an_inadmissible_definition_is_refused_and_nothing_is_stored() -> None:
    world = World()
    with pytest.raises(ValidationFailed):
        await create(world, name="", at=after(-61))
    assert world.log.recorded == []


async def test_the_same_request_with_the_same_key_answers_the_same_task() -> None:
    world = World()
    first = await create(world, keyed(), at=after(5))
    again = await create(world, keyed(), at=after(5))
    assert (again.task_id, again.replayed, again.changed) == (first.task_id, True, False)
    assert again.state == first.state
    assert len(world.facts(TaskCreated)) == len(world.facts(IdempotencyKeyUsed)) == 1


async def test_a_repeat_answers_the_same_task_even_when_its_instant_is_long_past() -> None:
    world = World()
    first = await create(world, keyed(), at=after(5))
    await world.clock.pass_by(3600)
    assert (await create(world, keyed(), at=after(5))).task_id == first.task_id


async def test_a_repeat_answers_the_task_as_it_is_by_now() -> None:
    world = World()
    first = await create(world, keyed())
    await world.cancel(first.task_id)
    again = await create(world, keyed())
    assert isinstance(again.state, FinishedTask)
    assert again.version == 2


async def test_a_key_that_stands_for_another_body_is_refused() -> None:
    world = World()
    await create(world, keyed())
    with pytest.raises(IdempotencyKeyReused, match="'key-1' was used with a different body"):
        await create(world, keyed(digest="body-2"), name="other")
    assert len(world.facts(TaskCreated)) == 1


async def test_a_key_without_a_digest_repeats_as_well() -> None:
    world = World()
    first = await create(world, keyed(digest=None))
    assert (await create(world, keyed(digest=None))).task_id == first.task_id


async def test_each_namespace_has_keys_of_its_own() -> None:
    world = World()
    first = await create(world, keyed())
    other = await create(world, keyed(namespace="other"))
    assert first.task_id != other.task_id


async def test_two_requests_with_one_key_at_once_make_one_task() -> None:
    world = World()
    first, second = await asyncio.gather(create(world, keyed()), create(world, keyed()))
    assert first.task_id == second.task_id
    assert {first.replayed, second.replayed} == {True, False}
    assert len(world.facts(TaskCreated)) == 1


async def test_two_different_requests_with_one_key_at_once_make_one_task() -> None:
    world = World()
    answers = await asyncio.gather(
        create(world, keyed()), create(world, keyed(digest="body-2"), name="other"), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Accepted", "IdempotencyKeyReused"]
    assert len(world.facts(TaskCreated)) == 1


async def test_a_key_that_cannot_be_read_decides_nothing() -> None:
    world = World()
    world.log.plant(key_stream("default", "key-1"), 1, "idempotency.key_used.v9", b"{}")
    with pytest.raises(LogUnavailable, match=r"event 1 cannot be read: .*key_used\.v9"):
        await create(world, keyed())
    assert len(world.log.recorded) == 1


async def test_an_id_that_is_taken_is_replaced_by_another() -> None:
    world = World()
    taken = (await create(world)).task_id
    ids = iter([taken, uuid7()])
    commands = TaskCommands(world.log, world.clock, lambda: next(ids))
    assert (await commands.create(definition(), REQUEST)).task_id != taken


async def test_an_update_replaces_the_definition() -> None:
    world = World()
    task = (await create(world)).task_id
    changed = await world.commands.update(task, definition(cron="0 * * * *"), REQUEST, if_match=1)
    assert world.facts(TaskUpdated) == [
        TaskUpdated(at=NOON, definition=definition(cron="0 * * * *"), next_run_at=after(3600))
    ]
    assert (changed.version, changed.position, changed.changed) == (2, 2, True)
    assert changed.state == fold_task(task, await world.log.read_stream(task))


async def test_an_update_is_admitted_in_normal_form() -> None:
    world = World()
    task = (await create(world)).task_id
    lower = replace(definition(), action=replace(definition().action, method="post"))
    changed = await world.commands.update(task, lower, REQUEST, if_match=None)
    assert changed.state.definition.action.method == "POST"


async def test_the_same_definition_again_stores_nothing() -> None:
    world = World()
    task = (await create(world)).task_id
    same = await world.commands.update(task, definition(), REQUEST, if_match=None)
    assert (same.version, same.position, same.changed) == (1, 1, False)
    assert len(world.log.recorded) == 1


async def test_an_overdue_one_off_may_keep_its_instant_in_an_update() -> None:
    world = World()
    task = (await create(world, at=after(5))).task_id
    await world.clock.pass_by(3600)
    changed = await world.commands.update(task, definition(at=after(5), name="other"), REQUEST, if_match=None)
    assert changed.version == 2
    with pytest.raises(ValidationFailed):
        await world.commands.update(task, definition(at=after(6)), REQUEST, if_match=None)


async def test_an_update_of_another_version_is_refused() -> None:
    world = World()
    task = (await create(world)).task_id
    await world.update(task, name="other")
    with pytest.raises(VersionMismatch):
        await world.commands.update(task, definition(name="mine"), REQUEST, if_match=1)
    with pytest.raises(VersionMismatch):
        await world.commands.cancel(task, REQUEST, if_match=1)


async def test_a_cancellation_is_stored_once() -> None:
    world = World()
    task = (await create(world)).task_id
    first = await world.commands.cancel(task, REQUEST, if_match=None)
    again = await world.commands.cancel(task, REQUEST, if_match=None)
    assert (first.version, first.changed) == (2, True)
    assert (again.version, again.position, again.changed) == (2, first.position, False)
    assert world.names(task) == ["TaskCreated", "TaskCancelled"]


async def test_a_task_that_is_over_cannot_be_updated() -> None:
    world = World()
    task = (await create(world)).task_id
    await world.cancel(task)
    with pytest.raises(TaskAlreadyOver):
        await world.commands.update(task, definition(name="other"), REQUEST, if_match=None)


@pytest.mark.parametrize("namespace", ["default", "other"])
async def test_an_unknown_task_is_not_found(namespace: str) -> None:
    world = World()
    task = (await create(world)).task_id if namespace == "other" else UUID(int=9)
    request = Request(namespace=namespace, actor="tester", correlation_id="")
    with pytest.raises(TaskNotFound):
        await world.commands.cancel(task, request, if_match=None)
    with pytest.raises(TaskNotFound):
        await world.commands.update(task, definition(), request, if_match=None)


async def test_a_change_is_decided_again_when_somebody_else_was_faster() -> None:
    world = World()
    task = (await create(world)).task_id

    async def supersede() -> None:
        await world.update(task, name="faster")

    world.log.after_reading[task] = supersede
    changed = await world.commands.update(task, definition(name="slower"), REQUEST, if_match=None)
    assert changed.version == 3
    assert [fact.definition.name for fact in world.facts(TaskUpdated)] == ["faster", "slower"]


async def test_a_change_that_expects_a_version_is_refused_when_somebody_else_was_faster() -> None:
    world = World()
    task = (await create(world)).task_id

    async def supersede() -> None:
        await world.update(task, name="faster")

    world.log.after_reading[task] = supersede
    with pytest.raises(VersionMismatch):
        await world.commands.update(task, definition(name="slower"), REQUEST, if_match=1)


async def test_a_change_that_is_always_too_slow_is_told_so() -> None:
    world = World()
    task = (await create(world)).task_id
    names = iter(range(10 * MAX_TRIES))

    async def supersede() -> None:
        await world.update(task, name=f"faster-{next(names)}")
        world.log.after_reading[task] = supersede

    world.log.after_reading[task] = supersede
    with pytest.raises(LogUnavailable, match="is being changed by others all the time"):
        await world.commands.cancel(task, REQUEST, if_match=None)
    assert world.names(task) == ["TaskCreated"] + ["TaskUpdated"] * MAX_TRIES


async def test_an_outage_is_told_as_it_is() -> None:
    world = World()
    task = (await create(world)).task_id
    with world.log.away():
        with pytest.raises(LogUnavailable):
            await create(world)
        with pytest.raises(LogUnavailable):
            await create(world, keyed())
        with pytest.raises(LogUnavailable):
            await world.update(task, name="other")
        with pytest.raises(LogUnavailable):
            await world.cancel(task)
    assert len(world.log.recorded) == 1


async def test_a_task_with_an_event_that_cannot_be_read_is_not_changed() -> None:
    world = World()
    task = (await create(world)).task_id
    world.log.plant(task, 2, "task.renamed.v9", b"{}")
    with pytest.raises(Unreadable, match="event 2 cannot be read"):
        await world.cancel(task)
    assert len(world.log.recorded) == 2

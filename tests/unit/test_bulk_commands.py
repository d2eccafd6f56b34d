"""Creating many tasks at once: what is stored, what is refused, and what a repeat answers."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace
from uuid_utils.compat import uuid7

from application.ports import LogUnavailable
from application.tasks import AT_ONCE, AcceptedBulk, BulkCommands, NewTask, Request, meta_of
from domain.errors import IdempotencyKeyReused, ValidationFailed
from domain.facts import IdempotencyKeyUsed, TaskCreated
from domain.identity import key_stream
from infrastructure.event_store.mapper import encode
from tests.support.given import after, created, definition
from tests.support.scheduler import REQUEST, World
from tests.unit.test_task_commands import keyed

BAD = NewTask(definition=definition(name=""))
UNREAD = NewTask(definition=ValueError("no task at all"))
ORDER = keyed("order")


def new_task(name: str = "report", key: str | None = None, digest: str = "", **words: Any) -> NewTask:
    return NewTask(definition=definition(name=name, **words), key=key, digest=digest or name)


def bulk(world: World) -> BulkCommands:
    ids = count(1 << 80)
    return BulkCommands(world.log, world.clock, lambda: UUID(int=next(ids)))


async def create(world: World, *new_tasks: NewTask, request: Request = REQUEST) -> AcceptedBulk:
    return await bulk(world).create(new_tasks, request)


def names(world: World) -> list[str]:
    return [fact.definition.name for fact in world.facts(TaskCreated)]


def ids(accepted: AcceptedBulk) -> list[UUID | None]:
    return [outcome.task_id for outcome in accepted.outcomes]


def refusals(accepted: AcceptedBulk) -> list[type[Exception] | None]:
    return [None if one.refusal is None else type(one.refusal) for one in accepted.outcomes]


async def test_all_of_a_request_are_stored_in_their_order_by_one_append() -> None:
    world = World()
    accepted = await create(world, *(new_task(str(number)) for number in range(AT_ONCE + 2)))
    assert names(world) == [str(number) for number in range(AT_ONCE + 2)]
    assert ids(accepted) == [event.stream for event in world.log.recorded]
    assert accepted.position == world.log.recorded[-1].position
    assert len({event.meta.command_id for event in world.log.recorded}) == 1


async def test_a_bad_one_is_refused_and_the_others_are_stored() -> None:
    world = World()
    accepted = await create(world, new_task("one"), BAD, UNREAD, new_task("two"))
    assert refusals(accepted) == [None, ValidationFailed, ValueError, None]
    assert names(world) == ["one", "two"]


async def test_when_all_are_refused_nothing_is_stored() -> None:
    world = World()
    accepted = await create(world, BAD, BAD, request=ORDER)
    assert (accepted.position, world.log.recorded) == (None, [])


async def test_a_repeat_answers_as_the_first_time_and_stores_nothing() -> None:
    world = World()
    first = await create(world, new_task("one"), BAD, UNREAD, new_task("two"), request=ORDER)
    stored = len(world.log.recorded)
    again = await create(world, new_task("one"), BAD, UNREAD, new_task("two"), request=ORDER)
    assert again.position == first.position
    assert ids(again) == ids(first)
    assert [str(one.refusal) for one in again.outcomes] == [str(one.refusal) for one in first.outcomes]
    assert len(world.log.recorded) == stored


async def test_what_was_refused_is_refused_as_of_the_first_time() -> None:
    world = World()
    late = new_task("late", at=after(-61))
    first = await create(world, new_task("one"), late, request=ORDER)
    await world.clock.pass_by(3600)
    again = await create(world, new_task("one"), late, request=ORDER)
    assert str(again.outcomes[1].refusal) == str(first.outcomes[1].refusal)


async def test_what_a_later_release_would_admit_is_not_created_by_a_repeat() -> None:
    world = World()
    await create(world, new_task("one"), BAD, request=ORDER)
    again = await create(world, new_task("one"), new_task("now fine"), request=ORDER)
    assert refusals(again) == [None, ValidationFailed]
    assert "another request" in str(again.outcomes[1].refusal)
    assert names(world) == ["one"]


async def test_the_same_key_with_another_body_is_refused() -> None:
    world = World()
    await create(world, new_task(), request=ORDER)
    with pytest.raises(IdempotencyKeyReused):
        await create(world, new_task(), request=keyed("order", digest="another"))


async def test_a_key_of_a_single_task_is_not_one_of_many() -> None:
    world = World()
    await world.commands.create(definition(), keyed("order", digest="single"))
    with pytest.raises(IdempotencyKeyReused):
        await create(world, new_task(), request=keyed("order", digest="many"))
    await create(world, new_task(), request=keyed("bulk", digest="many"))
    with pytest.raises(IdempotencyKeyReused):
        await world.commands.create(definition(), keyed("bulk", digest="single"))


async def test_a_key_whose_stream_holds_something_else_is_not_free() -> None:
    world = World()
    fact = encode(created(), meta_of(REQUEST))
    world.log.plant(key_stream("default", "order"), 1, TaskCreated.topic, fact)
    with pytest.raises(IdempotencyKeyReused):
        await create(world, new_task(), request=ORDER)


async def test_a_wish_whose_key_stands_for_something_else_is_not_created() -> None:
    world = World()
    world.log.plant(key_stream("default", "mine"), 1, TaskCreated.topic, encode(created(), meta_of(REQUEST)))
    with pytest.raises(LogUnavailable):
        await create(world, new_task(key="mine"))
    assert len(world.log.recorded) == 1


async def test_a_wish_with_a_used_key_is_answered_by_the_task_of_that_time() -> None:
    world = World()
    single = await world.commands.create(definition(), keyed("mine", digest="report"))
    accepted = await create(world, new_task("new"), new_task(key="mine"), new_task("other", key="mine"))
    assert ids(accepted)[1] == single.task_id
    assert [one.existing for one in accepted.outcomes] == [False, True, False]
    assert refusals(accepted) == [None, None, IdempotencyKeyReused]
    assert names(world) == ["report", "new"]


async def test_when_all_exist_already_the_last_of_them_is_waited_for() -> None:
    world = World()
    new_tasks = [new_task("one", key="one"), new_task("two", key="two")]
    first = await create(world, *new_tasks)
    stored = len(world.log.recorded)
    again = await create(world, new_tasks[1], BAD, new_tasks[0])
    assert (again.position, ids(again)) == (first.position, [ids(first)[1], None, ids(first)[0]])
    assert len(world.log.recorded) == stored


async def test_when_every_key_is_used_for_something_else_there_is_nothing_to_wait_for() -> None:
    world = World()
    await create(world, new_task("one", key="one"))
    accepted = await create(world, new_task("other", key="one"))
    assert (refusals(accepted), accepted.position) == ([IdempotencyKeyReused], None)


async def test_a_request_without_a_new_task_leaves_its_own_key_free() -> None:
    world = World()
    await create(world, new_task("one", key="one"))
    await create(world, new_task("one", key="one"), BAD, request=ORDER)
    await create(world, new_task("two"), request=keyed("order", digest="another"))
    assert names(world) == ["one", "two"]


async def test_a_key_that_comes_twice_in_a_request_stands_for_the_first() -> None:
    world = World()
    accepted = await create(world, new_task(key="mine"), new_task(key="mine"), new_task("other", key="mine"))
    assert ids(accepted)[0] == ids(accepted)[1]
    assert [one.existing for one in accepted.outcomes] == [False, True, False]
    assert refusals(accepted) == [None, None, IdempotencyKeyReused]
    again = await world.commands.create(definition(), keyed("mine", digest="report"))
    assert (again.task_id, again.replayed) == (ids(accepted)[0], True)


async def test_a_repeat_tells_existing_tasks_as_the_first_time() -> None:
    world = World()
    new_tasks = [
        new_task("new"),
        new_task(key="mine"),
        new_task(key="mine"),
        new_task("other", key="mine"),
        new_task("x", key="x"),
    ]
    first = await create(world, *new_tasks, request=ORDER)
    again = await create(world, *new_tasks, request=ORDER)
    assert [replace(one, refusal=None) for one in again.outcomes] == [
        replace(one, refusal=None) for one in first.outcomes
    ]
    assert refusals(again) == refusals(first)


async def test_the_requests_own_key_is_no_key_of_a_task_in_it() -> None:
    world = World()
    accepted = await create(world, new_task("new"), new_task(key="order"), request=ORDER)
    assert refusals(accepted) == [None, IdempotencyKeyReused]
    assert refusals(await create(world, new_task("new"), new_task(key="order"), request=ORDER)) == refusals(
        accepted
    )


async def test_a_request_that_is_sent_twice_at_once_creates_its_tasks_once() -> None:
    world = World()
    new_tasks = [new_task("one"), new_task("two", key="two")]
    answers = await asyncio.gather(*(create(world, *new_tasks, request=ORDER) for _ in range(3)))
    assert names(world) == ["one", "two"]
    assert len({(tuple(ids(answer)), answer.position) for answer in answers}) == 1


async def test_a_key_that_is_taken_meanwhile_is_seen() -> None:
    world = World()
    many, single = await asyncio.gather(
        create(world, new_task("new"), new_task(key="mine")),
        world.commands.create(definition(), keyed("mine", digest="report")),
    )
    assert many.outcomes[1].task_id == single.task_id
    assert sorted(names(world)) == ["new", "report"]


async def test_keys_of_many_tasks_are_looked_up_when_one_of_them_is_taken() -> None:
    world = World()
    new_tasks = [new_task(str(number), key=f"k-{number}") for number in range(25)]
    first = await create(world, *new_tasks[:20])
    second = await create(world, *new_tasks)
    assert ids(second)[:20] == ids(first)
    assert [one.existing for one in second.outcomes] == [True] * 20 + [False] * 5
    assert len(world.facts(IdempotencyKeyUsed)) == 25


async def test_ids_that_are_taken_again_and_again_are_no_endless_loop() -> None:
    world = World()
    taken = uuid7()
    commands = BulkCommands(world.log, world.clock, lambda: taken)
    await commands.create([new_task()], REQUEST)
    with pytest.raises(LogUnavailable, match="by others all the time"):
        await commands.create([new_task()], REQUEST)


async def test_nothing_is_known_to_be_stored_while_the_log_is_away() -> None:
    world = World()
    with world.log.away(), pytest.raises(LogUnavailable):
        await create(world, new_task())
    assert world.log.recorded == []

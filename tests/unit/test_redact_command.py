"""Redacting tasks: what is left in the log, and what keys and repeats are answered with."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from application import redaction as redactions
from application.revisions import Revisions
from domain.definition import OneOff
from domain.errors import (
    IdempotencyKeyReused,
)
from domain.facts import EventsRedacted, ExecutionFailed, IdempotencyKeyUsed, TaskCreated, TaskRedacted
from domain.identity import key_stream
from infrastructure.event_store.redactor import stored
from tests.support.given import NOON, after, definition
from tests.support.redacting import ALL, ASKED, KEYED, SECRET, WISHES, Archive, created_together, secretive
from tests.support.scheduler import REQUEST


async def test_nothing_of_what_is_erased_is_left_in_the_log() -> None:
    world = Archive()
    task_id = await world.over(runs=3)
    assert len(world.holds_secret()) == 12
    accepted = await world.redact(task_id)
    assert world.holds_secret() == []
    assert (accepted.changed, accepted.version, accepted.state.redacted_at) == (True, 6, NOON)
    assert accepted.state.definition.action.payload == "[redacted]"
    assert world.ledger.asked == [len(world.log.rows) - 2]
    assert [type(fact) for fact in world.log.facts()[-2:]] == [EventsRedacted, TaskRedacted]
    assert world.unaccounted() == []


async def test_the_addresses_and_reasons_of_users_are_erased_and_who_asked_stays() -> None:
    world = Archive()
    task_id = await world.over()
    await world.redact(task_id, replace(ASKED, reason="they asked us to"))
    *erased, told, redacted = [event.meta for event in world.log.recorded]
    assert {meta.address for meta in erased} == {None, "[redacted]"}
    assert {meta.reason for meta in erased} == {None, "[redacted]"}
    assert {meta.actor for meta in erased} == {"tester"}
    assert (told.reason, redacted.reason) == ("they asked us to", "they asked us to")


async def test_no_id_by_which_an_original_could_be_guessed_again_is_left() -> None:
    world = Archive()
    task_id = await world.over()
    before = {event.position: event for event in world.log.recorded}
    await world.redact(task_id)
    rewritten = [each for each in map(seen, world.log.rows) if each.redacted]
    known = {event.meta.command_id for event in world.log.recorded}
    assert known.isdisjoint(before[each.event.position].meta.command_id for each in rewritten)
    together = {each.event.meta.command_id for each in rewritten if isinstance(each.event.fact, TaskCreated)}
    use = next(each for each in rewritten if isinstance(each.event.fact, IdempotencyKeyUsed))
    assert together == {use.event.meta.command_id}


def seen(row: Any) -> redactions.Stored:
    return stored(row, 0)


async def test_of_tasks_that_were_created_together_the_others_keep_what_they_hold() -> None:
    world = Archive()
    _, first, second = await created_together(world)
    await world.redact(first)
    assert world.holds_secret().count("task.created.v1") == 1
    assert world.unaccounted() == []
    together = world.log.recorded[:5]
    [command_id] = {event.meta.command_id for event in together}
    [first_key, second_key, all_keys] = [
        event.meta.reason for event in together if isinstance(event.fact, IdempotencyKeyUsed)
    ]
    assert (first_key, second_key, all_keys) == ("[redacted]", ASKED.reason, ASKED.reason)
    await world.redact(second)
    assert world.holds_secret() == []
    assert world.unaccounted() == []
    assert {event.meta.command_id for event in world.log.recorded[:5]} == {command_id}


async def test_of_tasks_that_were_created_together_the_keys_of_others_answer_as_before() -> None:
    world = Archive()
    bulk, first, second = await created_together(world)
    before = await bulk.create(WISHES, ALL)
    await world.redact(first)
    assert await bulk.create(WISHES, ALL) == before
    [again] = (await bulk.create(WISHES[1:], ASKED)).outcomes
    assert (again.task_id, again.existing) == (second, True)
    [refused] = (await bulk.create(WISHES[:1], ASKED)).outcomes
    assert isinstance(refused.refusal, IdempotencyKeyReused)
    await world.redact(second)
    with pytest.raises(IdempotencyKeyReused):
        await bulk.create(WISHES, ALL)


async def test_a_second_time_changes_nothing() -> None:
    world = Archive()
    task_id = await world.over()
    first = await world.redact(task_id)
    rows = list(world.log.rows)
    again = await world.redact(task_id)
    assert (again.changed, again.version, again.position) == (False, first.version, first.position)
    assert world.log.rows == rows


async def test_a_key_answers_a_repeat_and_is_refused_to_another_request() -> None:
    world = Archive()
    task_id = await world.over()
    request = replace(REQUEST, idempotency_key="erase", digest="redact")
    first = await world.redact(task_id, request)
    again = await world.redact(task_id, request)
    assert (again.replayed, again.version) == (True, first.version)
    with pytest.raises(IdempotencyKeyReused):
        await world.redact(task_id, replace(request, digest="other"))


async def test_a_key_that_stood_for_an_erased_body_stays_used() -> None:
    world = Archive()
    await world.redact(await world.over())
    [use] = world.log.facts(key_stream("default", "k"))
    assert isinstance(use, IdempotencyKeyUsed)
    assert use.digest == "[redacted]"
    with pytest.raises(IdempotencyKeyReused):
        await world.commands.create(definition(), KEYED)


async def test_a_one_off_that_failed_is_redacted_as_well() -> None:
    world = Archive()
    task_id = (await world.commands.create(secretive(trigger=OneOff(datetime=after(9))), ASKED)).task_id
    run = await world.claim(task_id, after(9))
    end = ExecutionFailed(at=NOON, task_id=task_id, attempt=None, reason="lost")
    await world.append(run.id, end)
    await world.commands.cancel(task_id, ASKED, if_match=None)
    await world.redact(task_id)
    assert world.holds_secret() == []
    assert end in world.log.facts(run.id)


async def test_revisions_keep_their_numbers_and_show_what_is_erased_as_erased() -> None:
    world = Archive()
    task_id = (await world.commands.create(secretive(), ASKED)).task_id
    was = secretive()
    for payload in ("one", "two"):
        changed = replace(was, action=replace(was.action, payload=f"{payload} {SECRET}"))
        await world.commands.update(task_id, changed, ASKED, if_match=None)
    await world.commands.cancel(task_id, ASKED, if_match=None)
    revisions = Revisions(world.log)
    before = await revisions.all("default", task_id)
    await world.redact(task_id)
    erased = await revisions.all("default", task_id)
    assert [each.number for each in erased] == [each.number for each in before] == [1, 2, 3]
    assert [each.changed for each in before] == [(), ("action",), ("action",)]
    assert [each.changed for each in erased] == [(), (), ()]
    assert {each.definition.action.payload for each in erased} == {"[redacted]"}
    assert {(each.reason, each.address) for each in erased} == {("[redacted]", "[redacted]")}
    assert (await revisions.compare("default", task_id, 1, 3)).changes == ()

"""Folding streams into states, whatever they hold."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from msgspec.structs import replace

from application.streams import fold_execution, fold_task, last_claim
from domain.facts import IdempotencyKeyUsed, TaskUpdated
from domain.task import Scheduled
from tests.support.given import NOON, TASK, created, definition, queued, skipped, started
from tests.support.scheduler import World


async def test_a_stream_that_does_not_begin_with_a_creation_is_no_task() -> None:
    world = World()
    stray = TaskUpdated(at=NOON, definition=definition(), next_run_at=None)
    await world.append(TASK, stray)
    assert fold_task(TASK, world.log.recorded) is None
    await world.append(TASK, created())
    assert isinstance(fold_task(TASK, world.log.recorded), Scheduled)


async def test_facts_of_another_kind_do_not_count_in_a_stream() -> None:
    world = World()
    stray = IdempotencyKeyUsed(at=NOON, key="k", namespace="default", task_id=TASK, digest="")
    await world.append(TASK, stray, created(), stray)
    await world.append(UUID(int=5), stray, started(), stray)
    task = fold_task(TASK, await world.log.read_stream(TASK))
    execution = fold_execution(UUID(int=5), await world.log.read_stream(UUID(int=5)))
    assert task is not None
    assert execution is not None
    assert (task.version, execution.version) == (1, 1)


async def test_the_last_claim_of_an_execution_is_its_newest_start_or_else_its_first_skip() -> None:
    world = World()
    moved = replace(started(), next_run_at=NOON + timedelta(hours=1))
    assert last_claim(world.log.recorded) is None
    await world.append(TASK, skipped())
    assert last_claim(world.log.recorded) == skipped()
    await world.append(TASK, started(), skipped(), moved, skipped())
    assert last_claim(world.log.recorded) == moved


async def test_a_queued_execution_has_claimed_its_place_until_it_starts() -> None:
    world = World()
    await world.append(TASK, queued())
    assert last_claim(world.log.recorded) == queued()
    await world.append(TASK, skipped())
    assert last_claim(world.log.recorded) == queued()
    await world.append(TASK, queued(), started())
    assert last_claim(world.log.recorded) == started()

"""Tasks that are not redacted: they go on, are archived, cannot be read, or are not there."""

from __future__ import annotations

from uuid import UUID

import pytest
from msgspec.structs import replace

from application.ports import Unreadable
from application.redaction import Run
from domain.errors import (
    ExecutionsArchived,
    ExecutionsNotOver,
    TaskNotFound,
    TaskNotOver,
    VersionMismatch,
)
from tests.support.redactable import MemoryLedger
from tests.support.redacting import ASKED, Archive
from tests.support.scheduler import REQUEST


async def test_a_task_that_goes_on_is_refused_and_nothing_is_erased() -> None:
    world = Archive()
    task_id = await world.secretive()
    with pytest.raises(TaskNotOver):
        await world.redact(task_id)
    assert len(world.holds_secret()) == 5


async def test_a_task_whose_executions_go_on_is_refused_and_nothing_is_erased() -> None:
    world = Archive()
    task_id = await world.secretive()
    run = await world.claim(task_id, task_version=4)
    await world.commands.cancel(task_id, ASKED, if_match=None)
    with pytest.raises(ExecutionsNotOver, match="still goes on: wait until it is over") as refusal:
        await world.redact(task_id)
    assert (refusal.value.execution_id, refusal.value.count) == (run.id, 1)
    assert "[redacted]" not in str(world.log.rows)


async def test_the_log_decides_whether_an_execution_is_over() -> None:
    world = Archive()
    task_id = await world.secretive()
    run = await world.claim(task_id, task_version=4)
    await world.commands.cancel(task_id, ASKED, if_match=None)
    world.ledger.of = MemoryLedger(type(world.log)(world.clock.now))
    world.ledger.more = [Run(run.id, True)]
    with pytest.raises(ExecutionsNotOver):
        await world.redact(task_id)


async def test_several_that_go_on_are_counted() -> None:
    world = Archive()
    task_id = await world.over()
    world.ledger.more = [Run(UUID(int=1), False), Run(UUID(int=2), False)]
    with pytest.raises(ExecutionsNotOver, match="and 1 more of task"):
        await world.redact(task_id)


@pytest.mark.parametrize(("archived", "said"), [(1, "8 of task"), (2, "8 and 1 more of task")])
async def test_what_is_archived_is_to_be_restored_first(archived: int, said: str) -> None:
    world = Archive()
    task_id = await world.over()
    run = UUID("8192f0c2-0d40-8a11-b2c3-d4e5f6a7b8c8")
    world.ledger.more = [Run(UUID(int=run.int + place), True) for place in range(archived)]
    with pytest.raises(ExecutionsArchived, match=said) as refusal:
        await world.redact(task_id)
    assert "restore the archive of 2024-11" in str(refusal.value)
    assert "[redacted]" not in str(world.log.rows)


async def test_what_cannot_be_read_is_not_rewritten() -> None:
    world = Archive()
    task_id = await world.over()
    world.log.plant(task_id, 6, "task.unheard_of.v9", b"{}")
    with pytest.raises(Unreadable):
        await world.redact(task_id)


async def test_a_task_that_is_not_there_or_has_changed_is_refused() -> None:
    world = Archive()
    task_id = await world.over()
    with pytest.raises(TaskNotFound):
        await world.redact(UUID(int=9))
    with pytest.raises(TaskNotFound):
        await world.redact(task_id, replace(REQUEST, namespace="other"))
    with pytest.raises(VersionMismatch):
        await world.redact(task_id, if_match=2)
    await world.redact(task_id, if_match=5)

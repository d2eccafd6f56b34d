"""Asking a simulator about small worlds of schedulers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec.structs import replace

from application.what_if.question import Question, Subject, Window
from application.what_if.simulator import Simulator
from domain.definition import Interval
from tests.support.given import NOON
from tests.support.runs import MemoryMoments, MemoryRuns
from tests.support.scheduler import World

if TYPE_CHECKING:
    from application.what_if.comparison import Accounts, Counts
    from application.what_if.question import Redefine
    from domain.definition import Definition

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def same(old: Definition | None, _: datetime) -> Definition:
    """No change."""
    assert old is not None
    return old


def changing(**members: Any) -> Redefine:
    """These members otherwise."""
    return lambda old, _: replace(same(old, NOON), **members)


def question(*subjects: Subject, limit: int = 100, duration: timedelta | None = None) -> Question:
    """One about these tasks."""
    return Question(namespace="default", subjects=subjects, limit=limit, duration=duration)


def simulator(world: World) -> Simulator:
    """That of a world's log."""
    return Simulator(world.log, MemoryRuns(world.log), MemoryMoments(world.log), world.clock)


async def past(
    world: World, task_id: UUID | None, redefine: Redefine, start: datetime, end: datetime, **how: Any
) -> Accounts:
    """What a simulator answers about a window of the past of one task."""
    asked = question(Subject(task_id, redefine), **how)
    return await simulator(world).past(asked, Window(start, end))


async def future(
    world: World, task_id: UUID | None, redefine: Redefine, start: datetime, end: datetime, **how: Any
) -> Accounts:
    """What it answers about a window of the future."""
    asked = question(Subject(task_id, redefine), **how)
    return await simulator(world).future(asked, Window(start, end))


def counts(accounts: Accounts) -> tuple[Counts, Counts]:
    """Those of the only task, before and after."""
    [task] = accounts.tasks
    return task.before.counts, task.after.counts


def skips(counted: Counts) -> dict[str, int]:
    """How many were skipped by what."""
    return {by: number for by, number in counted.skipped.items() if number}


async def with_a_downtime(**words: Any) -> tuple[World, UUID]:
    """A task every ten seconds from noon on; nobody claims between 12:01 and 12:04."""
    world = World()
    world.caller.takes = 4 * SECOND
    trigger = Interval(every_seconds=10, anchor=NOON)
    task_id = await world.create(trigger=trigger, **words)
    async with world.scheduler("node-1"):
        await world.clock.pass_by(65)
    await world.clock.pass_by(175)
    async with world.scheduler("node-2"):
        await world.clock.pass_by(60.5)
    return world, task_id

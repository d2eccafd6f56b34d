"""Which outcomes are recorded soon: those that something waits for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from application.scheduler.attempts import FlushPriority
from application.scheduler.index import Entry
from application.scheduler.jobs import Job
from domain import execution as executions
from domain.definition import OneOff, Overlap
from tests.support.given import NOON, RUN, after, definition, every, occurrence, queued, started
from tests.support.scheduler import World

if TYPE_CHECKING:
    from domain.definition import Definition

TASK = occurrence().task_id


def claimed(definition: Definition, kind: str = "scheduled") -> Job:
    claim = msgspec.structs.replace(started(), occurrence=occurrence(kind=kind))
    return Job(executions.start(RUN, claim), definition, 1, NOON)


def is_urgent(
    job: Job, *, next_run_at: float | None = None, another_waits: bool = False, linger: float = 0.1
) -> bool:
    world = World()
    context = replace(world.context(), linger=timedelta(seconds=linger))
    if next_run_at is not None:
        context.index.put(Entry(TASK, 1, "default", job.definition, after(next_run_at)))
    if another_waits:
        context.open_executions.begun(1, UUID(int=9), 1, queued(after(60)))
    return FlushPriority(context).of(job)


def bound(mode: str) -> Definition:
    return definition(trigger=every(60), overlap=Overlap(mode=mode))  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["skip", "queue_one", "queue_all", "cancel_running"])
def test_a_run_that_is_in_the_way_of_the_next_one_is_urgent_only_when_that_comes_soon(mode: str) -> None:
    job = claimed(bound(mode))
    assert is_urgent(job, next_run_at=-1)
    assert is_urgent(job, next_run_at=0.2)
    assert not is_urgent(job, next_run_at=0.201)
    assert not is_urgent(job)
    assert is_urgent(job, next_run_at=1, linger=1)


def test_a_run_that_another_one_waits_for_is_urgent() -> None:
    assert is_urgent(claimed(bound("queue_one")), next_run_at=60, another_waits=True)


@pytest.mark.parametrize(
    "policies",
    [
        {"trigger": every(60)},
        {"trigger": every(60), "overlap": Overlap(mode="allow")},
        {"trigger": OneOff(datetime=NOON), "overlap": Overlap(mode="skip")},  # which overlaps nothing
    ],
    ids=["by default", "allow", "one-off"],
)
def test_a_run_that_is_in_nobodys_way_is_not_urgent(policies: dict[str, Any]) -> None:
    assert not is_urgent(claimed(definition(**policies)), next_run_at=0)


@pytest.mark.parametrize("kind", ["manual", "backfill"])
def test_a_run_that_somebody_waits_for_is_urgent(kind: str) -> None:
    assert is_urgent(claimed(definition(), kind))


def test_a_run_that_must_not_be_left_open_is_urgent() -> None:
    assert is_urgent(claimed(definition(delivery="at_most_once")))

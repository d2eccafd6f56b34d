"""Snapshots of tasks: a state that was stored is the state that was folded."""

import hashlib
from collections.abc import Iterator
from typing import get_args
from uuid import UUID

import pytest

from application import streams
from application.ports import LogUnavailable, Snapshot
from application.streams import fold_task, load_latest
from domain import task as tasks
from domain.facts import IdempotencyKeyUsed, TaskCreated, TaskFact, TaskPaused, TaskResumed
from domain.task import Task
from infrastructure.event_store.log import FOLD, decode_task, encode_task
from tests.support.given import NOON, TASK, created
from tests.support.random_log import RandomLog
from tests.support.scheduler import World

TASK_FACTS = get_args(TaskFact.__value__)
PAUSED, RESUMED = TaskPaused(at=NOON), TaskResumed(at=NOON)
# Of all states of a random log's tasks, by the present rules.
STATES = {2: "c48cddc32582a521b6fe983accd27595dbb87e0f8a842145fb95ba933042aaa1"}


def states(seed: int, events: int) -> Iterator[Task]:
    """Every state of every task of a random log."""
    known: dict[UUID, Task] = {}
    for new in RandomLog(seed).grow(events):
        if isinstance(new.fact, TaskCreated):
            known[new.stream] = tasks.begin(new.stream, new.fact)
        elif isinstance(new.fact, TASK_FACTS) and new.stream in known:
            known[new.stream] = tasks.evolve(known[new.stream], new.fact)
        else:
            continue
        yield known[new.stream]


@pytest.mark.parametrize("seed", range(5))
def test_what_was_stored_is_read_back_as_it_was(seed: int) -> None:
    for task in states(seed, 600):
        assert decode_task(*encode_task(task)) == task


def test_other_rules_have_another_number() -> None:
    """When this fails, a state is folded or stored in another way than before: raise `FOLD`."""
    digest = hashlib.sha256()
    for task in states(7, 2_000):
        kind, state = encode_task(task)
        digest.update(kind.encode() + state)
    assert STATES[FOLD] == digest.hexdigest()


@pytest.mark.parametrize(("kind", "state"), [("asleep", b"{}"), ("paused", b"{"), ("over", b"{}")])
def test_bytes_that_are_no_state_are_none(kind: str, state: bytes) -> None:
    assert decode_task(kind, state) is None


async def long_lived(events: int) -> World:
    world = World()
    facts: list[TaskFact] = [PAUSED, RESUMED] * (events // 2)
    await world.append(TASK, created(), *facts)
    return world


async def test_only_what_was_long_to_fold_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SNAPSHOT_EVENTS", 12)
    world = await long_lived(10)
    await load_latest(world.log, TASK)
    assert (await world.log.read_task(TASK)).snapshot is None
    await world.append(TASK, PAUSED)
    latest = await load_latest(world.log, TASK)
    assert (await world.log.read_task(TASK)).snapshot == latest


async def test_a_snapshot_that_cannot_be_kept_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(snapshot: Snapshot) -> None:
        raise LogUnavailable("the log is away")

    monkeypatch.setattr(streams, "SNAPSHOT_EVENTS", 1)
    world = await long_lived(4)
    monkeypatch.setattr(world.log, "keep", away)
    latest = await load_latest(world.log, TASK)
    assert latest is not None
    assert latest.task == fold_task(TASK, await world.log.read_stream(TASK))


async def test_nothing_is_known_of_a_stream_that_is_no_task(world: World) -> None:
    assert await load_latest(world.log, TASK) is None
    await world.append(TASK, PAUSED)
    assert await load_latest(world.log, TASK) is None


async def test_what_follows_a_snapshot_is_folded_onto_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SNAPSHOT_EVENTS", 4)
    world = await long_lived(4)
    kept = await load_latest(world.log, TASK)
    assert (await world.log.read_task(TASK)).snapshot == kept
    stray = IdempotencyKeyUsed(at=NOON, key="k", namespace="default", task_id=TASK, digest="")
    await world.append(TASK, PAUSED, stray, RESUMED)
    latest = await load_latest(world.log, TASK)
    assert latest is not None
    assert latest.task == fold_task(TASK, await world.log.read_stream(TASK))
    assert (await world.log.read_task(TASK)).snapshot == kept

"""Answers from the past at any moment of long and busy histories: what an oracle knows of that moment."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import uuid5

import pytest
from msgspec.structs import replace

from application.ports import NewFact
from domain.facts import IdempotencyKeyUsed, TaskCreated
from tests.support.minutes import BusyMinutes, Minutes
from tests.support.past import Oracle, shown
from tests.support.projecting import connect, reached
from tests.support.running_api import client_of
from tests.support.stored import append

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from application.ports import Recorded

# CHRONOLEDGER_ORACLE=full takes minutes: a history of 10,000 events, looked at at 200 instants.
FULL = os.environ.get("CHRONOLEDGER_ORACLE") == "full"
EVENTS, MOMENTS = (10_000, 200) if FULL else (1_000, 5)
LOOKS = 12
ZERO = timedelta()


async def lived(minutes: type[Minutes], seed: int, first_id: int = 1 << 100) -> list[Recorded]:
    """All that was recorded while users, schedulers and bad days went on."""
    world = minutes(Random(seed))
    world.world.ids = count(first_id)
    await world.pass_by()
    return world.world.log.recorded


async def stored(database: str, recorded: list[Recorded], random: Random) -> list[datetime]:
    """The same in a real log, by many appends; answers when each event was recorded there."""
    async with await connect(database) as connection:
        place = 0
        while place < len(recorded):
            some = recorded[place : place + random.choice([1, 1, 2, 5])]
            await append(connection, [NewFact(event.stream, event.version, event.fact) for event in some])  # type: ignore[arg-type]
            place += len(some)
        await reached(connection, len(recorded))
        cursor = await connection.execute("SELECT recorded_at FROM events ORDER BY notification_id")
        return [instant.astimezone(UTC) for (instant,) in await cursor.fetchall()]


async def lived_side_by_side(events: int, random: Random) -> list[Recorded]:
    """The histories of so many worlds that they have that many events, in one log."""
    worlds: list[list[Recorded]] = []
    while sum(map(len, worlds)) < events:
        number = len(worlds) + 1
        world = await lived(random.choice([Minutes, BusyMinutes]), 1_000 + number, number << 100)
        worlds.append([apart(event, number) for event in world])
    mixed: list[Recorded] = []
    while worlds:
        world = random.choice(worlds[:4])
        mixed += [world.pop(0) for _ in range(min(len(world), random.randint(1, 9)))]
        if not world:
            worlds.remove(world)
    return [replace(event, position=place) for place, event in enumerate(mixed, start=1)]


def apart(event: Recorded, world: int) -> Recorded:
    """Users of every world take the same keys."""
    if isinstance(event.fact, IdempotencyKeyUsed):
        return replace(event, stream=uuid5(event.stream, str(world)))
    return event


async def test_at_any_instant_of_a_long_history_the_answers_are_the_oracles(
    database: str, tmp_path: Path
) -> None:
    random = Random(11)
    recorded = await lived_side_by_side(EVENTS, random)
    with client_of(database, tmp_path) as client:
        instants = await stored(database, recorded, random)
        for at in random.choices(instants, k=MOMENTS):
            position = sum(instant <= at for instant in instants)
            oracle, as_of = Oracle.of(recorded[:position]), {"as_of": at.isoformat()}
            assert listed(client, as_of) == {str(task_id): task for task_id, task in oracle.tasks.items()}
            figures = client.get("/metrics", params=as_of).json()
            assert {name: figures[name] for name in oracle.figures()} == oracle.figures()
            for task_id in random.sample(list(oracle.tasks), k=min(5, len(oracle.tasks))):
                then = client.get(f"/tasks/{task_id}", params=as_of)
                assert shown(then.json()) == oracle.tasks[task_id]
                start = next(event.recorded_at for event in recorded if event.stream == task_id)
                check_occurrences(client, str(task_id), start, position, oracle)


def listed(client: httpx.Client, as_of: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The whole list, page by page."""
    found: dict[str, dict[str, Any]] = {}
    cursor: dict[str, str] | None = {"sort": "created_at"}
    while cursor:
        page = client.get("/tasks", params={**as_of, **cursor, "limit": "200"}).json()
        found |= {task["id"]: shown(task) for task in page["items"]}
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
    return found


@pytest.mark.parametrize(("minutes", "seed"), [(Minutes, 1), (Minutes, 4), (BusyMinutes, 2)])
async def test_at_any_instant_of_a_busy_history_the_answers_are_the_oracles(
    database: str, tmp_path: Path, minutes: type[Minutes], seed: int
) -> None:
    random, recorded = Random(seed), await lived(minutes, seed)
    ids = [event.stream for event in recorded if isinstance(event.fact, TaskCreated)]
    with client_of(database, tmp_path) as client:
        instants = await stored(database, recorded, random)
        looked_at = [random.choice(instants) + random.choice([ZERO, timedelta(microseconds=40)])]
        looked_at += [random.choice(instants) for _ in range(LOOKS)] + [instants[0] - timedelta(seconds=1)]
        for at in looked_at:
            position = sum(instant <= at for instant in instants)
            oracle, as_of = Oracle.of(recorded[:position]), {"as_of": at.isoformat()}
            page = client.get("/tasks", params={**as_of, "limit": "200", "sort": "created_at"})
            assert page.headers["X-Event-Position"] == str(position)
            listed = {task["id"]: shown(task) for task in page.json()["items"]}
            assert listed == {str(task_id): task for task_id, task in oracle.tasks.items()}
            assert page.json()["total"] == len(oracle.tasks)
            figures = client.get("/metrics", params=as_of).json()
            assert {name: figures[name] for name in oracle.figures()} == oracle.figures()
            for task_id in ids:
                answer = client.get(f"/tasks/{task_id}", params={"as_of_position": str(position)})
                known = oracle.tasks.get(task_id)
                assert answer.status_code == (200 if known else 404)
                assert known is None or shown(answer.json()) == known
                if known:
                    check_occurrences(client, str(task_id), recorded[0].recorded_at, position, oracle)


def check_occurrences(
    client: httpx.Client, task_id: str, around: datetime, position: int, oracle: Oracle
) -> None:
    """What had happened at the nominal instants around an instant's day."""
    start = around - timedelta(hours=2)
    window = {"from": start.isoformat(), "to": (start + timedelta(hours=12)).isoformat(), "limit": "200"}
    params = {**window, "as_of_position": str(position)}
    answer = client.get(f"/tasks/{task_id}/occurrences", params=params)
    assert answer.status_code == 200, answer.text
    items = {item["execution_id"]: item for item in answer.json()["items"]}
    seen = {str(run): status for run, status in oracle.executions.items() if str(run) in items}
    happened = {
        run: item["outcome"]
        for run, item in items.items()
        if item["outcome"] in {"pending", "running", "waiting", "succeeded", "failed", "skipped", "cancelled"}
    }
    assert happened == seen
    last, end = answer.json()["next_from"], start + timedelta(hours=12)
    reach = end if last is None else datetime.fromisoformat(last)
    for run, occurrence in oracle.occurrences.items():
        if str(occurrence.task_id) == task_id and occurrence.kind != "manual":
            assert (str(run) in items) == (start <= occurrence.due_at < reach)

"""Tasks to run, created in bulk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from time import perf_counter
from typing import NamedTuple
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct
from uuid_utils.compat import uuid7

from application.ports import Group, Meta, NewFact
from benchmarks import http_load, ledger
from benchmarks.progress import Progress
from domain.definition import Action, Cron, Definition, Interval, OneOff, Overlap, RetryPolicy, Trigger
from domain.facts import TaskCreated
from infrastructure.event_store.appender import Appender

DAY_SECONDS = 86_400
# Together they fill the appender's calls (1,000 events) while the one before is under way.
WORKERS, CHUNK = 4, 500
CLIENTS, BULK = 4, 1_000
BULK_PATH = "/api/v1/tasks/bulk"
IN_A_HURRY = {"Prefer": "respond-async"}
FAR = datetime(2099, 1, 1, tzinfo=UTC)


class Planned(NamedTuple):
    """A task and the instant where it is due first."""

    definition: Definition
    first: datetime


class Told(Struct):
    """Of what a bulk request is answered."""

    created: int


class Creation(NamedTuple):
    """Tasks a second: as the log took them, and until lists show them."""

    appended_rate: float
    shown_rate: float


async def post_tasks(
    url: str, dsn: str, planned: Iterable[Planned], total: int, progress: Progress
) -> Creation:
    """Create tasks by the API's bulk requests, as a few clients would.

    Returns when the read models have them.
    """
    waiting, done = iter(planned), 0
    started = perf_counter()

    async def client() -> None:
        nonlocal done
        async with http_load.connected(url) as connection:
            while chunk := list(islice(waiting, BULK)):
                body = {"tasks": [_sent(one.definition) for one in chunk]}
                answer = await connection.ask(
                    http_load.request("POST", f"{url}{BULK_PATH}", body, IN_A_HURRY)
                )
                if msgspec.json.decode(answer, type=Told).created < len(chunk):
                    raise http_load.UnexpectedAnswer(answer[:500])
                done += len(chunk)
                progress.count(done, total, "tasks created")

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    posted = perf_counter() - started
    await ledger.caught_up(dsn)
    return Creation(total / posted, total / (perf_counter() - started))


def _sent(definition: Definition) -> dict[str, object]:
    """What a user has to say: the rest are the API's defaults."""
    return {"name": definition.name, "trigger": definition.trigger, "action": definition.action}


async def create_tasks(dsn: str, planned: Iterable[Planned], total: int, progress: Progress) -> Creation:
    """Create tasks and return when the read models have them.

    Through the appender, as the API does it for each single one; what the API itself takes is `post_tasks`'s.
    """
    waiting, done = iter(planned), 0
    started = perf_counter()

    async def worker() -> None:
        nonlocal done
        while chunk := list(islice(waiting, CHUNK)):
            await asyncio.gather(
                *(appender.append(created(uuid7(), one), patience="patient") for one in chunk)
            )
            done += len(chunk)
            progress.count(done, total, "tasks created")

    async with Appender(dsn) as appender:
        await asyncio.gather(*(worker() for _ in range(WORKERS)))
    appended = perf_counter() - started
    await ledger.caught_up(dsn)
    return Creation(total / appended, total / (perf_counter() - started))


def created(task_id: UUID, planned: Planned) -> Group:
    """What creating a task appends."""
    fact = TaskCreated(
        at=datetime.now(UTC),
        namespace="default",
        definition=planned.definition,
        next_run_at=planned.first,
    )
    meta = Meta(actor="benchmark", correlation_id="benchmark", command_id=uuid4())
    return Group(facts=(NewFact(task_id, 1, fact),), meta=meta)


def one_offs(url: str, instants: Iterable[datetime]) -> Iterator[Planned]:
    """Tasks that are due once, and tell the sink when."""
    for due in instants:
        yield Planned(_definition(OneOff(datetime=due), f"{url}/{microseconds(due)}"), due)


def crons(url: str, count: int, now: datetime) -> Iterator[Planned]:
    """Daily tasks, spread evenly over the day."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for number in range(count):
        second = number * DAY_SECONDS // count
        first = midnight + timedelta(seconds=second)
        expression = f"{second % 60} {second // 60 % 60} {second // 3_600} * * *"
        planned = first if first > now else first + timedelta(days=1)
        yield Planned(_definition(Cron(cron=expression), f"{url}/cron"), planned)


def every_second(url: str, count: int, now: datetime) -> Iterator[Planned]:
    """Tasks that run once a second each, spread evenly over the second."""
    anchor = now.replace(microsecond=0) + timedelta(seconds=2)
    for number in range(count):
        first = anchor + timedelta(seconds=number / count)
        yield Planned(_definition(Interval(every_seconds=1, anchor=first), f"{url}/interval"), first)


def dormant(url: str, count: int) -> Iterator[Planned]:
    """Tasks that are not due in this century."""
    for _ in range(count):
        yield Planned(_definition(Cron(cron="0 0 1 1 *", start_at=FAR), dormant_url(url)), FAR)


def dormant_url(url: str) -> str:
    """What tells dormant tasks from others."""
    return f"{url}/dormant"


def evenly(first: datetime, rate: float, count: int) -> list[datetime]:
    """Instants at a rate a second."""
    return [first + timedelta(seconds=number / rate) for number in range(count)]


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _definition(trigger: Trigger, url: str) -> Definition:
    """With the policies that users get when they ask for none."""
    return Definition(
        name="benchmark",
        trigger=trigger,
        action=Action(method="GET", url=url),
        retry=RetryPolicy(max_retry_after_seconds=3_600.0, on_gone="stop"),
        overlap=Overlap(mode="skip", max_running=1),
    )

"""What this machine could do at all: the limits that stand beside the service's figures."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import aiohttp
from psycopg import AsyncConnection
from uuid_utils.compat import uuid7

from application.ports import Group
from benchmarks import load, usage
from benchmarks.figures import Limit
from benchmarks.processes import Sink
from benchmarks.stage import Stage
from infrastructure.clock import SystemClock
from infrastructure.event_store.appender import Appender
from infrastructure.projector.reading import read_entries

# What is best on loopback, and what the service allows to one host.
IN_FLIGHT = 100
# They fill the largest call that the appender makes.
APPENDERS = 1_000


class Paced(NamedTuple):
    """A loop that calls at given instants."""

    p99_ms: float
    cpu_ms: float
    curve: list[tuple[float, float]]


async def calls(sink: Sink, count: int) -> Limit:
    """Calls a second of a loop that stores nothing."""
    waiting = iter(range(count))

    async def worker(session: aiohttp.ClientSession) -> None:
        for _ in waiting:
            await _call(session, f"{sink.url}/loop")

    async with _session() as session:
        started = time.perf_counter()
        await asyncio.gather(*(worker(session) for _ in range(IN_FLIGHT)))
        seconds = time.perf_counter() - started
    sink.told()
    return Limit("loop", count / seconds)


async def paced(sink: Sink, rate: float, seconds: float) -> Paced:
    """Lateness and CPU of a loop that stores nothing, on the clock that the service uses."""
    clock = SystemClock()
    due = load.evenly(datetime.now(UTC) + timedelta(seconds=0.5), rate, round(rate * seconds))
    async with _session() as session, asyncio.TaskGroup() as group:
        before, own = usage.cpu_seconds(sink.pid), time.process_time()
        for at in due:
            await clock.sleep_until(at)
            group.create_task(_call(session, f"{sink.url}/{load.microseconds(at)}"))
        used = usage.cpu_seconds(sink.pid) - before + time.process_time() - own
    told = sink.told()
    return Paced(told.p99_ms, used * 1_000 / len(due), told.curve)


async def appends(stage: Stage, seconds: float) -> Limit:
    """Events a second that a log of its own takes from many callers, each waiting for its own."""
    return Limit("append", await _append_rate(stage, seconds, APPENDERS, 1))


async def grouped_appends(stage: Stage, seconds: float) -> Limit:
    """Events a second that a log of its own takes in groups, as many and as large as bulk requests."""
    return Limit("append of groups", await _append_rate(stage, seconds, load.CLIENTS, load.BULK))


async def _append_rate(stage: Stage, seconds: float, callers: int, events: int) -> float:
    [task] = load.dormant("http://127.0.0.1:1", 1)
    started, appended = 0.0, 0

    async def caller(appender: Appender) -> None:
        nonlocal appended
        while time.perf_counter() < started + seconds:
            single = [load.created(uuid7(), task) for _ in range(events)]
            facts = tuple(fact for group in single for fact in group.facts)
            await appender.append(Group(facts=facts, meta=single[0].meta), patience="patient")
            appended += events

    with stage.database() as dsn:
        async with Appender(dsn) as appender:
            started = time.perf_counter()
            await asyncio.gather(*(caller(appender) for _ in range(callers)))
            elapsed = time.perf_counter() - started
    return appended / elapsed


async def reading(connection: AsyncConnection, most_seconds: float) -> Limit:
    """Events a second that are read and decoded as a projector does it, and then forgotten."""
    started, position = time.perf_counter(), 0
    while entries := (await read_entries(connection, position)).entries:
        position = entries[-1].position
        if time.perf_counter() - started > most_seconds:
            break
    return Limit("reading", position / (time.perf_counter() - started))


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT))


async def _call(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(url) as answer:
        await answer.read()

"""`make benchmark`: what the service does on this machine, against what the machine could do at all.

Absolute numbers move with the machine and its neighbours; compare the ratios, and runs side by side.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import aiohttp
import psycopg
import uvloop
from psycopg.conninfo import make_conninfo
from uuid_utils.compat import uuid7

from application.ports import Group, Meta, NewFact
from domain.definition import Action, Definition, OneOff
from domain.facts import TaskCreated
from infrastructure.event_store import Appender
from infrastructure.migrator import migrate
from tests.support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLERS = (1, 64, 256)
LEAD = timedelta(seconds=5)
DEADLINE_SECONDS = 180.0


def main() -> None:
    """Run every benchmark and print a line for each figure."""
    parser = argparse.ArgumentParser(prog="make benchmark", description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000, help="one-offs due at once")
    parser.add_argument("--rate", type=int, default=500, help="one-offs due a second")
    parser.add_argument("--seconds", type=int, default=10, help="for how long")
    options = parser.parse_args()
    with postgres.server() as server, tempfile.TemporaryDirectory() as folder:
        print(f"postgres: {'container' if postgres.engine_answers() else 'embedded'}; {os.cpu_count()} cores")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_appends(_database(server, "appends")))
            with _process("-m", "tests.benchmarks.sink", stdout=subprocess.PIPE) as sink:
                assert sink.stdout is not None
                url = f"http://127.0.0.1:{int(sink.stdout.readline())}"
                runner.run(_limit(url, options.tasks))
                dsn = _database(server, "executions")
                with _service(dsn, folder):
                    runner.run(_burst(dsn, url, options.tasks))
                    runner.run(_evenly(dsn, url, options.rate, options.seconds))


async def _appends(dsn: str) -> None:
    async with Appender(dsn) as appender:
        for callers in CALLERS:
            until = time.perf_counter() + 2.0
            appended = sum(await asyncio.gather(*(_append_until(appender, until) for _ in range(callers))))
            print(f"appends, {callers:3} callers: {appended / 2.0:8.0f} events/s")


async def _append_until(appender: Appender, until: float) -> int:
    appended = 0
    while time.perf_counter() < until:
        await appender.append(_created(uuid7(), datetime.now(UTC), "http://127.0.0.1:1/"))
        appended += 1
    return appended


async def _limit(url: str, calls: int) -> None:
    """The same calls from a loop that stores nothing: what any scheduler here could reach."""
    waiting = iter(range(calls))
    started = time.perf_counter()
    async with aiohttp.ClientSession() as session:

        async def worker() -> None:
            for _ in waiting:
                async with session.get(f"{url}/0") as answer:
                    await answer.read()

        await asyncio.gather(*(worker() for _ in range(100)))
        await _stats(session, url)
    print(f"calls alone, nothing stored: {calls / (time.perf_counter() - started):8.0f} calls/s")


async def _burst(dsn: str, url: str, tasks: int) -> None:
    due = datetime.now(UTC) + LEAD + timedelta(seconds=tasks / 5_000)
    await _create(dsn, url, [due] * tasks)
    await _recorded(dsn, tasks)
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        cursor = await connection.execute(
            "SELECT extract(epoch FROM max(recorded_at) FILTER (WHERE topic = 'execution.succeeded.v1') "
            "- min(recorded_at) FILTER (WHERE topic = 'execution.started.v1'))::float8 FROM events"
        )
        [(seconds,)] = await cursor.fetchall()
    async with aiohttp.ClientSession() as session:
        stats = await _stats(session, url)
    print(f"{tasks} due at once: {tasks / seconds:8.0f} recorded executions/s ({stats['calls']:.0f} calls)")


async def _evenly(dsn: str, url: str, rate: int, seconds: int) -> None:
    count = rate * seconds
    first = datetime.now(UTC) + LEAD + timedelta(seconds=count / 5_000)
    before = await _finished(dsn)
    await _create(dsn, url, [first + timedelta(seconds=number / rate) for number in range(count)])
    await _recorded(dsn, before + count)
    async with aiohttp.ClientSession() as session:
        stats = await _stats(session, url)
    print(
        f"{rate}/s for {seconds} s: late by p50 {stats['p50_ms']:.2f} ms, p99 {stats['p99_ms']:.2f} ms, "
        f"max {stats['max_ms']:.2f} ms ({stats['calls']:.0f} calls)"
    )


async def _create(dsn: str, url: str, due: list[datetime]) -> None:
    async with Appender(dsn) as appender:
        for start in range(0, len(due), 1_000):
            await asyncio.gather(
                *(
                    appender.append(_created(uuid7(), at, f"{url}/{int(at.timestamp() * 1_000_000)}"))
                    for at in due[start : start + 1_000]
                )
            )


def _created(task_id: UUID, due: datetime, url: str) -> Group:
    definition = Definition(
        name="benchmark", trigger=OneOff(datetime=due), action=Action(method="GET", url=url)
    )
    fact = TaskCreated(at=datetime.now(UTC), namespace="default", definition=definition, next_run_at=due)
    meta = Meta(actor="benchmark", correlation_id="benchmark", command_id=uuid4())
    return Group(facts=(NewFact(task_id, 1, fact),), meta=meta)


async def _recorded(dsn: str, executions: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while await _finished(dsn) < executions:
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {await _finished(dsn)} of {executions} executions were recorded")
        await asyncio.sleep(0.2)


async def _finished(dsn: str) -> int:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        cursor = await connection.execute("SELECT count(*) FROM task_results WHERE status = 'succeeded'")
        [(count,)] = await cursor.fetchall()
        return int(count)


async def _stats(session: aiohttp.ClientSession, url: str) -> dict[str, float]:
    async with session.get(f"{url}/stats") as answer:
        told: dict[str, float] = await answer.json(content_type=None)
        return told


def _database(server: str, name: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    dsn = make_conninfo(server, dbname=name)
    migrate(dsn)
    return dsn


@contextlib.contextmanager
def _service(dsn: str, folder: str) -> Iterator[None]:
    environment = {**os.environ, "DATABASE_URL": dsn, "PORT": "0", "LOG_DIR": folder, "LOG_LEVEL": "WARN"}
    with contextlib.ExitStack() as stack:
        for role in ("projector", "scheduler"):
            stack.enter_context(_process("-m", "interfaces.cli", role, env=environment))
        _wait_for_tables(dsn)
        yield


def _wait_for_tables(dsn: str) -> None:
    deadline = time.monotonic() + 30.0
    with psycopg.connect(dsn, autocommit=True) as connection:
        while time.monotonic() < deadline:
            found = connection.execute("SELECT to_regclass('task_results') IS NOT NULL").fetchone()
            beats = connection.execute("SELECT count(*) FROM nodes WHERE role = 'scheduler'").fetchone()
            if found == (True,) and beats == (1,):
                return
            time.sleep(0.1)
    raise TimeoutError("the service did not come up")


@contextlib.contextmanager
def _process(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, *arguments], **options) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)


if __name__ == "__main__":
    main()

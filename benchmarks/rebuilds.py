"""A rebuild beside the running service, and what users and executions notice of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg

from benchmarks import http_load, ledger
from benchmarks.processes import Roles
from tests.support.service import PROGRAM

ASKED = ("/api/v1/tasks?limit=5", "/api/v1/results?limit=5", "/api/v1/metrics")
ASK_SECONDS = 0.02

# How late the first call of an execution was; one that is not over yet has nothing to tell.
LATEST = (
    "SELECT coalesce(max(extract(epoch FROM run_at - due_at)), 0)::float8 * 1000, count(*) "
    "FROM task_results WHERE due_at BETWEEN %s AND %s AND run_at IS NOT NULL"
)


class Beside(NamedTuple):
    """What a rebuild was like: events a second, the latest execution meanwhile, requests that failed of those
    that were made, and the exit code of a check afterwards.
    """

    rate: float
    latest_ms: float
    executions: int
    requests: int
    failed: int
    check_code: int


async def beside(dsn: str, running: Roles) -> Beside:
    """`chronoledger rebuild`, as a user runs it, from its start to its end. Raises `RuntimeError`."""
    since, started = datetime.now(UTC), time.perf_counter()
    async with _asking(running.services["api"].url) as asked:
        if code := await _run(running, "rebuild"):
            raise RuntimeError(f"the rebuild ended with {code}; its reason is above")
        took, until = time.perf_counter() - started, datetime.now(UTC)
    rate = await ledger.head(dsn) / took
    await ledger.caught_up(dsn)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        cursor = await connection.execute(LATEST, (since, until))
        [(latest_ms, executions)] = await cursor.fetchall()
    check_code = await _run(running, "check")
    return Beside(rate, latest_ms, executions, asked.requests, asked.failed, check_code)


class _Asked:
    def __init__(self) -> None:
        self.requests = self.failed = 0


@contextlib.asynccontextmanager
async def _asking(url: str) -> AsyncIterator[_Asked]:
    """A client that asks for what the read models show, for the length of the block."""
    asked = _Asked()
    requests = itertools.cycle([http_load.request("GET", f"{url}{path}") for path in ASKED])

    async def ask() -> None:
        async with http_load.connected(url) as client:
            while True:
                asked.requests += 1
                try:
                    await client.ask(next(requests))
                except http_load.UnexpectedAnswer as error:
                    asked.failed += 1
                    sys.stderr.write(f"{error}\n")
                await asyncio.sleep(ASK_SECONDS)

    asking = asyncio.create_task(ask())
    try:
        yield asked
    finally:
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking


async def _run(running: Roles, command: str) -> int:
    """Its exit code."""
    projector = running.services["projector"]
    process = await asyncio.create_subprocess_exec(
        PROGRAM, command, cwd=projector.folder, env=projector.environment(), stdout=sys.stderr
    )
    try:
        return await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()

"""Sealers in the background of a test, and waiting for what they do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection

from infrastructure.audit_log.sealer import Sealer
from tests.support.projecting import until

REST_SECONDS = 0.02


@contextlib.asynccontextmanager
async def sealing(dsn: str, key_file: Path | None) -> AsyncIterator[asyncio.Task[None]]:
    async with running(Sealer(dsn, key_file, rest_seconds=REST_SECONDS)) as task:
        yield task


@contextlib.asynccontextmanager
async def running(sealer: Sealer) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(sealer.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def sealed_up_to(connection: AsyncConnection, position: int) -> None:
    async def reached() -> bool:
        cursor = await connection.execute("SELECT coalesce(max(last_position), 0) FROM tree_heads")
        return await cursor.fetchone() == (position,)

    await until(reached)


async def told(logs: list[Any], level: str) -> list[Any]:
    """What was logged of a level, once there is something."""

    async def something() -> bool:
        return bool(of_level(logs, level))

    await until(something)
    return of_level(logs, level)


def of_level(logs: list[Any], level: str) -> list[Any]:
    return [line for line in logs if line["log_level"] == level]

"""Waiting: for whichever comes first, for what must not be broken off, and for the end of an outage."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from application.ports import LogUnavailable, Unreadable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from application.ports import Clock

OUTAGE_PAUSE = timedelta(milliseconds=500)
# Soon enough to go on when the clock is right again.
UNABLE_PAUSE = timedelta(milliseconds=100)


async def first_of(*waits: Awaitable[object]) -> None:
    """Return once one of them returns, and cancel the others; an exception of the first goes through."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    for task in done:
        task.result()


async def to_its_end[T](work: Awaitable[T]) -> T:
    """Await it; when cancelled meanwhile, let it end before that. A second cancellation reaches it too.

    A claim that is broken off on its way to the log may be stored all the same, and nobody would send it.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
        raise


async def patiently[T](clock: Clock, read: Callable[[], Awaitable[T]]) -> T:
    """Read, and again twice a second through an outage. Raises `Unreadable`."""
    while True:
        try:
            return await read()
        except Unreadable:
            raise
        except LogUnavailable:
            await clock.pause(OUTAGE_PAUSE)

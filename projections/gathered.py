"""Reading for many at once: whatever is asked for while one read is under way goes into the next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

MOST_AT_ONCE = 500


class Gathered[K, V]:
    """Answers one key at a time from reads of many.

    A read begins after all that it answers was asked for, so everybody sees what was committed by then. Under
    load one round trip serves many callers, and without it nobody waits for company.
    """

    def __init__(self, read: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._read = read
        self._waiting: list[tuple[K, asyncio.Future[V | None]]] = []
        self._reading: asyncio.Task[None] | None = None

    async def one(self, key: K) -> V | None:
        """What is read for a key, None: nothing. Raises what the read raises."""
        answer: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, answer))
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_on(), name="gathered-reads")
        return await answer

    async def _read_on(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
                await self._serve(batch)
        finally:
            self._reading = None
            for _, answer in self._waiting:
                answer.cancel()

    async def _serve(self, batch: Sequence[tuple[K, asyncio.Future[V | None]]]) -> None:
        waiting = [(key, answer) for key, answer in batch if not answer.done()]
        try:
            found = await self._read(list(dict.fromkeys(key for key, _ in waiting))) if waiting else {}
        except asyncio.CancelledError:
            for _, answer in waiting:
                answer.cancel()
            raise
        except Exception as error:  # whatever it is, it is for those who asked
            for _, answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
            return
        for key, answer in waiting:
            if not answer.done():
                answer.set_result(found.get(key))

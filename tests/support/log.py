"""An event log in memory that keeps the promises of the one in Postgres."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from application.ports import (
    Answer,
    Follower,
    Group,
    LogUnavailable,
    Patience,
    Recorded,
    Snapshot,
    TaskHistory,
)
from domain.identity import redaction_stream
from infrastructure.event_store.log import decode_task, encode_task, recorded
from infrastructure.event_store.mapper import encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from uuid import UUID

    from infrastructure.event_store.log import Row

POLL_SECONDS = 0.25
BATCH = 1_000


@contextlib.asynccontextmanager
async def following(follower: Follower, position: int) -> AsyncIterator[AsyncIterator[Sequence[Recorded]]]:
    """The batches after a position; leaving the block stops the follower at once."""
    batches = follower.follow(position)
    assert isinstance(batches, AsyncGenerator)
    try:
        yield batches
    finally:
        await batches.aclose()


async def append_each(
    append: Callable[[Group], Awaitable[int | None]], groups: Sequence[Group]
) -> Sequence[Answer]:
    """`EventLog.append_all` by an `append` for each: all begin in their order, at once."""
    if len(groups) == 1:
        return [await _answer(append, groups[0])]
    return await asyncio.gather(*(_answer(append, group) for group in groups))


async def _answer(append: Callable[[Group], Awaitable[int | None]], group: Group) -> Answer:
    try:
        return await append(group)
    except LogUnavailable:
        raise
    except Exception as error:
        return error


class MemoryLog:
    """`EventLog` and `Follower` without a database: it stores bytes, so what cannot be stored fails here too.

    While it is `away`, reads and prompt appends raise `LogUnavailable` at once and the others wait.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._rows: list[Row] = []
        self._decoded: list[Recorded] = []
        self._heads: dict[UUID, int] = {}
        self._snapshots: dict[UUID, tuple[int, str, bytes]] = {}
        self._back = asyncio.Event()
        self._back.set()
        self._wakes: set[asyncio.Event] = set()

    @property
    def recorded(self) -> list[Recorded]:
        """Everything, in order."""
        return self._read(0, len(self._rows))

    @property
    def rows(self) -> list[Row]:
        """Everything as it is stored, in order."""
        self._answering()
        return self._rows

    def facts(self, stream: UUID | None = None) -> list[object]:
        """The facts of one stream, or of all, in order."""
        return [event.fact for event in self.recorded if stream is None or event.stream == stream]

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """An outage for the length of the block."""
        self._back.clear()
        try:
            yield
        finally:
            self._back.set()

    def plant(self, stream: UUID, version: int, topic: str, state: bytes) -> int:
        """Store bytes as they are, for events that this release cannot read; their position."""
        position = len(self._rows) + 1
        self._rows.append((position, stream, version, topic, state, self._now()))
        self._heads[stream] = version
        for wake in self._wakes:
            wake.set()
        return position

    def replant(self, position: int, state: bytes) -> None:
        """Have an event hold other bytes from now on."""
        place, stream, version, topic, _, recorded_at = self._rows[position - 1]
        self._rows[position - 1] = (place, stream, version, topic, state, recorded_at)
        del self._decoded[position - 1 :]

    def forget(self, task_id: UUID) -> None:
        """Drop what was kept of a task."""
        self._snapshots.pop(task_id, None)

    async def append(self, group: Group, *, patience: Patience = "prompt") -> int | None:
        """See `application.ports.EventLog`."""
        states = [encode(new.fact, group.meta) for new in group.facts]
        if patience == "prompt":
            self._answering()
        await self._back.wait()
        position = None
        if self._accepts(group):
            for new, state in zip(group.facts, states, strict=True):
                position = self.plant(new.stream, new.version, type(new.fact).topic, state)
        await asyncio.sleep(0)  # whoever appends gives way to others, as he does with a database
        return position

    async def append_all(self, groups: Sequence[Group], *, patience: Patience = "prompt") -> Sequence[Answer]:
        """See `application.ports.EventLog`."""
        return await append_each(partial(self.append, patience=patience), groups)

    async def read_stream(self, stream: UUID) -> Sequence[Recorded]:
        """See `application.ports.EventLog`."""
        self._answering()
        return [event for event in self.recorded if event.stream == stream]

    async def read_after(self, position: int, limit: int) -> Sequence[Recorded]:
        """See `application.ports.EventLog`."""
        self._answering()
        return self._read(position, limit)

    async def read_task(self, task_id: UUID) -> TaskHistory:
        """See `application.ports.EventLog`."""
        kept = self._snapshots.get(task_id)
        events = await self.read_stream(task_id)
        if kept is None:
            return TaskHistory(None, events)
        position, kind, state = kept
        task = decode_task(kind, state)
        assert task is not None
        behind = [event for event in events if event.position > position]
        return TaskHistory(Snapshot(position, task), behind)

    async def keep(self, snapshot: Snapshot) -> None:
        """See `application.ports.EventLog`."""
        self._answering()
        task_id = snapshot.task.id
        if any(event.stream == redaction_stream(task_id) for event in self.recorded):
            return
        if snapshot.position > self._snapshots.get(task_id, (0,))[0]:
            self._snapshots[task_id] = (snapshot.position, *encode_task(snapshot.task))

    async def follow(self, position: int) -> AsyncIterator[Sequence[Recorded]]:
        """See `application.ports.Follower`. An empty batch says that all is read, once after each wait."""
        wake = asyncio.Event()
        self._wakes.add(wake)
        try:
            while True:
                await self._back.wait()
                wake.clear()
                batch = self._read(position, BATCH)
                yield batch
                position += len(batch)
                if len(batch) < BATCH:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(wake.wait(), POLL_SECONDS)
        finally:
            self._wakes.discard(wake)

    def _read(self, position: int, limit: int) -> list[Recorded]:
        self._decoded.extend(map(recorded, self._rows[len(self._decoded) :]))
        return self._decoded[position : position + limit]

    def _answering(self) -> None:
        if not self._back.is_set():
            raise LogUnavailable("the log is away")

    def _accepts(self, group: Group) -> bool:
        heads = dict(self._heads)
        if any(heads.get(guard.stream, 0) != guard.version for guard in group.guards):
            return False
        for new in group.facts:
            if heads.get(new.stream, 0) != new.version - 1:
                return False
            heads[new.stream] = new.version
        return True

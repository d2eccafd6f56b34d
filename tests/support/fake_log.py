"""The log and what follows from it, with the bad days that a scheduler has to live through."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from application.ports import DueTask, Group, LogUnavailable, Open, Patience, Unfinished
from domain.task import Pause
from projections import task_results, tasks
from projections.projection import PoisonEvent
from tests.support.fake_clock import MAX_TURNS
from tests.support.given import NOON
from tests.support.log import MemoryLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from uuid import UUID

    from application.ports import Recorded, SchedulePosition
    from domain.facts import AnyFact
    from projections.task_results import ResultRow
    from projections.tasks import TaskRow


class FlakyLog(MemoryLog):
    """A log that can store what is appended and lose the answer, or refuse to take it.

    `meanwhile` holds what happens, once, between the storing of the first fact of a kind and the answer;
    `after_reading` what happens, once, between the reading of a stream and the answer.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__(now)
        self._losing = False
        self.poison: type[AnyFact] | None = None
        self.meanwhile: dict[type[AnyFact], Callable[[], Awaitable[object]]] = {}
        self.after_reading: dict[UUID, Callable[[], Awaitable[object]]] = {}

    @contextlib.contextmanager
    def losing_answers(self) -> Iterator[None]:
        """Prompt appends are stored, but those who made them hear nothing."""
        self._losing = True
        try:
            yield
        finally:
            self._losing = False

    async def append(self, group: Group, *, patience: Patience = "prompt") -> int | None:
        """See `application.ports.EventLog`; facts of the kind `poison` are too much for the database."""
        if self.poison and any(isinstance(new.fact, self.poison) for new in group.facts):
            raise ValueError("the database refuses the statement")
        position = await super().append(group, patience=patience)
        for new in group.facts if position else ():
            if happening := self.meanwhile.pop(type(new.fact), None):
                await happening()
        if self._losing and patience == "prompt":
            raise LogUnavailable("the answer was lost")
        return position

    async def read_stream(self, stream: UUID) -> Sequence[Recorded]:
        """See `application.ports.EventLog`."""
        events = await super().read_stream(stream)
        if happening := self.after_reading.pop(stream, None):
            await happening()
        return events


class FakeFollower:
    """`Follower` over a log in memory that can be held back."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._open = asyncio.Event()
        self._open.set()
        self._told = 0

    @property
    def position(self) -> int:
        """How far the log has been told, and what was told been followed."""
        return self._told

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is told for the length of the block."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    async def follow(self, position: int) -> AsyncIterator[Sequence[Recorded]]:
        """See `application.ports.Follower`."""
        async for batch in self._log.follow(position):
            await self._open.wait()
            yield batch
            self._told = batch[-1].position if batch else self._told

    async def told(self) -> None:
        """Once the scheduler has heard of all that is in the log."""
        for _ in range(MAX_TURNS):
            if self._told == len(self._log.recorded):
                return
            await asyncio.sleep(0)
        raise AssertionError("nobody listens to the follower")


class FakeDueTasks:
    """`DueTasks` from the projections' own folds over the log; `projected` holds them back at a position."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._rows: dict[UUID, TaskRow] = {}
        self._results: dict[UUID, ResultRow] = {}
        self._position = 0
        self.projected: int | None = None
        self.away = False
        self.pages = 0
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def page(
        self, after: SchedulePosition | None, until: datetime, limit: int
    ) -> tuple[int, Sequence[DueTask]]:
        """See `application.ports.DueTasks`; what happens `meanwhile` comes after the snapshot."""
        self.pages += 1
        self._catch_up()
        places = sorted(
            ((row.fires_at, row.id), row)
            for row in self._rows.values()
            if row.fires_at is not None and row.fires_at <= until and row.status == "scheduled"
        )
        due = [_due(row) for place, row in places if after is None or place > after]
        position = self._position
        if self.meanwhile is not None:
            happening, self.meanwhile = self.meanwhile, None
            await happening()
        return position, due[:limit]

    async def place(self, task_id: UUID) -> tuple[int, DueTask | None]:
        """See `application.ports.DueTasks`."""
        position, rows = await self.page(None, datetime.max.replace(tzinfo=UTC), len(self._log.recorded))
        return position, next((row for row in rows if row.task_id == task_id), None)

    async def open_runs(self) -> tuple[int, Sequence[Open]]:
        """See `application.ports.DueTasks`."""
        self._catch_up()
        rows = sorted(self._results.values(), key=_open_order)
        return self._position, [
            Open(row.task_id, row.id, row.status == "pending")
            for row in rows
            if row.status in {"pending", "running"} and row.kind == "scheduled"
        ]

    async def unfinished(self, limit: int) -> Sequence[Unfinished]:
        """See `application.ports.DueTasks`."""
        self._catch_up()
        running = sorted(
            (row for row in self._results.values() if row.status == "running"),
            key=lambda row: (row.retry_at or row.lease_until or NOON, row.id),
        )
        pending = [
            row for row in self._results.values() if row.status == "pending" and row.kind != "scheduled"
        ]
        return [
            Unfinished(execution_id=row.id, node=row.node, lease_until=row.lease_until, retry_at=row.retry_at)
            for row in [*running[:limit], *pending[:limit]]
        ]

    def _catch_up(self) -> None:
        if self.away:
            raise LogUnavailable("the read models are away")
        for event in self._log.recorded[self._position : self.projected]:
            self._position = event.position
            with contextlib.suppress(PoisonEvent):  # which a projector puts aside
                self._rows.update(tasks.fold(self._rows, [event]).rows)
            with contextlib.suppress(PoisonEvent):
                self._results.update(task_results.fold(self._results, [event]).rows)


def _open_order(row: ResultRow) -> tuple[int, datetime, UUID]:
    return (row.position if row.status == "pending" else 0, row.due_at, row.id)


def _due(row: TaskRow) -> DueTask:
    assert row.next_run is not None
    assert row.definition is not None
    return DueTask(
        task_id=row.id,
        version=row.version,
        namespace=row.namespace,
        definition=row.definition,
        due_at=row.next_run,
        runs=row.runs,
        fire_at=row.fires_at,
        pause=Pause(since=row.paused_at, until=row.resumed_at) if row.paused_at and row.resumed_at else None,
    )

"""What redactions need of the log and of the ledger, in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import get_args
from uuid import UUID

from application.ports import Group, Meta
from application.redaction import Rewrite, Stored
from application.streams import fold_execution
from domain.execution import FinishedExecution
from domain.facts import AnyFact, ExecutionFact
from domain.identity import disguised
from infrastructure.event_store.redactor import rewrite, stored
from tests.support.log import MemoryLog

_OF_EXECUTIONS = get_args(ExecutionFact.__value__)


class MemoryLedger:
    """Every execution of a task by what the log tells."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def runs(self, task_id: UUID) -> Sequence[tuple[UUID, bool]]:
        """Each, and whether it is over."""
        found: list[tuple[UUID, bool]] = []
        for stream in sorted({each.stream for each in self._log.recorded}):
            run = fold_execution(stream, [each for each in self._log.recorded if each.stream == stream])
            if run is not None and run.occurrence.task_id == task_id:
                found.append((stream, isinstance(run, FinishedExecution)))
        return found


class MemoryRedactor:
    """`RedactableLog` over a log in memory. `before_redacting` is called before each piece."""

    def __init__(self, log: MemoryLog, before_redacting: Callable[[], None] | None = None) -> None:
        self._log = log
        self._versions: dict[int, int] = {}
        self.before_redacting = before_redacting
        self.pieces: list[int] = []

    async def missing(self, streams: Sequence[UUID]) -> Sequence[UUID]:
        """See `RedactableLog`."""
        there = {each.stream for each in self._log.recorded}
        return sorted(stream for stream in streams if stream not in there)

    async def head_version(self, stream: UUID) -> int:
        """See `RedactableLog`."""
        return max((each.version for each in self._log.recorded if each.stream == stream), default=0)

    async def read_streams(self, streams: Sequence[UUID]) -> Sequence[Stored]:
        """See `RedactableLog`."""
        found = [each for each in self._all() if each.event.stream in set(streams)]
        return sorted(found, key=lambda each: (each.event.stream, each.event.version))

    async def read_beside(self, events: Sequence[Stored], reach: int) -> Sequence[Stored]:
        """See `RedactableLog`."""
        own = {each.event.stream for each in events}
        near = {
            (command_id, each.event.position + step)
            for each in events
            for command_id in (each.event.meta.command_id, disguised(each.event.meta.command_id))
            for step in range(-reach, reach + 1)
        }
        return [
            each
            for each in self._all()
            if each.event.stream not in own and (each.event.meta.command_id, each.event.position) in near
        ]

    def touch(self) -> None:
        """Somebody else rewrites every event, into what it is."""
        for row in self._log.rows:
            self._versions[row[0]] = self._versions.get(row[0], 0) + 1

    def rewrite(self, stored: Stored, fact: AnyFact, meta: Meta) -> Rewrite:
        """See `RedactableLog`."""
        return rewrite(stored, fact, meta)

    async def redact(self, group: Group, rewrites: Sequence[Rewrite], task_id: UUID) -> int | None:
        """See `RedactableLog`."""
        if self.before_redacting is not None:
            self.before_redacting()
        if any(self._versions.get(each.told.position, 0) != each.seen for each in rewrites):
            return None
        position = await self._log.append(group)
        if position is not None:
            self.pieces.append(len(rewrites))
            self._log.forget(task_id)
            for each in rewrites:
                self._log.replant(each.told.position, each.state)
                self._versions[each.told.position] = each.seen + 1
        return position

    def _all(self) -> list[Stored]:
        return [stored(row, self._versions.get(row[0], 0)) for row in self._log.rows]

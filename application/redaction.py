"""Redacting a task: erasing what it and its executions hold, piece by piece, in the log itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import accumulate, batched, chain, groupby
from typing import Protocol
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from application.ports import Clock, EventLog, Group, Guard, LogUnavailable, Meta, NewFact, Recorded, Snapshot
from application.streams import fold_execution, readable
from application.tasks import (
    MAX_TRIES,
    Accepted,
    Request,
    accepted_before,
    accepted_state,
    found_task,
    key_use,
    meta_of,
)
from domain import redaction
from domain import task as tasks
from domain.errors import ExecutionsArchived, ExecutionsNotOver
from domain.execution import FinishedExecution
from domain.facts import (
    AnyFact,
    EventsRedacted,
    ExecutionRequested,
    IdempotencyKeyUsed,
    Rewritten,
    TaskCreated,
    TaskUpdated,
)
from domain.identity import disguised, redaction_stream
from domain.redaction import MARK, MOST_BYTES_REWRITTEN, MOST_REWRITTEN
from domain.task import Task

STREAMS_READ_AT_ONCE = 100

# Between two pieces, in which nobody appends: whoever has waited for one gets on.
PAUSE_SECONDS = 0.05


class Stored(Struct, frozen=True, gc=False, kw_only=True):
    """An event with its stored state: the SHA-256 of what it was when it was appended, and whether that is
    there no more. `seen` tells one version of the row from the next; `size` is that of the state, in bytes.
    """

    event: Recorded
    original: bytes
    redacted: bool
    seen: int
    size: int


class Rewrite(Struct, frozen=True, gc=False, kw_only=True):
    """The state that an event is to have, if it is still the one that was `seen`; `told` names it.

    `replaces` is the size of the state that it has now, in bytes.
    """

    told: Rewritten
    seen: int
    state: bytes
    replaces: int


class Run(Struct, frozen=True, gc=False):
    """An execution of a task, and whether it is over."""

    id: UUID
    over: bool


class Runs(Protocol):
    """The ledger, as far as redactions look at it."""

    async def of_task(self, task_id: UUID, position: int) -> Sequence[Run]:
        """Every execution of a task that was begun by a position of the log."""
        ...


class RedactableLog(Protocol):
    """Events by their stored states. Every method raises `LogUnavailable`."""

    async def missing(self, streams: Sequence[UUID]) -> Sequence[UUID]:
        """Those of some streams that the log does not hold."""
        ...

    async def head_version(self, stream: UUID) -> int:
        """The version of a stream's last event; 0: there is none."""
        ...

    async def read_streams(self, streams: Sequence[UUID]) -> Sequence[Stored]:
        """All of some streams, stream by stream, each in order."""
        ...

    async def read_beside(self, events: Sequence[Stored], reach: int) -> Sequence[Stored]:
        """What the commands of some events have appended to other streams, up to so many positions away.

        Of a command whose id was replaced in some of its events already, those as well.
        """
        ...

    def rewrite(self, stored: Stored, fact: AnyFact, meta: Meta) -> Rewrite:
        """What an event is to be rewritten into."""
        ...

    async def redact(self, group: Group, rewrites: Sequence[Rewrite], task_id: UUID) -> int | None:
        """Append the group and rewrite the events, or neither; its last position.

        None: a stream or guard has moved on, or one of the events has become another meanwhile.
        """
        ...


class Redactions:
    """The command that redacts tasks. Raises `LogUnavailable` when the log cannot be reached."""

    def __init__(self, log: EventLog, rows: RedactableLog, runs: Runs, clock: Clock) -> None:
        self._log = log
        self._rows = rows
        self._runs = runs
        self._clock = clock

    async def redact(self, task_id: UUID, request: Request, *, if_match: int | None) -> Accepted:
        """Erase what a task that is over holds; what is erased already is left as it is.

        The task tells that it is redacted once all of it is erased. Raises `TaskNotFound`, `TaskNotOver`,
        `ExecutionsNotOver`, `ExecutionsArchived`, `VersionMismatch` and `IdempotencyKeyReused`.
        """
        for _ in range(MAX_TRIES):
            if earlier := await accepted_before(self._log, request):
                return earlier
            found = await found_task(self._log, task_id, request.namespace)
            now = self._clock.now()
            fact = redaction.redact(found.task, now, if_match)
            runs = await self._over(found)
            told_before = await self._rows.head_version(redaction_stream(task_id))
            pieces = _Pieces(self._rows, found.task, runs, request, now, told_before)
            left = await pieces.all_but_the_last()
            if left == [] and pieces.position is None and found.task.redacted_at is not None:
                return accepted_state(found, changed=False)
            if left is None:
                continue
            after = tasks.evolve(found.task, fact)
            facts = (NewFact(task_id, after.version, fact), *key_use(request, task_id, now))
            position = await pieces.commit(left, facts)
            if position is not None:
                erased = replace(after, definition=redaction.erased_definition(after.definition))
                return accepted_state(Snapshot(position, erased), changed=True)
        raise LogUnavailable(f"task {task_id} is being changed by others all the time")

    async def _over(self, found: Snapshot) -> list[UUID]:
        """The executions of a task, all of which are over and in the log."""
        task_id = found.task.id
        runs = await self._runs.of_task(task_id, found.position)
        if going_on := [run.id for run in runs if not run.over]:
            raise ExecutionsNotOver(task_id, going_on[0], len(going_on))
        ids = [run.id for run in runs]
        if missing := await self._rows.missing(ids):
            raise ExecutionsArchived(task_id, missing[0], len(missing))
        return ids


class _Pieces:
    """One go at a task: some events are rewritten at a time, with the event that tells of them."""

    def __init__(
        self,
        rows: RedactableLog,
        task: Task,
        runs: Sequence[UUID],
        request: Request,
        now: datetime,
        told_before: int,
    ) -> None:
        self._rows = rows
        self._task = task
        self._request = request
        self._now = now
        self._told = told_before
        self._own = {task.id, *runs}
        self._runs = runs
        self._keys: set[UUID] = set()
        self._seen: set[int] = set()
        self.position: int | None = None
        """Of what was told last, None: nothing was."""

    async def all_but_the_last(self) -> list[Rewrite] | None:
        """Rewrite all but the last piece, and answer that one; None: somebody else was faster."""
        left: list[Rewrite] = []
        async for some in self._rewrites():
            left += some
            while (events := _of_a_piece(left)) < len(left):
                guards = (Guard(self._task.id, self._task.version),)
                if await self.commit(left[:events], guards=guards) is None:
                    return None
                del left[:events]
                await asyncio.sleep(PAUSE_SECONDS)
        return left

    async def commit(
        self, rewrites: Sequence[Rewrite], facts: tuple[NewFact, ...] = (), guards: tuple[Guard, ...] = ()
    ) -> int | None:
        """Rewrite a piece, and append further facts with what tells of it."""
        told = tuple(each.told for each in rewrites)
        fact = EventsRedacted(at=self._now, task_id=self._task.id, rewritten=told)
        self._told += 1
        telling = NewFact(redaction_stream(self._task.id), self._told, fact)
        group = Group(facts=(telling, *facts), guards=guards, meta=meta_of(self._request))
        self.position = await self._rows.redact(group, rewrites, self._task.id)
        return self.position

    async def _rewrites(self) -> AsyncIterator[list[Rewrite]]:
        yield await self._of_streams([self._task.id])
        for some in batched(self._runs, STREAMS_READ_AT_ONCE):
            yield await self._of_streams(some)

    async def _of_streams(self, streams: Sequence[UUID]) -> list[Rewrite]:
        """What stands beside an event comes first: it is found by what its rewriting erases."""
        stored = await self._rows.read_streams(streams)
        self._check(stored)
        # The redaction of another task of the same command may have been at the first event before.
        created = [each for each in stored if isinstance(each.event.fact, TaskCreated)]
        others = [
            each
            for each in stored
            if not each.redacted and isinstance(each.event.fact, TaskUpdated | ExecutionRequested)
        ]
        beside = [
            *await self._rows.read_beside(created, MOST_OF_A_COMMAND),
            *await self._rows.read_beside(others, 1),
        ]
        await self._look_at_keys(beside)
        strange = [each for each in beside if each.event.stream not in self._own]
        # Keys come first: the redaction of another task finds its own by the id that its first event has.
        strange.sort(key=lambda each: isinstance(each.event.fact, TaskCreated))
        return list(self._planned(chain(strange, stored)))

    async def _look_at_keys(self, beside: Iterable[Stored]) -> None:
        """A key is erased with the last of the tasks that it stands for: until then a repeat is answered."""
        for each in beside:
            fact = readable(each.event)
            if isinstance(fact, IdempotencyKeyUsed) and self._task.id in redaction.tasks_of(fact):
                others = redaction.tasks_of(fact) - {self._task.id}
                if not await self._rows.missing([redaction_stream(other) for other in others]):
                    self._keys.add(each.event.stream)

    def _planned(self, stored: Iterable[Stored]) -> Iterator[Rewrite]:
        for each in stored:
            position = each.event.position
            if position not in self._seen and (rewrite := self._rewrite(each)) is not None:
                self._seen.add(position)
                yield rewrite

    def _rewrite(self, stored: Stored) -> Rewrite | None:
        event, fact = stored.event, readable(stored.event)
        if not redaction.holds_something(fact):
            return None
        erased, meta = redaction.erased(fact), event.meta
        if event.stream in self._own or event.stream in self._keys:
            meta = erased_meta(meta)
        else:  # of another task, created by the same command: it keeps what it holds
            erased = fact
        if not stored.redacted:
            meta = replace(meta, command_id=disguised(meta.command_id))
        if (erased, meta) == (fact, event.meta):
            return None
        return self._rows.rewrite(stored, erased, meta)

    def _check(self, stored: Iterable[Stored]) -> None:
        """The log decides whether executions are over: the ledger has only told which there are."""
        for stream, of_stream in groupby(stored, key=lambda each: each.event.stream):
            run = fold_execution(stream, [each.event for each in of_stream])
            if run is not None and not isinstance(run, FinishedExecution):
                raise ExecutionsNotOver(self._task.id, run.id, 1)


def _of_a_piece(rewrites: Sequence[Rewrite]) -> int:
    """How many of some are rewritten together: at least one, if there is one."""
    sizes = accumulate(each.replaces for each in rewrites[:MOST_REWRITTEN])
    return max(sum(size <= MOST_BYTES_REWRITTEN for size in sizes), min(len(rewrites), 1))


MOST_OF_A_COMMAND = 2_001
"""Events that one command appends at most: 1,000 tasks, a key of each, and one of the whole request."""


def erased_meta(meta: Meta) -> Meta:
    """Who asked in the course of what; not from where and why."""
    return replace(
        meta,
        address=None if meta.address is None else MARK,
        reason=None if meta.reason is None else MARK,
    )

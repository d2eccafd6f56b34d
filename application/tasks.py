"""Handling commands about tasks: load, decide, append; again when somebody else was faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from msgspec import Struct

from application.ports import Group, LogUnavailable, Meta, NewFact, Snapshot
from application.revisions import Revisions
from application.streams import load_key_use, load_latest
from domain import task as tasks
from domain.admission import admit
from domain.errors import IdempotencyKeyReused, TaskNotFound
from domain.facts import IdempotencyKeyUsed, TaskFact, TaskPaused
from domain.identity import key_stream
from domain.rollback import roll_back
from domain.task import Task

if TYPE_CHECKING:
    from datetime import datetime

    from application.ports import Clock, EventLog
    from domain.definition import Definition

# Losing this often against others on one task means that something writes to it in a loop.
MAX_TRIES = 20


class Request(Struct, frozen=True, kw_only=True):
    """Who asks and how to tell a repeat: `digest` is a hash of the body that `idempotency_key` stands for.

    `address` and `reason` are as in `Meta`.
    """

    namespace: str
    actor: str
    correlation_id: str
    idempotency_key: str | None = None
    digest: str | None = None
    address: str | None = None
    reason: str | None = None


class Accepted(Struct, frozen=True, kw_only=True):
    """The task after a command; `position` is where the log holds it, `changed` False: nothing was new."""

    task_id: UUID
    version: int
    position: int
    state: Task
    replayed: bool = False
    changed: bool = True


class TaskCommands:
    """The commands that change tasks. All raise `LogUnavailable` when the log cannot be reached."""

    def __init__(self, log: EventLog, clock: Clock, new_id: Callable[[], UUID]) -> None:
        """`new_id` makes time-ordered ids (UUIDv7)."""
        self._log = log
        self._clock = clock
        self._new_id = new_id

    async def create(self, definition: Definition, request: Request, *, paused: bool = False) -> Accepted:
        """Accept a new task; a `paused` one never fires before it is resumed.

        Raises `Inadmissible` and `IdempotencyKeyReused`.
        """
        earlier = await accepted_before(self._log, request)
        if earlier is not None:
            return earlier
        now = self._clock.now()
        fact = tasks.create(request.namespace, admit(definition, now), now)
        task_id = self._new_id()
        task, facts = tasks.begin(task_id, fact), [NewFact(task_id, 1, fact)]
        if paused:
            pause = TaskPaused(at=now)
            task = tasks.evolve(task, pause)
            facts.append(NewFact(task_id, task.version, pause))
        group = Group(facts=(*facts, *key_use(request, task_id, now)), meta=meta_of(request))
        position = await self._log.append(group)
        if position is None:
            # The idempotency key was taken meanwhile: by the same request, sent twice at once.
            return await self.create(definition, request, paused=paused)
        return Accepted(task_id=task_id, version=task.version, position=position, state=task)

    async def update(
        self, task_id: UUID, definition: Definition, request: Request, *, if_match: int | None
    ) -> Accepted:
        """Replace a definition.

        Raises `Inadmissible`, `TaskNotFound`, `TaskAlreadyOver` and `VersionMismatch`.
        """

        def decide(task: Task) -> TaskFact | None:
            now = self._clock.now()
            admitted = admit(definition, now, current=task.definition.trigger)
            return tasks.update(task, admitted, now, if_match)

        return await self._change(task_id, request, decide)

    async def roll_back(
        self, task_id: UUID, number: int, request: Request, *, if_match: int | None
    ) -> Accepted:
        """Make the definition of the revision `number` the present one, by a new revision.

        Raises as `update` does, and `RevisionNotFound`, `RevisionInadmissible`, `RevisionIsCurrent` and
        `IdempotencyKeyReused`.
        """
        # A revision never changes: what is read of it now is true whatever happens meanwhile.
        revisions = Revisions(self._log)
        earlier = (await revisions.one(request.namespace, task_id, number)).definition
        return await self._change(
            task_id, request, lambda task: roll_back(task, number, earlier, self._clock.now(), if_match)
        )

    async def pause(
        self, task_id: UUID, note: str | None, request: Request, *, if_match: int | None
    ) -> Accepted:
        """Start nothing until resumed. Raises `TaskNotFound`, `TaskAlreadyOver` and `VersionMismatch`."""
        return await self._change(
            task_id, request, lambda task: tasks.pause(task, note, self._clock.now(), if_match)
        )

    async def resume(self, task_id: UUID, request: Request, *, if_match: int | None) -> Accepted:
        """Go on after a pause. Raises `TaskNotFound`, `TaskAlreadyOver` and `VersionMismatch`."""
        return await self._change(
            task_id, request, lambda task: tasks.resume(task, self._clock.now(), if_match)
        )

    async def cancel(self, task_id: UUID, request: Request, *, if_match: int | None) -> Accepted:
        """Stop a task. Raises `TaskNotFound`, `TaskAlreadyOver` and `VersionMismatch`."""
        return await self._change(
            task_id, request, lambda task: tasks.cancel(task, self._clock.now(), if_match)
        )

    async def _change(
        self, task_id: UUID, request: Request, decide: Callable[[Task], TaskFact | None]
    ) -> Accepted:
        for _ in range(MAX_TRIES):
            if before := await accepted_before(self._log, request):
                return before
            loaded = await found_task(self._log, task_id, request.namespace)
            fact = decide(loaded.task)
            if fact is None:
                return accepted_state(loaded, changed=False)
            after = tasks.evolve(loaded.task, fact)
            facts = (NewFact(task_id, after.version, fact), *key_use(request, task_id, fact.at))
            position = await self._log.append(Group(facts=facts, meta=meta_of(request)))
            if position is not None:
                return accepted_state(Snapshot(position, after), changed=True)
        raise LogUnavailable(f"task {task_id} is being changed by others all the time")


async def found_task(log: EventLog, task_id: UUID, namespace: str) -> Snapshot:
    """A task of a namespace as it stands. Raises `TaskNotFound`."""
    latest = await load_latest(log, task_id)
    if latest is None or latest.task.namespace != namespace:
        raise TaskNotFound(task_id)
    return latest


async def accepted_before(log: EventLog, request: Request) -> Accepted | None:
    """What the first request with this key came to; None: this is it. Raises `IdempotencyKeyReused`."""
    if request.idempotency_key is None:
        return None
    use = await load_key_use(log, key_stream(request.namespace, request.idempotency_key))
    if use is None:
        return None
    if use.digest != (request.digest or ""):
        raise IdempotencyKeyReused(request.idempotency_key)
    found = await found_task(log, use.task_id, request.namespace)
    return accepted_state(found, changed=False, replayed=True)


def accepted_state(loaded: Snapshot, *, changed: bool, replayed: bool = False) -> Accepted:
    """The answer to a command that has come to this state."""
    return Accepted(
        task_id=loaded.task.id,
        version=loaded.task.version,
        position=loaded.position,
        state=loaded.task,
        replayed=replayed,
        changed=changed,
    )


def key_use(
    request: Request, task_id: UUID, now: datetime, execution_id: UUID | None = None
) -> tuple[NewFact, ...]:
    """What makes a request's idempotency key stand for what it led to; nothing without a key."""
    if request.idempotency_key is None:
        return ()
    fact = IdempotencyKeyUsed(
        at=now,
        key=request.idempotency_key,
        namespace=request.namespace,
        task_id=task_id,
        digest=request.digest or "",
        execution_id=execution_id,
    )
    return (NewFact(key_stream(request.namespace, request.idempotency_key), 1, fact),)


def meta_of(request: Request) -> Meta:
    """What an append on somebody's behalf is marked with."""
    return Meta(
        actor=request.actor,
        correlation_id=request.correlation_id,
        command_id=uuid4(),
        address=request.address,
        reason=request.reason,
    )

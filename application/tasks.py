"""Handling commands about tasks: load, decide, append; again when somebody else was faster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import batched, chain
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from msgspec import Struct

from application.ports import Group, LogUnavailable, Meta, NewFact, Snapshot
from application.revisions import Revisions
from application.streams import load_key_use, load_latest, readable
from domain import task as tasks
from domain.definition import Definition
from domain.errors import FieldError, IdempotencyKeyReused, TaskNotFound, ValidationFailed
from domain.facts import IdempotencyKeyUsed, TaskFact, TaskPaused
from domain.identity import key_stream
from domain.rollback import roll_back
from domain.task import Task
from domain.validation import validate

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from application.ports import Clock, EventLog

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

        Raises `ValidationFailed` and `IdempotencyKeyReused`.
        """
        earlier = await accepted_before(self._log, request)
        if earlier is not None:
            return earlier
        now = self._clock.now()
        fact = tasks.create(request.namespace, validate(definition, now), now)
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

        Raises `ValidationFailed`, `TaskNotFound`, `TaskAlreadyOver` and `VersionMismatch`.
        """

        def decide(task: Task) -> TaskFact | None:
            now = self._clock.now()
            admitted = validate(definition, now, current=task.definition.trigger)
            return tasks.update(task, admitted, now, if_match)

        return await self._change(task_id, request, decide)

    async def roll_back(
        self, task_id: UUID, number: int, request: Request, *, if_match: int | None
    ) -> Accepted:
        """Make the definition of the revision `number` the present one, by a new revision.

        Raises as `update` does, and `RevisionNotFound`, `RevisionInvalid`, `RevisionIsCurrent` and
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


# It takes a fraction of a millisecond each: others are served in between.
AT_ONCE = 20


class NewTask(Struct, frozen=True, kw_only=True):
    """A task to be created, or why what was sent is none; `digest` is a hash of what `key` stands for."""

    definition: Definition | Exception
    key: str | None = None
    digest: str = ""


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of a new task: the one created now, the `existing` one under its key, or the refusal."""

    task_id: UUID | None = None
    existing: bool = False
    refusal: Exception | None = None


class Decisions:
    """What is decided at one instant, and the `facts` that it comes to."""

    def __init__(
        self, request: Request, now: datetime, new_id: Callable[[], UUID], used: Iterable[IdempotencyKeyUsed]
    ) -> None:
        """`used` are the keys that are known to be taken; the request's own is, too."""
        self.now = now
        self.facts: list[NewFact] = []
        self._namespace = request.namespace
        self._own_key = request.idempotency_key
        self._new_id = new_id
        self._used = {use.key: use for use in used}

    async def outcomes(self, new_tasks: Sequence[NewTask]) -> tuple[Outcome, ...]:
        """One for each new task, in their order."""
        decided: list[Outcome] = []
        for some in batched(new_tasks, AT_ONCE):
            decided += map(self._outcome, some)
            await asyncio.sleep(0)
        return tuple(decided)

    def _outcome(self, new_task: NewTask) -> Outcome:
        if isinstance(new_task.definition, Exception):
            return Outcome(refusal=new_task.definition)
        if new_task.key is not None and (new_task.key == self._own_key or new_task.key in self._used):
            return self._known(new_task.key, new_task.digest)
        try:
            definition = validate(new_task.definition, self.now)
        except ValidationFailed as refusal:
            return Outcome(refusal=refusal)
        return Outcome(task_id=self._created(definition, new_task))

    def _known(self, key: str, digest: str) -> Outcome:
        use = self._used.get(key)
        if use is None or use.digest != digest:
            return Outcome(refusal=IdempotencyKeyReused(key))
        return Outcome(task_id=use.task_id, existing=True)

    def _created(self, definition: Definition, new_task: NewTask) -> UUID:
        task_id = self._new_id()
        self.facts.append(NewFact(task_id, 1, tasks.create(self._namespace, definition, self.now)))
        if new_task.key is not None:
            use = IdempotencyKeyUsed(
                at=self.now,
                key=new_task.key,
                namespace=self._namespace,
                task_id=task_id,
                digest=new_task.digest,
            )
            self._used[new_task.key] = use
            self.facts.append(NewFact(key_stream(self._namespace, new_task.key), 1, use))
        return task_id


KEYS_READ_AT_ONCE = 10
_REFUSED_BEFORE = FieldError(
    pointer="", detail="It was refused when this request was first made; send it in another request."
)


class AcceptedBulk(Struct, frozen=True, kw_only=True):
    """An outcome for each new task, in their order; `position`: where the log holds the last task, if any."""

    outcomes: tuple[Outcome, ...]
    position: int | None


class _Uses(Struct, frozen=True):
    """Keys that are taken, and where the log holds the last of them."""

    facts: Sequence[IdempotencyKeyUsed] = ()
    position: int | None = None


class BulkCommands:
    """The command that creates many tasks. Raises `LogUnavailable` when the log cannot be reached."""

    def __init__(self, log: EventLog, clock: Clock, new_id: Callable[[], UUID]) -> None:
        """`new_id` makes time-ordered ids (UUIDv7)."""
        self._log = log
        self._clock = clock
        self._new_id = new_id

    async def create(self, new_tasks: Sequence[NewTask], request: Request) -> AcceptedBulk:
        """Accept those that can be: by one append, so that all of them are stored, or none.

        A new task whose key was used for the same before is answered by the task of that time. The request's
        own
        key stands for all new tasks together, once a task is new. Raises `IdempotencyKeyReused`.
        """
        used = _Uses()
        for _ in range(MAX_TRIES):
            if earlier := await self._created_before(new_tasks, request):
                return earlier
            decisions = Decisions(request, self._clock.now(), self._new_id, used.facts)
            outcomes = await decisions.outcomes(new_tasks)
            if not decisions.facts:
                existing = any(outcome.existing for outcome in outcomes)
                return AcceptedBulk(outcomes=outcomes, position=used.position if existing else None)
            facts = (*decisions.facts, *_key_use(request, outcomes, decisions.now))
            position = await self._log.append(Group(facts=facts, meta=meta_of(request)))
            if position is not None:
                return AcceptedBulk(outcomes=outcomes, position=position)
            # Most keys are new: they are looked up only now that one was not.
            used = await self._uses(new_tasks, request)
        raise LogUnavailable("the keys of these tasks are being used by others all the time")

    async def _created_before(self, new_tasks: Sequence[NewTask], request: Request) -> AcceptedBulk | None:
        """The answer of the first time: what was refused then is decided as of then."""
        if request.idempotency_key is None:
            return None
        stream = key_stream(request.namespace, request.idempotency_key)
        event = next(iter(await self._log.read_stream(stream)), None)
        if event is None:
            return None
        use = readable(event)
        if not isinstance(use, IdempotencyKeyUsed) or use.digest != request.digest:
            raise IdempotencyKeyReused(request.idempotency_key)
        left = [
            new_task for new_task, task_id in zip(new_tasks, use.task_ids, strict=True) if task_id is None
        ]
        used = await self._uses(left, request)
        decisions = Decisions(request, use.at, self._new_id, used.facts)
        others = map(_not_created, await decisions.outcomes(left))
        outcomes = [Outcome(task_id=task_id) if task_id else next(others) for task_id in use.task_ids]
        return AcceptedBulk(outcomes=tuple(outcomes), position=event.position)

    async def _uses(self, new_tasks: Sequence[NewTask], request: Request) -> _Uses:
        keys = dict.fromkeys(new_task.key for new_task in new_tasks if new_task.key is not None)
        found: dict[int, IdempotencyKeyUsed] = {}
        for some in batched(keys, KEYS_READ_AT_ONCE):
            reads = (self._log.read_stream(key_stream(request.namespace, key)) for key in some)
            for event in chain.from_iterable(await asyncio.gather(*reads)):
                if isinstance(fact := readable(event), IdempotencyKeyUsed):
                    found[event.position] = fact
        return _Uses(tuple(found.values()), max(found, default=None))


def _key_use(request: Request, outcomes: Sequence[Outcome], now: datetime) -> tuple[NewFact, ...]:
    """What makes the request's key stand for all that it has created; last, so that it tells the position."""
    if request.idempotency_key is None:
        return ()
    created = tuple(None if outcome.existing else outcome.task_id for outcome in outcomes)
    use = IdempotencyKeyUsed(
        at=now,
        key=request.idempotency_key,
        namespace=request.namespace,
        task_id=next(task_id for task_id in created if task_id is not None),
        digest=request.digest or "",
        task_ids=created,
    )
    return (NewFact(key_stream(request.namespace, request.idempotency_key), 1, use),)


def _not_created(outcome: Outcome) -> Outcome:
    """A later release may admit what was refused: it is not created by a repeat."""
    if outcome.existing or outcome.refusal is not None:
        return outcome
    return Outcome(refusal=ValidationFailed([_REFUSED_BEFORE]))

"""Creating many tasks by one request: the good ones are stored together, and each bad one is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import batched, chain
from typing import TYPE_CHECKING

from msgspec import Struct

from application.ports import Group, LogUnavailable, NewFact
from application.streams import readable
from application.tasks import MAX_TRIES, meta_of
from application.wishes import Decisions, Outcome, Wish
from domain.errors import FieldError, IdempotencyKeyReused, Inadmissible
from domain.facts import IdempotencyKeyUsed
from domain.identity import key_stream

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from application.ports import Clock, EventLog
    from application.tasks import Request

KEYS_READ_AT_ONCE = 10
_REFUSED_BEFORE = FieldError(
    pointer="", detail="It was refused when this request was first made; send it in another request."
)


class AcceptedBulk(Struct, frozen=True, kw_only=True):
    """An outcome for each wish, in their order; `position` is where the log holds the last task, if any."""

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

    async def create(self, wishes: Sequence[Wish], request: Request) -> AcceptedBulk:
        """Accept those that can be: by one append, so that all of them are stored, or none.

        A wish whose key was used for the same before is answered by the task of that time. The request's own
        key stands for all wishes together, once a task is new. Raises `IdempotencyKeyReused`.
        """
        used = _Uses()
        for _ in range(MAX_TRIES):
            if earlier := await self._created_before(wishes, request):
                return earlier
            decisions = Decisions(request, self._clock.now(), self._new_id, used.facts)
            outcomes = await decisions.outcomes(wishes)
            if not decisions.facts:
                existing = any(outcome.existing for outcome in outcomes)
                return AcceptedBulk(outcomes=outcomes, position=used.position if existing else None)
            facts = (*decisions.facts, *_key_use(request, outcomes, decisions.now))
            position = await self._log.append(Group(facts=facts, meta=meta_of(request)))
            if position is not None:
                return AcceptedBulk(outcomes=outcomes, position=position)
            # Most keys are new: they are looked up only now that one was not.
            used = await self._uses(wishes, request)
        raise LogUnavailable("the keys of these tasks are being used by others all the time")

    async def _created_before(self, wishes: Sequence[Wish], request: Request) -> AcceptedBulk | None:
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
        left = [wish for wish, task_id in zip(wishes, use.task_ids, strict=True) if task_id is None]
        used = await self._uses(left, request)
        decisions = Decisions(request, use.at, self._new_id, used.facts)
        others = map(_not_created, await decisions.outcomes(left))
        outcomes = [Outcome(task_id=task_id) if task_id else next(others) for task_id in use.task_ids]
        return AcceptedBulk(outcomes=tuple(outcomes), position=event.position)

    async def _uses(self, wishes: Sequence[Wish], request: Request) -> _Uses:
        keys = dict.fromkeys(wish.key for wish in wishes if wish.key is not None)
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
    return Outcome(refusal=Inadmissible([_REFUSED_BEFORE]))

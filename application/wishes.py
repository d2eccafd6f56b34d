"""Deciding many new tasks, one after the other, each in view of the ones before it."""

from __future__ import annotations

import asyncio
from itertools import batched
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from application.ports import NewFact
from domain import task as tasks
from domain.admission import admit
from domain.definition import Definition
from domain.errors import IdempotencyKeyReused, Inadmissible
from domain.facts import IdempotencyKeyUsed
from domain.identity import key_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from application.tasks import Request

# It takes a fraction of a millisecond each: others are served in between.
AT_ONCE = 20


class Wish(Struct, frozen=True, kw_only=True):
    """A task to be created, or why what was sent is none; `digest` is a hash of what `key` stands for."""

    definition: Definition | Exception
    key: str | None = None
    digest: str = ""


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of a wish: the task that was created now, or `existing` under its key; or the refusal."""

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

    async def outcomes(self, wishes: Sequence[Wish]) -> tuple[Outcome, ...]:
        """One for each wish, in their order."""
        decided: list[Outcome] = []
        for some in batched(wishes, AT_ONCE):
            decided += map(self._outcome, some)
            await asyncio.sleep(0)
        return tuple(decided)

    def _outcome(self, wish: Wish) -> Outcome:
        if isinstance(wish.definition, Exception):
            return Outcome(refusal=wish.definition)
        if wish.key is not None and (wish.key == self._own_key or wish.key in self._used):
            return self._known(wish.key, wish.digest)
        try:
            definition = admit(wish.definition, self.now)
        except Inadmissible as refusal:
            return Outcome(refusal=refusal)
        return Outcome(task_id=self._created(definition, wish))

    def _known(self, key: str, digest: str) -> Outcome:
        use = self._used.get(key)
        if use is None or use.digest != digest:
            return Outcome(refusal=IdempotencyKeyReused(key))
        return Outcome(task_id=use.task_id, existing=True)

    def _created(self, definition: Definition, wish: Wish) -> UUID:
        task_id = self._new_id()
        self.facts.append(NewFact(task_id, 1, tasks.create(self._namespace, definition, self.now)))
        if wish.key is not None:
            use = IdempotencyKeyUsed(
                at=self.now, key=wish.key, namespace=self._namespace, task_id=task_id, digest=wish.digest
            )
            self._used[wish.key] = use
            self.facts.append(NewFact(key_stream(self._namespace, wish.key), 1, use))
        return task_id

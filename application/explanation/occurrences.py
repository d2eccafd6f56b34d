"""A task's nominal instants in a window, past and future, each with what came of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from msgspec import Struct

from application.explanation.silence import explain_silence
from domain.identity import execution_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from application.explanation.claims import Now
    from application.explanation.explainer import Explainer
    from application.explanation.history import History

LONGEST_WINDOW = timedelta(days=366)
_STEP = timedelta(milliseconds=1)


class Accounted(Struct, frozen=True, kw_only=True):
    """What the ledger says about one occurrence."""

    execution_id: UUID
    due_at: datetime
    status: str
    reason: str | None


class Ledger(Protocol):
    """The occurrence ledger."""

    async def accounted(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime
    ) -> Sequence[Accounted]:
        """The scheduled and backfilled occurrences that are due from `start` and before `end`."""
        ...


class Instant(Struct, frozen=True, kw_only=True):
    """A nominal instant of a task: `outcome` is the ledger's status, or what `reason` says in a sentence."""

    due_at: datetime
    execution_id: UUID
    outcome: str
    reason: str | None


class Window(Struct, frozen=True, kw_only=True):
    """Instants from `start` and before `end`; `next_from` is where the rest begins (None: that is all)."""

    start: datetime
    end: datetime
    items: tuple[Instant, ...]
    next_from: datetime | None


class Occurrences:
    """Puts schedule and ledger side by side; what the ledger does not know yet is asked of the log."""

    def __init__(self, explainer: Explainer, ledger: Ledger, clock: Now) -> None:
        self._explainer = explainer
        self._ledger = ledger
        self._clock = clock

    async def window(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime, limit: int
    ) -> Window:
        """Up to `limit` instants from `start` and before `end`.

        Raises `TaskNotFound` and `LogUnavailable`.
        """
        history = await self._explainer.history(namespace, task_id)
        last = await self._explainer.end_of(history)
        nominal_end = end if last is None else min(end, last + _STEP)
        nominal = [
            due_at
            for due_at, _ in zip(
                nominal_instants(history, start, nominal_end), range(limit + 1), strict=False
            )
        ]
        reach = nominal[limit] if len(nominal) > limit else end
        known = await self._ledger.accounted(namespace, task_id, start, reach)
        rows = {row.due_at: row for row in known}
        instants = sorted({*nominal, *rows})
        shown, rest = instants[:limit], instants[limit:]
        items = [
            _of_row(rows[due_at]) if due_at in rows else await self._without_row(history, due_at)
            for due_at in shown
        ]
        return Window(start=start, end=end, items=tuple(items), next_from=rest[0] if rest else None)

    async def _without_row(self, history: History, due_at: datetime) -> Instant:
        task, now = history.task, self._clock.now()
        execution = execution_id(task.id, due_at, "scheduled")
        if due_at > now:
            found = explain_silence(history, due_at, now, None)
            return Instant(due_at=due_at, execution_id=execution, outcome=found.verdict, reason=found.summary)
        told = await self._explainer.task(task.namespace, task.id, due_at)
        return Instant(due_at=due_at, execution_id=execution, outcome=told.verdict, reason=told.summary)


def nominal_instants(history: History, start: datetime, end: datetime) -> Iterator[datetime]:
    """Every occurrence from `start` and before `end`, in order, found one at a time."""
    due_at = history.first_from(start)
    while due_at is not None and due_at < end:
        yield due_at
        due_at = history.first_from(due_at + _STEP)


def _of_row(row: Accounted) -> Instant:
    return Instant(due_at=row.due_at, execution_id=row.execution_id, outcome=row.status, reason=row.reason)

"""The redactions' port to the occurrence ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from application.redaction import Run
from interfaces.http.refusals import NotYetVisible

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from interfaces.http.dependencies import Visibility


class Ledger(Protocol):
    """The executions of tasks."""

    async def runs(self, task_id: UUID, /) -> Sequence[tuple[UUID, bool]]:
        """Each, and whether it is over. Raises `psycopg.OperationalError` when the database is away."""
        ...


class RunsOfReadModels:
    """`application.redaction.Runs` over the read model, once it is as far as is asked for."""

    def __init__(self, ledger: Ledger, visibility: Visibility, timeout_seconds: float) -> None:
        self._ledger = ledger
        self._visibility = visibility
        self._timeout_seconds = timeout_seconds

    async def of_task(self, task_id: UUID, position: int) -> Sequence[Run]:
        """See `Runs`. Raises `NotYetVisible` and what the read models raise."""
        if not await self._visibility.wait_for(position, self._timeout_seconds):
            raise NotYetVisible(position)
        return [Run(run, over) for run, over in await self._ledger.runs(task_id)]

"""The commands that the HTTP layer gives, as protocols; `interfaces.bootstrap` makes them real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from application.bulk import AcceptedBulk
    from application.executions import AcceptedExecution, Backfilled
    from application.tasks import Accepted, Request
    from application.wishes import Wish
    from domain.definition import Definition
    from domain.requesting import Period


class Commands(Protocol):
    """The write side. Raises the refusals of `domain.errors` and `application.ports.LogUnavailable`."""

    async def create(self, definition: Definition, request: Request) -> Accepted:
        """Accept a new task."""
        ...

    async def update(
        self, task_id: UUID, definition: Definition, request: Request, *, if_match: int | None
    ) -> Accepted:
        """Replace a task's definition."""
        ...

    async def roll_back(
        self, task_id: UUID, number: int, request: Request, *, if_match: int | None
    ) -> Accepted:
        """Make the definition of an earlier revision the present one."""
        ...

    async def pause(
        self, task_id: UUID, note: str | None, request: Request, *, if_match: int | None
    ) -> Accepted:
        """Start nothing until resumed."""
        ...

    async def resume(self, task_id: UUID, request: Request, *, if_match: int | None) -> Accepted:
        """Go on after a pause."""
        ...

    async def cancel(self, task_id: UUID, request: Request, *, if_match: int | None) -> Accepted:
        """Stop a task for good."""
        ...


class BulkCommands(Protocol):
    """Commands about many tasks. Raises as `Commands` does."""

    async def create(self, wishes: Sequence[Wish], request: Request) -> AcceptedBulk:
        """Accept many new tasks."""
        ...


class ExecutionCommands(Protocol):
    """Commands about executions. Raises as `Commands` does."""

    async def trigger(self, task_id: UUID, request: Request, *, if_match: int | None) -> AcceptedExecution:
        """Run a task now."""
        ...

    async def backfill(self, task_id: UUID, period: Period, request: Request) -> Backfilled:
        """Run occurrences of the past that have not run."""
        ...

    async def cancel(self, run: UUID, note: str | None, request: Request) -> AcceptedExecution:
        """Break an execution off."""
        ...


class Redactions(Protocol):
    """The command that erases. Raises as `Commands` does, and `interfaces.http.refusals.NotYetVisible`."""

    async def redact(self, task_id: UUID, request: Request, *, if_match: int | None) -> Accepted:
        """Erase what a task that is over, and its executions, hold."""
        ...

"""A task at the occurrence where it stands: what claiming decides upon."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from domain.definition import Definition
from domain.facts import Occurrence
from domain.schedule import fires_at, next_after
from domain.task import Pause


class Due(Struct, frozen=True, gc=False, kw_only=True):
    """A task at the occurrence where it stands, after so many `runs`; `pause` is its last one."""

    task_id: UUID
    version: int
    namespace: str
    definition: Definition
    due_at: datetime
    runs: int = 0
    pause: Pause | None = None

    def occurrence(self, due_at: datetime, run: int) -> Occurrence:
        """One of the task's scheduled occurrences."""
        return Occurrence(
            task_id=self.task_id,
            task_version=self.version,
            task_name=self.definition.name,
            namespace=self.namespace,
            due_at=due_at,
            fire_at=self.delayed(due_at),
            run=run,
        )

    def after(self, due_at: datetime) -> datetime | None:
        """The occurrence that follows one; None: it is the last."""
        return next_after(self.definition.trigger, due_at)

    def fires_at(self, due_at: datetime) -> datetime:
        """When the call of an occurrence is to be sent."""
        return fires_at(self.definition.trigger, self.task_id, due_at)

    def delayed(self, due_at: datetime | None) -> datetime | None:
        """The same, unless it is the instant of the occurrence itself."""
        fire_at = None if due_at is None else self.fires_at(due_at)
        return None if fire_at == due_at else fire_at

    def in_pause(self, due_at: datetime) -> bool:
        """Whether an occurrence fell into the last pause."""
        return self.pause is not None and self.pause.since <= due_at < self.pause.until

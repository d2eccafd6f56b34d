"""Groups to append, for tests of the log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from application.ports import Group, Guard, Meta, NewFact
from domain.definition import Action, Cron, Definition
from domain.facts import ExecutionStarted, Occurrence, TaskCancelled, TaskCreated, TaskUpdated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from application.ports import Recorded
    from domain.facts import AnyFact

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def meta() -> Meta:
    """A command of its own."""
    return Meta(actor="tester", correlation_id="", command_id=uuid4())


def definition(name: str = "report") -> Definition:
    """A valid one."""
    return Definition(
        name=name,
        trigger=Cron(cron="* * * * *"),
        action=Action(method="GET", url="http://localhost/report"),
    )


def created(name: str = "report") -> TaskCreated:
    """A task's first fact."""
    return TaskCreated(at=NOON, namespace="default", definition=definition(name), next_run_at=NOON)


def updated(name: str = "report") -> TaskUpdated:
    """A task's later fact."""
    return TaskUpdated(at=NOON, definition=definition(name), next_run_at=None)


def cancelled() -> TaskCancelled:
    """A task's last fact."""
    return TaskCancelled(at=NOON)


def started(task_id: UUID, node: str = "node-1", task_version: int = 1) -> ExecutionStarted:
    """A claim."""
    occurrence = Occurrence(
        task_id=task_id, task_version=task_version, task_name="report", namespace="default", due_at=NOON
    )
    return ExecutionStarted(
        at=NOON,
        occurrence=occurrence,
        node=node,
        lease_until=NOON + timedelta(minutes=1),
        next_run_at=NOON + timedelta(minutes=1),
    )


def group(stream: UUID, version: int, *facts: AnyFact, guards: Sequence[tuple[UUID, int]] = ()) -> Group:
    """Facts (one `TaskCreated` unless told) in one stream, the first of them at `version`."""
    new = tuple(
        NewFact(stream, place, fact) for place, fact in enumerate(facts or (created(),), start=version)
    )
    return Group(facts=new, guards=tuple(Guard(*guard) for guard in guards), meta=meta())


def claim(execution: UUID, task: UUID, task_version: int, node: str = "node-1") -> Group:
    """The claim of an occurrence of a task that must still be at a version."""
    return group(execution, 1, started(task, node, task_version), guards=[(task, task_version)])


def places(events: Sequence[Recorded]) -> list[tuple[UUID, int]]:
    """Where each event stands in its stream."""
    return [(event.stream, event.version) for event in events]

"""Short words for recorded facts about one task and its executions, at one noon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from application.ports import Meta, NewFact, Recorded, Undecodable
from domain.definition import Action, Cron, Definition
from domain.facts import (
    Answered,
    Attempt,
    AttemptFailed,
    AttemptStarted,
    EventsRedacted,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    Occurrence,
    OccurrenceKind,
    Rewritten,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskUpdated,
    Unanswered,
)
from domain.identity import redaction_stream

if TYPE_CHECKING:
    from domain.facts import Answer, Outcome

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
TASK = UUID(int=1)
RUN = UUID(int=2)
META = Meta(actor="test", correlation_id="test", command_id=UUID(int=0))


def after(seconds: float) -> datetime:
    """An instant after noon."""
    return NOON + timedelta(seconds=seconds)


def definition(name: str = "report", **action: Any) -> Definition:
    return Definition(
        name=name,
        trigger=Cron(cron="* * * * *"),
        action=Action(**{"method": "GET", "url": "http://127.0.0.1/", **action}),
    )


def created(*, stream: UUID = TASK, namespace: str = "default", name: str = "report") -> NewFact:
    fact = TaskCreated(at=NOON, namespace=namespace, definition=definition(name), next_run_at=after(60))
    return NewFact(stream, 1, fact)


def updated(*, version: int = 2, next_run: datetime | None = None, name: str = "renamed") -> NewFact:
    fact = TaskUpdated(at=after(version), definition=definition(name), next_run_at=next_run)
    return NewFact(TASK, version, fact)


def cancelled(*, version: int = 2) -> NewFact:
    return NewFact(TASK, version, TaskCancelled(at=after(version)))


def completed(outcome: Outcome, *, version: int = 2) -> NewFact:
    return NewFact(TASK, version, TaskCompleted(at=after(version), outcome=outcome, execution_id=RUN))


def occurrence(task_version: int = 1, kind: OccurrenceKind = "scheduled", task: UUID = TASK) -> Occurrence:
    return Occurrence(
        task_id=task,
        task_version=task_version,
        task_name="report",
        namespace="default",
        due_at=NOON,
        kind=kind,
    )


def started(
    *,
    task_version: int = 1,
    kind: OccurrenceKind = "scheduled",
    next_run: datetime | None = None,
    stream: UUID = RUN,
    task: UUID = TASK,
    version: int = 1,
) -> NewFact:
    fact = ExecutionStarted(
        at=after(0.01),
        occurrence=occurrence(task_version, kind, task),
        node="node-1",
        lease_until=after(60),
        next_run_at=next_run,
    )
    return NewFact(stream, version, fact)


def skipped(
    *, version: int = 1, task_version: int = 1, next_run: datetime | None = None, stream: UUID = RUN
) -> NewFact:
    fact = ExecutionSkipped(
        at=after(1), occurrence=occurrence(task_version), reason="missed", next_run_at=next_run
    )
    return NewFact(stream, version, fact)


def answered(status_code: int = 200, body: str = "hello", **rest: Any) -> Answered:
    return Answered(status_code=status_code, headers={"content-type": "text/plain"}, body=body, **rest)


def attempt(
    number: int, answer: Answer, *, started_at: datetime | None = None, duration_ms: int = 12
) -> Attempt:
    at = started_at or after(number)
    return Attempt(number=number, started_at=at, duration_ms=duration_ms, answer=answer)


def attempt_failed(version: int, made: Attempt) -> NewFact:
    return NewFact(
        RUN,
        version,
        AttemptFailed(at=after(version), task_id=TASK, attempt=made, retry_at=after(30)),
    )


def attempt_started(version: int, number: int) -> NewFact:
    fact = AttemptStarted(
        at=after(31), task_id=TASK, task_version=2, number=number, node="node-2", lease_until=after(90)
    )
    return NewFact(RUN, version, fact)


def taken_over(version: int, number: int) -> NewFact:
    fact = ExecutionTakenOver(
        at=after(61),
        task_id=TASK,
        task_version=1,
        number=number,
        node="node-2",
        lost_by="node-1",
        lease_until=after(120),
    )
    return NewFact(RUN, version, fact)


def succeeded(version: int, made: Attempt, *, stream: UUID = RUN) -> NewFact:
    return NewFact(stream, version, ExecutionSucceeded(at=after(5), task_id=TASK, attempt=made))


def failed(version: int, made: Attempt | None) -> NewFact:
    return NewFact(
        RUN, version, ExecutionFailed(at=after(5), task_id=TASK, attempt=made, reason="no attempt left")
    )


def execution_cancelled(version: int) -> NewFact:
    return NewFact(
        RUN, version, ExecutionCancelled(at=after(40), task_id=TASK, reason="the task is cancelled")
    )


def unanswered(error: str = "connection refused") -> Unanswered:
    return Unanswered(error=error)


def log(*facts: NewFact, first_position: int = 1) -> list[Recorded]:
    """The facts as the log holds them, in this order."""
    return [
        Recorded(
            position=position,
            stream=new.stream,
            version=new.version,
            fact=new.fact,
            meta=META,
            recorded_at=NOON,
        )
        for position, new in enumerate(facts, first_position)
    ]


def requested(version: int = 1, kind: OccurrenceKind = "manual") -> NewFact:
    return NewFact(RUN, version, ExecutionRequested(at=after(0), occurrence=occurrence(kind=kind)))


def redaction(*streams: UUID, task_id: UUID = TASK) -> NewFact:
    """What tells that the first event of each of these streams was rewritten."""
    rewritten = tuple(Rewritten(1, stream, "") for stream in streams)
    return NewFact(
        redaction_stream(task_id), 1, EventsRedacted(at=NOON, task_id=task_id, rewritten=rewritten)
    )


def undecodable(stream: UUID) -> Recorded:
    """An event at position 7 that a later release wrote."""
    fact = Undecodable(topic="execution.paused.v9", error="a later release wrote it")
    return Recorded(position=7, stream=stream, version=2, fact=fact, meta=META, recorded_at=NOON)


type Columns = dict[str, Any]


def columns(**values: Any) -> Columns:
    """Some columns of a row, to compare it with."""
    return values


def shown(row: object, like: Columns) -> Columns:
    """The same columns of a row."""
    return {name: getattr(row, name) for name in like}

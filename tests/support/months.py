"""Logs whose executions fall into months, under the ids that such executions have."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from application.ports import NewFact
from domain.definition import Action, Cron, Definition
from domain.facts import (
    Answered,
    AnyFact,
    Attempt,
    AttemptFailed,
    AttemptStarted,
    ExecutionFailed,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    Occurrence,
    TaskCreated,
    Unanswered,
)
from domain.identity import Month, execution_id

JANUARY, FEBRUARY, MARCH, APRIL = (Month(2026, number) for number in (1, 2, 3, 4))
TASKS = tuple(UUID(int=(1_767_000_000_000 + number) << 80 | 7 << 76 | 2 << 62) for number in (1, 2, 3))
_HOUR = timedelta(hours=1)


def run_of(task: UUID, month: Month, day: int) -> UUID:
    """The execution that a task has on a day."""
    return execution_id(task, due(month, day), "scheduled")


def due(month: Month, day: int) -> datetime:
    """Noon of a day."""
    return month.start + timedelta(days=day - 1, hours=12)


def created(task: UUID) -> NewFact:
    """A task that is due at every noon."""
    definition = Definition(
        name="report",
        trigger=Cron(cron="0 12 * * *"),
        action=Action(method="GET", url="http://127.0.0.1/"),
    )
    fact = TaskCreated(
        at=datetime(2025, 12, 31, tzinfo=UTC),
        namespace="default",
        definition=definition,
        next_run_at=due(JANUARY, 1),
    )
    return NewFact(task, 1, fact)


def started(task: UUID, month: Month, day: int) -> NewFact:
    """The claim of a day's execution; the next one is a day later."""
    at = due(month, day)
    fact = ExecutionStarted(
        at=at,
        occurrence=_occurrence(task, at),
        node="node-1",
        lease_until=at + _HOUR,
        next_run_at=at + timedelta(days=1),
    )
    return NewFact(run_of(task, month, day), 1, fact)


def succeeded(task: UUID, month: Month, day: int, body: str = "done") -> NewFact:
    """The end of what was started."""
    at = due(month, day)
    answer = Answered(status_code=200, headers={}, body=body)
    made = Attempt(number=1, started_at=at, duration_ms=5, answer=answer)
    return NewFact(run_of(task, month, day), 2, ExecutionSucceeded(at=at, task_id=task, attempt=made))


def year_of(days: int = 28, months: int = 3) -> list[NewFact]:
    """Three tasks at every noon of some days of some months from January on: some succeed, fail, are skipped.

    What is tried again on a month's last day fails in the next one, so the months lie across each other.
    """
    facts = [created(task) for task in TASKS]
    late: list[NewFact] = []
    year = [Month(2026, 1 + number) for number in range(months)]
    for month, day in itertools.product(year, range(1, days + 1)):
        for number, task in enumerate(TASKS):
            facts += [new for new in late if day == 3]
            late = [] if day == 3 else late
            if (number + day) % 3 == 0:
                facts += [started(task, month, day), succeeded(task, month, day, f"{month} {day} ✓ \0")]
            elif (number + day) % 3 == 1:
                facts.append(_skipped(task, month, day))
            else:
                first, *rest = _failing(task, month, day)
                facts.append(first)
                if day == days:
                    late += rest
                else:
                    facts += rest
    return [*facts, *late, *_followed(Month(2026, 1 + months))]


def _followed(month: Month) -> Iterator[NewFact]:
    for task in TASKS:
        yield started(task, month, 1)
        yield succeeded(task, month, 1)


def _failing(task: UUID, month: Month, day: int) -> Iterator[NewFact]:
    at = due(month, day)
    run = run_of(task, month, day)
    made = Attempt(number=1, started_at=at, duration_ms=5, answer=Unanswered(error="refused"))
    again = Attempt(number=2, started_at=at + _HOUR, duration_ms=5, answer=Unanswered(error="refused"))
    yield started(task, month, day)
    facts: tuple[AnyFact, ...] = (
        AttemptFailed(at=at, task_id=task, attempt=made, retry_at=at + _HOUR),
        AttemptStarted(
            at=at + _HOUR,
            task_id=task,
            task_version=1,
            number=2,
            node="node-1",
            lease_until=at + 2 * _HOUR,
        ),
        ExecutionFailed(at=at + _HOUR, task_id=task, attempt=again, reason="no attempt left"),
    )
    for version, fact in enumerate(facts, 2):
        yield NewFact(run, version, fact)


def _skipped(task: UUID, month: Month, day: int) -> NewFact:
    at = due(month, day)
    fact = ExecutionSkipped(
        at=at, occurrence=_occurrence(task, at), reason="missed", next_run_at=at + timedelta(days=1)
    )
    return NewFact(run_of(task, month, day), 1, fact)


def _occurrence(task: UUID, at: datetime) -> Occurrence:
    return Occurrence(
        task_id=task, task_version=1, task_name="report", namespace="default", due_at=at, kind="scheduled"
    )

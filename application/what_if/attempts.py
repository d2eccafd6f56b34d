"""What simulated attempts bring: what is recorded of them, else what is assumed."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from application.what_if.record import Step
from application.what_if.state import Key
from domain import ending
from domain import execution as executions
from domain.attempt import Answered, Attempt
from domain.execution import Lease, Running
from domain.facts import ExecutionFact, ExecutionSucceeded

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from application.what_if.record import Record, Told
    from domain.definition import Definition
    from domain.task import Task

type Brought = Callable[[Running, Definition, Task, datetime], ExecutionFact]

_MILLISECOND = timedelta(milliseconds=1)


class Attempts:
    """The attempts of one task. `assumed` are the executions of those of which nothing is recorded."""

    def __init__(self, record: Record, usual: timedelta) -> None:
        """`usual` is how long one takes of which nothing is recorded."""
        self._record = record
        self._usual = usual
        self.assumed: set[UUID] = set()

    def of(self, running: Running, begun: datetime, send_at: datetime) -> tuple[Step, Brought]:
        """When the attempt that is under way ends, and what it comes to by then."""
        told = self._record.told(running.id, running.attempts, begun)
        if told is None:
            return self._assumed(send_at, send_at + self._usual)
        lasted = told.end.key.at - told.begun
        if told.cut:
            return self._assumed(send_at, max(send_at + self._usual, begun + lasted + _MILLISECOND))
        if told.attempt is None:
            end = told.end if told.begun == begun else _at(begun + lasted)
            return end, partial(_unsent, self._assumed(send_at, end.now)[1]) if told.unsent else _lost
        if told.begun == begun:
            return told.end, partial(_concluded, told, told.attempt)
        end_at = send_at + timedelta(milliseconds=told.attempt.duration_ms)
        return _at(end_at), partial(_concluded, told, replace(told.attempt, started_at=send_at))

    def known(self, running: Running, begun: datetime, send_at: datetime) -> bool:
        """Whether the very attempt that is under way is recorded, beyond the instant to send it at."""
        told = self._record.told(running.id, running.attempts, begun)
        return told is not None and told.begun == begun and (not told.cut or told.end.key.at > send_at)

    def _assumed(self, send_at: datetime, end: datetime) -> tuple[Step, Brought]:
        def succeeded(running: Running, _called: Definition, _task: Task, now: datetime) -> ExecutionFact:
            self.assumed.add(running.id)
            attempt = Attempt(
                number=running.attempts,
                started_at=send_at,
                duration_ms=(end - send_at) // _MILLISECOND,
                answer=Answered(status_code=200),
            )
            return ExecutionSucceeded(at=now, task_id=running.occurrence.task_id, attempt=attempt)

        return _at(end), succeeded


def _concluded(
    told: Told, attempt: Attempt, running: Running, called: Definition, _task: Task, now: datetime
) -> ExecutionFact:
    """What was answered is judged by the definition that was called."""
    numbered = replace(attempt, number=running.attempts)
    return executions.conclude(running, numbered, called, now, told.chance)


def _lost(running: Running, called: Definition, task: Task, now: datetime) -> ExecutionFact:
    """Its node is gone: another one goes on with it, as far as the task allows."""
    return (
        ending.drop(running, called, task, now, unsent=False)
        or ending.give_up(running, task.definition, now)
        or executions.take_over(running, Lease(node="simulation", task_version=task.version, until=now), now)
    )


def _unsent(sent: Brought, running: Running, called: Definition, task: Task, now: datetime) -> ExecutionFact:
    """It had to wait for its turn for too long; by another policy it is sent, and is assumed to succeed."""
    return (
        ending.drop(running, called, task, now, unsent=True)
        or ending.lapse(running, task.definition, now)
        or sent(running, called, task, now)
    )


def _at(instant: datetime) -> Step:
    return Step(Key(instant), instant)

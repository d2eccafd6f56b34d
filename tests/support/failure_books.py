"""What the ends of executions mean for their tasks: counted failures, pauses, and targets that are gone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from domain.facts import (
    Answered,
    AttemptStarted,
    ExecutionFailed,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    TaskCancelled,
    TaskCompleted,
    TaskFailuresCounted,
    TaskPaused,
    TaskResumed,
    TaskUpdated,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from application.ports import Recorded
    from domain.definition import Definition
    from domain.facts import AnyFact
    from tests.support.books import Ledger

GONE = 410


@dataclass
class Failures:
    """How many executions of each task have failed in a row, by the ends in the log alone."""

    in_a_row: Counter[UUID] = field(default_factory=Counter)
    numbers: dict[UUID, int] = field(default_factory=dict)
    paused: int = 0
    gone: int = 0

    def read(self, group: Sequence[Recorded], ledger: Ledger) -> None:
        """Follow what was appended together, before the ledger does."""
        for event in group:
            match event.fact:
                case ExecutionStarted():
                    self.numbers[event.stream] = 1
                case AttemptStarted(number=number) | ExecutionTakenOver(number=number):
                    self.numbers[event.stream] = number
                case TaskUpdated() | TaskResumed():
                    self.in_a_row[event.stream] = 0
                case ExecutionSucceeded() | ExecutionFailed():
                    self._end(event, [other.fact for other in group if other is not event], ledger)
                case TaskFailuresCounted(execution_id=counted):
                    assert counted in {other.stream for other in group}, "of no end"
                case _:
                    pass

    def _end(self, event: Recorded, following: list[object], ledger: Ledger) -> None:
        fact = event.fact
        assert isinstance(fact, ExecutionSucceeded | ExecutionFailed)
        called = ledger.called(event.stream, self.numbers[event.stream])
        if [type(each) for each in following] == [TaskCompleted]:
            return
        if not following and called.retry.disable_after_failures is None and not _gone(fact, called):
            return  # it is not looked whether the task has got a bound while this was called
        expected = self._expected(fact, called, ledger)
        assert [type(each) for each in following] == [kind for kind, _ in expected], f"{fact}: {following}"
        for each, (_, failures) in zip(following, expected, strict=True):
            assert not isinstance(each, TaskFailuresCounted) or each.failures == failures
            assert not isinstance(each, TaskPaused) or each.note is not None
            assert not isinstance(each, TaskCancelled) or each.reason is not None

    def _expected(
        self, fact: ExecutionSucceeded | ExecutionFailed, called: Definition, ledger: Ledger
    ) -> list[tuple[type[AnyFact], int]]:
        task_id, current = fact.task_id, ledger.current(fact.task_id)
        if task_id in ledger.over or current.action != called.action:
            return []
        if _gone(fact, called) and current.retry.on_gone == "stop":
            self.gone += 1
            return [(TaskCancelled, 0)]
        most, before = current.retry.disable_after_failures, self.in_a_row[task_id]
        failures = 0 if isinstance(fact, ExecutionSucceeded) else before + 1
        if most is None or failures == before:
            return []
        self.in_a_row[task_id] = failures
        counted: list[tuple[type[AnyFact], int]] = [(TaskFailuresCounted, failures)]
        if failures < most or task_id in ledger.paused:
            return counted
        self.paused += 1
        return [*counted, (TaskPaused, failures)]


def _gone(fact: ExecutionSucceeded | ExecutionFailed, called: Definition) -> bool:
    if isinstance(fact, ExecutionSucceeded) or fact.attempt is None or fact.unmet is not None:
        return False
    answer = fact.attempt.answer
    return isinstance(answer, Answered) and answer.status_code == GONE and called.retry.on_gone == "stop"

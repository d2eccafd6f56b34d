"""What the log says after a chaos, read by somebody who trusts neither schedulers nor tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, get_args

import psycopg

from application.streams import fold_execution, fold_task
from domain import execution as executions
from domain import task as tasks
from domain.facts import (
    Answered,
    AttemptFailed,
    AttemptStarted,
    ExecutionFact,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    Fact,
    TaskCompleted,
    TaskFact,
    TaskFailuresCounted,
)
from infrastructure.event_store.log import READ_AFTER, recorded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from application.ports import Recorded
    from domain.execution import Execution
    from domain.task import Task
    from tests.e2e.workload import Accepted

type Sent = tuple[str, int]
"""An attempt of an execution, by its key and number."""

_EXECUTION_FACTS = get_args(ExecutionFact.__value__)
_TASK_FACTS = get_args(TaskFact.__value__)


def read_log(dsn: str) -> list[Recorded]:
    """Every event, in order."""
    with psycopg.connect(dsn) as connection, connection.cursor(binary=True) as cursor:
        return [recorded(row) for row in cursor.execute(READ_AFTER.encode(), (0, None))]


class Books:
    """The log of a workload, folded; `planned` names every occurrence that there should be."""

    def __init__(self, accepted: Sequence[Accepted], events: Iterable[Recorded]) -> None:
        self.accepted = accepted
        self.task_of = {name: task for task in accepted for name in task.executions()}
        self._streams: defaultdict[UUID, list[Recorded]] = defaultdict(list)
        for event in events:
            self._streams[event.stream].append(event)

    @cached_property
    def executions(self) -> dict[UUID, Execution]:
        """Every execution that the log tells of."""
        folded = ((stream, fold_execution(stream, events)) for stream, events in self._of(_EXECUTION_FACTS))
        return {stream: execution for stream, execution in folded if execution is not None}

    @cached_property
    def tasks(self) -> dict[UUID, Task]:
        """Every task that the log tells of."""
        folded = ((stream, fold_task(stream, events)) for stream, events in self._of(_TASK_FACTS))
        return {stream: task for stream, task in folded if task is not None}

    @cached_property
    def claims(self) -> dict[Sent, list[Recorded]]:
        """The claims of every attempt; a claim that a scheduler renews before it sends is one more."""
        claims: defaultdict[Sent, list[Recorded]] = defaultdict(list)
        for stream in self.executions:
            for event in self._streams[stream]:
                match event.fact:
                    case ExecutionStarted():
                        claims[str(stream), 1].append(event)
                    case AttemptStarted(number=number) | ExecutionTakenOver(number=number):
                        claims[str(stream), number].append(event)
                    case _:
                        pass
        return claims

    @cached_property
    def queued(self) -> set[UUID]:
        """Occurrences that had to wait behind another run of their task."""
        return {stream for stream, _, _ in self.facts(ExecutionQueued)}

    def facts[F](self, kind: type[F]) -> Iterator[tuple[UUID, F, datetime]]:
        """The facts of a kind, each with its stream and when it was recorded."""
        for stream, events in self._streams.items():
            for event in events:
                if isinstance(event.fact, kind):
                    yield stream, event.fact, event.recorded_at

    def lost(self) -> list[UUID]:
        """Occurrences without an end."""
        return [
            name
            for name in self.task_of
            if not isinstance(self.executions.get(name), executions.FinishedExecution)
        ]

    def unplanned(self) -> list[UUID]:
        """Executions of no occurrence."""
        return [name for name in self.executions if name not in self.task_of]

    def claimed_twice(self) -> list[Sent]:
        """Occurrences that were started twice, and attempts that two schedulers claimed."""
        twice = []
        for attempt, claims in self.claims.items():
            facts = [event.fact for event in claims]
            starts = sum(isinstance(fact, ExecutionStarted) for fact in facts)
            owners = {
                fact.node
                for fact in facts
                if isinstance(fact, ExecutionStarted | AttemptStarted | ExecutionTakenOver)
            }
            if starts > 1 or len(owners) > 1:
                twice.append(attempt)
        return twice

    def not_run(self) -> list[UUID]:
        """Occurrences that must run by their task's policies and did not."""
        return [
            name
            for name, task in self.task_of.items()
            if task.planned.fate == "runs" and self.status(name) not in {"succeeded", "failed"}
        ]

    def skipped_without_a_cause(self) -> list[UUID]:
        """Skips that do not tell what decided them."""
        return [stream for stream, fact, _ in self.facts(ExecutionSkipped) if fact.by is None]

    def open_tasks(self) -> list[UUID]:
        """Tasks that are not over though all their occurrences are behind them."""
        return [
            task.id for task in self.accepted if not isinstance(self.tasks.get(task.id), tasks.FinishedTask)
        ]

    def miscounted(self) -> list[UUID]:
        """Tasks whose failures in a row were not counted once each, in the order in which they came."""
        return [
            name
            for name, task in self.tasks.items()
            if task.definition.retry.disable_after_failures is not None
            and self._counts(name) != self._rows_of_failures(name)
        ]

    def _counts(self, task_id: UUID) -> list[tuple[UUID, int]]:
        facts = (event.fact for event in self._streams[task_id])
        return [(fact.execution_id, fact.failures) for fact in facts if isinstance(fact, TaskFailuresCounted)]

    def _rows_of_failures(self, task_id: UUID) -> list[tuple[UUID, int]]:
        """What is to be counted, of ends that are followed by the task's own: that counts nothing more."""
        failures, counts = 0, []
        for event in self._ends_before_completion(task_id):
            before, failures = failures, 0 if isinstance(event.fact, ExecutionSucceeded) else failures + 1
            if failures != before:
                counts.append((event.stream, failures))
        return counts

    def _ends_before_completion(self, task_id: UUID) -> Iterator[Recorded]:
        """Neither that which completed it, nor those that came when it was over, say by a skip."""
        [*_, last] = self._streams[task_id]
        completed = last.fact if isinstance(last.fact, TaskCompleted) else None
        for event in sorted(self._ends[task_id], key=lambda event: event.position):
            if completed is None or (
                event.position < last.position and event.stream != completed.execution_id
            ):
                yield event

    @cached_property
    def _ends(self) -> dict[UUID, list[Recorded]]:
        """The outcomes of each task's executions."""
        ends: defaultdict[UUID, list[Recorded]] = defaultdict(list)
        for events in self._streams.values():
            for event in events:
                if isinstance(event.fact, ExecutionSucceeded | ExecutionFailed):
                    ends[event.fact.task_id].append(event)
        return ends

    def answered(self) -> set[Sent]:
        """Attempts that the log says were answered."""
        told: set[Sent] = set()
        for stream, fact, _ in self.facts(Fact):
            if isinstance(fact, AttemptFailed | ExecutionSucceeded | ExecutionFailed):
                attempt = fact.attempt
                if attempt is not None and isinstance(attempt.answer, Answered):
                    told.add((str(stream), attempt.number))
        return told

    def status(self, execution_id: UUID) -> str:
        """How an execution ended, or that it did not."""
        execution = self.executions.get(execution_id)
        return execution.status if isinstance(execution, executions.FinishedExecution) else "not over"

    def statuses(self) -> Counter[str]:
        """How many occurrences ended how; skips by what decided them."""
        by = {stream: fact.by for stream, fact, _ in self.facts(ExecutionSkipped)}
        return Counter(
            f"skipped by {by[name]}" if (status := self.status(name)) == "skipped" else status
            for name in self.task_of
        )

    def unknown_outcomes(self) -> int:
        """How many executions were given up because nobody knows what their last attempt did."""
        return sum(fact.attempt is None and not fact.lapsed for _, fact, _ in self.facts(ExecutionFailed))

    def lateness_seconds(self) -> list[float]:
        """How long after it was due each claim was committed, ascending; claims are made just ahead.

        What had to wait behind another run of its task is not late.
        """
        starts = (start for start in self.facts(ExecutionStarted) if start[0] not in self.queued)
        late = (at - fact.occurrence.send_at for _, fact, at in starts)
        return sorted(delta.total_seconds() for delta in late)

    def taken_over(self) -> list[datetime]:
        """When attempts without an outcome were claimed anew, in order."""
        return sorted(at for _, _, at in self.facts(ExecutionTakenOver))

    def _of(self, kinds: tuple[type, ...]) -> Iterator[tuple[UUID, list[Recorded]]]:
        for stream, events in self._streams.items():
            if isinstance(events[0].fact, kinds):
                yield stream, events


def disagreements(dsn: str, books: Books) -> list[object]:
    """Rows of the read models that are missing, or are not what the log says."""
    with psycopg.connect(dsn) as connection:
        results: dict[UUID, str] = dict(connection.execute("SELECT id, status FROM task_results").fetchall())
        shown: dict[UUID, str] = dict(connection.execute("SELECT id, status FROM tasks").fetchall())
    ended = {name: books.status(name) for name in books.executions}
    stand = {
        name: task.status if isinstance(task, tasks.FinishedTask) else "not over"
        for name, task in books.tasks.items()
    }
    return [*(ended.items() ^ results.items()), *(stand.items() ^ shown.items())]

"""The past without a database; and an oracle of it, written from what facts mean, with no fold of ours."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from application.explanation.explainer import Explainer, Occurrences
from application.explanation.history import history_of
from application.past import Cut, Moment, NotYet, Stopped, placing_events
from domain.facts import (
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    Occurrence,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskFailuresCounted,
    TaskPaused,
    TaskResumed,
    TaskUpdated,
)
from projections.queries import past_task
from projections.views import Figures, Listing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from application.explanation.explainer import Accounted, Window
    from application.ports import Recorded
    from projections.views import Paging, TaskQuery, TaskView
    from tests.support.log import MemoryLog


class MemoryPast:
    """`interfaces.http.api.Past` over a log in memory."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.asked: list[Moment] = []

    async def at(self, instant: datetime) -> Moment:
        """See `Past`."""
        if instant > datetime.now(UTC):
            raise NotYet("it is earlier now")
        places = [event.position for event in self._log.recorded if event.recorded_at <= instant]
        return Moment(max(places, default=0), instant)

    async def after(self, position: int) -> Moment:
        """See `Past`."""
        recorded = self._log.recorded
        if position > len(recorded):
            raise NotYet(f"the log ends at position {len(recorded)}")
        return Moment(position, recorded[position - 1].recorded_at if position else datetime.now(UTC))

    async def task(self, namespace: str, task_id: UUID, moment: Moment) -> TaskView | None:
        """See `Past`."""
        cut = Cut(self._log, moment)
        history = history_of(task_id, await cut.read_stream(task_id))
        if history is None or history.task.namespace != namespace:
            return None
        placing = await placing_events(cut, history, moment.at)
        return past_task(task_id, sorted([*history.events, *placing], key=lambda event: event.position))

    async def tasks(self, query: TaskQuery, paging: Paging, moment: Moment) -> Listing[TaskView]:
        """See `Past`."""
        created = [event.stream for event in self._log.recorded if isinstance(event.fact, TaskCreated)]
        views = [await self.task(query.namespace, task_id, moment) for task_id in created]
        items = [view for view in views if view is not None]
        return Listing(items=items, total=len(items), page=paging.page, limit=paging.limit)

    async def figures(self, moment: Moment) -> Figures:
        """See `Past`."""
        oracle = Oracle.of(self._log.recorded[: moment.position])
        return Figures(**oracle.figures(), tasks_per_minute=0.0)

    async def window(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime, limit: int, moment: Moment
    ) -> Window:
        """See `Past`."""
        cut, clock = Cut(self._log, moment), Stopped(moment)
        occurrences = Occurrences(Explainer(cut, clock), _NoLedger(), clock)
        return await occurrences.window(namespace, task_id, start, end, limit)


class _NoLedger:
    async def accounted(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime
    ) -> Sequence[Accounted]:
        return []


def shown(task: dict[str, Any]) -> dict[str, Any]:
    """What the oracle knows of a task's JSON."""
    instants = ("next_run", "created_at", "updated_at", "paused_at")
    known = {name: task[name] for name in ("name", "status", "version", "pause_note")}
    return known | {name: task[name] and datetime.fromisoformat(task[name]) for name in instants}


@dataclass
class Oracle:
    """What there is after some events: tasks as the API shows them, executions by status, durations."""

    tasks: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    executions: dict[UUID, str] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    durations_ms: list[int] = field(default_factory=list)
    occurrences: dict[UUID, Occurrence] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Sequence[Recorded]) -> Oracle:
        """After these events, from the first one on."""
        oracle = cls()
        for event in events:
            oracle.tell(event)
        return oracle

    def tell(self, event: Recorded) -> None:
        """One more event."""
        task = self.tasks.get(event.stream)
        match event.fact:
            case TaskCreated() as fact:
                self.tasks[event.stream] = {
                    "name": fact.definition.name,
                    "status": "scheduled",
                    "next_run": fact.next_run_at,
                    "created_at": fact.at,
                    "updated_at": fact.at,
                    "version": 1,
                    "paused_at": None,
                    "pause_note": None,
                }
            case TaskUpdated() as fact if task:
                task |= {"name": fact.definition.name, "updated_at": fact.at, "version": event.version}
                task["next_run"] = fact.next_run_at or task["next_run"]
            case TaskPaused() as fact if task:
                task |= {"status": "paused", "paused_at": fact.at, "pause_note": fact.note}
                task |= {"updated_at": fact.at, "version": event.version}
            case TaskResumed() as fact if task:
                task |= {"status": "scheduled", "paused_at": None, "pause_note": None}
                task |= {"updated_at": fact.at, "version": event.version}
            case TaskCancelled() | TaskCompleted() as fact if task:
                ending = "cancelled" if isinstance(fact, TaskCancelled) else "completed"
                if isinstance(fact, TaskCompleted) and fact.outcome == "failed":
                    ending = "failed"
                task |= {"status": ending, "next_run": None, "updated_at": fact.at, "version": event.version}
                task |= {"paused_at": None, "pause_note": None}
            case TaskFailuresCounted() if task:
                task["version"] = event.version
            case _:
                self._tell_of_execution(event)

    def _tell_of_execution(self, event: Recorded) -> None:
        match event.fact:
            case ExecutionStarted() as fact:
                self._become(event, "running")
                self._place(fact)
            case ExecutionQueued() as fact:
                self._become(event, "pending")
                self._place(fact)
            case ExecutionSkipped() as fact:
                self._become(event, "skipped")
                self._place(fact)
            case ExecutionRequested():
                self._become(event, "pending")
            case ExecutionSucceeded(attempt=attempt):
                self._become(event, "succeeded")
                self.durations_ms.append(attempt.duration_ms)
            case ExecutionFailed(attempt=attempt):
                self._become(event, "failed")
                self.durations_ms += [] if attempt is None else [attempt.duration_ms]
            case ExecutionCancelled():
                self._become(event, "cancelled")
            case _:
                pass

    def _become(self, event: Recorded, status: str) -> None:
        occurrence = getattr(event.fact, "occurrence", None)
        if occurrence is not None:
            self.occurrences[event.stream] = occurrence
        self.executions[event.stream] = status
        self.outcomes[status] += 1

    def _place(self, fact: ExecutionStarted | ExecutionQueued | ExecutionSkipped) -> None:
        """A scheduled occurrence of the task as it is moves it on, never back."""
        task = self.tasks[fact.occurrence.task_id]
        if fact.occurrence.kind != "scheduled" or task["status"] != "scheduled":
            return
        if fact.occurrence.task_version != task["version"] or task["next_run"] is None:
            return
        if fact.next_run_at is None or fact.next_run_at > task["next_run"]:
            task["next_run"] = fact.next_run_at

    def figures(self) -> dict[str, Any]:
        """The specification's metrics, but the rate."""
        succeeded, failed = self.outcomes["succeeded"], self.outcomes["failed"]
        finished, measured = succeeded + failed, self.durations_ms
        return {
            "total_tasks_executed": finished,
            "successful_tasks": succeeded,
            "failed_tasks": failed,
            "success_rate_percent": round(100 * succeeded / finished, 2) if finished else 0.0,
            "average_execution_ms": round(sum(measured) / len(measured), 2) if measured else 0.0,
            "active_tasks": sum(task["status"] == "scheduled" for task in self.tasks.values()),
        }

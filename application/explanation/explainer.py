"""Answers why: reads the streams that tell it and puts the account together."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from application.explanation.account import Explanation
from application.explanation.claims import Claims, occurrence_of
from application.explanation.execution_story import tell
from application.explanation.history import history_of
from application.explanation.runs import Runs, perhaps_replaced, spoken_of
from application.explanation.silence import explain_silence, explain_spent
from application.explanation.standing import explain_standing
from domain.errors import ExecutionNotFound, TaskNotFound
from domain.identity import execution_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from application.explanation.claims import Now, Streams
    from application.explanation.history import History
    from application.explanation.silence import Silence
    from application.ports import Recorded


_STEP = timedelta(milliseconds=1)


class Explainer:
    """Explains instants and executions. Every method raises `LogUnavailable`."""

    def __init__(self, log: Streams, clock: Now) -> None:
        self._log = log
        self._clock = clock

    async def history(self, namespace: str, task_id: UUID) -> History:
        """A task's past. Raises `TaskNotFound`."""
        history = history_of(task_id, await self._log.read_stream(task_id))
        if history is None or history.task.namespace != namespace:
            raise TaskNotFound(task_id)
        return history

    async def task(self, namespace: str, task_id: UUID, at: datetime | None) -> Explanation:
        """What happened, or will, at an instant of a task (None: where it stands). Raises `TaskNotFound`."""
        history, now = await self.history(namespace, task_id), self._clock.now()
        if at is None:
            found = explain_standing(history, now)
            previous, following = history.previous(now), history.first_from(now)
            return Explanation(
                task_id=task_id,
                execution_id=None,
                at=None,
                verdict=found.verdict,
                summary=found.summary,
                lateness_ms=None,
                previous=previous,
                next=following,
                statements=found.statements,
            )
        execution = execution_id(task_id, at, "scheduled")
        events = await self._log.read_stream(execution)
        if events:
            return await self._told(history, execution, at, events)
        return await self._silent(history, execution, at, now)

    async def execution(self, namespace: str, execution: UUID) -> Explanation:
        """What became of an execution. Raises `ExecutionNotFound`."""
        events = await self._log.read_stream(execution)
        occurrence = occurrence_of(events)
        if occurrence is None or occurrence.namespace != namespace:
            raise ExecutionNotFound(execution)
        history = history_of(occurrence.task_id, await self._log.read_stream(occurrence.task_id))
        if history is None:
            raise ExecutionNotFound(execution)
        return await self._told(history, execution, occurrence.due_at, events)

    async def end_of(self, history: History) -> datetime | None:
        """The last occurrence that `max_runs` allows, once it is claimed; None: none is known to be."""
        claims = Claims(self._log, history.task.id, history.stints[-1])
        last = await claims.last_allowed(self._clock.now())
        return None if last is None else last.occurrence.due_at

    async def _silent(self, history: History, execution: UUID, at: datetime, now: datetime) -> Explanation:
        found, following = await self._why_silent(history, at, now)
        return Explanation(
            task_id=history.task.id,
            execution_id=None if found.verdict == "no_occurrence" else execution,
            at=at,
            verdict=found.verdict,
            summary=found.summary,
            lateness_ms=None,
            previous=history.previous(at),
            next=following,
            statements=found.statements,
        )

    async def _why_silent(
        self, history: History, at: datetime, now: datetime
    ) -> tuple[Silence, datetime | None]:
        stint = history.stint_of(at)
        if stint is None:
            return explain_silence(history, at, now, None), history.first_from(at + _STEP)
        claims = Claims(self._log, history.task.id, stint)
        last = await claims.last_allowed(now)
        if last is not None and at > last.occurrence.due_at:
            return explain_spent(stint, last.event), None
        later = await claims.after(at, now)
        return explain_silence(history, at, now, later), history.first_from(at + _STEP)

    async def _told(
        self, history: History, execution: UUID, at: datetime, events: Sequence[Recorded]
    ) -> Explanation:
        others = {*spoken_of(events), *perhaps_replaced(history, events)}
        runs = Runs({run: await self._log.read_stream(run) for run in others})
        story = tell(events, at, history, runs)
        return Explanation(
            task_id=history.task.id,
            execution_id=execution,
            at=at,
            verdict=story.verdict,
            summary=story.summary,
            lateness_ms=story.lateness_ms,
            previous=history.previous(at),
            next=history.first_from(at + _STEP),
            statements=story.statements,
        )

"""Other runs of the task that an execution's facts speak of: which they are, and what they rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from application.explanation import wording
from application.explanation.account import decided_at
from domain.facts import (
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    Occurrence,
)
from domain.identity import due_at_of, execution_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from application.explanation.history import History
    from application.ports import Recorded

_BEGINNINGS = (ExecutionStarted, ExecutionQueued)
_ENDS = (ExecutionSucceeded, ExecutionFailed, ExecutionCancelled, ExecutionSkipped)

LOOKED_BACK = 10
"""At so many instants a run is looked for that another one may have replaced."""


class Runs:
    """The streams of other executions."""

    def __init__(self, streams: Mapping[UUID, Sequence[Recorded]]) -> None:
        self._streams = streams

    def claim(self, run: UUID, before: Recorded | None = None) -> Recorded | None:
        """The event, before another one, that started a run; or queued it, as long as it waited itself."""
        return self._last(run, _BEGINNINGS, before)

    def end(self, run: UUID, before: Recorded) -> Recorded | None:
        """The event that ended a run, if it was over before another event."""
        return self._last(run, _ENDS, before)

    def cancelled_with(self, start: Recorded) -> list[Recorded]:
        """The ends of the runs whose place a started one took: they were appended together with its start."""
        return [
            event
            for events in self._streams.values()
            for event in events
            if isinstance(event.fact, ExecutionCancelled) and event.fact.replaced_by == start.stream
        ]

    def told(self, run: UUID, before: Recorded | None = None) -> str:
        """Which run it is, and who had claimed it when, if anybody had."""
        event = self.claim(run, before)
        if event is None or not isinstance(event.fact, ExecutionStarted):
            return named(run)
        return f"{named(run)}, which {event.fact.node} claimed at {wording.instant(decided_at(event))}"

    def _last(self, run: UUID, kinds: tuple[type, ...], before: Recorded | None) -> Recorded | None:
        found = [
            event
            for event in self._streams[run]
            if isinstance(event.fact, kinds) and (before is None or event.position < before.position)
        ]
        return found[-1] if found else None


def spoken_of(events: Sequence[Recorded]) -> set[UUID]:
    """The other executions that an execution's facts name."""
    return {run for event in events if (run := _other(event)) is not None}


def _other(event: Recorded) -> UUID | None:
    match event.fact:
        case ExecutionQueued(behind=run) | ExecutionSkipped(behind=run):
            return run
        case ExecutionCancelled(replaced_by=run):
            return run
        case _:
            return None


def perhaps_replaced(history: History, events: Sequence[Recorded]) -> set[UUID]:
    """The last ones before a started one that may have cancelled others: only their own facts tell it."""
    found: set[UUID] = set()
    for event in events:
        match event.fact:
            case ExecutionStarted(occurrence=Occurrence(kind="scheduled") as occurrence):
                overlap = history.definition(occurrence.task_version).overlap
                most = min(overlap.max_running or 1, LOOKED_BACK) if overlap.mode == "cancel_running" else 0
                found |= {
                    execution_id(history.task.id, due_at, "scheduled")
                    for due_at in history.instants_before(occurrence.due_at, most)
                }
            case _:
                pass
    return found


def named(run: UUID) -> str:
    """A run by its instant and its id."""
    return f"the run of {wording.instant(due_at_of(run))} (execution {run})"

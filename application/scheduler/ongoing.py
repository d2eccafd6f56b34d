"""What goes on of each task: its scheduled executions that are not over, whoever has claimed them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.execution import Over, Requested
from domain.facts import (
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
)
from domain.overlap import NOTHING, Going, bound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from application.ports import Open, Recorded
    from application.scheduler.due_index import Entry
    from domain.execution import Execution


class _Task:
    """Executions in the order of the log, by number, each with the version it was begun or queued with."""

    __slots__ = ("queued", "running")

    def __init__(self) -> None:
        self.running: dict[int, tuple[UUID, int]] = {}
        self.queued: dict[int, tuple[UUID, int]] = {}


class Ongoing:
    """The state at a position of the log, and besides what this node has appended or read since.

    So it misses nothing that was begun up to there; something may have ended since that it still holds.
    """

    def __init__(self) -> None:
        self._tasks: dict[int, _Task] = {}
        self._ahead: dict[int, int] = {}
        self._told: list[Callable[[UUID], None]] = []
        self.position = 0

    def tell(self, may_start: Callable[[UUID], None]) -> None:
        """Call this with each task whose first queued execution may have got room."""
        self._told.append(may_start)

    def seed(self, position: int, open_runs: Sequence[Open]) -> None:
        """Begin with what was not over at a position: what is followed comes after it."""
        self.position = position
        for run in open_runs:
            self._enter(run.task_id, run.execution_id, 0, queued=run.queued)

    def going(self, task_id: UUID) -> Going:
        """What goes on of a task, in the order of the log."""
        known = self._tasks.get(task_id.int)
        if known is None:
            return NOTHING
        running, queued = known.running.values(), known.queued.values()
        return Going(tuple([each for each, _ in running]), tuple([each for each, _ in queued]))

    def covers(self, entry: Entry) -> bool:
        """Whether all that was begun before the task came to its place is known, if that matters to it."""
        return self.position >= entry.learnt_at or bound(entry.definition) is None

    def follow(self, event: Recorded) -> None:
        """Follow one fact of the log."""
        self.position = event.position
        known = self._ahead.get(event.stream.int, 0)
        if event.version >= known:
            self._ahead.pop(event.stream.int, None)
        if event.version > known:
            self._apply(event)

    def begun(
        self, position: int, stream: UUID, version: int, fact: ExecutionStarted | ExecutionQueued
    ) -> None:
        """This node has begun an execution, in a group up to `position`."""
        if position > self.position and fact.occurrence.kind == "scheduled":
            self._enter(fact.occurrence.task_id, stream, version, queued=isinstance(fact, ExecutionQueued))
            self._ahead[stream.int] = version

    def ended(self, task_id: UUID, stream: UUID, version: int) -> None:
        """This node has ended an execution, or read that it is over: its stream is at that version."""
        if self._leave(task_id, stream, version):
            self._ahead[stream.int] = version
            self._look_at(task_id)

    def learn(self, execution: Execution) -> None:
        """What the log says of an execution: it may have gone on since it was followed, or entered.

        What a user has had run out of turn since then is over as a scheduled one.
        """
        task_id = execution.occurrence.task_id
        known = self._tasks.get(task_id.int)
        if isinstance(execution, Over) or execution.occurrence.kind != "scheduled":
            self.ended(task_id, execution.id, execution.version)
        elif known and execution.id.int in known.queued and not isinstance(execution, Requested):
            self._enter(task_id, execution.id, execution.version, queued=False)
            self._ahead[execution.id.int] = execution.version

    def _apply(self, event: Recorded) -> None:
        match event.fact:
            case ExecutionStarted(occurrence=occurrence) | ExecutionQueued(occurrence=occurrence):
                if occurrence.kind == "scheduled":
                    queued = isinstance(event.fact, ExecutionQueued)
                    self._enter(occurrence.task_id, event.stream, event.version, queued=queued)
            case ExecutionSucceeded(task_id=task_id) | ExecutionFailed(task_id=task_id):
                self._over(task_id, event)
            case ExecutionCancelled(task_id=task_id):
                self._over(task_id, event)
            case ExecutionSkipped(occurrence=occurrence):
                self._over(occurrence.task_id, event)
            case _:  # a fact about a task may let it go on
                self._look_at(event.stream)

    def _over(self, task_id: UUID, event: Recorded) -> None:
        if self._leave(task_id, event.stream, event.version):
            self._look_at(task_id)
        else:
            self._look_if_none_runs(task_id)

    def _enter(self, task_id: UUID, stream: UUID, version: int, *, queued: bool) -> None:
        """Whatever its bound is: what the first one stands behind may have ended before it was queued."""
        known = self._tasks.get(task_id.int) or self._tasks.setdefault(task_id.int, _Task())
        number = stream.int
        known.running.pop(number, None)  # dropped unsent, and begun anew since
        known.queued.pop(number, None)
        (known.queued if queued else known.running)[number] = stream, version
        if not known.running or (queued and len(known.queued) == 1):
            self._look_at(task_id)

    def _leave(self, task_id: UUID, stream: UUID, version: int) -> bool:
        """Whether it was known to go on. What was begun anew since is not over."""
        known = self._tasks.get(task_id.int)
        if known is None:
            return False
        number = stream.int
        of = known.running if number in known.running else known.queued
        if number not in of or of[number][1] >= version:
            return False
        del of[number]
        if not known.running and not known.queued:
            del self._tasks[task_id.int]
        return True

    def _look_if_none_runs(self, task_id: UUID) -> None:
        known = self._tasks.get(task_id.int)
        if known and not known.running:
            self._look_at(task_id)

    def _look_at(self, task_id: UUID) -> None:
        known = self._tasks.get(task_id.int)
        if known and known.queued:
            for may_start in self._told:
                may_start(task_id)

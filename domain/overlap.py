"""What becomes of an occurrence whose turn it is while others of its task go on: the overlap policy.

Only scheduled occurrences are bound, and counted: what users run out of turn runs.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal, assert_never
from uuid import UUID

from msgspec import Struct

from domain.definition import OneOff
from domain.execution import Execution, Running
from domain.facts import ExecutionCancelled

if TYPE_CHECKING:
    from domain.definition import Definition, Overlap

USUAL_QUEUED = 100

type Course = Literal["start", "queue", "skip", "replace"]


class ConcurrencyState(Struct, frozen=True, gc=False):
    """The scheduled executions of a task that are not over, oldest first: started ones, and queued ones."""

    running: tuple[UUID, ...] = ()
    queued: tuple[UUID, ...] = ()

    @property
    def oldest(self) -> UUID:
        """What a newer one has to wait for; there must be something."""
        return (*self.running, *self.queued)[0]


NOTHING_OPEN = ConcurrencyState()


def bound(definition: Definition) -> int | None:
    """How many scheduled executions may go on at once; None: any number.

    A one-off overlaps nothing: who moves it while it runs wants it to run again.
    """
    policy = definition.overlap
    if policy.mode == "allow" or isinstance(definition.trigger, OneOff):
        return None
    return policy.max_running or 1


def has_room(definition: Definition, open_runs: ConcurrencyState) -> bool:
    """Whether one more may start."""
    most = bound(definition)
    return most is None or len(open_runs.running) < most


def course(definition: Definition, open_runs: ConcurrencyState) -> Course:
    """What to do with the occurrence whose turn it is. What is queued goes first, even if there is room."""
    if bound(definition) is None or (not open_runs.queued and has_room(definition, open_runs)):
        return "start"
    if definition.overlap.mode == "cancel_running":
        return "replace"
    return "queue" if len(open_runs.queued) < _places(definition.overlap) else "skip"


def replaced(definition: Definition, open_runs: ConcurrencyState) -> tuple[UUID, ...]:
    """What has to end so that a newer one may start: the oldest that run, and all that wait."""
    surplus = len(open_runs.running) + 1 - (bound(definition) or 1)
    return (*open_runs.running[: max(0, surplus)], *open_runs.queued)


def why_skipped(definition: Definition, open_runs: ConcurrencyState) -> str:
    """The reason of an occurrence that is neither started nor queued."""
    running, queued = len(open_runs.running), len(open_runs.queued)
    goes_on = "an earlier run was" if running == 1 else f"{running} earlier runs were"
    if not queued:
        return f"overlap: {goes_on} still going on"
    waits = "another occurrence was" if queued == 1 else f"{queued} other occurrences were"
    return f"overlap: {waits} waiting already" + (f" while {goes_on} still going on" if running else "")


def give_way(execution: Execution, newer: UUID, now: datetime) -> ExecutionCancelled:
    """End an execution that is not over in favour of a newer one."""
    return ExecutionCancelled(
        at=now,
        task_id=execution.occurrence.task_id,
        reason="the next occurrence was due, and overlap.mode is cancel_running",
        interrupted=isinstance(execution, Running),
        replaced_by=newer,
    )


def _places(policy: Overlap) -> int:
    match policy.mode:
        case "queue_one":
            return 1
        case "queue_all":
            return policy.max_queued or USUAL_QUEUED
        case "allow" | "skip" | "cancel_running":
            return 0
        case _:
            assert_never(policy.mode)

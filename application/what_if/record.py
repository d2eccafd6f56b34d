"""What the log tells of a task in a window: what users did, and when schedulers decided what, and why then.

A decision of a scheduler is a step; its cause is what made it possible. A simulation takes a step at the
instant that is recorded when the same thing causes it there, and at once otherwise: so what nobody changed
happens exactly as it did, latencies and downtimes included.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from msgspec import Struct

from application.what_if.lag import Lag
from application.what_if.state import Key, State
from domain.attempt import Attempt
from domain.facts import (
    ExecutionFact,
    TaskFact,
)
from domain.schedule import fires_at
from domain.task import Scheduled

if TYPE_CHECKING:
    from collections.abc import Hashable

    from application.ports import Recorded

type Kind = Literal["end", "review", "retry", "queue", "claim", "look"]


class Step(Struct, frozen=True, gc=False):
    """When a decision was recorded, and what time it was then by the clock of who decided.

    `lag`: it was taken before its scheduler had heard of the latest that the log had by then.
    """

    key: Key
    now: datetime
    lag: Lag | None = None


class Told(Struct, frozen=True, gc=False, kw_only=True):
    """An attempt, from its claim to its end. `attempt` None: its outcome is unknown, as its node was lost.

    `cut`: it was broken off, or is not over: it lasted until then at least; `unsent`: its time passed before
    its turn came. `chance` is what spread the next retry.
    """

    begun: datetime
    end: Step
    attempt: Attempt | None = None
    cut: bool = False
    unsent: bool = False
    chance: float = 0.5


@dataclass
class Record:
    """A task's past: its state where the window begins, and what came then.

    `facts` are all those of the window, `before` those of what went on when it began. A downtime is a span in
    which an occurrence was due, its task fired, and nobody claimed it.
    """

    start: State
    until: datetime
    commands: list[tuple[Key, Recorded]] = field(default_factory=list)
    steps: dict[tuple[Kind, Hashable, Hashable], list[Step]] = field(default_factory=dict)
    attempts: dict[tuple[UUID, int], list[Told]] = field(default_factory=dict)
    before: list[tuple[Key, UUID, TaskFact | ExecutionFact]] = field(default_factory=list)
    facts: list[tuple[Key, UUID, TaskFact | ExecutionFact]] = field(default_factory=list)
    downtimes: list[tuple[datetime, datetime]] = field(default_factory=list)

    def step(self, kind: Kind, subject: Hashable, cause: Hashable, since: Key) -> Step | None:
        """When it was taken for that cause, not before `since`; None: it was not."""
        taken = self.steps.get((kind, subject, cause), ())
        return next((step for step in taken if step.key >= since), None)

    def told(self, run: UUID, number: int, begun: datetime) -> Told | None:
        """What is known of an attempt: of the one that was claimed then, if there were several."""
        known = self.attempts.get((run, number))
        return None if known is None else next((one for one in known if one.begun == begun), known[-1])


type Turn = tuple[datetime, datetime]
"""Where a task stands, and since when that can be claimed."""


def turn_of(state: State) -> Turn | None:
    """What is to be claimed next of a task; None: nothing."""
    if not isinstance(state.task, Scheduled) or state.place is None:
        return None
    return state.place, ready_at(state, state.place)


def ready_at(state: State, due_at: datetime) -> datetime:
    """Since when an occurrence could be claimed: its instant has come, and the task stands there."""
    return max(state.since, fires_at(state.task.definition.trigger, state.task.id, due_at))

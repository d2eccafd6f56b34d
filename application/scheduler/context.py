"""What the parts of one scheduler share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from application.scheduler.due_index import DueIndex
from application.scheduler.members import Members
from application.scheduler.ongoing import Ongoing
from application.scheduler.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from application.ports import Clock, EventLog, HttpCaller
    from application.scheduler.node import Node
    from application.scheduler.observing import SchedulerObserver

# Longer than the claimer's quantum: at a steady rate, outcomes go into the call of the next claims.
GATHER = timedelta(milliseconds=15)


@dataclass(frozen=True, slots=True)
class Context:
    """`chance` draws from 0…1: it spreads retries. An outcome may wait for others for as long as `gather`."""

    log: EventLog
    clock: Clock
    caller: HttpCaller
    observer: SchedulerObserver
    node: Node
    chance: Callable[[], float]
    gather: timedelta = GATHER
    index: DueIndex = field(default_factory=DueIndex)
    work: Work = field(default_factory=Work)
    ongoing: Ongoing = field(default_factory=Ongoing)
    members: Members = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", Members(self.node, self.clock))

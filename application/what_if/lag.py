"""What a claim rested on when its scheduler had not heard of the latest yet: the log had gone on meanwhile.

A claim is decided upon what goes on of its task, and recorded some milliseconds later. What ends or moves up
in between makes no difference to it, though it comes first in the order of the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from domain import overlap
from domain.facts import (
    ExecutionCancelled,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    TaskCompleted,
)
from domain.overlap import Course, Going

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from domain.definition import Definition
    from domain.facts import AnyFact


class Lag(Struct, frozen=True, gc=False):
    """What goes on of a task by the log where a claim is recorded, and what of it that had `heard` of."""

    log: Going
    heard: Going

    def of(self, going: Going) -> Going:
        """What a claim rests on: it lags where the same goes on, and nowhere else."""
        return self.heard if going == self.log else going


class Verdict(Struct, frozen=True):
    """What a claim did about the overlap of an occurrence, as its facts tell."""

    course: Course
    behind: UUID | None = None
    replaced: frozenset[UUID] = frozenset()
    reason: str | None = None

    def follows_from(self, definition: Definition, going: Going) -> bool:
        """Whether that is what the policy says while this goes on."""
        if overlap.course(definition, going) != self.course:
            return False
        if self.course == "replace":
            return self.replaced == set(overlap.replaced(definition, going))
        return self.behind is None or going.oldest == self.behind

    def is_worded_for(self, definition: Definition, going: Going) -> bool:
        """Whether its reason, if it has one, is told of this."""
        return self.reason is None or overlap.why_skipped(definition, going) == self.reason


def verdict_of(claim: Sequence[tuple[UUID, AnyFact]]) -> Verdict | None:
    """The verdict that the facts of a claim tell of; None: it came to no occurrence whose turn it was."""
    facts = (fact for _, fact in reversed(claim) if not isinstance(fact, TaskCompleted))
    match next(facts, None):
        case ExecutionStarted():
            replaced = frozenset(run for run, fact in claim if isinstance(fact, ExecutionCancelled))
            return Verdict("replace" if replaced else "start", replaced=replaced)
        case ExecutionQueued(behind=behind):
            return Verdict("queue", behind)
        case ExecutionSkipped(by="overlap", behind=behind, reason=reason):
            return Verdict("skip", behind, reason=reason)
        case _:
            return None


def lag_of(verdict: Verdict, definition: Definition, log: Going, earlier: Iterable[Going]) -> Lag | None:
    """The lag that a verdict is explained by; None: there is none, or nothing of what went on `earlier` does.

    Of what went on earlier, the latest that explains it.
    """
    if verdict.follows_from(definition, log) and verdict.is_worded_for(definition, log):
        return None
    views = [log, *dict.fromkeys(_heard(each, log) for each in earlier)]
    fitting = [view for view in views if verdict.follows_from(definition, view)]
    if not fitting:
        return None
    heard = next((view for view in fitting if verdict.is_worded_for(definition, view)), fitting[0])
    return None if heard is log else Lag(log, heard)


def _heard(earlier: Going, log: Going) -> Going:
    """What went on earlier as if that still did, and what has begun since."""
    known = {*earlier.running, *earlier.queued}
    return Going(
        (*earlier.running, *(run for run in log.running if run not in known)),
        (*earlier.queued, *(run for run in log.queued if run not in known)),
    )

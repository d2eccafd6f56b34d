"""Why an execution was skipped, broken off or failed: the rule that decided, and what brought it about."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from msgspec import Struct

from application.explanation import policies, rules, wording
from application.explanation.account import Rule
from application.explanation.lateness import LATE
from application.ports import Recorded
from domain import failing, retry
from domain.attempt import Answered
from domain.ending import MAX_LOST_ATTEMPTS
from domain.facts import ExecutionStarted, TaskCancelled, TaskCompleted, TaskUpdated

if TYPE_CHECKING:
    from application.explanation.history import History
    from application.explanation.runs import Runs
    from domain.attempt import Attempt
    from domain.definition import Definition
    from domain.facts import ExecutionCancelled, ExecutionFailed, ExecutionSkipped, SkippedBy

_CHANGES = (TaskUpdated, TaskCancelled, TaskCompleted)


class Cause(Struct, frozen=True):
    """The rule that decided, the events besides the decision itself, and what they add to its reason."""

    rule: Rule
    events: tuple[Recorded, ...] = ()
    besides: str = ""


class Before(Struct, frozen=True):
    """What the attempts before the last one came to: the target may have had a request; so many were lost."""

    sent: bool = False
    lost: int = 0


def why_skipped(event: Recorded, fact: ExecutionSkipped, history: History, runs: Runs) -> Cause:
    """By the policy that the task had when it was decided."""
    definition = history.definition(fact.occurrence.task_version)
    match fact.by or _told_by(fact.reason):
        case "overlap":
            return _overlapped(event, fact, definition, runs)
        case "pause":
            return Cause(policies.paused(definition), history.pause_of(fact.occurrence.due_at))
        case "change":
            return Cause(rules.CHANGED_FIRST, _last_change(history, event))
        case "catch_up":
            after = fact.at - fact.occurrence.send_at
            late = f"; that was {wording.span(after)} after its instant" if after > LATE else ""
            return Cause(policies.catch_up(definition), besides=late)
        case _ as never:
            assert_never(never)


def why_cancelled(
    event: Recorded, fact: ExecutionCancelled, definition: Definition, history: History, runs: Runs
) -> Cause:
    """By a user, by a change of the task, or by the run that replaced it."""
    if fact.replaced_by is not None:
        claim = runs.claim(fact.replaced_by)
        if claim is not None and isinstance(claim.fact, ExecutionStarted):
            definition = history.definition(claim.fact.occurrence.task_version)
        besides = f"; {runs.told(fact.replaced_by)}, took its place"
        return Cause(policies.overlap(definition), (claim,) if claim else (), besides)
    change = _last_change(history, event) if fact.reason.startswith("the task") else ()
    return Cause(rules.NO_FURTHER_ATTEMPT, change)


def why_failed(fact: ExecutionFailed, attempt: Attempt, definition: Definition, before: Before) -> Rule:
    """What let no further attempt follow the one that failed last."""
    answer, admitted = attempt.answer, fact.unmet is not None
    if retry.why_final(definition.retry, answer, admitted=admitted) is not None:
        gone = isinstance(answer, Answered) and retry.gone(definition.retry, answer.status_code)
        return policies.on_gone(definition) if gone and not admitted else policies.retry(definition)
    if failing.why_not_twice(definition.delivery, sent=before.sent or failing.may_have_been_sent(answer)):
        return policies.delivery(definition)
    return policies.retry(definition)


def why_given_up(fact: ExecutionFailed, definition: Definition, before: Before) -> Rule:
    """What let no further attempt follow when nothing came back, by the task as it was then."""
    if fact.lapsed:
        once = failing.why_not_twice(definition.delivery, sent=before.sent) is not None
    else:
        once = definition.delivery == "at_most_once" or before.lost >= MAX_LOST_ATTEMPTS
    return policies.delivery(definition) if once else policies.retry(definition)


def _told_by(reason: str) -> SkippedBy:
    """What decided by the words of facts that do not tell it otherwise."""
    if reason.startswith("the task was paused"):
        return "pause"
    return "change" if reason.startswith("the task") else "catch_up"


def _overlapped(event: Recorded, fact: ExecutionSkipped, definition: Definition, runs: Runs) -> Cause:
    rule = policies.overlap(definition)
    if fact.behind is None:
        return Cause(rule)
    claim = runs.claim(fact.behind, event)
    return Cause(
        rule, (claim,) if claim else (), f"; it would have overlapped {runs.told(fact.behind, event)}"
    )


def _last_change(history: History, event: Recorded) -> tuple[Recorded, ...]:
    """The change of the task that a reason speaks of: the last one before it."""
    changes = [
        change
        for change in history.events
        if change.position < event.position and isinstance(change.fact, _CHANGES)
    ]
    return tuple(changes[-1:])

"""The story of one execution, event by event."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from application.explanation import rules, wording
from application.explanation.account import Event, Rule, Statement, decided_at
from application.explanation.lateness import LATE, beside, why_late
from application.ports import Undecodable
from domain.facts import (
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    TaskCancelled,
    TaskCompleted,
    TaskUpdated,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from application.explanation.account import Verdict
    from application.explanation.history import History
    from application.ports import Recorded
    from domain.facts import Attempt

_MILLISECOND = timedelta(milliseconds=1)
_CHANGES = (TaskUpdated, TaskCancelled, TaskCompleted)


class Story(Struct, frozen=True, kw_only=True):
    """What an execution's stream tells."""

    verdict: Verdict
    summary: str
    lateness_ms: int | None
    statements: tuple[Statement, ...]


def tell(events: Sequence[Recorded], due_at: datetime, history: History) -> Story:
    """The story of an execution's events, of which there is at least one."""
    teller = _Teller(due_at, history)
    for event in events:
        teller.hear(event)
    return Story(
        verdict=teller.verdict,
        summary=teller.summary,
        lateness_ms=None if teller.lateness is None else teller.lateness // _MILLISECOND,
        statements=tuple(teller.statements),
    )


class _Teller:
    """Listens to the events in their order and keeps what later ones are compared with."""

    def __init__(self, due_at: datetime, history: History) -> None:
        self._due_at = due_at
        self._history = history
        self._claim: Recorded | None = None
        self._claimed_from = history.task.definition
        self._send_at = self._ready_at = due_at
        self._number = 0
        self._retry_at: datetime | None = None
        self.lateness: timedelta | None = None
        self.statements: list[Statement] = []
        self.verdict: Verdict = "pending"
        self.summary = "It waits to be claimed by a scheduler."

    def hear(self, event: Recorded) -> None:
        """Take in the next event."""
        match event.fact:
            case ExecutionRequested() as fact:
                self._requested(event, fact)
            case ExecutionStarted() as fact:
                self._started(event, fact)
            case AttemptStarted() as fact:
                self._attempt_started(event, fact)
            case ExecutionTakenOver() as fact:
                self._taken_over(event, fact)
            case AttemptFailed() as fact:
                self._attempt_failed(event, fact)
            case ExecutionSucceeded() as fact:
                self._succeeded(event, fact)
            case ExecutionFailed() as fact:
                self._failed(event, fact)
            case ExecutionSkipped() as fact:
                self._skipped(event, fact)
            case ExecutionCancelled() as fact:
                self._cancelled(event, fact)
            case Undecodable(error=error):
                self._say("unreadable", f"What happened here cannot be read: {error}.", rules.READING, event)
            case other:
                said = f"{type(other).topic} was recorded at {wording.instant(other.at)}."
                self._say("other", said, rules.READING, event)

    def _say(self, code: str, text: str, rule: Rule, *events: Recorded) -> None:
        named = tuple(Event.of(event) for event in events)
        self.statements.append(Statement(code=code, text=text, rule=rule, events=named))

    def _requested(self, event: Recorded, fact: ExecutionRequested) -> None:
        self._send_at = max(fact.occurrence.send_at, fact.at)
        said = f"A {fact.occurrence.kind} run was asked for at {wording.instant(fact.at)}."
        self._say("requested", said, rules.REQUEST, event)

    def _started(self, event: Recorded, fact: ExecutionStarted) -> None:
        self._send_at = max(self._send_at, fact.occurrence.send_at)
        self._hold(event, 1, fact.occurrence.task_version)
        behind = fact.at - self._send_at
        if behind <= LATE:
            self._say("claimed", f"{fact.node} claimed it {beside(behind)}.", rules.ONE_CLAIM, event)
        else:
            self._claimed_late(event, fact, behind)
        self._runs(f"It runs: {fact.node} claimed attempt 1 at {wording.instant(fact.at)}.")

    def _claimed_late(self, event: Recorded, fact: ExecutionStarted, behind: timedelta) -> None:
        late = f"{fact.node} claimed it {wording.span(behind)} after its instant"
        known, rule, why = why_late(self._history, fact)
        self._say("claimed_late", f"{late}: {known}.", rule, event, *why)

    def _attempt_started(self, event: Recorded, fact: AttemptStarted) -> None:
        renewed = fact.number == self._number
        self._hold(event, fact.number, fact.task_version)
        if renewed:
            said = (
                f"{fact.node} renewed its claim of attempt {fact.number} before the call was sent, "
                f"from version {fact.task_version} of the task."
            )
            self._say(
                "claim_renewed", said, rules.CHANGED_FIRST, event, self._history.event(fact.task_version)
            )
        else:
            self._say("retried", self._retry(fact), rules.retried_by(self._claimed_from.retry), event)
        self._runs(f"It runs: {fact.node} claimed attempt {fact.number} at {wording.instant(fact.at)}.")

    def _retry(self, fact: AttemptStarted) -> str:
        behind = fact.at - (self._retry_at or fact.at)
        late = f", {wording.span(behind)} after it was planned" if behind > LATE else ""
        return f"{fact.node} claimed attempt {fact.number}{late}."

    def _taken_over(self, event: Recorded, fact: ExecutionTakenOver) -> None:
        lost = self._claim
        self._hold(event, fact.number, fact.task_version)
        said = (
            f"{fact.node} took it over with attempt {fact.number} at {wording.instant(fact.at)}: "
            f"{fact.lost_by} stopped without recording what attempt {fact.number - 1} brought."
        )
        self._say("taken_over", said, rules.TAKEOVER, *((lost,) if lost else ()), event)
        self._runs(f"It runs: {fact.node} took over attempt {fact.number} at {wording.instant(fact.at)}.")

    def _attempt_failed(self, event: Recorded, fact: AttemptFailed) -> None:
        self._call(event, fact.attempt)
        self._retry_at = fact.retry_at
        planned = wording.instant(fact.retry_at)
        brought = wording.answer(fact.attempt.answer)
        said = f"Attempt {fact.attempt.number} failed: {brought}. The next one was planned for {planned}."
        self._say("attempt_failed", said, rules.retried_by(self._claimed_from.retry), event)
        self.verdict = "waiting"
        self.summary = f"It waits: attempt {fact.attempt.number} failed, the next one is due at {planned}."

    def _succeeded(self, event: Recorded, fact: ExecutionSucceeded) -> None:
        self._call(event, fact.attempt)
        number, brought = fact.attempt.number, wording.answer(fact.attempt.answer)
        self._say("succeeded", f"Attempt {number} succeeded: {brought}.", rules.SUCCESS, event)
        self.verdict, self.summary = "succeeded", f"It ran{self._lateness()}: attempt {number} succeeded."

    def _failed(self, event: Recorded, fact: ExecutionFailed) -> None:
        if fact.attempt is None:
            rule, said = rules.TAKEOVER, f"It was given up: {fact.reason}."
        else:
            self._call(event, fact.attempt)
            rule = rules.retried_by(self._claimed_from.retry)
            brought = wording.answer(fact.attempt.answer)
            said = f"Attempt {fact.attempt.number} was the last: {brought}; {fact.reason}."
        self._say("failed", said, rule, event)
        self.verdict, self.summary = "failed", f"It ran{self._lateness()} and failed: {fact.reason}."

    def _skipped(self, event: Recorded, fact: ExecutionSkipped) -> None:
        if fact.reason.startswith("the task was paused"):
            rule, cause = rules.PAUSE, self._history.pause_of(self._due_at)
        else:
            cause = self._cause(event, fact.reason)
            rule = rules.CHANGED_FIRST if cause else rules.CATCH_UP
        said = f"It was skipped at {wording.instant(fact.at)}: {fact.reason}."
        self._say("skipped", said, rule, event, *cause)
        self.lateness = None
        self.verdict, self.summary = "skipped", f"It did not run: {fact.reason}."

    def _cancelled(self, event: Recorded, fact: ExecutionCancelled) -> None:
        cause = self._cause(event, fact.reason)
        open_end = "; whether its last call arrived is unknown" if fact.interrupted else ""
        said = f"It was cancelled at {wording.instant(fact.at)}: {fact.reason}{open_end}."
        self._say("cancelled", said, rules.NO_FURTHER_ATTEMPT, event, *cause)
        self.verdict, self.summary = "cancelled", f"It was cancelled: {fact.reason}."

    def _cause(self, event: Recorded, reason: str) -> tuple[Recorded, ...]:
        """The change of the task that a reason speaks of: the last one before it."""
        if not reason.startswith("the task"):
            return ()
        changes = [
            change
            for change in self._history.events
            if change.position < event.position and isinstance(change.fact, _CHANGES)
        ]
        return tuple(changes[-1:])

    def _hold(self, event: Recorded, number: int, version: int) -> None:
        self._claim, self._number = event, number
        self._ready_at = max(decided_at(event), self._send_at)
        self._claimed_from = self._history.definition(version)

    def _runs(self, summary: str) -> None:
        self.verdict, self.summary = "running", summary

    def _call(self, event: Recorded, attempt: Attempt) -> None:
        """Whether a call went out on time, as far as its claim and its own instant tell."""
        if self.lateness is None:
            self.lateness = max(attempt.started_at - self._send_at, timedelta())
        waited = attempt.started_at - self._ready_at
        if waited > LATE and self._claim is not None:
            late = f"Attempt {attempt.number} was sent {wording.span(waited)} after it was claimed and due"
            said = f"{late}: it waited for a free worker."
            self._say("sent_late", said, rules.WORKERS, self._claim, event)

    def _lateness(self) -> str:
        if self.lateness is None or self.lateness <= LATE:
            return ""
        return f" {wording.span(self.lateness)} late"

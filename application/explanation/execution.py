"""Why an execution was skipped, broken off or failed: the rule that decided, and what brought it about."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct
from msgspec.structs import replace

from application.explanation import policies, wording
from application.explanation import policies as consequences
from application.explanation import wording as rules
from application.explanation.history import named
from application.explanation.wording import Rule, Statement, decided_at
from application.ports import Recorded, Undecodable
from domain import retry
from domain import retry as failing
from domain.errors import shown
from domain.facts import (
    Answered,
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    TaskCancelled,
    TaskCompleted,
    TaskUpdated,
)
from domain.outcome import MAX_LOST_ATTEMPTS
from domain.retry import may_have_been_sent, retry_after_seconds
from domain.task import Paused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from application.explanation.history import History, Runs
    from application.explanation.wording import Verdict
    from domain.definition import Definition, RetryPolicy
    from domain.facts import Attempt, SkippedBy

LATE = timedelta(seconds=1)
"""What starts within this after its instant is on time for an explanation."""
NOBODY = "(none was running, none could reach the log, or none had room for its call)"


def why_late(history: History, fact: ExecutionStarted) -> tuple[str, Rule, tuple[Recorded, ...]]:
    """What is known of it, the rule that decided, and the task's events that tell it."""
    due_at = fact.occurrence.due_at
    definition = history.definition(fact.occurrence.task_version)
    if fact.occurrence.kind != "scheduled":
        return "no scheduler had seen the request before, or none had room for its call", rules.REQUEST, ()
    stint = history.stint_of(due_at)
    if stint is not None and decided_at(stint.opened) > due_at:
        why = f"the task was put on this instant only at {wording.instant(decided_at(stint.opened))}"
        return why + _after(decided_at(stint.opened), fact), rules.LIFECYCLE, (stint.opened,)
    pause = history.pause_of(due_at)
    if len(pause) == 2:
        why = f"the task was paused until {wording.instant(decided_at(pause[1]))}"
        return why + _after(decided_at(pause[1]), fact), policies.paused(definition), pause
    return f"no scheduler had claimed it before {NOBODY}", policies.catch_up(definition), ()


def _after(possible_since: datetime, fact: ExecutionStarted) -> str:
    """What else made it late, when it was not claimed soon after it could be."""
    return f", and then no scheduler claimed it at once {NOBODY}" if fact.at - possible_since > LATE else ""


def beside(behind: timedelta) -> str:
    """How far from its instant something was; negative is ahead of it."""
    if not behind:
        return "at its instant"
    return f"{wording.span(abs(behind))} {'ahead of' if behind < timedelta() else 'after'} its instant"


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
    answer, accepted = attempt.answer, fact.unmet is not None
    if retry.why_final(definition.retry, answer, accepted=accepted) is not None:
        gone = isinstance(answer, Answered) and retry.gone(definition.retry, answer.status_code)
        return policies.on_gone(definition) if gone and not accepted else policies.retry(definition)
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


class Queued(Struct, frozen=True):
    """An occurrence that waits, and the event that says so."""

    event: Recorded
    fact: ExecutionQueued

    def put(self, history: History, runs: Runs) -> Statement:
        """Why it waits."""
        behind = self.fact.behind
        claim = runs.claim(behind, self.event)
        rule = policies.overlap(history.definition(self.fact.occurrence.task_version))
        said = f"It was queued at {wording.instant(self.fact.at)}, behind {runs.told(behind, self.event)}."
        return Statement.of("queued", said, rule, self.event, *((claim,) if claim else ()))

    def taken(
        self, event: Recorded, fact: ExecutionStarted, late: timedelta, history: History, runs: Runs
    ) -> Statement:
        """Why it started when it did, so `late` after its instant."""
        end, pause = runs.end(self.fact.behind, event), history.pause_within(self.event, event)
        said = f"{fact.node} started it from the queue, {beside(late)}"
        if end is not None:
            said += f"; {named(self.fact.behind)} had ended at {wording.instant(decided_at(end))}"
        if pause:
            said += f"; the task was paused until {wording.instant(decided_at(pause[-1]))}"
        rule = policies.overlap(history.definition(fact.occurrence.task_version))
        events = (event, self.event, *((end,) if end else ()), *pause)
        return Statement.of("started_from_queue", f"{said}.", rule, *events)

    def held_up(self, history: History) -> list[Statement]:
        """Why it waits on although there may be room."""
        task = history.task
        if not isinstance(task, Paused):
            return []
        at = wording.instant(task.since)
        said = f"The task is paused since {at}: what waits in its queue starts once it is resumed."
        return [Statement.of("paused", said, policies.paused(task.definition), *history.pause_of(task.since))]


def asked_for(fact: AttemptFailed, policy: RetryPolicy) -> str | None:
    """What the header said, and whether the next attempt was planned by it; None: there was none."""
    answer = fact.attempt.answer
    header = answer.headers.get("retry-after") if isinstance(answer, Answered) else None
    if header is None:
        return None
    wait, most = retry_after_seconds(header, fact.at), policy.max_retry_after_seconds
    return f"The answer had Retry-After: {shown(header)}, {_came_to(fact, wait, most)}."


def _came_to(fact: AttemptFailed, wait: float, most: float) -> str:
    if not most:
        return "which max_retry_after_seconds 0 ignores"
    if not wait:
        return "which asks for no wait, or cannot be read"
    if fact.retry_at != fact.at + timedelta(seconds=min(wait, most)):
        return "and the policy's own wait was longer"
    planned = wording.instant(fact.retry_at)
    if wait > most:
        return f"which max_retry_after_seconds {most:g} cut to {wording.seconds(most)}: until {planned}"
    return f"so the next attempt was planned for {planned}"


_MILLISECOND = timedelta(milliseconds=1)
WAITS = "It waits to be claimed by a scheduler."


class Story(Struct, frozen=True, kw_only=True):
    """What an execution's stream tells."""

    verdict: Verdict
    summary: str
    lateness_ms: int | None
    statements: tuple[Statement, ...]


def tell(events: Sequence[Recorded], due_at: datetime, history: History, runs: Runs) -> Story:
    """The story of an execution's events, of which there is at least one."""
    teller = _Teller(due_at, history, runs)
    for event in events:
        teller.hear(event)
    teller.close()
    return Story(
        verdict=teller.verdict,
        summary=teller.summary,
        lateness_ms=None if teller.lateness is None else teller.lateness // _MILLISECOND,
        statements=tuple(teller.statements),
    )


class _Teller:
    """Listens to the events in their order and keeps what later ones are compared with."""

    def __init__(self, due_at: datetime, history: History, runs: Runs) -> None:
        self._history = history
        self._others = runs
        self._queued: Queued | None = None
        self._claim: Recorded | None = None
        self._claimed_from = history.task.definition
        self._send_at = self._ready_at = due_at
        self._number = 0
        self._renewed = False
        self._before = Before()
        self._retry_at: datetime | None = None
        self.lateness: timedelta | None = None
        self.statements: list[Statement] = []
        self.verdict: Verdict = "pending"
        self.summary = WAITS

    def hear(self, event: Recorded) -> None:
        """Take in the next event."""
        match event.fact:
            case ExecutionRequested() as fact:
                self._requested(event, fact)
            case ExecutionQueued() as fact:
                self._put_in_queue(Queued(event, fact))
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

    def close(self) -> None:
        """Nothing further was heard."""
        if self._queued is not None and self.verdict == "pending":
            self.statements += self._queued.held_up(self._history)

    def _say(self, code: str, text: str, rule: Rule, *events: Recorded) -> None:
        self.statements.append(Statement.of(code, text, rule, *events))

    def _requested(self, event: Recorded, fact: ExecutionRequested) -> None:
        self._queued, self._before = None, Before()
        self._send_at = max(fact.occurrence.send_at, fact.at)
        self.verdict, self.summary = "pending", WAITS
        said = f"A {fact.occurrence.kind} run was asked for at {wording.instant(fact.at)}."
        self._say("requested", said, rules.REQUEST, event)

    def _put_in_queue(self, queued: Queued) -> None:
        self._queued = queued
        self.statements.append(queued.put(self._history, self._others))
        self.verdict = "pending"
        self.summary = f"It waits in the queue of its task, behind {named(queued.fact.behind)}."

    def _started(self, event: Recorded, fact: ExecutionStarted) -> None:
        self._send_at = max(self._send_at, fact.occurrence.send_at)
        self._hold(event, 1, fact.occurrence.task_version)
        behind = fact.at - self._send_at
        if self._queued is not None:
            taken = self._queued.taken(event, fact, behind, self._history, self._others)
            self.statements.append(taken)
        elif behind <= LATE:
            self._say("claimed", f"{fact.node} claimed it {beside(behind)}.", rules.ONE_CLAIM, event)
        else:
            self._claimed_late(event, fact, behind)
        self._queued = None
        for end in self._others.cancelled_with(event):
            self._say(
                "replaced",
                f"It took the place of {named(end.stream)}.",
                policies.overlap(self._claimed_from),
                event,
                end,
            )
        self._runs(f"It runs: {fact.node} claimed attempt 1 at {wording.instant(fact.at)}.")

    def _claimed_late(self, event: Recorded, fact: ExecutionStarted, behind: timedelta) -> None:
        late = f"{fact.node} claimed it {wording.span(behind)} after its instant"
        known, rule, why = why_late(self._history, fact)
        self._say("claimed_late", f"{late}: {known}.", rule, event, *why)

    def _attempt_started(self, event: Recorded, fact: AttemptStarted) -> None:
        if fact.number == self._number:
            self._renew(event, fact)
        else:
            self._hold(event, fact.number, fact.task_version)
            self._say("retried", self._retry(fact), policies.retry(self._claimed_from), event)
        self._runs(f"It runs: {fact.node} claimed attempt {fact.number} at {wording.instant(fact.at)}.")

    def _renew(self, event: Recorded, fact: AttemptStarted) -> None:
        """Its call is late by what it has waited since it was claimed first."""
        before, ready_at = self._claimed_from, self._ready_at
        self._hold(event, fact.number, fact.task_version)
        self._ready_at, self._renewed = ready_at, True
        said = f"{fact.node} renewed its claim of attempt {fact.number} before the call was sent"
        if self._claimed_from == before:
            self._say("claim_renewed", f"{said}.", rules.ONE_CLAIM, event)
            return
        changed = f"{said}, from version {fact.task_version} of the task."
        change = self._history.defined_by(fact.task_version)
        self._say("claim_renewed", changed, rules.CHANGED_FIRST, event, change)

    def _retry(self, fact: AttemptStarted) -> str:
        behind = fact.at - (self._retry_at or fact.at)
        late = f", {wording.span(behind)} after it was planned" if behind > LATE else ""
        return f"{fact.node} claimed attempt {fact.number}{late}."

    def _taken_over(self, event: Recorded, fact: ExecutionTakenOver) -> None:
        lost, self._before = self._claim, Before(sent=True, lost=self._before.lost + 1)
        self._hold(event, fact.number, fact.task_version)
        said = (
            f"{fact.node} took it over with attempt {fact.number} at {wording.instant(fact.at)}: "
            f"{fact.lost_by} stopped without recording what attempt {fact.number - 1} brought."
        )
        self._say(
            "taken_over", said, policies.delivery(self._claimed_from), *((lost,) if lost else ()), event
        )
        self._runs(f"It runs: {fact.node} took over attempt {fact.number} at {wording.instant(fact.at)}.")

    def _attempt_failed(self, event: Recorded, fact: AttemptFailed) -> None:
        self._call(event, fact.attempt)
        self._unmet(event, fact.attempt, fact.unmet)
        self._retry_at = fact.retry_at
        sent = self._before.sent or may_have_been_sent(fact.attempt.answer)
        self._before = replace(self._before, sent=sent)
        planned = wording.instant(fact.retry_at)
        brought = wording.answer(fact.attempt.answer)
        said = f"Attempt {fact.attempt.number} failed: {brought}. The next one was planned for {planned}."
        self._say("attempt_failed", said, policies.retry(self._claimed_from), event)
        if asked := asked_for(fact, self._claimed_from.retry):
            self._say("retry_after", asked, policies.retry(self._claimed_from), event)
        self.verdict = "waiting"
        self.summary = f"It waits: attempt {fact.attempt.number} failed, the next one is due at {planned}."

    def _unmet(self, event: Recorded, attempt: Attempt, unmet: str | None) -> None:
        if unmet is not None:
            said = f"Attempt {attempt.number} was no success, whatever its status: {unmet}."
            self._say("unmet", said, policies.success(self._claimed_from), event)

    def _succeeded(self, event: Recorded, fact: ExecutionSucceeded) -> None:
        self._call(event, fact.attempt)
        number, brought = fact.attempt.number, wording.answer(fact.attempt.answer)
        said = f"Attempt {number} succeeded: {brought}."
        self._say("succeeded", said, policies.success(self._claimed_from), event)
        self.verdict, self.summary = "succeeded", f"It ran{self._lateness()}: attempt {number} succeeded."
        self.statements += consequences.of_end(self._history, event)

    def _failed(self, event: Recorded, fact: ExecutionFailed) -> None:
        if fact.attempt is None:
            rule = why_given_up(fact, self._history.definition_at(event), self._before)
            self._say("failed", f"It was given up: {fact.reason}.", rule, event)
        else:
            self._last_attempt_failed(event, fact, fact.attempt)
        self.verdict, self.summary = "failed", f"It ran{self._lateness()} and failed: {fact.reason}."
        self.statements += consequences.of_end(self._history, event)

    def _last_attempt_failed(self, event: Recorded, fact: ExecutionFailed, attempt: Attempt) -> None:
        self._call(event, attempt)
        self._unmet(event, attempt, fact.unmet)
        said = f"Attempt {attempt.number} was the last: {wording.answer(attempt.answer)}; {fact.reason}."
        rule = why_failed(fact, attempt, self._claimed_from, self._before)
        self._say("failed", said, rule, event)

    def _skipped(self, event: Recorded, fact: ExecutionSkipped) -> None:
        cause = why_skipped(event, fact, self._history, self._others)
        said = f"It was skipped at {wording.instant(fact.at)}: {fact.reason}{cause.besides}."
        self._say("skipped", said, cause.rule, event, *cause.events)
        self.lateness = None
        self.verdict, self.summary = "skipped", f"It did not run: {fact.reason}."

    def _cancelled(self, event: Recorded, fact: ExecutionCancelled) -> None:
        cause = why_cancelled(event, fact, self._claimed_from, self._history, self._others)
        open_end = "; whether its last call arrived is unknown" if fact.interrupted else ""
        said = f"It was cancelled at {wording.instant(fact.at)}: {fact.reason}{cause.besides}{open_end}."
        self._say("cancelled", said, cause.rule, event, *cause.events)
        self.verdict, self.summary = "cancelled", f"It was cancelled: {fact.reason}."

    def _hold(self, event: Recorded, number: int, version: int) -> None:
        self._claim, self._number, self._renewed = event, number, False
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
            log = ", or for the log to take its claim anew" if self._renewed else ""
            said = f"{late}: it waited for room among all calls, or at its host{log}."
            self._say("sent_late", said, rules.ROOM, self._claim, event)

    def _lateness(self) -> str:
        if self.lateness is None or self.lateness <= LATE:
            return ""
        return f" {wording.span(self.lateness)} late"

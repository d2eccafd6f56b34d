"""A check on the command line: its progress, what differs, and the sum of it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TextIO
from uuid import UUID

import click
import msgspec
from msgspec import Struct

from application.explanation import wording
from application.explanation.wording import EARLIEST, LATEST, Event, Explanation, Rule, Statement
from domain.audit import Finding
from domain.errors import shown
from infrastructure.audit_log.verifying import Verified
from infrastructure.projector.batch import QuarantinedEvent
from infrastructure.projector.check import Checked, Difference
from infrastructure.projector.rebuild import Rebuilt
from interfaces.bootstrap.jobs import VerifiedBundle
from interfaces.http.body_errors import read
from interfaces.http.schedule import ClockChange
from interfaces.http.simulation import (
    OccurrenceCounts,
    OccurrenceDifference,
    Simulated,
    SimulatedOccurrence,
    SimulatedTask,
    SimulatedWindow,
    SimulationAnswer,
    SimulationRequest,
)

TERMINAL_SECONDS, PLAIN_SECONDS = 0.1, 5.0
_CLEAR_LINE = "\r\033[K"


class Progress:
    """Says now and then how far something is."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._terminal = stream.isatty()
        self._interval = TERMINAL_SECONDS if self._terminal else PLAIN_SECONDS
        self._started = self._told = clock()
        self._stage, self._from = "", 0

    def begun(self, position: int) -> None:
        """What lies up to a position was done before: it does not count for the rate, which begins now."""
        self._from = position
        self._started = self._told = self._clock()

    def reached(self, position: int, until: int) -> None:
        """So much of the log is done: with the rate, and the time that is left at that rate."""
        if not self._due():
            return
        rate = (position - self._from) / (self._told - self._started)
        left = f", {timedelta(seconds=round((until - position) / rate))} left" if rate else ""
        stage = f"{self._stage}: " if self._stage else ""
        percent = 100 * position // max(until, 1)
        self._say(f"{stage}event {position:,} of {until:,} ({percent} %), {rate:,.0f}/s{left}")

    def at_stage(self, stage: str, position: int, until: int) -> None:
        """The same of one of several stages; the first word of a stage tells from where on it counts."""
        if stage != self._stage:
            self._stage, self._from, self._started = stage, position, self._clock()
            self._told = self._started
        self.reached(position, until)

    def doing(self, what: str) -> None:
        """Something that takes its time is being done now."""
        if self._due():
            self._say(what)

    def note(self, text: str) -> None:
        """Say something that is to stay."""
        self.clear()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def clear(self) -> None:
        """Make room for something else on a terminal."""
        if self._terminal:
            self._stream.write(_CLEAR_LINE)
            self._stream.flush()

    def _due(self) -> bool:
        """Whether there was nothing to be seen for long enough; it counts from now on then."""
        now = self._clock()
        due = now - self._told >= self._interval
        self._told = now if due else self._told
        return due

    def _say(self, text: str) -> None:
        self.clear()
        self._stream.write(text if self._terminal else f"{text}\n")
        self._stream.flush()


@contextlib.contextmanager
def shown_progress() -> Iterator[Progress]:
    """Progress on stderr, of which nothing is left on a terminal at the end."""
    progress = Progress(sys.stderr)
    try:
        yield progress
    finally:
        progress.clear()


_KINDS = {"missing": "the row is missing", "unexpected": "the row should not be there"}


class CheckWords(Protocol):
    """How a check is told."""

    def differs(self, difference: Difference) -> str:
        """A row that is not what the log tells."""
        ...

    def refused(self, event: QuarantinedEvent) -> str:
        """An event that cannot be applied, though the read model has not parked it."""
        ...

    def ended(self, checked: Checked) -> str:
        """The sum of it."""
        ...


class CheckReport:
    """Tells of a check while it goes on: progress beside, what differs on the output."""

    def __init__(self, words: CheckWords, output: TextIO, progress: Progress) -> None:
        self._words = words
        self._output = output
        self._progress = progress

    def folded(self, position: int, until: int) -> None:
        """The log is folded up to a position."""
        self._progress.reached(position, until)

    def comparing(self, table: str) -> None:
        """A table is compared now."""
        self._progress.doing(f"comparing {table}")

    def refused(self, event: QuarantinedEvent) -> None:
        """An event cannot be applied."""
        self._put(self._words.refused(event))

    def differs(self, difference: Difference) -> None:
        """A row is not what the log tells."""
        self._put(self._words.differs(difference))

    def ended(self, checked: Checked) -> None:
        """All is compared."""
        self._put(self._words.ended(checked))

    def _put(self, text: str) -> None:
        self._progress.clear()
        self._output.write(f"{text}\n")


class CheckSentences:
    """For people."""

    def differs(self, difference: Difference) -> str:
        """See `Words`."""
        key = ", ".join(f"{name} {value}" for name, value in difference.key.items())
        return f"{difference.table}, {key}: {_KINDS.get(difference.kind) or '; '.join(_columns(difference))}"

    def refused(self, event: QuarantinedEvent) -> str:
        """See `Words`."""
        return (
            f"{event.projection}: event {event.position} cannot be applied, and is not parked: {event.error}"
        )

    def ended(self, checked: Checked) -> str:
        """See `Words`."""
        return "\n".join(_check_summary(checked))


def _columns(difference: Difference) -> Iterator[str]:
    for column in difference.columns:
        values = f" is {_value(column.stored)}, should be {_value(column.expected)}"
        yield f"{column.name}{values if column.told else ' differs'}"


def _value(value: str | None) -> str:
    return "empty" if value is None else value


def _check_summary(checked: Checked) -> Iterator[str]:
    for name, position in checked.positions.items():
        parked = checked.parked[name]
        left_out = f"; its {parked:,} parked events left out" if parked else ""
        yield f"{name} compared as of event {position:,}{left_out}"
    if checked.refused:
        yield f"{checked.refused:,} events cannot be applied"
    if checked.differences:
        rows = "1 row differs" if checked.differences == 1 else f"{checked.differences:,} rows differ"
        yield f"{rows}; `chronoledger rebuild` writes what the log tells"
    else:
        yield "no row differs"


class CheckJsonLines:
    """For programs."""

    def differs(self, difference: Difference) -> str:
        """See `Words`."""
        columns = [column._asdict() for column in difference.columns]
        return _json({"type": "difference", **difference._asdict(), "columns": columns})

    def refused(self, event: QuarantinedEvent) -> str:
        """See `Words`."""
        return _json({"type": "refused", **event._asdict()})

    def ended(self, checked: Checked) -> str:
        """See `Words`."""
        return _json({"type": "sum", **checked._asdict()})


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def check_report(*, as_json: bool) -> CheckReport:
    """What a command tells with: the outcome on stdout, the progress on stderr."""
    return CheckReport(CheckJsonLines() if as_json else CheckSentences(), sys.stdout, Progress(sys.stderr))


class OfTask(Struct, frozen=True):
    """An instant of a task, or (`at` None) where it stands."""

    task_id: UUID
    at: datetime | None


class OfExecution(Struct, frozen=True):
    """What became of an execution."""

    execution_id: UUID


def explanation_question(
    task_id: UUID | None, at: str | None, execution_id: UUID | None
) -> OfTask | OfExecution:
    """What is asked. Raises `click.UsageError`, which says what to give."""
    if execution_id is not None:
        if task_id is not None or at is not None:
            raise click.UsageError("--execution stands alone: leave TASK_ID and --at out.")
        return OfExecution(execution_id)
    if task_id is None:
        raise click.UsageError("Give the id of a task, or --execution with the id of an execution.")
    return OfTask(task_id, None if at is None else _instant(at))


def _instant(text: str) -> datetime:
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        given = None
    if given is None or given.tzinfo is None:
        advice = "give ISO 8601 with an offset, such as 2030-01-01T12:00:00Z"
        raise click.UsageError(f"--at {shown(text)} is not an instant: {advice}.")
    if not EARLIEST <= given < LATEST:
        raise click.UsageError(f"--at {shown(text)} is out of reach: give an instant from 1970 to 9998.")
    return given


def explanation_json(explanation: Explanation) -> str:
    """The data, as the API shows it."""
    return msgspec.json.format(msgspec.json.encode(explanation)).decode()


def explanation_text(explanation: Explanation) -> str:
    """The sentences, each with the rule that decided and the events that tell it."""
    return "\n".join(_lines(explanation))


def _lines(explanation: Explanation) -> Iterator[str]:
    yield explanation.summary
    yield ""
    facts = (
        ("verdict", explanation.verdict),
        ("task", explanation.task_id),
        ("execution", explanation.execution_id),
        ("instant", explanation.at),
        ("late by", _lateness(explanation.lateness_ms)),
        ("before", explanation.previous),
        ("after", explanation.next),
    )
    for name, value in facts:
        if value is not None:
            yield f"{name:<10} {wording.instant(value) if isinstance(value, datetime) else value}"
    for statement in explanation.statements:
        yield ""
        yield from _statement(statement)


def _lateness(milliseconds: int | None) -> str | None:
    return wording.span(timedelta(milliseconds=milliseconds)) if milliseconds else None


def _statement(statement: Statement) -> Iterator[str]:
    yield f"- {statement.text}"
    yield f"  rule: {_rule(statement.rule)}"
    for event in statement.events:
        yield f"  event: {_event(event)}"


def _rule(rule: Rule) -> str:
    """Most policies name themselves in what they say."""
    return rule.text if rule.text.startswith(f"{rule.name} ") else f"{rule.name}: {rule.text}"


def _event(event: Event) -> str:
    at, why = wording.instant(event.at), f": {event.reason}" if event.reason else ""
    place = f"{event.position} {event.topic}, version {event.version} of {event.stream}"
    return f"{place}, {at} by {event.actor}{why}"


class RebuildReport:
    """Tells of a rebuild while it goes on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def resumed(self, position: int) -> None:
        """An interrupted rebuild is gone on with."""
        self._progress.begun(position)
        self._progress.note(f"going on with an interrupted rebuild, from event {position:,}")

    def begun_again(self) -> None:
        """Processes that shared the log have met what only one can judge."""
        self._progress.begun(0)
        self._progress.note("an event cannot be applied: one process folds the log, from its beginning")

    def folded(self, position: int, until: int) -> None:
        """The log is folded up to a position."""
        self._progress.reached(position, until)

    def indexing(self) -> None:
        """The log is read."""
        self._progress.doing("making indexes")

    def ended(self, names: Sequence[str], rebuilt: Rebuilt) -> str:
        """What came out."""
        self._progress.clear()
        parked = f"; {rebuilt.parked} events could not be applied and are parked" if rebuilt.parked else ""
        return f"rebuilt {', '.join(names)} up to event {rebuilt.position}{parked}"


def rebuild_report() -> RebuildReport:
    """What the command tells with."""
    return RebuildReport(Progress(sys.stderr))


_COUNTED = ("occurrences", "succeeded", "failed", "cancelled", "unfinished", "queued", "caught_up", "calls")
_SKIPPED = ("overlap", "catch_up", "pause", "change")


def simulation_question(body: bytes) -> SimulationRequest:
    """What is asked. Raises `MalformedBody` and `InvalidBody`."""
    return read(body, SimulationRequest)


def simulation_json(simulated: Simulated) -> str:
    """The answer as the API gives it."""
    return msgspec.json.format(msgspec.json.encode(SimulationAnswer.of(simulated))).decode()


def simulation_text(simulated: Simulated, most: int) -> str:
    """The answer for people, with so many differences of each window."""
    answer = SimulationAnswer.of(simulated)
    windows = {"past": answer.past, "future": answer.future}
    return "\n".join(
        line for name, window in windows.items() if window is not None for line in _window(name, window, most)
    )


def _window(name: str, window: SimulatedWindow, most: int) -> Iterator[str]:
    yield f"{name}: {window.from_:%Y-%m-%d %H:%M:%S} to {window.to:%Y-%m-%d %H:%M:%S} UTC"
    for task in window.tasks:
        yield from _task(task)
    yield from _crowds(window)
    for changes in window.clock_changes:
        for side, found in (("before", changes.before), ("after", changes.after)):
            yield from (f"  clocks, {side}: {line}" for change in found for line in _clock_change(change))
    for downtime in window.downtimes:
        yield f"  nobody claimed from {downtime.from_:%Y-%m-%d %H:%M:%S} to {downtime.to:%H:%M:%S}"
    yield f"  {window.differences_total} occurrences differ"
    for difference in window.differences[:most]:
        yield f"    {_difference(difference)}"
    if window.differences_total > most:
        yield "    … (--differences, --json and `limit` show more)"


def _task(task: SimulatedTask) -> Iterator[str]:
    yield f"  {task.name} ({task.task_id or 'new'})"
    for name, before, after in _rows(task.before, task.after):
        mark = "" if before == after else "   *"
        yield f"    {name:<19}{before:>8} → {after:<8}{mark}".rstrip()
    if task.assumed:
        of = (
            f"the median of {task.usual_duration_of} calls"
            if task.usual_duration_of
            else "as given, or a guess"
        )
        yield f"    {task.assumed} executions are assumed to succeed in {task.usual_duration_ms} ms: {of}"


def _rows(before: OccurrenceCounts, after: OccurrenceCounts) -> Iterator[tuple[str, int, int]]:
    """What is zero in both accounts says nothing."""
    rows = [(name, getattr(before, name), getattr(after, name)) for name in _COUNTED]
    rows[2:2] = [
        (f"skipped: {name}", getattr(before.skipped, name), getattr(after.skipped, name)) for name in _SKIPPED
    ]
    return ((name.replace("_", " "), one, other) for name, one, other in rows if one or other)


def _crowds(window: SimulatedWindow) -> Iterator[str]:
    peaks = [side.peaks[0] if side.peaks else None for side in (window.load.before, window.load.after)]
    told = ["none" if peak is None else f"{peak.calls} at {peak.minute:%m-%d %H:%M}" for peak in peaks]
    yield f"  most calls in a minute: {told[0]} → {told[1]}"
    for each in window.collisions:
        yield f"  most at once at {each.destination}: {each.before.most} → {each.after.most}"


def _clock_change(change: ClockChange) -> Iterator[str]:
    for each in change.times:
        yield f"{each.text} ({change.timezone})"


def _difference(difference: OccurrenceDifference) -> str:
    told = [_occurrence(side) for side in (difference.before, difference.after)]
    assumed = " (assumed)" if difference.assumed else ""
    return f"{difference.due_at:%Y-%m-%d %H:%M:%S}  {told[0]} → {told[1]}{assumed}"


def _occurrence(occurrence: SimulatedOccurrence | None) -> str:
    if occurrence is None:
        return "no occurrence"
    by = f" by {occurrence.by}" if occurrence.by else ""
    at = f" at {occurrence.began_at:%H:%M:%S}" if occurrence.began_at else ""
    tries = f", {occurrence.attempts} attempts" if occurrence.attempts > 1 else ""
    return f"{occurrence.status}{by}{at}{tries}"


MOST_TOLD = 20
"""So many findings are told in sentences; programs get all of them."""


class VerifyWords(Protocol):
    """How a verification is told."""

    def found(self, finding: Finding) -> str | None:
        """Something is not as it was sealed; None: nothing is said of it."""
        ...

    def ended(self, verified: Verified) -> str:
        """The sum of it."""
        ...

    def bundle(self, checked: VerifiedBundle) -> str:
        """The sum of what a bundle holds."""
        ...


class VerifyReport:
    """Tells of a verification while it goes on: progress beside, what was changed on the output."""

    def __init__(self, words: VerifyWords, output: TextIO, progress: Progress) -> None:
        self._words = words
        self._output = output
        self._progress = progress

    def verified(self, events: int, until: int) -> None:
        """So many events are compared."""
        self._progress.reached(events, until)

    def found(self, finding: Finding) -> None:
        """Something was changed."""
        text = self._words.found(finding)
        if text is not None:
            self._put(text)

    def ended(self, verified: Verified) -> None:
        """All is compared."""
        self._put(self._words.ended(verified))

    def bundle(self, checked: VerifiedBundle) -> None:
        """Evidence is checked."""
        for finding in checked.findings:
            self.found(finding)
        self._put(self._words.bundle(checked))

    def _put(self, text: str) -> None:
        self._progress.clear()
        self._output.write(f"{text}\n")


class VerifySentences:
    """For people."""

    def __init__(self) -> None:
        self._told = 0

    def found(self, finding: Finding) -> str | None:
        """See `Words`."""
        self._told += 1
        if self._told > MOST_TOLD:
            return None
        one = finding.position == finding.until
        where = f"position {finding.position}" if one else f"positions {finding.position} to {finding.until}"
        return f"{where}: {finding.detail}"

    def ended(self, verified: Verified) -> str:
        """See `Words`."""
        return "\n".join(_verify_summary(verified))

    def bundle(self, checked: VerifiedBundle) -> str:
        """See `Words`."""
        return "\n".join(_sum_of_bundle(checked))


def _verify_summary(verified: Verified) -> Iterator[str]:
    if verified.findings > MOST_TOLD:
        yield f"and {verified.findings - MOST_TOLD:,} more; --json tells all of them"
    if verified.sealed_at is not None:
        until = f"up to position {verified.position:,}, sealed at {verified.sealed_at.isoformat()}"
        seals = "its seal" if verified.events == 1 else "their seals"
        yield f"{_counted(verified.events, 'event')} compared with {seals}, {until}"
    if verified.witnessed:
        were = "was" if verified.witnessed == 1 else "were"
        yield f"and with {_counted(verified.witnessed, 'head')} that {were} kept elsewhere"
    if verified.unsealed:
        are, them = ("is", "it") if verified.unsealed == 1 else ("are", "them")
        later = _counted(verified.unsealed, "later event")
        yield f"{later} {are} not sealed yet, so nothing is known of {them}"
    yield from _redacted(verified.rewritten, verified.redacted_tasks)
    if not verified.pinned and verified.sealed_at is not None:
        yield (
            "the public key is the one that is stored beside the heads, where whoever changes the log can "
            "change it too: pin yours with --key"
        )
    if verified.unknown_key and verified.findings == 1:
        yield "this is not proved to be the log that was sealed with the key of --key; nothing else was found"
    elif verified.findings:
        findings = _counted(verified.findings, "finding")
        yield f"the log was changed: {findings}, the first at position {verified.first}"
    elif verified.events:
        yield "nothing else was changed" if verified.rewritten else "nothing was changed"
    else:
        yield "nothing is sealed" if verified.unsealed else "the log is empty"


def _sum_of_bundle(checked: VerifiedBundle) -> Iterator[str]:
    evidence, head = checked.evidence, checked.evidence.signed.head
    yield f"execution {evidence.stream}: {_counted(len(evidence.events), 'event')}"
    yield f"proved by the head of {_counted(head.tree_size, 'event')}, signed at {head.sealed_at.isoformat()}"
    redacted = evidence.redacted()
    yield from _redacted(redacted.total(), len(redacted))
    if not checked.pinned:
        yield "the public key is the one in the bundle, chosen by whoever made it: pin yours with --key"
    if checked.findings:
        yield "this is not proved to be what the log held"
    else:
        yield "all of them were in the log then, as they are here"


def _counted(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"


def _redacted(events: int, tasks: int) -> Iterator[str]:
    if events:
        were, left = ("1 event was", "it still holds is what it held")
        if events > 1:
            were, left = (f"{events:,} events were", "they still hold is what they held")
        of = "the redaction of 1 task" if tasks == 1 else f"the redactions of {tasks:,} tasks"
        yield f"{were} rewritten by {of}; that what {left} is not proved"


class VerifyJsonLines:
    """For programs."""

    def found(self, finding: Finding) -> str:
        """See `Words`."""
        return _json({"type": "finding", **msgspec.structs.asdict(finding)})

    def ended(self, verified: Verified) -> str:
        """See `Words`."""
        return _json({"type": "sum", **verified._asdict()})

    def bundle(self, checked: VerifiedBundle) -> str:
        """See `Words`."""
        evidence, head = checked.evidence, checked.evidence.signed.head
        redacted = evidence.redacted()
        return _json(
            {
                "type": "sum",
                "execution_id": evidence.stream,
                "events": len(evidence.events),
                "tree_size": head.tree_size,
                "sealed_at": head.sealed_at,
                "findings": len(checked.findings),
                "pinned": checked.pinned,
                "rewritten": redacted.total(),
                "redacted_tasks": len(redacted),
            }
        )


def verify_report(*, as_json: bool) -> VerifyReport:
    """What a command tells with: the outcome on stdout, the progress on stderr."""
    return VerifyReport(VerifyJsonLines() if as_json else VerifySentences(), sys.stdout, Progress(sys.stderr))

"""A verification on the command line: its progress, what was changed, and the sum of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol, TextIO

import msgspec

from interfaces.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interfaces.bootstrap import Finding, Verified, VerifiedBundle

MOST_TOLD = 20
"""So many findings are told in sentences; programs get all of them."""


class Words(Protocol):
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


class Report:
    """Tells of a verification while it goes on: progress beside, what was changed on the output."""

    def __init__(self, words: Words, output: TextIO, progress: Progress) -> None:
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


class Sentences:
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
        return "\n".join(_sum(verified))

    def bundle(self, checked: VerifiedBundle) -> str:
        """See `Words`."""
        return "\n".join(_sum_of_bundle(checked))


def _sum(verified: Verified) -> Iterator[str]:
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


class JsonLines:
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


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def report(*, as_json: bool) -> Report:
    """What a command tells with: the outcome on stdout, the progress on stderr."""
    return Report(JsonLines() if as_json else Sentences(), sys.stdout, Progress(sys.stderr))

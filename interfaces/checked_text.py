"""A check on the command line: its progress, what differs, and the sum of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol, TextIO

import msgspec

from interfaces.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interfaces.bootstrap import Checked, Difference, Parked

_KINDS = {"missing": "the row is missing", "unexpected": "the row should not be there"}


class Words(Protocol):
    """How a check is told."""

    def differs(self, difference: Difference) -> str:
        """A row that is not what the log tells."""
        ...

    def refused(self, event: Parked) -> str:
        """An event that cannot be applied, though the read model has not parked it."""
        ...

    def ended(self, checked: Checked) -> str:
        """The sum of it."""
        ...


class Report:
    """Tells of a check while it goes on: progress beside, what differs on the output."""

    def __init__(self, words: Words, output: TextIO, progress: Progress) -> None:
        self._words = words
        self._output = output
        self._progress = progress

    def folded(self, position: int, until: int) -> None:
        """The log is folded up to a position."""
        self._progress.reached(position, until)

    def comparing(self, table: str) -> None:
        """A table is compared now."""
        self._progress.doing(f"comparing {table}")

    def refused(self, event: Parked) -> None:
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


class Sentences:
    """For people."""

    def differs(self, difference: Difference) -> str:
        """See `Words`."""
        key = ", ".join(f"{name} {value}" for name, value in difference.key.items())
        return f"{difference.table}, {key}: {_KINDS.get(difference.kind) or '; '.join(_columns(difference))}"

    def refused(self, event: Parked) -> str:
        """See `Words`."""
        return (
            f"{event.projection}: event {event.position} cannot be applied, and is not parked: {event.error}"
        )

    def ended(self, checked: Checked) -> str:
        """See `Words`."""
        return "\n".join(_sum(checked))


def _columns(difference: Difference) -> Iterator[str]:
    for column in difference.columns:
        values = f" is {_value(column.stored)}, should be {_value(column.expected)}"
        yield f"{column.name}{values if column.told else ' differs'}"


def _value(value: str | None) -> str:
    return "empty" if value is None else value


def _sum(checked: Checked) -> Iterator[str]:
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


class JsonLines:
    """For programs."""

    def differs(self, difference: Difference) -> str:
        """See `Words`."""
        columns = [column._asdict() for column in difference.columns]
        return _json({"type": "difference", **difference._asdict(), "columns": columns})

    def refused(self, event: Parked) -> str:
        """See `Words`."""
        return _json({"type": "refused", **event._asdict()})

    def ended(self, checked: Checked) -> str:
        """See `Words`."""
        return _json({"type": "sum", **checked._asdict()})


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def report(*, as_json: bool) -> Report:
    """What a command tells with: the outcome on stdout, the progress on stderr."""
    return Report(JsonLines() if as_json else Sentences(), sys.stdout, Progress(sys.stderr))

"""A place in the log and its instant; and why there may be none."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from application.explanation.claims import Streams
    from application.ports import Recorded


class Moment(Struct, frozen=True, gc=False):
    """After the event at `position` (0: before the first), before the next one; `at` is an instant then."""

    position: int
    at: datetime


class NotYet(Exception):
    """What is asked for lies in the future; ask for an earlier instant or place."""


class TooMuchHistory(Exception):
    """More events would have to be folded than one answer is worth; ask for less."""


class Cut:
    """The streams of the log as they were at a moment."""

    def __init__(self, log: Streams, moment: Moment) -> None:
        self._log = log
        self._position = moment.position

    async def read_stream(self, stream: UUID) -> Sequence[Recorded]:
        """Every fact of a stream until then. Raises `LogUnavailable`."""
        events = await self._log.read_stream(stream)
        return [event for event in events if event.position <= self._position]


class Stopped:
    """`Now` of a moment."""

    def __init__(self, moment: Moment) -> None:
        self._now = moment.at

    def now(self) -> datetime:
        """The instant."""
        return self._now

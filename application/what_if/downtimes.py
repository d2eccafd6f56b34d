"""When nobody claimed, as late claims tell."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


class Downtimes:
    """Spans in which no scheduler claimed: from an instant on and before another, in order, apart."""

    def __init__(self, spans: Iterable[tuple[datetime, datetime]] = ()) -> None:
        self.spans: list[tuple[datetime, datetime]] = []
        for start, end in sorted(spans):
            if self.spans and start <= self.spans[-1][1]:
                first, latest = self.spans.pop()
                self.spans.append((first, max(end, latest)))
            else:
                self.spans.append((start, end))

    def after(self, instant: datetime) -> datetime:
        """When somebody claims what can be claimed from an instant on."""
        place = bisect_right(self.spans, instant, key=lambda span: span[0])
        return instant if place == 0 else max(instant, self.spans[place - 1][1])

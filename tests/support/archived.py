"""Months that have left the log, as a test says."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from domain.identity import Month


@dataclass
class ArchivedMonths:
    """`application.ports.Archived`: those that were added, none at first."""

    known: set[Month] = field(default_factory=set)

    async def months(self) -> Set[Month]:
        """See `Archived`."""
        return self.known

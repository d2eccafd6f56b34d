"""Months of the calendar, in UTC: what executions are archived by."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from msgspec import Struct

from domain.identity import first_execution_due_at

if TYPE_CHECKING:
    from uuid import UUID

_WRITTEN = re.compile(r"([1-9]\d{3})-(0[1-9]|1[0-2])", re.ASCII)


class Month(Struct, frozen=True, order=True):
    """A month of the calendar, such as `2026-01`."""

    year: int
    month: int

    @classmethod
    def of(cls, instant: datetime) -> Self:
        """The month that an aware instant falls into."""
        inside = instant.astimezone(UTC)
        return cls(inside.year, inside.month)

    @classmethod
    def read(cls, text: str) -> Self:
        """The month that is written as `str` writes it. Raises `ValueError`."""
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no month such as 2026-01")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @property
    def start(self) -> datetime:
        """Its first instant."""
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def next(self) -> Month:
        """The one after it."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def first_execution(self) -> UUID:
        """Ids of executions that are due in it are this one or greater."""
        return first_execution_due_at(self.start)

    @property
    def end_of_executions(self) -> UUID:
        """Ids of executions that are due in it are less than this one."""
        return self.next.first_execution

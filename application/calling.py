"""Making calls, as the scheduler sees it: one attempt at a time, made ready before its instant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from domain.attempt import Attempt
from domain.definition import Action


class Call(Struct, frozen=True, gc=False, kw_only=True):
    """One attempt to make, of an occurrence that was nominally due at `due_at`.

    `once`: no doubt about a first request ever justifies a second one, not even for a broken connection.
    """

    action: Action
    execution_id: UUID
    number: int
    due_at: datetime
    once: bool = False


class Exchange(Protocol):
    """One attempt: ready to be sent, then under way, then over."""

    def begin(self, over: Callable[[], None]) -> None:
        """Send the action's request, once; `over` is called when it is over, and not before this returns."""
        ...

    def cancel(self) -> None:
        """Break off what is under way, and close its connection; otherwise that does nothing."""
        ...

    def attempt(self) -> Attempt | None:
        """What happened, once it is over; None: it was cancelled. Raises nothing."""
        ...


class HttpCaller(Protocol):
    """Makes attempts."""

    def exchange(self, call: Call) -> Exchange:
        """Make one ready. Raises nothing: what cannot be sent brings an attempt that says so."""
        ...

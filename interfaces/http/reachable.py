"""Instants of a query that schedules reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from application.explanation.account import EARLIEST, LATEST
from domain.wording import shown
from interfaces.http.instants import instant
from interfaces.http.refusals import InvalidParameters

if TYPE_CHECKING:
    from datetime import datetime


def reachable(name: str, text: str | None) -> datetime | None:
    """The instant of a parameter, between those that a task may be due at. Raises `InvalidParameters`."""
    given = instant(name, text)
    if given is not None and not EARLIEST <= given < LATEST:
        raise InvalidParameters([(name, f"{shown(text)} is out of reach: give one from 1970 to 9998.")])
    return given

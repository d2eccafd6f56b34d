"""Carrying a log: which places of it are meant, and between which databases."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict

from application.past.moment import NotYet
from infrastructure.archive.shelf import Shelf
from infrastructure.carry import Selection
from infrastructure.carry import export_events as export_to
from infrastructure.carry import replay_events as replay_to
from infrastructure.database import pool, with_liveness
from infrastructure.past import PostgresPast
from infrastructure.settings import with_database
from interfaces.bootstrap.archives import library

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from uuid import UUID

    from infrastructure.carry import Manifest
    from infrastructure.carry.database import Told
    from infrastructure.carry.replaying import Copied
    from infrastructure.settings import Settings

type LogPlace = int | datetime
"""A position of the log, or an instant by the database's clock."""

_JUST_BEFORE = timedelta(microseconds=1)


class NotRecordedYet(Exception):
    """What is asked for lies beyond the end of the log; ask for an earlier place."""

    def __init__(self, place: LogPlace, why: str) -> None:
        wanted = place if isinstance(place, int) else place.isoformat()
        super().__init__(f"{wanted} lies in the future, for {why}: give an earlier one")


async def selection(
    settings: Settings,
    namespace: str | None,
    task_id: UUID | None,
    first: LogPlace | None,
    last: LogPlace | None,
) -> Selection:
    """Which events are meant, by their positions. Raises `NotRecordedYet`."""
    return Selection(
        namespace=namespace,
        task_id=task_id,
        first=None if first is None else await _first(settings, first),
        last=None if last is None else await position_of(settings, last),
    )


async def position_of(settings: Settings, place: LogPlace) -> int:
    """The last position at a place of the log: at an instant, that recorded last by then.

    Raises `NotRecordedYet`.
    """
    async with pool(with_liveness(settings.dsn()), 1) as connections:
        past = PostgresPast(connections, Shelf(connections, library(settings)))
        try:
            moment = await (past.after(place) if isinstance(place, int) else past.at(place))
        except NotYet as error:
            raise NotRecordedYet(place, str(error)) from None
    return moment.position


class NoConnectionString(Exception):
    """What names a database cannot be read; give a Postgres connection string."""

    def __init__(self) -> None:
        super().__init__(
            "the database to replay to is named by no connection string: give one such as "
            "postgresql://user@host/name, with @, /, : and % of a name or a password as %40, %2F, %3A and %25"
        )


def elsewhere(settings: Settings, dsn: str) -> Settings:
    """The same settings on another database. Raises `NoConnectionString`."""
    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:  # what it says may hold a part of the password
        raise NoConnectionString from None
    return with_database(settings, dsn, "--to")


def export_events(
    settings: Settings, path: Path, selection: Selection, told: Told, went_on: Callable[[int], object]
) -> Manifest:
    """Write the selected events to a file, archived or not; `went_on` hears of an export that was begun.

    Raises `CarryRefused` and `ArchiveAway`.
    """
    return export_to(settings.direct_dsn(), path, selection, told, library(settings), went_on)


def replay_events(settings: Settings, target: Settings, until: int, told: Told) -> Copied:
    """Copy the events up to a position to another database. Raises `CarryRefused` and `ArchiveAway`."""
    return replay_to(settings.direct_dsn(), target.direct_dsn(), until, told, library(settings))


async def _first(settings: Settings, place: LogPlace) -> int:
    if isinstance(place, int):
        return await position_of(settings, place)
    with contextlib.suppress(OverflowError):  # nothing was recorded at the first instant that there is
        place -= _JUST_BEFORE
    return await position_of(settings, place) + 1

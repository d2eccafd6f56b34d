"""Reading a log in parts: all of it, or what is selected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from infrastructure.archive.catalogue import archives_in
from infrastructure.archive.library import NO_ARCHIVES
from infrastructure.archive.merging import events_after_in
from infrastructure.carry.errors import PartsArchived
from infrastructure.event_store.logged import BEGINNING_BYTES, member, origin
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg import Connection

    from infrastructure.archive.library import Library
    from infrastructure.carry.archive import Selection
    from infrastructure.event_store.log import Row

statement = statements("infrastructure.carry")

PART_EVENTS = 10_000
# A part is in memory several times over: as rows, as lines, as a frame.
PART_BYTES = 16 * 1024 * 1024


class Portion(NamedTuple):
    """The next events of a log, in order, and how many of them go on from one that was left out."""

    rows: Sequence[Row]
    cut: int


def portions(
    connection: Connection, selection: Selection, after: int, until: int, library: Library = NO_ARCHIVES
) -> Iterator[Portion]:
    """The selected events after a position and up to another, in portions of a bounded size.

    A portion has up to 10,000 events; of the table and of each file no more than 16 MiB, or one event that
    is larger. Of archived months only all events are told. Raises `PartsArchived`, `ArchiveAway` and
    `psycopg.Error`.
    """
    if selection.namespace is None and selection.task_id is None and selection.first is None:
        yield from _all(connection, library, after, until)
        return
    for portion in _gathered(_selected(connection, selection, after, until)):
        _check_there(connection, selection, until)
        yield portion
    _check_there(connection, selection, until)


def _check_there(connection: Connection, selection: Selection, until: int) -> None:
    """Asked when a page was read, for a month leaves in an instant. Raises `PartsArchived`."""
    first = selection.first or 1
    for archive in archives_in(connection):
        if archive.away and archive.first_position <= until and archive.last_position >= first:
            raise PartsArchived(str(archive.month))


def _all(connection: Connection, library: Library, after: int, until: int) -> Iterator[Portion]:
    more = True
    while more and after < until:
        events, more = events_after_in(connection, library, after, PART_EVENTS, PART_BYTES)
        rows = [event for event in events if event.position <= until]
        if rows:
            yield Portion(rows, 0)
            after = rows[-1].position
        more = more and len(rows) == len(events)


def _selected(connection: Connection, selection: Selection, after: int, until: int) -> Iterator[Portion]:
    wanted = {
        "after": max(after, (selection.first or 1) - 1),
        "until": until,
        "first": selection.first,
        "task_id": selection.task_id,
        "task_named": None if selection.task_id is None else member("task_id", str(selection.task_id)),
        "namespace_named": None if selection.namespace is None else member("namespace", selection.namespace),
        "beginning": BEGINNING_BYTES,
    }
    for page in _pages(connection, "next_of_streams", wanted):
        kept = [row for row in page if _wanted(row, selection.namespace)]
        yield Portion([row[:6] for row in kept], sum(row[8] for row in kept))


def _wanted(row: tuple[Any, ...], namespace: str | None) -> bool:
    """A payload may name a namespace as well: only the first one is that of the stream."""
    return row[4] is not None and (namespace is None or origin(row[6], row[7]).namespace == namespace)


def _pages(
    connection: Connection, name: str, parameters: dict[str, Any]
) -> Iterator[Sequence[tuple[Any, ...]]]:
    bounds = {"limit": PART_EVENTS, "bytes": PART_BYTES}
    with connection.cursor(binary=True) as cursor:
        while True:
            rows = cursor.execute(statement(name), parameters | bounds, prepare=False).fetchall()
            if not rows:
                return
            yield rows
            parameters = parameters | {"after": rows[-1][0]}


def _gathered(found: Iterator[Portion]) -> Iterator[Portion]:
    """Few that match make no part of their own."""
    rows: list[Row] = []
    cut = size = 0
    for portion in found:
        rows += portion.rows
        cut += portion.cut
        size += sum(len(row[4]) for row in portion.rows)
        if len(rows) >= PART_EVENTS or size >= PART_BYTES:
            yield Portion(rows, cut)
            rows, cut, size = [], 0, 0
    if rows:
        yield Portion(rows, cut)

"""Copying a log up to an earlier moment into a second database, for whoever wants to look around there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from infrastructure.archive.library import NO_ARCHIVES
from infrastructure.carry import database as standstill
from infrastructure.carry.database import append, connected, head, held, snapshot, stored
from infrastructure.carry.errors import CarryRefused, TargetNotEmpty
from infrastructure.carry.export import PART_EVENTS, digest, portions
from infrastructure.carry.format import Selection, check_unsealed, sealed, seals_digest, store_sealed

if TYPE_CHECKING:
    from psycopg import Connection

    from infrastructure.archive.library import Library
    from infrastructure.carry.database import Told


class Copied(NamedTuple):
    """How many events the copy holds, and how many of them were stored by this run."""

    events: int
    stored: int


def replay_events(
    source_dsn: str, target_dsn: str, until: int, told: Told, library: Library = NO_ARCHIVES
) -> Copied:
    """Store the events up to a position in an empty database, at their positions, and compare both.

    Schedulers refuse the copy from its first event on (`standstill`). One that was begun before is gone on
    with. Archived months of the source come from their files. Both must reach Postgres directly.
    Raises `CarryRefused`, `ArchiveAway` and `psycopg.Error`.
    """
    with connected(source_dsn) as source, held(target_dsn, source) as target:
        before = _begun(source, library, target, until)
        standstill.begin(target, standstill.REPLAYING)
        after = head(target)
        told("stored", after, until)
        for portion in portions(source, Selection(), after, until, library):
            append(target, portion.rows)
            told("stored", portion.rows[-1][0], until)
        if digest(source, 0, until, library=library) != digest(target, 0, until, told):
            raise CarryRefused(
                "the copy is not what the log is: something else has written to it, or a task was redacted "
                "meanwhile; replay to another, empty database"
            )
        with snapshot(source):
            expected = seals_digest(sealed(source, until))
            store_sealed(target, sealed(source, until), until, expected)
        standstill.end(target, standstill.REPLAYING, standstill.REPLAYED)
        events = stored(target)
    return Copied(events, events - before)


def _begun(source: Connection, library: Library, target: Connection, until: int) -> int:
    """How many events are there of a copy that was begun. Raises `TargetNotEmpty` and `SealsDiffer`."""
    before, ends_at = stored(target), head(target)
    if before == 0:
        check_unsealed(target, until)
        return 0
    copied = standstill.replayed(target) and ends_at <= until
    since = max(0, ends_at - PART_EVENTS)
    if not copied or digest(source, since, ends_at, library=library) != digest(target, since, ends_at):
        raise TargetNotEmpty(before)
    return before

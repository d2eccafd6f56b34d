"""Copying a log up to an earlier moment into a second database, for whoever wants to look around there."""

from __future__ import annotations

from typing import NamedTuple

from psycopg import Connection

from infrastructure.archive.catalog import NO_ARCHIVES, Catalog
from infrastructure.transfer.database import (
    REPLAYED,
    REPLAYING,
    Progress,
    append,
    connected,
    head,
    held,
    holds_replay,
    lift_fence,
    raise_fence,
    snapshot,
    stored,
)
from infrastructure.transfer.errors import TargetNotEmpty, TransferRefused
from infrastructure.transfer.export import PART_EVENTS, digest, portions
from infrastructure.transfer.format import Selection, check_unsealed, sealed, seals_digest, store_sealed


class Copied(NamedTuple):
    """How many events the copy holds, and how many of them were stored by this run."""

    events: int
    stored: int


def replay_events(
    source_dsn: str, target_dsn: str, until: int, report: Progress, catalog: Catalog = NO_ARCHIVES
) -> Copied:
    """Store the events up to a position in an empty database, at their positions, and compare both.

    Schedulers refuse the copy from its first event on (`raise_fence`). One that was begun before is gone on
    with. Archived months of the source come from their files. Both must reach Postgres directly.
    Raises `TransferRefused`, `ArchiveAway` and `psycopg.Error`.
    """
    with connected(source_dsn) as source, held(target_dsn, source) as target:
        before = _begun(source, catalog, target, until)
        raise_fence(target, REPLAYING)
        after = head(target)
        report("stored", after, until)
        for portion in portions(source, Selection(), after, until, catalog):
            append(target, portion.rows)
            report("stored", portion.rows[-1][0], until)
        if digest(source, 0, until, catalog=catalog) != digest(target, 0, until, report):
            raise TransferRefused(
                "the copy is not what the log is: something else has written to it, or a task was redacted "
                "meanwhile; replay to another, empty database"
            )
        with snapshot(source):
            expected = seals_digest(sealed(source, until))
            store_sealed(target, sealed(source, until), until, expected)
        lift_fence(target, REPLAYING, REPLAYED)
        events = stored(target)
    return Copied(events, events - before)


def _begun(source: Connection, catalog: Catalog, target: Connection, until: int) -> int:
    """How many events are there of a copy that was begun. Raises `TargetNotEmpty` and `SealsDiffer`."""
    before, ends_at = stored(target), head(target)
    if before == 0:
        check_unsealed(target, until)
        return 0
    copied = holds_replay(target) and ends_at <= until
    since = max(0, ends_at - PART_EVENTS)
    if not copied or digest(source, since, ends_at, catalog=catalog) != digest(target, since, ends_at):
        raise TargetNotEmpty(before)
    return before

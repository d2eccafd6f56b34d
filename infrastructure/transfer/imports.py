"""Storing an archive in an empty database, at the positions it has; a crash on the way is gone on from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
import psycopg
from msgspec import UNSET
from psycopg import Connection

from infrastructure.event_store.log import Row
from infrastructure.postgres import first_line
from infrastructure.transfer.database import (
    IMPORTED,
    IMPORTING,
    Progress,
    append,
    fence_reason,
    head,
    held,
    lift_fence,
    raise_fence,
    stored,
)
from infrastructure.transfer.errors import (
    ArchiveDamaged,
    ArchiveUnreadable,
    NotTheWholeLog,
    StreamsCut,
    TargetNotEmpty,
    TransferRefused,
)
from infrastructure.transfer.export import digest
from infrastructure.transfer.format import (
    Header,
    Manifest,
    Part,
    Seal,
    Seals,
    Totals,
    check_unsealed,
    entered,
    frames,
    read,
    seals_digest,
    seals_in,
    store_sealed,
)


class Imported(NamedTuple):
    """What the archive holds, how many of its events this run stored, and whether no scheduler may begin."""

    manifest: Manifest
    stored: int
    fenced: bool


def import_events(dsn: str, path: Path, *, partial: bool, report: Progress) -> Imported:
    """Store the events of an archive, and compare what is stored then with its manifest.

    The archive is read to its end before the first event is stored. Of one that was imported in part, as by
    a run that was killed, the rest is stored; schedulers refuse the database until all of it is, and of a
    part of a log, or one on which none began, until it is released. `partial` has an archive taken that is
    not a whole log. `dsn` must reach Postgres directly.

    Raises `TransferRefused` and `psycopg.Error`.
    """
    with _opened(path) as file:
        manifest = inspect(path, file, report)
        _check_wholeness(path, manifest, partial=partial)
        with held(dsn) as connection:
            before = stored(connection)
            if before < manifest.events:
                check_unsealed(connection, manifest.last or 0)
            with _as_damage(path):
                for number, rows in enumerate(_missing(path, file, connection, before)):
                    if number == 0:
                        raise_fence(connection, IMPORTING)
                    append(connection, rows)
                    report("stored", rows[-1][0], manifest.last or 0)
                _compare(connection, path, manifest, report)
                if manifest.seals:
                    expected = seals_digest(_seals(path, file))
                    store_sealed(connection, _seals(path, file), manifest.last or 0, expected)
            earlier = not manifest.whole or _was_fenced(path, file)
            lift_fence(connection, IMPORTING, IMPORTED if earlier else None)
            return Imported(manifest, manifest.events - before, fence_reason(connection) is not None)


def inspect(path: Path, file: BinaryIO, report: Progress) -> Manifest:
    """Read an archive to its end: its manifest, which is that of its parts. Raises `ArchiveDamaged`."""
    totals: Totals | None = None
    file.seek(0)
    for each in frames(path, file):
        match each.record:
            case Header() as header:
                totals = Totals(header)
            case Part() as part if totals is not None:
                entered(path, totals, each)
                report("checked", part.last, totals.header.until)
            case Seals() if totals is not None:
                totals.add_seals(each.lines, seals_in(path, each))
            case Manifest() as manifest if totals is not None and manifest == totals.manifest():
                if each.end != os.fstat(file.fileno()).st_size:
                    raise ArchiveDamaged(path, "goes on behind its manifest")
                return manifest
            case _:
                raise ArchiveDamaged(path, "does not hold what its manifest says")
    raise ArchiveDamaged(path, "ends before its manifest")


def _was_fenced(path: Path, file: BinaryIO) -> bool:
    file.seek(0)
    header = next(frames(path, file)).record
    return isinstance(header, Header) and header.fence is not UNSET


def _check_wholeness(path: Path, manifest: Manifest, *, partial: bool) -> None:
    if manifest.cut:
        raise StreamsCut(f"{manifest.cut:,} events of {path}")
    if not manifest.whole and not partial:
        raise NotTheWholeLog(path, manifest.selection.described())


def _missing(path: Path, file: BinaryIO, connection: Connection, before: int) -> Iterator[Sequence[Row]]:
    """The events of each part that is not stored yet. Raises `TargetNotEmpty`."""
    ends_at = head(connection)
    behind = before == 0
    totals: Totals | None = None
    file.seek(0)
    for each in frames(path, file):
        if isinstance(each.record, Header):
            totals = Totals(each.record)
        elif totals is not None and isinstance(each.record, Part):
            part = entered(path, totals, each)
            if behind:
                yield _rows(path, part, each.lines)
            elif part.last >= ends_at:
                if (part.last, totals.events) != (ends_at, before) or not _is_stored(connection, part):
                    raise TargetNotEmpty(before)
                behind = True
    if not behind:
        raise TargetNotEmpty(before)


def _rows(path: Path, part: Part, lines: bytes) -> Sequence[Row]:
    try:
        rows = read(lines)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArchiveDamaged(
            path, f"holds something else than events in its part {part.number} ({error})"
        ) from None
    if [rows[0][0], rows[-1][0]] != [part.first, part.last]:
        raise ArchiveDamaged(path, f"holds other events than its part {part.number} tells")
    return rows


def _is_stored(connection: Connection, part: Part) -> bool:
    return digest(connection, part.first - 1, part.last) == part.sha256


def _seals(path: Path, file: BinaryIO) -> Iterator[Sequence[Seal]]:
    file.seek(0)
    for each in frames(path, file):
        if isinstance(each.record, Seals):
            yield seals_in(path, each)


def _compare(connection: Connection, path: Path, manifest: Manifest, report: Progress) -> None:
    found = digest(connection, 0, manifest.last or 0, report)
    if found != manifest.sha256 or stored(connection) != manifest.events:
        raise TransferRefused(
            f"the database does not hold what {path} does, though all of it was stored: something else has "
            "written to it; import into another, empty one"
        )


@contextlib.contextmanager
def _as_damage(path: Path) -> Iterator[None]:
    """What a database refuses to hold was never exported from one."""
    try:
        yield
    except (psycopg.DataError, psycopg.IntegrityError, OverflowError) as error:
        raise ArchiveDamaged(path, f"holds what no log holds ({first_line(error)})") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise ArchiveUnreadable(path, error) from error

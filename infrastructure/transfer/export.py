"""Writing a log, or a part of it, to a file; a run that was killed is gone on from."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from msgspec import UNSET
from psycopg import Connection

from domain.definition import DEFAULT_NAMESPACE
from infrastructure.archive.catalog import NO_ARCHIVES, Catalog, archives_in, events_after_in
from infrastructure.archive.storage import private
from infrastructure.event_store.log import Row
from infrastructure.event_store.reader import BEGINNING_BYTES, member, origin
from infrastructure.sql import statements
from infrastructure.transfer.database import Progress, connected, fence_reason, head, snapshot
from infrastructure.transfer.errors import (
    ArchiveDamaged,
    ArchiveTaken,
    ArchiveUnreadable,
    NoSuchNamespace,
    NoSuchTask,
    PartsArchived,
    RedactedMeanwhile,
)
from infrastructure.transfer.format import (
    Header,
    Manifest,
    Part,
    Selection,
    Totals,
    entered,
    frame,
    frames,
    sealed,
    written,
    written_seals,
)

statement = statements("infrastructure.transfer")

PART_EVENTS = 10_000
# A part is in memory several times over: as rows, as lines, as a frame.
PART_BYTES = 16 * 1024 * 1024


class Portion(NamedTuple):
    """The next events of a log, in order, and how many of them go on from one that was left out."""

    rows: Sequence[Row]
    cut: int


def portions(
    connection: Connection, selection: Selection, after: int, until: int, catalog: Catalog = NO_ARCHIVES
) -> Iterator[Portion]:
    """The selected events after a position and up to another, in portions of a bounded size.

    A portion has up to 10,000 events; of the table and of each file no more than 16 MiB, or one event that
    is larger. Of archived months only all events are told. Raises `PartsArchived`, `ArchiveAway` and
    `psycopg.Error`.
    """
    if selection.namespace is None and selection.task_id is None and selection.first is None:
        yield from _all(connection, catalog, after, until)
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


def _all(connection: Connection, catalog: Catalog, after: int, until: int) -> Iterator[Portion]:
    more = True
    while more and after < until:
        events, more = events_after_in(connection, catalog, after, PART_EVENTS, PART_BYTES)
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


def digest(
    connection: Connection,
    after: int,
    until: int,
    report: Progress | None = None,
    selection: Selection | None = None,
    catalog: Catalog = NO_ARCHIVES,
) -> str:
    """The SHA-256 of the lines of the events between two positions, as an archive has them."""
    found = sha256()
    for portion in portions(connection, selection or Selection(), after, until, catalog):
        found.update(written(portion.rows))
        if report is not None:
            report("compared", portion.rows[-1][0], until)
    return found.hexdigest()


def export_events(
    dsn: str,
    path: Path,
    selection: Selection,
    report: Progress,
    catalog: Catalog = NO_ARCHIVES,
    went_on: Callable[[int], object] = lambda _head: None,
) -> Manifest:
    """Write the selected events, up to where the log ends now, to an archive; `report` hears how far it is.

    Until all is there the file is called `<path>.part`: when that is found, the export goes on behind its
    last whole part, up to where the log ended when it was begun, which `went_on` hears; one without a part
    begins anew, and is not left behind by a refusal. Archived months come from their files. Raises
    `TransferRefused`, `ArchiveAway` and `psycopg.Error`.
    """
    if path.exists():
        raise ArchiveTaken(f"{path} is there already: choose another name, or remove it first")
    unfinished = path.with_name(f"{path.name}.part")
    with connected(dsn) as connection:
        _check_known(connection, selection)
        with _opened(unfinished) as file:
            totals = _begun(connection, catalog, unfinished, file, selection)
            if totals.parts:
                went_on(totals.header.head)
            with _nothing_left_without_parts(unfinished, totals):
                _write_parts(connection, catalog, file, totals, report)
            if selection.sealed:
                _write_seals(connection, file, totals)
            _check_unredacted(connection, unfinished, totals)
            manifest = totals.manifest()
            file.write(frame(manifest))
            file.flush()
            os.fsync(file.fileno())
            unfinished.rename(path)
            return manifest


def _check_known(connection: Connection, selection: Selection) -> None:
    """Streams of tasks never leave the log. Raises `NoSuchTask` and `NoSuchNamespace`."""
    task_id, namespace = selection.task_id, selection.namespace
    if task_id is not None and not _is_there(connection, "task_there", {"task_id": task_id}):
        raise NoSuchTask(task_id)
    if namespace is None or namespace == DEFAULT_NAMESPACE:
        return
    named = {"named": member("namespace", namespace), "beginning": BEGINNING_BYTES}
    if not _is_there(connection, "namespace_there", named):
        raise NoSuchNamespace(namespace)


def _is_there(connection: Connection, name: str, wanted: dict[str, Any]) -> bool:
    return connection.execute(statement(name), wanted).fetchone() == (True,)


def _write_parts(
    connection: Connection, catalog: Catalog, file: BinaryIO, totals: Totals, report: Progress
) -> None:
    until, after = totals.header.until, totals.last or 0
    report("exported", after, until)
    for portion in portions(connection, totals.header.selection, after, until, catalog):
        lines = written(portion.rows)
        part = totals.add(lines, len(portion.rows), portion.rows[0][0], portion.rows[-1][0], portion.cut)
        file.write(frame(part, lines))
        file.flush()
        report("exported", part.last, until)


@contextlib.contextmanager
def _nothing_left_without_parts(unfinished: Path, totals: Totals) -> Iterator[None]:
    """It would be in the way of whoever asks for less because of the refusal."""
    try:
        yield
    except Exception:
        if not totals.parts:
            unfinished.unlink()
        raise


def _write_seals(connection: Connection, file: BinaryIO, totals: Totals) -> None:
    with snapshot(connection):
        for seals in sealed(connection, totals.header.until):
            lines = written_seals(seals)
            file.write(frame(totals.add_seals(lines, seals), lines))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, begun or not, for nobody else. Raises `ArchiveTaken` and `ArchiveUnreadable`."""
    try:
        with open(path, "a+b", opener=private) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
    except BlockingIOError:
        raise ArchiveTaken(f"another export writes to {path}: wait for it, or choose another name") from None
    except OSError as error:
        raise ArchiveUnreadable(path, error) from error


def _begun(
    connection: Connection, catalog: Catalog, path: Path, file: BinaryIO, selection: Selection
) -> Totals:
    """The totals of what is in the file; of a new archive, where there is nothing."""
    file.seek(0)
    kept = _kept(path, file)
    if kept is None:
        if file.tell():
            raise ArchiveTaken(
                f"{path} is there and no beginning of an export: remove it, or choose another name"
            )
        return _new(connection, file, selection)
    totals, last, end = kept
    if last is None:
        file.truncate(0)
        return _new(connection, file, selection)
    if totals.header.selection != selection:
        told = totals.header.selection.described() or "all events"
        raise ArchiveTaken(
            f"{path} is the beginning of another export ({told}): remove it, or ask for the same"
        )
    _check_unredacted(connection, path, totals)
    if totals.header.head > head(connection) or not _holds(connection, catalog, selection, last):
        raise ArchiveTaken(
            f"{path} is the beginning of an export of another log: remove it, or choose another name"
        )
    file.truncate(end)
    return totals


def _check_unredacted(connection: Connection, path: Path, totals: Totals) -> None:
    """Of what was rewritten since it was begun, the archive would not tell. Raises `RedactedMeanwhile`."""
    bounds = {"head": totals.header.head, "until": totals.header.until}
    if _is_there(connection, "rewritten_since", bounds):
        raise RedactedMeanwhile(path)


def _new(connection: Connection, file: BinaryIO, selection: Selection) -> Totals:
    fence = fence_reason(connection) or UNSET
    totals = Totals(Header(selection=selection, head=head(connection), fence=fence))
    file.write(frame(totals.header))
    return totals


class _Kept(NamedTuple):
    """What is whole of an export that was begun: the totals of it, its last part, and where that ends."""

    totals: Totals
    last: Part | None
    end: int


def _kept(path: Path, file: BinaryIO) -> _Kept | None:
    kept: _Kept | None = None
    with contextlib.suppress(ArchiveDamaged):  # what a crash cut off is written again
        for read in frames(path, file):
            if isinstance(read.record, Header):
                kept = _Kept(Totals(read.record), None, read.end)
            elif kept is not None and isinstance(read.record, Part):
                kept = _Kept(kept.totals, entered(path, kept.totals, read), read.end)
    return kept


def _holds(connection: Connection, catalog: Catalog, selection: Selection, part: Part) -> bool:
    """Whether the log has the very events of a part."""
    found = digest(connection, part.first - 1, part.last, selection=selection, catalog=catalog)
    return found == part.sha256

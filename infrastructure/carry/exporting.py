"""Writing a log, or a part of it, to an archive; what was written before a crash is gone on from."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from msgspec import UNSET

from domain.definition import DEFAULT_NAMESPACE
from infrastructure.archive.library import NO_ARCHIVES
from infrastructure.carry.archive import Header, Part, frame, frames
from infrastructure.carry.books import Books, entered
from infrastructure.carry.database import connected, head, snapshot
from infrastructure.carry.digests import digest
from infrastructure.carry.errors import (
    ArchiveDamaged,
    ArchiveTaken,
    ArchiveUnreadable,
    NoSuchNamespace,
    NoSuchTask,
    RedactedMeanwhile,
)
from infrastructure.carry.lines import written
from infrastructure.carry.reading import portions
from infrastructure.carry.seals import sealed, written_seals
from infrastructure.carry.standstill import marked
from infrastructure.event_store.logged import BEGINNING_BYTES, member
from infrastructure.private_file import private
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from psycopg import Connection

    from infrastructure.archive.library import Library
    from infrastructure.carry.archive import Manifest, Selection
    from infrastructure.carry.database import Told

statement = statements("infrastructure.carry")


def export_events(
    dsn: str,
    path: Path,
    selection: Selection,
    told: Told,
    library: Library = NO_ARCHIVES,
    went_on: Callable[[int], object] = lambda _head: None,
) -> Manifest:
    """Write the selected events, up to where the log ends now, to an archive; `told` hears how far it is.

    Until all is there the file is called `<path>.part`: when that is found, the export goes on behind its
    last whole part, up to where the log ended when it was begun, which `went_on` hears; one without a part
    begins anew, and is not left behind by a refusal. Archived months come from their files. Raises
    `CarryRefused`, `ArchiveAway` and `psycopg.Error`.
    """
    if path.exists():
        raise ArchiveTaken(f"{path} is there already: choose another name, or remove it first")
    unfinished = path.with_name(f"{path.name}.part")
    with connected(dsn) as connection:
        _check_known(connection, selection)
        with _opened(unfinished) as file:
            books = _begun(connection, library, unfinished, file, selection)
            if books.parts:
                went_on(books.header.head)
            with _nothing_left_without_parts(unfinished, books):
                _write_parts(connection, library, file, books, told)
            if selection.sealed:
                _write_seals(connection, file, books)
            _check_unredacted(connection, unfinished, books)
            manifest = books.manifest()
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


def _write_parts(connection: Connection, library: Library, file: BinaryIO, books: Books, told: Told) -> None:
    until, after = books.header.until, books.last or 0
    told("exported", after, until)
    for portion in portions(connection, books.header.selection, after, until, library):
        lines = written(portion.rows)
        part = books.add(lines, len(portion.rows), portion.rows[0][0], portion.rows[-1][0], portion.cut)
        file.write(frame(part, lines))
        file.flush()
        told("exported", part.last, until)


@contextlib.contextmanager
def _nothing_left_without_parts(unfinished: Path, books: Books) -> Iterator[None]:
    """It would be in the way of whoever asks for less because of the refusal."""
    try:
        yield
    except Exception:
        if not books.parts:
            unfinished.unlink()
        raise


def _write_seals(connection: Connection, file: BinaryIO, books: Books) -> None:
    with snapshot(connection):
        for seals in sealed(connection, books.header.until):
            lines = written_seals(seals)
            file.write(frame(books.add_seals(lines, seals), lines))


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
    connection: Connection, library: Library, path: Path, file: BinaryIO, selection: Selection
) -> Books:
    """The books of what is in the file; of a new archive, where there is nothing."""
    file.seek(0)
    kept = _kept(path, file)
    if kept is None:
        if file.tell():
            raise ArchiveTaken(
                f"{path} is there and no beginning of an export: remove it, or choose another name"
            )
        return _new(connection, file, selection)
    books, last, end = kept
    if last is None:
        file.truncate(0)
        return _new(connection, file, selection)
    if books.header.selection != selection:
        told = books.header.selection.told() or "all events"
        raise ArchiveTaken(
            f"{path} is the beginning of another export ({told}): remove it, or ask for the same"
        )
    _check_unredacted(connection, path, books)
    if books.header.head > head(connection) or not _holds(connection, library, selection, last):
        raise ArchiveTaken(
            f"{path} is the beginning of an export of another log: remove it, or choose another name"
        )
    file.truncate(end)
    return books


def _check_unredacted(connection: Connection, path: Path, books: Books) -> None:
    """Of what was rewritten since it was begun, the archive would not tell. Raises `RedactedMeanwhile`."""
    bounds = {"head": books.header.head, "until": books.header.until}
    if _is_there(connection, "rewritten_since", bounds):
        raise RedactedMeanwhile(path)


def _new(connection: Connection, file: BinaryIO, selection: Selection) -> Books:
    still = marked(connection) or UNSET
    books = Books(Header(selection=selection, head=head(connection), standstill=still))
    file.write(frame(books.header))
    return books


class _Kept(NamedTuple):
    """What is whole of an export that was begun: the books of it, its last part, and where that ends."""

    books: Books
    last: Part | None
    end: int


def _kept(path: Path, file: BinaryIO) -> _Kept | None:
    kept: _Kept | None = None
    with contextlib.suppress(ArchiveDamaged):  # what a crash cut off is written again
        for read in frames(path, file):
            if isinstance(read.told, Header):
                kept = _Kept(Books(read.told), None, read.end)
            elif kept is not None and isinstance(read.told, Part):
                kept = _Kept(kept.books, entered(path, kept.books, read), read.end)
    return kept


def _holds(connection: Connection, library: Library, selection: Selection, part: Part) -> bool:
    """Whether the log has the very events of a part."""
    found = digest(connection, part.first - 1, part.last, selection=selection, library=library)
    return found == part.sha256

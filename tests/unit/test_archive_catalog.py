"""The catalog takes a file for what the catalogue says of it, and for nothing else."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial

import pytest
from msgspec.structs import replace

from application.ports import ArchiveAway
from domain.identity import Month
from infrastructure.archive.catalog import Archive, Catalog
from infrastructure.archive.files import ArchiveFile, Entry, Kept, Writer
from tests.support.archived_events import START, events
from tests.support.archived_files import Bytes, MemoryStorage

JANUARY = Month(2026, 1)
STATES = [b'{"status_code":200}'] * 6


def written(states: Sequence[bytes]) -> tuple[bytes, Archive]:
    """A file of events with these states, and what the catalogue says of it."""
    log, sink = events(states), io.BytesIO()
    writer = Writer(sink, JANUARY, 2)
    for event in log:
        writer.add(event)
    for event in sorted(log, key=lambda one: (one.stream, one.version)):
        writer.index(Entry(event.stream, event.position))
    manifest = writer.finish(3, {"execution.succeeded.v1": 3})
    content = sink.getvalue()
    return content, Archive(
        month=JANUARY,
        name="january",
        size=len(content),
        sha256=writer.sha256,
        manifest_sha256=ArchiveFile("january", Bytes(content)).manifest_sha256,
        events=manifest.events,
        executions=manifest.executions,
        first_stream=JANUARY.first_execution,
        end_stream=JANUARY.end_of_executions,
        first_position=manifest.first_position,
        last_position=manifest.last_position,
        state="archived",
        changed_at=START,
    )


def test_a_file_that_is_what_was_written_is_read() -> None:
    content, archive = written(STATES)
    found = Catalog(MemoryStorage({"january": content})).ask(archive, lambda file: list(file.events()))
    assert [event.state for event in found] == STATES


def test_a_file_that_agrees_with_itself_and_was_not_written_is_refused() -> None:
    _, archive = written(STATES)
    forged, _ = written([b'{"status_code":201}'] * 6)
    catalog = Catalog(MemoryStorage({"january": forged}))
    with pytest.raises(ArchiveAway, match="its manifest hashes to") as refused:
        catalog.ask(replace(archive, size=len(forged)), lambda file: list(file.events()))
    sentence = str(refused.value)
    assert sentence.startswith(
        "the archive january is needed and cannot be read (it is damaged: its manifest"
    )
    assert sentence.endswith("was written); put another copy of the file to where ARCHIVE_DIR says")
    assert sentence.count("january") == sentence.count(";") == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"month": Month(2026, 2)},
        {"events": 7},
        {"executions": 2},
        {"first_position": 2},
        {"last_position": 5},
    ],
)
def test_a_file_of_which_the_catalogue_says_another_thing_is_refused(changed: dict[str, object]) -> None:
    content, archive = written(STATES)
    catalog = Catalog(MemoryStorage({"january": content}))
    with pytest.raises(ArchiveAway, match="the catalogue says another thing"):
        catalog.ask(replace(archive, **changed), lambda file: list(file.events()))


def test_of_all_files_together_only_the_parts_that_were_read_last_are_kept() -> None:
    kept, read = Kept(most=2), list[tuple[str, int]]()

    def part(file: str, offset: int) -> str:
        read.append((file, offset))
        return f"{file}{offset}"

    for file, offset in (("a", 0), ("b", 0), ("a", 0), ("a", 9), ("a", 0), ("b", 0)):
        assert kept.part(file, offset, partial(part, file, offset)) == f"{file}{offset}"
    assert read == [("a", 0), ("b", 0), ("a", 9), ("b", 0)]

"""An archive of events: it tells what it holds, and nothing that is not as it was written is taken."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.archive.files import zstd
from infrastructure.event_store.log import Row
from infrastructure.transfer import format as archive
from infrastructure.transfer.errors import ArchiveDamaged, ArchiveUnreadable
from infrastructure.transfer.format import (
    Head,
    Header,
    Key,
    Manifest,
    Seals,
    Selection,
    Totals,
    frame,
    read,
    written,
    written_seals,
)
from infrastructure.transfer.imports import inspect
from tests.support.transfers import ODD_STATES, Progress

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def rows(first: int, count: int) -> list[Row]:
    """Some events from a position on."""
    return [
        (position, UUID(int=position), 1, "task.created.v1", b'{"n":%d}' % position, NOON)
        for position in range(first, first + count)
    ]


def archived(*parts: list[Row], of: Selection | None = None) -> list[bytes]:
    """The frames of an archive."""
    totals = Totals(Header(selection=of or Selection(), head=1_000))
    found = [frame(totals.header)]
    for part in parts:
        lines = written(part)
        found.append(frame(totals.add(lines, len(part), part[0][0], part[-1][0], 0), lines))
    return [*found, frame(totals.manifest())]


def inspected(path: Path, content: bytes) -> Manifest:
    """What reading a file of such bytes comes to."""
    path.write_bytes(content)
    with path.open("rb") as file:
        return inspect(path, file, Progress())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.zst"


@given(
    st.binary() | st.sampled_from(ODD_STATES) | st.text().map(lambda text: msgspec.json.encode({"t": text}))
)
def test_a_state_comes_back_byte_for_byte_from_a_single_line(state: bytes) -> None:
    event = (7, UUID(int=3), 2, "odd \n topic", state, NOON + timedelta(microseconds=1))
    lines = written([event])
    assert lines.count(b"\n") == 1
    assert lines.endswith(b"\n")
    assert read(lines) == [event]
    assert b'"state":{"n":1}}\n' in written(rows(1, 1)), "JSON stays as it is"


def test_the_manifest_tells_what_is_there(path: Path) -> None:
    found = inspected(path, b"".join(archived(rows(1, 3), rows(9, 2))))
    digest = sha256(written([*rows(1, 3), *rows(9, 2)])).hexdigest()
    assert found == Manifest(
        whole=True,
        selection=Selection(),
        events=5,
        parts=2,
        first=1,
        last=10,
        head=1_000,
        cut=0,
        sha256=digest,
    )


def test_a_part_of_a_log_says_of_what(path: Path) -> None:
    of = Selection(namespace="a", task_id=UUID(int=1), first=2, last=9)
    found = inspected(path, b"".join(archived(rows(2, 3), of=of)))
    assert (found.whole, found.selection) == (False, of)
    assert of.described() == f"namespace a, task {UUID(int=1)}, from event 2, to event 9"


def test_a_changed_bit_is_told_or_changes_nothing_of_what_is_read(path: Path) -> None:
    whole = b"".join(archived(rows(1, 3), rows(9, 2)))
    expected, told = inspected(path, whole), 0
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 0x01
        try:
            assert inspected(path, bytes(changed)) == expected
        except ArchiveDamaged:
            told += 1
    assert told > 0.9 * len(whole)


LATER_FORMAT = zstd.compress(
    msgspec.json.encode(msgspec.to_builtins(Header(selection=Selection(), head=1)) | {"format_version": 2})
    + b"\n"
)


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda header, one, two, end: [], "ends before its manifest"),
        (lambda header, one, two, end: [header, one, two], "ends before its manifest"),
        (lambda header, one, two, end: [header, one, end], "does not hold what its manifest says"),
        (lambda header, one, two, end: [header, two, end], "not in order at its part 2"),
        (lambda header, one, two, end: [header, two, one, end], "not in order at its part 2"),
        (lambda header, one, two, end: [header, one, one, end], "not in order at its part 1"),
        (lambda header, one, two, end: [one, two, end], "does not begin as an archive"),
        (lambda header, one, two, end: [header, header, one, two, end], "does not begin as an archive"),
        (lambda header, one, two, end: [header, one, two, end, two], "goes on behind its manifest"),
        (lambda header, one, two, end: [header, one, two[:-3]], "ends in the middle"),
        (lambda header, one, two, end: [b"no archive"], "is no zstd file"),
        (lambda header, one, two, end: [zstd.compress(b"no archive\n")], "is no archive of events"),
        (
            lambda header, one, two, end: [header, zstd.compress(b'{"type":"new"}\n')],
            "something else than an archive",
        ),
        (lambda header, one, two, end: [header, zstd.compress(b'\xff"\n')], "something else than an archive"),
        (lambda header, one, two, end: [LATER_FORMAT, one, two, end], "that this release can read"),
    ],
)
def test_what_is_not_in_order_is_told(
    path: Path, spoilt: Callable[[bytes, bytes, bytes, bytes], list[bytes]], said: str
) -> None:
    header, one, two, end = archived(rows(1, 3), rows(9, 2))
    with pytest.raises(ArchiveDamaged, match=said):
        inspected(path, b"".join(spoilt(header, one, two, end)))


def test_the_manifest_tells_the_last_head(path: Path) -> None:
    key = Key(b"k" * 32, "PEM", NOON)
    heads = [Head(size, bytes([size]) * 32, size, NOON, key.key_id, b"s" * 64) for size in (1, 3)]
    totals, frames_of = sealed_archive([key], heads[:1], heads[1:])
    found = inspected(path, b"".join(frames_of))
    assert found == totals.manifest()
    assert found.seals is not None
    assert (found.seals.rows, found.seals.tree_size, found.seals.root_hash) == (3, 3, "03" * 32)
    for left_out in (1, 2, 3):
        with pytest.raises(ArchiveDamaged, match="does not hold what its manifest says"):
            inspected(path, b"".join([*frames_of[:left_out], *frames_of[left_out + 1 :]]))


def sealed_archive(*seals: list[Key] | list[Head]) -> tuple[Totals, list[bytes]]:
    """An archive of nothing but seals."""
    totals = Totals(Header(selection=Selection(), head=3))
    found = [frame(totals.header)]
    for some in seals:
        lines = written_seals(some)
        found.append(frame(totals.add_seals(lines, some), lines))
    return totals, [*found, frame(totals.manifest())]


def test_what_is_no_seal_is_not_taken_for_one(path: Path) -> None:
    for lines in (b'{"type":"other"}\n', b"\xff\n"):
        seals = Seals(rows=1, sha256=sha256(lines).hexdigest())
        with pytest.raises(ArchiveDamaged, match="something else than seals"):
            inspected(path, frame(Header(selection=Selection(), head=1)) + frame(seals, lines))


def test_a_full_disk_is_told_what_helps(path: Path) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match="space") as raised:
        full.write(b"x")
    assert "make room and start it again" in str(ArchiveUnreadable(path, raised.value))


def test_a_file_that_unpacks_to_more_than_a_header_is_refused_before_it_is_unpacked(path: Path) -> None:
    bomb = zstd.compress(b"0" * 64 * 1024 * 1024)
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveDamaged, match="holds more at once than an archive of events does"):
            inspected(path, bomb)
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_frames_of_any_size_are_read_wherever_the_chunks_of_the_file_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"".join(archived(rows(1, 300), rows(301, 1)))
    expected = inspected(path, content)
    for chunk in (7, 64, len(content) - 1, len(content)):
        monkeypatch.setattr(archive, "_CHUNK_BYTES", chunk)
        assert inspected(path, content) == expected

"""Archive files: what is written is read again, little of it at a time, and no change of it stays unseen."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identity import Month
from infrastructure.archive.files import ArchiveFile, Damaged, Entry, Event, Writer, zstd
from tests.support.archived_events import START, events
from tests.support.archived_files import Bytes

MUCH = 1 << 30


def written(log: Sequence[Event], frame_events: int = 10) -> tuple[bytes, str]:
    """The file, and its SHA-256."""
    sink = io.BytesIO()
    writer = Writer(sink, Month(2026, 1), frame_events)
    for event in log:
        writer.add(event)
    for event in sorted(log, key=lambda one: (one.stream, one.version)):
        writer.index(Entry(event.stream, event.position))
    writer.finish(len({event.stream for event in log}), {"execution.succeeded.v1": 1})
    return sink.getvalue(), writer.sha256


def opened(log: Sequence[Event], frame_events: int = 10) -> ArchiveFile:
    return ArchiveFile("january", Bytes(written(log, frame_events)[0]))


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=50), st.integers(1, 7))
def test_every_byte_comes_back_in_its_order(states: list[bytes], frame_events: int) -> None:
    log = events(states)
    content, sha256 = written(log, frame_events)
    file = ArchiveFile("january", Bytes(content))
    assert list(file.events()) == log
    assert file.after(0, MUCH, MUCH) == log
    file.verify(sha256)


@given(st.integers(1, 40), st.integers(0, 90), st.integers(1, 50))
def test_events_after_a_position_are_bounded_by_number(count: int, position: int, limit: int) -> None:
    log = events([b"{}"] * count, gap=2)
    wanted = [event for event in log if event.position > position][:limit]
    assert opened(log, 7).after(position, limit, MUCH) == wanted


def test_events_after_a_position_are_bounded_by_bytes_but_are_never_none() -> None:
    log = events([b"x" * 100] * 30)
    assert opened(log).after(5, MUCH, 250) == log[5:8]
    assert opened(log).after(5, MUCH, 1) == log[5:6]


@given(st.integers(1, 60), st.integers(1, 9))
def test_a_stream_is_found_whole_and_an_unknown_one_is_empty(count: int, streams: int) -> None:
    log = events([b"{}"] * count, streams)
    file = opened(log, 4)
    for number in range(streams + 1):
        stream = UUID(int=1 << 127 | number)
        assert file.of_stream(stream) == [event for event in log if event.stream == stream]


def test_of_a_large_file_little_is_read_for_one_stream() -> None:
    log = events([b"%06d" % number * 20 for number in range(50_000)], streams=25_000)
    source = Bytes(written(log, frame_events=500)[0])
    file = ArchiveFile("january", source)
    source.read_bytes = 0
    assert len(file.of_stream(log[0].stream)) == 2
    assert source.read_bytes < source.size / 2
    parts = [*file.manifest.frames, *file.manifest.index]
    assert source.read_bytes <= 3 * max(part.length for part in parts)


@given(st.integers(1, 40), st.integers(-2, 45))
def test_the_last_event_by_an_instant_and_up_to_a_position_is_found(count: int, second: int) -> None:
    log = events([b"{}"] * count)
    file = opened(log, 6)
    instant = START + timedelta(seconds=second)
    assert file.last_by(instant) == max((one for one in log if one.recorded_at <= instant), default=None)
    assert file.last_up_to(second) == max((one for one in log if one.position <= second), default=None)


def test_zstd_shows_the_events_a_line_each_and_nothing_else() -> None:
    lines = zstd.decompress(written(events([b'{"a":1}', b"\xff"]))[0]).splitlines()
    assert lines[0].startswith(b'{"position":1,"stream":"80000000-')
    assert lines[0].endswith(b'"state":"{\\"a\\":1}"}')
    assert lines[1].endswith(b'"state_base64":"/w=="}')
    assert len(lines) == 2


@pytest.mark.parametrize("place", [0.0, 0.25, 0.5, 0.75, 0.99])
def test_a_changed_byte_anywhere_is_told(place: float) -> None:
    content, sha256 = written(events([b"{}"] * 200))
    at = int(place * len(content))
    changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    with pytest.raises(Damaged, match="fetch another copy"):
        ArchiveFile("january", Bytes(changed)).verify(sha256)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 100, -1, -16])
def test_a_file_that_is_cut_off_is_told_at_once(length: int) -> None:
    content, _ = written(events([b"{}"] * 200))
    with pytest.raises(Damaged, match="does not end as an archive does"):
        ArchiveFile("january", Bytes(content[:length]))


def test_a_frame_that_is_not_its_own_is_told_by_whoever_reads_it() -> None:
    content, _ = written(events([b"{}"] * 20))
    first = ArchiveFile("january", Bytes(content)).manifest.frames[0]
    at = first.offset + first.length // 2
    file = ArchiveFile("january", Bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]))
    with pytest.raises(Damaged, match="have another hash"):
        file.after(0, 1, MUCH)
    assert file.after(10, 1, MUCH)[0].position == 11

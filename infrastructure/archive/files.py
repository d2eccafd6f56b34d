"""The format of an archive file: what it holds and where, so that little of it has to be read.

A file is a run of zstd frames. Those with events, in the order of their positions, hold a JSON line an event,
and `zstdcat` shows them. The others are skippable frames (RFC 8878), which it passes over: the index, which
leads from a stream to the positions of its events, in the order of streams; the manifest, which says where
each frame is and what it hashes to; and, within the last bytes, how long the manifest is.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from struct import Struct as Layout
from typing import NamedTuple, Protocol, cast
from uuid import UUID

import msgspec
from msgspec import Struct, field

from application.ports import ArchiveAway
from domain.identity import Month

if sys.version_info >= (3, 14):
    from compression import zstd as zstd  # noqa: PLC0414 - others import it from here
else:
    from backports import zstd as zstd  # noqa: PLC0414


FORMAT = 1
FRAME_EVENTS = 4_000
FRAME_BYTES = 4 * 1024 * 1024
INDEX_ENTRIES = 50_000

_SKIPPABLE = Layout("<II")
_SKIPPABLE_MAGIC = 0x184D2A50
_END = Layout("<Q8s")
_END_MARK = b"CHRONOL1"
END_BYTES = _END.size
_ENTRY = Layout(">16sQ")


class Event(NamedTuple):
    """A row of the log, as it is stored: `infrastructure.event_store.log.Row`."""

    position: int
    stream: UUID
    version: int
    topic: str
    state: bytes
    recorded_at: datetime


class Entry(NamedTuple):
    """A line of the index: the position of an event of a stream."""

    stream: UUID
    position: int


class Part(Struct, frozen=True, kw_only=True):
    """Where some bytes of the file are, and their SHA-256."""

    offset: int
    length: int
    sha256: str


class Frame(Part, frozen=True, kw_only=True):
    """So many events in one piece, with the positions and the instants at both ends."""

    events: int
    first_position: int
    last_position: int
    first_recorded_at: datetime
    last_recorded_at: datetime


class IndexPart(Part, frozen=True, kw_only=True):
    """A piece of the index, with the streams at both ends."""

    entries: int
    first_stream: UUID
    last_stream: UUID


class Manifest(Struct, frozen=True, kw_only=True):
    """What a file holds. `outcomes` counts executions by the topic of their last event."""

    format: int = field(name="form")
    month: str
    events: int
    executions: int
    outcomes: dict[str, int]
    first_position: int
    last_position: int
    frames: tuple[Frame, ...]
    index: tuple[IndexPart, ...]


class _Line(Struct, omit_defaults=True):
    """An event as it stands in a file: a state that is no UTF-8, as a foreign hand may store, is Base64."""

    position: int
    stream: UUID
    version: int
    topic: str
    recorded_at: datetime
    state: str | None = None
    state_base64: str | None = None


_encoder = msgspec.json.Encoder()
_lines = msgspec.json.Decoder(_Line)
_manifest = msgspec.json.Decoder(Manifest)


class Damaged(Exception):
    """An archive is not what was written; fetch another copy of the file."""

    def __init__(self, name: str, complaint: str) -> None:
        super().__init__(f"the archive {name} is damaged: {complaint}; fetch another copy of it")
        self._name, self._complaint = name, complaint

    def away(self) -> ArchiveAway:
        """The same, to whoever needs what is in the archive."""
        return ArchiveAway(self._name, f"it is damaged: {self._complaint}", "another copy of the file")


def line(event: Event) -> bytes:
    """The line of an event, without its end."""
    try:
        told = {"state": event.state.decode()}
    except UnicodeDecodeError:
        told = {"state_base64": base64.b64encode(event.state).decode()}
    return _encoder.encode(
        _Line(event.position, event.stream, event.version, event.topic, event.recorded_at, **told)
    )


def frame_of(lines: Iterable[bytes]) -> bytes:
    """A frame of lines."""
    return zstd.compress(b"".join(one + b"\n" for one in lines))


def index_of(entries: Iterable[Entry]) -> bytes:
    """A piece of the index."""
    return _skippable(zstd.compress(b"".join(_ENTRY.pack(stream.bytes, place) for stream, place in entries)))


def end_of(manifest: Manifest) -> bytes:
    """The last frame: the manifest, and how long it is."""
    packed = zstd.compress(_encoder.encode(manifest))
    return _skippable(packed + _END.pack(len(packed), _END_MARK))


def part_hash(content: bytes) -> str:
    """The SHA-256 of a part, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def manifest_length(name: str, end: bytes) -> int:
    """The length of the manifest right before the last `END_BYTES`. Raises `Damaged`."""
    length, mark = _END.unpack(end) if len(end) == END_BYTES else (0, b"")
    if mark != _END_MARK:
        raise Damaged(name, "it does not end as an archive does")
    return int(length)


def read_manifest(name: str, packed: bytes) -> Manifest:
    """The manifest of these bytes. Raises `Damaged`."""
    try:
        found = _manifest.decode(zstd.decompress(packed))
    except (zstd.ZstdError, msgspec.DecodeError) as error:
        raise Damaged(name, f"its manifest cannot be read ({error})") from error
    if found.format != FORMAT:
        raise Damaged(name, f"its format is {found.format}, and this release reads format {FORMAT}")
    return found


def read_frame(name: str, frame: Frame, content: bytes) -> Sequence[Event]:
    """The events of a frame. Raises `Damaged`."""
    _check(name, frame, content)
    return [_event(one) for one in _lines.decode_lines(zstd.decompress(content))]


class Index:
    """A piece of the index as it lies in memory: looked into, never taken apart."""

    def __init__(self, records: bytes) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records) // _ENTRY.size

    def positions(self, stream: UUID) -> Sequence[int]:
        """Where the events of a stream are."""
        first, found = bisect_left(range(len(self)), stream.bytes, key=self._stream), []
        while first < len(self) and self._stream(first) == stream.bytes:
            found.append(_ENTRY.unpack_from(self._records, first * _ENTRY.size)[1])
            first += 1
        return found

    def _stream(self, number: int) -> bytes:
        start = number * _ENTRY.size
        return self._records[start : start + 16]


def read_index(name: str, part: IndexPart, content: bytes) -> Index:
    """A piece of the index. Raises `Damaged`."""
    _check(name, part, content)
    return Index(zstd.decompress(content[_SKIPPABLE.size :]))


def _check(name: str, part: Part, content: bytes) -> None:
    if part_hash(content) != part.sha256:
        raise Damaged(name, f"the {part.length:,} bytes from {part.offset:,} on have another hash")


def _event(found: _Line) -> Event:
    state = found.state.encode() if found.state is not None else base64.b64decode(found.state_base64 or "")
    return Event(found.position, found.stream, found.version, found.topic, state, found.recorded_at)


def _skippable(content: bytes) -> bytes:
    return _SKIPPABLE.pack(_SKIPPABLE_MAGIC, len(content)) + content


KEPT_PARTS = 8
HASHED_BYTES = 1024 * 1024


class Source(Protocol):
    """The bytes of a file. Raises `ArchiveAway`."""

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def read(self, offset: int, length: int, /) -> bytes:
        """Some of them."""
        ...


class Kept:
    """The parts that were read last, of all files together, for whoever reads on. Threads may share it."""

    def __init__(self, most: int = KEPT_PARTS) -> None:
        self._most = most
        self._parts: OrderedDict[tuple[str, int], object] = OrderedDict()
        self._turn = threading.Lock()

    def part[T](self, manifest_sha256: str, offset: int, read: Callable[[], T]) -> T:
        """The part at an offset of the file with this manifest: what is kept, or what is read now."""
        key = (manifest_sha256, offset)
        with self._turn:
            if key in self._parts:
                self._parts.move_to_end(key)
                return cast("T", self._parts[key])
        found = read()
        with self._turn:
            self._parts[key] = found
            while len(self._parts) > self._most:
                self._parts.popitem(last=False)
        return found


class ArchiveFile:
    """What a file holds. All methods block, and raise `Damaged` and `ArchiveAway`."""

    def __init__(
        self, name: str, source: Source, manifest_sha256: str | None = None, kept: Kept | None = None
    ) -> None:
        """`manifest_sha256` is what the manifest must hash to; None: that is not known yet.

        `kept` is shared with other files; None: this one keeps its own.
        """
        self._kept = kept or Kept()
        self._name = name
        self._source = source
        end = source.read(source.size - END_BYTES, END_BYTES) if source.size > END_BYTES else b""
        length = manifest_length(name, end)
        start = source.size - END_BYTES - length
        if start < 0:
            raise Damaged(name, "its manifest is longer than itself")
        packed = source.read(start, length)
        self.manifest_sha256 = part_hash(packed)
        if self.manifest_sha256 != (manifest_sha256 or self.manifest_sha256):
            found = self.manifest_sha256
            raise Damaged(name, f"its manifest hashes to {found}, and {manifest_sha256} was written")
        self.manifest: Manifest = read_manifest(name, packed)
        self._last_positions = [frame.last_position for frame in self.manifest.frames]
        self._last_streams = [part.last_stream for part in self.manifest.index]

    def after(
        self,
        position: int,
        limit: int,
        most_bytes: int,
        wanted: Callable[[Event], bool] = lambda _: True,
    ) -> Sequence[Event]:
        """Up to `limit` events after a position, in order; the one that makes it `most_bytes` is the last.

        Those that are not `wanted` are left out, and do not count.
        """
        found: list[Event] = []
        size = 0
        for number in range(bisect_left(self._last_positions, position + 1), len(self.manifest.frames)):
            for event in self._frame(number):
                if event.position > position and wanted(event):
                    found.append(event)
                    size += len(event.state)
                    if len(found) == limit or size >= most_bytes:
                        return found
        return found

    def of_stream(self, stream: UUID) -> Sequence[Event]:
        """The events of a stream in order; only frames that hold them are read, and a piece of the index."""
        found: list[Event] = []
        for number in range(bisect_left(self._last_streams, stream), len(self.manifest.index)):
            if self.manifest.index[number].first_stream > stream:
                break
            found += [self._at(position) for position in self._index(number).positions(stream)]
        return found

    def first_of(self, streams: Sequence[UUID]) -> dict[UUID, Event]:
        """The first event of each of these streams."""
        found = {stream: self.of_stream(stream) for stream in streams}
        return {stream: events[0] for stream, events in found.items() if events}

    def last_by(self, instant: datetime) -> Event | None:
        """The last event that was recorded at or before an instant; None: all were recorded after it."""
        number = bisect_right([frame.first_recorded_at for frame in self.manifest.frames], instant)
        if not number:
            return None
        return [event for event in self._frame(number - 1) if event.recorded_at <= instant][-1]

    def last_up_to(self, position: int) -> Event | None:
        """The last event that is not behind a position; None: all are."""
        number = bisect_left(self._last_positions, position)
        if number < len(self.manifest.frames):
            before = [event for event in self._frame(number) if event.position <= position]
            if before:
                return before[-1]
        return self._frame(number - 1)[-1] if number else None

    def events(self) -> Iterator[Event]:
        """All of them, in order."""
        for number in range(len(self.manifest.frames)):
            yield from self._read_frame(number)

    def verify(self, sha256: str) -> None:
        """Read all of the file and compare it with its hashes, its counts and its index. Raises `Damaged`."""
        whole = hashlib.sha256()
        for offset in range(0, self._source.size, HASHED_BYTES):
            whole.update(self._source.read(offset, min(HASHED_BYTES, self._source.size - offset)))
        if whole.hexdigest() != sha256:
            raise Damaged(self._name, f"its SHA-256 is {whole.hexdigest()}, and {sha256} was written")
        count = last = 0
        for event in self.events():
            if event.position <= last:
                raise Damaged(self._name, f"event {event.position} comes after event {last}")
            count, last = count + 1, event.position
        indexed = sum(len(self._read_index(number)) for number in range(len(self.manifest.index)))
        if not count == indexed == self.manifest.events:
            said = self.manifest.events
            raise Damaged(
                self._name, f"it holds {count:,} events, its index {indexed:,}, and it says {said:,}"
            )

    def _at(self, position: int) -> Event:
        number = bisect_left(self._last_positions, position)
        events = self._frame(number) if number < len(self.manifest.frames) else ()
        for event in events:
            if event.position == position:
                return event
        raise Damaged(self._name, f"its index names event {position}, which it does not hold")

    def _frame(self, number: int) -> Sequence[Event]:
        frame = self.manifest.frames[number]
        return self._kept.part(self.manifest_sha256, frame.offset, lambda: self._read_frame(number))

    def _index(self, number: int) -> Index:
        part = self.manifest.index[number]
        return self._kept.part(self.manifest_sha256, part.offset, lambda: self._read_index(number))

    def _read_frame(self, number: int) -> Sequence[Event]:
        frame = self.manifest.frames[number]
        return read_frame(self._name, frame, self._source.read(frame.offset, frame.length))

    def _read_index(self, number: int) -> Index:
        part = self.manifest.index[number]
        return read_index(self._name, part, self._source.read(part.offset, part.length))


class Sink(Protocol):
    """Takes the bytes of a file, one after the other."""

    def write(self, content: bytes, /) -> object:
        """Add bytes."""


class Writer:
    """Takes all events in the order of their positions, then all entries in the order of streams."""

    def __init__(self, sink: Sink, month: Month, frame_events: int = FRAME_EVENTS) -> None:
        self._sink = sink
        self._month = month
        self._frame_events = frame_events
        self._hash = hashlib.sha256()
        self._lines: list[bytes] = []
        self._bytes = 0
        self._ends: list[Event] = []
        self._entries: list[Entry] = []
        self._frames: list[Frame] = []
        self._index: list[IndexPart] = []
        self.size = 0
        """Bytes written so far."""

    @property
    def sha256(self) -> str:
        """Of all that is written so far."""
        return self._hash.hexdigest()

    def add(self, event: Event) -> None:
        """The next event."""
        written = line(event)
        self._lines.append(written)
        self._bytes += len(written)
        self._ends = [self._ends[0], event] if self._ends else [event, event]
        if len(self._lines) >= self._frame_events or self._bytes >= FRAME_BYTES:
            self._end_frame()

    def index(self, entry: Entry) -> None:
        """The next entry of the index, after all events."""
        self._end_frame()
        self._entries.append(entry)
        if len(self._entries) >= INDEX_ENTRIES:
            self._end_index()

    def finish(self, executions: int, outcomes: Mapping[str, int]) -> Manifest:
        """Write the rest; answers what the file holds. There must have been an event, and its entry."""
        self._end_index()
        manifest = Manifest(
            format=FORMAT,
            month=str(self._month),
            events=sum(frame.events for frame in self._frames),
            executions=executions,
            outcomes=dict(outcomes),
            first_position=self._frames[0].first_position,
            last_position=self._frames[-1].last_position,
            frames=tuple(self._frames),
            index=tuple(self._index),
        )
        self._write(end_of(manifest))
        return manifest

    def _end_frame(self) -> None:
        if not self._lines:
            return
        content, (first, last) = frame_of(self._lines), self._ends
        self._frames.append(
            Frame(
                offset=self.size,
                length=len(content),
                sha256=part_hash(content),
                events=len(self._lines),
                first_position=first.position,
                last_position=last.position,
                first_recorded_at=first.recorded_at,
                last_recorded_at=last.recorded_at,
            )
        )
        self._write(content)
        self._lines, self._bytes, self._ends = [], 0, []

    def _end_index(self) -> None:
        if not self._entries:
            return
        content = index_of(self._entries)
        self._index.append(
            IndexPart(
                offset=self.size,
                length=len(content),
                sha256=part_hash(content),
                entries=len(self._entries),
                first_stream=self._entries[0].stream,
                last_stream=self._entries[-1].stream,
            )
        )
        self._write(content)
        self._entries = []

    def _write(self, content: bytes) -> None:
        self._sink.write(content)
        self._hash.update(content)
        self.size += len(content)

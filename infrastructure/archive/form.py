"""The form of an archive file: what it holds and where, so that little of it has to be read.

A file is a run of zstd frames. Those with events, in the order of their positions, hold a JSON line an event,
and `zstdcat` shows them. The others are skippable frames (RFC 8878), which it passes over: the index, which
leads from a stream to the positions of its events, in the order of streams; the manifest, which says where
each frame is and what it hashes to; and, within the last bytes, how long the manifest is.
"""

from __future__ import annotations

import base64
import hashlib
from bisect import bisect_left
from datetime import datetime
from struct import Struct as Layout
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Struct

from application.archived import ArchiveAway
from infrastructure.zstandard import ZstdError, compress, decompress

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FORM = 1
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

    form: int
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
    return compress(b"".join(one + b"\n" for one in lines))


def index_of(entries: Iterable[Entry]) -> bytes:
    """A piece of the index."""
    return _skippable(compress(b"".join(_ENTRY.pack(stream.bytes, place) for stream, place in entries)))


def end_of(manifest: Manifest) -> bytes:
    """The last frame: the manifest, and how long it is."""
    packed = compress(_encoder.encode(manifest))
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
        found = _manifest.decode(decompress(packed))
    except (ZstdError, msgspec.DecodeError) as error:
        raise Damaged(name, f"its manifest cannot be read ({error})") from error
    if found.form != FORM:
        raise Damaged(name, f"its form is {found.form}, and this release reads form {FORM}")
    return found


def read_frame(name: str, frame: Frame, content: bytes) -> Sequence[Event]:
    """The events of a frame. Raises `Damaged`."""
    _check(name, frame, content)
    return [_event(one) for one in _lines.decode_lines(decompress(content))]


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
    return Index(decompress(content[_SKIPPABLE.size :]))


def _check(name: str, part: Part, content: bytes) -> None:
    if part_hash(content) != part.sha256:
        raise Damaged(name, f"the {part.length:,} bytes from {part.offset:,} on have another hash")


def _event(found: _Line) -> Event:
    state = found.state.encode() if found.state is not None else base64.b64decode(found.state_base64 or "")
    return Event(found.position, found.stream, found.version, found.topic, state, found.recorded_at)


def _skippable(content: bytes) -> bytes:
    return _SKIPPABLE.pack(_SKIPPABLE_MAGIC, len(content)) + content

"""Reading an archive: the end of the file says where all else is."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from infrastructure.archive.form import (
    END_BYTES,
    Damaged,
    manifest_length,
    part_hash,
    read_frame,
    read_index,
    read_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from infrastructure.archive.form import Event, Index, Manifest

KEPT_PARTS = 4
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


class ArchiveFile:
    """What a file holds. All methods block, and raise `Damaged` and `ArchiveAway`.

    The parts that were read last are kept, for whoever reads on.
    """

    def __init__(self, name: str, source: Source, manifest_sha256: str | None = None) -> None:
        """`manifest_sha256` is what the manifest must hash to; None: that is not known yet."""
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
        self._frame = lru_cache(KEPT_PARTS)(self._read_frame)
        self._index = lru_cache(KEPT_PARTS)(self._read_index)

    def after(self, position: int, limit: int, most_bytes: int) -> Sequence[Event]:
        """Up to `limit` events after a position, in order; the one that makes it `most_bytes` is the last."""
        found: list[Event] = []
        size = 0
        for number in range(bisect_left(self._last_positions, position + 1), len(self.manifest.frames)):
            for event in self._frame(number):
                if event.position > position:
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

    def _read_frame(self, number: int) -> Sequence[Event]:
        frame = self.manifest.frames[number]
        return read_frame(self._name, frame, self._source.read(frame.offset, frame.length))

    def _read_index(self, number: int) -> Index:
        part = self.manifest.index[number]
        return read_index(self._name, part, self._source.read(part.offset, part.length))

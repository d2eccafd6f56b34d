"""Reading an archive: the end of the file says where all else is."""

from __future__ import annotations

import hashlib
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol, cast

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
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from infrastructure.archive.form import Event, Index, Manifest

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

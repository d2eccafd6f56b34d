"""Writing an archive: in one go, and never more than a frame of it in memory."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from infrastructure.archive.form import (
    FORM,
    FRAME_BYTES,
    FRAME_EVENTS,
    INDEX_ENTRIES,
    Entry,
    Event,
    Frame,
    IndexPart,
    Manifest,
    end_of,
    frame_of,
    index_of,
    line,
    part_hash,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.months import Month


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
            form=FORM,
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

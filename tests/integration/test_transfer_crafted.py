"""Archives whose hashes fit, and which no export has written: refused in a sentence, whatever they hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infrastructure.transfer.errors import ArchiveDamaged, TransferRefused
from infrastructure.transfer.format import (
    Block,
    Head,
    Header,
    Node,
    Seal,
    Selection,
    Totals,
    frame,
    written_seals,
)
from infrastructure.transfer.imports import import_events
from tests.support.transfers import Progress

AT = datetime(2026, 1, 1, tzinfo=UTC)


def line(position: int, **otherwise: Any) -> bytes:
    """An event that is the first of its stream."""
    event: dict[str, Any] = {
        "position": position,
        "stream": f"00000000-0000-7000-8000-{position:012}",
        "version": 1,
        "topic": "odd.v1",
        "recorded_at": "2026-01-01T00:00:00Z",
        "state": {},
    }
    return msgspec.json.encode(event | otherwise) + b"\n"


def crafted(path: Path, lines: Sequence[bytes], last: int = 3, seals: Sequence[Seal] = ()) -> Path:
    """An archive of one part that is said to go from position 1 to the last."""
    totals = Totals(Header(selection=Selection(), head=last))
    pieces = [frame(totals.header)]
    events = b"".join(lines)
    pieces.append(frame(totals.add(events, len(lines), 1, last, 0), events))
    if seals:
        told = written_seals(seals)
        pieces.append(frame(totals.add_seals(told, seals), told))
    path.write_bytes(b"".join((*pieces, frame(totals.manifest()))))
    return path


FIRST = "00000000-0000-7000-8000-000000000001"
EVENTS = {
    "a position twice": [line(1), line(2), line(2, stream="00000000-0000-7000-8000-000000000009"), line(3)],
    "a version twice": [line(1), line(2, stream=FIRST), line(3)],
    "no version": [line(1, version=0), line(3)],
    "a version that no column holds": [line(1, version=2**64), line(3)],
    "a topic that no text is": [line(1, topic="a\0b"), line(3)],
    "an instant without an offset": [line(1, recorded_at="2026-01-01T00:00:00"), line(3)],
    "an instant before the calendar": [line(1, recorded_at="0001-01-01T00:00:00+14:00"), line(3)],
}
SEALS: dict[str, Seal] = {
    "a block of no leaves": Block(0, -1, 1, 3, b"", b"", b""),
    "a block that no column holds": Block(2**64, 1, 1, 3, b"", b"", b""),
    "a node of no level": Node(2**64, 0, b""),
    "a head by a key that is not there": Head(2, b"x", 3, AT, b"key", b"signature"),
}


@pytest.mark.parametrize("lines", EVENTS.values(), ids=EVENTS)
def test_events_that_no_log_holds_are_refused(database: str, tmp_path: Path, lines: Sequence[bytes]) -> None:
    with pytest.raises(ArchiveDamaged, match="nothing of it is trusted"):
        import_events(database, crafted(tmp_path / "a.zst", lines), partial=False, report=Progress())


@pytest.mark.parametrize("seal", SEALS.values(), ids=SEALS)
def test_seals_that_no_log_has_are_refused(database: str, tmp_path: Path, seal: Seal) -> None:
    with pytest.raises(TransferRefused):
        import_events(
            database,
            crafted(tmp_path / "a.zst", [line(1), line(3)], seals=[seal]),
            partial=False,
            report=Progress(),
        )

"""Events as lines of JSON and back, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

if TYPE_CHECKING:
    from infrastructure.event_store.log import Row


class Line(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """An event of the log. `state` is the stored JSON itself; `state_base64` what is not JSON on one line."""

    position: int
    stream: UUID
    version: int
    topic: str
    recorded_at: Annotated[datetime, Meta(tz=True)]
    state: Raw | UnsetType = UNSET
    state_base64: bytes | UnsetType = UNSET


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)


def written(rows: Iterable[Row]) -> bytes:
    """A line for each event, each ended; the same events always make the same bytes.

    Instants have to be in UTC.
    """
    return _encoder.encode_lines(map(_line, rows))


def read(lines: bytes) -> Sequence[Row]:
    """The events of such lines. Raises `msgspec.MsgspecError` and `UnicodeDecodeError`."""
    return [
        (line.position, line.stream, line.version, line.topic, _state(line), line.recorded_at)
        for line in _decoder.decode_lines(lines)
    ]


def _line(row: Row) -> Line:
    position, stream, version, topic, state, recorded_at = row
    if _is_line(state):
        return Line(position, stream, version, topic, recorded_at, state=Raw(state))
    return Line(position, stream, version, topic, recorded_at, state_base64=state)


def _is_line(state: bytes) -> bool:
    """Whether it is JSON that stands as it is within a line of JSON."""
    if b"\n" in state or b"\r" in state:
        return False
    try:
        state.decode()  # a raw part is only passed over
        return bytes(msgspec.json.decode(state, type=Raw)) == state
    except (ValueError, RecursionError):
        return False


def _state(line: Line) -> bytes:
    if isinstance(line.state, Raw):
        return bytes(line.state)
    return b"" if line.state_base64 is UNSET else line.state_base64

"""Events as archives hold them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from infrastructure.archive.files import Event

START = datetime(2026, 1, 1, tzinfo=UTC)


def events(states: Sequence[bytes], streams: int = 3, gap: int = 1) -> list[Event]:
    """One event a second, of some streams in turn."""
    return [
        Event(
            position=1 + number * gap,
            stream=UUID(int=1 << 127 | number % streams),
            version=1 + number // streams,
            topic="execution.started.v1",
            state=state,
            recorded_at=START + timedelta(seconds=number),
        )
        for number, state in enumerate(states)
    ]

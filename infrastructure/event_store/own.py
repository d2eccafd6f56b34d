"""What this process has appended: who follows the log in the same process need not read it again."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from application.ports import Recorded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from application.ports import Group

# As stored: who follows further behind than this reads from the log.
MAX_BYTES = 16 * 1024 * 1024
# An append that takes longer than this is not waited for.
ANSWER_SECONDS = 0.02


class OwnEvents:
    """Runs of events that lie side by side in the log, oldest first; each is told once, in its turn."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """`max_bytes` 0: nobody follows."""
        self._max_bytes = max_bytes
        self._runs: deque[tuple[Sequence[Recorded], int]] = deque()
        self._bytes = 0
        self._asked: asyncio.Future[None] | None = None

    def ask(self) -> asyncio.Future[None]:
        """A call of the database begins; it is done with when the future is."""
        self._asked = asyncio.get_running_loop().create_future()
        return self._asked

    async def answered(self) -> None:
        """Wait for the answer to the call that is under way: a notification may overtake it, but hardly."""
        if self._asked is not None and not self._asked.done():
            await asyncio.wait([self._asked], timeout=ANSWER_SECONDS)

    def add(self, first_position: int, recorded_at: datetime, groups: Iterable[Group], size: int) -> None:
        """One call has stored these groups, in `size` bytes, from a position on without a gap."""
        if self._bytes + size > self._max_bytes:
            self.forget()
            return
        facts = [(new, group.meta) for group in groups for new in group.facts]
        run = [
            Recorded(
                position=position,
                stream=new.stream,
                version=new.version,
                fact=new.fact,
                meta=meta,
                recorded_at=recorded_at,
            )
            for position, (new, meta) in enumerate(facts, start=first_position)
        ]
        self._runs.append((run, size))
        self._bytes += size

    def forget(self) -> None:
        """Nothing is known any more: the database may be another one now, which never had all of it."""
        self._runs.clear()
        self._bytes = 0

    def take(self, position: int) -> Sequence[Recorded]:
        """All that is known to lie right behind a position; what lies before it is forgotten."""
        taken: list[Recorded] = []
        while self._runs and self._runs[0][0][0].position <= position + 1:
            run, size = self._runs.popleft()
            self._bytes -= size
            if run[0].position == position + 1:
                taken += run
                position = run[-1].position
        return taken

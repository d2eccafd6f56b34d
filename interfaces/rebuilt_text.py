"""A rebuild on the command line: how far it is, and what came out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from interfaces.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interfaces.bootstrap import Rebuilt


class Report:
    """Tells of a rebuild while it goes on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def resumed(self, position: int) -> None:
        """An interrupted rebuild is gone on with."""
        self._progress.begun(position)
        self._progress.note(f"going on with an interrupted rebuild, from event {position:,}")

    def begun_again(self) -> None:
        """Processes that shared the log have met what only one can judge."""
        self._progress.begun(0)
        self._progress.note("an event cannot be applied: one process folds the log, from its beginning")

    def folded(self, position: int, until: int) -> None:
        """The log is folded up to a position."""
        self._progress.reached(position, until)

    def indexing(self) -> None:
        """The log is read."""
        self._progress.doing("making indexes")

    def ended(self, names: Sequence[str], rebuilt: Rebuilt) -> str:
        """What came out."""
        self._progress.clear()
        parked = f"; {rebuilt.parked} events could not be applied and are parked" if rebuilt.parked else ""
        return f"rebuilt {', '.join(names)} up to event {rebuilt.position}{parked}"


def report() -> Report:
    """What the command tells with."""
    return Report(Progress(sys.stderr))

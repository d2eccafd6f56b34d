"""How far a command is, on stderr: on a terminal in one line, elsewhere in lines of their own."""

from __future__ import annotations

import contextlib
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TERMINAL_SECONDS, PLAIN_SECONDS = 0.1, 5.0
_CLEAR_LINE = "\r\033[K"


class Progress:
    """Says now and then how far something is."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._terminal = stream.isatty()
        self._interval = TERMINAL_SECONDS if self._terminal else PLAIN_SECONDS
        self._started = self._told = clock()
        self._stage, self._from = "", 0

    def begun(self, position: int) -> None:
        """What lies up to a position was done before: it does not count for the rate, which begins now."""
        self._from = position
        self._started = self._told = self._clock()

    def reached(self, position: int, until: int) -> None:
        """So much of the log is done: with the rate, and the time that is left at that rate."""
        if not self._due():
            return
        rate = (position - self._from) / (self._told - self._started)
        left = f", {timedelta(seconds=round((until - position) / rate))} left" if rate else ""
        stage = f"{self._stage}: " if self._stage else ""
        percent = 100 * position // max(until, 1)
        self._say(f"{stage}event {position:,} of {until:,} ({percent} %), {rate:,.0f}/s{left}")

    def at_stage(self, stage: str, position: int, until: int) -> None:
        """The same of one of several stages; the first word of a stage tells from where on it counts."""
        if stage != self._stage:
            self._stage, self._from, self._started = stage, position, self._clock()
            self._told = self._started
        self.reached(position, until)

    def doing(self, what: str) -> None:
        """Something that takes its time is being done now."""
        if self._due():
            self._say(what)

    def note(self, text: str) -> None:
        """Say something that is to stay."""
        self.clear()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def clear(self) -> None:
        """Make room for something else on a terminal."""
        if self._terminal:
            self._stream.write(_CLEAR_LINE)
            self._stream.flush()

    def _due(self) -> bool:
        """Whether there was nothing to be seen for long enough; it counts from now on then."""
        now = self._clock()
        due = now - self._told >= self._interval
        self._told = now if due else self._told
        return due

    def _say(self, text: str) -> None:
        self.clear()
        self._stream.write(text if self._terminal else f"{text}\n")
        self._stream.flush()


@contextlib.contextmanager
def shown() -> Iterator[Progress]:
    """Progress on stderr, of which nothing is left on a terminal at the end."""
    progress = Progress(sys.stderr)
    try:
        yield progress
    finally:
        progress.clear()

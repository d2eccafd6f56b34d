"""What is going on, on stderr."""

from __future__ import annotations

import sys
import time


class Progress:
    """Lines with the seconds since the start; counts overwrite themselves on a terminal."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._open = False

    def step(self, text: str) -> None:
        """Something begins."""
        self._close()
        print(f"[{time.monotonic() - self._started:6.1f} s] {text}", file=sys.stderr, flush=True)

    def count(self, done: int, of: int, what: str) -> None:
        """So much of it is done; said on a terminal only, where it takes one line."""
        if self._terminal:
            self._open = True
            print(f"\r           {done:,} of {of:,} {what}\033[K", end="", file=sys.stderr, flush=True)

    def _close(self) -> None:
        if self._open:
            print(file=sys.stderr)
        self._open = False

"""A clock for what asks `time.monotonic` otherwise."""

from __future__ import annotations


class Ticking:
    """A clock that is where it is put."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds

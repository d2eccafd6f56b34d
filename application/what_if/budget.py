"""What one answer is worth of a processor's time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from application.what_if.question import TooMuchToSimulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SECONDS = 60.0


class Budget:
    """Seconds of the processor, of the thread that spends them; they count from the first time it asks."""

    def __init__(self, seconds: float = SECONDS, spent: Callable[[], float] = time.thread_time) -> None:
        self._seconds = seconds
        self._spent = spent
        self._until: float | None = None
        self._given_up = False

    def give_up(self) -> None:
        """Nobody waits for the answer any more; from any thread."""
        self._given_up = True

    def check(self) -> None:
        """Raises `TooMuchToSimulate` when the time is spent, or nobody waits for what it is spent on."""
        spent = self._spent()
        if self._until is None:
            self._until = spent + self._seconds
        if self._given_up or spent > self._until:
            raise TooMuchToSimulate(f"It takes more than {self._seconds:g} seconds of a processor")

    def over[T](self, items: Iterable[T]) -> Iterator[T]:
        """The same, each checked for. Raises as `check` does."""
        for item in items:
            self.check()
            yield item

"""Giving way: long work lets calls go out whose instant has come."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Pressing:
    """Whether a call is to be sent now: who has much to do looks before each piece of it.

    If so, he takes a turn of the event loop (`asyncio.sleep(0)`); the call goes out within a few of them.
    """

    def __init__(self) -> None:
        self._asked: Callable[[], bool] | None = None

    def ask(self, asked: Callable[[], bool]) -> None:
        """This is who knows."""
        self._asked = asked

    def __call__(self) -> bool:
        """Whether to give way now."""
        return self._asked is not None and self._asked()

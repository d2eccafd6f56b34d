"""A slow host and a quick one, and when they are called."""

from __future__ import annotations

from datetime import timedelta

import pytest

from application.scheduler.timing import NEAR
from tests.support.given import after
from tests.support.scheduler import World

SLOW = "http://slow.test/report"
QUICK = "http://quick.test/ping"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four attempts are enough to wait for a host of which nothing is known yet; nothing is claimed early."""
    monkeypatch.setattr("application.scheduler.timing.LEAST", NEAR)
    monkeypatch.setattr("application.scheduler.dispatcher.MOST_WAITING", 4)


def a_world() -> World:
    """One in which the slow host takes half a minute."""
    world = World()
    world.caller.takes_at[SLOW] = timedelta(seconds=30)
    return world


def calls(world: World, url: str) -> list[float]:
    """When each call was made, in seconds after noon."""
    return [(call.at - after(0)).total_seconds() for call in world.calls if call.url == url]

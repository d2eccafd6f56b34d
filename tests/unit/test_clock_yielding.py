import os
from datetime import UTC, datetime, timedelta

import pytest

from infrastructure import clock as clock_module
from infrastructure.clock import SystemClock

NEVER = datetime(9999, 12, 31, tzinfo=UTC)
SOON = timedelta(milliseconds=100)


@pytest.fixture(autouse=True, params=["best alarm", "loop alarm"])
def alarm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this Python has, and what every Python has."""
    if request.param == "loop alarm":
        monkeypatch.setattr(clock_module, "_new_alarm", clock_module._LoopAlarm)


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    happened: list[str] = []
    monkeypatch.setattr(os, "sched_yield", lambda: happened.append("others run"))
    return happened


async def test_after_a_call_others_get_the_processor(happened: list[str]) -> None:
    clock = SystemClock()

    def called() -> None:
        happened.append("it is called")
        clock.call_at(NEVER, called)  # as many wait as before

    at = clock.now() + SOON
    clock.call_at(at, called)
    await clock.sleep_until(at)
    assert happened == ["it is called", "others run"]


async def test_who_has_yet_to_go_on_keeps_the_processor(happened: list[str]) -> None:
    clock = SystemClock()
    at = clock.now() + SOON
    clock.call_at(at, lambda: happened.append("it is called, though cancelled")).cancel()
    await clock.sleep_until(at)
    assert not happened

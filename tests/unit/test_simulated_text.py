"""Simulations on the command line."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from application.what_if.comparison import Accounts
from domain.definition import CatchUp, Cron
from interfaces.cli import render as simulated_text
from interfaces.http.simulation_request import Simulated
from tests.support.given import NOON, definition
from tests.support.simulating import changing, future, past, with_a_downtime


async def caught_up() -> Accounts:
    world, task_id = await with_a_downtime()
    return await past(world, task_id, changing(catch_up=CatchUp(mode="all")), NOON, world.clock.now())


async def test_the_past_is_told_with_counts_downtimes_and_some_differences() -> None:
    lines = simulated_text.simulation_text(Simulated(past=await caught_up(), future=None), 1).splitlines()
    assert lines[0].startswith("past: 2030-01-01 12:00:00 to ")
    assert "    skipped: catch up        17 → 0          *" in lines
    assert "  nobody claimed from 2030-01-01 12:01:10 to 12:04:00" in lines
    assert "  17 occurrences differ" in lines
    assert lines[-2].endswith("skipped by catch_up → succeeded at 12:04:00 (assumed)")
    assert lines[-1].startswith("    …")


async def test_the_future_is_told_with_what_the_clocks_do() -> None:
    world, _ = await with_a_downtime()
    nightly = definition(trigger=Cron(cron="30 2 * * *", timezone="Europe/Berlin"))
    start = NOON + timedelta(days=88)
    found = await future(world, None, lambda *_: nightly, start, start + timedelta(days=3))
    text = simulated_text.simulation_text(Simulated(past=None, future=found), 20)
    assert "clocks, after: 2030-03-31 02:30:00 does not exist: it is called right after the gap." in text
    assert "no occurrence → succeeded" in text
    assert "most calls in a minute: none → 1 at" in text
    assert "are assumed to succeed in 1000 ms: as given, or a guess" in text


async def test_as_data_it_is_what_the_api_answers() -> None:
    told = msgspec.json.decode(simulated_text.simulation_json(Simulated(past=await caught_up(), future=None)))
    assert told["future"] is None
    assert told["past"]["before"]["skipped"]["catch_up"] == 17

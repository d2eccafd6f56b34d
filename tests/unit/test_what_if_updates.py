"""A task that was updated within a window: each call counts where it went, each schedule while it held."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from application.what_if.question import Window
from domain.definition import Action, Cron, Interval
from interfaces.http.simulation import Simulated, SimulationAnswer
from tests.support.given import NOON
from tests.support.scheduler import World
from tests.support.simulating import SECOND, changing, past, same

if TYPE_CHECKING:
    from application.what_if.comparison import Accounts

OLD, NEW = "https://old.example/", "https://new.example/"


def calls(found: Accounts) -> dict[str, tuple[int, int]]:
    """How many calls each destination got, before and after."""
    crowds = found.loads.crowding
    return {crowd.destination: (crowd.before.calls, crowd.after.calls) for crowd in crowds}


async def moved() -> tuple[World, Accounts, Accounts]:
    """A task every ten seconds whose URL changes after half a minute; without a change, and with another."""
    world = World()
    every = Interval(every_seconds=10, anchor=NOON)
    task_id = await world.create(trigger=every, url=OLD)
    async with world.scheduler():
        await world.clock.pass_by(35)
        await world.update(task_id, trigger=every, url=NEW)
        await world.clock.pass_by(50)
    end = world.clock.now()
    other = changing(action=Action(method="GET", url="https://other.example/"))
    return world, await past(world, task_id, same, NOON, end), await past(world, task_id, other, NOON, end)


async def test_each_call_counts_where_it_went() -> None:
    _, unchanged, changed = await moved()
    assert unchanged.differences == ()
    assert calls(unchanged) == {"old.example:443": (3, 3), "new.example:443": (5, 5)}
    assert calls(changed) == {
        "old.example:443": (3, 0),
        "new.example:443": (5, 0),
        "other.example:443": (0, 8),
    }


async def test_what_was_claimed_ahead_goes_where_the_task_leads_when_it_is_sent() -> None:
    world = World()
    every = Interval(every_seconds=60, anchor=NOON, jitter_seconds=50)
    task_id = await world.create(trigger=every, url=OLD)
    async with world.scheduler():
        await world.clock.pass_by(0.5)
        await world.update(task_id, trigger=every, url=NEW)
        await world.clock.pass_by(170)
    found = await past(world, task_id, same, NOON, world.clock.now())
    assert found.differences == ()
    assert all(before == after for before, after in calls(found).values())


async def test_clock_changes_concern_the_schedule_that_is_in_force_by_then() -> None:
    spring = datetime(2030, 3, 31, 1, tzinfo=UTC)
    world = World()
    nightly = Cron(cron="30 2 * * *", timezone="Europe/Berlin")
    task_id = await world.create(trigger=nightly)
    await world.clock.pass_by((spring - NOON - timedelta(days=2)).total_seconds())
    start = world.clock.now()
    await world.update(task_id, trigger=Cron(cron="30 5 * * *", timezone="Europe/Berlin"))
    await world.clock.pass_by(timedelta(days=4).total_seconds())
    window = Window(start - SECOND, world.clock.now())
    found = await past(world, task_id, same, window.start, window.end)
    answer = SimulationAnswer.of(Simulated(past=found, future=None))
    assert answer.past is not None
    assert answer.past.clock_changes == []
    kept = await past(world, task_id, changing(trigger=nightly), window.start, window.end)
    told = SimulationAnswer.of(Simulated(past=kept, future=None))
    assert told.past is not None
    [changes] = told.past.clock_changes
    assert (changes.before, len(changes.after)) == ([], 1)

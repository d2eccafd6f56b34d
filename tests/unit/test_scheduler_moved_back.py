"""Triggers that were changed after the clocks were set back: the task comes again to what is behind it."""

from datetime import timedelta

from domain.definition import Overlap
from domain.facts import ExecutionSkipped, ExecutionStarted
from tests.support.books import check_books
from tests.support.given import after, every
from tests.support.mortal import MortalNode
from tests.support.scheduler import World

BOUNDED = every(10, max_runs=50)


async def schedule(world: World, until: float) -> None:
    """A scheduler's time, up to so many seconds after noon."""
    node = MortalNode(world, "node-1")
    await world.clock.reach(after(until))
    await node.stop()


async def test_what_was_skipped_before_runs_now_beside_others_that_keep_their_entries(world: World) -> None:
    task = await world.create(trigger=every(10))
    await world.clock.reach(after(35))
    await schedule(world, 36)
    assert world.skips("catch_up") == [10, 20]
    await world.clock.step(-30)
    await world.update(task, trigger=BOUNDED)
    await world.clock.reach(after(25))
    await schedule(world, 41)
    assert world.skips("catch_up") == [10, 20]
    assert [due for due, _ in world.runs()] == [30, 20, 40]
    await world.cancel(task)
    check_books(world)


async def test_what_is_due_before_what_has_run_already_is_recorded(world: World) -> None:
    task = await world.create(trigger=every(20))
    await schedule(world, 25)
    await world.clock.step(-20)
    await world.update(task, trigger=every(10))
    await world.clock.reach(after(22))
    await schedule(world, 31)
    assert world.skips("catch_up") == [10]
    assert world.runs() == [(20, 20), (30, 30)]
    await world.cancel(task)
    check_books(world)


async def test_what_is_queued_and_lies_ahead_again_waits_for_its_turn(world: World) -> None:
    queue = Overlap(mode="queue_all")
    world.caller.takes = timedelta(seconds=32)
    task = await world.create(trigger=every(10, max_runs=40), overlap=queue)
    node = MortalNode(world, "node-1")
    await world.clock.reach(after(41))
    assert [fact.occurrence.due_at for fact in world.facts(ExecutionStarted)] == [after(10)]
    await world.clock.step(-36)
    world.caller.takes = timedelta()
    await world.update(task, trigger=BOUNDED, overlap=queue)
    await world.clock.reach(after(61))
    await node.stop()
    assert [fact.by for fact in world.facts(ExecutionSkipped)] == ["change"] * 3
    assert [due for due, _ in world.runs()] == [10, 20, 30, 40, 50, 60]
    await world.cancel(task)
    check_books(world)

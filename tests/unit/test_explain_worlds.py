"""Explanations of what real schedulers have done, on one log."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from application.explanation.explainer import Explainer
from application.explanation.occurrences import Occurrences
from domain.identity import execution_id
from tests.support.given import NOON, after
from tests.support.scheduler import REQUEST, World
from tests.support.telling import codes, rule

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from application.explanation.account import Explanation
    from application.explanation.occurrences import Accounted


async def explained(world: World, task: UUID, at: datetime | None) -> Explanation:
    return await Explainer(world.log, world.clock).task("default", task, at)


async def test_ran() -> None:
    world = World()
    task = await world.create()
    async with world.scheduler():
        await world.clock.reach(after(61))
        told = await explained(world, task, after(60))
    assert (told.verdict, told.lateness_ms) == ("succeeded", 0)
    assert codes(told) == ["claimed", "succeeded"]


async def test_ran_late_and_skipped_by_catch_up() -> None:
    world = World()
    task = await world.create()
    await world.clock.reach(after(150))
    async with world.scheduler():
        await world.clock.reach(after(151))
        late, missed = await explained(world, task, after(120)), await explained(world, task, after(60))
    assert (late.verdict, late.lateness_ms) == ("succeeded", 30_000)
    assert rule(late, "claimed_late") == "catch_up"
    assert (missed.verdict, rule(missed, "skipped")) == ("skipped", "catch_up")


async def test_waited_for_a_worker() -> None:
    world = World()
    world.caller.takes = after(5) - NOON
    tasks = [await world.create(at=after(1)) for _ in range(2)]
    async with world.scheduler(concurrency=1):
        await world.clock.reach(after(30))
        told = [await explained(world, task, after(1)) for task in tasks]
    assert sorted(each.lateness_ms or 0 for each in told) == [0, 5_000]
    assert sum("sent_late" in codes(each) for each in told) == 1


async def test_retried() -> None:
    world = World()
    task = await world.create(at=after(1))
    world.caller.answers(503)
    async with world.scheduler():
        await world.clock.reach(after(1.5))
        waiting = await explained(world, task, after(1))
        await world.clock.reach(after(10))
        told = await explained(world, task, after(1))
    assert waiting.verdict == "waiting"
    assert codes(told) == ["claimed", "attempt_failed", "retried", "succeeded"]


async def test_node_died() -> None:
    world = World()
    task = await world.create(at=NOON)
    await world.claim(task, NOON, node="dead-1")
    async with world.scheduler():
        await world.clock.reach(after(20))
        told = await Explainer(world.log, world.clock).execution(
            "default", execution_id(task, NOON, "scheduled")
        )
    assert codes(told) == ["claimed", "taken_over", "succeeded"]


async def test_cancelled_before_due_and_never_will() -> None:
    world = World()
    task = await world.create()
    async with world.scheduler():
        await world.clock.reach(after(70))
        await world.cancel(task)
        await world.clock.reach(after(200))
        told = await explained(world, task, after(120))
    assert told.verdict == "withdrawn"
    assert (told.previous, told.next) == (after(60), None)


async def test_completed() -> None:
    world = World()
    task = await world.create(at=after(1))
    async with world.scheduler():
        await world.clock.reach(after(10))
        told, standing = await explained(world, task, after(5)), await explained(world, task, None)
    assert (told.verdict, told.previous) == ("no_occurrence", after(1))
    assert (standing.verdict, standing.previous) == ("over", after(1))


class NoLedger:
    """`Ledger` of a read model that is behind: everything is asked of the log."""

    async def accounted(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime
    ) -> Sequence[Accounted]:
        """See `Ledger`."""
        return ()


async def test_after_bad_days_no_instant_is_unaccounted() -> None:
    world = World()
    task = await world.create()
    world.caller.answers(503, 503, 503, 404)
    async with world.scheduler():
        await world.clock.reach(after(200))
    await world.clock.reach(after(640))
    async with world.scheduler("node-2"):
        with world.outage():
            await world.clock.reach(after(900))
        await world.clock.reach(after(1_000))
        await world.update(task, cron="*/2 * * * *")
        await world.clock.reach(after(1_300))
        listed = Occurrences(Explainer(world.log, world.clock), NoLedger(), world.clock)
        window = await listed.window("default", task, NOON, after(1_501), 200)
    past = [item.outcome for item in window.items if item.due_at <= after(1_300)]
    assert len(past) == 16 + 2
    assert set(past) == {"succeeded", "failed", "skipped"}
    assert [item.outcome for item in window.items[len(past) :]] == ["expected"] * 2


async def test_not_due_yet() -> None:
    world = World()
    task = await world.create()
    async with world.scheduler():
        await world.clock.reach(after(70))
        assert (await explained(world, task, after(120))).verdict == "expected"


async def test_paused() -> None:
    world = World()
    task = await world.create()
    async with world.scheduler():
        await world.clock.reach(after(70))
        await world.commands.pause(task, None, REQUEST, if_match=None)
        await world.clock.reach(after(200))
        during = await explained(world, task, after(120))
        await world.commands.resume(task, REQUEST, if_match=None)
        await world.clock.reach(after(210))
        skipped, late = await explained(world, task, after(120)), await explained(world, task, after(180))
    assert during.verdict == "paused"
    assert (skipped.verdict, rule(skipped, "skipped")) == ("skipped", "pause")
    assert (late.verdict, rule(late, "claimed_late")) == ("succeeded", "pause")

"""Explanations of what real schedulers have done, on one log."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from application.explanation.explainer import Explainer, Occurrences
from domain.definition import CatchUp, Overlap, RetryPolicy, SuccessPolicy
from domain.facts import Answered
from tests.support.given import NOON, after
from tests.support.scheduler import World
from tests.support.telling import codes, named, policy, rule, said

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from application.explanation.explainer import Accounted
    from application.explanation.wording import Explanation


async def explained(world: World, task: UUID, at: datetime | None) -> Explanation:
    return await Explainer(world.log, world.clock).task("default", task, at)


async def test_waited_for_a_worker() -> None:
    world = World()
    world.caller.takes = after(5) - NOON
    tasks = [await world.create(at=after(1)) for _ in range(2)]
    async with world.scheduler(concurrency=1):
        await world.clock.reach(after(30))
        told = [await explained(world, task, after(1)) for task in tasks]
    assert sorted(each.lateness_ms or 0 for each in told) == [0, 5_000]
    assert sum("sent_late" in codes(each) for each in told) == 1


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


@pytest.mark.parametrize(
    ("overlap", "catch_up"),
    [
        (Overlap(mode="skip", max_running=1), CatchUp()),
        (Overlap(mode="skip", max_running=2), CatchUp(mode="skip")),
        (Overlap(mode="queue_one", max_running=1), CatchUp()),
        (Overlap(mode="queue_all", max_running=1, max_queued=3), CatchUp(mode="all", max_runs=4)),
        (Overlap(mode="cancel_running", max_running=1), CatchUp(window_seconds=90)),
        (Overlap(mode="allow"), CatchUp(mode="all", window_seconds=200)),
    ],
)
async def test_under_no_policy_an_instant_is_unaccounted(overlap: Overlap, catch_up: CatchUp) -> None:
    world = World()
    world.caller.takes = after(100) - NOON
    task = await world.create(overlap=overlap, catch_up=catch_up)
    async with world.scheduler():
        await world.clock.reach(after(330))
    await world.clock.reach(after(700))
    async with world.scheduler("node-2"):
        await world.clock.reach(after(900))
        await world.pause(task)
        await world.clock.reach(after(1_100))
        await world.resume(task)
        await world.clock.reach(after(1_270))
        listed = Occurrences(Explainer(world.log, world.clock), NoLedger(), world.clock)
        window = await listed.window("default", task, NOON, after(1_271), 200)
    assert [item.due_at for item in window.items] == [after(60 * minute) for minute in range(1, 22)]
    told = {item.outcome for item in window.items}
    assert told <= {"succeeded", "skipped", "cancelled", "running", "pending"}
    assert "skipped" in told


async def test_the_newest_after_an_outage_is_late_and_the_older_ones_are_skipped() -> None:
    world = World()
    task = await world.create()
    await world.clock.reach(after(150))
    async with world.scheduler():
        await world.clock.reach(after(151))
        late, missed = await explained(world, task, after(120)), await explained(world, task, after(60))
    assert (late.verdict, late.lateness_ms, rule(late, "claimed_late")) == ("succeeded", 30_000, "catch_up")
    assert (missed.verdict, rule(missed, "skipped")) == ("skipped", "catch_up")


async def test_what_is_resumed_late_names_the_pause() -> None:
    world = World()
    task = await world.create()
    async with world.scheduler():
        await world.clock.reach(after(70))
        await world.pause(task)
        await world.clock.reach(after(200))
        await world.resume(task)
        await world.clock.reach(after(210))
        late = await explained(world, task, after(180))
    assert (late.verdict, rule(late, "claimed_late")) == ("succeeded", "pause")


async def test_every_one_that_was_missed_is_told_by_catch_up_of_all() -> None:
    world = World()
    task = await world.create(catch_up=CatchUp(mode="all", max_runs=2))
    await world.clock.reach(after(200))
    async with world.scheduler():
        await world.clock.reach(after(210))
        told = [await explained(world, task, after(60 * minute)) for minute in (1, 2, 3)]
    assert [each.verdict for each in told] == ["skipped", "succeeded", "succeeded"]
    decided = [rule(told[0], "skipped"), *(rule(each, "claimed_late") for each in told[1:])]
    assert decided == ["catch_up"] * 3
    assert policy(told[1], "claimed_late").startswith("catch_up is all with max_runs 2")


async def test_waited_in_the_queue_and_started_from_it() -> None:
    world = World()
    world.caller.takes = after(90) - NOON
    task = await world.create(overlap=Overlap(mode="queue_one", max_running=1))
    async with world.scheduler():
        await world.clock.reach(after(130))
        waits = await explained(world, task, after(120))
        await world.clock.reach(after(185))
        started, passed_over = (
            await explained(world, task, after(120)),
            await explained(world, task, after(180)),
        )
    assert (waits.verdict, codes(waits), rule(waits, "queued")) == ("pending", ["queued"], "overlap")
    assert (started.verdict, codes(started)) == ("running", ["queued", "started_from_queue"])
    assert [topic for topic, _ in named(started, "started_from_queue")] == [
        "execution.started.v1",
        "execution.queued.v1",
        "execution.succeeded.v1",
    ]
    assert (passed_over.verdict, codes(passed_over)) == ("pending", ["queued"])


async def test_cancelled_in_favour_of_the_next_one() -> None:
    world = World()
    world.caller.takes = after(90) - NOON
    task = await world.create(overlap=Overlap(mode="cancel_running", max_running=1))
    async with world.scheduler():
        await world.clock.reach(after(125))
        ended, began = await explained(world, task, after(60)), await explained(world, task, after(120))
    assert (ended.verdict, rule(ended, "cancelled")) == ("cancelled", "overlap")
    assert named(ended, "cancelled")[1] == named(began, "claimed")[0]
    assert (began.verdict, codes(began), rule(began, "replaced")) == (
        "running",
        ["claimed", "replaced"],
        "overlap",
    )


async def test_failures_in_a_row_paused_the_task() -> None:
    world = World()
    task = await world.create(retry=RetryPolicy(max_attempts=1, disable_after_failures=2))
    world.caller.answers(500, 500)
    async with world.scheduler():
        await world.clock.reach(after(190))
        first, second = await explained(world, task, after(60)), await explained(world, task, after(120))
        coming, standing = await explained(world, task, after(180)), await explained(world, task, None)
    assert codes(first) == ["claimed", "failed", "failures_counted"]
    assert codes(second) == ["claimed", "failed", "task_paused"]
    assert (coming.verdict, rule(coming, "task_paused")) == ("paused", "disable_after_failures")
    assert (standing.verdict, named(standing, "task_paused")) == ("paused", named(second, "task_paused"))
    assert [topic for topic, _ in named(second, "task_paused")] == [
        "task.failures_counted.v1",
        "task.failures_counted.v1",
        "task.paused.v1",
    ]


async def test_gone_for_good() -> None:
    world = World()
    task = await world.create(retry=RetryPolicy(on_gone="stop"))
    world.caller.answers(410)
    async with world.scheduler():
        await world.clock.reach(after(70))
        told, later = await explained(world, task, after(60)), await explained(world, task, after(120))
        standing = await explained(world, task, None)
    assert (told.verdict, codes(told)) == ("failed", ["claimed", "failed", "task_cancelled"])
    assert rule(told, "failed") == rule(told, "task_cancelled") == "on_gone"
    assert (later.verdict, codes(later)) == ("withdrawn", ["withdrawn", "task_cancelled"])
    assert (standing.verdict, codes(standing)) == ("over", ["over", "task_cancelled"])


async def test_a_wait_that_the_target_asked_for() -> None:
    world = World()
    task = await world.create(at=after(1), retry=RetryPolicy(max_retry_after_seconds=3600))
    world.caller.answers(Answered(status_code=429, headers={"retry-after": "30"}))
    async with world.scheduler():
        await world.clock.reach(after(35))
        told = await explained(world, task, after(1))
    assert codes(told) == ["claimed", "attempt_failed", "retry_after", "retried", "succeeded"]
    assert said(told, "retry_after").endswith("the next attempt was planned for 2030-01-01T12:00:31Z.")


async def test_an_answer_that_lacked_something_and_one_that_did_not() -> None:
    world = World()
    task = await world.create(at=after(1), success=SuccessPolicy(body_contains="done"))
    world.caller.answers(200, Answered(status_code=200, body="all done"))
    async with world.scheduler():
        await world.clock.reach(after(10))
        told = await explained(world, task, after(1))
    assert codes(told) == ["claimed", "unmet", "attempt_failed", "retried", "succeeded"]
    assert said(told, "unmet").endswith('the body does not contain "done".')

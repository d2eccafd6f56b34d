"""What becomes of an occurrence, each explained from what real schedulers have recorded on one log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from application.explanation.explainer import Explainer
from domain.definition import CatchUp, Overlap, RetryPolicy
from tests.support.given import MINUTE, NOON, after
from tests.support.scheduler import World
from tests.support.telling import codes, policy, rule

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from application.explanation.wording import Explanation

AT_MOST_ONE = Overlap(mode="skip", max_running=1)


async def explained(world: World, task: UUID, at: datetime | None) -> Explanation:
    """The explanation, all of whose events are those that the log has at the positions that it names."""
    told = await Explainer(world.log, world.clock).task("default", task, at)
    for event in (event for statement in told.statements for event in statement.events):
        held = world.log.recorded[event.position - 1]
        assert (held.position, held.stream, held.version) == (event.position, event.stream, event.version)
        assert (held.fact.topic, held.meta.actor) == (event.topic, event.actor)
    return told


def events(told: Explanation, code: str) -> list[tuple[str, UUID]]:
    """What the statement of a code rests on: the kinds of its events, and whose they are."""
    [found] = [statement for statement in told.statements if statement.code == code]
    assert found.events
    return [(event.topic.removesuffix(".v1"), event.stream) for event in found.events]


async def test_ran() -> None:
    world = World()
    task = await world.create()
    async with world.scheduler():
        await world.clock.reach(after(61))
        told = await explained(world, task, after(60))
    run = told.execution_id
    assert run is not None
    assert (told.verdict, told.lateness_ms, codes(told)) == ("succeeded", 0, ["claimed", "succeeded"])
    assert (rule(told, "claimed"), rule(told, "succeeded")) == ("claim", "success")
    assert events(told, "claimed") == [("execution.started", run)]
    assert events(told, "succeeded") == [("execution.succeeded", run)]


async def test_ran_late() -> None:
    world = World()
    task = await world.create()
    await world.clock.reach(after(90))
    async with world.scheduler():
        await world.clock.reach(after(91))
        told = await explained(world, task, after(60))
    run = told.execution_id
    assert run is not None
    assert (told.verdict, told.lateness_ms) == ("succeeded", 30_000)
    assert rule(told, "claimed_late") == "catch_up"
    assert policy(told, "claimed_late").startswith("catch_up is latest")
    assert events(told, "claimed_late") == [("execution.started", run)]


async def test_retried() -> None:
    world = World()
    task = await world.create(at=after(1), retry=RetryPolicy(jitter="none", initial_delay_seconds=5))
    world.caller.answers(503)
    async with world.scheduler():
        await world.clock.reach(after(3))
        waiting = await explained(world, task, after(1))
        await world.clock.reach(after(10))
        told = await explained(world, task, after(1))
    run = told.execution_id
    assert run is not None
    assert waiting.verdict == "waiting"
    assert (told.verdict, codes(told)) == (
        "succeeded",
        ["claimed", "attempt_failed", "retried", "succeeded"],
    )
    assert (rule(told, "attempt_failed"), rule(told, "retried")) == ("retry", "retry")
    assert "initial_delay_seconds 5" in policy(told, "retried")
    assert events(told, "attempt_failed") == [("execution.attempt_failed", run)]
    assert events(told, "retried") == [("execution.attempt_started", run)]


async def test_skipped_by_overlap() -> None:
    world = World()
    world.caller.takes = 2 * MINUTE
    task = await world.create(overlap=AT_MOST_ONE)
    async with world.scheduler():
        await world.clock.reach(after(125))
        told, running = await explained(world, task, after(120)), await explained(world, task, after(60))
    run, behind = told.execution_id, running.execution_id
    assert run is not None
    assert behind is not None
    assert (told.verdict, running.verdict) == ("skipped", "running")
    assert rule(told, "skipped") == "overlap"
    assert policy(told, "skipped").startswith("overlap is skip with max_running 1")
    assert events(told, "skipped") == [("execution.skipped", run), ("execution.started", behind)]


async def test_skipped_by_catch_up() -> None:
    world = World()
    latest = await world.create()
    never_late = await world.create(catch_up=CatchUp(mode="skip"))
    await world.clock.reach(after(185))
    async with world.scheduler():
        await world.clock.reach(after(186))
        older = await explained(world, latest, after(120))
        late = await explained(world, never_late, after(120))
    for told, mode in ((older, "latest"), (late, "skip")):
        assert told.execution_id is not None
        assert (told.verdict, rule(told, "skipped")) == ("skipped", "catch_up")
        assert policy(told, "skipped").startswith(f"catch_up is {mode}")
        assert events(told, "skipped") == [("execution.skipped", told.execution_id)]


async def test_paused() -> None:
    world = World()
    task = await world.create()
    async with world.scheduler():
        await world.clock.reach(after(70))
        await world.pause(task, "maintenance")
        await world.clock.reach(after(200))
        during, standing = await explained(world, task, after(120)), await explained(world, task, None)
        await world.resume(task)
        await world.clock.reach(after(210))
        afterwards = await explained(world, task, after(120))
    assert afterwards.execution_id is not None
    assert (during.verdict, rule(during, "paused")) == ("paused", "pause")
    assert events(during, "paused") == [("task.created", task), ("task.paused", task)]
    assert (standing.verdict, events(standing, "paused")) == ("paused", [("task.paused", task)])
    assert "by tester (maintenance)" in standing.summary
    assert (afterwards.verdict, rule(afterwards, "skipped")) == ("skipped", "pause")
    assert events(afterwards, "skipped") == [
        ("execution.skipped", afterwards.execution_id),
        ("task.paused", task),
        ("task.resumed", task),
    ]


async def test_cancelled_before_due() -> None:
    world = World()
    task = await world.create()
    async with world.scheduler():
        await world.clock.reach(after(70))
        await world.cancel(task)
        await world.clock.reach(after(200))
        told = await explained(world, task, after(120))
    assert (told.verdict, rule(told, "withdrawn")) == ("withdrawn", "lifecycle")
    assert told.summary.startswith(
        "It will not run: the task was cancelled at 2030-01-01T12:01:10Z by tester"
    )
    assert events(told, "withdrawn") == [("task.created", task), ("task.cancelled", task)]


async def test_node_died() -> None:
    world = World()
    task, once = await world.create(at=NOON), await world.create(at=NOON, delivery="at_most_once")
    for each in (task, once):
        await world.claim(each, NOON, node="dead-1")
    async with world.scheduler():
        await world.clock.reach(after(20))
        told, given_up = await explained(world, task, NOON), await explained(world, once, NOON)
    run, other = told.execution_id, given_up.execution_id
    assert run is not None
    assert other is not None
    assert (told.verdict, codes(told)) == ("succeeded", ["claimed", "taken_over", "succeeded"])
    assert rule(told, "taken_over") == "delivery"
    assert events(told, "taken_over") == [("execution.started", run), ("execution.taken_over", run)]
    assert (given_up.verdict, codes(given_up)) == ("failed", ["claimed", "failed"])
    assert policy(given_up, "failed").startswith("delivery is at_most_once")
    assert events(given_up, "failed") == [("execution.failed", other)]


async def test_not_due_yet() -> None:
    world = World()
    task = await world.create(overlap=AT_MOST_ONE)
    async with world.scheduler():
        await world.clock.reach(after(70))
        told = await explained(world, task, after(120))
    assert (told.verdict, rule(told, "expected")) == ("expected", "schedule")
    assert codes(told) == ["expected", "policy", "policy"]
    assert events(told, "expected") == [("task.created", task)]


async def test_never_will_be() -> None:
    world = World()
    task, once = await world.create(), await world.create(at=after(1))
    async with world.scheduler():
        await world.clock.reach(after(70))
        off, over = await explained(world, task, after(90)), await explained(world, once, after(30))
    for told in (off, over):
        assert (told.verdict, told.execution_id) == ("no_occurrence", None)
    assert (rule(off, "no_occurrence"), off.previous, off.next) == ("schedule", after(60), after(120))
    assert events(off, "no_occurrence") == [("task.created", task)]
    assert (rule(over, "no_occurrence"), over.previous, over.next) == ("lifecycle", after(1), None)
    assert events(over, "no_occurrence") == [("task.completed", once)]

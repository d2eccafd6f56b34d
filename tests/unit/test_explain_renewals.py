"""Why a claim was renewed before its call was sent, and how late that call was."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from application.explanation.explainer import Explainer
from domain.definition import RetryPolicy
from tests.support.given import after
from tests.support.scheduler import World

if TYPE_CHECKING:
    from application.explanation.wording import Explanation, Statement

SLOW = timedelta(seconds=100)


async def behind_another_run(**words: object) -> tuple[World, Explanation]:
    """A minute's occurrence whose call has to wait for the only worker, longer than its lease lasts."""
    world = World()
    task = await world.create(**words)
    world.caller.takes = SLOW
    world.caller.answers(404)
    async with world.scheduler(concurrency=1):
        await world.clock.reach(after(58))
        await world.trigger(task)
        await world.clock.reach(after(300))
    explainer = Explainer(world.log, world.clock)
    return world, await explainer.execution("default", world.calls[1].execution_id)


def only(told: Explanation, code: str) -> Statement:
    [statement] = [each for each in told.statements if each.code == code]
    return statement


async def test_a_claim_renewed_for_its_lease_names_no_change_and_its_call_is_late_from_the_first() -> None:
    _, told = await behind_another_run()
    renewal = only(told, "claim_renewed")
    assert renewal.text == "node-1 renewed its claim of attempt 1 before the call was sent."
    assert (renewal.rule.name, len(renewal.events)) == ("claim", 1)
    late = only(told, "sent_late").text
    assert late.startswith("Attempt 1 was sent 1 min 38 s after it was claimed and due: it waited for")
    assert told.summary == "It ran 1 min 38 s late: attempt 1 succeeded."


async def test_a_count_of_failures_meanwhile_is_no_change_that_renewed_a_claim() -> None:
    world, told = await behind_another_run(retry=RetryPolicy(disable_after_failures=9))
    assert "TaskFailuresCounted" in [type(fact).__name__ for fact in world.log.facts()]
    assert only(told, "claim_renewed").rule.name == "claim"


async def test_a_claim_that_an_update_renewed_names_that_update_and_not_what_came_after_it() -> None:
    world = World()
    task = await world.create(retry=RetryPolicy(disable_after_failures=9))
    world.caller.takes = SLOW
    world.caller.answers(404)
    async with world.scheduler(concurrency=1):
        await world.clock.reach(after(58))
        await world.trigger(task)
        await world.clock.reach(after(70))
        await world.update(task, name="other", retry=RetryPolicy(disable_after_failures=9))
        await world.clock.reach(after(300))
    told = await Explainer(world.log, world.clock).execution("default", world.calls[1].execution_id)
    renewal, for_its_lease = [each for each in told.statements if each.code == "claim_renewed"]
    assert for_its_lease.rule.name == "claim"
    assert renewal.rule.name == "change_before_send"
    assert [event.topic for event in renewal.events] == ["execution.attempt_started.v1", "task.updated.v1"]

"""Why nothing is recorded of an instant: not due yet, overdue, paused, withdrawn, never, or lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from application.explanation.history import Claims
from domain.definition import Cron, Definition, Overlap, RetryPolicy
from domain.errors import TaskNotFound
from domain.facts import (
    AnyFact,
    ExecutionRequested,
    TaskCompleted,
    TaskCreated,
    TaskPaused,
)
from domain.schedule import fires_at
from tests.support.given import MINUTE, NOON, TASK, after, cancelled, created, definition, updated
from tests.support.telling import (
    Telling,
    claimed,
    codes,
    named,
    occurrence,
    rule,
    run_of,
    skipped,
)


async def telling(*facts: AnyFact) -> Telling:
    """A task of every minute from noon on, unless its first fact says otherwise."""
    world = Telling()
    await world.happened(
        TASK, *(facts if facts and isinstance(facts[0], TaskCreated) else (created(), *facts))
    )
    return world


def with_trigger(**members: object) -> Definition:
    """A definition whose cron has bounds."""
    plain = definition()
    return Definition(
        name=plain.name,
        trigger=Cron(cron="* * * * *", **members),  # type: ignore[arg-type]
        action=plain.action,
    )


async def test_what_is_not_due_yet_is_expected_by_its_schedule() -> None:
    told = await (await telling()).at(after(120))
    assert told.verdict == "expected"
    assert told.summary == "It has not run yet: its call is due at 2030-01-01T12:02:00Z."
    assert (told.previous, told.next, told.execution_id) == (after(60), after(180), run_of(after(120)))
    assert named(told, "expected") == [("task.created.v1", 1)]
    assert told.statements[0].rule.name == "schedule"
    assert "* * * * *" in told.statements[0].rule.text


async def test_what_is_spread_by_jitter_is_expected_until_its_call_is_due() -> None:
    spread = TaskCreated(
        at=NOON, namespace="default", definition=with_trigger(jitter_seconds=50), next_run_at=after(60)
    )
    world = await telling(spread)
    fires = fires_at(spread.definition.trigger, TASK, after(60))
    assert fires > after(60.3)
    assert (await world.at(after(60), now=after(60.3))).verdict == "expected"
    assert (await world.at(after(60), now=fires + timedelta(seconds=2))).verdict == "overdue"


async def test_what_is_bounded_by_max_runs_says_so() -> None:
    bounded = TaskCreated(
        at=NOON, namespace="default", definition=with_trigger(max_runs=3), next_run_at=after(60)
    )
    told = await (await telling(bounded)).at(after(60))
    assert "unless it has started 3 times before (max_runs)" in told.summary


@pytest.mark.parametrize("runs", [1, 2, 3, 7])
async def test_nothing_is_due_after_the_last_run_that_max_runs_allows(runs: int) -> None:
    bounded = TaskCreated(
        at=NOON, namespace="default", definition=with_trigger(max_runs=runs), next_run_at=after(60)
    )
    world = await telling(bounded)
    for run in range(1, runs):
        await world.happened(run_of(after(60 * run)), claimed(after(60 * run)))
    last = after(60 * runs)
    await world.clock.reach(last)
    assert (await world.at(last + MINUTE)).verdict == "expected"
    await world.happened(run_of(last), replace(claimed(last), next_run_at=None))
    for later in (1, 2, 9, 99):
        told = await world.at(last + later * MINUTE, now=last + 9 * MINUTE)
        assert told.verdict == "no_occurrence"
        assert f"the schedule ends after {runs} runs" in told.summary
        assert (told.previous, told.next) == (last + (later - 1) * MINUTE, None)
        assert named(told, "no_occurrence")[1][0] == "execution.started.v1"
    end = TaskCompleted(at=last + 5 * MINUTE, outcome="succeeded", execution_id=run_of(last))
    await world.happened(TASK, end)
    told = await world.at(last + MINUTE)
    assert (told.verdict, told.previous, told.next) == ("no_occurrence", last, None)
    assert "the task was completed" in told.summary


async def test_a_run_that_was_asked_for_out_of_turn_passes_nothing_over() -> None:
    world = await telling()
    request = ExecutionRequested(at=after(150), occurrence=occurrence(after(120), kind="backfill"))
    await world.happened(run_of(after(120)), request)
    assert (await world.at(after(60), now=after(170))).verdict == "overdue"


async def test_what_is_due_and_unclaimed_is_overdue() -> None:
    told = await (await telling()).at(after(60), now=after(185))
    assert told.verdict == "overdue"
    assert "overdue by 2 min 5 s" in told.summary
    assert rule(told, "overdue") == "catch_up"


async def test_what_fell_due_this_very_second_is_not_called_late() -> None:
    told = await (await telling()).at(after(60), now=after(60.02))
    assert told.verdict == "overdue"
    assert told.summary == "It fell due 20 ms ago: that a scheduler has claimed it is not recorded yet."


async def test_what_is_expected_names_the_policies_by_which_it_may_not_run() -> None:
    world = await telling(
        created(overlap=Overlap(mode="skip", max_running=1), retry=RetryPolicy(disable_after_failures=5))
    )
    told = await world.at(after(60))
    assert codes(told) == ["expected", "policy", "policy"]
    assert [each.rule.name for each in told.statements[1:]] == ["overlap", "catch_up"]
    assert told.statements[1].text == "In force: overlap is skip with max_running 1."


async def test_the_last_of_a_schedule_that_nobody_claimed_is_overdue_too() -> None:
    last = TaskCreated(
        at=NOON, namespace="default", definition=with_trigger(end_at=after(60)), next_run_at=after(60)
    )
    told = await (await telling(last)).at(after(60), now=after(185))
    assert (told.verdict, told.next) == ("overdue", None)


@pytest.mark.parametrize("claim", [after(120), after(180)])
async def test_what_a_later_claim_passed_over_is_unaccounted_and_says_so(claim: object) -> None:
    world = await telling()
    later = after(120) if claim == after(120) else after(180)
    await world.happened(run_of(later), claimed(later))
    told = await world.at(after(60), now=after(185))
    assert told.verdict == "unaccounted"
    assert "must never happen" in told.summary
    assert named(told, "unaccounted") == [("task.created.v1", 1), ("execution.started.v1", 2)]


async def test_what_is_recorded_while_it_is_asked_for_is_not_unaccounted() -> None:
    world = await telling()
    history = await world.explainer.history("default", TASK)
    await world.happened(run_of(after(60)), skipped(after(60), "missed", at=after(125)))
    await world.happened(run_of(after(120)), claimed(after(120)))
    await world.clock.reach(after(125))
    claims = Claims(world.log, TASK, history.stints[0])
    assert await claims.after(after(60), after(125)) is None


async def test_what_a_cancel_came_before_will_not_run() -> None:
    told = await (await telling(cancelled(after(90)))).at(after(120), now=after(100))
    assert told.verdict == "withdrawn"
    assert told.summary == (
        "It will not run: the task was cancelled at 2030-01-01T12:01:30Z by api before it was due."
    )
    assert named(told, "withdrawn") == [("task.created.v1", 1), ("task.cancelled.v1", 2)]
    assert (told.previous, told.next) == (after(60), None)


async def test_what_nobody_had_claimed_when_the_task_was_cancelled_did_not_run() -> None:
    told = await (await telling(cancelled(after(90)))).at(after(60), now=after(100))
    assert told.verdict == "withdrawn"
    assert told.summary == (
        "It did not run: no scheduler had claimed it when the task was cancelled "
        "at 2030-01-01T12:01:30Z by api."
    )


async def test_what_an_update_took_off_the_schedule_will_not_run() -> None:
    change = updated(cron="0 0 * * *", now=after(90), next_run_at=NOON + timedelta(hours=12))
    told = await (await telling(change)).at(after(120))
    assert told.verdict == "withdrawn"
    assert "the schedule was replaced at 2030-01-01T12:01:30Z" in told.summary
    assert (told.previous, told.next) == (after(60), NOON + timedelta(hours=12))


async def test_an_update_that_keeps_the_trigger_keeps_what_is_expected() -> None:
    told = await (await telling(updated(url="http://target/new"))).at(after(60))
    assert named(told, "expected") == [("task.created.v1", 1)]


async def test_a_completed_task_runs_no_more() -> None:
    end = TaskCompleted(at=after(61), outcome="succeeded", execution_id=run_of(after(60)))
    world = await telling(created(at=after(60)), end)
    told = await world.at(after(90), now=after(100))
    assert told.verdict == "no_occurrence"
    assert "the task was completed" in told.summary
    assert named(told, "no_occurrence") == [("task.completed.v1", 2)]


async def test_an_instant_off_the_schedule_names_its_neighbours() -> None:
    told = await (await telling()).at(after(90))
    assert (told.verdict, told.execution_id) == ("no_occurrence", None)
    assert (told.previous, told.next) == (after(60), after(120))
    assert rule(told, "no_occurrence") == "schedule"


async def test_an_instant_before_the_task_says_when_it_was_created() -> None:
    told = await (await telling()).at(NOON - timedelta(hours=1))
    assert told.summary == (
        "Nothing is due at this instant: the task was created only at 2030-01-01T12:00:00Z by api."
    )
    assert (told.previous, told.next) == (None, after(60))


async def test_an_instant_off_all_schedules_names_the_one_in_force() -> None:
    change = updated(cron="0 0 * * *", now=after(90), next_run_at=NOON + timedelta(hours=12))
    told = await (await telling(change)).at(after(75))
    assert named(told, "no_occurrence") == [("task.created.v1", 1)]


async def test_what_falls_into_a_pause_does_not_run() -> None:
    world = await telling(TaskPaused(at=after(90), note="maintenance"))
    gone, coming = await world.at(after(120), now=after(150)), await world.at(after(180))
    assert (gone.verdict, coming.verdict) == ("paused", "paused")
    assert "It did not run: the task is paused since 2030-01-01T12:01:30Z by api" in gone.summary
    assert "unless the task is resumed before" in coming.summary
    assert named(gone, "paused") == [("task.created.v1", 1), ("task.paused.v1", 2)]


async def test_what_was_due_before_the_pause_is_overdue() -> None:
    world = await telling(TaskPaused(at=after(90)))
    assert (await world.at(after(60), now=after(100))).verdict == "overdue"


async def test_a_task_of_nowhere_or_of_another_namespace_is_not_found() -> None:
    world = await telling()
    with pytest.raises(TaskNotFound):
        await world.explainer.task("other", TASK, None)
    with pytest.raises(TaskNotFound):
        await world.explainer.task("default", run_of(), None)

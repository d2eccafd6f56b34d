"""Where a task stands, who or what put it there, and by which policies an occurrence may not run."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.definition import CatchUp, Overlap, RetryPolicy
from domain.facts import TaskFailuresCounted, TaskPaused, TaskResumed, TaskUpdated
from tests.support.given import TASK, after, cancelled, created, definition
from tests.support.telling import Telling, codes, named, run_of, said

EVERYTHING = CatchUp(mode="all")


async def test_where_a_task_stands_is_told_without_an_instant() -> None:
    world = Telling()
    await world.happened(TASK, created(catch_up=EVERYTHING))
    told = await world.at(None, now=after(90))
    assert told.verdict == "scheduled"
    assert told.summary == "The task is scheduled: it is due next at 2030-01-01T12:02:00Z."
    assert (told.at, told.previous, told.next) == (None, after(60), after(120))
    assert codes(told) == ["scheduled"]


async def test_a_paused_task_names_who_paused_it_and_why() -> None:
    world = Telling()
    await world.happened(TASK, created(catch_up=EVERYTHING))
    await world.happened(TASK, TaskPaused(at=after(90), note="maintenance"), actor="anna")
    told = await world.at(None, now=after(90))
    assert (told.verdict, codes(told)) == ("paused", ["paused"])
    assert told.summary == (
        "The task is paused since 2030-01-01T12:01:30Z by anna (maintenance): nothing starts until it is "
        "resumed."
    )
    assert named(told, "paused") == [("task.paused.v1", 2)]
    await world.happened(TASK, TaskResumed(at=after(90)), TaskPaused(at=after(90)))
    assert "12:01:30Z by api: nothing" in (await world.at(None)).summary


async def test_a_task_that_is_over_names_what_ended_it_though_more_was_recorded() -> None:
    world = Telling()
    await world.happened(TASK, created(), cancelled(after(91)))
    late = TaskFailuresCounted(at=after(95), failures=1, execution_id=run_of(after(60)))
    await world.happened(TASK, late)
    told = await world.at(None)
    assert told.summary == "The task is cancelled since 2030-01-01T12:01:31Z: nothing further is due."
    assert (told.verdict, codes(told)) == ("over", ["over"])
    assert named(told, "over") == [("task.created.v1", 1), ("task.cancelled.v1", 2)]


async def test_a_one_off_under_way_has_nothing_further() -> None:
    world = Telling()
    await world.happened(TASK, created(at=after(60)))
    told = await world.at(None, now=after(61))
    assert told.summary == "The task is scheduled: nothing further is due."
    assert codes(told) == ["scheduled"]


async def test_policies_by_which_an_occurrence_may_not_run_are_told_with_what_put_them_in_force() -> None:
    plain = created(overlap=Overlap(mode="queue_all", max_running=1, max_queued=10))
    retry = RetryPolicy(on_gone="stop", disable_after_failures=5)
    change = TaskUpdated(at=after(70), definition=replace(plain.definition, retry=retry), next_run_at=None)
    world = Telling()
    await world.happened(TASK, plain, change, TaskPaused(at=after(80)))
    told = await world.at(None, now=after(90))
    assert [(each.text, each.rule.name) for each in told.statements[1:]] == [
        ("In force: overlap is queue_all with max_running 1 and max_queued 10.", "overlap"),
        ("In force: catch_up is latest.", "catch_up"),
        ("In force: on_gone is stop.", "on_gone"),
        ("In force: disable_after_failures is 5.", "disable_after_failures"),
    ]
    assert {event.position for each in told.statements[1:] for event in each.events} == {2}


async def failing(failures: int, most: int) -> Telling:
    """So many executions have failed in a row, and with the last one the task was paused."""
    world = Telling()
    await world.happened(TASK, created(catch_up=EVERYTHING, retry=RetryPolicy(disable_after_failures=most)))
    for count in range(1, failures + 1):
        run = run_of(after(60 * count))
        counted = TaskFailuresCounted(at=after(60 * count), failures=count, execution_id=run)
        pause = TaskPaused(at=after(60 * count), note="too many failures")
        await world.together((TASK, counted), *([(TASK, pause)] if count == most else []))
    return world


async def test_a_task_that_failures_paused_names_the_count_the_last_run_and_the_events_that_counted() -> None:
    told = await (await failing(3, 3)).at(None, now=after(200))
    assert (told.verdict, codes(told)) == ("paused", ["paused", "task_paused", "policy"])
    assert told.summary == (
        "The task is paused since 2030-01-01T12:03:00Z by scheduler:node-1 (too many failures): nothing "
        "starts until it is resumed."
    )
    assert said(told, "task_paused") == (
        "The task was paused at 2030-01-01T12:03:00Z: 3 executions failed in a row, last the run of "
        f"2030-01-01T12:03:00Z (execution {run_of(after(180))})."
    )
    assert [position for _, position in named(told, "task_paused")] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("failures", "text"), [(1, "The last execution failed."), (2, "The last 2 executions failed.")]
)
async def test_failures_that_have_not_paused_a_task_yet_are_counted(failures: int, text: str) -> None:
    told = await (await failing(failures, 3)).at(None, now=after(200))
    assert codes(told) == ["scheduled", "failures_counted", "policy"]
    assert said(told, "failures_counted") == text
    assert len(named(told, "failures_counted")) == failures


async def test_of_very_many_failures_the_last_twenty_are_named() -> None:
    told = await (await failing(30, 30)).at(None, now=after(2_000))
    assert "30 executions failed in a row" in said(told, "task_paused")
    assert [position for _, position in named(told, "task_paused")] == [*range(12, 32), 32]


async def test_a_resume_or_an_update_begins_a_new_row() -> None:
    for change in (
        TaskResumed(at=after(100)),
        TaskUpdated(at=after(100), definition=definition(), next_run_at=None),
    ):
        world = await failing(2, 3)
        await world.happened(TASK, change)
        run = run_of(after(120))
        counted = TaskFailuresCounted(at=after(120), failures=1, execution_id=run)
        await world.together((TASK, counted), (TASK, TaskPaused(at=after(120))))
        told = await world.at(None, now=after(130))
        assert [position for _, position in named(told, "task_paused")] == [5, 6]

"""Simulated claims: what the log has already, what is missed, what was dropped."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from application.what_if.simulation import claimed
from application.what_if.state import Key, State
from domain import task as tasks
from domain.claiming import Due
from domain.definition import CatchUp, Interval, OneOff, Overlap
from domain.facts import ExecutionRequested, ExecutionSkipped, ExecutionStarted
from domain.identity import execution_id
from tests.support.given import NOON, definition
from tests.support.scheduler import World
from tests.support.what_if import SECOND, retold

TASK = UUID(int=1 << 100)
FIRST, SECOND_ONE, THIRD = (NOON + seconds * SECOND for seconds in (10, 20, 30))


def state(**words: Any) -> State:
    """A task every ten seconds, first due ten seconds after noon."""
    trigger = words.pop("trigger", Interval(every_seconds=10, anchor=NOON))
    task = tasks.begin(TASK, tasks.create("default", definition(trigger=trigger, **words), NOON))
    return State.of(task, Key(NOON, 1))


def run_of(due_at: datetime) -> UUID:
    return execution_id(TASK, due_at, "scheduled")


def ask_for(found: State, due_at: datetime) -> None:
    """A user has an occurrence run out of turn."""
    due = Due(
        task_id=TASK,
        version=found.task.version,
        namespace="default",
        definition=found.task.definition,
        due_at=due_at,
    )
    occurrence = replace(due.occurrence(due_at, 0), kind="backfill")
    found.tell(run_of(due_at), ExecutionRequested(at=due_at, occurrence=occurrence), Key(due_at))


def look(found: State, now: datetime) -> list[str]:
    """The facts of a claim, told to the state."""
    facts = claimed(found, found.open_runs, now, now)
    for stream, fact in facts:
        if stream == TASK:
            found.tell_task(fact, Key(now))  # type: ignore[arg-type]
        else:
            found.tell(stream, fact, Key(now))  # type: ignore[arg-type]
    return [type(fact).__name__ for _, fact in facts]


def test_what_a_user_has_had_run_is_passed_over() -> None:
    found = state()
    ask_for(found, FIRST)
    assert look(found, FIRST) == []
    assert found.place == SECOND_ONE
    ask_for(found, SECOND_ONE)
    assert look(found, THIRD) == ["ExecutionStarted"]
    assert found.place == THIRD + 10 * SECOND


def test_the_last_occurrence_that_a_user_has_had_run_ends_the_schedule() -> None:
    found = state(trigger=Interval(every_seconds=10, anchor=NOON, end_at=FIRST))
    ask_for(found, FIRST)
    assert look(found, FIRST) == ["TaskCompleted"]
    assert isinstance(found.task, tasks.FinishedTask)


def test_the_last_occurrence_that_is_missed_ends_the_schedule() -> None:
    found = state(
        trigger=Interval(every_seconds=10, anchor=NOON, end_at=FIRST), catch_up=CatchUp(mode="skip")
    )
    assert look(found, NOON + timedelta(hours=1)) == ["ExecutionSkipped", "TaskCompleted"]


def test_a_place_that_was_claimed_already_leads_to_the_next_one() -> None:
    found = state(overlap=Overlap(mode="allow"))
    assert look(found, FIRST) == ["ExecutionStarted"]
    found.place = FIRST
    assert look(found, FIRST) == []
    assert (found.place, found.runs) == (SECOND_ONE, 1)


def test_what_was_claimed_before_the_schedule_came_back_to_it_takes_a_fact_to_leave() -> None:
    found = state(overlap=Overlap(mode="allow"))
    look(found, FIRST)
    other = replace(found.task.definition, trigger=Interval(every_seconds=5, anchor=NOON))
    found.tell_task(_updated(found, other, FIRST - SECOND), Key(FIRST))
    assert found.place == FIRST
    assert look(found, FIRST) == ["TaskUpdated"]
    assert found.place == FIRST + 5 * SECOND


def test_the_last_occurrence_that_goes_on_from_before_a_change_ends_its_task_by_itself() -> None:
    found = state(overlap=Overlap(mode="allow"))
    look(found, FIRST)
    last = replace(found.task.definition, trigger=OneOff(datetime=FIRST))
    found.tell_task(_updated(found, last, FIRST), Key(FIRST))
    assert look(found, FIRST) == []
    assert found.place is None


def test_what_was_dropped_is_claimed_anew() -> None:
    found = state()
    dropped = ExecutionSkipped(
        at=NOON,
        occurrence=Due(
            task_id=TASK, version=0, namespace="default", definition=found.task.definition, due_at=FIRST
        ).occurrence(FIRST, 1),
        reason="the task was rescheduled before the call was sent",
        next_run_at=FIRST,
        by="change",
    )
    found.tell(run_of(FIRST), dropped, Key(NOON))
    assert look(found, FIRST) == ["ExecutionStarted"]


def _updated(found: State, new: Any, now: datetime) -> Any:
    return tasks.update(found.task, new, now, None)


async def test_a_schedule_whose_last_occurrence_is_missed_ends_when_somebody_looks() -> None:
    world = World()
    trigger = Interval(every_seconds=10, anchor=NOON, end_at=SECOND_ONE)
    task_id = await world.create(trigger=trigger, catch_up=CatchUp(mode="skip"))
    await world.clock.pass_by(200)
    async with world.scheduler():
        await world.clock.pass_by(2)
    again = retold(world, task_id)
    assert isinstance(again.state.task, tasks.FinishedTask)


async def test_what_was_backfilled_is_passed_over_by_the_claim_of_what_comes_after_it() -> None:
    world = World()
    every = Interval(every_seconds=10, anchor=NOON)
    task_id = await world.create(trigger=every, overlap=Overlap(mode="allow"))
    await world.clock.pass_by(35)
    await world.backfill(task_id, NOON, THIRD + SECOND)
    await world.clock.pass_by(4.993)
    async with world.scheduler():
        await world.clock.pass_by(3)
    again = retold(world, task_id)
    started = [
        (key.at, fact.occurrence.due_at) for key, _, fact in again.facts if isinstance(fact, ExecutionStarted)
    ]
    assert (NOON + 39.993 * SECOND, NOON + 40 * SECOND) in started

"""Rare turns of a simulation: what the log refuses, what is in the way, what comes too late."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec.structs import replace

from application.what_if.attempts import Attempts
from application.what_if.books import Books
from application.what_if.claims import claimed
from application.what_if.downtimes import Downtimes
from application.what_if.record import Record, Step, Told
from application.what_if.recording import recorded
from application.what_if.simulation import Simulation
from application.what_if.state import Key, State
from domain import task as tasks
from domain.attempt import Attempt
from domain.definition import CatchUp, Interval, OneOff, Overlap, RetryPolicy
from domain.due import Due
from domain.facts import (
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    TaskCancelled,
)
from domain.identity import execution_id
from tests.support.given import NOON, answered, definition
from tests.support.scheduler import World
from tests.support.what_if import USUAL, events_of, simulated, told

if TYPE_CHECKING:
    from domain.definition import Definition

TASK = UUID(int=1 << 100)
SECOND = timedelta(seconds=1)
TEN = 10 * SECOND
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
    facts = claimed(found, found.going, now, now)
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
    assert isinstance(found.task, tasks.Over)


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


def retold(world: World, task_id: UUID, until: datetime | None = None) -> Simulation:
    """A simulation without a change, which comes to what happened."""
    events, until = events_of(world.log, task_id), until or world.clock.now()
    record = recorded(events, NOON, until)
    again = simulated(events, NOON, until)
    assert told(again.facts, record.start) == told(record.facts, record.start)
    assert (
        Books(record.start, (), again.facts).entries.keys()
        == Books(record.start, (), record.facts).entries.keys()
    )
    return again


def failing(**policy: Any) -> dict[str, Any]:
    """Every two seconds, calls beside each other, a minute between attempts."""
    retry = RetryPolicy(initial_delay_seconds=60, jitter="none", on_gone="fail", **policy)
    return {
        "trigger": Interval(every_seconds=2, anchor=NOON),
        "overlap": Overlap(mode="allow"),
        "retry": retry,
    }


async def test_a_410_that_would_have_ended_the_task_ends_what_waits_and_what_fails_then() -> None:
    world = World()
    world.caller.takes = 4 * SECOND
    world.caller.answers(503, 410, 503, 503)
    task_id = await world.create(**failing())
    async with world.scheduler():
        await world.clock.pass_by(13)
        again = simulated(
            events_of(world.log, task_id),
            NOON,
            world.clock.now(),
            lambda old: replace(old, retry=replace(old.retry, on_gone="stop")),
        )
    [end] = [(key.at, fact) for key, _, fact in again.facts if isinstance(fact, TaskCancelled)]
    cancelled = [fact for _, _, fact in again.facts if isinstance(fact, ExecutionCancelled)]
    assert [fact.at >= end[0] for fact in cancelled] == [True] * 3
    assert not again.state.open


async def test_a_retry_that_nobody_claims_is_not_made() -> None:
    world = World()
    world.caller.answers(*[503] * 9)
    task_id = await world.create(**failing())
    async with world.scheduler():
        await world.clock.pass_by(3)
    retold(world, task_id)
    await world.clock.pass_by(100)
    retold(world, task_id)


async def test_what_is_cancelled_while_it_waits_is_cancelled_again() -> None:
    world = World()
    world.caller.answers(*[503] * 9)
    task_id = await world.create(**failing())
    async with world.scheduler():
        await world.clock.pass_by(7)
        [first, *_] = [
            stream
            for event in world.log.recorded
            if isinstance(event.fact, ExecutionStarted)
            for stream in [event.stream]
        ]
        await world.cancel_execution(first)
        await world.clock.pass_by(3)
        await world.cancel(task_id)
        await world.clock.pass_by(3)
    again = retold(world, task_id)
    assert len([fact for _, _, fact in again.facts if isinstance(fact, ExecutionCancelled)]) > 1


async def test_a_cancelled_execution_that_never_began_is_none() -> None:
    world = World()
    world.caller.takes = 30 * SECOND
    task_id = await world.create(trigger=Interval(every_seconds=10, anchor=NOON))
    async with world.scheduler():
        await world.clock.pass_by(12)
        await world.cancel_execution(run_in(world, FIRST, task_id))
        await world.clock.pass_by(1)
        events = events_of(world.log, task_id)
        again = simulated(
            events,
            NOON,
            world.clock.now(),
            lambda old: replace(old, trigger=Interval(every_seconds=7, anchor=NOON)),
        )
    assert not [fact for _, _, fact in again.facts if isinstance(fact, ExecutionCancelled)]


async def test_a_backfill_of_what_would_have_run_or_not_been_due_is_left_out() -> None:
    world = World()
    world.caller.takes = SECOND
    task_id = await world.create(
        trigger=Interval(every_seconds=3, anchor=NOON),
        overlap=Overlap(mode="skip", max_running=1),
        catch_up=CatchUp(mode="skip"),
    )
    world.caller.takes = 5 * SECOND
    async with world.scheduler():
        await world.clock.pass_by(20)
        await world.backfill(task_id, NOON, world.clock.now())
        await world.clock.pass_by(10)
    events = events_of(world.log, task_id)
    changes: list[dict[str, Any]] = [
        {"overlap": Overlap(mode="allow")},
        {"trigger": Interval(every_seconds=7, anchor=NOON)},
    ]
    for change in changes:
        again = simulated(events, NOON, world.clock.now(), partial(_changed, change))
        asked = [fact for _, _, fact in again.facts if isinstance(fact, ExecutionRequested)]
        assert [fact.occurrence.due_at for fact in asked] == [NOON]


async def test_a_one_off_that_is_cancelled_takes_its_task_along() -> None:
    world = World()
    world.caller.takes = 30 * SECOND
    task_id = await world.create(trigger=OneOff(datetime=FIRST))
    async with world.scheduler():
        await world.clock.pass_by(12)
        await world.cancel_execution(run_in(world, FIRST, task_id))
        await world.clock.pass_by(2)
    again = retold(world, task_id)
    assert isinstance(again.state.task, tasks.Over)


async def test_what_has_room_and_is_not_taken_before_a_pause_stays_queued() -> None:
    world = World()
    world.caller.takes = 60 * SECOND
    queue = Overlap(mode="queue_all", max_running=1, max_queued=3)
    task_id = await world.create(trigger=Interval(every_seconds=10, anchor=NOON), overlap=queue)
    async with world.scheduler():
        await world.clock.pass_by(25)
    await world.cancel_execution(run_in(world, FIRST, task_id))
    await world.clock.pass_by(2)
    await world.pause(task_id)
    await world.clock.pass_by(20)
    again = retold(world, task_id)
    assert list(again.state.queued) == [run_in(world, SECOND_ONE, task_id)]


async def test_a_claim_that_is_overtaken_twice_is_dropped_once() -> None:
    world = World()
    task_id = await world.create(trigger=Interval(every_seconds=10, anchor=NOON))
    async with world.scheduler():
        await world.clock.pass_by(9.995)
        await world.update(task_id, trigger=Interval(every_seconds=7, anchor=NOON))
        await world.update(task_id, trigger=Interval(every_seconds=3, anchor=NOON))
        await world.clock.pass_by(20)
    again = retold(world, task_id)
    skipped = [fact for _, _, fact in again.facts if isinstance(fact, ExecutionSkipped)]
    assert [fact.by for fact in skipped] == ["change"]


async def test_a_claim_that_is_overtaken_and_still_due_is_judged_by_what_is_defined_then() -> None:
    world = World()
    world.caller.takes = SECOND
    world.caller.answers(503)
    task_id = await world.create(trigger=Interval(every_seconds=10, anchor=NOON))
    async with world.scheduler():
        await world.clock.pass_by(9.995)
        once = RetryPolicy(max_attempts=1)
        await world.update(task_id, trigger=Interval(every_seconds=5, anchor=NOON), retry=once)
        await world.clock.pass_by(4)
    again = retold(world, task_id)
    assert again.state.called[run_in(world, FIRST, task_id)].retry == once


async def test_what_waits_goes_on_when_its_task_is_redefined() -> None:
    world = World()
    world.caller.answers(*[503] * 9)
    task_id = await world.create(**failing())
    async with world.scheduler():
        await world.clock.pass_by(3)
        await world.update(task_id, **failing(max_attempts=2))
        await world.clock.pass_by(70)
    retold(world, task_id)


async def test_a_run_that_is_cancelled_before_anybody_takes_it_is_not_taken() -> None:
    world = World()
    task_id = await world.create(trigger=Interval(every_seconds=600, anchor=NOON))
    await world.clock.pass_by(1)
    await world.cancel_execution(await world.trigger(task_id))
    await world.clock.pass_by(5)
    retold(world, task_id)


async def test_a_schedule_whose_last_occurrence_is_missed_ends_when_somebody_looks() -> None:
    world = World()
    trigger = Interval(every_seconds=10, anchor=NOON, end_at=SECOND_ONE)
    task_id = await world.create(trigger=trigger, catch_up=CatchUp(mode="skip"))
    await world.clock.pass_by(200)
    async with world.scheduler():
        await world.clock.pass_by(2)
    again = retold(world, task_id)
    assert isinstance(again.state.task, tasks.Over)


async def test_what_would_have_been_queued_moves_up_as_soon_as_there_is_room() -> None:
    world = World()
    world.caller.takes = 15 * SECOND
    task_id = await world.create(
        trigger=Interval(every_seconds=10, anchor=NOON), overlap=Overlap(mode="allow")
    )
    async with world.scheduler():
        await world.clock.pass_by(61)
    queue = Overlap(mode="queue_all", max_running=1, max_queued=9)
    again = simulated(
        events_of(world.log, task_id), NOON, world.clock.now(), lambda old: replace(old, overlap=queue)
    )
    queued = [fact for _, _, fact in again.facts if isinstance(fact, ExecutionQueued)]
    started = [fact for _, _, fact in again.facts if isinstance(fact, ExecutionStarted)]
    assert len(queued) == 5
    assert [(fact.at - NOON) // SECOND for fact in started] == [9, 25, 40, 55]


async def test_a_run_that_was_asked_for_before_the_window_waits_until_somebody_claims() -> None:
    world = World()
    task_id = await world.create(trigger=Interval(every_seconds=600, anchor=NOON))
    await world.trigger(task_id)
    await world.clock.pass_by(30)
    again = simulated(events_of(world.log, task_id), NOON + TEN, world.clock.now())
    assert again.facts == []
    assert len(again.state.open) == 1


def test_what_was_in_the_way_when_that_was_decided_is_so_though_it_has_ended_since() -> None:
    found, run = state(overlap=Overlap(mode="skip", max_running=1)), run_of(FIRST)
    record = Record(start=found, until=SECOND_ONE + SECOND)
    attempt = Attempt(number=1, started_at=FIRST, duration_ms=10_000, answer=answered())
    end = Step(Key(SECOND_ONE, 4), SECOND_ONE)
    record.attempts[run, 1] = [Told(begun=FIRST, end=end, attempt=attempt)]
    record.steps["look", SECOND_ONE, SECOND_ONE] = [Step(Key(SECOND_ONE, 5), SECOND_ONE, run)]
    again = Simulation(record, lambda same: same, USUAL, Downtimes())
    for _ in again.steps(NOON):
        pass
    assert [type(fact).__name__ for _, _, fact in again.facts] == [
        "ExecutionStarted",
        "ExecutionSucceeded",
        "ExecutionSkipped",
    ]


async def test_a_retry_whose_time_has_passed_before_anybody_claims_it_fails_again() -> None:
    world = World()
    world.caller.answers(*[503] * 9)
    task_id = await world.create(**failing(max_elapsed_seconds=90))
    async with world.scheduler():
        await world.clock.pass_by(3)
    await world.clock.pass_by(200)
    async with world.scheduler("node-2"):
        await world.clock.pass_by(10)
    again = retold(world, task_id)
    assert [fact for _, _, fact in again.facts if isinstance(fact, ExecutionFailed) and fact.lapsed]


async def test_an_attempt_whose_turn_came_too_late_is_sent_by_a_policy_that_lets_it() -> None:
    world = World()
    task_id = await world.create(trigger=Interval(every_seconds=10, anchor=NOON))
    running = await world.claim(task_id, FIRST)
    lapsed = ExecutionFailed(at=SECOND_ONE, task_id=task_id, attempt=None, reason="late", lapsed=True)
    await world.append(running.id, lapsed)
    record = recorded(events_of(world.log, task_id), NOON, THIRD)
    found = record.told(running.id, 1, NOON)
    assert found is not None
    assert found.unsent
    _, brought = Attempts(record, SECOND).of(running, NOON, FIRST)
    sent = brought(running, definition(), record.start.task, SECOND_ONE)
    assert isinstance(sent, ExecutionSucceeded)


def _changed(change: dict[str, Any], old: Definition) -> Definition:
    return replace(old, **change)


def run_in(world: World, due_at: datetime, task_id: UUID) -> UUID:
    return execution_id(task_id, due_at, "scheduled")

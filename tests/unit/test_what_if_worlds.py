"""Simulating a window of the past with what was defined then gives exactly what happened.

Random minutes of users and schedulers leave the histories: crons and intervals, every overlap policy, queues,
retries, catching up after outages and deaths of nodes, pauses, updates, manual runs, backfills, cancels. In
half of them, things happen while others are on their way to the log, or before they are heard of.

CHRONOLEDGER_ORACLE=full takes half an hour: 300 worlds of each kind instead of 5.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from datetime import timedelta
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from application.what_if.comparison import Books, Entry, differences
from application.what_if.record import recorded
from domain.definition import CatchUp, Cron, OneOff, Overlap, RetryPolicy
from domain.facts import (
    AttemptFailed,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    TaskCreated,
)
from domain.retry import may_have_been_sent
from tests.support.what_if import (
    HastyBusyMinutes,
    HastyMinutes,
    SteadyBusyMinutes,
    SteadyMinutes,
    events_of,
    simulated,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from application.ports import Recorded
    from application.what_if.record import Record
    from application.what_if.simulation import Simulation
    from domain.definition import OverlapMode
    from domain.facts import ExecutionFact
    from tests.support.minutes import Minutes
    from tests.support.scheduler import World

type Living = Callable[[Random], Minutes]

FULL = os.environ.get("CHRONOLEDGER_ORACLE") == "full"
SEEDS = range(300 if FULL else 5)
KINDS: list[Living] = [SteadyMinutes, SteadyBusyMinutes, HastyMinutes, HastyBusyMinutes]
ENDS = (ExecutionSucceeded, ExecutionFailed, ExecutionCancelled, ExecutionSkipped)


@lru_cache(maxsize=32)
def world(minutes: Living, seed: int) -> World:
    async def live() -> World:
        lived = minutes(Random(seed))
        await lived.pass_by()
        return lived.world

    return asyncio.run(live())


def histories(lived: World, seed: int) -> Iterator[tuple[list[Recorded], datetime, datetime]]:
    """The events of each task, and some window of them."""
    random = Random(seed)
    created = [event for event in lived.log.recorded if isinstance(event.fact, TaskCreated)]
    for event in created:
        events = events_of(lived.log, event.stream)
        first, last = events[0].recorded_at, events[-1].recorded_at + timedelta(seconds=1)
        start = first + (last - first) * random.choice([0, 0.2, 0.5])
        yield events, start, start + (last - start) * random.choice([0.5, 0.8, 1])


def entries(books: Books) -> list[Entry]:
    """Without the reasons, which are compared among the facts."""
    return [replace(entry, reason=None) for entry in books.entries.values()]


@pytest.mark.parametrize("minutes", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_what_nobody_changes_happens_exactly_as_it_did(minutes: Living, seed: int) -> None:
    for events, start, until in histories(world(minutes, seed), seed):
        record = recorded(events, start, until)
        again = simulated(events, start, until)
        assert told(again.facts, record.start) == told(record.facts, record.start)
        before, after = (Books(record.start, record.before, facts) for facts in (record.facts, again.facts))
        assert entries(after) == entries(before)
        assert not differences(before.entries, after.entries)
        assert list(after.calls) == list(before.calls)
        assert after.triggers == before.triggers
        assert not again.assumed & {run for _, run, _ in record.facts} & set(after.entries)


def test_these_histories_are_rich() -> None:
    kinds: Counter[str] = Counter()
    for minutes in KINDS:
        for seed in SEEDS[:5]:
            kinds.update(type(event.fact).__name__ for event in world(minutes, seed).log.recorded)
    rich = {"ExecutionSkipped", "ExecutionQueued", "AttemptFailed", "TaskUpdated"}
    rich |= {"TaskPaused", "TaskResumed", "ExecutionRequested", "ExecutionCancelled", "TaskCompleted"}
    assert {kind for kind, count in kinds.items() if count >= 3} >= rich


def changed_worlds(minutes: Living, **change: Any) -> Iterator[tuple[Record, Simulation]]:
    for seed in SEEDS[:3]:
        for events, start, until in histories(world(minutes, seed), seed):
            record = recorded(events, start, until)
            yield record, simulated(events, start, until, lambda old: replace(old, **change))


def told_of[F: ExecutionFact](record: Record, again: Simulation, kind: type[F]) -> list[F]:
    """Facts of one kind about what did not go on already when the window began."""
    earlier = record.start.executions
    return [fact for _, run, fact in again.facts if isinstance(fact, kind) and run not in earlier]


def test_a_policy_that_allows_overlap_would_have_let_all_run_at_once() -> None:
    allow, catch_up = Overlap(mode="allow"), CatchUp(mode="all")
    for record, again in changed_worlds(SteadyBusyMinutes, overlap=allow, catch_up=catch_up):
        assert not told_of(record, again, ExecutionQueued)
        assert {fact.by for fact in told_of(record, again, ExecutionSkipped)} <= {"change"}


@pytest.mark.parametrize("mode", ["skip", "queue_all", "cancel_running"])
def test_a_policy_that_bounds_overlap_would_have_been_kept_to_at_any_time(mode: OverlapMode) -> None:
    for record, again in changed_worlds(SteadyBusyMinutes, overlap=Overlap(mode=mode, max_running=1)):
        running = set(record.start.running)
        most = max(len(running), 1)
        for _, run, fact in again.facts:
            if isinstance(fact, ExecutionStarted) and fact.occurrence.kind == "scheduled":
                running.add(run)
            elif isinstance(
                fact, ExecutionSucceeded | ExecutionFailed | ExecutionCancelled | ExecutionSkipped
            ):
                running.discard(run)
            if not isinstance(again.state.task.definition.trigger, OneOff):
                assert len(running) <= most


def test_without_retries_every_failure_would_have_been_the_last() -> None:
    for record, again in changed_worlds(SteadyMinutes, retry=RetryPolicy(max_attempts=1)):
        assert not told_of(record, again, AttemptFailed)


def test_with_more_retries_nothing_would_have_failed_for_want_of_them() -> None:
    stubborn = RetryPolicy(max_attempts=50, initial_delay_seconds=0, jitter="none")
    for record, again in changed_worlds(SteadyMinutes, retry=stubborn):
        reasons = [fact.reason for fact in told_of(record, again, ExecutionFailed)]
        assert not [reason for reason in reasons if reason.startswith("attempt 2 of")]


def test_at_most_once_would_have_sent_nothing_twice() -> None:
    for record, again in changed_worlds(SteadyMinutes, delivery="at_most_once"):
        sent = [fact.attempt.answer for fact in told_of(record, again, AttemptFailed)]
        assert not any(may_have_been_sent(answer) for answer in sent)
        assert not told_of(record, again, ExecutionTakenOver)


def test_another_schedule_is_followed_from_where_the_window_begins() -> None:
    hourly = Cron(cron="17 * * * * *")
    for _, again in changed_worlds(SteadyMinutes, trigger=hourly):
        due = [fact.occurrence for _, _, fact in again.facts if isinstance(fact, ExecutionStarted)]
        own = [each for each in due if each.kind == "scheduled" and each.task_version > 1]
        assert {each.due_at.second for each in own} <= {17}

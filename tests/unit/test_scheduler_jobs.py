"""What a node has in hand, and what overtakes it."""

from __future__ import annotations

import pytest

from application.ports import Meta, Recorded
from application.scheduler.jobs import Job, Jobs
from domain import execution as executions
from domain.facts import AnyFact
from tests.support.given import (
    NOON,
    RUN,
    TASK,
    cancelled,
    completed,
    definition,
    started,
    updated,
)


def job(task_version: int = 1) -> Job:
    return Job(executions.start(RUN, started()), definition(), task_version, NOON)


def told(fact: AnyFact, version: int = 2) -> Recorded:
    meta = Meta(actor="", correlation_id="", command_id=RUN)
    return Recorded(position=1, stream=TASK, version=version, fact=fact, meta=meta, recorded_at=NOON)


def test_a_job_in_hand_is_known_by_its_execution() -> None:
    work, mine = Jobs(), job()
    work.add(mine)
    assert RUN in work
    assert work.holds(mine)
    assert not work.holds(job())


def test_a_job_that_is_done_is_known_no_longer_and_may_be_done_twice() -> None:
    work, mine = Jobs(), job()
    work.add(mine)
    for _ in range(2):
        work.done(mine)
    assert RUN not in work
    assert work.supersede(told(cancelled())) == []


def test_a_second_job_for_an_execution_does_not_replace_the_first() -> None:
    work, first, second = Jobs(), job(), job()
    work.add(first)
    work.add(second)
    work.done(second)
    assert work.holds(first)


@pytest.mark.parametrize(("fact", "for_good"), [(updated(name="other"), False), (cancelled(), True)])
def test_a_change_of_its_task_overtakes_a_job(fact: AnyFact, for_good: bool) -> None:
    work, mine = Jobs(), job()
    work.add(mine)
    assert work.supersede(told(fact)) == [mine]
    assert (mine.superseded, mine.cancelled) == (True, for_good)


def test_the_change_that_a_job_was_claimed_from_does_not_overtake_it() -> None:
    work, mine = Jobs(), job(task_version=2)
    work.add(mine)
    assert work.supersede(told(updated(name="other"), version=2)) == []
    assert not mine.superseded


def test_the_end_of_a_one_off_overtakes_nothing() -> None:
    work, mine = Jobs(), job()
    work.add(mine)
    assert work.supersede(told(completed())) == []
